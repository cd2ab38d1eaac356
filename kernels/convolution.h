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
   Included after convolution_parts.h.

   Zhang, Franchetti and Low, "High performance zero-memory overhead direct convolutions", 2018. */
enum {
  sn_wide_lanes_f32 = sizeof(sn_wide_f32) / sizeof(float),
  sn_panel_f32 = 2 * sn_wide_lanes_f32,
};
typedef float sn_eight_f32 __attribute__((vector_size(8 * sizeof(float))));

/* tile = a strip of ROWS pixels, at the addresses `at`, times a panel of WIDE vectors. Of each run,
   which begins `offset` further, every `step`th element up to `length` is taken. */
#define SN_STRIP_f32(NAME, ROWS, WIDE, LEFT)                                                       \
  static __attribute__((noinline)) void NAME(                                                      \
      int64_t runs, int64_t length, int64_t step, const int64_t *offset, const float *const *at,   \
      const float *w, float *tile) {                                                               \
    sn_wide_f32 sum[ROWS][WIDE], *const to = (sn_wide_f32 *)tile;                                  \
    _Pragma("GCC unroll 12") for (int i = 0; i < ROWS; ++i)                                        \
        _Pragma("GCC unroll 2") for (int j = 0; j < WIDE; ++j) sum[i][j] = SN_ALL_f32(0);          \
    for (int64_t r = 0; r < runs; ++r) {                                                           \
      const float *x[ROWS];                                                                        \
      _Pragma("GCC unroll 12") for (int i = 0; i < ROWS; ++i) x[i] = at[i] + offset[r];            \
      for (int64_t l = 0; l < length; l += step, w += WIDE * sn_wide_lanes_f32) {                  \
        sn_wide_f32 right[WIDE];                                                                   \
        _Pragma("GCC unroll 2") for (int j = 0; j < WIDE; ++j)                                     \
            right[j] = ((const sn_wide_f32 *)w)[j];                                                \
        _Pragma("GCC unroll 2") for (int j = 0; j < WIDE; ++j)                                     \
            __builtin_prefetch(w + (SN_AHEAD * WIDE + j) * sn_wide_lanes_f32);                     \
        _Pragma("GCC unroll 12") for (int i = 0; i < ROWS; ++i) {                                  \
          const float *const at_l = x[i] + l;                                                      \
          _Pragma("GCC unroll 2") for (int j = 0; j < WIDE; ++j)                                   \
              sum[i][j] = SN_FMA_f32(LEFT(at_l, j), right[j], sum[i][j]);                          \
        }                                                                                          \
      }                                                                                            \
    }                                                                                              \
    _Pragma("GCC unroll 12") for (int i = 0; i < ROWS; ++i)                                        \
        _Pragma("GCC unroll 2") for (int j = 0; j < WIDE; ++j) to[i * WIDE + j] = sum[i][j];       \
  }
