/* Convolutions as products whose left matrix is never written: "implicit GEMM".

   Channels lie last inside. A band of rows of the images is copied once into a box with its
   padding, where each pixel of the result begins at an address of its own and the elements that it
   needs are few contiguous runs: of a 3 by 3 kernel three, each of three pixels' channels. Weights
   lie in panels of as many outputs as two vectors hold, in the order of these runs. A strip of
   pixels and a panel meet in a tile that stays in registers.

   The gradient of the input is such a product too, with the kernel turned around; of strides, one
   for each remainder, which needs only some of the kernel's elements. The gradient of the weights
   sums over the pixels instead, by the same strips: convolution_weight.h, included after this.

   A sum is a chain of fused multiply-adds, of a gradient of weights one chain a band, whose order
   the shapes alone decide: the number of threads does not.

   Written for f32; of other types the same text with another suffix, 16-bit ones computed in float.
   Included after convolution_strips.h.

   Zhang, Franchetti and Low, "High performance zero-memory overhead direct convolutions", 2018. */
/* A line of `count` pixels from `start`, each the `every`th; those beyond `size` are 0. */
SN_APART void sn_pack_line_f32(int64_t channels, const sn_stored_f32 *x, int64_t of_channel,
                               int64_t of_pixel, int64_t size, int64_t start, int64_t count,
                               int64_t every, float *to) {
  const int64_t before = SN_LEAST(count, start < 0 ? (-start + every - 1) / every : 0);
  const int64_t end = size > start ? SN_LEAST(count, (size - start - 1) / every + 1) : 0;
  const int64_t some = SN_MOST(0, end - before), step = every * of_pixel;
  sn_zero_f32(to, before * channels);
  sn_zero_f32(to + (before + some) * channels, (count - before - some) * channels);
  to += before * channels;
  x += (start + before * every) * of_pixel;
  if (step == channels && (of_channel == 1 || channels == 1))
    sn_copy_in_f32(some * channels, x, to);
  else if (step == 1)
    sn_turn_in_f32(channels, some, x, of_channel, to, channels);
  else if (of_channel == 1)
    for (int64_t i = 0; i < some; ++i) sn_copy_in_f32(channels, x + i * step, to + i * channels);
  else
    for (int64_t j = 0; j < channels; ++j)
      for (int64_t i = 0; i < some; ++i)
        to[i * channels + j] = SN_READ_f32(x[j * of_channel + i * step]);
}

/* A group of an image in its box. */
SN_APART void sn_pack_image_f32(int64_t channels, const sn_stored_f32 *x, int64_t of_channel,
                                int64_t of_pixel, const int64_t *size, const sn_box *box,
                                float *to) {
  const int flat = box->count[2] == 1 && size[2] == 1 && box->start[2] == 0;
  if (flat && box->count[1] == 1 && size[1] == 1 && box->start[1] == 0) { /* of one axis */
    sn_pack_line_f32(channels, x, of_channel, of_pixel, size[0], box->start[0], box->count[0],
                     box->every[0], to);
    return;
  }
  for (int64_t i = 0; i < box->count[0]; ++i, to += box->along[0]) {
    const int64_t a = box->start[0] + i * box->every[0];
    const sn_stored_f32 *const plane = x + a * size[1] * size[2] * of_pixel;
    if (a < 0 || a >= size[0]) {
      sn_zero_f32(to, box->along[0]);
      continue;
    }
    if (flat) {
      sn_pack_line_f32(channels, plane, of_channel, of_pixel, size[1], box->start[1],
                       box->count[1], box->every[1], to);
      continue;
    }
    for (int64_t j = 0; j < box->count[1]; ++j) {
      const int64_t b = box->start[1] + j * box->every[1];
      float *const line = to + j * box->along[1];
      if (b < 0 || b >= size[1])
        sn_zero_f32(line, box->along[1]);
      else
        sn_pack_line_f32(channels, plane + b * size[2] * of_pixel, of_channel, of_pixel, size[2],
                         box->start[2], box->count[2], box->every[2], line);
    }
  }
}

/* A group of a band's images in their boxes. */
SN_APART void sn_pack_band_f32(const sn_convolution *v, const sn_product_sizes *p, int64_t group,
                               const sn_band *band, const sn_box *box, const sn_stored_f32 *x,
                               float *to) {
  const int64_t pixels = sn_volume(p->source), all = v->groups * p->depth;
  const int64_t of_channel = v->last ? 1 : pixels, of_pixel = v->last ? all : 1;
  x += band->image * all * pixels + group * p->depth * of_channel;
  for (int64_t m = 0; m < band->images; ++m)
    sn_pack_image_f32(p->depth, x + m * all * pixels, of_channel, of_pixel, p->source, box,
                      to + m * box->size);
}

