/* float32 products, with the signature of Fortran's sgemm. Included after turns.h.

   The rows of a come in strips of a few, the columns of b in panels of two vectors, and a strip and a
   panel meet in a tile of c that stays in registers. The panels are packed once into the second cache.
   A strip is read where it lies, unless its rows would push each other out of the first cache or are
   columns in memory: then it is packed. Strips are as equal as m allows, so that none computes rows
   which are not there. An element is a chain of fused multiply-adds over each part of k, and the parts
   are added in order: its bits depend on k alone, but for one or two rows, whose sums have an order
   of their own. What is faster there goes to BLAS.

   Goto and van de Geijn, "Anatomy of high-performance matrix multiplication", 2008. */
#include <stdint.h>
#include <string.h>

typedef void sn_gemm(const char *, const char *, const int *, const int *, const int *,
                     const float *, const float *, const int *, const float *, const int *,
                     const float *, float *, const int *);
static sn_gemm *sn_blas;

void sn_set_sgemm(void *blas) { sn_blas = (sn_gemm *)blas; }

#if defined(__AVX512F__) || (defined(__AVX2__) && defined(__FMA__))
#define SN_PRODUCT_LEAST(a, b) ((a) < (b) ? (a) : (b))
#define SN_ALL SN_ALL_f32
#define SN_FMA SN_FMA_f32
typedef sn_wide_f32 sn_wide;
#if defined(__AVX512F__)
#define SN_PRODUCT_HEIGHTS(S) S(1) S(2) S(3) S(4) S(5) S(6) S(7) S(8) S(9) S(10) S(11) S(12) S(13) S(14)
enum { sn_tallest = 14 };
#else
#define SN_PRODUCT_HEIGHTS(S) S(1) S(2) S(3) S(4) S(5) S(6)
enum { sn_tallest = 6 };
#endif

enum {
  sn_fewest = 3, /* rows of a product that is ours */
  sn_narrowest = 4, /* columns of such a one, of which a vector is filled too little */
  sn_lanes = sizeof(sn_wide) / sizeof(float),
  sn_panel = 2 * sn_lanes,
  sn_deep = 256,           /* the longest part of k */
  sn_apart = sn_deep + 16, /* between the rows of a packed strip, lest they share sets of a cache */
  sn_sharing = 1 << 10,    /* rows that lie a multiple of it apart share one set of the first cache */
  sn_group = 16,           /* strips that are packed at a time */
  sn_ahead = 12,           /* lines from one that is packed to one that is fetched */
  sn_room = 1 << 16,       /* elements of packed panels, which lie in the second cache */
  sn_strip_room = sn_tallest * sn_apart + sn_lanes,
};

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
SN_PRODUCT_HEIGHTS(SN_PRODUCT_STRIPS)