#define SN_SPREAD_f32(x, j) SN_ALL_f32(*(x))
#define SN_BESIDE_f32(x, j) sn_beside_f32((x) + (j) * sn_wide_lanes_f32)
SN_INLINE sn_wide_f32 sn_beside_f32(const float *x) {
  sn_wide_f32 y;
  memcpy(&y, x, sizeof y);
  return y;
}
#define SN_STRIPS_f32(ROWS)                                                                        \
  SN_STRIP_f32(sn_strip_##ROWS##_1_f32, ROWS, 1, SN_SPREAD_f32)                                    \
  SN_STRIP_f32(sn_strip_##ROWS##_2_f32, ROWS, 2, SN_SPREAD_f32)                                    \
  SN_STRIP_f32(sn_singles_##ROWS##_f32, ROWS, 2, SN_BESIDE_f32)
SN_HEIGHTS(SN_STRIPS_f32)

/* The strip of so many rows; of `single` groups a row's elements are beside those of the panel. */
static void sn_strip_f32(int single, int64_t rows, int64_t width, int64_t runs, int64_t length,
                         int64_t step, const int64_t *offset, const float *const *at,
                         const float *w, float *tile) {
#define SN_TAKE_STRIP_f32(ROWS)                                                                    \
  if (rows == ROWS && single)                                                                      \
    sn_singles_##ROWS##_f32(runs, length, step, offset, at, w, tile);                              \
  else if (rows == ROWS && width == sn_panel_f32)                                                  \
    sn_strip_##ROWS##_2_f32(runs, length, step, offset, at, w, tile);                              \
  else if (rows == ROWS)                                                                           \
    sn_strip_##ROWS##_1_f32(runs, length, step, offset, at, w, tile);
  SN_HEIGHTS(SN_TAKE_STRIP_f32)
}

/* How many outputs the panel from output j on has room for. */
static int64_t sn_panel_width_f32(const sn_convolution *v, int64_t width, int64_t j) {
  return !v->single && width - j <= sn_wide_lanes_f32 ? sn_wide_lanes_f32 : sn_panel_f32;
}

/* Eight lines of eight elements, turned: blocks of 1, then 2, then 4 change places across. */
SN_INLINE void sn_turn_f32(sn_eight_f32 *x) {
#define SN_ACROSS_f32(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
  _Pragma("GCC unroll 4") for (int i = 0; i < 8; i += 2) {
    const sn_eight_f32 a = x[i], b = x[i + 1];
    x[i] = SN_ACROSS_f32(a, b, 0, 8, 2, 10, 4, 12, 6, 14);
    x[i + 1] = SN_ACROSS_f32(a, b, 1, 9, 3, 11, 5, 13, 7, 15);
  }
  _Pragma("GCC unroll 4") for (int k = 0; k < 4; ++k) {
    const int i = k / 2 * 4 + k % 2;
    const sn_eight_f32 a = x[i], b = x[i + 2];
    x[i] = SN_ACROSS_f32(a, b, 0, 1, 8, 9, 4, 5, 12, 13);
    x[i + 2] = SN_ACROSS_f32(a, b, 2, 3, 10, 11, 6, 7, 14, 15);
  }
  _Pragma("GCC unroll 4") for (int i = 0; i < 4; ++i) {
    const sn_eight_f32 a = x[i], b = x[i + 4];
    x[i] = SN_ACROSS_f32(a, b, 0, 1, 2, 3, 8, 9, 10, 11);
    x[i + 4] = SN_ACROSS_f32(a, b, 4, 5, 6, 7, 12, 13, 14, 15);
  }
}

/* to[j][i] = from[i][j] of m lines of n; if SPARE, elements up to 8 further may be read. */
#define SN_TRANSPOSE_f32(NAME, FROM, TO, READ, WRITE, SPARE)                                       \
  static void NAME(int64_t m, int64_t n, const FROM *from, int64_t step, TO *to,                   \
                   int64_t to_step) {                                                              \
    int64_t i = 0;                                                                                 \
    for (; i + 8 <= m; i += 8) {                                                                   \
      int64_t j = 0;                                                                               \
      for (; j + 8 <= n || (SPARE && j < n); j += 8) {                                             \
        const FROM *const f = from + i * step + j;                                                 \
        TO *const t = to + j * to_step + i;                                                        \
        sn_eight_f32 x[8];                                                                         \
        _Pragma("GCC unroll 8") for (int u = 0; u < 8; ++u)                                        \
          if (sizeof *f == sizeof(float)) memcpy(&x[u], f + u * step, sizeof x[u]);                \
          else for (int k = 0; k < 8; ++k) x[u][k] = READ(f[u * step + k]);                        \
        sn_turn_f32(x);                                                                            \
        _Pragma("GCC unroll 8") for (int u = 0; u < 8; ++u)                                        \
          if (SPARE && j + u >= n) break;                                                          \
          else if (sizeof *t == sizeof(float)) memcpy(t + u * to_step, &x[u], sizeof x[u]);        \
          else for (int k = 0; k < 8; ++k) t[u * to_step + k] = WRITE(x[u][k]);                    \
      }                                                                                            \
      for (; j < n; ++j)                                                                           \
        for (int u = 0; u < 8; ++u)                                                                \
          to[j * to_step + i + u] = WRITE(READ(from[(i + u) * step + j]));                         \
    }                                                                                              \
    for (; i < m; ++i)                                                                             \
      for (int64_t j = 0; j < n; ++j) to[j * to_step + i] = WRITE(READ(from[i * step + j]));       \
  }
#define SN_AS_IT_IS_f32(x) (x)
SN_TRANSPOSE_f32(sn_turn_in_f32, sn_stored_f32, float, SN_READ_f32, SN_AS_IT_IS_f32, 0)
SN_TRANSPOSE_f32(sn_turn_out_f32, float, sn_stored_f32, SN_AS_IT_IS_f32, SN_WRITE_f32, 1)

SN_INLINE void sn_copy_in_f32(int64_t n, const sn_stored_f32 *from, float *to) {
  if (sizeof *from == sizeof(float)) memcpy(to, from, n * sizeof *to);
  else for (int64_t i = 0; i < n; ++i) to[i] = SN_READ_f32(from[i]);
}

SN_INLINE void sn_copy_out_f32(int64_t n, const float *from, sn_stored_f32 *to) {
  if (sizeof *to == sizeof(float)) memcpy(to, from, n * sizeof *to);
  else for (int64_t i = 0; i < n; ++i) to[i] = SN_WRITE_f32(from[i]);
}

SN_INLINE void sn_zero_f32(float *to, int64_t n) { memset(to, 0, n * sizeof *to); }

/* A line of `count` pixels from `start`, each the `every`th; those beyond `size` are 0. */
static void sn_pack_line_f32(int64_t channels, const sn_stored_f32 *x, int64_t of_channel,
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
static void sn_pack_image_f32(int64_t channels, const sn_stored_f32 *x, int64_t of_channel,
                              int64_t of_pixel, const int64_t *size, const sn_box *box, float *to) {
  const int flat = box->count[2] == 1 && size[2] == 1 && box->start[2] == 0;
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
static void sn_pack_band_f32(const sn_convolution *v, const sn_product_sizes *p, int64_t group,
                             const sn_band *band, const sn_box *box, const sn_stored_f32 *x,
                             float *to) {
  const int64_t pixels = sn_volume(p->source), all = v->groups * p->depth;
  const int64_t of_channel = v->last ? 1 : pixels, of_pixel = v->last ? all : 1;
  x += band->image * all * pixels + group * p->depth * of_channel;
  for (int64_t m = 0; m < band->images; ++m)
    sn_pack_image_f32(p->depth, x + m * all * pixels, of_channel, of_pixel, p->source, box,
                      to + m * box->size);
}

/* A panel of the taps of some axes, run after run; what lacks is 0. */
static void sn_pack_panel_f32(const sn_convolution *v, const sn_product_sizes *p,
                              const sn_axis *axis, int64_t j, const sn_stored_f32 *w, float *to) {
  const int64_t width = sn_panel_width_f32(v, p->width, j), some = SN_LEAST(width, p->width - j);
  const int64_t taps = sn_taps(axis);
  if (some < width) sn_zero_f32(to, taps * p->depth * width);
  for (int64_t first = 0; first < p->depth; first += 16) {
    const int64_t deep = SN_LEAST(16, p->depth - first);
    for (int64_t t = 0; t < taps; ++t) {
      const int64_t a = t / axis[2].taps / axis[1].taps, b = t / axis[2].taps % axis[1].taps;
      const int64_t x = axis[0].tap + a * axis[0].tap_step, y = axis[1].tap + b * axis[1].tap_step;
      const int64_t z = axis[2].tap + t % axis[2].taps * axis[2].tap_step;
      const int64_t tap = (x * v->kernel[1] + y) * v->kernel[2] + z;
      const sn_stored_f32 *const from =
          w + j * p->of_width + tap + first * p->of_depth;
      float *const line = to + (t * p->depth + first) * width;
      if (p->of_depth == 1)
        sn_turn_in_f32(some, deep, from, p->of_width, line, width);
      else
        for (int64_t l = 0; l < deep; ++l)
          for (int64_t i = 0; i < some; ++i)
            line[l * width + i] = SN_READ_f32(from[l * p->of_depth + i * p->of_width]);
    }
  }
}

/* All panels, each with the taps of one remainder after the other. */
static void sn_pack_weights_f32(const sn_convolution *v, const sn_product_sizes *p,
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

/* The outputs of a panel for the pixels of one remainder. */
static void sn_pixels_f32(int single, const sn_axis *axis, const sn_box *box, int64_t images,
                          int64_t runs, int64_t length, const int64_t *offset, const float *x,
                          const float *w, int64_t width, const sn_place_f32 *y) {
  const int64_t all = images * axis[0].count * axis[1].count * axis[2].count;
  const int64_t rows = sn_height(all);
  _Alignas(64) float tile[SN_TALLEST * sn_panel_f32];
  const float *at[SN_TALLEST];
  float *to[SN_TALLEST], *const first = y->first + axis[0].first * y->of[0] +
                                        axis[1].first * y->of[1] + axis[2].first * y->of[2];
  int64_t a = 0, b = 0, c = 0, m = 0;
  for (int k = 0; k < 3; ++k) x += axis[k].from * box->along[k];
  for (int64_t i = 0; i < all; i += rows) {
    const int64_t high = SN_LEAST(rows, all - i);
    for (int64_t u = 0; u < high; ++u) {
      at[u] = x + m * box->size + a * axis[0].stride * box->along[0] +
              b * axis[1].stride * box->along[1] + c * axis[2].stride * box->along[2];
      to[u] = first + m * y->of_image + a * axis[0].step * y->of[0] + b * axis[1].step * y->of[1] +
              c * axis[2].step * y->of[2];
      if (++c < axis[2].count) continue;
      c = 0;
      if (++b < axis[1].count) continue;
      b = 0;
      if (++a == axis[0].count) a = 0, ++m;
    }
    for (int64_t u = high; u < rows; ++u) at[u] = at[0];
    sn_strip_f32(single, rows, width, runs, length, 1, offset, at, w, tile);
    for (int64_t u = 0; u < high; ++u) memcpy(to[u], tile + u * width, width * sizeof *tile);
  }
}

/* A panel of a band's outputs, from output j of a group on: y: [images, pixels, width] */
static void sn_panel_of_band_f32(const sn_convolution *v, const sn_product_sizes *p,
                                 const sn_band *band, const sn_box *box, int64_t *offset,
                                 const float *x, const float *w, int64_t j, float *y) {
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
    sn_pixels_f32(v->single, axis, box, band->images, runs, length, offset, x, w, width, &place);
    w += sn_taps(axis) * (v->single ? 1 : p->depth) * width;
  }
}

/* Such a panel to where it belongs in the result. */
static void sn_unpack_panel_f32(const sn_convolution *v, const sn_product_sizes *p, int64_t group,
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

/* The convolution or its gradient of the input, where w are the weights, in scratch memory of all
   packed weights and then a room for each thread. */
static void sn_convolve_f32(const sn_convolution *v, int backward, const sn_stored_f32 *x,
                            const sn_stored_f32 *w, sn_stored_f32 *y, float *scratch,
                            int together) {
  const sn_product_sizes p = sn_sizes(v, backward);
  const int64_t taps = sn_volume(v->kernel), panels = (p.width + sn_panel_f32 - 1) / sn_panel_f32;
  const int64_t of_group = panels * sn_panel_f32 * taps * p.depth;
  float *const rooms = scratch + v->groups * of_group;
  const int threads = SN_LEAST((int)v->threads, SN_THREADS);
#pragma omp parallel if (together) num_threads(threads)
  {
    sn_pack_weights_f32(v, &p, w, scratch);
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
        const float *const panel = scratch + group * of_group + j * taps * p.depth;
        sn_panel_of_band_f32(v, &p, &band, &box, offset, room, panel, j, result);
        sn_unpack_panel_f32(v, &p, group, &band, j, result, y);
      }
    }
  }
}

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