/* Every `step`th of some elements. */
SN_APART void sn_gather_f32(int64_t n, const sn_stored_f32 *from, int64_t step, float *to) {
  for (int64_t i = 0; i < n; ++i) to[i] = SN_READ_f32(from[i * step]);
}

/* The weights of `deep` channels of the source for a panel, turned as they lie: to: [deep, kernel,
   width] */
SN_APART void sn_turn_weights_f32(const sn_convolution *v, const sn_product_sizes *p, int64_t some,
                                  int64_t deep, int64_t width, const sn_stored_f32 *w, float *to) {
  const int64_t taps = sn_volume(v->kernel);
  if (p->of_depth == taps)
    sn_turn_in_f32(some, deep * taps, w, p->of_width, to, width);
  else
    for (int64_t l = 0; l < deep; ++l)
      sn_turn_in_f32(some, taps, w + l * p->of_depth, p->of_width, to + l * taps * width, width);
}

/* A panel of the taps of some axes, run after run; what lacks is 0. */
SN_APART void sn_pack_panel_f32(const sn_convolution *v, const sn_product_sizes *p,
                                const sn_axis *axis, int64_t j, const sn_stored_f32 *w, float *to) {
  const int64_t width = sn_panel_width_f32(v, p->width, j), some = SN_LEAST(width, p->width - j);
  const int64_t taps = sn_taps(axis), kernel = sn_volume(v->kernel);
  const int64_t most = SN_TURNED / kernel, turns = most && 2 * taps > kernel;
  _Alignas(64) float turned[SN_TURNED * sn_panel_f32];
  if (some < width) sn_zero_f32(to, taps * p->depth * width);
  if (some < width) sn_zero_f32(turned, SN_TURNED * width);
  for (int64_t first = 0, deep; first < p->depth; first += deep) {
    deep = SN_LEAST(turns ? most : 16, p->depth - first);
    const sn_stored_f32 *const all = w + j * p->of_width + first * p->of_depth;
    if (turns) sn_turn_weights_f32(v, p, some, deep, width, all, turned);
    for (int64_t t = 0; t < taps; ++t) {
      const int64_t tap = sn_tap_of(v, axis, t);
      float *const line = to + (t * p->depth + first) * width;
      for (int64_t l = 0; l < deep; ++l)
        if (turns)
          memcpy(line + l * width, turned + (l * kernel + tap) * width, width * sizeof *to);
        else
          sn_gather_f32(some, all + tap + l * p->of_depth, p->of_width, line + l * width);
    }
  }
}

/* All panels, each with the taps of one remainder after the other. */
SN_APART void sn_pack_weights_f32(const sn_convolution *v, const sn_product_sizes *p,
                                  const sn_stored_f32 *w, float *to) {
  const int64_t taps = sn_volume(v->kernel), panels = (p->width + sn_panel_f32 - 1) / sn_panel_f32;
  const sn_box box = sn_box_of(v, p, 0, p->result[0]);
#pragma omp for schedule(static)
  for (int64_t t = 0; t < v->groups * panels; ++t) {
    const int64_t group = t / panels, j = t % panels * sn_panel_f32;
    float *panel = to + (group * panels * sn_panel_f32 + j) * taps * p->depth;
    for (int64_t r = 0; r < sn_volume(p->remainders); ++r) {
      sn_axis axis[3];
      sn_axes_of(v, p, &box, 0, p->result[0], r, axis);
      sn_pack_panel_f32(v, p, axis, j, w + group * v->outputs * v->inputs * taps, panel);
      panel += sn_taps(axis) * p->depth * sn_panel_width_f32(v, p->width, j);
    }
  }
}

/* Where the pixels of a result lie: `of` its axes and its images. */
typedef struct {
  float *first;
  int64_t of[3], of_image;
} sn_place_f32;

/* Where a band's pixels of a remainder lie in its box and in the result, line after line. */
typedef struct {
  const sn_axis *axis;
  const sn_box *box;
  const sn_place_f32 *place;
  int64_t image, a, b, c; /* of the next pixel */
} sn_walk_f32;

