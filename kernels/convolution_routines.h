/* The routines of one way to convolve, as convolutions.h takes them: what the program calls of them. */
static inline void sn_call_convolve_planes_f32(const sn_convolution *v, const void *x, const void *w,
                                        void *y, void *scratch, int together) {
  sn_convolve_planes_f32(v, x, w, y, scratch, together);
}

static inline void sn_call_correlate_planes_f32(const sn_convolution *v, const void *x, const void *y,
                                         void *w, void *scratch, int together) {
  sn_correlate_planes_f32(v, x, y, w, scratch, together);
}

sn_convolution_call *const sn_routines_planes_f32[] = {
    SN_CONVOLVES ? sn_call_convolve_planes_f32 : 0, SN_CORRELATES ? sn_call_correlate_planes_f32 : 0,
    SN_CONVOLVES ? sn_hold_planes_f32 : 0};
