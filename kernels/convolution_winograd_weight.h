/* The gradient of 3 by 3 weights by Winograd's algorithm, which is that of convolution_winograd.h
   turned around: tiles of x and y are evaluated at the points, where products are summed over all
   tiles, and the weights are what leads back. */

/* Four pixels of y at the points. */
SN_INLINE void sn_four_pixels_f32(const sn_wide_f32 *x, sn_wide_f32 *y) {
  const sn_wide_f32 even_a = SN_PLUS_f32(SN_A2, x[2], x[0]);
  const sn_wide_f32 even_b = SN_PLUS_f32(SN_B2, x[2], x[0]);
  const sn_wide_f32 odd_a = SN_PLUS_f32(SN_A2, x[3], x[1]);
  const sn_wide_f32 odd_b = SN_PLUS_f32(SN_B2, x[3], x[1]);
  y[0] = x[0];
  y[1] = SN_PLUS_f32(SN_A, odd_a, even_a);
  y[2] = SN_PLUS_f32(-SN_A, odd_a, even_a);
  y[3] = SN_PLUS_f32(SN_B, odd_b, even_b);
  y[4] = SN_PLUS_f32(-SN_B, odd_b, even_b);
  y[5] = x[3];
}

/* Three elements of a kernel from the sums at the points. */
SN_INLINE void sn_kernel_of_points_f32(const sn_wide_f32 *x, sn_wide_f32 *y) {
  const double a = 1 / (2 * SN_A2 * (SN_A2 - SN_B2)), b = 1 / (2 * SN_B2 * (SN_B2 - SN_A2));
  const sn_wide_f32 even_a = SN_TIMES_f32(a, x[1] + x[2]);
  const sn_wide_f32 odd_a = SN_TIMES_f32(SN_A * a, x[1] - x[2]);
  const sn_wide_f32 even_b = SN_TIMES_f32(b, x[3] + x[4]);
  y[0] = SN_PLUS_f32(1 / (SN_A2 * SN_B2), x[0], even_a + even_b);
  y[1] = SN_PLUS_f32(SN_B * b, x[3] - x[4], odd_a);
  y[2] = SN_PLUS_f32(SN_A2, even_a, SN_PLUS_f32(SN_B2, even_b, x[5]));
}
SN_ALONG_BOTH_f32(sn_pixels_at_points_f32, sn_tile, sn_points, sn_four_pixels_f32)
SN_ALONG_BOTH_f32(sn_kernel_of_sums_f32, sn_points, sn_taps_of_tile, sn_kernel_of_points_f32)

/* The tiles of a panel of y at the points; y: [images, pixels, width], to: [points, tiles, width]
   */
SN_APART void sn_result_at_points_f32(const sn_product_sizes *p, const sn_band *band,
                                      const float *y, int64_t width, float *to) {
  const sn_tiles tiles = sn_tiles_of(p, band);
  const int64_t high = band->high - band->low, wide = p->result[1], plane = tiles.all * width;
  for (int64_t m = 0; m < tiles.images; ++m, y += high * wide * width)
    for (int64_t i = 0; i < high; i += sn_tile)
      for (int64_t j = 0; j < wide; j += sn_tile, to += width)
        for (int64_t l = 0; l < width; l += sn_wide_lanes_f32) {
          const float *const from = y + (i * wide + j) * width + l;
          if (i + sn_tile <= high && j + sn_tile <= wide) {
            sn_pixels_at_points_f32(from, wide * width, width, to + l, sn_points * plane, plane);
            continue;
          }
          float pixels[sn_tile * sn_tile * sn_wide_lanes_f32] = {0};
          for (int64_t u = 0; u < SN_LEAST(sn_tile, high - i); ++u)
            for (int64_t c = 0; c < SN_LEAST(sn_tile, wide - j); ++c)
              memcpy(pixels + (u * sn_tile + c) * sn_wide_lanes_f32, from + (u * wide + c) * width,
                     sizeof(sn_wide_f32));
          sn_pixels_at_points_f32(pixels, sn_tile * sn_wide_lanes_f32, sn_wide_lanes_f32, to + l,
                                  sn_points * plane, plane);
        }
}

