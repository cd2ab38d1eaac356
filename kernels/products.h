/* float32 products, with the signature of Fortran's sgemm. Included after strips.h.

   The rows of a come in strips of a few, the columns of b in panels of two vectors, and a strip and
   a panel meet in a tile of c that stays in registers. The panels are packed once into the second
   cache. A strip is read where it lies, unless its rows would push each other out of the first
   cache or are columns in memory: then it is packed. Strips are as equal as m allows, so that none
   computes rows which are not there, or of a few heights as long as there are no others. An element
   is a chain of fused multiply-adds over each part of k, and the parts are added in order: its bits
   depend on k alone, but for one or two rows, whose sums have an order of their own. What is faster
   there goes to BLAS.

   Goto and van de Geijn, "Anatomy of high-performance matrix multiplication", 2008. */
#include <stdint.h>
#include <string.h>

typedef void sn_gemm(const char *, const char *, const int *, const int *, const int *,
                     const float *, const float *, const int *, const float *, const int *,
                     const float *, float *, const int *);
static sn_gemm *sn_blas;

void sn_set_sgemm(void *blas) { sn_blas = (sn_gemm *)blas; }

#ifdef SN_HAS_STRIPS
#define SN_PRODUCT_LEAST(a, b) ((a) < (b) ? (a) : (b))

enum {
  sn_fewest = 3, /* rows of a product that is ours */
  sn_narrowest = 4, /* columns of such a one, of which a vector is filled too little */
  sn_panel = 2 * sn_lanes,
  sn_deep = 256,           /* the longest part of k */
  sn_apart = sn_deep + 16, /* between the rows of a packed strip, lest they share sets of a cache */
  sn_sharing = 1 << 10,    /* rows a multiple of it apart share one set of the first cache */
  sn_group = 16,           /* strips that are packed at a time */
  sn_ahead = 12,           /* lines from one that is packed to one that is fetched */
  sn_room = 1 << 16,       /* elements of packed panels, which lie in the second cache */
  sn_strip_room = sn_tallest * sn_apart + sn_lanes,
};

SN_FEW_HEIGHTS(SN_PRODUCT_STRIPS)
static const sn_strips sn_few_strips = {SN_FEW_HEIGHTS(SN_NAMES)};
static const sn_strips *sn_known = &sn_few_strips;

/* Strips of all heights, from now on. */
void sn_set_strips(const void *every) {
  __atomic_store_n(&sn_known, (const sn_strips *)every, __ATOMIC_RELEASE);
}

static const sn_strips *sn_strips_now(void) { return __atomic_load_n(&sn_known, __ATOMIC_ACQUIRE); }

/* Where piece s of `count` begins, of m, which are cut as equally as can be. */
static int64_t sn_cut(int64_t m, int64_t count, int64_t s) { return m * s / count; }

/* The strips of m rows; the few heights are powers of two, and the highest come first. */
static int64_t sn_count_strips(const sn_strips *by, int64_t m) {
  if (by != &sn_few_strips) return (m + sn_tallest - 1) / sn_tallest;
  return m / sn_tallest_of_few + __builtin_popcountll(m % sn_tallest_of_few);
}

/* Where strip s of `count` begins, of m rows. */
static int64_t sn_strip_at(const sn_strips *by, int64_t m, int64_t count, int64_t s) {
  if (by != &sn_few_strips) return sn_cut(m, count, s);
  const int64_t whole = m / sn_tallest_of_few;
  if (s <= whole) return s * sn_tallest_of_few;
  int64_t lower = m % sn_tallest_of_few;
  for (int64_t after = count - s; after > 0; --after) lower &= lower - 1;
  return whole * sn_tallest_of_few + lower;
}

/* Rows of a, each in one piece. */
static void sn_pack_rows(int64_t m, int64_t depth, const float *a, int64_t ai, float *to) {
  for (int64_t i = 0; i < m; ++i) memcpy(to + i * sn_apart, a + i * ai, depth * sizeof *a);
}

/* Strips of columns of a: of each l the elements of a strip beside each other. They are read as
   vectors where a has as many from there to its end: what lies behind that may be no memory. */
