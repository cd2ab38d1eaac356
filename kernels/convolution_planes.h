/* Convolutions without strides, and gradients of strided ones by the input, of few outputs, channels
   first: vectors are of pixels, not of outputs.

   A box has planes of channels with their padding, where what an element of the kernel meets of a
   row of pixels lies together, as the row does in the result: of strides, the pixels of a remainder.
   A strip of outputs, or for the
   gradient of the weights of channels of y, and some vectors of pixels meet in a tile that stays in
   registers.

   An output is one chain of fused multiply-adds. The gradient of a weight is a chain for each place
   in a vector, of a part of the bands; these are added as a tree. Included after convolution.h
   and convolution_depthwise.h. */
#if SN_TALLEST >= 12
/* Vectors of pixels of a tile, vectors whose products are summed, and rows of these, in registers. */
enum { sn_broad = 4, sn_summed = 3, sn_high = 8 };
#define SN_SUM_HEIGHTS(S) S(8) S(7) SN_PLANE_HEIGHTS(S)
#else
enum { sn_broad = 2, sn_summed = 2, sn_high = 6 };
#define SN_SUM_HEIGHTS(S) SN_PLANE_HEIGHTS(S)
#endif
#define SN_PLANE_HEIGHTS(S) S(6) S(5) S(4) S(3) S(2) S(1)
enum { sn_broadest = 8 }; /* of a strip of one output: as many chains as hide an addition's latency */
typedef __typeof__((sn_wide_f32){0} < (sn_wide_f32){0}) sn_keep_f32;

/* tile (+)= what is at each offset of some vectors, times HIGH rows of a strip whose steps lie `apart`. */
#define SN_TILE_f32(NAME, HIGH, BROAD, BEGIN, TAKE, LEFT, LINE)                                    \
  SN_APART void NAME(int64_t steps, int64_t apart, const int64_t *offset, const float *const *at,  \
                     const float *w, const sn_keep_f32 *mask, float *tile) {                       \
    sn_wide_f32 sum[HIGH][BROAD];                                                                  \
    _Pragma("GCC unroll 8") for (int i = 0; i < HIGH; ++i)                                         \
        _Pragma("GCC unroll 8") for (int j = 0; j < BROAD; ++j)                                    \
            sum[i][j] = BEGIN(tile + (i * BROAD + j) * sn_wide_lanes_f32);                         \
    for (int64_t s = 0; s < steps; ++s, w += apart) {                                              \
      sn_wide_f32 x[BROAD];                                                                        \
      _Pragma("GCC unroll 8") for (int j = 0; j < BROAD; ++j)                                      \
          x[j] = TAKE(sn_beside_f32(at[j] + offset[s]), *mask);                                    \
      _Pragma("GCC unroll 8") for (int i = 0; i < HIGH; ++i) {                                     \
        sn_wide_f32 left = LEFT(w + i * LINE);                                                     \
        SN_LOADED(left);                                                                           \
        _Pragma("GCC unroll 8") for (int j = 0; j < BROAD; ++j)                                    \
            sum[i][j] = SN_FMA_f32(left, x[j], sum[i][j]);                                         \
      }                                                                                            \
    }                                                                                              \
    _Pragma("GCC unroll 8") for (int i = 0; i < HIGH; ++i)                                         \
        _Pragma("GCC unroll 8") for (int j = 0; j < BROAD; ++j) memcpy(                            \
            tile + (i * BROAD + j) * sn_wide_lanes_f32, &sum[i][j], sizeof sum[i][j]);             \
  }