typedef void sn_strip(int64_t, const float *, int64_t, const float *, float *, int64_t, int);
#define SN_NAMES(ROWS)                                                                             \
  {{sn_rows_##ROWS##_1, sn_rows_##ROWS##_2}, {sn_columns_##ROWS##_1, sn_columns_##ROWS##_2}},
static sn_strip *const sn_strips[][2][2] = {SN_PRODUCT_HEIGHTS(SN_NAMES)};

/* Where strip s of `count` begins, of m rows. */
static int64_t sn_cut(int64_t m, int64_t count, int64_t s) { return m * s / count; }

/* Rows of a, each in one piece. */
static void sn_pack_rows(int64_t m, int64_t depth, const float *a, int64_t ai, float *to) {
  for (int64_t i = 0; i < m; ++i) memcpy(to + i * sn_apart, a + i * ai, depth * sizeof *a);
}

/* Strips of columns of a: of each l the elements of a strip beside each other. */
static void sn_pack_columns(int64_t m, int64_t count, int64_t begin, int64_t end, int64_t depth,
                            const float *a, int64_t al, float *to) {
  int64_t first[sn_group + 1];
  for (int64_t s = begin; s <= end; ++s) first[s - begin] = sn_cut(m, count, s);
  for (int64_t l = 0; l < depth; ++l, a += al)
    for (int64_t s = 0; s < end - begin; ++s) {
      __builtin_prefetch(a + first[s] + sn_ahead * al);
      const int64_t rows = first[s + 1] - first[s];
      float *const line = to + s * sn_strip_room + l * rows;
      if (l + 1 < depth)
        *(sn_wide_anywhere *)line = *(const sn_wide_anywhere *)(a + first[s]);
      else
        memcpy(line, a + first[s], rows * sizeof *a);
    }
}

/* The columns of the panel of so many: one vector or two. */
static int64_t sn_wide_of(int64_t width) { return width <= sn_lanes ? sn_lanes : sn_panel; }

/* n columns as panels one behind the other, each line by line; what lacks is 0. */
static void sn_pack_panels(int64_t depth, int64_t n, const float *b, int64_t bl, int64_t bj,
                           float *to) {
  const int64_t whole = n / sn_panel * sn_panel, width = n - whole, wide = sn_wide_of(width);
  float *const last = to + whole * depth;
  if (bj == 1)
    for (int64_t l = 0; l < depth; ++l)
      for (int64_t j = 0; j < whole; j += sn_panel) {
        const float *const line = b + l * bl + j;
        __builtin_prefetch(line + sn_ahead * bl);
        __builtin_prefetch(line + sn_ahead * bl + sn_lanes);
        memcpy(to + j * depth + l * sn_panel, line, sn_panel * sizeof *to);
      }
  else
    for (int64_t j = 0; j < whole; j += sn_lanes)
      sn_turn_lanes(depth, b + j * bj, bj, to + j / sn_panel * sn_panel * depth + j % sn_panel,
                    sn_panel, 0);
  for (int64_t l = 0; l < depth && width; ++l)
    for (int64_t j = 0; j < wide; ++j)
      last[l * wide + j] = j < width ? b[l * bl + (whole + j) * bj] : 0;
}

static void sn_put(int64_t rows, int64_t width, int64_t wide, const float *tile, float *c,
                   int64_t ldc, int begins) {
  for (int64_t i = 0; i < rows; ++i, tile += wide, c += ldc)
    for (int64_t j = 0; j < width; ++j) c[j] = begins ? tile[j] : c[j] + tile[j];
}

/* A strip times the panels of n columns, which lie one behind the other. */
static void sn_line(int64_t rows, int64_t n, int64_t depth, const float *strip, int64_t ai,
                    int turned, const float *panels, float *c, int64_t ldc, int begins) {
  _Alignas(64) float tile[sn_tallest * sn_panel];
  for (int64_t j = 0; j < n; j += sn_panel) {
    const int64_t width = SN_PRODUCT_LEAST(sn_panel, n - j), wide = sn_wide_of(width);
    sn_strip *const run = sn_strips[rows - 1][turned][wide / sn_lanes - 1];
    if (width == wide) {
      run(depth, strip, ai, panels + j * depth, c + j, ldc, begins);
      continue;
    }
    run(depth, strip, ai, panels + j * depth, tile, wide, 1);
    sn_put(rows, width, wide, tile, c + j, ldc, begins);
  }
}

/* All rows of a times packed panels of n columns. Of the product before, `again` says, a was the same:
   its strips lie packed if they are few. */
static void sn_lines(int64_t m, int64_t n, int64_t depth, const float *a, int64_t ai, int64_t al,
                     const float *panels, float *c, int64_t ldc, int begins, int again) {
  static _Thread_local _Alignas(64) float strips[sn_group * sn_strip_room];
  const int64_t count = (m + sn_tallest - 1) / sn_tallest;
  const int turned = al != 1, packs = turned || ai % sn_sharing == 0;
  const int lie = again && count <= sn_group;
  for (int64_t s = 0; s < count; ++s) {
    const int64_t i = sn_cut(m, count, s), rows = sn_cut(m, count, s + 1) - i;
    float *const strip = strips + s % sn_group * sn_strip_room;
    if (!turned && packs)
      sn_pack_rows(rows, depth, a + i * ai, ai, strip);
    else if (turned && s % sn_group == 0 && !lie)
      sn_pack_columns(m, count, s, SN_PRODUCT_LEAST(s + sn_group, count), depth, a, al, strips);
    sn_line(rows, n, depth, packs ? strip : a + i * ai, packs ? sn_apart : ai, turned, panels,
            c + i * ldc, ldc, begins);
  }
}

/* c = a b, row by row, or c + a b; a's element (i, l) is a[i * ai + l * al]. */
static void sn_product(int64_t m, int64_t n, int64_t k, const float *a, int64_t ai, int64_t al,
                       const float *b, int64_t bl, int64_t bj, float *c, int64_t ldc, int adds) {
  static _Thread_local _Alignas(64) float panels[sn_room];
  const int64_t parts = (k + sn_deep - 1) / sn_deep, deepest = (k + parts - 1) / parts;
  const int64_t most = sn_room / deepest / sn_panel * sn_panel;
  for (int64_t p = 0; p < parts; ++p) {
    const int64_t l = sn_cut(k, parts, p), depth = sn_cut(k, parts, p + 1) - l;
    for (int64_t j = 0; j < n; j += most) {
      const int64_t width = SN_PRODUCT_LEAST(most, n - j);
      sn_pack_panels(depth, width, b + l * bl + j * bj, bl, bj, panels);
      sn_lines(m, width, depth, a + l * al, ai, al, panels, c + j, ldc, p == 0 && !adds, j > 0);
    }
  }
}

/* The panels of the columns of b from `first` to `last`, part after part, for products with it;
   to: [k, n up to 32]. `first` is a multiple of 32, and `last` if it is not n. */
void sn_hold_panels(int64_t n, int64_t k, int64_t first, int64_t last, const float *b, int64_t bl,
                    int64_t bj, float *to) {
  const int64_t parts = (k + sn_deep - 1) / sn_deep, apart = (n + 31) / 32 * 32;
  for (int64_t p = 0; p < parts; ++p) {
    const int64_t l = sn_cut(k, parts, p), depth = sn_cut(k, parts, p + 1) - l;
    sn_pack_panels(depth, last - first, b + l * bl + first * bj, bl, bj,
                   to + l * apart + first * depth);
  }
}

/* The columns from `first` to `last` of c = a b, row by row, or c + a b, b [k, n] being packed;
   `first` is a multiple of 32. */
void sn_times_held(int64_t m, int64_t n, int64_t k, int64_t first, int64_t last, const float *a,
                   int64_t ai, int64_t al, const float *panels, float *c, int adds) {
  const int64_t parts = (k + sn_deep - 1) / sn_deep, apart = (n + 31) / 32 * 32;
  for (int64_t p = 0; p < parts; ++p) {
    const int64_t l = sn_cut(k, parts, p), depth = sn_cut(k, parts, p + 1) - l;
    sn_lines(m, last - first, depth, a + l * al, ai, al, panels + l * apart + first * depth,
             c + first, n, p == 0 && !adds, 0);
  }
}

/* The sum of a vector's elements, in an order of its own. */
static float sn_sum_of(sn_wide x) {
  _Alignas(64) float part[sn_lanes];
  *(sn_wide *)part = x;
  for (int half = sn_lanes / 2; half > 0; half /= 2)
    for (int j = 0; j < half; ++j) part[j] += part[j + half];
  return part[0];
}

/* c = a row of a times b whose columns lie each in one piece, COLUMNS of them: sums of vectors along
   k, in the order of no other product. */
#define SN_ALONG(COLUMNS)                                                                          \
  static void sn_along_##COLUMNS(int64_t k, const float *a, const float *b, int64_t bj, float *c,  \
                                 int adds) {                                                       \
    sn_wide sum[COLUMNS][2];                                                                       \
    _Pragma("GCC unroll 4") for (int j = 0; j < COLUMNS; ++j) sum[j][0] = sum[j][1] = SN_ALL(0);   \
    int64_t l = 0;                                                                                 \
    for (; l + sn_panel <= k; l += sn_panel)                                                       \
      _Pragma("GCC unroll 2") for (int v = 0; v < 2; ++v) {                                        \
        const sn_wide left = *(const sn_wide_anywhere *)(a + l + v * sn_lanes);                    \
        _Pragma("GCC unroll 4") for (int j = 0; j < COLUMNS; ++j) sum[j][v] = SN_FMA(              \
            left, *(const sn_wide_anywhere *)(b + j * bj + l + v * sn_lanes), sum[j][v]);          \
      }                                                                                            \
    for (int j = 0; j < COLUMNS; ++j) {                                                            \
      float total = sn_sum_of(sum[j][0] + sum[j][1]);                                              \
      for (int64_t r = l; r < k; ++r) total = __builtin_fmaf(a[r], b[j * bj + r], total);          \
      c[j] = adds ? c[j] + total : total;                                                          \
    }                                                                                              \
  }
SN_ALONG(1) SN_ALONG(4)

/* The sum of LINES elements of a times as many lines of b, n elements long, as c or added to it: in
   vectors, and the last elements one by one. */
#define SN_ACROSS(LINES)                                                                           \
  static void sn_across_##LINES(int64_t n, const float *a, int64_t al, const float *b, int64_t bl, \
                                float *c, int begins) {                                            \
    int64_t j = 0;                                                                                 \
    for (; j + sn_lanes <= n; j += sn_lanes) {                                                     \
      sn_wide sum = SN_ALL(0);                                                                     \
      _Pragma("GCC unroll 8") for (int l = 0; l < LINES; ++l) sum =                                \
          SN_FMA(SN_ALL(a[l * al]), *(const sn_wide_anywhere *)(b + l * bl + j), sum);             \
      if (!begins) sum += *(sn_wide_anywhere *)(c + j);                                            \
      *(sn_wide_anywhere *)(c + j) = sum;                                                          \
    }                                                                                              \
    for (; j < n; ++j) {                                                                           \
      float sum = 0;                                                                               \
      for (int l = 0; l < LINES; ++l) sum = __builtin_fmaf(a[l * al], b[l * bl + j], sum);         \
      c[j] = begins ? sum : c[j] + sum;                                                            \
    }                                                                                              \
  }
