// The matrix units of a warp: d += a b for a tile a of 16 rows, and b of 8 columns, in float.
//
// A word holds two 16-bit numbers or one of TF32, and a tile is 8 words deep. Of lane 4 g + i:
// a: the words (row g, i), (row g + 8, i), (row g, i + 4), (row g + 8, i + 4)
// b: the words (column g, i), (column g, i + 4)
// d: the elements (row g, column 2 i), (g, 2 i + 1), (g + 8, 2 i), (g + 8, 2 i + 1)
// All lanes of the warp call together. PTX ISA, `mma.sync.aligned.m16n8k16` and `.m16n8k8`.
// Included after runtime.cuh.

#ifndef STATICNET_MMA_CUH
#define STATICNET_MMA_CUH

// A float as the matrix units take it in TF32: 10 bits of fraction, rounded to nearest.
__device__ inline float sn_as_tf32(float x) {
#if defined(__CUDACC__)
  unsigned bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
  return sn_from_bits_f32(bits);
#else
  const uint32_t bits = sn_bits_f32(x);
  const bool finite = (bits & 0x7f800000u) != 0x7f800000u;
  return sn_from_bits_f32(finite ? (bits + 0x1000u) & ~0x1fffu : bits);
#endif
}

#if defined(__CUDACC__)
#define SN_MMA(shape, types)                                                            \
  asm volatile("mma.sync.aligned." shape ".row.col.f32." types ".f32 "                  \
               "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"        \
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                         \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]))
#else
#define SN_MMA(shape, types) shim::multiply<X>(d, a, b, __LINE__)
#endif

// X: sn_of_f16, sn_of_bf16, or sn_of_f32 for TF32.
template <class X>
__device__ inline void sn_mma(float *d, const unsigned *a, const unsigned *b);

template <>
__device__ inline void sn_mma<sn_of_f16>(float *d, const unsigned *a, const unsigned *b) {
  typedef sn_of_f16 X;
  SN_MMA("m16n8k16", "f16.f16");
}

template <>
__device__ inline void sn_mma<sn_of_bf16>(float *d, const unsigned *a, const unsigned *b) {
  typedef sn_of_bf16 X;
  SN_MMA("m16n8k16", "bf16.bf16");
}

template <>
__device__ inline void sn_mma<sn_of_f32>(float *d, const unsigned *a, const unsigned *b) {
  typedef sn_of_f32 X;
  SN_MMA("m16n8k8", "tf32.tf32");
}

#endif  // STATICNET_MMA_CUH
