/* The gradient of a convolution by its weights: sums over pixels, by the strips of convolution.h.

   A row of a strip is a channel at an element of the kernel; it runs over lines of pixels. Bands
   are shared out among parts of the sum, which are added in order when all are there. */

/* A panel of a band of y, as weights lie: to: [images, pixels, width] */
SN_APART void sn_pack_result_f32(const sn_convolution *v, const sn_product_sizes *p, int64_t group,
                                 const sn_band *band, int64_t j, const sn_stored_f32 *y,
                                 float *to) {
  const int64_t width = sn_panel_width_f32(v, p->width, j), some = SN_LEAST(width, p->width - j);
  const int64_t pixels = sn_volume(p->result), all = v->groups * p->width;
  const int64_t line = p->result[1] * p->result[2], each = (band->high - band->low) * line;
  const int64_t of_channel = v->last ? 1 : pixels, of_pixel = v->last ? all : 1;
  y += band->image * all * pixels + (group * p->width + j) * of_channel +
       band->low * line * of_pixel;
  if (some < width) sn_zero_f32(to, band->images * each * width);
  for (int64_t m = 0; m < band->images; ++m, y += all * pixels, to += each * width)
    if (!v->last)
      sn_turn_in_f32(some, each, y, pixels, to, width);
    else
      for (int64_t i = 0; i < each; ++i) sn_copy_in_f32(some, y + i * all, to + i * width);
}

/* Lines of pixels of a band in its box: where each begins, how far it reaches, and its step. Those
   that follow on each other are one. */
typedef struct {
  int64_t count, length, step, *offset;
} sn_lines;

SN_APART sn_lines sn_lines_of(const sn_band *band, const sn_box *box, const sn_axis *axis,
                              int64_t *offset) {
  const int q = axis[2].count > 1 ? 2 : 1; /* the axis that they lie along */
  const int64_t step = axis[q].stride * box->along[q];
  sn_lines lines = {0, axis[q].count * step, step, offset};
  for (int64_t m = 0; m < band->images; ++m)
    for (int64_t a = 0; a < axis[0].count; ++a)
      for (int64_t b = 0; b < (q == 2 ? axis[1].count : 1); ++b)
        offset[lines.count++] = m * box->size + a * axis[0].stride * box->along[0] +
                                b * axis[1].stride * box->along[1];
  int64_t joined = 0;
  while (joined < lines.count && offset[joined] == joined * lines.length) ++joined;
  if (joined == lines.count) lines.length *= lines.count, lines.count = 1;
  return lines;
}

/* The one line of a flat band of one image. */
static sn_lines sn_flat_lines(const sn_product_sizes *p, const sn_band *band, int64_t *offset) {
  offset[0] = 0;
  return (sn_lines){1, (band->high - band->low) * p->result[1] * p->result[2], 1, offset};
}

/* A flat band's channels, where they are. */
SN_APART void sn_flat_elements_f32(const sn_convolution *v, const sn_product_sizes *p,
                                   int64_t group, const sn_band *band, const float *x,
                                   const float **element) {
  const int64_t pixels = sn_volume(p->result);
  x += (band->image * v->groups + group) * p->depth * pixels;
  x += band->low * p->result[1] * p->result[2];
  for (int64_t l = 0; l < p->depth; ++l) element[l] = x + l * pixels;
}

/* The elements of the kernel's taps that the first pixel needs. */
SN_APART void sn_elements_of_f32(const sn_axis *axis, const sn_box *box, int64_t depth,
                                 const float *x, const float **element) {
  for (int64_t a = 0; a < axis[0].taps; ++a)
    for (int64_t b = 0; b < axis[1].taps; ++b)
      for (int64_t c = 0; c < axis[2].taps; ++c)
        for (int64_t l = 0; l < depth; ++l)
          *element++ = x + l + a * axis[0].reach * box->along[0] +
                       b * axis[1].reach * box->along[1] + c * axis[2].reach * box->along[2];
}

/* sum: [elements, width] (+)= each element of all pixels times a panel of y */
SN_APART void sn_sum_pixels_f32(sn_strip_call_f32 *strip, int64_t elements,
                                const float *const *element, const sn_lines *lines, const float *y,
                                int64_t width, int begins, float *sum) {
  const int64_t rows = sn_height(elements);
  _Alignas(64) float tile[SN_TALLEST * sn_panel_f32];
  const float *at[SN_TALLEST];
  for (int64_t e = 0; e < elements; e += rows, sum += rows * width) {
    const int64_t high = SN_LEAST(rows, elements - e);
    for (int64_t u = 0; u < rows; ++u) at[u] = element[u < high ? e + u : 0];
    strip(rows, width, lines->count, lines->length, lines->step, lines->offset, at,
                 y, tile);
    for (int64_t i = 0; i < high * width; ++i) sum[i] = begins ? tile[i] : sum[i] + tile[i];
  }
}

