extern "C" __global__ void __launch_bounds__(128)
k0(const uint16_t *__restrict__ p0, uint16_t *__restrict__ p1) {
  const int block = blockIdx.x;
  int lane = threadIdx.x % 32;
  const int o = block * 4 + threadIdx.x / 32;
  const int i0 = o;
  float k0[8];
  sn_pack<uint16_t, 4> h0[2];
  float a1 = -SN_INF;
  #pragma unroll
  for (int j = 0; j < 2; ++j) {
    const int e = (j * 32 + lane) * 4;
    if (e < 256) {
      const int i1_0 = e;
      h0[j] = sn_read<4>(p0 + i1_0+i0*256);
      #pragma unroll
      for (int l = 0; l < 4; ++l) {
        const int i1 = i1_0 + l;
        const float t0_0 = sn_load_bf16(h0[j].v[l]);
        const float t0_1 = (float)t0_0;
        a1 = sn_max<float>::of(a1, t0_1);
      }
    }
  }
  a1 = sn_reduce<sn_max<float>, 32>(a1);
  float a4 = 0;
  sn_again(lane);
  sn_again(h0);
  #pragma unroll
  for (int j = 0; j < 2; ++j) {
    const int e = (j * 32 + lane) * 4;
    if (e < 256) {
      const int i1_0 = e;
      #pragma unroll
      for (int l = 0; l < 4; ++l) {
        const int i1 = i1_0 + l;
        const float t1_0 = sn_load_bf16(h0[j].v[l]);
        const float t1_1 = (float)t1_0;
        const float t1_2 = t1_1 - a1;
        const float t1_3 = sn_exp_nonpositive_f32(t1_2);
        k0[j * 4 + l] = t1_3;
        a4 = sn_sum<float>::of(a4, t1_3);
      }
    }
  }
  a4 = sn_reduce<sn_sum<float>, 32>(a4);
  const float r1_0 = 1.0f / a4;
  sn_again(lane);
  sn_again(h0);
  #pragma unroll
  for (int j = 0; j < 2; ++j) {
    const int e = (j * 32 + lane) * 4;
    if (e < 256) {
      const int i1_0 = e;
      sn_pack<uint16_t, 4> p1_w0;
      #pragma unroll
      for (int l = 0; l < 4; ++l) {
        const int i1 = i1_0 + l;
        const float t2_0 = k0[j * 4 + l] * r1_0;
        const float t2_1 = sn_round_bf16((float)t2_0);
        p1_w0.v[l] = sn_store_bf16(t2_1);
      }
      sn_write<4>(p1 + i1_0+i0*256, p1_w0);
    }
  }
}
// k0<25, 128>(feed 0, output 0)
