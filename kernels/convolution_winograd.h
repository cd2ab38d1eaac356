/* Convolutions of 3 by 3 without strides by Winograd's F(4 x 4, 3 x 3): 36 products of matrices
   take the place of 16 times 9.

   A tile of 4 by 4 pixels needs 6 by 6 of the source. Both these and the kernel are evaluated, as
   polynomials along each axis, at the points 0, +-a, +-b and infinity; there they are multiplied,
   which sums over channels; and the product is interpolated. With a = 11/16 and b = 11/8 an error
   is about twice that of a plain sum, where 1 and 2 make it ten times that. Boxes, panels and
   strips are those of convolution.h, with which this is included.

   Lavin and Gray, "Fast algorithms for convolutional neural networks", 2016. */
enum { sn_points = 6, sn_tile = 4, sn_taps_of_tile = 3 };
/* Elements between the values at one point and the next, lest these share sets of a cache. */
enum { sn_spare_f32 = sn_wide_lanes_f32 };
#define SN_A2 (121. / 256) /* a * a, as b = 2 * a */
#define SN_B2 (121. / 64)
#define SN_A (11. / 16)
#define SN_B (11. / 8)
#define SN_TIMES_f32(c, x) (SN_ALL_f32((float)(c)) * (x))
#define SN_PLUS_f32(c, x, y) SN_FMA_f32(SN_ALL_f32((float)(c)), x, y)

/* Six elements of a source at the points. */
SN_INLINE void sn_source_f32(const sn_wide_f32 *x, sn_wide_f32 *y) {
  const sn_wide_f32 even_a = SN_PLUS_f32(-SN_B2, x[2], x[4]);
  const sn_wide_f32 even_b = SN_PLUS_f32(-SN_A2, x[2], x[4]);
  const sn_wide_f32 odd_a = SN_PLUS_f32(-SN_B2, x[1], x[3]);
  const sn_wide_f32 odd_b = SN_PLUS_f32(-SN_A2, x[1], x[3]);
  y[0] = SN_PLUS_f32(SN_A2 * SN_B2, x[0], SN_PLUS_f32(-(SN_A2 + SN_B2), x[2], x[4]));
  y[1] = SN_PLUS_f32(SN_A, odd_a, even_a);
  y[2] = SN_PLUS_f32(-SN_A, odd_a, even_a);
  y[3] = SN_PLUS_f32(SN_B, odd_b, even_b);
  y[4] = SN_PLUS_f32(-SN_B, odd_b, even_b);
  y[5] = SN_PLUS_f32(SN_A2 * SN_B2, x[1], SN_PLUS_f32(-(SN_A2 + SN_B2), x[3], x[5]));
}

/* Three elements of a kernel at the points, each over the product of its distances from the others.
   */
SN_INLINE void sn_kernel_f32(const sn_wide_f32 *x, sn_wide_f32 *y) {
  const double a = 1 / (2 * SN_A2 * (SN_A2 - SN_B2)), b = 1 / (2 * SN_B2 * (SN_B2 - SN_A2));
  const sn_wide_f32 even_a = SN_TIMES_f32(a, SN_PLUS_f32(SN_A2, x[2], x[0]));
  const sn_wide_f32 even_b = SN_TIMES_f32(b, SN_PLUS_f32(SN_B2, x[2], x[0]));
  y[0] = SN_TIMES_f32(1 / (SN_A2 * SN_B2), x[0]);
  y[1] = SN_PLUS_f32(SN_A * a, x[1], even_a);
  y[2] = SN_PLUS_f32(-SN_A * a, x[1], even_a);
  y[3] = SN_PLUS_f32(SN_B * b, x[1], even_b);
  y[4] = SN_PLUS_f32(-SN_B * b, x[1], even_b);
  y[5] = x[2];
}