/* The next pixels, as many as a strip has rows: where they begin in the box, and in the result. */
SN_APART void sn_next_pixels_f32(sn_walk_f32 *walk, int64_t many, const float *x, float *y,
                                 const float **at, float **to) {
  const sn_axis *const axis = walk->axis;
  const int64_t *const along = walk->box->along, *const of = walk->place->of;
  const int in = axis[2].count > 1 ? 2 : axis[1].count > 1; /* the axis that lines lie along */
  int64_t *const next = in == 2 ? &walk->c : in == 1 ? &walk->b : &walk->a;
  const int64_t every = axis[in].stride * along[in], apart = axis[in].step * of[in];
  while (many > 0) {
    const int64_t some = SN_LEAST(many, axis[in].count - *next);
    const float *from = x + walk->image * walk->box->size + walk->a * axis[0].stride * along[0] +
                        walk->b * axis[1].stride * along[1] + walk->c * axis[2].stride * along[2];
    float *line = y + walk->image * walk->place->of_image + walk->a * axis[0].step * of[0] +
                  walk->b * axis[1].step * of[1] + walk->c * axis[2].step * of[2];
    for (int64_t u = 0; u < some; ++u, from += every, line += apart) *at++ = from, *to++ = line;
    many -= some;
    if ((*next += some) < axis[in].count) return;
    *next = 0;
    if (in == 2 && ++walk->b < axis[1].count) continue;
    walk->b = 0;
    if (in > 0 && ++walk->a < axis[0].count) continue;
    walk->a = 0, ++walk->image;
  }
}

/* The outputs of a panel for the pixels of one remainder. */
SN_APART void sn_pixels_f32(sn_strip_call_f32 *strip, const sn_axis *axis, const sn_box *box,
                            int64_t images, int64_t runs, int64_t length, const int64_t *offset,
                            const float *x, const float *w, int64_t width, const sn_place_f32 *y) {
  const int64_t all = images * axis[0].count * axis[1].count * axis[2].count;
  const int64_t rows = sn_height(all);
  const int lies = axis[0].step == 1 && axis[1].step == 1 && axis[2].step == 1;
  _Alignas(64) float tile[SN_TALLEST * sn_panel_f32];
  const float *at[SN_TALLEST];
  float *to[SN_TALLEST], *const first = y->first + axis[0].first * y->of[0] +
                                        axis[1].first * y->of[1] + axis[2].first * y->of[2];
  sn_walk_f32 walk = {axis, box, y, 0, 0, 0, 0};
  for (int k = 0; k < 3; ++k) x += axis[k].from * box->along[k];
  for (int64_t i = 0; i < all; i += rows) {
    const int64_t high = SN_LEAST(rows, all - i);
    sn_next_pixels_f32(&walk, high, x, first, at, to);
    for (int64_t u = high; u < rows; ++u) at[u] = at[0];
    if (lies && high == rows) {
      strip(rows, width, runs, length, 1, offset, at, w, to[0]);
      continue;
    }
    strip(rows, width, runs, length, 1, offset, at, w, tile);
    for (int64_t u = 0; u < high; ++u) memcpy(to[u], tile + u * width, width * sizeof *tile);
  }
}

/* A panel of a band's outputs, from output j of a group on: y: [images, pixels, width] */
SN_APART void sn_panel_of_band_f32(sn_strip_call_f32 *strip, const sn_convolution *v,
                                   const sn_product_sizes *p, const sn_band *band,
                                   const sn_box *box, int64_t *offset, const float *x,
                                   const float *w, int64_t j, float *y) {
  const int64_t width = sn_panel_width_f32(v, p->width, j);
  const int64_t line = p->result[1] * p->result[2] * width;
  sn_place_f32 place = {y - band->low * line, {line, p->result[2] * width, width},
                        (band->high - band->low) * line};
  for (int64_t r = 0; r < sn_volume(p->remainders); ++r) {
    int64_t length;
    sn_axis axis[3];
    sn_axes_of(v, p, box, band->low, band->high, r, axis);
    const int64_t runs = v->single ? sn_offsets(axis, box, offset, &length)
                                   : sn_runs(axis, box, p->depth, offset, &length);
    sn_pixels_f32(strip, axis, box, band->images, runs, length, offset, x, w, width, &place);
    w += sn_taps(axis) * (v->single ? 1 : p->depth) * width;
  }
}

/* Such a panel to where it belongs in the result. */
SN_APART void sn_unpack_panel_f32(const sn_convolution *v, const sn_product_sizes *p, int64_t group,
                                  const sn_band *band, int64_t j, const float *from,
                                  sn_stored_f32 *y) {
  const int64_t width = sn_panel_width_f32(v, p->width, j), some = SN_LEAST(width, p->width - j);
  const int64_t pixels = sn_volume(p->result), all = v->groups * p->width;
  const int64_t line = p->result[1] * p->result[2], each = (band->high - band->low) * line;
  const int64_t of_channel = v->last ? 1 : pixels, of_pixel = v->last ? all : 1;
  y += band->image * all * pixels + (group * p->width + j) * of_channel +
       band->low * line * of_pixel;
  for (int64_t m = 0; m < band->images; ++m, y += all * pixels, from += each * width)
    if (!v->last)
      sn_turn_out_f32(each, some, from, width, y, pixels);
    else
      for (int64_t i = 0; i < each; ++i)
        for (int64_t l = 0; l < some; ++l) y[i * all + l] = SN_WRITE_f32(from[i * width + l]);
}

