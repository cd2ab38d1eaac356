/* The three routines of a library, each in the way that plan/convolution.py chose. */
static void sn_compute_f32(const sn_convolution *v, int backward, const void *x, const void *w,
                           void *y, void *scratch, int together) {
  if (v->flat)
    sn_multiply_f32(v, backward, (const float *)x, (const float *)w, (float *)y, (float *)scratch,
                    together);
  else if (v->planes)
    sn_convolve_planes_f32(v, backward, x, w, y, scratch, together);
  else if (v->tiles)
    sn_convolve_points_f32(v, backward, x, w, y, scratch, together);
  else
    (v->single ? sn_convolve_singles_f32 : sn_convolve_f32)(v, backward, x, w, y, scratch,
                                                            together);
}

void sn_convolution_f32(const sn_convolution *v, const void *x, const void *w, void *y,
                        void *scratch, int together) {
  sn_compute_f32(v, 0, x, w, y, scratch, together);
}

void sn_convolution_input_f32(const sn_convolution *v, const void *y, const void *w, void *x,
                              void *scratch, int together) {
  sn_compute_f32(v, 1, y, w, x, scratch, together);
}

void sn_convolution_weight_f32(const sn_convolution *v, const void *x, const void *y, void *w,
                               void *scratch, int together) {
  if (v->planes)
    sn_correlate_planes_f32(v, x, y, w, scratch, together);
  else if (v->tiles)
    sn_correlate_points_f32(v, x, y, w, scratch, together);
  else
    (v->single ? sn_correlate_singles_f32 : sn_correlate_f32)(v, x, y, w, scratch, together);
}
