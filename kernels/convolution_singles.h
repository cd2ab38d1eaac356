/* Depthwise convolutions, of groups with one input and one output: panels are of channels, whose
   products stay apart. Included after convolution_weight.h. */

/* The box of a band with the channels of a panel alone. */
SN_APART sn_box sn_pack_channels_f32(const sn_convolution *v, const sn_product_sizes *p,
                                     const sn_band *band, int64_t j, const sn_stored_f32 *x,
                                     float *to) {
  const int64_t pixels = sn_volume(p->source), of_channel = v->last ? 1 : pixels;
  sn_product_sizes panel = *p;
  panel.depth = SN_LEAST(sn_panel_f32, p->depth - j);
  const sn_box box = sn_box_of(v, &panel, band->low, band->high);
  x += band->image * p->depth * pixels + j * of_channel;
  for (int64_t m = 0; m < band->images; ++m)
    sn_pack_image_f32(panel.depth, x + m * p->depth * pixels, of_channel, v->last ? p->depth : 1,
                      p->source, &box, to + m * box.size);
  return box;
}

/* The weights of single groups as panels. */
SN_APART void sn_pack_singles_f32(const sn_convolution *one, const sn_product_sizes *p,
                                  const sn_stored_f32 *w, float *to) {
  sn_product_sizes weights = *p;
  weights.depth = weights.of_depth = 1, weights.of_width = sn_volume(one->kernel);
  sn_pack_weights_f32(one, &weights, w, to);
}

static void sn_hold_singles_f32(const sn_convolution *v, const void *x, const void *w, void *to,
                                void *scratch, int together) {
  const sn_convolution one = sn_one_group(v);
  const sn_product_sizes p = sn_sizes(&one);
  const int threads = SN_LEAST((int)v->threads, SN_THREADS);
  (void)x, (void)scratch;
#pragma omp parallel if (together) num_threads(threads)
  sn_pack_singles_f32(&one, &p, w, to);
}

/* Single groups: panels are of channels, whose products stay apart. */
static void sn_convolve_singles_f32(const sn_convolution *v, const sn_stored_f32 *x, const void *w,
                                    sn_stored_f32 *y, float *scratch, int together) {
  const sn_convolution one = sn_one_group(v);
  const sn_product_sizes p = sn_sizes(&one);
  const int64_t taps = sn_volume(v->kernel), panels = (p.width + sn_panel_f32 - 1) / sn_panel_f32;
  const int threads = SN_LEAST((int)v->threads, SN_THREADS);
  float *const rooms = v->held ? scratch : scratch + panels * sn_panel_f32 * taps;
  const float *const weights = v->held ? w : scratch;
#pragma omp parallel if (together) num_threads(threads)
  {
    if (!v->held) sn_pack_singles_f32(&one, &p, w, scratch);
#pragma omp for schedule(dynamic)
    for (int64_t task = 0; task < p.bands * panels; ++task) {
      const int64_t j = task % panels * sn_panel_f32;
      const sn_band band = sn_band_of(&one, &p, task / panels);
      float *const room = rooms + SN_THREAD_NUMBER * v->room, *const result = room + v->box;
      int64_t *const offset = (int64_t *)(room + v->room) - taps;
      const sn_box box = sn_pack_channels_f32(&one, &p, &band, j, x, room);
      sn_outputs_of_band_f32(sn_single_strip_f32, &one, &p, 0, &band, &box, offset, room,
                             weights + j * taps, j, result, y);
    }
  }
}

/* The gradient of the weights of single groups; sums are added when all are there. */
static void sn_correlate_singles_f32(const sn_convolution *v, const sn_stored_f32 *x,
                                     const sn_stored_f32 *y, sn_stored_f32 *w, float *scratch,
                                     int together) {
  const sn_convolution one = sn_one_group(v);
  const sn_product_sizes p = sn_sizes(&one);
  const int64_t taps = sn_volume(v->kernel), panels = (p.width + sn_panel_f32 - 1) / sn_panel_f32;
  const int64_t of_panel = taps * sn_panel_f32, of_part = panels * of_panel;
  const int threads = SN_LEAST((int)v->threads, SN_THREADS);
  float *const rooms = scratch + v->sums * of_part;
#pragma omp parallel if (together) num_threads(threads)
  {
#pragma omp for schedule(dynamic)
    for (int64_t task = 0; task < panels * v->sums; ++task) {
      const int64_t part = task / panels, j = task % panels * sn_panel_f32;
      float *const room = rooms + SN_THREAD_NUMBER * v->room, *const result = room + v->box;
      float *const sum = scratch + part * of_part + task % panels * of_panel;
      const float **const element = (const float **)(room + v->room) - taps;
      int64_t *const offset = (int64_t *)element - v->lines;
      const int64_t begin = p.bands * part / v->sums, end = p.bands * (part + 1) / v->sums;
      for (int64_t each = begin; each < end; ++each) {
        const sn_band band = sn_band_of(&one, &p, each);
        const sn_box box = sn_pack_channels_f32(&one, &p, &band, j, x, room);
        sn_axis axis[3];
        sn_axes_of(&one, &p, &box, band.low, band.high, 0, axis);
        const sn_lines lines = sn_lines_of(&band, &box, axis, offset);
        sn_elements_of_f32(axis, &box, 1, room, element);
        sn_pack_result_f32(&one, &p, 0, &band, j, y, result);
        sn_sum_pixels_f32(sn_single_strip_f32, taps, element, &lines, result, sn_panel_f32,
                          each == begin, sum);
      }
    }
#pragma omp for schedule(static)
    for (int64_t t = 0; t < panels; ++t) {
      float *const sum = scratch + t * of_panel;
      for (int64_t part = 1; part < v->sums; ++part)
        for (int64_t i = 0; i < of_panel; ++i) sum[i] += sum[part * of_part + i];
      const int64_t j = t * sn_panel_f32, some = SN_LEAST(sn_panel_f32, p.width - j);
      sn_turn_out_f32(taps, some, sum, sn_panel_f32, w + j * taps, taps);
    }
  }
}