SN_APART void sn_pack_columns(const sn_strips *by, int64_t m, int64_t count, int64_t begin,
                              int64_t end, int64_t depth, const float *a, int64_t al, float *to) {
  int64_t first[sn_group + 1], left = (depth - 1) * al + m;
  for (int64_t s = begin; s <= end; ++s) first[s - begin] = sn_strip_at(by, m, count, s);
  for (int64_t l = 0; l < depth; ++l, a += al, left -= al) {
    const int vectors = left - first[end - begin - 1] >= sn_lanes;
    for (int64_t s = 0; s < end - begin; ++s) {
      __builtin_prefetch(a + first[s] + sn_ahead * al);
      const int64_t rows = first[s + 1] - first[s];
      float *const line = to + s * sn_strip_room + l * rows;
      if (vectors)
        *(sn_wide_anywhere *)line = *(const sn_wide_anywhere *)(a + first[s]);
      else
        memcpy(line, a + first[s], rows * sizeof *a);
    }
  }
}

/* The columns of the panel of so many: one vector or two. */
static int64_t sn_wide_of(int64_t width) { return width <= sn_lanes ? sn_lanes : sn_panel; }

/* n columns as panels one behind the other, each line by line; what lacks is 0. */
SN_APART void sn_pack_panels(int64_t depth, int64_t n, const float *b, int64_t bl, int64_t bj,
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

SN_APART void sn_put(int64_t rows, int64_t width, int64_t wide, const float *tile, float *c,
                     int64_t ldc, int begins) {
  for (int64_t i = 0; i < rows; ++i, tile += wide, c += ldc)
    for (int64_t j = 0; j < width; ++j) c[j] = begins ? tile[j] : c[j] + tile[j];
}

/* A strip times the panels of n columns, which lie one behind the other. */
SN_APART void sn_line(const sn_strips *by, int64_t rows, int64_t n, int64_t depth,
                      const float *strip, int64_t ai, int turned, const float *panels, float *c,
                      int64_t ldc, int begins) {
  _Alignas(64) float tile[sn_tallest * sn_panel];
  for (int64_t j = 0; j < n; j += sn_panel) {
    const int64_t width = SN_PRODUCT_LEAST(sn_panel, n - j), wide = sn_wide_of(width);
    sn_strip *const run = (*by)[rows - 1][turned][wide / sn_lanes - 1];
    if (width == wide) {
      run(depth, strip, ai, panels + j * depth, c + j, ldc, begins);
      continue;
    }
    run(depth, strip, ai, panels + j * depth, tile, wide, 1);
    sn_put(rows, width, wide, tile, c + j, ldc, begins);
  }
}

/* All rows of a times packed panels of n columns. Of the product before, `again` says, a was the
   same: its strips lie packed if they are few. */
SN_APART void sn_lines(const sn_strips *by, int64_t m, int64_t n, int64_t depth, const float *a,
                       int64_t ai, int64_t al, const float *panels, float *c, int64_t ldc,
                       int begins, int again) {
  static _Thread_local _Alignas(64) float strips[sn_group * sn_strip_room];
  const int64_t count = sn_count_strips(by, m);
  const int turned = al != 1, packs = turned || ai % sn_sharing == 0;
  const int lie = again && count <= sn_group;
  for (int64_t s = 0; s < count; ++s) {
    const int64_t i = sn_strip_at(by, m, count, s), rows = sn_strip_at(by, m, count, s + 1) - i;
    float *const strip = strips + s % sn_group * sn_strip_room;
    if (!turned && packs)
      sn_pack_rows(rows, depth, a + i * ai, ai, strip);
    else if (turned && s % sn_group == 0 && !lie)
      sn_pack_columns(by, m, count, s, SN_PRODUCT_LEAST(s + sn_group, count), depth, a, al, strips);
    sn_line(by, rows, n, depth, packs ? strip : a + i * ai, packs ? sn_apart : ai, turned, panels,
            c + i * ldc, ldc, begins);
  }
}

/* Whether the right operand of this thread's next product is that of its last one, unchanged. */
static _Thread_local int sn_is_same;
static _Thread_local struct { const float *b; int64_t bl, bj, n, k; } sn_packed; /* b, or none */

void sn_same_right(void) { sn_is_same = 1; }

/* c = a b, row by row, or c + a b; a's element (i, l) is a[i * ai + l * al]. If b is the `same` as
   of the product before, its panels lie packed, where they did all at once. */
SN_APART void sn_product(int64_t m, int64_t n, int64_t k, const float *a, int64_t ai, int64_t al,
                         const float *b, int64_t bl, int64_t bj, float *c, int64_t ldc, int adds,
                         int same) {
  static _Thread_local _Alignas(64) float panels[sn_room];
  same = same && sn_packed.bl == bl && sn_packed.bj == bj && sn_packed.n == n && sn_packed.k == k;
  const int64_t parts = (k + sn_deep - 1) / sn_deep, deepest = (k + parts - 1) / parts;
  const int64_t most = sn_room / deepest / sn_panel * sn_panel;
  const sn_strips *const by = sn_strips_now(); /* one choice: packed strips are used again */
  for (int64_t p = 0; p < parts; ++p) {
    const int64_t l = sn_cut(k, parts, p), depth = sn_cut(k, parts, p + 1) - l;
    for (int64_t j = 0; j < n; j += most) {
      const int64_t width = SN_PRODUCT_LEAST(most, n - j);
      if (!same) sn_pack_panels(depth, width, b + l * bl + j * bj, bl, bj, panels);
      sn_lines(by, m, width, depth, a + l * al, ai, al, panels, c + j, ldc, p == 0 && !adds, j > 0);
    }
  }
  const int whole = parts == 1 && most >= n;
  sn_packed.b = whole ? b : NULL, sn_packed.bl = bl, sn_packed.bj = bj;
  sn_packed.n = n, sn_packed.k = k;
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
  const sn_strips *const by = sn_strips_now();
  for (int64_t p = 0; p < parts; ++p) {
    const int64_t l = sn_cut(k, parts, p), depth = sn_cut(k, parts, p + 1) - l;
    sn_lines(by, m, last - first, depth, a + l * al, ai, al, panels + l * apart + first * depth,
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

/* c = a row of a times b whose columns lie each in one piece, COLUMNS of them: sums of vectors
   along k, in the order of no other product. */
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

/* Few rows by b as it lies, along its columns or across its lines: to pack it takes longest. */
SN_APART void sn_few(int64_t m, int64_t n, int64_t k, const float *a, int64_t ai, int64_t al,
                     const float *b, int64_t bl, int64_t bj, float *c, int64_t ldc, int adds) {
  if (bl == 1 && al == 1)
    for (int64_t j = 0; j < n; j += j + 4 <= n ? 4 : 1)
      for (int64_t i = 0; i < m; ++i)
        (j + 4 <= n ? sn_along_4 : sn_along_1)(k, a + i * ai, b + j * bj, bj, c + i * ldc + j,
                                               adds);
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
  const int plain = *alpha == 1 && (*beta == 0 || *beta == 1), same = sn_is_same;
  const float *const packed = sn_packed.b;
  sn_is_same = 0, sn_packed.b = NULL; /* of what is made otherwise nothing is packed */
  const int64_t ai = *tb == 'N' ? *ldb : 1, al = *tb == 'N' ? 1 : *ldb;
  const int64_t bl = *ta == 'N' ? *lda : 1, bj = *ta == 'N' ? 1 : *lda;
  if (plain && sn_are_few(*n, *m, *k, al, bl))
    sn_few(*n, *m, *k, b, ai, al, a, bl, bj, c, *ldc, *beta == 1);
  else if (plain && *m == 1 && *ldc == 1 && sn_are_few(1, *n, *k, bl, al)) /* c' = b' a' */
    sn_few(1, *n, *k, a, bj, bl, b, al, ai, c, 1, *beta == 1);
  else if (plain && sn_is_ours(*n, *m, *k))
    sn_product(*n, *m, *k, b, ai, al, a, bl, bj, c, *ldc, *beta == 1, same && packed == a);
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
