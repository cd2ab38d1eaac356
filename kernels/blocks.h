/* A block of floats combined to one, in an order that its length alone decides: so many lanes side
   by side, each of which takes every so manyth element, and then the lanes by halves; fewer elements
   than lanes one after the other. Vectors are written, not left to a compiler, whose choice would
   depend on what else a loop does. Included after math.h and runtime.h.

   sn_sum_f32(x, n), sn_prod_f32, sn_max_f32, sn_min_f32, and of f64; n >= 1. Of extrema NaN wins. */
#ifndef SN_BLOCKS_H
#define SN_BLOCKS_H

#define SN_LANE_BYTES 128 /* four vectors of 32 bytes, whose latencies overlap */

typedef sn_f32 sn_lanes_f32 __attribute__((vector_size(32), aligned(4), may_alias));
typedef sn_i32 sn_mask_f32 __attribute__((vector_size(32), aligned(4), may_alias));
typedef sn_f64 sn_lanes_f64 __attribute__((vector_size(32), aligned(8), may_alias));
typedef sn_i64 sn_mask_f64 __attribute__((vector_size(32), aligned(8), may_alias));

#define SN_SUM_OF(t, a, x) ((a) + (x))
#define SN_PROD_OF(t, a, x) ((a) * (x))
#define SN_CHOSEN(t, m, a, x) \
  ((sn_lanes_##t)(((m) & (sn_mask_##t)(a)) | (~(m) & (sn_mask_##t)(x))))
#define SN_MAX_OF(t, a, x) SN_CHOSEN(t, (sn_mask_##t)(((a) > (x)) | ((a) != (a))), a, x)
#define SN_MIN_OF(t, a, x) SN_CHOSEN(t, (sn_mask_##t)(((a) < (x)) | ((a) != (a))), a, x)
#define SN_SUM_OF_TWO(t, a, x) ((a) + (x))
#define SN_PROD_OF_TWO(t, a, x) ((a) * (x))
#define SN_MAX_OF_TWO(t, a, x) sn_maximum_##t(a, x)
#define SN_MIN_OF_TWO(t, a, x) sn_minimum_##t(a, x)

#define SN_BLOCK(name, t, OF)                                                                   \
  static inline __attribute__((always_inline, unused)) sn_##t name(const sn_##t *x, int64_t n) { \
    enum { width = 32 / sizeof(sn_##t), lanes = SN_LANE_BYTES / sizeof(sn_##t) };               \
    if (n < lanes) {                                                                            \
      sn_##t all = x[0];                                                                        \
      for (int64_t i = 1; i < n; ++i) all = OF##_TWO(t, all, x[i]);                             \
      return all;                                                                               \
    }                                                                                           \
    const sn_lanes_##t *v = (const sn_lanes_##t *)x;                                            \
    sn_lanes_##t a = v[0], b = v[1], c = v[2], d = v[3];                                        \
    int64_t i = lanes;                                                                          \
    for (; i + lanes <= n; i += lanes) {                                                        \
      v = (const sn_lanes_##t *)(x + i);                                                        \
      a = OF(t, a, v[0]);                                                                       \
      b = OF(t, b, v[1]);                                                                       \
      c = OF(t, c, v[2]);                                                                       \
      d = OF(t, d, v[3]);                                                                       \
    }                                                                                           \
    sn_##t lane[lanes];                                                                         \
    sn_lanes_##t *const l = (sn_lanes_##t *)lane;                                               \
    if (i == n) {                                                                               \
      l[0] = OF(t, OF(t, a, c), OF(t, b, d));                                                   \
    } else {                                                                                    \
      l[0] = a, l[1] = b, l[2] = c, l[3] = d;                                                   \
      for (int64_t k = 0; i + k < n; ++k) lane[k] = OF##_TWO(t, lane[k], x[i + k]);             \
      l[0] = OF(t, OF(t, l[0], l[2]), OF(t, l[1], l[3]));                                       \
    }                                                                                           \
    for (int half = width / 2; half; half /= 2)                                                 \
      for (int k = 0; k < half; ++k) lane[k] = OF##_TWO(t, lane[k], lane[k + half]);            \
    return lane[0];                                                                             \
  }

SN_BLOCK(sn_sum_f32, f32, SN_SUM_OF)
SN_BLOCK(sn_prod_f32, f32, SN_PROD_OF)
SN_BLOCK(sn_max_f32, f32, SN_MAX_OF)
SN_BLOCK(sn_min_f32, f32, SN_MIN_OF)
SN_BLOCK(sn_sum_f64, f64, SN_SUM_OF)
SN_BLOCK(sn_prod_f64, f64, SN_PROD_OF)
SN_BLOCK(sn_max_f64, f64, SN_MAX_OF)
SN_BLOCK(sn_min_f64, f64, SN_MIN_OF)

#endif
