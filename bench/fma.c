/* Fused multiply-adds of float that do not wait for each other. Follows vectors.h.
   -> multiply-adds made, of which one of `turns` is 12 vectors. */
int64_t sn_fma(int64_t turns, float *to) {
  sn_wide_f32 sum[12];
  const sn_wide_f32 a = SN_ALL_f32(0.999f), b = SN_ALL_f32(0.001f);
  for (int i = 0; i < 12; ++i) sum[i] = SN_ALL_f32(i);
  for (int64_t t = 0; t < turns; ++t)
    _Pragma("GCC unroll 12") for (int i = 0; i < 12; ++i) sum[i] = SN_FMA_f32(sum[i], a, b);
  for (int i = 0; i < 12; ++i) memcpy(to + i * sizeof(sn_wide_f32) / sizeof *to, &sum[i], sizeof sum[i]);
  return turns * 12 * (int64_t)(sizeof(sn_wide_f32) / sizeof(float));
}
