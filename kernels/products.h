/* float32 products of matrices that lie in the caches, with the signature of Fortran's sgemm.

   BLAS is made for large matrices. Of products as those in each step of a recurrent network, with few
   rows or a short sum, half its time goes by around the sums. Here strips of rows of a and panels of
   columns of b are packed so that they are read in order, and meet in a tile of c that stays in
   registers. An element is a chain of fused multiply-adds over 160 of k at a time, which are added:
   its bits depend on k alone. What is of another kind goes to BLAS.

   Goto and van de Geijn, "Anatomy of high-performance matrix multiplication", 2008. */
#include <stdint.h>
#include <string.h>

typedef void sn_gemm(const char *, const char *, const int *, const int *, const int *,
                     const float *, const float *, const int *, const float *, const int *,
                     const float *, float *, const int *);
static sn_gemm *sn_blas;

void sn_set_sgemm(void *blas) { sn_blas = (sn_gemm *)blas; }

#if defined(__AVX512F__) || (defined(__AVX2__) && defined(__FMA__))
#include <immintrin.h>
#define SN_LEAST(a, b) ((a) < (b) ? (a) : (b))

#if defined(__AVX512F__)
typedef __m512 sn_wide;
#define SN_FMA(x, y, z) _mm512_fmadd_ps(x, y, z)
#define SN_ALL(x) _mm512_set1_ps(x)
#define SN_STRIPS(S) S(12) S(10) S(8) S(6) S(4)
#else
typedef __m256 sn_wide;
#define SN_FMA(x, y, z) _mm256_fmadd_ps(x, y, z)
#define SN_ALL(x) _mm256_set1_ps(x)
#define SN_STRIPS(S) S(6) S(5) S(4) S(3) S(2)
#endif

enum {
  sn_most_rows = 12,
  sn_panel = 2 * sizeof(sn_wide) / sizeof(float),
  sn_deep = 160, /* a panel of this depth and a strip lie in the first cache */
  sn_high = 240, /* so many rows of this depth lie in the second */
};

/* tile = a strip of ROWS rows times a panel */
#define SN_STRIP(ROWS)                                                                             \
  static __attribute__((noinline)) void sn_strip_##ROWS(int64_t depth, const float *a,             \
                                                        const float *b, float *tile) {             \
    sn_wide sum[ROWS][2], *const to = (sn_wide *)tile;                                             \
    _Pragma("GCC unroll 12") for (int i = 0; i < ROWS; ++i) sum[i][0] = sum[i][1] = SN_ALL(0);     \
    for (int64_t l = 0; l < depth; ++l) {                                                          \
      const sn_wide *const x = (const sn_wide *)(b + l * sn_panel), left = x[0], right = x[1];     \
      _Pragma("GCC unroll 12") for (int i = 0; i < ROWS; ++i) {                                    \
        const sn_wide y = SN_ALL(a[l * ROWS + i]);                                                 \
        sum[i][0] = SN_FMA(y, left, sum[i][0]);                                                    \
        sum[i][1] = SN_FMA(y, right, sum[i][1]);                                                   \
      }                                                                                            \
    }                                                                                              \
    _Pragma("GCC unroll 12") for (int i = 0; i < ROWS; ++i) {                                      \
      to[2 * i] = sum[i][0];                                                                       \
      to[2 * i + 1] = sum[i][1];                                                                   \
    }                                                                                              \
  }
SN_STRIPS(SN_STRIP)

static void sn_strip(int64_t rows, int64_t depth, const float *a, const float *b, float *tile) {
#define SN_CASE(ROWS) \
  if (rows == ROWS) sn_strip_##ROWS(depth, a, b, tile);
  SN_STRIPS(SN_CASE)
}

/* The height of strips of m rows that wastes least. */
static int64_t sn_strip_rows(int64_t m) {
  int64_t best = 0, least = INT64_MAX;
#define SN_TRY(ROWS)                                        \
  {                                                         \
    const int64_t cost = (m + ROWS - 1) / ROWS * (ROWS + 1); \
    if (cost < least) least = cost, best = ROWS;            \
  }
  SN_STRIPS(SN_TRY)
  return best;
}

/* Strip after strip, in each the rows' elements of one l beside each other; what lacks is 0. */
static void sn_pack_rows(int64_t m, int64_t depth, int64_t rows, const float *a, int64_t ai,
                         int64_t al, float *to) {
  for (int64_t first = 0; first < m; first += rows, to += rows * depth, a += rows * ai) {
    const int64_t high = SN_LEAST(rows, m - first);
    if (high < rows) memset(to, 0, rows * depth * sizeof *to);
    for (int64_t line = 0; line < depth; line += 16)
      for (int64_t i = 0; i < high; ++i)
        for (int64_t l = line; l < SN_LEAST(line + 16, depth); ++l)
          to[l * rows + i] = a[i * ai + l * al];
  }
}