/* Four pixels of a result from its values at the points. */
SN_INLINE void sn_pixels_of_points_f32(const sn_wide_f32 *x, sn_wide_f32 *y) {
  const sn_wide_f32 even_a = x[1] + x[2], odd_a = x[1] - x[2];
  const sn_wide_f32 even_b = x[3] + x[4], odd_b = x[3] - x[4];
  y[0] = x[0] + even_a + even_b;
  y[1] = SN_PLUS_f32(SN_A, odd_a, SN_TIMES_f32(SN_B, odd_b));
  y[2] = SN_PLUS_f32(SN_A2, even_a, SN_TIMES_f32(SN_B2, even_b));
  y[3] = SN_PLUS_f32(SN_A * SN_A2, odd_a, SN_PLUS_f32(SN_B * SN_B2, odd_b, x[5]));
}

/* y: [MADE, MADE] from x: [TAKEN, TAKEN] by such a step along both axes; a column of x is `step`
   elements from the next, and a line `line`, and so y by `to_step` and `to_line`. */
#define SN_ALONG_BOTH_f32(NAME, TAKEN, MADE, STEP)                                                 \
  SN_APART void NAME(const float *x, int64_t line, int64_t step, float *y, int64_t to_line,        \
                     int64_t to_step) {                                                            \
    sn_wide_f32 half[MADE][TAKEN];                                                                 \
    _Pragma("GCC unroll 6") for (int j = 0; j < TAKEN; ++j) {                                      \
      sn_wide_f32 from[TAKEN], to[MADE];                                                           \
      _Pragma("GCC unroll 6") for (int i = 0; i < TAKEN; ++i)                                      \
          from[i] = sn_beside_f32(x + i * line + j * step);                                        \
      STEP(from, to);                                                                              \
      _Pragma("GCC unroll 6") for (int i = 0; i < MADE; ++i) half[i][j] = to[i];                   \
    }                                                                                              \
    _Pragma("GCC unroll 6") for (int i = 0; i < MADE; ++i) {                                       \
      sn_wide_f32 to[MADE];                                                                        \
      STEP(half[i], to);                                                                           \
      _Pragma("GCC unroll 6") for (int j = 0; j < MADE; ++j)                                       \
          memcpy(y + i * to_line + j * to_step, &to[j], sizeof to[j]);                             \
    }                                                                                              \
  }
SN_ALONG_BOTH_f32(sn_source_at_points_f32, sn_points, sn_points, sn_source_f32)
SN_ALONG_BOTH_f32(sn_kernel_at_points_f32, sn_taps_of_tile, sn_points, sn_kernel_f32)
SN_ALONG_BOTH_f32(sn_tile_of_points_f32, sn_points, sn_tile, sn_pixels_of_points_f32)

/* The tiles of a band: so many lines of each image, of so many tiles. */
typedef struct {
  int64_t images, down, across, all;
} sn_tiles;

SN_APART sn_tiles sn_tiles_of(const sn_product_sizes *p, const sn_band *band) {
  const int64_t down = (band->high - band->low + sn_tile - 1) / sn_tile;
  const int64_t across = (p->result[1] + sn_tile - 1) / sn_tile;
  return (sn_tiles){band->images, down, across, band->images * down * across};
}

/* The box of a band whose last tiles are whole. */
SN_APART sn_box sn_box_of_tiles(const sn_convolution *v, const sn_product_sizes *p,
                                const sn_band *band) {
  const sn_tiles tiles = sn_tiles_of(p, band);
  sn_product_sizes whole = *p;
  whole.result[1] = tiles.across * sn_tile;
  return sn_box_of(v, &whole, band->low, band->low + tiles.down * sn_tile);
}

/* The elements of a panel of so many channels at all points, as of the others. */
SN_INLINE int64_t sn_panel_at_points_f32(int64_t depth) {
  return sn_points * sn_points * (depth * sn_panel_f32 + sn_spare_f32);
}

/* A panel of weights at the points: to: [points, depth, width], with room for it as it was: [taps,
   depth, width] */
