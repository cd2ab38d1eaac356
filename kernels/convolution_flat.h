/* Convolutions that need no box of patches: flat ones, of one tap, channels first and without
   padding, which are products of the matrices where they lie. With strides the pixels of x that have
   one of y are gathered, or put, one by one. Included after convolution.h. */

/* `some` pixels of a channel, or of y's as they lie. */
SN_INLINE void sn_some_pixels_f32(int64_t some, const float *x, const int64_t *where, float *to) {
  if (where)
    for (int64_t i = 0; i < some; ++i) to[i] = x[where[i]];
  else if (some == sn_panel_f32)
    memcpy(to, x, sn_panel_f32 * sizeof *to);
  else
    memcpy(to, x, some * sizeof *to);
}

/* Panels of `some` pixels of a flat one, beside each other, line by line as they are read. */
SN_APART void sn_pack_pixels_f32(const sn_convolution *v, int64_t depth, const float *x,
                                 int64_t plane, const int64_t *where, int64_t some, float *to) {
  for (int64_t l = 0; l < depth; ++l, x += plane) {
    for (int64_t j = 0; j < some; j += where ? 8 : 16)
      __builtin_prefetch(x + 2 * plane + (where ? where[j] : j));
    for (int64_t j = 0; j < some; j += sn_panel_f32) {
      const int64_t width = sn_panel_width_f32(v, some, j), here = SN_LEAST(width, some - j);
      float *const line = to + j * depth + l * width;
      sn_some_pixels_f32(here, where ? x : x + j, where ? where + j : where, line);
      if (here < width) sn_zero_f32(line + here, width - here);
    }
  }
}

/* Asks for a part of the lines that are to be packed next: from x on, or where its pixels lie. */
SN_APART void sn_fetch_pixels_f32(int64_t first, int64_t last, const float *x, int64_t plane,
                                  const int64_t *where, int64_t some) {
  for (int64_t l = first; l < last; ++l)
    for (int64_t j = 0; j < some; j += where ? 8 : 16)
      __builtin_prefetch(x + l * plane + (where ? where[j] : j), 0, 2);
}

/* Strips of the weights of a flat one: to: [strips, depth, rows]; what lacks is 0. */
SN_APART void sn_pack_strips_f32(const sn_convolution *v, const sn_product_sizes *p, int64_t rows,
                                 const float *w, float *to) {
  const int64_t strips = (p->width + rows - 1) / rows;
#pragma omp for schedule(static)
  for (int64_t t = 0; t < v->groups * strips; ++t) {
    const int64_t i = t % strips * rows, high = SN_LEAST(rows, p->width - i);
    const float *const from = w + t / strips * p->depth * p->width + i * p->of_width;
    float *const strip = to + t * p->depth * rows;
    if (p->of_depth == 1)
      sn_turn_in_f32(high, p->depth, from, p->of_width, strip, rows);
    else
      for (int64_t l = 0; l < p->depth; ++l)
        memcpy(strip + l * rows, from + l * p->of_depth, high * sizeof *to);
    for (int64_t u = high; u < rows; ++u)
      for (int64_t l = 0; l < p->depth; ++l) strip[l * rows + u] = 0;
  }
}

/* A strip of weights times a panel of pixels. */
SN_INLINE void sn_flat_tile_f32(const float *strip, int64_t rows, int64_t depth, const float *panel,
                                int64_t width, float *tile) {
  const int64_t zero = 0;
  const float *at[SN_TALLEST] = {strip};
  for (int64_t u = 1; u < rows; ++u) at[u] = strip + u;
  sn_strip_f32(rows, width, 1, depth * rows, rows, &zero, at, panel, tile);
}

/* Its outputs, of which y has `some` pixels. */
SN_APART void sn_outputs_f32(const sn_product_sizes *p, const float *strip, int64_t rows,
                             int64_t high, const float *panel, int64_t width, int64_t some,
                             float *y) {
  const int64_t pixels = sn_volume(p->result);
  _Alignas(64) float tile[SN_TALLEST * sn_panel_f32];
  for (int64_t u = 0; u < high; ++u) {
    __builtin_prefetch(y + u * pixels, 1);
    __builtin_prefetch(y + u * pixels + some - 1, 1);
  }
  sn_flat_tile_f32(strip, rows, p->depth, panel, width, tile);
  for (int64_t u = 0; u < high; ++u) sn_some_pixels_f32(some, tile + u * width, NULL, y + u * pixels);
}