/* A panel of the weights' gradient from the parts of its sum. */
SN_APART void sn_unpack_weights_f32(const sn_convolution *v, int64_t group, int64_t j, float *sum,
                                    int64_t of_part, sn_stored_f32 *w) {
  const int64_t taps = sn_volume(v->kernel), elements = taps * v->inputs;
  const int64_t width = sn_panel_width_f32(v, v->outputs, j);
  const int64_t some = SN_LEAST(width, v->outputs - j);
  for (int64_t part = 1; part < v->sums; ++part)
    for (int64_t i = 0; i < elements * width; ++i) sum[i] += sum[part * of_part + i];
  w += (group * v->outputs + j) * elements;
  if (taps == 1) {
    sn_turn_out_f32(elements, some, sum, width, w, elements);
    return;
  }
  for (int64_t first = 0; first < v->inputs; first += 16)
    for (int64_t i = 0; i < some; ++i)
      for (int64_t l = first; l < SN_LEAST(first + 16, v->inputs); ++l)
        for (int64_t tap = 0; tap < taps; ++tap)
          w[i * elements + l * taps + tap] = SN_WRITE_f32(sum[(tap * v->inputs + l) * width + i]);
}

/* The gradient of the weights, in scratch memory of the sums and then a room for each thread. */
static void sn_correlate_product_f32(const sn_convolution *v, const sn_stored_f32 *x,
                                     const sn_stored_f32 *y, sn_stored_f32 *w, float *scratch,
                                     int together) {
  const sn_product_sizes p = sn_sizes(v);
  const int64_t elements = sn_volume(v->kernel) * v->inputs;
  const int64_t panels = (p.width + sn_panel_f32 - 1) / sn_panel_f32;
  const int64_t of_group = panels * sn_panel_f32 * elements, of_part = v->groups * of_group;
  float *const rooms = scratch + v->sums * of_part;
  const int threads = SN_LEAST((int)v->threads, SN_THREADS);
#pragma omp parallel if (together) num_threads(threads)
  {
#pragma omp for schedule(dynamic)
    for (int64_t task = 0; task < v->groups * v->sums * v->splits; ++task) {
      const int64_t split = task % v->splits, part = task / v->splits % v->sums;
      const int64_t group = task / v->splits / v->sums;
      float *const room = rooms + SN_THREAD_NUMBER * v->room, *const result = room + v->box;
      const float **const element = (const float **)(room + v->room) - elements;
      int64_t *const offset = (int64_t *)element - v->lines;
      const int64_t begin = p.bands * part / v->sums, end = p.bands * (part + 1) / v->sums;
      for (int64_t each = begin; each < end; ++each) {
        const sn_band band = sn_band_of(v, &p, each);
        const sn_box box = sn_box_of(v, &p, band.low, band.high);
        sn_axis axis[3];
        sn_axes_of(v, &p, &box, band.low, band.high, 0, axis);
        const sn_lines lines = v->flat ? sn_flat_lines(&p, &band, offset)
                                       : sn_lines_of(&band, &box, axis, offset);
        if (v->flat) {
          sn_flat_elements_f32(v, &p, group, &band, (const float *)x, element);
        } else {
          sn_elements_of_f32(axis, &box, p.depth, room, element);
          sn_pack_band_f32(v, &p, group, &band, &box, x, room);
        }
        for (int64_t k = panels * split / v->splits; k < panels * (split + 1) / v->splits; ++k) {
          const int64_t j = k * sn_panel_f32;
          float *const sum = scratch + part * of_part + group * of_group + j * elements;
          sn_pack_result_f32(v, &p, group, &band, j, y, result);
          sn_sum_pixels_f32(sn_strip_f32, elements, element, &lines, result,
                            sn_panel_width_f32(v, p.width, j), each == begin, sum);
        }
      }
    }
#pragma omp for schedule(static)
    for (int64_t t = 0; t < v->groups * panels; ++t) {
      const int64_t group = t / panels, j = t % panels * sn_panel_f32;
      sn_unpack_weights_f32(v, group, j, scratch + group * of_group + j * elements, of_part, w);
    }
  }
}