SN_APART void sn_weights_at_points_f32(const sn_convolution *v, const sn_product_sizes *p,
                                       int64_t j, const sn_stored_f32 *w, float *room, float *to) {
  const int64_t plane = p->depth * sn_panel_width_f32(v, p->width, j);
  const sn_box box = sn_box_of(v, p, 0, p->result[0]);
  sn_axis axis[3];
  sn_axes_of(v, p, &box, 0, p->result[0], 0, axis);
  sn_pack_panel_f32(v, p, axis, j, w, room);
  for (int64_t l = 0; l < plane; l += sn_wide_lanes_f32)
    sn_kernel_at_points_f32(room + l, sn_taps_of_tile * plane, plane, to + l,
                            sn_points * (plane + sn_spare_f32), plane + sn_spare_f32);
}

/* All of them. */
SN_APART void sn_all_at_points_f32(const sn_convolution *v, const sn_product_sizes *p,
                                   const sn_stored_f32 *w, float *room, float *to) {
  const int64_t panels = (p->width + sn_panel_f32 - 1) / sn_panel_f32;
#pragma omp for schedule(static)
  for (int64_t k = 0; k < panels; ++k)
    sn_weights_at_points_f32(v, p, k * sn_panel_f32, w, room,
                             to + k * sn_panel_at_points_f32(p->depth));
}

/* The tiles of a box at the points: to: [points, tiles, depth] */
SN_APART void sn_tiles_at_points_f32(const sn_tiles *tiles, const sn_box *box, int64_t depth,
                                     const float *x, float *to) {
  const int64_t plane = tiles->all * depth + sn_spare_f32;
  for (int64_t m = 0; m < tiles->images; ++m)
    for (int64_t i = 0; i < tiles->down; ++i)
      for (int64_t j = 0; j < tiles->across; ++j, to += depth) {
        const float *const from =
            x + m * box->size + i * sn_tile * box->along[0] + j * sn_tile * box->along[1];
        for (int64_t l = 0; l < depth; l += sn_wide_lanes_f32)
          sn_source_at_points_f32(from + l, box->along[0], box->along[1], to + l,
                                  sn_points * plane, plane);
      }
}

/* A band of x as tiles at the points, packed on the way into `box_room`; how many tiles it has. */
SN_APART int64_t sn_band_at_points_f32(const sn_convolution *v, const sn_product_sizes *p,
                                       const sn_band *band, const sn_stored_f32 *x, float *box_room,
                                       float *to) {
  const sn_tiles tiles = sn_tiles_of(p, band);
  const sn_box box = sn_box_of_tiles(v, p, band);
  sn_pack_band_f32(v, p, 0, band, &box, x, box_room);
  sn_tiles_at_points_f32(&tiles, &box, p->depth, box_room, to);
  return tiles.all;
}

/* Such tiles times a panel at the points: to: [points, tall, width], of which `tiles` are wanted */
SN_APART void sn_multiply_points_f32(int64_t tiles, int64_t tall, int64_t depth, const float *x,
                                     const float *w, int64_t width, float *to) {
  const int64_t rows = sn_height(tiles), zero = 0;
  const float *at[SN_TALLEST];
  for (int64_t q = 0; q < sn_points * sn_points; ++q, x += sn_spare_f32, w += sn_spare_f32) {
    for (int64_t t = 0; t < tiles; t += rows) {
      for (int64_t u = 0; u < rows; ++u) at[u] = x + SN_LEAST(t + u, tiles - 1) * depth;
      sn_strip_f32(rows, width, 1, depth, 1, &zero, at, w, to + (q * tall + t) * width);
    }
    x += tiles * depth, w += depth * width;
  }
}

