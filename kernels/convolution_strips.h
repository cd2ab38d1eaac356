/* What convolutions of a dtype multiply and turn matrices with: strips of pixels times panels of
   outputs, in registers, and lines of elements that lie the other way. Written for f32; included
   after convolution_parts.h. */
enum {
  sn_wide_lanes_f32 = sizeof(sn_wide_f32) / sizeof(float),
  sn_panel_f32 = 2 * sn_wide_lanes_f32,
};
typedef float sn_eight_f32 __attribute__((vector_size(8 * sizeof(float))));

/* tile = a strip of ROWS pixels, at the addresses `at`, times a panel of WIDE vectors. Of each run,
   which begins `offset` further, every `step`th element up to `length` is taken. */
#define SN_STRIP_f32(NAME, ROWS, WIDE, LEFT)                                                       \
  SN_APART void NAME(                                                                              \
      int64_t runs, int64_t length, int64_t step, const int64_t *offset, const float *const *at,   \
      const float *w, float *tile) {                                                               \
    sn_wide_f32 sum[ROWS][WIDE], *const to = (sn_wide_f32 *)tile;                                  \
    _Pragma("GCC unroll 12") for (int i = 0; i < ROWS; ++i)                                        \
        _Pragma("GCC unroll 2") for (int j = 0; j < WIDE; ++j) sum[i][j] = SN_ALL_f32(0);          \
    for (int64_t r = 0; r < runs; ++r) {                                                           \
      const float *x[ROWS];                                                                        \
      _Pragma("GCC unroll 12") for (int i = 0; i < ROWS; ++i) x[i] = at[i] + offset[r];            \
      for (int64_t l = 0; l < length; l += step, w += WIDE * sn_wide_lanes_f32) {                  \
        sn_wide_f32 right[WIDE];                                                                   \
        _Pragma("GCC unroll 2") for (int j = 0; j < WIDE; ++j)                                     \
            right[j] = ((const sn_wide_f32 *)w)[j];                                                \
        _Pragma("GCC unroll 2") for (int j = 0; j < WIDE; ++j)                                     \
            __builtin_prefetch(w + (SN_AHEAD * WIDE + j) * sn_wide_lanes_f32);                     \
        _Pragma("GCC unroll 12") for (int i = 0; i < ROWS; ++i) {                                  \
          const float *const at_l = x[i] + l;                                                      \
          _Pragma("GCC unroll 2") for (int j = 0; j < WIDE; ++j)                                   \
              sum[i][j] = SN_FMA_f32(LEFT(at_l, j), right[j], sum[i][j]);                          \
        }                                                                                          \
      }                                                                                            \
    }                                                                                              \
    _Pragma("GCC unroll 12") for (int i = 0; i < ROWS; ++i)                                        \
        _Pragma("GCC unroll 2") for (int j = 0; j < WIDE; ++j) to[i * WIDE + j] = sum[i][j];       \
  }