/* Asks for where some outputs of a piece of a band are to be written, channels first. */
SN_APART void sn_ask_for_outputs_f32(const sn_convolution *v, const sn_product_sizes *p,
                                     int64_t group, const sn_band *band, int64_t j,
                                     const sn_stored_f32 *y) {
  const int64_t pixels = sn_volume(p->result), line = p->result[1] * p->result[2];
  const int64_t some = SN_LEAST(sn_panel_f32, p->width - j), each = (band->high - band->low) * line;
  for (int64_t m = band->image; m < band->image + band->images; ++m)
    for (int64_t l = 0; l < some; ++l) {
      const sn_stored_f32 *const to =
          y + ((m * v->groups + group) * p->width + j + l) * pixels + band->low * line;
      for (int64_t i = 0; i < each; i += 64 / sizeof *y) __builtin_prefetch(to + i, 1);
    }
}

/* A panel of a band's outputs, from output j of a group on, piece by piece: what is to be turned
   stays in the first cache, and where it goes is there when it is written. */
SN_APART void sn_outputs_of_band_f32(sn_strip_call_f32 *strip, const sn_convolution *v,
                                     const sn_product_sizes *p, int64_t group, const sn_band *band,
                                     const sn_box *box, int64_t *offset, const float *x,
                                     const float *w, int64_t j, float *room, sn_stored_f32 *y) {
  const int64_t line = p->result[1] * p->result[2], all = band->high - band->low;
  const int whole = sn_volume(p->remainders) > 1;
  const int64_t rows = whole ? all : SN_LEAST(all, SN_MOST(1, SN_PIECE / line));
  const int64_t some = rows < all ? 1 : SN_MOST(1, SN_PIECE / (line * all));
  const int64_t images = whole ? band->images : SN_LEAST(some, band->images);
  for (int64_t m = 0; m < band->images; m += images)
    for (int64_t low = band->low; low < band->high; low += rows) {
      const sn_band piece = {band->image + m, SN_LEAST(images, band->images - m), low,
                             SN_LEAST(low + rows, band->high)};
      if (!v->last) sn_ask_for_outputs_f32(v, p, group, &piece, j, y);
      sn_panel_of_band_f32(strip, v, p, &piece, box, offset, x + m * box->size, w, j, room);
      sn_unpack_panel_f32(v, p, group, &piece, j, room, y);
    }
}

/* Packs all weights, for calls of what is `held`. */
static void sn_hold_product_f32(const sn_convolution *v, const void *x, const void *w, void *to,
                                void *scratch, int together) {
  const sn_product_sizes p = sn_sizes(v);
  const int threads = SN_LEAST((int)v->threads, SN_THREADS);
  (void)x, (void)scratch;
#pragma omp parallel if (together) num_threads(threads)
  sn_pack_weights_f32(v, &p, w, to);
}

/* The convolution or its gradient of the input, where w are the weights, in scratch memory of all
   packed weights, unless they are held, and then a room for each thread. */
static void sn_convolve_f32(const sn_convolution *v, const sn_stored_f32 *x, const void *w,
                            sn_stored_f32 *y, float *scratch, int together) {
  const sn_product_sizes p = sn_sizes(v);
  const int64_t taps = sn_volume(v->kernel), panels = (p.width + sn_panel_f32 - 1) / sn_panel_f32;
  const int64_t of_group = panels * sn_panel_f32 * taps * p.depth;
  float *const rooms = v->held ? scratch : scratch + v->groups * of_group;
  const float *const weights = v->held ? w : scratch;
  const int threads = SN_LEAST((int)v->threads, SN_THREADS);
#pragma omp parallel if (together) num_threads(threads)
  {
    if (!v->held) sn_pack_weights_f32(v, &p, w, scratch);
#pragma omp for schedule(dynamic)
    for (int64_t task = 0; task < v->groups * p.bands * v->splits; ++task) {
      const int64_t split = task % v->splits, group = task / v->splits / p.bands;
      const sn_band band = sn_band_of(v, &p, task / v->splits % p.bands);
      const sn_box box = sn_box_of(v, &p, band.low, band.high);
      float *const room = rooms + SN_THREAD_NUMBER * v->room, *const result = room + v->box;
      int64_t *const offset = (int64_t *)(room + v->room) - taps;
      sn_pack_band_f32(v, &p, group, &band, &box, x, room);
      for (int64_t k = panels * split / v->splits; k < panels * (split + 1) / v->splits; ++k) {
        const int64_t j = k * sn_panel_f32;
        const float *const panel = weights + group * of_group + j * taps * p.depth;
        sn_outputs_of_band_f32(sn_strip_f32, v, &p, group, &band, &box, offset, room, panel, j,
                               result, y);
      }
    }
  }
}
