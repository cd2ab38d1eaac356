/* Convolutions without strides of few outputs, channels first: vectors are of pixels, not of
   outputs.

   A box has planes of channels with their padding, where what an element of the kernel meets of a
   row of pixels lies together, as the row does in the result. A strip of outputs, or for the
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
typedef __typeof__((sn_wide_f32){0} < (sn_wide_f32){0}) sn_keep_f32;

/* tile (+)= what is at each offset of some vectors, times HIGH rows of a strip whose steps lie `apart`. */
#define SN_TILE_f32(NAME, HIGH, BROAD, BEGIN, TAKE, LEFT, LINE)                                    \
  SN_APART void NAME(int64_t steps, int64_t apart, const int64_t *offset, const float *const *at,  \
                     const float *w, const sn_keep_f32 *mask, float *tile) {                       \
    sn_wide_f32 sum[HIGH][BROAD];                                                                  \
    _Pragma("GCC unroll 8") for (int i = 0; i < HIGH; ++i)                                         \
        _Pragma("GCC unroll 4") for (int j = 0; j < BROAD; ++j)                                    \
            sum[i][j] = BEGIN(tile + (i * BROAD + j) * sn_wide_lanes_f32);                         \
    for (int64_t s = 0; s < steps; ++s, w += apart) {                                              \
      sn_wide_f32 x[BROAD];                                                                        \
      _Pragma("GCC unroll 4") for (int j = 0; j < BROAD; ++j)                                      \
          x[j] = TAKE(sn_beside_f32(at[j] + offset[s]), *mask);                                    \
      _Pragma("GCC unroll 8") for (int i = 0; i < HIGH; ++i) {                                     \
        sn_wide_f32 left = LEFT(w + i * LINE);                                                     \
        SN_LOADED(left);                                                                           \
        _Pragma("GCC unroll 4") for (int j = 0; j < BROAD; ++j)                                    \
            sum[i][j] = SN_FMA_f32(left, x[j], sum[i][j]);                                         \
      }                                                                                            \
    }                                                                                              \
    _Pragma("GCC unroll 8") for (int i = 0; i < HIGH; ++i)                                         \
        _Pragma("GCC unroll 4") for (int j = 0; j < BROAD; ++j) memcpy(                            \
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
SN_APART void sn_plane_offsets(const sn_convolution *v, const sn_product_sizes *p,
                               const sn_box *box, int64_t *offset) {
  for (int64_t l = 0; l < p->depth; ++l)
    for (int64_t a = 0; a < v->kernel[0]; ++a)
      for (int64_t b = 0; b < v->kernel[1]; ++b)
        for (int64_t c = 0; c < v->kernel[2]; ++c)
          *offset++ = l * box->size + a * v->dilation[0] * box->along[0] +
                      b * v->dilation[1] * box->along[1] + c * v->dilation[2];
}

/* A band's rows of pixels that lie together: `rows` of `count`, of which the box has those of
   an axis before beside each other, `middle` of them. */
typedef struct {
  int64_t images, rows, count, middle, along[2], of_image;
} sn_rows;

SN_APART sn_rows sn_rows_of(const sn_product_sizes *p, const sn_band *band, const sn_box *box) {
  const int in = box->count[2] > 1 ? 2 : box->count[1] > 1 ? 1 : 0;
  const int64_t high = band->high - band->low, middle = in == 2 ? p->result[1] : 1;
  return (sn_rows){band->images, in ? high * middle : 1,         in ? p->result[in] : high,
                   middle,       {box->along[0], box->along[1]}, p->depth * box->size};
}

/* Where row i of an image begins in its planes. */
static int64_t sn_row_offset(const sn_rows *rows, int64_t i) {
  return i / rows->middle * rows->along[0] + i % rows->middle * rows->along[1];
}

/* Strips of the weights: to: [strips, depth, taps, high]; outputs that lack are 0. */
SN_APART void sn_pack_few_f32(const sn_convolution *v, const sn_product_sizes *p,
                              const sn_stored_f32 *w, float *to) {
  const int64_t taps = sn_volume(v->kernel), high = v->planes;
  const int64_t strips = (p->width + high - 1) / high;
#pragma omp for schedule(static)
  for (int64_t each = 0; each < v->groups * strips; ++each) {
    const int64_t i = each % strips * high, some = SN_LEAST(high, p->width - i);
    const sn_stored_f32 *from = w + each / strips * v->outputs * v->inputs * taps + i * p->of_width;
    float *strip = to + each * taps * p->depth * high;
    for (int64_t l = 0; l < p->depth; ++l)
      for (int64_t t = 0; t < taps; ++t)
        for (int64_t u = 0; u < high; ++u) {
          const int64_t at = u * p->of_width + l * p->of_depth + (p->backward ? taps - 1 - t : t);
          *strip++ = u < some ? SN_READ_f32(from[at]) : 0;
        }
  }
}

/* The first n places of a vector. */
SN_INLINE void sn_write_f32(int64_t n, const float *from, sn_stored_f32 *to) {
  if (n == sn_wide_lanes_f32)
    sn_copy_out_f32(sn_wide_lanes_f32, from, to);
  else
    sn_copy_out_f32(n, from, to);
}

/* The outputs of a group for a band's pixels, from its box: y: [images, width, pixels] */
SN_APART void sn_outputs_of_planes_f32(const sn_convolution *v, const sn_product_sizes *p,
                                       const sn_rows *rows, const int64_t *offset, const float *x,
                                       const float *w, sn_stored_f32 *y) {
  const int64_t pixels = sn_volume(p->result), lanes = sn_wide_lanes_f32, high = v->planes;
  const int64_t steps = sn_volume(v->kernel) * p->depth;
  const int64_t all = rows->images * rows->rows * ((rows->count + lanes - 1) / lanes);
  float tile[6 * sn_broad * sn_wide_lanes_f32];
  const float *at[sn_broad], *line = x;
  int64_t to[sn_broad], some[sn_broad], m = 0, row = 0, first = 0;
  for (int64_t i = 0; i < all; i += sn_broad) {
    for (int64_t j = 0; j < sn_broad; ++j) {
      at[j] = line + first;
      to[j] = m * v->groups * p->width * pixels + row * rows->count + first;
      some[j] = SN_LEAST(lanes, rows->count - first);
      if (i + j + 1 >= all || (first += lanes) < rows->count) continue;
      first = 0;
      if (++row == rows->rows) row = 0, ++m;
      line = x + m * rows->of_image + sn_row_offset(rows, row);
    }
    for (int64_t o = 0; o < p->width; o += high) {
      sn_tile_of_f32(sn_outputs_of_f32, high, sn_broad, 1, steps, offset, at, w + o * steps, NULL,
                     tile);
      for (int64_t u = 0; u < SN_LEAST(high, p->width - o); ++u)
        for (int64_t j = 0; j < sn_broad; ++j)
          sn_write_f32(some[j], tile + (u * sn_broad + j) * lanes, y + to[j] + (o + u) * pixels);
    }
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
    sn_pack_few_f32(v, &p, w, scratch);
#pragma omp for schedule(dynamic)
    for (int64_t task = 0; task < v->groups * p.bands; ++task) {
      const int64_t group = task / p.bands;
      const sn_band band = sn_band_of(v, &p, task % p.bands);
      float *const room = rooms + SN_THREAD_NUMBER * v->room;
      const float *const strips_of_group = scratch + group * of_group;
      if (sn_is_depthwise(v, &p)) {
        sn_depthwise_band_f32(v, &p, group, &band, x, strips_of_group, room, y);
        continue;
      }
      int64_t *const offset = (int64_t *)(room + v->box);
      const sn_box box = sn_pack_planes_f32(v, &p, group, &band, x, room);
      const sn_rows rows = sn_rows_of(&p, &band, &box);
      sn_plane_offsets(v, &p, &box, offset);
      sn_outputs_of_planes_f32(v, &p, &rows, offset, room, strips_of_group,
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

/* A strip of y in these vectors, from output o on: to: [vectors, high, lanes]; what lacks is 0 */
SN_APART float *sn_pack_vectors_f32(const sn_convolution *v, const sn_product_sizes *p,
                                    const sn_rows *rows, int64_t o, int rest,
                                    const sn_stored_f32 *y, float *to) {
  const int64_t pixels = sn_volume(p->result), lanes = sn_wide_lanes_f32;
  const int64_t whole = rows->count / lanes * lanes;
  for (int64_t m = 0; m < rows->images; ++m)
    for (int64_t i = 0; i < rows->rows; ++i)
      for (int64_t k = rest ? whole : 0; k < (rest ? rows->count : whole); k += lanes)
        for (int64_t u = o; u < o + v->planes; ++u, to += lanes) {
          const int64_t some = u < p->width ? SN_LEAST(lanes, rows->count - k) : 0;
          const sn_stored_f32 *const from =
              y + (m * v->groups * p->width + u) * pixels + i * rows->count + k;
          if (some == lanes) {
            sn_copy_in_f32(lanes, from, to);
          } else {
            sn_zero_f32(to, lanes);
            sn_copy_in_f32(some, from, to);
          }
        }
  return to;
}

/* sum: [strips, elements, high, lanes] += what the pixels of a band add; y begins at them */
SN_APART void sn_add_band_f32(const sn_convolution *v, const sn_product_sizes *p, int64_t group,
                              const sn_band *band, const sn_stored_f32 *x, const sn_stored_f32 *y,
                              float *room, float *sum) {
  const int64_t lanes = sn_wide_lanes_f32, elements = sn_volume(v->kernel) * p->depth;
  const sn_box box = sn_pack_planes_f32(v, p, group, band, x, room);
  const sn_rows rows = sn_rows_of(p, band, &box);
  int64_t *const element = (int64_t *)(room + v->box), *const offset = element + elements;
  float *const strip = (float *)(offset + v->lines);
  sn_keep_f32 mask;
  for (int64_t i = 0; i < lanes; ++i) mask[i] = i < rows.count % lanes ? -1 : 0;
  sn_plane_offsets(v, p, &box, element);
  const int64_t whole = sn_vector_offsets(&rows, 0, lanes, offset);
  const int64_t rest = sn_vector_offsets(&rows, 1, lanes, offset + whole);
  for (int64_t o = 0; o < p->width; o += v->planes) {
    float *const others = sn_pack_vectors_f32(v, p, &rows, o, 0, y, strip);
    sn_pack_vectors_f32(v, p, &rows, o, 1, y, others);
    for (int64_t e = 0; e < elements; e += sn_summed, sum += v->planes * sn_summed * lanes) {
      const float *at[sn_summed];
      for (int64_t j = 0; j < sn_summed; ++j) at[j] = room + element[e + j < elements ? e + j : 0];
      if (whole)
        sn_tile_of_f32(sn_sums_of_f32, v->planes, sn_summed, lanes, whole, offset, at, strip, &mask,
                       sum);
      if (rest)
        sn_tile_of_f32(sn_rest_of_f32, v->planes, sn_summed, lanes, rest, offset + whole, at,
                       others, &mask, sum);
    }
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
SN_APART void sn_add_vectors_f32(const sn_convolution *v, const sn_product_sizes *p,
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
      sn_add_vectors_f32(v, &p, sum, scratch + part * of_part + group * p.width * elements);
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