#define SN_SPREAD_f32(x, j) SN_ALL_f32(*(x))
#define SN_BESIDE_f32(x, j) sn_beside_f32((x) + (j) * sn_wide_lanes_f32)
SN_INLINE sn_wide_f32 sn_beside_f32(const float *x) {
  sn_wide_f32 y;
  memcpy(&y, x, sizeof y);
  return y;
}
#define SN_STRIPS_f32(ROWS)                                                                        \
  SN_STRIP_f32(sn_strip_##ROWS##_1_f32, ROWS, 1, SN_SPREAD_f32)                                    \
  SN_STRIP_f32(sn_strip_##ROWS##_2_f32, ROWS, 2, SN_SPREAD_f32)                                    \
  SN_STRIP_f32(sn_singles_##ROWS##_f32, ROWS, 2, SN_BESIDE_f32)
SN_HEIGHTS(SN_STRIPS_f32)

/* The strip of so many rows, for a panel of such a width; of single groups, where a row's elements
   are beside those of the panel, all panels are as wide. */
typedef void sn_strip_call_f32(int64_t rows, int64_t width, int64_t runs, int64_t length,
                               int64_t step, const int64_t *offset, const float *const *at,
                               const float *w, float *tile);
#define SN_TAKE_STRIP_f32(ROWS)                                         \
  if (rows == ROWS && width == sn_panel_f32)                            \
    sn_strip_##ROWS##_2_f32(runs, length, step, offset, at, w, tile);   \
  else if (rows == ROWS)                                                \
    sn_strip_##ROWS##_1_f32(runs, length, step, offset, at, w, tile);
SN_APART void sn_strip_f32(int64_t rows, int64_t width, int64_t runs, int64_t length, int64_t step,
                           const int64_t *offset, const float *const *at, const float *w,
                           float *tile) {
  SN_HEIGHTS(SN_TAKE_STRIP_f32)
}

#define SN_TAKE_SINGLES_f32(ROWS) \
  if (rows == ROWS) sn_singles_##ROWS##_f32(runs, length, step, offset, at, w, tile);
SN_APART void sn_single_strip_f32(int64_t rows, int64_t width, int64_t runs, int64_t length,
                                  int64_t step, const int64_t *offset, const float *const *at,
                                  const float *w, float *tile) {
  (void)width;
  SN_HEIGHTS(SN_TAKE_SINGLES_f32)
}

/* How many outputs the panel from output j on has room for. */
static int64_t sn_panel_width_f32(const sn_convolution *v, int64_t width, int64_t j) {
  return !v->single && width - j <= sn_wide_lanes_f32 ? sn_wide_lanes_f32 : sn_panel_f32;
}

/* Eight lines of eight elements, turned: blocks of 1, then 2, then 4 change places across. */
SN_INLINE void sn_turn_f32(sn_eight_f32 *x) {
#define SN_ACROSS_f32(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
  _Pragma("GCC unroll 4") for (int i = 0; i < 8; i += 2) {
    const sn_eight_f32 a = x[i], b = x[i + 1];
    x[i] = SN_ACROSS_f32(a, b, 0, 8, 2, 10, 4, 12, 6, 14);
    x[i + 1] = SN_ACROSS_f32(a, b, 1, 9, 3, 11, 5, 13, 7, 15);
  }
  _Pragma("GCC unroll 4") for (int k = 0; k < 4; ++k) {
    const int i = k / 2 * 4 + k % 2;
    const sn_eight_f32 a = x[i], b = x[i + 2];
    x[i] = SN_ACROSS_f32(a, b, 0, 1, 8, 9, 4, 5, 12, 13);
    x[i + 2] = SN_ACROSS_f32(a, b, 2, 3, 10, 11, 6, 7, 14, 15);
  }
  _Pragma("GCC unroll 4") for (int i = 0; i < 4; ++i) {
    const sn_eight_f32 a = x[i], b = x[i + 4];
    x[i] = SN_ACROSS_f32(a, b, 0, 1, 2, 3, 8, 9, 10, 11);
    x[i + 4] = SN_ACROSS_f32(a, b, 4, 5, 6, 7, 12, 13, 14, 15);
  }
}

#define SN_TURN_AHEAD 64 /* elements, whether they follow in the matrix or beside it */

/* The first lines of a matrix of m of n elements, turned by the widest vectors; -> how many. */
#ifdef SN_TURNS_f32
SN_INLINE int64_t sn_turn_wide_f32(int64_t m, int64_t n, const float *from, int64_t step, float *to,
                                   int64_t to_step) {
  int64_t i = 0;
  for (; i + sn_wide_lanes_f32 <= m; i += sn_wide_lanes_f32)
    sn_turn_lanes(n, from + i * step, step, to + i, to_step, SN_TURN_AHEAD);
  return i;
}
#else
#define sn_turn_wide_f32(m, n, from, step, to, to_step) 0
#endif

/* to[j][i] = from[i][j] of m lines of n; if SPARE, elements up to 8 further may be read. */
#define SN_TRANSPOSE_f32(NAME, FROM, TO, READ, WRITE, SPARE)                                       \
  SN_APART void NAME(int64_t m, int64_t n, const FROM *from, int64_t step, TO *to,                 \
                     int64_t to_step) {                                                            \
    int64_t i = sn_turn_wide_f32(m, n, from, step, to, to_step);                                   \
    for (; i + 8 <= m; i += 8) {                                                                   \
      int64_t j = 0;                                                                               \
      for (; j + 8 <= n || (SPARE && j < n); j += 8) {                                             \
        const FROM *const f = from + i * step + j;                                                 \
        TO *const t = to + j * to_step + i;                                                        \
        sn_eight_f32 x[8];                                                                         \
        _Pragma("GCC unroll 8") for (int u = 0; u < 8; ++u)                                        \
          if (sizeof *f == sizeof(float)) memcpy(&x[u], f + u * step, sizeof x[u]);                \
          else for (int k = 0; k < 8; ++k) x[u][k] = READ(f[u * step + k]);                        \
        sn_turn_f32(x);                                                                            \
        _Pragma("GCC unroll 8") for (int u = 0; u < 8; ++u)                                        \
          if (SPARE && j + u >= n) break;                                                          \
          else if (sizeof *t == sizeof(float)) memcpy(t + u * to_step, &x[u], sizeof x[u]);        \
          else for (int k = 0; k < 8; ++k) t[u * to_step + k] = WRITE(x[u][k]);                    \
      }                                                                                            \
      for (; j < n; ++j)                                                                           \
        for (int u = 0; u < 8; ++u)                                                                \
          to[j * to_step + i + u] = WRITE(READ(from[(i + u) * step + j]));                         \
    }                                                                                              \
    SN_FEW_LINES(4, READ, WRITE)                                                                   \
    SN_FEW_LINES(3, READ, WRITE)                                                                   \
    SN_FEW_LINES(2, READ, WRITE)                                                                   \
    SN_FEW_LINES(1, READ, WRITE)                                                                   \
  }
#define SN_AS_IT_IS_f32(x) (x)
SN_TRANSPOSE_f32(sn_turn_in_f32, sn_stored_f32, float, SN_READ_f32, SN_AS_IT_IS_f32, 0)
SN_TRANSPOSE_f32(sn_turn_out_f32, float, sn_stored_f32, SN_AS_IT_IS_f32, SN_WRITE_f32, 1)

SN_INLINE void sn_copy_in_f32(int64_t n, const sn_stored_f32 *from, float *to) {
  if (sizeof *from == sizeof(float)) memcpy(to, from, n * sizeof *to);
  else for (int64_t i = 0; i < n; ++i) to[i] = SN_READ_f32(from[i]);
}

SN_INLINE void sn_copy_out_f32(int64_t n, const float *from, sn_stored_f32 *to) {
  if (sizeof *to == sizeof(float)) memcpy(to, from, n * sizeof *to);
  else for (int64_t i = 0; i < n; ++i) to[i] = SN_WRITE_f32(from[i]);
}

SN_INLINE void sn_zero_f32(float *to, int64_t n) { memset(to, 0, n * sizeof *to); }
