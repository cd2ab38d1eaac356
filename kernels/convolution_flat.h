/* Convolutions that need no box of patches: flat ones, of one tap, channels first and without
   strides, which are products of the matrices where they lie; and depthwise ones, whose panels are
   of channels. Included after convolution.h. */

/* Panels of `some` pixels of a flat one, beside each other, line by line as they are read. */
static void sn_pack_pixels_f32(const sn_convolution *v, int64_t depth, const float *x,
                               int64_t pixels, int64_t some, float *to) {
  for (int64_t l = 0; l < depth; ++l, x += pixels) {
    for (int64_t j = 0; j < some; j += 16) __builtin_prefetch(x + 2 * pixels + j);
    for (int64_t j = 0; j < some; j += sn_panel_f32) {
      const int64_t width = sn_panel_width_f32(v, some, j), here = SN_LEAST(width, some - j);
      float *const line = to + j * depth + l * width;
      memcpy(line, x + j, here * sizeof *to);
      sn_zero_f32(line + here, width - here);
    }
  }
}

/* Strips of the weights of a flat one: to: [strips, depth, rows]; what lacks is any. */
static void sn_pack_strips_f32(const sn_convolution *v, const sn_product_sizes *p, int64_t rows,
                               const float *w, float *to) {
  const int64_t strips = (p->width + rows - 1) / rows;
#pragma omp for schedule(static)
  for (int64_t t = 0; t < v->groups * strips; ++t) {
    const int64_t i = t % strips * rows, high = SN_LEAST(rows, p->width - i);
    const float *const from = w + t / strips * p->depth * p->width + i * p->of_width;
    float *const strip = to + t * p->depth * rows;
    for (int64_t l = 0; l < p->depth; ++l)
      for (int64_t u = 0; u < rows; ++u)
        strip[l * rows + u] = from[l * p->of_depth + (u < high ? u : 0) * p->of_width];
  }
}

/* The outputs of a strip of weights for a panel of pixels, of which y has `some`. */
static void sn_outputs_f32(const sn_product_sizes *p, const float *strip, int64_t rows,
                           int64_t high, const float *panel, int64_t width, int64_t some,
                           float *y) {
  const int64_t zero = 0, pixels = sn_volume(p->result);
  _Alignas(64) float tile[SN_TALLEST * sn_panel_f32];
  const float *at[SN_TALLEST];
  for (int64_t u = 0; u < rows; ++u) at[u] = strip + u;
  for (int64_t u = 0; u < high; ++u) {
    __builtin_prefetch(y + u * pixels, 1);
    __builtin_prefetch(y + u * pixels + some - 1, 1);
  }
  sn_strip_f32(0, rows, width, 1, p->depth * rows, rows, &zero, at, panel, tile);
  for (int64_t u = 0; u < high; ++u)
    memcpy(y + u * pixels, tile + u * width, some * sizeof *tile);
}

/* Flat ones: panels are of pixels, some of them packed at a time. */
static void sn_multiply_f32(const sn_convolution *v, int backward, const float *x, const float *w,
                            float *y, float *scratch, int together) {
  const sn_product_sizes p = sn_sizes(v, backward);
  const int64_t pixels = sn_volume(p.result), panels = (pixels + sn_panel_f32 - 1) / sn_panel_f32;
  const int64_t rows = sn_height(p.width), strips = (p.width + rows - 1) / rows;
  float *const rooms = scratch + (v->groups * strips * rows * p.depth + 15) / 16 * 16;
  const int threads = SN_LEAST((int)v->threads, SN_THREADS);
#pragma omp parallel if (together) num_threads(threads)
  {
    sn_pack_strips_f32(v, &p, rows, w, scratch);
#pragma omp for schedule(dynamic)
    for (int64_t task = 0; task < v->n * v->groups * v->splits; ++task) {
      const int64_t split = task % v->splits, image = task / v->splits, end = split + 1;
      const float *const strip = scratch + image % v->groups * strips * rows * p.depth;
      float *const to = y + image * p.width * pixels;
      float *const room = rooms + SN_THREAD_NUMBER * v->room;
      for (int64_t k = panels * split / v->splits; k < panels * end / v->splits; k += v->flat) {
        const int64_t first = k * sn_panel_f32;
        const int64_t last = SN_LEAST(k + v->flat, panels * end / v->splits) * sn_panel_f32;
        const int64_t some = SN_LEAST(last, pixels) - first;
        sn_pack_pixels_f32(v, p.depth, x + image * p.depth * pixels + first, pixels, some, room);
        for (int64_t i = 0; i < p.width; i += rows)
          for (int64_t j = 0; j < some; j += sn_panel_f32) {
            const int64_t width = sn_panel_width_f32(v, some, j);
            sn_outputs_f32(&p, strip + i * p.depth, rows, SN_LEAST(rows, p.width - i),
                           room + j * p.depth, width, SN_LEAST(width, some - j),
                           to + i * pixels + first + j);
          }
      }
    }
  }
}

/* The box of a band with the channels of a panel alone. */
static sn_box sn_pack_channels_f32(const sn_convolution *v, const sn_product_sizes *p,
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

/* Single groups: panels are of channels, whose products stay apart. */
static void sn_convolve_singles_f32(const sn_convolution *v, int backward, const sn_stored_f32 *x,
                                    const sn_stored_f32 *w, sn_stored_f32 *y, float *scratch,
                                    int together) {
  const sn_convolution one = sn_one_group(v);
  const sn_product_sizes p = sn_sizes(&one, backward);
  const int64_t taps = sn_volume(v->kernel), panels = (p.width + sn_panel_f32 - 1) / sn_panel_f32;
  const int threads = SN_LEAST((int)v->threads, SN_THREADS);
  float *const rooms = scratch + panels * sn_panel_f32 * taps;
  sn_product_sizes weights = p;
  weights.depth = weights.of_depth = 1, weights.of_width = taps;
#pragma omp parallel if (together) num_threads(threads)
  {
    sn_pack_weights_f32(&one, &weights, w, scratch);
#pragma omp for schedule(dynamic)
    for (int64_t task = 0; task < p.bands * panels; ++task) {
      const int64_t j = task % panels * sn_panel_f32;
      const sn_band band = sn_band_of(&one, &p, task / panels);
      float *const room = rooms + SN_THREAD_NUMBER * v->room, *const result = room + v->box;
      int64_t *const offset = (int64_t *)(room + v->room) - taps;
      const sn_box box = sn_pack_channels_f32(&one, &p, &band, j, x, room);
      sn_panel_of_band_f32(&one, &p, &band, &box, offset, room, scratch + j * taps, j, result);
      sn_unpack_panel_f32(&one, &p, 0, &band, j, result, y);
    }
  }
}
