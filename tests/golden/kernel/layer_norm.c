// kernel 0: rows [64,12]
SN_KERNEL void k0(int64_t share, int64_t shares, const float *p0, const float *p1, const float *p2, float *p3, const float *p4, float *p5, float *p6, volatile int *error, int site) {
  const int64_t begin = SN_CUT(64, share, 1), end = SN_CUT(64, share + 1, 1);
  float k0[12];
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
        const float t1_2 = t1_1 * t1_1;
        a4_block[i1] = t1_2;
      }
      a4 += sn_sum_f32(a4_block, 12);
    }
    const float r1_0 = a4 / 12.0f;
    const float r1_1 = r1_0 + 1e-05f;
    const float r1_2 = sn_sqrt_f32(r1_1);
    float a16 = 0;
    {
      float a16_block[12] SN_ALIGNED;
      #pragma omp simd
      for (int64_t i1 = 0; i1 < 12; ++i1) {
        const float t2_0 = p0[i1+i0*12];
        const float t2_1 = t2_0 - r0_0;
        const float t2_2 = t2_1 / r1_2;
        const float t2_3 = p1[i1];
        const float t2_4 = t2_2 * t2_3;
        const float t2_5 = p2[i1];
        const float t2_6 = t2_4 + t2_5;
        const float t2_8 = p4[i1+i0*12];
        const float t2_9 = t2_8 * t2_3;
        const float t2_10 = t2_9 / r1_2;
        k0[i1] = t2_10;
        const float t2_12 = t2_9 * t2_2;
        const float t2_13 = t2_12 / r1_2;
        const float t2_14 = -t2_13;
        a16_block[i1] = t2_14;
        const float t2_16 = t2_8 * t2_2;
        p3[i1+i0*12] = t2_6;
        p5[i1+i0*12] = t2_16;
      }
      a16 += sn_sum_f32(a16_block, 12);
    }
    const float r2_0 = a16 * 0.5f;
    const float r2_1 = r2_0 / r1_2;
    const float r2_2 = r2_1 / 12.0f;
    float a24 = 0;
    {
      float a24_block[12] SN_ALIGNED;
      #pragma omp simd
      for (int64_t i1 = 0; i1 < 12; ++i1) {
        const float t3_0 = p0[i1+i0*12];
        const float t3_1 = t3_0 - r0_0;
        const float t3_2 = r2_2 * t3_1;
        const float t3_3 = k0[i1] + t3_2;
        const float t3_4 = t3_3 + t3_2;
        const float t3_5 = -t3_4;
        a24_block[i1] = t3_5;
      }
      a24 += sn_sum_f32(a24_block, 12);
    }
    const float r3_0 = a24 / 12.0f;
    #pragma omp simd
    for (int64_t i1 = 0; i1 < 12; ++i1) {
      const float t4_0 = p0[i1+i0*12];
      const float t4_1 = t4_0 - r0_0;
      const float t4_2 = r2_2 * t4_1;
      const float t4_3 = k0[i1] + t4_2;
      const float t4_4 = t4_3 + t4_2;
      const float t4_5 = t4_4 + r3_0;
      p6[i1+i0*12] = t4_5;
    }
  }
}
// kernels 1, 2: columns [64,12]
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
static int sn_one_step(void **slot, char *arena) {
  volatile int failed = 0, *const error = &failed;
  {
    SN_ALONE
    k0(share, shares, ((float *)slot[0]), ((float *)slot[2]), ((float *)slot[3]), ((float *)slot[4]), ((float *)slot[1]), ((float *)(arena + 0)), ((float *)slot[5]), error, 0); // kernel 0, rows [64,12]: layer_norm.py:1; gradient of layer_norm.py:1
    k1(share, shares, ((float *)slot[1]), ((float *)slot[7]), error, 0); // kernel 1, columns [64,12]: gradient of layer_norm.py:1
  }
  {
    SN_ALONE
    k1(share, shares, ((float *)(arena + 0)), ((float *)slot[6]), error, 0); // kernel 2, columns [64,12]: gradient of layer_norm.py:1
  }
  return failed;
}
