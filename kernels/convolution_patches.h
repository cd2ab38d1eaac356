/* Convolutions of few pixels, channels first: weights would take longer to pack than to multiply,
   so these stay where they lie, a row for each output. What is packed are patches: panels of pixels,
   or for the gradient of the weights panels of elements of the kernel, whose tiles are rows of it.
   Included after convolution_columns.h. */

/* What an element of the kernel meets of a channel, for each pixel of the result. */
SN_APART void sn_patch_f32(const sn_convolution *v, const float *x, int64_t tap, float *to) {
  const int in = v->out[2] > 1 ? 2 : 1; /* the axis that is copied along */
  const int64_t taps[3] = {tap / v->kernel[2] / v->kernel[1], tap / v->kernel[2] % v->kernel[1],
                           tap % v->kernel[2]};
  const int64_t *const s = v->stride, along = in == 2 ? 1 : v->size[2];
  int64_t low[3], high[3], from[3];
  for (int k = 0; k < 3; ++k) {
    sn_met(v, k, taps[k], low + k, high + k);
    from[k] = taps[k] * v->dilation[k] - v->low[k];
  }
  sn_zero_f32(to, sn_volume(v->out));
  if (in == 1 && low[2] >= high[2]) return;
  for (int64_t a = low[0]; a < high[0]; ++a)
    for (int64_t b = in == 2 ? low[1] : 0; b < (in == 2 ? high[1] : 1); ++b) {
      const int64_t line = in == 2 ? b * s[1] + from[1] : 0;
      const int64_t at = ((a * s[0] + from[0]) * v->size[1] + line) * v->size[2];
      const float *const f = x + at + from[in] * along + (in == 1 ? from[2] : 0);
      float *const t = to + (a * v->out[1] + b) * v->out[2];
      for (int64_t c = low[in]; c < high[in]; ++c) t[c] = f[c * s[in] * along];
    }
}

/* The same for all images. */
SN_APART void sn_patches_f32(const sn_convolution *v, const float *x, int64_t element, float *to) {
  const int64_t taps = sn_volume(v->kernel), pixels = sn_volume(v->out);
  x += element / taps * sn_volume(v->size);
  for (int64_t m = 0; m < v->n; ++m, to += pixels)
    sn_patch_f32(v, x + m * v->inputs * sn_volume(v->size), element % taps, to);
}

/* The outputs of a strip of rows of weights for a panel of pixels, of which there are `some`. */
SN_APART void sn_outputs_of_rows_f32(const sn_convolution *v, int64_t i, int64_t high, int64_t j,
                                     int64_t some, const float *tile, int64_t width, float *y) {
  const int64_t pixels = sn_volume(v->out);
  for (int64_t q = 0; q < some; ++q) {
    float *const to = y + ((j + q) / pixels * v->outputs + i) * pixels + (j + q) % pixels;
    for (int64_t u = 0; u < high; ++u) to[u * pixels] = tile[u * width + q];
  }
}

#define sn_hold_patches_f32 NULL /* weights stay where they lie */

/* The convolution, in scratch memory of all patches and then a line of pixels for each thread. */
static void sn_multiply_patches_f32(const sn_convolution *v, const float *x, const float *w,
                                    float *y, float *scratch, int together) {
  const int64_t depth = sn_volume(v->kernel) * v->inputs, all = v->n * sn_volume(v->out);
  const int64_t rows = sn_height(v->outputs), zero = 0;
  float *const rooms = scratch + (all + 15) / 16 * 16 * depth;
  const int threads = SN_LEAST((int)v->threads, SN_THREADS);
#pragma omp parallel if (together) num_threads(threads)
  {
    float *const line = rooms + SN_THREAD_NUMBER * v->room;
    _Alignas(64) float tile[SN_TALLEST * sn_panel_f32];
#pragma omp for schedule(static)
    for (int64_t e = 0; e < depth; ++e) {
      sn_patches_f32(v, x, e, line);
      for (int64_t j = 0; j < all; j += sn_panel_f32) {
        const int64_t width = sn_panel_width_f32(v, all, j), some = SN_LEAST(width, all - j);
        float *const to = scratch + j * depth + e * width;
        sn_copy_in_f32(some, line + j, to);
        sn_zero_f32(to + some, width - some);
      }
    }
#pragma omp for schedule(dynamic)
    for (int64_t i = 0; i < v->outputs; i += rows) {
      const int64_t high = SN_LEAST(rows, v->outputs - i);
      const float *at[SN_TALLEST];
      for (int64_t u = 0; u < rows; ++u) at[u] = w + (i + SN_LEAST(u, high - 1)) * depth;
      for (int64_t j = 0; j < all; j += sn_panel_f32) {
        const int64_t width = sn_panel_width_f32(v, all, j);
        sn_strip_f32(rows, width, 1, depth, 1, &zero, at, scratch + j * depth, tile);
        sn_outputs_of_rows_f32(v, i, high, j, SN_LEAST(width, all - j), tile, width, y);
      }
    }
  }
}