/* sum: [points, depth, width] (+)= the products of tiles at the points */
SN_APART void sn_sum_points_f32(int64_t tiles, int64_t depth, const float *x, const float *y,
                                int64_t width, int begins, float *sum) {
  const int64_t rows = sn_height(depth), zero = 0;
  _Alignas(64) float tile[SN_TALLEST * sn_panel_f32];
  const float *at[SN_TALLEST];
  for (int64_t q = 0; q < sn_points * sn_points; ++q, x += tiles * depth + sn_spare_f32) {
    for (int64_t l = 0; l < depth; l += rows) {
      const int64_t some = SN_LEAST(rows, depth - l) * width;
      for (int64_t u = 0; u < rows; ++u) at[u] = x + SN_LEAST(l + u, depth - 1);
      sn_strip_f32(rows, width, 1, tiles * depth, depth, &zero, at, y, tile);
      for (int64_t i = 0; i < some; ++i) sum[i] = begins ? tile[i] : sum[i] + tile[i];
      sum += some;
    }
    y += tiles * width;
  }
}

/* A panel of the weights from the parts of its sums at the points, with room for it. */
SN_APART void sn_weights_of_points_f32(const sn_convolution *v, int64_t j, float *sum,
                                       int64_t of_part, float *room, sn_stored_f32 *w) {
  const int64_t plane = v->inputs * sn_panel_width_f32(v, v->outputs, j);
  for (int64_t part = 1; part < v->sums; ++part)
    for (int64_t i = 0; i < sn_points * sn_points * plane; ++i) sum[i] += sum[part * of_part + i];
  for (int64_t l = 0; l < plane; l += sn_wide_lanes_f32)
    sn_kernel_of_sums_f32(sum + l, sn_points * plane, plane, room + l, sn_taps_of_tile * plane,
                          plane);
  sn_convolution one = *v;
  one.sums = 1;
  sn_unpack_weights_f32(&one, 0, j, room, 0, w);
}

/* The gradient of the weights of one group, in scratch memory of the sums and then rooms. Of a
   thread's room a panel of y comes after the box, and then the tiles of x and of y at the points.
   Of a single band a panel is done when it is summed, so each thread has but one panel of sums. */
static void sn_correlate_points_f32(const sn_convolution *v, const sn_stored_f32 *x,
                                    const sn_stored_f32 *y, sn_stored_f32 *w, float *scratch,
                                    int together) {
  const sn_product_sizes p = sn_sizes(v);
  const int64_t panels = (p.width + sn_panel_f32 - 1) / sn_panel_f32;
  const int64_t of_panel = sn_points * sn_points * p.depth * sn_panel_f32;
  const int64_t of_part = panels * of_panel, of_tiles = sn_points * sn_points * v->tiles;
  const int single = p.bands == 1, threads = SN_LEAST((int)v->threads, SN_THREADS);
  float *const rooms = scratch + (single ? v->threads * of_panel : v->sums * of_part);
#pragma omp parallel if (together) num_threads(threads)
  {
    float *const own = scratch + SN_THREAD_NUMBER * of_panel;
    float *const room = rooms + SN_THREAD_NUMBER * v->room, *const result = room + v->box;
    float *const pixels = room + v->room - of_tiles * sn_panel_f32;
    float *const source = pixels - of_tiles * p.depth - sn_points * sn_points * sn_spare_f32;
#pragma omp for schedule(dynamic)
    for (int64_t task = 0; task < v->sums * v->splits; ++task) {
      const int64_t split = task % v->splits, part = task / v->splits;
      const int64_t begin = p.bands * part / v->sums, end = p.bands * (part + 1) / v->sums;
      for (int64_t each = begin; each < end; ++each) {
        const sn_band band = sn_band_of(v, &p, each);
        const int64_t tiles = sn_band_at_points_f32(v, &p, &band, x, room, source);
        for (int64_t k = panels * split / v->splits; k < panels * (split + 1) / v->splits; ++k) {
          const int64_t j = k * sn_panel_f32, width = sn_panel_width_f32(v, p.width, j);
          sn_pack_result_f32(v, &p, 0, &band, j, y, result);
          sn_result_at_points_f32(&p, &band, result, width, pixels);
          float *const sum = single ? own : scratch + part * of_part + k * of_panel;
          sn_sum_points_f32(tiles, p.depth, source, pixels, width, each == begin, sum);
          if (single) sn_weights_of_points_f32(v, j, sum, 0, room, w);
        }
      }
    }
#pragma omp for schedule(static)
    for (int64_t k = 0; k < (single ? 0 : panels); ++k)
      sn_weights_of_points_f32(v, k * sn_panel_f32, scratch + k * of_panel, of_part, room, w);
  }
}
