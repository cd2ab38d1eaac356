// What generated CUDA needs besides scalar functions: element types, indices, packs of elements.
// Included after math.h and float16.h. No header is included under NVRTC, which has none.

#ifndef STATICNET_RUNTIME_CUH
#define STATICNET_RUNTIME_CUH

#if defined(__CUDACC_RTC__)
typedef sn_i8 int8_t;
typedef sn_i16 int16_t;
typedef sn_i32 int32_t;
typedef sn_i64 int64_t;
typedef sn_u8 uint8_t;
typedef sn_u16 uint16_t;
typedef sn_u32 uint32_t;
typedef sn_u64 uint64_t;
#else
#include <stdint.h>
#endif

#define SN_NAN SN_NAN_F32
#define SN_INF SN_INF_F32

// An element's type in memory, the type it is computed in, and the way between the two.
#define SN_ELEMENT(name, T, V, LOAD, STORE)                          \
  struct sn_of_##name {                                              \
    typedef T memory;                                                \
    typedef V value;                                                 \
    __device__ static inline V load(T x) { return (V)LOAD(x); }      \
    __device__ static inline T store(V x) { return (T)STORE(x); }    \
  };
SN_ELEMENT(bool, uint8_t, uint8_t, , )
SN_ELEMENT(i8, int8_t, int8_t, , )
SN_ELEMENT(i16, int16_t, int16_t, , )
SN_ELEMENT(i32, int32_t, int32_t, , )
SN_ELEMENT(i64, int64_t, int64_t, , )
SN_ELEMENT(u8, uint8_t, uint8_t, , )
SN_ELEMENT(u16, uint16_t, uint16_t, , )
SN_ELEMENT(u32, uint32_t, uint32_t, , )
SN_ELEMENT(u64, uint64_t, uint64_t, , )
SN_ELEMENT(f16, uint16_t, float, sn_load_f16, sn_store_f16)
SN_ELEMENT(bf16, uint16_t, float, sn_load_bf16, sn_store_bf16)
SN_ELEMENT(f32, float, float, , )
SN_ELEMENT(f64, double, double, , )

template <class I>
__device__ inline I sn_clamp(I i, long long low, long long high) {
  return i < low ? (I)low : i > high ? (I)high : i;
}

// An index into n elements, negative ones from the end; one outside sets *error, if nothing did
// before, and becomes 0.
__device__ inline int64_t sn_index(int64_t i, int64_t n, int *error, int site) {
  i += i < 0 ? n : 0;
  if ((uint64_t)i >= (uint64_t)n) {
    atomicCAS(error, 0, site);
    return 0;
  }
  return i;
}

// The number of the lowest bit that is set.
__device__ inline int sn_lowest_bit(unsigned bits) {
#if defined(__CUDACC__)
  return __ffs(bits) - 1;
#else
  return __builtin_ctz(bits);
#endif
}

// N elements that lie side by side and are read or written in one access, or of doubles in two.
template <class T, int N>
struct alignas(sizeof(T) * N < 16 ? sizeof(T) * N : 16) sn_pack {
  T v[N];
};

template <int N, class T>
__device__ inline sn_pack<T, N> sn_read(const T *p) {
  return *(const sn_pack<T, N> *)p;
}

template <int N, class T>
__device__ inline void sn_write(T *p, const sn_pack<T, N> &pack) {
  *(sn_pack<T, N> *)p = pack;
}

// N values of 1 or 2 bytes that a thread holds, as many to a register as it has room for; a value
// alone would take one. Those before it in its register are put first.
template <class T, int N>
struct sn_held {
  enum { EACH = 4 / sizeof(T), BITS = 8 * sizeof(T), WORDS = (N + EACH - 1) / EACH };
  unsigned words[WORDS];

  __device__ T operator[](int i) const { return (T)(words[i / EACH] >> i % EACH * BITS); }
  __device__ void put(int i, T x) {
    const unsigned bits = ((unsigned)x & ((1u << BITS) - 1)) << i % EACH * BITS;
    words[i / EACH] = i % EACH ? words[i / EACH] | bits : bits;
  }
};

// What the compiler has to take for another value: it cannot hold what one loop made of it for the
// next loop, in registers of its own.
__device__ inline void sn_again(int &number) { asm volatile("" : "+r"(number)); }

template <class T, int N>
__device__ inline void sn_again(sn_held<T, N> &held) {
#pragma unroll
  for (int i = 0; i < sn_held<T, N>::WORDS; ++i) asm volatile("" : "+r"(held.words[i]));
}

template <class T, int COUNT>
__device__ inline void sn_again(T (&held)[COUNT]) {
  constexpr int WORDS = sizeof(T) / 4;
#pragma unroll
  for (int i = 0; i < (WORDS ? COUNT : 0); ++i) {
    unsigned words[WORDS ? WORDS : 1];
    memcpy(words, &held[i], WORDS * 4);
#pragma unroll
    for (int j = 0; j < WORDS; ++j) asm volatile("" : "+r"(words[j]));
    memcpy(&held[i], words, WORDS * 4);
  }
}

#endif  // STATICNET_RUNTIME_CUH
