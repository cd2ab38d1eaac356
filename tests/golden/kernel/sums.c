// kernel 0: columns [64,12]
SN_KERNEL void k0(int64_t share, int64_t shares, const float *p0, float *p1, float *p2, volatile int *error, int site) {
  const int64_t begin = SN_CUT(12, share, 12), end = SN_CUT(12, share + 1, 12);
  for (int64_t first = begin; first < end; first += 12) {
    const int64_t width = 12;
    float a1_all[256];
    for (int64_t c = 0; c < width; ++c) a1_all[c] = 0;
    for (int64_t r0 = 0; r0 < 64; r0 += 1024) {
      float a1_row[256];
      for (int64_t c = 0; c < width; ++c) a1_row[c] = 0;
      for (int64_t r = r0; r < SN_MIN(r0 + 1024, 64); ++r) {
        const int64_t i0 = r;
        #pragma omp simd
        for (int64_t c = 0; c < width; ++c) {
          const int64_t o = first + c;
          const int64_t i1 = o;
          const float t0 = p0[i1+i0*12];
          const float t1 = sn_tanh_f32(t0);
          p1[i1+i0*12] = t1;
          a1_row[c] += t1;
        }
      }
      for (int64_t c = 0; c < width; ++c) {
        a1_all[c] += a1_row[c];
      }
    }
    for (int64_t c = 0; c < width; ++c) {
      const int64_t o = first + c;
      const int64_t i1 = o;
      const float a1 = a1_all[c];
      const float s0 = a1;
      p2[i1] = s0;
    }
  }
}
// kernel 1: rows [64,12]
SN_KERNEL void k1(int64_t share, int64_t shares, const float *p0, float *p1, volatile int *error, int site) {
  const int64_t begin = SN_CUT(1, share, 1), end = SN_CUT(1, share + 1, 1);
  for (int64_t o = begin; o < end; ++o) {
    float a0 = -SN_INF;
    {
      a0 = sn_maximum_f32(a0, sn_max_f32(p0 + 0, 768));
    }
    p1[0] = a0;
  }
}
// kernel 2: rows [64,12]
SN_KERNEL void k2(int64_t share, int64_t shares, const float *p0, float *p1, volatile int *error, int site) {
  const int64_t begin = SN_CUT(64, share, 1), end = SN_CUT(64, share + 1, 1);
  for (int64_t o = begin; o < end; ++o) {
    const int64_t i0 = o;
    float a0 = 0;
    {
      a0 += sn_sum_f32(p0 + i0*12, 12);
    }
    p1[i0] = a0;
  }
}
static int sn_one_step(void **slot, char *arena) {
  volatile int failed = 0, *const error = &failed;
  {
    SN_ALONE
    k0(share, shares, ((float *)slot[0]), ((float *)(arena + 0)), ((float *)slot[1]), error, 0); // kernel 0, columns [64,12]: sums.py:1
    k1(share, shares, ((float *)slot[0]), ((float *)slot[3]), error, 0); // kernel 1, rows [64,12]: sums.py:1
  }
  {
    SN_ALONE
    k2(share, shares, ((float *)(arena + 0)), ((float *)slot[2]), error, 0); // kernel 2, rows [64,12]: sums.py:1
  }
  return failed;
}
