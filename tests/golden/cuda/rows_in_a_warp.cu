extern "C" __global__ void __launch_bounds__(128)
k0(const uint16_t *__restrict__ p0, uint16_t *__restrict__ p1) {
  const int block = blockIdx.x;
  const int blocks = gridDim.x;
  const int lane = threadIdx.x % 32;
  for (int o = block * 4 + threadIdx.x / 32; o < 100; o += blocks * 4) {
    const int i0 = o;
    float k0[8];
    sn_pack<uint16_t, 8> h0[1];
    float a0 = -SN_INF;
    #pragma unroll
    for (int j = 0; j < 1; ++j) {
      const int e = (j * 32 + lane) * 8;
      if (e < 256) {
        const int i1_0 = e;
        h0[j] = sn_read<8>(p0 + i1_0+i0*256);
        #pragma unroll
        for (int l = 0; l < 8; ++l) {
          const int i1 = i1_0 + l;
          const float t0_0 = sn_load_bf16(h0[j].v[l]);
          a0 = sn_max<float>::of(a0, t0_0);
        }
      }
    }
    a0 = sn_reduce<sn_max<float>, 32>(a0);
    float a3 = 0;
    #pragma unroll
    for (int j = 0; j < 1; ++j) {
      const int e = (j * 32 + lane) * 8;
      if (e < 256) {
        const int i1_0 = e;
        #pragma unroll
        for (int l = 0; l < 8; ++l) {
          const int i1 = i1_0 + l;
          const float t1_0 = sn_load_bf16(h0[j].v[l]);
          const float t1_1 = sn_round_bf16(t1_0 - a0);
          const float t1_2 = sn_round_bf16(sn_exp_nonpositive_f32(t1_1));
          k0[j * 8 + l] = t1_2;
          a3 = sn_sum<float>::of(a3, t1_2);
        }
      }
    }
    a3 = sn_reduce<sn_sum<float>, 32>(a3);
    const float r1_0 = sn_round_bf16(1.0f / a3);
    #pragma unroll
    for (int j = 0; j < 1; ++j) {
      const int e = (j * 32 + lane) * 8;
      if (e < 256) {
        const int i1_0 = e;
        sn_pack<uint16_t, 8> p1_w0;
        #pragma unroll
        for (int l = 0; l < 8; ++l) {
          const int i1 = i1_0 + l;
          const float t2_0 = sn_round_bf16(k0[j * 8 + l] * r1_0);
          p1_w0.v[l] = sn_store_bf16(t2_0);
        }
        sn_write<8>(p1 + i1_0+i0*256, p1_w0);
      }
    }
  }
}
// k0<25, 128>(feed 0, output 0)
