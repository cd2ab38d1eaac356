/* A block of floats combined to one, in an order that its length alone decides: so many lanes side
   by side, each of which takes every so manyth element, and then the lanes by halves; fewer elements
   than lanes one after the other. Vectors are written, not left to a compiler, whose choice would
   depend on what else a loop does. Included after math.h and runtime.h.

   sn_sum_f32(x, n), sn_prod_f32, sn_max_f32, sn_min_f32, and of f64; n >= 1. Of extrema NaN wins.
   Or piece by piece: sn_sum_none_f32(lanes), sn_sum_more_f32(lanes, x, n) for pieces of whole lanes,
   then sn_sum_end_f32(lanes, x, n, taken) with what is left. As many elements give the same bits. */
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

#define SN_BLOCK(op, t, OF, none)                                                                \
  /* lanes that hold no element yet: what is combined with `none` stays as it is */              \
  static inline __attribute__((always_inline, unused)) void sn_##op##_none_##t(                  \
      sn_lanes_##t *l) {                                                                         \
    l[0] = l[1] = l[2] = l[3] = (none) - (sn_lanes_##t){0};                                      \
  }                                                                                              \
  /* combined with n elements more, a multiple of their number */                                \
  static inline __attribute__((always_inline, unused)) void sn_##op##_more_##t(                  \
      sn_lanes_##t *l, const sn_##t *x, int64_t n) {                                             \
    for (int64_t i = 0; i < n; i += SN_LANE_BYTES / sizeof(sn_##t)) {                            \
      const sn_lanes_##t *v = (const sn_lanes_##t *)(x + i);                                     \
      l[0] = OF(t, l[0], v[0]);                                                                  \
      l[1] = OF(t, l[1], v[1]);                                                                  \
      l[2] = OF(t, l[2], v[2]);                                                                  \
      l[3] = OF(t, l[3], v[3]);                                                                  \
    }                                                                                            \
  }                                                                                              \
  /* the result of lanes that hold `taken` elements, with n more: any number of them */          \
  static inline __attribute__((always_inline, unused)) sn_##t sn_##op##_end_##t(                 \
      sn_lanes_##t *l, const sn_##t *x, int64_t n, int64_t taken) {                              \
    enum { width = 32 / sizeof(sn_##t), lanes = SN_LANE_BYTES / sizeof(sn_##t) };                \
    if (taken + n < lanes) {                                                                     \
      sn_##t all = x[0];                                                                         \
      for (int64_t i = 1; i < n; ++i) all = OF##_TWO(t, all, x[i]);                              \
      return all;                                                                                \
    }                                                                                            \
    const int64_t rest = n % lanes;                                                              \
    sn_##op##_more_##t(l, x, n - rest);                                                          \
    sn_##t lane[lanes];                                                                          \
    sn_lanes_##t *const m = (sn_lanes_##t *)lane;                                                \
    if (rest == 0) {                                                                             \
      m[0] = OF(t, OF(t, l[0], l[2]), OF(t, l[1], l[3]));                                        \
    } else {                                                                                     \
      m[0] = l[0], m[1] = l[1], m[2] = l[2], m[3] = l[3];                                        \
      x += n - rest;                                                                             \
      for (int64_t k = 0; k < rest; ++k) lane[k] = OF##_TWO(t, lane[k], x[k]);                   \
      m[0] = OF(t, OF(t, m[0], m[2]), OF(t, m[1], m[3]));                                        \
    }                                                                                            \
    for (int half = width / 2; half; half /= 2)                                                  \
      for (int k = 0; k < half; ++k) lane[k] = OF##_TWO(t, lane[k], lane[k + half]);             \
    return lane[0];                                                                              \
  }                                                                                              \
  static inline __attribute__((always_inline, unused)) sn_##t sn_##op##_##t(const sn_##t *x,     \
                                                                            int64_t n) {         \
    sn_lanes_##t l[4];                                                                           \
    sn_##op##_none_##t(l);                                                                       \
    return sn_##op##_end_##t(l, x, n, 0);                                                        \
  }

SN_BLOCK(sum, f32, SN_SUM_OF, -0.0f)
SN_BLOCK(prod, f32, SN_PROD_OF, 1.0f)
SN_BLOCK(max, f32, SN_MAX_OF, -__builtin_inff())
SN_BLOCK(min, f32, SN_MIN_OF, __builtin_inff())
SN_BLOCK(sum, f64, SN_SUM_OF, -0.0)
SN_BLOCK(prod, f64, SN_PROD_OF, 1.0)
SN_BLOCK(max, f64, SN_MAX_OF, -__builtin_inf())
SN_BLOCK(min, f64, SN_MIN_OF, __builtin_inf())

#endif
