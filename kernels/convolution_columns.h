/* Gradients by the input of few pixels, channels first: weights would take longer to turn than to
   multiply. Lines of them are copied as they lie, for some channels at a time, and multiplied by the
   pixels of y: what comes out is a column for each, which is added where its elements belong.
   Included after convolution_weight.h. */

/* The pixels along an axis that an element of the kernel meets: [*low, *high) */
SN_APART void sn_met(const sn_convolution *v, int k, int64_t tap, int64_t *low, int64_t *high) {
  const int64_t s = v->stride[k], first = tap * v->dilation[k] - v->low[k];
  *low = first < 0 ? (-first + s - 1) / s : 0;
  *high = v->size[k] > first ? SN_LEAST(v->out[k], (v->size[k] - first - 1) / s + 1) : 0;
}

/* Panels of some elements of the kernel from `first` on, as all outputs have them:
   to: [panels, outputs, width] */
SN_APART void sn_pack_columns_f32(const sn_convolution *v, int64_t first, int64_t some,
                                  const float *w, float *to) {
  const int64_t elements = sn_volume(v->kernel) * v->inputs;
  const int64_t whole = some / sn_panel_f32 * sn_panel_f32, rest = some - whole;
  const int64_t width = sn_panel_width_f32(v, some, whole);
  w += first;
  for (int64_t o = 0; o < v->outputs; ++o, w += elements) {
    for (int64_t j = 0; j < some; j += 16) __builtin_prefetch(w + 4 * elements + j);
    for (int64_t j = 0; j < whole; j += sn_panel_f32)
      memcpy(to + j * v->outputs + o * sn_panel_f32, w + j, sn_panel_f32 * sizeof *to);
    if (rest == 0) continue;
    float *const line = to + whole * v->outputs + o * width;
    memcpy(line, w + whole, rest * sizeof *to);
    sn_zero_f32(line + rest, width - rest);
  }
}

/* Strips of y's pixels: to: [strips, outputs, rows]; what lacks is any. */
SN_APART void sn_pack_few_pixels_f32(const sn_convolution *v, int64_t rows, const float *y,
                                     float *to) {
  const int64_t pixels = sn_volume(v->out), all = v->n * pixels;
#pragma omp for schedule(static)
  for (int64_t s = 0; s < (all + rows - 1) / rows; ++s) {
    int64_t at[SN_TALLEST];
    for (int64_t u = 0; u < rows; ++u) {
      const int64_t q = SN_LEAST(s * rows + u, all - 1);
      at[u] = q / pixels * v->outputs * pixels + q % pixels;
    }
    float *const strip = to + s * v->outputs * rows;
    for (int64_t o = 0; o < v->outputs; ++o)
      for (int64_t u = 0; u < rows; ++u) strip[o * rows + u] = y[at[u] + o * pixels];
  }
}

/* A panel's columns for all pixels of y; to: [width, pixels] */
SN_APART void sn_columns_of_f32(const sn_convolution *v, int64_t rows, const float *y,
                                const float *panel, int64_t width, float *room, float *to) {
  const int64_t all = v->n * sn_volume(v->out), of_strip = v->outputs * rows, zero = 0;
  const float *at[SN_TALLEST];
  for (int64_t i = 0; i < all; i += rows, y += of_strip) {
    for (int64_t u = 0; u < rows; ++u) at[u] = y + u;
    sn_strip_f32(rows, width, 1, of_strip, rows, &zero, at, panel, room + i * width);
  }
  sn_turn_out_f32(all, width, room, width, to, all);
}

/* What an element of the kernel gives to some channels, from each pixel of y; from: [channels,
   taps, images, pixels] */
SN_APART void sn_add_element_f32(const sn_convolution *v, int64_t tap, int64_t channels,
                                 const float *from, float *x) {
  const int64_t taps[3] = {tap / v->kernel[2] / v->kernel[1], tap / v->kernel[2] % v->kernel[1],
                           tap % v->kernel[2]};
  const int64_t *const s = v->stride, size = sn_volume(v->size), pixels = sn_volume(v->out);
  int64_t low[3], high[3], to[3];
  for (int k = 0; k < 3; ++k) {
    sn_met(v, k, taps[k], low + k, high + k);
    to[k] = taps[k] * v->dilation[k] - v->low[k];
  }
  for (int64_t each = 0; each < channels * v->n; ++each) {
    const int64_t l = each / v->n, m = each % v->n;
    float *const image = x + (m * v->inputs + l) * size + to[2];
    const float *const column = from + ((l * sn_volume(v->kernel) + tap) * v->n + m) * pixels;
    for (int64_t a = low[0]; a < high[0]; ++a)
      for (int64_t b = low[1]; b < high[1]; ++b) {
        const int64_t at = (a * s[0] + to[0]) * v->size[1] + b * s[1] + to[1];
        float *const line = image + at * v->size[2];
        const float *const f = column + (a * v->out[1] + b) * v->out[2];
        for (int64_t c = low[2]; c < high[2]; ++c) line[c * s[2]] += f[c];
      }
  }
}

/* The gradient, in scratch memory of y's strips and then rooms: of panels of v->patches channels,
   of their columns, and of those of a panel before they are turned. */
static void sn_convolve_columns_f32(const sn_convolution *v, const float *y, const float *w,
                                    float *x, float *scratch, int together) {
  const int64_t taps = sn_volume(v->kernel), size = sn_volume(v->size);
  const int64_t all = v->n * sn_volume(v->out), rows = sn_height(all);
  float *const rooms = scratch + ((all + rows - 1) / rows * rows * v->outputs + 15) / 16 * 16;
  const int threads = SN_LEAST((int)v->threads, SN_THREADS);
#pragma omp parallel if (together) num_threads(threads)
  {
    float *const panels = rooms + SN_THREAD_NUMBER * v->room, *const room = panels + v->box;
    float *const columns = room + (all + rows - 1) / rows * rows * sn_panel_f32;
    sn_pack_few_pixels_f32(v, rows, y, scratch);
#pragma omp for schedule(dynamic)
    for (int64_t first = 0; first < v->inputs; first += v->patches) {
      const int64_t channels = SN_LEAST(v->patches, v->inputs - first), some = channels * taps;
      sn_pack_columns_f32(v, first * taps, some, w, panels);
      for (int64_t j = 0; j < some; j += sn_panel_f32)
        sn_columns_of_f32(v, rows, scratch, panels + j * v->outputs,
                          sn_panel_width_f32(v, some, j), room, columns + j * all);
      for (int64_t m = 0; m < v->n; ++m)
        sn_zero_f32(x + (m * v->inputs + first) * size, channels * size);
      for (int64_t tap = 0; tap < taps; ++tap)
        sn_add_element_f32(v, tap, channels, columns, x + first * size);
    }
  }
}
