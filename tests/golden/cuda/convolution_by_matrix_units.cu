extern "C" __global__ void __launch_bounds__(128)
k0(float *partial, const uint16_t *a, const uint16_t *b, uint16_t *z, int64_t n, int64_t groups, int64_t outputs, int64_t inputs, int64_t s0, int64_t s1, int64_t s2, int64_t k0, int64_t k1, int64_t k2, int64_t t0, int64_t t1, int64_t t2, int64_t stride0, int64_t stride1, int64_t stride2, int64_t low0, int64_t low1, int64_t low2, int64_t dilation0, int64_t dilation1, int64_t dilation2, int64_t x0, int64_t x1, int64_t x2, int64_t x3, int64_t x4, int64_t w0, int64_t w1, int64_t w2, int64_t w3, int64_t w4, int64_t y0, int64_t y1, int64_t y2, int64_t y3, int64_t y4, int64_t phases, int64_t row_tiles, int64_t column_tiles, int64_t parts, int64_t elements) {
  const sn_convolution_sizes sizes = {n, groups, outputs, inputs, s0, s1, s2, k0, k1, k2, t0, t1, t2, stride0, stride1, stride2, low0, low1, low2, dilation0, dilation1, dilation2, x0, x1, x2, x3, x4, w0, w1, w2, w3, w4, y0, y1, y2, y3, y4};
  sn_convolve<sn_of_bf16, sn_weight, sn_by_units<sn_of_bf16, 64, 64, 32, 32>, false, 8, false, 8>(sizes, a, b, z, partial, phases, row_tiles, column_tiles, parts, elements);
}

extern "C" __global__ void __launch_bounds__(256)
k0_1(const float *partial, uint16_t *z, int64_t parts, int64_t elements) {
  sn_sum_parts<sn_of_bf16>(partial, z, parts, elements);
}
// k0<39, 128>(arena 0, feed 1, feed 0, output 0, 8, 1, 16, 16, 1, 20, 20, 1, 3, 3, 1, 20, 20, 1, 1, 1, 0, 1, 1, 1, 1, 1, 6400, 1, 0, 320, 16, 144, 9, 0, 3, 1, 6400, 1, 0, 320, 16, 1, 1, 3, 13, 2304)
// k0_1<9, 256>(arena 0, output 0, 13, 2304)