/* A panel of the outputs of a band from its tiles at the points: y: [images, pixels, width] */
SN_APART void sn_pixels_of_tiles_f32(const sn_product_sizes *p, const sn_band *band, int64_t tall,
                                     const float *x, int64_t width, float *y) {
  const sn_tiles tiles = sn_tiles_of(p, band);
  const int64_t high = band->high - band->low, wide = p->result[1], plane = tall * width;
  float pixels[sn_tile * sn_tile * sn_wide_lanes_f32];
  for (int64_t m = 0; m < tiles.images; ++m, y += high * wide * width)
    for (int64_t i = 0; i < high; i += sn_tile)
      for (int64_t j = 0; j < wide; j += sn_tile, x += width)
        for (int64_t l = 0; l < width; l += sn_wide_lanes_f32) {
          float *const to = y + (i * wide + j) * width + l;
          if (i + sn_tile <= high && j + sn_tile <= wide) {
            sn_tile_of_points_f32(x + l, sn_points * plane, plane, to, wide * width, width);
            continue;
          }
          sn_tile_of_points_f32(x + l, sn_points * plane, plane, pixels,
                                sn_tile * sn_wide_lanes_f32, sn_wide_lanes_f32);
          for (int64_t u = 0; u < SN_LEAST(sn_tile, high - i); ++u)
            for (int64_t c = 0; c < SN_LEAST(sn_tile, wide - j); ++c)
              memcpy(to + (u * wide + c) * width, pixels + (u * sn_tile + c) * sn_wide_lanes_f32,
                     sizeof(sn_wide_f32));
        }
}

static void sn_hold_points_f32(const sn_convolution *v, const void *x, const void *w, void *to,
                               void *scratch, int together) {
  const sn_product_sizes p = sn_sizes(v);
  const int threads = SN_LEAST((int)v->threads, SN_THREADS);
  (void)x;
#pragma omp parallel if (together) num_threads(threads)
  sn_all_at_points_f32(v, &p, w, (float *)scratch + SN_THREAD_NUMBER * v->room, to);
}

/* The convolution or its gradient of the input, of one group. Of a thread's room the result comes
   after the box, and then the tiles and the panel's products at the points. A single band meets each
   panel of weights once, so each thread has but one of these. */
static void sn_convolve_points_f32(const sn_convolution *v, const sn_stored_f32 *x, const void *w,
                                   sn_stored_f32 *y, float *scratch, int together) {
  const sn_product_sizes p = sn_sizes(v);
  const int64_t panels = (p.width + sn_panel_f32 - 1) / sn_panel_f32;
  const int64_t points = sn_points * sn_points, tall = v->tiles + SN_TALLEST;
  const int64_t of_panel = sn_panel_at_points_f32(p.depth), single = p.bands == 1 && !v->held;
  float *const rooms = v->held ? scratch : scratch + (single ? v->threads : panels) * of_panel;
  const float *const weights = v->held ? w : scratch;
  const int threads = SN_LEAST((int)v->threads, SN_THREADS);
#pragma omp parallel if (together) num_threads(threads)
  {
    float *const room = rooms + SN_THREAD_NUMBER * v->room;
    float *const sums = room + v->room - points * tall * sn_panel_f32;
    float *const source = sums - points * (v->tiles * p.depth + sn_spare_f32);
    float *const own = scratch + SN_THREAD_NUMBER * of_panel;
    if (!v->held && !single) sn_all_at_points_f32(v, &p, w, room, scratch);
#pragma omp for schedule(dynamic)
    for (int64_t task = 0; task < p.bands * v->splits; ++task) {
      const int64_t split = task % v->splits;
      const sn_band band = sn_band_of(v, &p, task / v->splits);
      const int64_t tiles = sn_band_at_points_f32(v, &p, &band, x, room, source);
      for (int64_t k = panels * split / v->splits; k < panels * (split + 1) / v->splits; ++k) {
        const int64_t j = k * sn_panel_f32, width = sn_panel_width_f32(v, p.width, j);
        if (single) sn_weights_at_points_f32(v, &p, j, w, room, own);
        sn_multiply_points_f32(tiles, tall, p.depth, source,
                               single ? own : weights + k * of_panel, width, sums);
        sn_pixels_of_tiles_f32(&p, &band, tall, sums, width, room + v->box);
        sn_unpack_panel_f32(v, &p, 0, &band, j, room + v->box, y);
      }
    }
  }
}