SN_ACROSS(1) SN_ACROSS(8)

/* Few rows by b as it lies, along its columns or across its lines: to pack it would take longest. */
static void sn_few(int64_t m, int64_t n, int64_t k, const float *a, int64_t ai, int64_t al,
                   const float *b, int64_t bl, int64_t bj, float *c, int64_t ldc, int adds) {
  if (bl == 1 && al == 1)
    for (int64_t j = 0; j < n; j += j + 4 <= n ? 4 : 1)
      for (int64_t i = 0; i < m; ++i)
        (j + 4 <= n ? sn_along_4 : sn_along_1)(k, a + i * ai, b + j * bj, bj, c + i * ldc + j, adds);
  else
    for (int64_t l = 0; l < k; l += l + 8 <= k ? 8 : 1)
      for (int64_t i = 0; i < m; ++i)
        (l + 8 <= k ? sn_across_8 : sn_across_1)(n, a + i * ai + l * al, al, b + l * bl, bl,
                                                 c + i * ldc, l == 0 && !adds);
}

/* Whether few rows have their own way: b's columns or lines lie in one piece, worth vectors. */
static int sn_are_few(int64_t m, int64_t n, int64_t k, int64_t al, int64_t bl) {
  return k > 0 && m < sn_fewest && (bl == 1 ? al == 1 && k >= sn_panel : n >= sn_lanes);
}

