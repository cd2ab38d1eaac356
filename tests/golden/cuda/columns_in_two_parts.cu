extern "C" __global__ void __launch_bounds__(256, 4)
k0(const float *__restrict__ p0, float *__restrict__ p1, char *scratch) {
  const int block = blockIdx.x;
  const int chunk = block / 2;
  const int c = (block % 2) * 32 + threadIdx.x % 32;
  const int i1 = c;
  float a0 = 0;
  if (c < 48) {
    const int first = chunk * 64;
    #pragma unroll 4
    for (int r = first + threadIdx.x / 32; r < sn_clamp(first + 64, 0, 4096); r += 8) {
      const int i0 = r;
      const float t0 = p0[i1+i0*48];
      a0 = sn_sum<float>::of(a0, t0);
    }
  }
  a0 = sn_reduce_down<sn_sum<float>, 32, 256>(a0);
  if (threadIdx.x < 32 && c < 48) {
    ((float *)(scratch + 0))[chunk * 48 + c] = a0;
  }
}

extern "C" __global__ void __launch_bounds__(256, 4)
k0_1(const float *__restrict__ p0, float *__restrict__ p1, char *scratch) {
  const int block = blockIdx.x;
  const int c = (block % 2) * 32 + threadIdx.x % 32;
  const int i1 = c;
  float a0 = 0;
  if (c < 48) {
    #pragma unroll 4
    for (int r = threadIdx.x / 32; r < 64; r += 8) {
      a0 = sn_sum<float>::of(a0, ((float *)(scratch + 0))[r * 48 + c]);
    }
  }
  a0 = sn_reduce_down<sn_sum<float>, 32, 256>(a0);
  if (threadIdx.x < 32 && c < 48) {
    const float s0 = a0;
    p1[i1] = s0;
  }
}
// k0<128, 256>(feed 0, output 0, arena 0)
// k0_1<2, 256>(feed 0, output 0, arena 0)
