/* Strips of float32 products, which products.h makes a product of. Included after turns.h.

   A strip is a function for its height and width, its sums in registers from end to end. To compile
   all of them takes gcc most of a second, so products.h begins with those of a few heights, and is
   given the others when a library of them is built. No sum's order knows how high its strip is. */
#ifndef SN_STRIPS
#define SN_STRIPS
#include <stdint.h>

#if defined(__AVX512F__) || (defined(__AVX2__) && defined(__FMA__))
#define SN_HAS_STRIPS
#define SN_ALL SN_ALL_f32
#define SN_FMA SN_FMA_f32
#if defined(__AVX512F__)
enum { sn_tallest = 14, sn_tallest_of_few = 8 };
#define SN_EVERY_HEIGHT(S) SN_FEW_HEIGHTS(S) S(3) S(5) S(6) S(7) S(9) S(10) S(11) S(12) S(13) S(14)
#define SN_FEW_HEIGHTS(S) S(1) S(2) S(4) S(8)
#else
enum { sn_tallest = 6, sn_tallest_of_few = 4 };
#define SN_EVERY_HEIGHT(S) SN_FEW_HEIGHTS(S) S(3) S(5) S(6)
#define SN_FEW_HEIGHTS(S) S(1) S(2) S(4)
#endif
typedef sn_wide_f32 sn_wide;
enum { sn_lanes = sizeof(sn_wide) / sizeof(float) };

typedef void sn_strip(int64_t, const float *, int64_t, const float *, float *, int64_t, int);
/* By a height less 1, whether a lies in columns, and the vectors of a panel less 1. */
typedef sn_strip *sn_strips[sn_tallest][2][2];

/* c = a strip of ROWS rows times a panel of WIDE vectors, or added to c. a's element (i, l) is AT,
   where rows lie `ai` apart; of each three the first has an address, which the registers hold. */
#define SN_STRIP(NAME, AT, ROWS, WIDE)                                                             \
  static void sn_##NAME##_##ROWS##_##WIDE(int64_t depth, const float *a, int64_t ai,               \
                                          const float *b, float *c, int64_t ldc, int begins) {     \
    const float *third[(ROWS + 2) / 3];                                                            \
    _Pragma("GCC unroll 5") for (int i = 0; i < ROWS; i += 3) third[i / 3] = a + i * ai;           \
    sn_wide sum[ROWS][WIDE];                                                                       \
    _Pragma("GCC unroll 14") for (int i = 0; i < ROWS; ++i) {                                      \
      __builtin_prefetch(c + i * ldc, 1);                                                          \
      __builtin_prefetch(c + i * ldc + WIDE * sn_lanes - 1, 1);                                    \
      _Pragma("GCC unroll 2") for (int j = 0; j < WIDE; ++j) sum[i][j] = SN_ALL(0);                \
    }                                                                                              \
    _Pragma("GCC unroll 2") for (int64_t l = 0; l < depth; ++l, b += WIDE * sn_lanes) {            \
      sn_wide right[WIDE];                                                                         \
      _Pragma("GCC unroll 2") for (int j = 0; j < WIDE; ++j) right[j] = ((const sn_wide *)b)[j];   \
      _Pragma("GCC unroll 14") for (int i = 0; i < ROWS; ++i) {                                    \
        const sn_wide left = SN_ALL(AT(ROWS, i, l));                                               \
        _Pragma("GCC unroll 2") for (int j = 0; j < WIDE; ++j)                                     \
            sum[i][j] = SN_FMA(left, right[j], sum[i][j]);                                         \
      }                                                                                            \
    }                                                                                              \
    _Pragma("GCC unroll 14") for (int i = 0; i < ROWS; ++i)                                        \
        _Pragma("GCC unroll 2") for (int j = 0; j < WIDE; ++j) {                                   \
      sn_wide_anywhere *const to = (sn_wide_anywhere *)(c + i * ldc + j * sn_lanes);               \
      if (begins) *to = sum[i][j]; else *to += sum[i][j];                                          \
    }                                                                                              \
  }
#define SN_IN_ROWS(ROWS, i, l) third[(i) / 3][(i) % 3 * ai + (l)]
#define SN_IN_COLUMNS(ROWS, i, l) third[0][(l) * ROWS + (i)]
#define SN_PRODUCT_STRIPS(ROWS)                                                                    \
  SN_STRIP(rows, SN_IN_ROWS, ROWS, 1) SN_STRIP(rows, SN_IN_ROWS, ROWS, 2)                          \
  SN_STRIP(columns, SN_IN_COLUMNS, ROWS, 1) SN_STRIP(columns, SN_IN_COLUMNS, ROWS, 2)
#define SN_NAMES(ROWS)                                                                             \
  [ROWS - 1] = {{sn_rows_##ROWS##_1, sn_rows_##ROWS##_2},                                          \
                {sn_columns_##ROWS##_1, sn_columns_##ROWS##_2}},

#endif
#endif