/* The same, put where pixels of x belong, with zeros after each. */
SN_APART void sn_outputs_apart_f32(const sn_product_sizes *p, const float *strip, int64_t rows,
                                   int64_t high, const float *panel, int64_t width,
                                   const int64_t *where, int64_t some, float *x) {
  const int64_t pixels = sn_volume(p->result), first = where[0], all = where[some] - first;
  _Alignas(64) float tile[SN_TALLEST * sn_panel_f32];
  sn_flat_tile_f32(strip, rows, p->depth, panel, width, tile);
  for (int64_t u = 0; u < high; ++u) {
    float *const plane = x + u * pixels;
    sn_zero_f32(plane + first, all);
    for (int64_t i = 0; i < some; ++i) plane[where[i]] = tile[u * width + i];
  }
}

/* All outputs of a flat one for pixels [begin, end) of y, of an image x; with strides these have their
   `places` in x, or if it is backward in y. */
SN_APART void sn_multiply_pixels_f32(const sn_convolution *v, const sn_product_sizes *p,
                                     int64_t begin, int64_t end, int64_t rows, const float *strips,
                                     const int64_t *places, const float *x, float *room, float *y) {
  const int64_t plane = sn_volume(p->source), result = sn_volume(p->result);
  const int64_t *const from = p->backward ? NULL : places, *const to = p->backward ? places : NULL;
  const int64_t most = v->flat * sn_panel_f32;
  for (int64_t k = begin, some; k < end; k += some) {
    some = SN_LEAST(most, end - k);
    sn_pack_pixels_f32(v, p->depth, from ? x : x + k, plane, from ? from + k : NULL, some, room);
    const int64_t next = k + some, more = SN_LEAST(most, end - next);
    const int64_t across = (some + sn_panel_f32 - 1) / sn_panel_f32;
    const int64_t tiles = (p->width + rows - 1) / rows * across;
    for (int64_t tile = 0; tile < tiles; ++tile) {
      const int64_t i = tile / across * rows, j = tile % across * sn_panel_f32;
      const int64_t width = sn_panel_width_f32(v, some, j), here = SN_LEAST(width, some - j);
      const int64_t high = SN_LEAST(rows, p->width - i);
      const float *const left = strips + i * p->depth, *const right = room + j * p->depth;
      sn_fetch_pixels_f32(p->depth * tile / tiles, p->depth * (tile + 1) / tiles,
                          from ? x : x + next, plane, from ? from + next : NULL, more);
      if (to)
        sn_outputs_apart_f32(p, left, rows, high, right, width, to + k + j, here, y + i * result);
      else
        sn_outputs_f32(p, left, rows, high, right, width, here, y + i * result + k + j);
    }
  }
}

/* Flat ones: panels are of pixels of y, some of them packed at a time. */
static void sn_multiply_f32(const sn_convolution *v, const float *x, const float *w, float *y,
                            float *scratch, int together) {
  const sn_product_sizes p = sn_sizes(v);
  const int64_t pixels = sn_volume(v->out), panels = (pixels + sn_panel_f32 - 1) / sn_panel_f32;
  const int64_t rows = sn_height(p.width), all = (p.width + rows - 1) / rows * rows * p.depth;
  float *const rooms = scratch + (v->groups * all + 15) / 16 * 16;
  const int threads = SN_LEAST((int)v->threads, SN_THREADS);
#pragma omp parallel if (together) num_threads(threads)
  {
    float *const room = rooms + SN_THREAD_NUMBER * v->room;
    int64_t *const places =
        sn_volume(v->stride) > 1 ? (int64_t *)(room + v->room) - pixels - 1 : NULL;
    if (places) sn_places(v, places);
    sn_pack_strips_f32(v, &p, rows, w, scratch);
#pragma omp for schedule(dynamic)
    for (int64_t task = 0; task < v->n * v->groups * v->splits; ++task) {
      const int64_t split = task % v->splits, image = task / v->splits;
      const int64_t begin = panels * split / v->splits, end = panels * (split + 1) / v->splits;
      sn_multiply_pixels_f32(v, &p, begin * sn_panel_f32, SN_LEAST(end * sn_panel_f32, pixels), rows,
                             scratch + image % v->groups * all, places,
                             x + image * p.depth * sn_volume(p.source), room,
                             y + image * p.width * sn_volume(p.result));
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
