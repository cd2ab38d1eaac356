/* The routines of a library of one way to convolve, for programs: of a convolution or its gradient
   by the input, of that by the weight, and what packs weights that stay. */
static sn_convolution_call *sn_convolutions_planes_f32[3];
void sn_set_convolutions_planes_f32(void *const *routines) {
  for (int k = 0; k < 3; ++k) sn_convolutions_planes_f32[k] = (sn_convolution_call *)routines[k];
}