#define SN_NOTHING_f32(tile) SN_ALL_f32(0)
#define SN_WHOLE_f32(x, mask) (x)
#define SN_MASKED_f32(x, mask) ((sn_wide_f32)((sn_keep_f32)(x) & (mask)))
#define SN_SAME_f32(w) SN_ALL_f32(*(w))
#define SN_TILES_f32(HIGH)                                                                         \
  SN_TILE_f32(sn_outputs_##HIGH##_f32, HIGH, sn_broad, SN_NOTHING_f32, SN_WHOLE_f32, SN_SAME_f32, 1)
#define SN_TILES_OF_SUMS_f32(HIGH)                                                                 \
  SN_TILE_f32(sn_sums_##HIGH##_f32, HIGH, sn_summed, sn_beside_f32, SN_WHOLE_f32,                  \
              sn_beside_f32, sn_wide_lanes_f32)                                                    \
  SN_TILE_f32(sn_rest_##HIGH##_f32, HIGH, sn_summed, sn_beside_f32, SN_MASKED_f32,                 \
              sn_beside_f32, sn_wide_lanes_f32)
SN_PLANE_HEIGHTS(SN_TILES_f32)
SN_TILE_f32(sn_single_output_f32, 1, sn_broadest, SN_NOTHING_f32, SN_WHOLE_f32, SN_SAME_f32, 1)
SN_SUM_HEIGHTS(SN_TILES_OF_SUMS_f32)

typedef void sn_tile_call_f32(int64_t, int64_t, const int64_t *, const float *const *,
                              const float *, const sn_keep_f32 *, float *);
#define SN_OF_OUTPUTS_f32(HIGH) [HIGH] = sn_outputs_##HIGH##_f32,
#define SN_OF_SUMS_f32(HIGH) [HIGH] = sn_sums_##HIGH##_f32,
#define SN_OF_REST_f32(HIGH) [HIGH] = sn_rest_##HIGH##_f32,
static sn_tile_call_f32 *const sn_outputs_of_f32[] = {SN_PLANE_HEIGHTS(SN_OF_OUTPUTS_f32)};
static sn_tile_call_f32 *const sn_sums_of_f32[] = {SN_SUM_HEIGHTS(SN_OF_SUMS_f32)};
static sn_tile_call_f32 *const sn_rest_of_f32[] = {SN_SUM_HEIGHTS(SN_OF_REST_f32)};

/* A tile of a strip of `high`, whose rows lie `line` apart: in halves, if it has more than registers. */
SN_INLINE void sn_tile_of_f32(sn_tile_call_f32 *const *of, int64_t high, int64_t broad,
                              int64_t line, int64_t steps, const int64_t *offset, const float *const *at,
                              const float *w, const sn_keep_f32 *mask, float *tile) {
  const int64_t some = high > sn_high ? (high + 1) / 2 : high;
  for (int64_t i = 0; i < high; i += some)
    of[SN_LEAST(some, high - i)](steps, high * line, offset, at, w + i * line, mask,
                                 tile + i * broad * sn_wide_lanes_f32);
}

/* A channel with its padding in a box. */
SN_APART void sn_pad_f32(const sn_box *box, const int64_t *size, const sn_stored_f32 *x,
                         float *to) {
  int64_t from[3], end[3], padded = 0;
  for (int k = 0; k < 3; ++k) {
    from[k] = SN_MOST(0, box->start[k]);
    end[k] = SN_LEAST(size[k], box->start[k] + box->count[k]);
    padded += end[k] - from[k] < box->count[k];
  }
  int in = 2; /* elements lie along it, in the channel as in the box */
  while (in > 0 && box->count[in] == 1 && size[in] == 1) --in;
  const int64_t many = end[in] - from[in];
  if (padded) sn_zero_f32(to, box->size);
  if (many <= 0) return;
  for (int64_t a = from[0]; a < (in ? end[0] : from[0] + 1); ++a)
    for (int64_t b = from[1]; b < (in > 1 ? end[1] : from[1] + 1); ++b)
      sn_copy_in_f32(many, x + (a * size[1] + b) * size[2] + from[2],
                     to + (a - box->start[0]) * box->along[0] +
                         (b - box->start[1]) * box->along[1] + from[2] - box->start[2]);
}

/* The box of a band whose planes are channels, one after the other. */
SN_APART sn_box sn_pack_planes_f32(const sn_convolution *v, const sn_product_sizes *p,
                                   int64_t group, const sn_band *band, const sn_stored_f32 *x,
                                   float *to) {
  sn_product_sizes plane = *p;
  plane.depth = 1;
  const sn_box box = sn_box_of(v, &plane, band->low, band->high);
  for (int64_t m = band->image; m < band->image + band->images; ++m)
    for (int64_t l = 0; l < p->depth; ++l, to += box.size) {
      const int64_t channel = (m * v->groups + group) * p->depth + l;
      sn_pad_f32(&box, p->source, x + channel * sn_volume(p->source), to);
    }
  return box;
}

/* Where what a pixel meets of each channel and tap lies in a box, after the first. */
SN_APART void sn_plane_offsets(const sn_axis *axis, const sn_box *box, int64_t depth,
                               int64_t *offset) {
  int64_t length;
  const int64_t taps = sn_offsets(axis, box, offset, &length), others = (depth - 1) * taps;
  for (int64_t i = 0; i < others; ++i) offset[taps + i] = offset[i] + box->size;
}

/* A band's rows of pixels of a remainder that lie together in the box, after `from`: `rows` of `count`,
   of which the box has those of an axis before beside each other, `middle` of them. In the result
   they lie after `first`, and their pixels `apart`. */
typedef struct {
  int64_t images, rows, count, middle, along[2], of_image;
  int64_t from, first, to[2], apart;
} sn_rows;

SN_APART sn_rows sn_rows_of(const sn_product_sizes *p, const sn_band *band, const sn_box *box,
                            const sn_axis *axis) {
  const int in = box->count[2] > 1 ? 2 : box->count[1] > 1 ? 1 : 0;
  const int64_t of[3] = {p->result[1] * p->result[2], p->result[2], 1};
  sn_rows rows = {.images = band->images, .count = axis[in].count, .of_image = p->depth * box->size};
  rows.middle = in == 2 ? axis[1].count : 1, rows.rows = in ? axis[0].count * rows.middle : 1;
  rows.first = -band->low * of[0], rows.apart = axis[in].step * of[in];
  for (int k = 0; k < 3; ++k) {
    rows.from += axis[k].from * box->along[k], rows.first += axis[k].first * of[k];
    if (k < 2) rows.along[k] = box->along[k], rows.to[k] = axis[k].step * of[k];
    if (axis[k].count == 0) rows.rows = 0;
  }
  return rows;
}

/* Where row i of an image begins in its planes. */
static int64_t sn_row_offset(const sn_rows *rows, int64_t i) {
  return rows->from + i / rows->middle * rows->along[0] + i % rows->middle * rows->along[1];
}

/* And in a plane of the result, whose first row is the band's. */
static int64_t sn_row_place(const sn_rows *rows, int64_t i) {
  return rows->first + i / rows->middle * rows->to[0] + i % rows->middle * rows->to[1];
}

/* A strip of the weights of the taps of some axes, of `some` outputs: to: [depth, taps, high]; outputs
   that lack are 0. */
SN_APART void sn_pack_few_f32(const sn_convolution *v, const sn_product_sizes *p,
                              const sn_axis *axis, int64_t some, const sn_stored_f32 *w, float *to) {
  const int64_t taps = sn_taps(axis), high = v->planes;
  for (int64_t t = 0; t < taps; ++t, to += high) {
    const sn_stored_f32 *from = w + sn_tap_of(v, axis, t);
    for (int64_t l = 0; l < p->depth; ++l, from += p->of_depth)
      for (int64_t u = 0; u < high; ++u)
        to[l * taps * high + u] = u < some ? SN_READ_f32(from[u * p->of_width]) : 0;
  }
}

/* The first n places of a vector, so far `apart`. */
SN_INLINE void sn_write_f32(int64_t n, const float *from, sn_stored_f32 *to, int64_t apart) {
  if (apart > 1)
    for (int64_t i = 0; i < n; ++i) to[i * apart] = SN_WRITE_f32(from[i]);
  else if (n == sn_wide_lanes_f32)
    sn_copy_out_f32(sn_wide_lanes_f32, from, to);
  else
    sn_copy_out_f32(n, from, to);
}

/* The outputs of a group for a band's pixels of a remainder, whose weights have so many `steps`, from
   its box: y: [images, width, pixels] */
SN_APART void sn_outputs_of_planes_f32(const sn_convolution *v, const sn_product_sizes *p,
                                       const sn_rows *rows, int64_t steps, const int64_t *offset,
                                       const float *x, const float *w, sn_stored_f32 *y) {
  const int64_t pixels = sn_volume(p->result), lanes = sn_wide_lanes_f32, high = v->planes;
  const int64_t all = rows->images * rows->rows * ((rows->count + lanes - 1) / lanes);
  if (all == 0) return; /* a remainder without pixels has no rows, nor any beside each other */
  const int64_t broad = high == 1 && all > sn_broad ? sn_broadest : sn_broad;
  float tile[6 * sn_broad * sn_wide_lanes_f32];
  const float *at[sn_broadest], *line = x + sn_row_offset(rows, 0);
  int64_t to[sn_broadest], some[sn_broadest], m = 0, row = 0, first = 0;
  for (int64_t i = 0; i < all; i += broad) {
    for (int64_t j = 0; j < broad; ++j) {
      at[j] = line + first;
      to[j] = m * v->groups * p->width * pixels + sn_row_place(rows, row) + first * rows->apart;
      some[j] = SN_LEAST(lanes, rows->count - first);
      if (i + j + 1 >= all || (first += lanes) < rows->count) continue;
      first = 0;
      if (++row == rows->rows) row = 0, ++m;
      line = x + m * rows->of_image + sn_row_offset(rows, row);
    }
    for (int64_t o = 0; o < p->width; o += high) {
      if (broad == sn_broadest)
        sn_single_output_f32(steps, 1, offset, at, w + o * steps, NULL, tile);
      else
        sn_tile_of_f32(sn_outputs_of_f32, high, sn_broad, 1, steps, offset, at, w + o * steps, NULL,
                       tile);
      for (int64_t u = 0; u < SN_LEAST(high, p->width - o); ++u)
        for (int64_t j = 0; j < broad; ++j)
          sn_write_f32(some[j], tile + (u * broad + j) * lanes, y + to[j] + (o + u) * pixels,
                       rows->apart);
    }
  }
}

/* All outputs of a group for a band, remainder after remainder. */
SN_APART void sn_band_of_planes_f32(const sn_convolution *v, const sn_product_sizes *p,
                                    int64_t group, const sn_band *band, const sn_stored_f32 *x,
                                    const float *w, float *room, sn_stored_f32 *y) {
  int64_t *const offset = (int64_t *)(room + v->box);
  const int64_t strips = (p->width + v->planes - 1) / v->planes;
  const sn_box box = sn_pack_planes_f32(v, p, group, band, x, room);
  for (int64_t r = 0; r < sn_volume(p->remainders); ++r) {
    sn_axis axis[3];
    sn_axes_of(v, p, &box, band->low, band->high, r, axis);
    const sn_rows rows = sn_rows_of(p, band, &box, axis);
    const int64_t steps = sn_taps(axis) * p->depth;
    sn_plane_offsets(axis, &box, p->depth, offset);
    sn_outputs_of_planes_f32(v, p, &rows, steps, offset, room, w, y);
    w += strips * v->planes * steps;
  }
}

/* All strips of all groups, those of one remainder after the other. */
SN_APART void sn_pack_planes_of_weights_f32(const sn_convolution *v, const sn_product_sizes *p,
                                            int64_t of_group, const sn_stored_f32 *w, float *to) {
  const sn_box box = sn_box_of(v, p, 0, p->result[0]);
  const int64_t kernel = sn_volume(v->kernel), of_step = of_group / (kernel * p->depth);
  const int64_t high = v->planes, strips = of_step / high;
  for (int64_t r = 0; r < sn_volume(p->remainders); ++r) {
    sn_axis axis[3];
    sn_axes_of(v, p, &box, 0, p->result[0], r, axis);
#pragma omp for schedule(static)
    for (int64_t each = 0; each < v->groups * strips; ++each) {
      const int64_t group = each / strips, i = each % strips * high;
      sn_pack_few_f32(v, p, axis, SN_LEAST(high, p->width - i),
                      w + group * v->outputs * v->inputs * kernel + i * p->of_width,
                      to + group * of_group + i * sn_taps(axis) * p->depth);
    }
    to += of_step * sn_taps(axis) * p->depth;
  }
}

#define sn_hold_planes_f32 NULL /* of few outputs: packed by each call */

/* The convolution or its gradient of the input, by planes. */
static void sn_convolve_planes_f32(const sn_convolution *v, const sn_stored_f32 *x,
                                   const sn_stored_f32 *w, sn_stored_f32 *y, float *scratch,
                                   int together) {
  const sn_product_sizes p = sn_sizes(v);
  const int64_t taps = sn_volume(v->kernel), strips = (p.width + v->planes - 1) / v->planes;
  const int64_t of_group = strips * v->planes * taps * p.depth, pixels = sn_volume(p.result);
  float *const rooms = scratch + (v->groups * of_group + 15) / 16 * 16;
  const int threads = SN_LEAST((int)v->threads, SN_THREADS);
#pragma omp parallel if (together) num_threads(threads)
  {
    sn_pack_planes_of_weights_f32(v, &p, of_group, w, scratch);
#pragma omp for schedule(dynamic)
    for (int64_t task = 0; task < v->groups * p.bands; ++task) {
      const int64_t group = task % v->groups; /* as images lie */
      const sn_band band = sn_band_of(v, &p, task / v->groups);
      float *const room = rooms + SN_THREAD_NUMBER * v->room;
      const float *const strips_of_group = scratch + group * of_group;
      if (sn_is_depthwise(v, &p)) {
        sn_depthwise_band_f32(v, &p, group, &band, x, strips_of_group, room, y);
        continue;
      }
      sn_band_of_planes_f32(v, &p, group, &band, x, strips_of_group, room,
                            y + (band.image * v->groups + group) * p.width * pixels +
                                band.low * p.result[1] * p.result[2]);
    }
  }
}

/* Where vectors of rows begin in a plane: whole ones, or if `rest` what is left of each row; -> how
   many */
SN_APART int64_t sn_vector_offsets(const sn_rows *rows, int rest, int64_t lanes, int64_t *offset) {
  const int64_t whole = rows->count / lanes, from = rest ? whole : 0;
  const int64_t to = rest ? (rows->count + lanes - 1) / lanes : whole;
  int64_t *const first = offset;
  for (int64_t m = 0; m < rows->images; ++m)
    for (int64_t i = 0; i < rows->rows; ++i)
      for (int64_t k = from; k < to; ++k)
        *offset++ = m * rows->of_image + sn_row_offset(rows, i) + k * lanes;
  return offset - first;
}

/* A strip of y in these vectors, from output o on: to: [vectors, high, lanes]; what lacks is 0. Read
   as it lies, plane after plane. */
SN_APART float *sn_pack_vectors_f32(const sn_convolution *v, const sn_product_sizes *p,
                                    const sn_rows *rows, int64_t o, int rest,
                                    const sn_stored_f32 *y, float *to) {
  const int64_t pixels = sn_volume(p->result), lanes = sn_wide_lanes_f32, line = v->planes * lanes;
  const int64_t whole = rows->count / lanes, last = rows->count % lanes;
  const int64_t vectors = rest ? last > 0 : whole, of_image = rows->rows * vectors * line;
  for (int64_t m = 0; m < rows->images; ++m, to += of_image)
    for (int64_t u = o; u < o + v->planes; ++u) {
      float *vector = to + (u - o) * lanes;
      const sn_stored_f32 *const plane = y + (m * v->groups * p->width + u) * pixels;
      for (int64_t i = 0; i < rows->rows; ++i)
        for (int64_t k = 0; k < vectors; ++k, vector += line) {
          const sn_stored_f32 *const from = plane + i * rows->count + (rest ? whole : k) * lanes;
          if (u >= p->width || rest) sn_zero_f32(vector, lanes);
          if (u < p->width && rest) sn_copy_in_f32(last, from, vector);
          else if (u < p->width) sn_copy_in_f32(lanes, from, vector);
        }
    }
  return to;
}

/* So many vectors of a strip are met by all elements of the kernel while they are in the first cache. */
#define SN_NEAR 64

/* sum: [elements, high, lanes] += what so many vectors of a strip add, if `mask` in these lanes */
SN_APART void sn_add_vectors_f32(const sn_convolution *v, int64_t elements, const int64_t *element,
                                 const float *x, int64_t vectors, const int64_t *offset,
                                 const float *strip, const sn_keep_f32 *mask, float *sum) {
  sn_tile_call_f32 *const *const of = mask ? sn_rest_of_f32 : sn_sums_of_f32;
  for (int64_t e = 0; e < elements; e += sn_summed) {
    const float *at[sn_summed];
    for (int64_t j = 0; j < sn_summed; ++j) at[j] = x + element[e + j < elements ? e + j : 0];
    sn_tile_of_f32(of, v->planes, sn_summed, sn_wide_lanes_f32, vectors, offset, at, strip, mask, sum);
    sum += v->planes * sn_summed * sn_wide_lanes_f32;
  }
}

/* sum: [strips, elements, high, lanes] += what the pixels of a band add; y begins at them */
SN_APART void sn_add_band_f32(const sn_convolution *v, const sn_product_sizes *p, int64_t group,
                              const sn_band *band, const sn_stored_f32 *x, const sn_stored_f32 *y,
                              float *room, float *sum) {
  const int64_t lanes = sn_wide_lanes_f32, elements = sn_volume(v->kernel) * p->depth;
  const sn_box box = sn_pack_planes_f32(v, p, group, band, x, room);
  sn_axis axis[3];
  sn_axes_of(v, p, &box, band->low, band->high, 0, axis);
  const sn_rows rows = sn_rows_of(p, band, &box, axis);
  int64_t *const element = (int64_t *)(room + v->box), *const offset = element + elements;
  const int64_t tables = (elements + v->lines) * sizeof *offset / sizeof *room;
  float *const strip = room + v->box + (tables + 15) / 16 * 16;
  sn_keep_f32 mask;
  for (int64_t i = 0; i < lanes; ++i) mask[i] = i < rows.count % lanes ? -1 : 0;
  sn_plane_offsets(axis, &box, p->depth, element);
  const int64_t whole = sn_vector_offsets(&rows, 0, lanes, offset);
  const int64_t rest = sn_vector_offsets(&rows, 1, lanes, offset + whole);
  for (int64_t o = 0; o < p->width; o += v->planes) {
    float *const others = sn_pack_vectors_f32(v, p, &rows, o, 0, y, strip);
    sn_pack_vectors_f32(v, p, &rows, o, 1, y, others);
    for (int64_t first = 0; first < whole; first += SN_NEAR)
      sn_add_vectors_f32(v, elements, element, room, SN_LEAST(SN_NEAR, whole - first), offset + first,
                         strip + first * v->planes * lanes, NULL, sum);
    for (int64_t first = 0; first < rest; first += SN_NEAR)
      sn_add_vectors_f32(v, elements, element, room, SN_LEAST(SN_NEAR, rest - first),
                         offset + whole + first, others + first * v->planes * lanes, &mask, sum);
    sum += (elements + sn_summed - 1) / sn_summed * sn_summed * v->planes * lanes;
  }
}

SN_INLINE float sn_tree_f32(const float *lane) {
  float part[sn_wide_lanes_f32];
  memcpy(part, lane, sizeof part);
  for (int64_t half = sn_wide_lanes_f32 / 2; half; half /= 2)
    for (int64_t l = 0; l < half; ++l) part[l] += part[l + half];
  return part[0];
}

/* The sums of a part of the bands, of vectors.  to: [width, elements] */
SN_APART void sn_add_lanes_f32(const sn_convolution *v, const sn_product_sizes *p,
                                 const float *sum, float *to) {
  const int64_t elements = sn_volume(v->kernel) * p->depth, high = v->planes;
  for (int64_t o = 0; o < p->width; o += high)
    for (int64_t e = 0; e < elements; e += sn_summed)
      for (int64_t u = 0; u < high; ++u)
        for (int64_t j = 0; j < sn_summed; ++j, sum += sn_wide_lanes_f32)
          if (o + u < p->width && e + j < elements)
            to[(o + u) * elements + e + j] = sn_tree_f32(sum);
}

/* The gradient of the weights, by planes, in scratch memory of the sums and then rooms. */
static void sn_correlate_planes_f32(const sn_convolution *v, const sn_stored_f32 *x,
                                    const sn_stored_f32 *y, sn_stored_f32 *w, float *scratch,
                                    int together) {
  const sn_product_sizes p = sn_sizes(v);
  const int64_t elements = sn_volume(v->kernel) * p.depth;
  const int64_t of_part = v->groups * p.width * elements;
  const int64_t strips = (p.width + v->planes - 1) / v->planes;
  const int64_t vectors = (elements + sn_summed - 1) / sn_summed * sn_summed * strips * v->planes;
  float *const rooms = scratch + (v->sums * of_part + 15) / 16 * 16;
  const int threads = SN_LEAST((int)v->threads, SN_THREADS);
#pragma omp parallel if (together) num_threads(threads)
  {
#pragma omp for schedule(dynamic)
    for (int64_t task = 0; task < v->groups * v->sums; ++task) {
      const int64_t part = task % v->sums, group = task / v->sums;
      float *const room = rooms + SN_THREAD_NUMBER * v->room;
      float *const sum = room + v->room - (vectors * sn_wide_lanes_f32 + 15) / 16 * 16;
      sn_zero_f32(sum, vectors * sn_wide_lanes_f32);
      for (int64_t each = p.bands * part / v->sums; each < p.bands * (part + 1) / v->sums; ++each) {
        const sn_band band = sn_band_of(v, &p, each);
        sn_add_band_f32(v, &p, group, &band, x,
                        y + (band.image * v->groups + group) * p.width * sn_volume(p.result) +
                            band.low * p.result[1] * p.result[2],
                        room, sum);
      }
      sn_add_lanes_f32(v, &p, sum, scratch + part * of_part + group * p.width * elements);
    }
#pragma omp for schedule(static)
    for (int64_t each = 0; each < v->groups * p.width; ++each)
      for (int64_t e = 0; e < elements; ++e) {
        float all = scratch[each * elements + e];
        for (int64_t part = 1; part < v->sums; ++part)
          all += scratch[part * of_part + each * elements + e];
        w[each * elements + e] = SN_WRITE_f32(all);
      }
  }
}
