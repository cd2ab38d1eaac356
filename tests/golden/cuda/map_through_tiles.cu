extern "C" __global__ void __launch_bounds__(256)
k0(const float *__restrict__ p0, const float *__restrict__ p1, float *__restrict__ p2) {
  const int block = blockIdx.x;
  const int blocks = gridDim.x;
  __shared__ float t0_tile[32][33];
  const int across = threadIdx.x % 32, down = threadIdx.x / 32;
  for (int o = block; o < 4; o += blocks) {
    const int i0_tile = o / 2;
    const int i1_tile = o % 2;
    __syncthreads();
    {
      const int i0 = i0_tile * 32 + across;
      if (i0 < 40) {
        for (int l = down; l < 32; l += 8) {
          const int i1 = i1_tile * 32 + l;
          if (i1 < 50) {
            const float t0 = p0[i0+i1*40];
            t0_tile[l][across] = t0;
          }
        }
      }
    }
    __syncthreads();
    {
      const int i1 = i1_tile * 32 + across;
      if (i1 < 50) {
        for (int l = down; l < 32; l += 8) {
          const int i0 = i0_tile * 32 + l;
          if (i0 < 40) {
            const float t0 = t0_tile[across][l];
            const float t1 = p1[i1+i0*50];
            const float t2 = t0 + t1;
            p2[i1+i0*50] = t2;
          }
        }
      }
    }
  }
}
// k0<4, 256>(feed 0, feed 1, output 0)
