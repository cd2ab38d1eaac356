/* The routines of a library of convolution.h, for programs: of a convolution, and of its gradients
   by the input and by the weight. */
#ifndef SN_CONVOLUTION_CALLS
#define SN_CONVOLUTION_CALLS
typedef void sn_convolution_call(const sn_convolution *, const void *, const void *, void *, void *,
                                 int);
#endif
static sn_convolution_call *sn_convolutions_f32[3];
void sn_set_convolution_f32(void *const *routines) {
  for (int k = 0; k < 3; ++k) sn_convolutions_f32[k] = (sn_convolution_call *)routines[k];
}
