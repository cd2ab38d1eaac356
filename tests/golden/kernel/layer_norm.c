// kernel 0: rows [64,12]
SN_KERNEL void k0(int64_t share, int64_t shares, const float *p0, float *p1, float *p2, float *p3, const float *p4, const float *p5, float *p6, const float *p7, float *p8, volatile int *error, int site) {
  const int64_t begin = SN_CUT(64, share, 1), end = SN_CUT(64, share + 1, 1);
  for (int64_t o = begin; o < end; ++o) {
    const int64_t i0 = o;
    float a0 = 0;
    {
      a0 += sn_sum_f32(p0 + i0*12, 12);
    }
    const float r0_0 = a0 / 12.0f;
    float a4 = 0;
    {
      float a4_block[12] SN_ALIGNED;
      #pragma omp simd
      for (int64_t i1 = 0; i1 < 12; ++i1) {
        const float t1_0 = p0[i1+i0*12];
        const float t1_1 = t1_0 - r0_0;
        const float t1_3 = t1_1 * t1_1;
        a4_block[i1] = t1_3;
        p1[i1+i0*12] = t1_1;
      }
      a4 += sn_sum_f32(a4_block, 12);
    }
    const float r1_0 = a4 / 12.0f;
    const float r1_1 = r1_0 + 1e-05f;
    const float r1_2 = sn_sqrt_f32(r1_1);
    p2[i0] = r1_2;
    #pragma omp simd
    for (int64_t i1 = 0; i1 < 12; ++i1) {
      const float t2_0 = p0[i1+i0*12];
      const float t2_1 = t2_0 - r0_0;
      const float t2_2 = t2_1 / r1_2;
      const float t2_4 = p4[i1];
      const float t2_5 = t2_2 * t2_4;
      const float t2_6 = p5[i1];
      const float t2_7 = t2_5 + t2_6;
      const float t2_9 = p7[i1+i0*12];
      const float t2_10 = t2_9 * t2_2;
      p3[i1+i0*12] = t2_2;
      p6[i1+i0*12] = t2_7;
      p8[i1+i0*12] = t2_10;
    }
  }
}
// kernels 1, 3: columns [64,12]
SN_KERNEL void k1(int64_t share, int64_t shares, const float *p0, float *p1, volatile int *error, int site) {
  const int64_t begin = SN_CUT(12, share, 12), end = SN_CUT(12, share + 1, 12);
  for (int64_t first = begin; first < end; first += 12) {
    const int64_t width = 12;
    float a0_all[256];
    for (int64_t c = 0; c < width; ++c) a0_all[c] = 0;
    for (int64_t r0 = 0; r0 < 64; r0 += 1024) {
      float a0_row[256];
      for (int64_t c = 0; c < width; ++c) a0_row[c] = 0;
      for (int64_t r = r0; r < SN_MIN(r0 + 1024, 64); ++r) {
        const int64_t i0 = r;
        #pragma omp simd
        for (int64_t c = 0; c < width; ++c) {
          const int64_t o = first + c;
          const int64_t i1 = o;
          const float t0 = p0[i1+i0*12];
          a0_row[c] += t0;
        }
      }
      for (int64_t c = 0; c < width; ++c) {
        a0_all[c] += a0_row[c];
      }
    }
    for (int64_t c = 0; c < width; ++c) {
      const int64_t o = first + c;
      const int64_t i1 = o;
      const float a0 = a0_all[c];
      const float s0 = a0;
      p1[i1] = s0;
    }
  }
}
// kernel 2: rows [64,12]
SN_KERNEL void k2(int64_t share, int64_t shares, const float *p0, const float *p1, const float *p2, const float *p3, const float *p4, float *p5, volatile int *error, int site) {
  const int64_t begin = SN_CUT(64, share, 1), end = SN_CUT(64, share + 1, 1);
  float k0[12];
  for (int64_t o = begin; o < end; ++o) {
    const int64_t i0 = o;
    float a5 = 0;
    {
      float a5_block[12] SN_ALIGNED;
      {
        const float t0_3 = p2[i0];
        #pragma omp simd
        for (int64_t i1 = 0; i1 < 12; ++i1) {
          const float t0_0 = p0[i1+i0*12];
          const float t0_1 = p1[i1];
          const float t0_2 = t0_0 * t0_1;
          const float t0_4 = t0_2 / t0_3;
          k0[i1] = t0_4;
          const float t0_6 = p3[i1+i0*12];
          const float t0_7 = t0_2 * t0_6;
          const float t0_8 = t0_7 / t0_3;
          const float t0_9 = -t0_8;
          a5_block[i1] = t0_9;
        }
      }
      a5 += sn_sum_f32(a5_block, 12);
    }
    const float r0_0 = a5 * 0.5f;
    const float r0_1 = p2[i0];
    const float r0_2 = r0_0 / r0_1;
    const float r0_3 = r0_2 / 12.0f;
    float a13 = 0;
    {
      float a13_block[12] SN_ALIGNED;
      #pragma omp simd
      for (int64_t i1 = 0; i1 < 12; ++i1) {
        const float t1_0 = p4[i1+i0*12];
        const float t1_1 = r0_3 * t1_0;
        const float t1_2 = k0[i1] + t1_1;
        const float t1_3 = t1_2 + t1_1;
        const float t1_4 = -t1_3;
        a13_block[i1] = t1_4;
      }
      a13 += sn_sum_f32(a13_block, 12);
    }
    const float r1_0 = a13 / 12.0f;
    #pragma omp simd
    for (int64_t i1 = 0; i1 < 12; ++i1) {
      const float t2_0 = p4[i1+i0*12];
      const float t2_1 = r0_3 * t2_0;
      const float t2_2 = k0[i1] + t2_1;
      const float t2_3 = t2_2 + t2_1;
      const float t2_4 = t2_3 + r1_0;
      p5[i1+i0*12] = t2_4;
    }
  }
}
static int sn_one_step(void **slot, char *arena) {
  volatile int failed = 0, *const error = &failed;
  {
    SN_ALONE
    k0(share, shares, ((float *)slot[0]), ((float *)(arena + 0)), ((float *)(arena + 9216)), ((float *)(arena + 3072)), ((float *)slot[2]), ((float *)slot[3]), ((float *)slot[4]), ((float *)slot[1]), ((float *)(arena + 6144)), error, 0); // kernel 0, rows [64,12]: layer_norm.py:1; gradient of layer_norm.py:1
    k1(share, shares, ((float *)slot[1]), ((float *)slot[7]), error, 0); // kernel 1, columns [64,12]: gradient of layer_norm.py:1
  }
  {
    SN_ALONE
    k2(share, shares, ((float *)slot[1]), ((float *)slot[2]), ((float *)(arena + 9216)), ((float *)(arena + 3072)), ((float *)(arena + 0)), ((float *)slot[5]), error, 0); // kernel 2, rows [64,12]: gradient of layer_norm.py:1
    k1(share, shares, ((float *)(arena + 6144)), ((float *)slot[6]), error, 0); // kernel 3, columns [64,12]: gradient of layer_norm.py:1
  }
  return failed;
}
