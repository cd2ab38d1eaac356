// kernel 0: rows [64,12]
SN_KERNEL void k0(int64_t share, int64_t shares, const int64_t *p0, const float *p1, const float *p2, float *p3, volatile int *error, int site) {
  const int64_t begin = SN_CUT(1, share, 1), end = SN_CUT(1, share + 1, 1);
  for (int64_t o = begin; o < end; ++o) {
    float a2 = 0;
    {
      float a2_block[768] SN_ALIGNED;
      for (int64_t i0 = 0; i0 < 64; ++i0) {
        {
          const int64_t t0_0 = p0[i0];
          for (int64_t i1 = 0; i1 < 12; ++i1) {
            const int64_t t0_1 = sn_index(t0_0, 100, error, site);
            const float t0_2 = p1[i1+t0_1*12];
            const float t0_3 = p2[i1+i0*12];
            const float t0_4 = t0_2 * t0_3;
            a2_block[i0*12+i1] = t0_4;
          }
        }
      }
      a2 += sn_sum_f32(a2_block, 768);
    }
    p3[0] = a2;
  }
}
// kernel 1: map [64,12]
SN_KERNEL void k1(int64_t share, int64_t shares, const float *p0, float *p1, volatile int *error, int site) {
  const int64_t begin = SN_CUT(768, share, 16), end = SN_CUT(768, share + 1, 16);
  #pragma omp simd
  for (int64_t i = begin; i < end; ++i) {
    const float t0 = p0[i];
    const float t1 = 0.1f * t0;
    const float t2 = -t1;
    p1[i] = t2;
  }
}
// kernel 2: map [64]
SN_KERNEL void k2(int64_t share, int64_t shares, const int64_t *p0, int64_t *p1, volatile int *error, int site) {
  const int64_t begin = SN_CUT(64, share, 16), end = SN_CUT(64, share + 1, 16);
  for (int64_t i = begin; i < end; ++i) {
    const int64_t t0 = p0[i];
    const int64_t t1 = sn_index(t0, 100, error, site);
    const int64_t t2 = (t1);
    p1[i] = t2;
  }
}
// kernel 4: map []
SN_KERNEL void k4(int64_t share, int64_t shares, const int64_t *p0, int64_t *p1, volatile int *error, int site) {
  const int64_t begin = SN_CUT(1, share, 16), end = SN_CUT(1, share + 1, 16);
  #pragma omp simd
  for (int64_t i = begin; i < end; ++i) {
    const int64_t t0 = p0[0];
    const int64_t t1 = t0 + 1LL;
    p1[0] = t1;
  }
}
static int sn_one_step(void **slot, char *arena) {
  volatile int failed = 0, *const error = &failed;
  {
    SN_ALONE
    k0(share, shares, ((int64_t *)slot[1]), ((float *)slot[2]), ((float *)slot[0]), ((float *)slot[4]), error, 1); // kernel 0, rows [64,12]: embedding.py:1
    k1(share, shares, ((float *)slot[0]), ((float *)(arena + 0)), error, 0); // kernel 1, map [64,12]: constant_folding of embedding.py:1
    k2(share, shares, ((int64_t *)slot[1]), ((int64_t *)(arena + 3072)), error, 2); // kernel 2, map [64]: constant_folding of embedding.py:1
  }
  if (failed) return failed;
  { // kernel 3, scatter_add f32[100,12]: constant_folding of embedding.py:1
    const int site = 3;
    for (int64_t b = 0; b < 1; ++b)
      for (int64_t j = 0; j < 64; ++j) {
        const int64_t i = sn_index(((int64_t *)(arena + 3072))[j], 100, error, site);
        const int64_t to = (b*100 + i)*12;
        for (int64_t a = 0; a < 12; ++a) {
          const int64_t from = (b*64 + j)*12 + a;
          ((float *)slot[2])[to + a] += ((float *)(arena + 0))[from];
        }
      }
  }
  {
    SN_ALONE
    k4(share, shares, ((int64_t *)slot[3]), ((int64_t *)slot[3]), error, 0); // kernel 4, map []: embedding.py:1
  }
  return failed;
}
