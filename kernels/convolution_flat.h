/* Convolutions that need no box of patches: flat ones, of one tap, channels first and without
   strides, which are products of the matrices where they lie. Included after convolution.h. */

/* Panels of `some` pixels of a flat one, beside each other, line by line as they are read. */
SN_APART void sn_pack_pixels_f32(const sn_convolution *v, int64_t depth, const float *x,
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
SN_APART void sn_pack_strips_f32(const sn_convolution *v, const sn_product_sizes *p, int64_t rows,
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
SN_APART void sn_outputs_f32(const sn_product_sizes *p, const float *strip, int64_t rows,
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
  sn_strip_f32(rows, width, 1, p->depth * rows, rows, &zero, at, panel, tile);
  for (int64_t u = 0; u < high; ++u)
    memcpy(y + u * pixels, tile + u * width, some * sizeof *tile);
}

/* Flat ones: panels are of pixels, some of them packed at a time. */
static void sn_multiply_f32(const sn_convolution *v, const float *x, const float *w, float *y,
                            float *scratch, int together) {
  const sn_product_sizes p = sn_sizes(v);
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

/* The convolution or its gradient of the input, by products of what is packed. */
static void sn_convolve_product_f32(const sn_convolution *v, const void *x, const void *w, void *y,
                                    void *scratch, int together) {
  if (v->flat)
    sn_multiply_f32(v, x, w, y, scratch, together);
  else
    sn_convolve_f32(v, x, w, y, scratch, together);
}