/* Four columns, whose elements lie beside each other, of `depth` lines. */
static void sn_turn(int64_t depth, const float *b, int64_t bj, float *to) {
  int64_t l = 0;
  for (; l + 4 <= depth; l += 4) {
    __m128 x[4];
    for (int j = 0; j < 4; ++j) x[j] = _mm_loadu_ps(b + l + j * bj);
    _MM_TRANSPOSE4_PS(x[0], x[1], x[2], x[3]);
    for (int i = 0; i < 4; ++i) _mm_storeu_ps(to + (l + i) * sn_panel, x[i]);
  }
  for (; l < depth; ++l)
    for (int64_t j = 0; j < 4; ++j) to[l * sn_panel + j] = b[l + j * bj];
}

/* A panel line by line; what lacks is 0. */
static void sn_pack_panel(int64_t depth, int64_t width, const float *b, int64_t bl, int64_t bj,
                          float *to) {
  int64_t j = 0;
  if (width < sn_panel) memset(to, 0, depth * sn_panel * sizeof *to);
  if (bj == 1 && width == sn_panel) {
    for (int64_t l = 0; l < depth; ++l) memcpy(to + l * sn_panel, b + l * bl, sn_panel * sizeof *to);
    return;
  }
  if (bl == 1)
    for (; j + 4 <= width; j += 4) sn_turn(depth, b + j * bj, bj, to + j);
  for (; j < width; ++j)
    for (int64_t l = 0; l < depth; ++l) to[l * sn_panel + j] = b[l * bl + j * bj];
}

static void sn_put(int64_t rows, int64_t width, const float *tile, float *c, int64_t ldc,
                   int begins) {
  for (int64_t i = 0; i < rows; ++i, tile += sn_panel, c += ldc)
    if (begins && width == sn_panel)
      memcpy(c, tile, sn_panel * sizeof *c);
    else
      for (int64_t j = 0; j < width; ++j) c[j] = begins ? tile[j] : c[j] + tile[j];
}

/* c = a b, row by row; a's element (i, l) is a[i * ai + l * al]. */
static void sn_product(int64_t m, int64_t n, int64_t k, const float *a, int64_t ai, int64_t al,
                       const float *b, int64_t bl, int64_t bj, float *c, int64_t ldc) {
  _Alignas(64) float left[(sn_high + sn_most_rows) * sn_deep], panel[sn_deep * sn_panel];
  _Alignas(64) float tile[sn_most_rows * sn_panel];
  const int64_t blocks = (m + sn_high - 1) / sn_high, each = (m + blocks - 1) / blocks;
  const int64_t rows = sn_strip_rows(each), most = (each + rows - 1) / rows * rows;
  for (int64_t l = 0; l < k; l += sn_deep)
    for (int64_t i = 0; i < m; i += most) {
      const int64_t depth = SN_LEAST(sn_deep, k - l), high = SN_LEAST(most, m - i);
      sn_pack_rows(high, depth, rows, a + i * ai + l * al, ai, al, left);
      for (int64_t j = 0; j < n; j += sn_panel) {
        const int64_t width = SN_LEAST(sn_panel, n - j);
        sn_pack_panel(depth, width, b + l * bl + j * bj, bl, bj, panel);
        for (int64_t u = 0; u < high; u += rows) {
          float *const to = c + (i + u) * ldc + j;
          const int64_t some = SN_LEAST(rows, high - u);
          for (int64_t v = 0; v < some; ++v) {
            __builtin_prefetch(to + v * ldc, 1);
            __builtin_prefetch(to + v * ldc + width - 1, 1);
          }
          sn_strip(rows, depth, left + u * depth, panel, tile);
          sn_put(some, width, tile, to, ldc, l == 0);
        }
      }
    }
}

/* Whether this is faster than BLAS, which packs better what is deep and large, or turned. */
static int sn_is_ours(int64_t m, int64_t n, int64_t k, int turned) {
  const int64_t work = m * n * k;
  return m >= 4 && n >= 96 && work > 1 << 18 && !(turned && work > 1 << 25) &&
         (m <= 128 || k <= 128);
}

/* Column-major c = op(a) op(b) is row-major c' = op(b)' op(a)'; alpha is 1 and beta 0. */
void sn_sgemm(const char *ta, const char *tb, const int *m, const int *n, const int *k,
              const float *alpha, const float *a, const int *lda, const float *b, const int *ldb,
              const float *beta, float *c, const int *ldc) {
  const int at = *ta != 'N', bt = *tb != 'N';
  if (*alpha == 1 && *beta == 0 && sn_is_ours(*n, *m, *k, at))
    sn_product(*n, *m, *k, b, bt ? 1 : *ldb, bt ? *ldb : 1, a, at ? 1 : *lda, at ? *lda : 1, c,
               *ldc);
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
