/* The routines of a library of one way to convolve, for programs: of a convolution or its gradient
   by the input, and of that by the weight. */
static sn_convolution_call *sn_convolutions_planes_f32[2];
void sn_set_convolutions_planes_f32(void *const *routines) {
  for (int k = 0; k < 2; ++k) sn_convolutions_planes_f32[k] = (sn_convolution_call *)routines[k];
}
