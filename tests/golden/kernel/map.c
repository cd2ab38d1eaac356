// kernel 0: map [64,12]
SN_KERNEL void k0(int64_t share, int64_t shares, const float *p0, const float *p1, float *p2, volatile int *error, int site) {
  const int64_t begin = SN_CUT(768, share, 16), end = SN_CUT(768, share + 1, 16);
  for (int64_t o = begin / 12; o*12 < end; ++o) {
    const int64_t first = SN_MAX(begin - o*12, 0), last = SN_MIN(end - o*12, 12);
    const int64_t i0 = o;
    #pragma omp simd
    for (int64_t i1 = first; i1 < last; ++i1) {
      const float t0 = p0[i1+i0*12];
      const float t1 = 2.0f * t0;
      const float t2 = p1[i1+i0*12];
      const float t3 = t1 + t2;
      const float t4 = sn_relu_f32(t3);
      const float t5 = t4 * 0.5f;
      const float t6 = p1[-i1+i0*12+11];
      const float t7 = t5 + t6;
      p2[i1+i0*12] = t7;
    }
  }
}
static int sn_one_step(void **slot, char *arena) {
  volatile int failed = 0, *const error = &failed;
  {
    SN_ALONE
    k0(share, shares, ((float *)slot[0]), ((float *)slot[1]), ((float *)slot[2]), error, 0); // kernel 0, map [64,12]: map.py:1
  }
  return failed;
}