/* Panels of elements of the kernel from `first` on, as patches: to: [panels, pixels, width] */
SN_APART void sn_pack_elements_f32(const sn_convolution *v, int64_t first, int64_t last,
                                   int64_t depth, const float *x, float *line, float *to) {
  const int64_t all = v->n * sn_volume(v->out);
  for (int64_t j = first; j < last; j += sn_panel_f32, to += all * sn_panel_f32) {
    const int64_t width = sn_panel_width_f32(v, depth, j);
    for (int64_t e = 0; e < width; ++e) {
      if (j + e < depth)
        sn_patches_f32(v, x, j + e, line);
      else
        sn_zero_f32(line, all);
      for (int64_t q = 0; q < all; ++q) to[q * width + e] = line[q];
    }
  }
}

/* The gradient of the weights. Each thread has room for panels, a line and a table. */
static void sn_correlate_patches_f32(const sn_convolution *v, const float *x, const float *y,
                                     float *w, float *scratch, int together) {
  const int64_t depth = sn_volume(v->kernel) * v->inputs, pixels = sn_volume(v->out);
  const int64_t rows = sn_height(v->outputs), all = v->n * pixels;
  const int64_t step = v->patches * sn_panel_f32;
  const int threads = SN_LEAST((int)v->threads, SN_THREADS);
#pragma omp parallel if (together) num_threads(threads)
  {
    float *const panels = scratch + SN_THREAD_NUMBER * v->room, *const line = panels + v->box;
    int64_t *const offset = (int64_t *)(line + (all + 15) / 16 * 16);
    _Alignas(64) float tile[SN_TALLEST * sn_panel_f32];
    for (int64_t m = 0; m < v->n; ++m) offset[m] = m * v->outputs * pixels;
#pragma omp for schedule(dynamic)
    for (int64_t first = 0; first < depth; first += step) {
      const int64_t last = SN_LEAST(first + step, depth);
      sn_pack_elements_f32(v, first, last, depth, x, line, panels);
      for (int64_t i = 0; i < v->outputs; i += rows) {
        const int64_t high = SN_LEAST(rows, v->outputs - i);
        const float *at[SN_TALLEST];
        for (int64_t u = 0; u < rows; ++u) at[u] = y + (i + SN_LEAST(u, high - 1)) * pixels;
        for (int64_t j = first; j < last; j += sn_panel_f32) {
          const int64_t width = sn_panel_width_f32(v, depth, j), some = SN_LEAST(width, depth - j);
          sn_strip_f32(rows, width, v->n, pixels, 1, offset, at, panels + (j - first) * all, tile);
          for (int64_t u = 0; u < high; ++u)
            memcpy(w + (i + u) * depth + j, tile + u * width, some * sizeof *tile);
        }
      }
    }
  }
}

/* The convolution or its gradient of the input. */
static void sn_convolve_patches_f32(const sn_convolution *v, const float *x, const float *w,
                                    float *y, float *scratch, int together) {
  if (v->backward)
    sn_convolve_columns_f32(v, x, w, y, scratch, together);
  else
    sn_multiply_patches_f32(v, x, w, y, scratch, together);
}
