/* The product of an exported step: CBLAS' with -DSN_CBLAS, else loops that need no library.
   sn_product_gemm_f32 has the signature of Fortran's sgemm, which sn_set_blas takes:
   c = alpha op(a) op(b) + beta c with column-major c: [m, n], op(a): [m, k], op(b): [k, n].
   With float64 the same text makes dgemm. It needs <string.h> and SN_MIN. */
#ifdef SN_CBLAS

void cblas_sgemm(int order, int transa, int transb, int m, int n, int k, float alpha,
                 const float *a, int lda, const float *b, int ldb, float beta, float *c, int ldc);

static void sn_product_gemm_f32(const char *ta, const char *tb, const int *m, const int *n,
                                const int *k, const float *alpha, const float *a, const int *lda,
                                const float *b, const int *ldb, const float *beta, float *c,
                                const int *ldc) {
  enum { column_major = 102, plain = 111, transposed = 112 };
  cblas_sgemm(column_major, *ta == 'N' ? plain : transposed, *tb == 'N' ? plain : transposed, *m,
              *n, *k, *alpha, a, *lda, b, *ldb, *beta, c, *ldc);
}

#else

/* Blocks of a lie packed in the level-2 cache, panels of b in the first,
   tiles of c in registers. */
#define SN_DEPTH 256
#define SN_BLOCK_BYTES 65536
#define SN_TILE_COLUMNS 6
#define SN_TILE_ROWS_F32 (2 * SN_VECTOR / (int)sizeof(float)) /* two vectors */
#if defined(__AVX512F__)
#define SN_VECTOR 64
#elif defined(__AVX__)
#define SN_VECTOR 32
#else
#define SN_VECTOR 16
#endif

typedef float sn_vector_f32 __attribute__((vector_size(SN_VECTOR), may_alias));

/* A tile of c from packed rows of a and packed columns of b. */
static inline void sn_tile_f32(int64_t depth, const float *a, const float *b, float *c) {
  sn_vector_f32 sum[SN_TILE_COLUMNS][2] = {{{0}}};
  for (int64_t l = 0; l < depth; ++l) {
    const sn_vector_f32 *x = (const sn_vector_f32 *)(a + l * SN_TILE_ROWS_F32);
    const sn_vector_f32 upper = x[0], lower = x[1];
    for (int j = 0; j < SN_TILE_COLUMNS; ++j) {
      sum[j][0] += upper * b[l * SN_TILE_COLUMNS + j];
      sum[j][1] += lower * b[l * SN_TILE_COLUMNS + j];
    }
  }
  memcpy(c, sum, sizeof sum);
}

/* The element i of each of `depth` rows is x[i * step + l * along]; beyond `width` it is 0. */
static inline void sn_pack_f32(int64_t depth, int64_t room, int64_t width, const float *x,
                               int64_t step, int64_t along, float *packed) {
  if (width == room && step == 1) {
    for (int64_t l = 0; l < depth; ++l)
      for (int64_t i = 0; i < room; ++i) packed[l * room + i] = x[i + l * along];
    return;
  }
  for (int64_t l = 0; l < depth; ++l)
    for (int64_t i = 0; i < room; ++i)
      packed[l * room + i] = i < width ? x[i * step + l * along] : 0;
}

/* c += alpha op(a) op(b) for so many rows and so deep a sum that op(a) is one block. */
static void sn_block_f32(int64_t m, int64_t n, int64_t depth, float alpha, const float *a,
                         int64_t ai, int64_t al, const float *b, int64_t bj, int64_t bl, float *c,
                         int64_t ldc) {
  const int64_t rows = SN_TILE_ROWS_F32, columns = SN_TILE_COLUMNS;
  _Alignas(64) float block[SN_BLOCK_BYTES / sizeof(float)];
  _Alignas(64) float panel[SN_DEPTH * SN_TILE_COLUMNS], tile[SN_TILE_COLUMNS * SN_TILE_ROWS_F32];
  for (int64_t i = 0; i < m; i += rows)
    sn_pack_f32(depth, rows, SN_MIN(rows, m - i), a + i * ai, ai, al, block + i * depth);
  for (int64_t j = 0; j < n; j += columns) {
    const int64_t width = SN_MIN(columns, n - j);
    sn_pack_f32(depth, columns, width, b + j * bj, bj, bl, panel);
    for (int64_t i = 0; i < m; i += rows) {
      const int64_t height = SN_MIN(rows, m - i);
      sn_tile_f32(depth, block + i * depth, panel, tile);
      for (int64_t v = 0; v < width; ++v)
        for (int64_t u = 0; u < height; ++u)
          c[i + u + (j + v) * ldc] += alpha * tile[u + v * rows];
    }
  }
}

static void sn_product_gemm_f32(const char *ta, const char *tb, const int *m, const int *n,
                                const int *k, const float *alpha, const float *a, const int *lda,
                                const float *b, const int *ldb, const float *beta, float *c,
                                const int *ldc) {
  const int64_t ai = *ta == 'N' ? 1 : *lda, al = *ta == 'N' ? *lda : 1;
  const int64_t bj = *tb == 'N' ? *ldb : 1, bl = *tb == 'N' ? 1 : *ldb;
  const int64_t rows = SN_TILE_ROWS_F32;
  const int64_t most = SN_BLOCK_BYTES / (int64_t)sizeof(float) / SN_DEPTH / rows * rows;
  for (int64_t j = 0; j < *n; ++j)
    for (int64_t i = 0; i < *m; ++i)
      c[i + j * *ldc] = *beta == 0 ? 0 : *beta * c[i + j * *ldc];
  for (int64_t l = 0; l < *k; l += SN_DEPTH)
    for (int64_t i = 0; i < *m; i += most)
      sn_block_f32(SN_MIN(most, *m - i), *n, SN_MIN(SN_DEPTH, *k - l), *alpha,
                   a + i * ai + l * al, ai, al, b + l * bl, bj, bl, c + i, *ldc);
}

#endif
