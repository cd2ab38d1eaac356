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
  const int q = axis[2].count > 1 ? 2 : axis[1].count > 1; /* the axis that they lie along */
  const int64_t step = axis[q].stride * box->along[q];
  sn_lines lines = {0, axis[q].count * step, step, offset};
  for (int64_t m = 0; m < band->images; ++m)
    for (int64_t a = 0; a < (q > 0 ? axis[0].count : 1); ++a)
      for (int64_t b = 0; b < (q == 2 ? axis[1].count : 1); ++b)
        offset[lines.count++] = m * box->size + a * axis[0].stride * box->along[0] +
                                b * axis[1].stride * box->along[1];
  int64_t joined = 0;
  while (joined < lines.count && offset[joined] == joined * lines.length) ++joined;
  if (joined == lines.count) lines.length *= lines.count, lines.count = 1;
  return lines;
}

/* The lines of a flat band, one for each image, and its channels: where they are, or in a box of those
   pixels that y has. */
SN_APART sn_lines sn_flat_lines_f32(const sn_convolution *v, const sn_product_sizes *p,
                                    int64_t group, const sn_band *band, const float *x,
                                    const int64_t *places, float *box, int64_t *offset,
                                    const float **element) {
  const int64_t line = p->result[1] * p->result[2], some = (band->high - band->low) * line;
  const int64_t plane = places ? some : sn_volume(p->source);
  const int64_t apart = (places ? 1 : v->groups) * p->depth * plane;
  for (int64_t m = 0; m < band->images; ++m) offset[m] = m * apart;
  x += (band->image * v->groups + group) * p->depth * sn_volume(p->source);
  for (int64_t m = 0; m < (places ? band->images : 0); ++m)
    for (int64_t l = 0; l < p->depth; ++l)
      sn_some_pixels_f32(some, x + (m * v->groups * p->depth + l) * sn_volume(p->source),
                         places + band->low * line, box + m * apart + l * plane);
  for (int64_t l = 0; l < p->depth; ++l)
    element[l] = places ? box + l * plane : x + l * plane + band->low * line;
  return (sn_lines){band->images, some, 1, offset};
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

/* The same of several panels of y, n outputs in all, for so many `deep` channels from `first` on.
   element: [taps, deep], sum: [panels, taps, channels, width] */
SN_APART void sn_sum_panels_f32(const sn_convolution *v, int64_t first, int64_t deep,
                                const float *const *element, const sn_lines *lines,
                                const float *y, int64_t n, int begins, float *sum) {
  const int64_t elements = sn_volume(v->kernel) * deep, pixels = lines->count * lines->length;
  const int64_t rows = sn_height(elements), of_panel = sn_volume(v->kernel) * v->inputs;
  _Alignas(64) float tile[SN_TALLEST * sn_panel_f32];
  const float *at[SN_TALLEST];
  int64_t row[SN_TALLEST];
  for (int64_t e = 0; e < elements; e += rows) {
    const int64_t high = SN_LEAST(rows, elements - e);
    for (int64_t u = 0; u < rows; ++u) {
      const int64_t some = u < high ? e + u : 0;
      at[u] = element[some];
      row[u] = some / deep * v->inputs + first + some % deep;
    }
    for (int64_t j = 0; j < n; j += sn_panel_f32) {
      const int64_t width = sn_panel_width_f32(v, n, j);
      float *const to = sum + j * of_panel;
      for (int64_t u = 0; u < high; ++u)
        for (int64_t i = 0; i < width; i += sn_wide_lanes_f32)
          __builtin_prefetch(to + row[u] * width + i, 1);
      sn_strip_f32(rows, width, lines->count, lines->length, lines->step, lines->offset, at,
                   y + j * (pixels / lines->step), tile);
      for (int64_t u = 0; u < high; ++u)
        for (int64_t i = 0; i < width; i += sn_wide_lanes_f32) {
          sn_wide_f32 *const all = (sn_wide_f32 *)(to + row[u] * width + i);
          const sn_wide_f32 more = *(const sn_wide_f32 *)(tile + u * width + i);
          if (begins) *all = more;
          else *all += more;
        }
    }
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

/* What the channels of a band from `first` on add to the sums of panels of y, n outputs in all.
   Their box has them alone, so that what strips read of it lies together. */
SN_APART void sn_sum_channels_f32(const sn_convolution *v, const sn_product_sizes *p, int64_t group,
                                  int64_t first, const sn_band *band, int begins,
                                  const sn_stored_f32 *x, const float *y, int64_t n, float *room,
                                  float *sum) {
  sn_product_sizes few = *p;
  few.depth = SN_LEAST(v->deep, p->depth - first);
  const int64_t pixels = sn_volume(p->source), all = v->groups * p->depth;
  const int64_t of_channel = v->last ? 1 : pixels, of_pixel = v->last ? all : 1;
  const float **const element = (const float **)(room + v->room) - sn_volume(v->kernel) * v->deep;
  int64_t *const offset = (int64_t *)element - v->lines;
  const sn_box box = sn_box_of(v, &few, band->low, band->high);
  sn_axis axis[3];
  sn_axes_of(v, &few, &box, band->low, band->high, 0, axis);
  sn_elements_of_f32(axis, &box, few.depth, room, element);
  x += band->image * all * pixels + (group * p->depth + first) * of_channel;
  for (int64_t m = 0; m < band->images; ++m)
    sn_pack_image_f32(few.depth, x + m * all * pixels, of_channel, of_pixel, p->source, &box,
                      room + m * box.size);
  const sn_lines lines = sn_lines_of(band, &box, axis, offset);
  sn_sum_panels_f32(v, first, few.depth, element, &lines, y, n, begins, sum);
}

/* What a band adds to the sums of a group's panels that a task has. */
SN_APART void sn_sum_band_f32(const sn_convolution *v, const sn_product_sizes *p, int64_t group,
                              int64_t split, const sn_band *band, int begins,
                              const sn_stored_f32 *x, const sn_stored_f32 *y, float *room,
                              float *sum) {
  const int64_t panels = (p->width + sn_panel_f32 - 1) / sn_panel_f32;
  const float **const element = (const float **)(room + v->room) - v->deep;
  int64_t *const offset = (int64_t *)element - v->lines;
  int64_t *const places = sn_volume(v->stride) > 1 ? offset - sn_volume(v->out) - 1 : 0;
  const int64_t pixels = band->images * (band->high - band->low) * p->result[1] * p->result[2];
  const int64_t end = SN_LEAST(panels * (split + 1) / v->splits * sn_panel_f32, p->width);
  const int64_t most = v->panels * sn_panel_f32, of_output = sn_volume(v->kernel) * p->depth;
  float *const result = room + v->box;
  sn_lines lines;
  if (v->flat && places) sn_places(v, places);
  if (v->flat)
    lines = sn_flat_lines_f32(v, p, group, band, (const float *)x, places, room, offset, element);
  for (int64_t j = panels * split / v->splits * sn_panel_f32; j < end; j += most) {
    const int64_t n = SN_LEAST(most, end - j);
    for (int64_t i = 0; i < n; i += sn_panel_f32)
      sn_pack_result_f32(v, p, group, band, j + i, y, result + i * pixels);
    if (v->flat) {
      sn_sum_panels_f32(v, 0, p->depth, element, &lines, result, n, begins, sum + j * of_output);
    } else {
      for (int64_t first = 0; first < p->depth; first += v->deep)
        sn_sum_channels_f32(v, p, group, first, band, begins, x, result, n, room,
                            sum + j * of_output);
    }
  }
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
      const int64_t begin = p.bands * part / v->sums, end = p.bands * (part + 1) / v->sums;
      for (int64_t each = begin; each < end; ++each) {
        const sn_band band = sn_band_of(v, &p, each);
        sn_sum_band_f32(v, &p, group, split, &band, each == begin, x, y,
                        rooms + SN_THREAD_NUMBER * v->room,
                        scratch + part * of_part + group * of_group);
      }
    }
#pragma omp for schedule(static)
    for (int64_t t = 0; t < v->groups * panels; ++t) {
      const int64_t group = t / panels, j = t % panels * sn_panel_f32;
      sn_unpack_weights_f32(v, group, j, scratch + group * of_group + j * elements, of_part, w);
    }
  }
}
