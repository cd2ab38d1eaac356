extern "C" __global__ void __launch_bounds__(256)
k0(const float *__restrict__ p0, const float *__restrict__ p1, float *__restrict__ p2) {
  const int block = blockIdx.x;
  const int blocks = gridDim.x;
  for (int o = (block * 256 + threadIdx.x) * 4; o < 2048; o += blocks * 1024) {
    const int i0 = o / 64;
    const int i1_0 = o % 64;
    const auto t0_w = sn_read<4>(p0 + i1_0+i0*64);
    const auto t1_w = sn_read<4>(p1 + i1_0);
    sn_pack<float, 4> p2_w0;
    #pragma unroll
    for (int l = 0; l < 4; ++l) {
      const int i1 = i1_0 + l;
      const float t0 = t0_w.v[l];
      const float t1 = t1_w.v[l];
      const float t2 = t0 + t1;
      const float t3 = sn_relu_f32(t2);
      p2_w0.v[l] = t3;
    }
    sn_write<4>(p2 + i1_0+i0*64, p2_w0);
  }
}
// k0<2, 256>(feed 0, feed 1, output 0)
