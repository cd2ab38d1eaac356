/* Depthwise convolutions without strides, channels first: a plane with its padding, and rows of pixels
   in vectors. A vector that was loaded is multiplied for all rows of a few that it is a part of.

   An output is one chain of fused multiply-adds, tap by tap. Included after convolution_strips.h. */
enum { sn_rows_at_once = 4 };

/* `rows` rows of BROAD vectors, `from` on, of a plane whose rows lie `along`; w: [K, K]. */
#define SN_DEPTHWISE_f32(K, ROWS, BROAD)                                                           \
  SN_APART void sn_depthwise_##K##_##ROWS##_##BROAD##_f32(                                         \
      int64_t along, const float *x, const float *w, float *y, int64_t apart) {                    \
    sn_wide_f32 sum[ROWS][BROAD];                                                                  \
    _Pragma("GCC unroll 8") for (int r = 0; r < ROWS; ++r)                                         \
        _Pragma("GCC unroll 2") for (int v = 0; v < BROAD; ++v) sum[r][v] = SN_ALL_f32(0);         \
    _Pragma("GCC unroll 16") for (int i = 0; i < ROWS + K - 1; ++i)                                \
        _Pragma("GCC unroll 8") for (int c = 0; c < K; ++c)                                        \
            _Pragma("GCC unroll 2") for (int v = 0; v < BROAD; ++v) {                              \
      sn_wide_f32 at = sn_beside_f32(x + i * along + c + v * sn_wide_lanes_f32);                   \
      SN_LOADED(at);                                                                               \
      _Pragma("GCC unroll 8") for (int r = 0; r < ROWS; ++r)                                       \
        if (r <= i && i < r + K)                                                                   \
          sum[r][v] = SN_FMA_f32(SN_ALL_f32(w[(i - r) * K + c]), at, sum[r][v]);                   \
    }                                                                                              \
    _Pragma("GCC unroll 8") for (int r = 0; r < ROWS; ++r)                                         \
        _Pragma("GCC unroll 2") for (int v = 0; v < BROAD; ++v) memcpy(                            \
            y + r * apart + v * sn_wide_lanes_f32, &sum[r][v], sizeof sum[r][v]);                  \
  }
#define SN_DEPTHWISES_f32(K)                                                                       \
  SN_DEPTHWISE_f32(K, 4, 2) SN_DEPTHWISE_f32(K, 4, 1) SN_DEPTHWISE_f32(K, 1, 2)                    \
  SN_DEPTHWISE_f32(K, 1, 1)
SN_DEPTHWISES_f32(3) SN_DEPTHWISES_f32(5) SN_DEPTHWISES_f32(7)

typedef void sn_depthwise_call_f32(int64_t, const float *, const float *, float *, int64_t);
#define SN_DEPTHWISE_OF_f32(K)                                                                     \
  {{sn_depthwise_##K##_1_1_f32, sn_depthwise_##K##_1_2_f32},                                       \
   {sn_depthwise_##K##_4_1_f32, sn_depthwise_##K##_4_2_f32}}
static sn_depthwise_call_f32 *const sn_depthwises_f32[3][2][2] = {
    SN_DEPTHWISE_OF_f32(3), SN_DEPTHWISE_OF_f32(5), SN_DEPTHWISE_OF_f32(7)};

/* Whether a group's convolution is one of these; none is where their library is another. */
static inline int sn_is_depthwise(const sn_convolution *v, const sn_product_sizes *p) {
#ifdef SN_NO_DEPTHWISE
  return (void)v, (void)p, 0;
#else
  const int64_t k = v->kernel[0];
  return p->depth == 1 && p->width == 1 && v->kernel[1] == k && v->kernel[2] == 1 &&
         v->dilation[0] == 1 && v->dilation[1] == 1 && (k == 3 || k == 5 || k == 7) &&
         p->result[2] == 1 && p->source[2] == 1;
#endif
}

/* n elements, by whole vectors, of which the last two may share some. */
SN_INLINE void sn_line_in_f32(int64_t n, const sn_stored_f32 *x, float *to) {
  if (n < sn_wide_lanes_f32) {
    sn_copy_in_f32(n, x, to);
    return;
  }
  for (int64_t j = 0; j < n; j += sn_wide_lanes_f32) {
    j = SN_LEAST(j, n - sn_wide_lanes_f32);
    sn_copy_in_f32(sn_wide_lanes_f32, x + j, to + j);
  }
}

/* A channel with its padding in a box, x: [size[0], size[1]]. */
SN_APART void sn_pad_plane_f32(const sn_box *box, const int64_t *size, const sn_stored_f32 *x,
                               float *to) {
  const int64_t wide = box->count[1], from = SN_MOST(0, box->start[1]);
  const int64_t left = SN_LEAST(from - box->start[1], wide);
  const int64_t many = SN_MOST(0, SN_LEAST(size[1], box->start[1] + wide) - from);
  for (int64_t i = box->start[0]; i < box->start[0] + box->count[0]; ++i, to += wide) {
    if (i < 0 || i >= size[0] || many == 0) {
      sn_zero_f32(to, wide);
      continue;
    }
    for (int64_t j = 0; j < left; ++j) to[j] = 0;
    sn_line_in_f32(many, x + i * size[1] + from, to + left);
    for (int64_t j = left + many; j < wide; ++j) to[j] = 0;
  }
}

/* `rows` rows of `count` outputs, one behind the other, of a plane; w: [k, k] */
SN_APART void sn_outputs_of_plane_f32(int64_t k, int64_t rows, int64_t count, int64_t along,
                                      const float *x, const float *w, sn_stored_f32 *y) {
  enum { lanes = sn_wide_lanes_f32, most = 2 * lanes };
  float tile[sn_rows_at_once * most];
  for (int64_t i = 0; i < rows;) {
    const int many = rows - i >= sn_rows_at_once;
    const int64_t some = many ? sn_rows_at_once : 1;
    for (int64_t j = 0; j < count; j += most) {
      if (count > most) j = SN_LEAST(j, count - most);
      const int64_t vectors = count - j > lanes ? most : lanes;
      sn_depthwises_f32[k / 2 - 1][many][vectors > lanes](along, x + i * along + j, w, tile, most);
      for (int64_t r = 0; r < some; ++r) {
        const int64_t left = (rows - i - r) * count - j; /* what is over is the next row's, after it */
        sn_stored_f32 *const to = y + (i + r) * count + j;
        if (left >= vectors && vectors > lanes)
          sn_copy_out_f32(most, tile + r * most, to);
        else if (left >= vectors)
          sn_copy_out_f32(lanes, tile + r * most, to);
        else
          sn_copy_out_f32(SN_LEAST(left, count - j), tile + r * most, to);
      }
    }
    i += some;
  }
}

/* All outputs of a band of a group; room: the box of an image. */
SN_APART void sn_depthwise_band_f32(const sn_convolution *v, const sn_product_sizes *p,
                                    int64_t group, const sn_band *band, const sn_stored_f32 *x,
                                    const float *w, float *room, sn_stored_f32 *y) {
  const sn_box box = sn_box_of(v, p, band->low, band->high);
  const int64_t of_source = sn_volume(p->source), of_result = sn_volume(p->result);
  for (int64_t m = band->image; m < band->image + band->images; ++m) {
    const int64_t channel = m * v->groups + group;
    sn_pad_plane_f32(&box, p->source, x + channel * of_source, room);
    sn_outputs_of_plane_f32(v->kernel[0], band->high - band->low, p->result[1], box.along[0], room, w,
                            y + channel * of_result + band->low * p->result[1]);
  }
}