/* Whether this is faster than BLAS, which packs a large product once. */
static int sn_is_ours(int64_t m, int64_t n, int64_t k) {
  return k > 0 && m >= sn_fewest && n >= sn_narrowest && m * n * k <= 1 << 30;
}

/* Column-major c = op(a) op(b) is row-major c' = op(b)' op(a)'; alpha is 1, beta 0 or 1. */
void sn_sgemm(const char *ta, const char *tb, const int *m, const int *n, const int *k,
              const float *alpha, const float *a, const int *lda, const float *b, const int *ldb,
              const float *beta, float *c, const int *ldc) {
  const int plain = *alpha == 1 && (*beta == 0 || *beta == 1);
  const int64_t ai = *tb == 'N' ? *ldb : 1, al = *tb == 'N' ? 1 : *ldb;
  const int64_t bl = *ta == 'N' ? *lda : 1, bj = *ta == 'N' ? 1 : *lda;
  if (plain && sn_are_few(*n, *m, *k, al, bl))
    sn_few(*n, *m, *k, b, ai, al, a, bl, bj, c, *ldc, *beta == 1);
  else if (plain && *m == 1 && *ldc == 1 && sn_are_few(1, *n, *k, bl, al)) /* c' = b' a' */
    sn_few(1, *n, *k, a, bj, bl, b, al, ai, c, 1, *beta == 1);
  else if (plain && sn_is_ours(*n, *m, *k))
    sn_product(*n, *m, *k, b, ai, al, a, bl, bj, c, *ldc, *beta == 1);
  else
    sn_blas(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

#else

void sn_sgemm(const char *ta, const char *tb, const int *m, const int *n, const int *k,
              const float *alpha, const float *a, const int *lda, const float *b, const int *ldb,
              const float *beta, float *c, const int *ldc) {
  sn_blas(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

#endif
