/* Attention by blocks. Written for f32; other dtypes are the same with other names: sn_cell_f32 is
   an element in memory, sn_real_f32 what is computed in, sn_get_f32 and sn_put_f32 lead from one to
   the other. Included where a program needs it, once a dtype.

   Scores lie turned, a row for each key and a lane for each query: so softmax goes along rows, and
   keys, values and weights meet as they lie. Only queries are turned, once for all keys. What a
   query has seen so far, its greatest score and the sum of its powers, is carried from block to
   block. The gradient computes a block's scores again. A task is a block of queries, of the gradient
   a head of keys; each computes its results alone, in one order, so bits do not depend on threads.

   A program is compiled with the masks and dropouts that it has, SN_MASKS_f32 and SN_DROPS_f32, and
   up to SN_FEW_f32 queries are computed one by one, which is 0 where none has so few.

   Dao, "FlashAttention-2: faster attention with better parallelism and work partitioning", 2023. */

typedef sn_real_f32 sn_attention_lanes_f32 __attribute__((vector_size(SN_LANES), aligned(4), may_alias));

enum {
  sn_attention_width_f32 = SN_LANES / sizeof(sn_real_f32),
  sn_attention_queries_f32 = 512 / sizeof(sn_real_f32), /* of a block, in the second cache */
  sn_attention_keys_f32 = 512 / sizeof(sn_real_f32),
};

SN_BY_HAND_BEGIN
SN_FUSED_BEGIN
/* c [ROWS, VECTORS * width] = a b or, if `add`, c + a b. a's element (i, l) is a[i * ai + l * al],
   rows of b and c are bl and ci elements apart. */
#define SN_ATTENTION_TILE_f32(ROWS, VECTORS)                                                               \
  static __attribute__((noinline)) void sn_attention_tile_f32_##ROWS##_##VECTORS(                          \
      int64_t depth, const sn_real_f32 *a, int64_t ai, int64_t al, const sn_real_f32 *b,         \
      int64_t bl, sn_real_f32 *c, int64_t ci, int add) {                                         \
    sn_attention_lanes_f32 sum[ROWS][VECTORS];                                                             \
    _Pragma("GCC unroll 12") for (int i = 0; i < ROWS; ++i)                                       \
        _Pragma("GCC unroll 2") for (int j = 0; j < VECTORS; ++j)                                \
            sum[i][j] = add ? ((const sn_attention_lanes_f32 *)(c + i * ci))[j] : (sn_attention_lanes_f32){0};       \
    for (int64_t l = 0; l < depth; ++l, a += al, b += bl) {                                      \
      sn_attention_lanes_f32 y[VECTORS];                                                                   \
      _Pragma("GCC unroll 2") for (int j = 0; j < VECTORS; ++j)                                  \
          y[j] = ((const sn_attention_lanes_f32 *)b)[j];                                                   \
      _Pragma("GCC unroll 12") for (int i = 0; i < ROWS; ++i)                                     \
          _Pragma("GCC unroll 2") for (int j = 0; j < VECTORS; ++j) sum[i][j] += a[i * ai] * y[j]; \
    }                                                                                            \
    _Pragma("GCC unroll 12") for (int i = 0; i < ROWS; ++i)                                       \
        _Pragma("GCC unroll 2") for (int j = 0; j < VECTORS; ++j)                                \
            ((sn_attention_lanes_f32 *)(c + i * ci))[j] = sum[i][j];                                       \
  }
#define SN_ATTENTION_TILES_f32(T) T(12, 2) T(12, 1) T(8, 2) T(8, 1) T(4, 2) T(4, 1) T(1, 2) T(1, 1)
SN_ATTENTION_TILES_f32(SN_ATTENTION_TILE_f32)
SN_FUSED_END

/* What a product with a block of scores leaves out where later keys are masked. Row i of c stands
   at i + shift among the columns of c, or along the depth: what is before it, or after, is 0. */
typedef enum {
  sn_attention_columns_from_f32,
  sn_attention_depth_from_f32,
  sn_attention_depth_to_f32,
} sn_attention_part_f32;

/* c [m, n] = a b or c + a b, as a tile; n is a multiple of the width. */
static void sn_attention_multiply_f32(sn_attention_part_f32 part, int64_t shift, int64_t m,
                            int64_t n, int64_t depth, const sn_real_f32 *a, int64_t ai, int64_t al,
                            const sn_real_f32 *b, int64_t bl, sn_real_f32 *c, int64_t ci, int add) {
  for (int64_t j = 0; j < n; j += 2 * sn_attention_width_f32) {
    const int vectors = n - j > sn_attention_width_f32 ? 2 : 1;
    for (int64_t i = 0, rows; i < m; i += rows) {
      rows = m - i >= SN_TALL ? SN_TALL : m - i >= 8 && SN_TALL > 8 ? 8 : m - i >= 4 ? 4 : 1;
      const int64_t place = i + shift;
      const int64_t end = j + vectors * sn_attention_width_f32;
      if (part == sn_attention_columns_from_f32 && end <= place) continue;
      const int64_t from = part == sn_attention_depth_from_f32 ? SN_MAX(place, 0) : 0;
      const int64_t to = part == sn_attention_depth_to_f32 ? SN_MIN(place + rows, depth) : depth;
#define SN_CASE(ROWS, VECTORS)                                                                \
  if (rows == ROWS && vectors == VECTORS)                                                     \
    sn_attention_tile_f32_##ROWS##_##VECTORS(to - from, a + i * ai + from * al, ai, al,       \
                                             b + j + from * bl, bl, c + i * ci + j, ci, add);
      SN_ATTENTION_TILES_f32(SN_CASE)
#undef SN_CASE
    }
  }
}

static int64_t sn_attention_padded_f32(int64_t n) {
  return (n + sn_attention_width_f32 - 1) / sn_attention_width_f32 * sn_attention_width_f32;
}

typedef struct {
  const sn_real_f32 *at;
  int64_t step; /* elements between rows */
} sn_attention_rows_f32;

/* Rows of a real type with vectors' widths: those in memory, `apart` from each other, or a copy of
   them times `factor`. */
static sn_attention_rows_f32 sn_attention_take_rows_f32(int64_t rows, int64_t n, const sn_cell_f32 *x,
                                              int64_t apart, sn_real_f32 *copy, const sn_real_f32 *factor) {
  const int64_t step = sn_attention_padded_f32(n);
  if (!SN_HALF_f32 && step == n && !factor)
    return (sn_attention_rows_f32){(const sn_real_f32 *)x, apart};
  for (int64_t i = 0; i < rows; ++i) {
    const sn_real_f32 by = factor ? *factor : 1;
    for (int64_t j = 0; j < n; ++j) copy[i * step + j] = sn_get_f32(x[i * apart + j]) * by;
    for (int64_t j = n; j < step; ++j) copy[i * step + j] = 0;
  }
  return (sn_attention_rows_f32){copy, step};
}

/* to = the transpose of a square of as many rows as a vector has lanes. Rows i and i + half a square
   become alternating vectors 2 i and 2 i + 1: that turns the bits of an element's row and column by
   one, and after as many turns as a row has bits it has changed places with the column. */
static inline void sn_attention_square_f32(const sn_real_f32 *x, int64_t step, sn_real_f32 *to,
                                           int64_t to_step) {
  enum { width = sn_attention_width_f32, half = width / 2 };
  sn_attention_lanes_f32 rows[width], turned[width];
  _Pragma("GCC unroll 16") for (int i = 0; i < width; ++i)
      rows[i] = *(const sn_attention_lanes_f32 *)(x + i * step);
  _Pragma("GCC unroll 4") for (int bit = 1; bit < width; bit *= 2) {
    _Pragma("GCC unroll 8") for (int i = 0; i < half; ++i) {
      turned[2 * i] = SN_MIXED_f32(rows[i], rows[i + half], 0);
      turned[2 * i + 1] = SN_MIXED_f32(rows[i], rows[i + half], half);
    }
    _Pragma("GCC unroll 16") for (int i = 0; i < width; ++i) rows[i] = turned[i];
  }
  _Pragma("GCC unroll 16") for (int i = 0; i < width; ++i)
      *(sn_attention_lanes_f32 *)(to + i * to_step) = rows[i];
}

/* to [n, lanes] = the transpose of rows [rows, n], 0 where there is none. */
static void sn_attention_turn_f32(int64_t rows, int64_t n, int64_t lanes, sn_attention_rows_f32 x,
                        sn_real_f32 *to, int64_t to_step) {
  enum { width = sn_attention_width_f32 };
  for (int64_t q = 0; q < lanes; q += width) {
    int64_t j = 0;
    for (; j + width <= n && q + width <= rows; j += width)
      sn_attention_square_f32(x.at + q * x.step + j, x.step, to + j * to_step + q, to_step);
    for (; j < n; ++j)
      for (int64_t l = q; l < q + width; ++l)
        to[j * to_step + l] = l < rows ? x.at[l * x.step + j] : 0;
  }
}

typedef struct {
  int64_t n, heads, groups, queries, keys, d, e; /* sizes */
  int64_t step[4];                               /* of the mask along its axes */
  int64_t rows[4][3]; /* elements between batches, heads and rows of q, k, v, and y or its cotangent */
  int64_t made[3][3]; /* of dq, dk and dv likewise */
  int causal, mask;                              /* 0: none, 1: bool, 2: cells, 3: reals */
  int64_t threads, room;                         /* the elements that each of them works in */
} sn_attention_sizes_f32;

enum { sn_attention_q_f32, sn_attention_k_f32, sn_attention_v_f32, sn_attention_y_f32 };

/* Where a row lies. */
static int64_t sn_attention_place_f32(const sn_attention_sizes_f32 *z, int of, int64_t n, int64_t h, int64_t row) {
  return n * z->rows[of][0] + h * z->rows[of][1] + row * z->rows[of][2];
}

static int64_t sn_attention_made_f32(const sn_attention_sizes_f32 *z, int of, int64_t n, int64_t h) {
  return n * z->made[of][0] + h * z->made[of][1];
}

/* The number of a query's weight for a key, among all. */
static int64_t sn_attention_weight_f32(const sn_attention_sizes_f32 *z, int64_t n, int64_t h, int64_t q, int64_t k) {
  return ((n * z->heads + h) * z->queries + q) * z->keys + k;
}

static void sn_attention_fetch_f32(int64_t rows, int64_t n, const sn_cell_f32 *x, int64_t apart) {
  for (int64_t i = 0; i < rows; ++i) SN_FETCH(x + i * apart, n);
}

/* scores [keys, lanes] of the keys from k0 on and the queries from q0 on, with the mask. */
static void sn_attention_mask_f32(const sn_attention_sizes_f32 *z, int64_t n, int64_t h, int64_t q0,
                        int64_t rows, int64_t k0, int64_t keys, const void *mask, sn_real_f32 *s,
                        int64_t ld) {
  const int64_t *const step = z->step;
  const int64_t first = n * step[0] + h * step[1] + q0 * step[2] + k0 * step[3];
  const int64_t along_q = step[2], along_k = step[3];
#define SN_ADD(T, EXPRESSION)                                          \
  for (int64_t k = 0; k < keys; ++k) {                                 \
    const T *const m = (const T *)mask + first + k * along_k;          \
    for (int64_t q = 0; q < rows; ++q) {                               \
      const T x = m[q * along_q];                                      \
      s[k * ld + q] = EXPRESSION;                                      \
    }                                                                  \
  }
  if (SN_MASKS_f32 && z->mask == 1) SN_ADD(uint8_t, x ? s[k * ld + q] : -SN_INF)
  if (SN_MASKS_f32 && z->mask == 2) SN_ADD(sn_cell_f32, s[k * ld + q] + sn_get_f32(x))
  if (SN_MASKS_f32 && z->mask == 3) SN_ADD(sn_real_f32, s[k * ld + q] + x)
#undef SN_ADD
  for (int64_t k = z->causal ? SN_MAX(q0 + 1, k0) : k0 + keys; k < k0 + keys; ++k)
    for (int64_t q = 0; q < SN_MIN(k - q0, rows); ++q) s[(k - k0) * ld + q] = -SN_INF;
}

/* The keys that some of the queries up to `end` have. */
static int64_t sn_attention_reach_f32(const sn_attention_sizes_f32 *z, int64_t end) {
  return z->causal ? SN_MIN(end, z->keys) : z->keys;
}

/* From a block's first query to its first key; where no key is masked for being later, so far back
   that all are before all queries. */
static int64_t sn_attention_shift_f32(const sn_attention_sizes_f32 *z, int64_t k0, int64_t q0) {
  return z->causal ? k0 - q0 : -sn_attention_keys_f32 - sn_attention_queries_f32;
}

/* The first lane of the vector that has a query, or of the block if that is before it. */
static inline int64_t sn_attention_first_f32(int64_t query) {
  return query > 0 ? query / sn_attention_width_f32 * sn_attention_width_f32 : 0;
}

SN_BY_HAND_END
/* scores = their powers below `top`, the greatest so far, and `total` their sums; `factor` is what
   the powers before are to be multiplied by. Key k has queries from k + shift on; before
   them powers are 0. -> whether a factor is not 1 */
SN_KERNEL int sn_attention_powers_f32(int64_t keys, int64_t lanes, int64_t shift,
                            sn_real_f32 *restrict s, int64_t ld, sn_real_f32 *restrict top,
                            sn_real_f32 *restrict total, sn_real_f32 *restrict factor) {
  int moved = 0;
  for (int64_t q = 0; q < lanes; ++q) factor[q] = top[q];
  for (int64_t k = 0; k < keys; ++k)
#pragma omp simd simdlen(sn_attention_width_f32)
    for (int64_t q = sn_attention_first_f32(k + shift); q < lanes; ++q)
      top[q] = s[k * ld + q] > top[q] ? s[k * ld + q] : top[q];
  for (int64_t q = 0; q < lanes; ++q) {
    moved |= factor[q] != top[q];
    factor[q] = factor[q] == top[q] ? 1 : sn_weight_f32(factor[q] - top[q]);
    total[q] *= factor[q];
  }
  for (int64_t k = 0; k < keys; ++k) {
    const int64_t first = sn_attention_first_f32(k + shift);
    memset(s + k * ld, 0, (size_t)first * sizeof *s);
#pragma omp simd simdlen(sn_attention_width_f32)
    for (int64_t q = first; q < lanes; ++q) {
      const sn_real_f32 base = top[q] == -SN_INF ? 0 : top[q];
      const sn_real_f32 y = sn_weight_f32(s[k * ld + q] - base);
      s[k * ld + q] = y;
      total[q] += y;
    }
  }
  return moved;
}

/* scores s become weights w and t, their cotangents, w (t - less), the scores' own. */
SN_KERNEL void sn_attention_slopes_f32(int64_t keys, int64_t lanes, int64_t shift,
                             sn_real_f32 *restrict s, sn_real_f32 *restrict t, int64_t ld,
                             const sn_real_f32 *restrict lse, const sn_real_f32 *restrict less) {
  for (int64_t k = 0; k < keys; ++k) {
    const int64_t first = sn_attention_first_f32(k + shift);
    memset(s + k * ld, 0, (size_t)first * sizeof *s);
    memset(t + k * ld, 0, (size_t)first * sizeof *t);
#pragma omp simd simdlen(sn_attention_width_f32)
    for (int64_t q = first; q < lanes; ++q) {
      const sn_real_f32 w = sn_weight_f32(s[k * ld + q] - lse[q]);
      s[k * ld + q] = w;
      t[k * ld + q] = w * (t[k * ld + q] - less[q]);
    }
  }
}

SN_BY_HAND_BEGIN
/* What a task works in, cut from one piece of memory. */
static sn_real_f32 *sn_attention_take_f32(sn_real_f32 **room, int64_t n) {
  sn_real_f32 *const taken = *room;
  *room += (n + 15) / 16 * 16;
  return taken;
}

/* Lanes between rows of turned queries; not a power of two, lest they share sets of the cache. */
static int64_t sn_attention_apart_f32(int64_t lanes) { return lanes + (lanes > sn_attention_width_f32) * sn_attention_width_f32; }

SN_FUSED_BEGIN
/* s [keys, filled up to vectors] = rows of k times q, whose features are filled up to vectors: as many
   rows as a vector has lanes are summed along features at a time. */
static void sn_attention_dots_f32(int64_t keys, int64_t depth, const sn_real_f32 *q,
                                  sn_attention_rows_f32 k, sn_real_f32 *s) {
  enum { width = sn_attention_width_f32 };
  sn_real_f32 apart[width * width], turned[width * width];
  for (int64_t j = 0; j < keys; j += width) {
    for (int64_t u = 0; u < width; ++u) {
      const sn_real_f32 *const row = k.at + SN_MIN(j + u, keys - 1) * k.step;
      sn_attention_lanes_f32 sum = {0};
      for (int64_t l = 0; l < depth; l += width)
        sum += *(const sn_attention_lanes_f32 *)(q + l) * *(const sn_attention_lanes_f32 *)(row + l);
      *(sn_attention_lanes_f32 *)(apart + u * width) = sum;
    }
    sn_attention_square_f32(apart, width, turned, width);
    sn_attention_lanes_f32 all = *(const sn_attention_lanes_f32 *)turned;
    for (int64_t i = 1; i < width; ++i) all += *(const sn_attention_lanes_f32 *)(turned + i * width);
    *(sn_attention_lanes_f32 *)(s + j) = all;
  }
}
SN_FUSED_END

/* Scores s [keys], a multiple of the width, become their powers below `top`, the greatest so far, and
   `total` the sum. -> what the powers before are to be multiplied by */
SN_KERNEL sn_real_f32 sn_attention_row_powers_f32(int64_t keys, sn_real_f32 *s, sn_real_f32 *top,
                                                  sn_real_f32 *total) {
  enum { width = sn_attention_width_f32 };
  sn_real_f32 best[width], part[width] = {0}, high = *top;
  for (int64_t l = 0; l < width; ++l) best[l] = s[l];
  for (int64_t j = width; j < keys; j += width)
    for (int64_t l = 0; l < width; ++l) best[l] = s[j + l] > best[l] ? s[j + l] : best[l];
  for (int64_t l = 0; l < width; ++l) high = best[l] > high ? best[l] : high;
  const sn_real_f32 factor = *top == high ? 1 : sn_weight_f32(*top - high);
  const sn_real_f32 base = high == -SN_INF ? 0 : high;
  for (int64_t j = 0; j < keys; j += width)
#pragma omp simd simdlen(sn_attention_width_f32)
    for (int64_t l = 0; l < width; ++l) {
      s[j + l] = sn_weight_f32(s[j + l] - base);
      part[l] += s[j + l];
    }
  for (int64_t half = width / 2; half; half /= 2)
    for (int64_t l = 0; l < half; ++l) part[l] += part[l + half];
  *top = high;
  *total = *total * factor + part[0];
  return factor;
}

/* One query, q0, of one head: its scores lie in a row, where a block's lanes would be empty. */
static void sn_attention_query_f32(const sn_attention_sizes_f32 *z, int64_t n, int64_t h, int64_t q0,
                                   const sn_cell_f32 *q, const sn_cell_f32 *k, const sn_cell_f32 *v,
                                   sn_real_f32 scale, const void *mask, sn_cell_f32 *out,
                                   sn_real_f32 *lse, sn_real_f32 *room) {
  const int64_t ds = sn_attention_padded_f32(z->d), es = sn_attention_padded_f32(z->e);
  const int64_t reach = sn_attention_reach_f32(z, q0 + 1);
  sn_real_f32 *const query = sn_attention_take_f32(&room, ds), *const y = sn_attention_take_f32(&room, es);
  sn_real_f32 *const s = sn_attention_take_f32(&room, sn_attention_keys_f32);
  sn_real_f32 *const copy = sn_attention_take_f32(&room, sn_attention_keys_f32 * SN_MAX(ds, es));
  const int64_t k_step = z->rows[sn_attention_k_f32][2], v_step = z->rows[sn_attention_v_f32][2];
  sn_real_f32 top = -SN_INF, total = 0;
  sn_attention_take_rows_f32(1, z->d, q, 0, query, &scale);
  memset(y, 0, (size_t)es * sizeof *y);
  for (int64_t k0 = 0; k0 < reach; k0 += sn_attention_keys_f32) {
    const int64_t keys = SN_MIN(sn_attention_keys_f32, reach - k0), all = sn_attention_padded_f32(keys);
    sn_attention_dots_f32(keys, ds, query, sn_attention_take_rows_f32(keys, z->d, k + k0 * k_step, k_step, copy, 0), s);
    sn_attention_mask_f32(z, n, h, q0, 1, k0, keys, mask, s, 1);
    for (int64_t j = keys; j < all; ++j) s[j] = -SN_INF;
    const sn_real_f32 factor = sn_attention_row_powers_f32(all, s, &top, &total);
    for (int64_t j = 0; j < es; ++j) y[j] *= factor;
    const sn_attention_rows_f32 vb = sn_attention_take_rows_f32(keys, z->e, v + k0 * v_step, v_step, copy, 0);
    sn_attention_multiply_f32(sn_attention_depth_to_f32, keys, 1, es, keys, s, 0, 1, vb.at, vb.step, y, es, 1);
  }
  const sn_real_f32 by = total == 0 ? 1 : 1 / total;
  for (int64_t j = 0; j < z->e; ++j) out[j] = sn_put_f32(y[j] * by);
  *lse = total == 0 ? SN_INF : sn_log_f32(total) + top;
}

/* A block of queries, from q0 on, of one head. */
static void sn_attention_block_f32(const sn_attention_sizes_f32 *z, int64_t n, int64_t h, int64_t q0,
                          const sn_cell_f32 *q, const sn_cell_f32 *k, const sn_cell_f32 *v,
                          sn_real_f32 scale, const void *mask, const sn_attention_drops_f32 *drops,
                          sn_cell_f32 *out, sn_real_f32 *lse, sn_real_f32 *room) {
  if (z->queries <= SN_FEW_f32 && !drops->key) {
    const int64_t q_apart = z->rows[sn_attention_q_f32][2], y_apart = z->rows[sn_attention_y_f32][2];
    for (int64_t i = 0; i < z->queries; ++i)
      sn_attention_query_f32(z, n, h, i, q + i * q_apart, k, v, scale, mask, out + i * y_apart, lse + i, room);
    return;
  }
  const int64_t rows = SN_MIN(sn_attention_queries_f32, z->queries - q0), lanes = sn_attention_padded_f32(rows);
  const int64_t ld = sn_attention_apart_f32(lanes), ds = sn_attention_padded_f32(z->d), es = sn_attention_padded_f32(z->e);
  const int64_t reach = sn_attention_reach_f32(z, q0 + rows);
  sn_real_f32 *const turned = sn_attention_take_f32(&room, z->d * ld), *const y = sn_attention_take_f32(&room, lanes * es);
  sn_real_f32 *const s = sn_attention_take_f32(&room, sn_attention_keys_f32 * ld);
  sn_real_f32 *const copy = sn_attention_take_f32(&room, sn_attention_keys_f32 * SN_MAX(ds, es));
  sn_real_f32 top[sn_attention_queries_f32], total[sn_attention_queries_f32], factor[sn_attention_queries_f32];
  for (int64_t i = 0; i < lanes; ++i) top[i] = -SN_INF, total[i] = 0;
  memset(y, 0, (size_t)(lanes * es) * sizeof *y);
  const int64_t k_step = z->rows[sn_attention_k_f32][2], v_step = z->rows[sn_attention_v_f32][2];
  const int64_t q_step = z->rows[sn_attention_q_f32][2], y_step = z->rows[sn_attention_y_f32][2];
  sn_attention_turn_f32(rows, z->d, lanes, sn_attention_take_rows_f32(rows, z->d, q, q_step, copy, &scale), turned, ld);
  for (int64_t k0 = 0; k0 < reach; k0 += sn_attention_keys_f32) {
    const int64_t keys = SN_MIN(sn_attention_keys_f32, reach - k0);
    const sn_attention_rows_f32 kb = sn_attention_take_rows_f32(keys, z->d, k + k0 * k_step, k_step, copy, 0);
    const int64_t shift = sn_attention_shift_f32(z, k0, q0);
    sn_attention_multiply_f32(sn_attention_columns_from_f32, shift,
                              keys, lanes, z->d, kb.at, kb.step, 1, turned, ld, s, ld, 0);
    sn_attention_mask_f32(z, n, h, q0, rows, k0, keys, mask, s, ld);
    sn_attention_fetch_f32(keys, z->e, v + k0 * v_step, v_step);
    if (sn_attention_powers_f32(keys, lanes, shift, s, ld, top, total, factor) && k0)
      for (int64_t i = 0; i < rows; ++i)
        for (int64_t j = 0; j < es; ++j) y[i * es + j] *= factor[i];
    sn_attention_drop_f32(drops, sn_attention_weight_f32(z, n, h, q0, k0), z->keys, keys, lanes, s, ld);
    const sn_attention_rows_f32 vb = sn_attention_take_rows_f32(keys, z->e, v + k0 * v_step, v_step, copy, 0);
    const int64_t next = SN_MIN(keys, reach - k0 - keys);
    sn_attention_fetch_f32(next, z->d, k + (k0 + keys) * k_step, k_step);
    sn_attention_multiply_f32(sn_attention_depth_to_f32, -shift,
                              rows, es, keys, s, 1, ld, vb.at, vb.step, y, es, 1);
  }
  for (int64_t i = 0; i < rows; ++i) {
    const sn_real_f32 by = total[i] == 0 ? 1 : 1 / total[i];
    for (int64_t j = 0; j < z->e; ++j) out[i * y_step + j] = sn_put_f32(y[i * es + j] * by);
    lse[i] = total[i] == 0 ? SN_INF : sn_log_f32(total[i]) + top[i];
  }
}

static void sn_attention_f32(const sn_attention_sizes_f32 *z, const sn_cell_f32 *q,
                             const sn_cell_f32 *k, const sn_cell_f32 *v, const sn_real_f32 *scale,
                             const void *mask, const uint64_t *key, const uint64_t *counter,
                             const sn_real_f32 *kept, sn_cell_f32 *out, sn_real_f32 *lse,
                             char *scratch) {
  const sn_attention_drops_f32 drops = {key, counter, kept};
  const int64_t blocks = (z->queries + sn_attention_queries_f32 - 1) / sn_attention_queries_f32;
  const int64_t most = SN_MIN(sn_attention_queries_f32, z->queries), wide = SN_MAX(z->d, z->e);
  const int64_t tasks = z->n * z->heads * blocks;
  const double work = (double)tasks * (double)most * (double)z->keys * (double)wide;
  const int threads = (int)SN_MIN(z->threads, SN_MOST_THREADS);
#pragma omp parallel num_threads(threads) if (work > SN_ATTENTION_WORK && SN_TOGETHER)
  {
    SN_THREAD
    (void)shares;
    sn_real_f32 *const room = (sn_real_f32 *)scratch + share * z->room;
#pragma omp for schedule(dynamic)
    for (int64_t task = 0; task < tasks; ++task) {
      const int64_t head = task % (z->n * z->heads), h = head % z->heads, n = head / z->heads;
      const int64_t q0 = (blocks - 1 - task / (z->n * z->heads)) * sn_attention_queries_f32; /* long first */
      const int64_t group = h / (z->heads / z->groups);
      sn_attention_block_f32(z, n, h, q0, q + sn_attention_place_f32(z, sn_attention_q_f32, n, h, q0),
                    k + sn_attention_place_f32(z, sn_attention_k_f32, n, group, 0),
                    v + sn_attention_place_f32(z, sn_attention_v_f32, n, group, 0), *scale, mask, &drops,
                    out + sn_attention_place_f32(z, sn_attention_y_f32, n, h, q0),
                    lse + head * z->queries + q0, room);
    }
  }
}

/* One head's part of dk and dv, which it adds to, and its dq. */
static void sn_attention_head_f32(const sn_attention_sizes_f32 *z, int64_t n, int64_t h,
                               const sn_cell_f32 *q, const sn_cell_f32 *k, const sn_cell_f32 *v,
                               sn_real_f32 scale, const sn_real_f32 *lse, const sn_real_f32 *delta,
                               const sn_cell_f32 *g, const void *mask,
                               const sn_attention_drops_f32 *drops, sn_cell_f32 *dq, sn_real_f32 *dk, sn_real_f32 *dv, sn_real_f32 *room) {
  const int64_t most = sn_attention_padded_f32(SN_MIN(sn_attention_queries_f32, z->queries)), ld = sn_attention_apart_f32(most);
  const int64_t ds = sn_attention_padded_f32(z->d), es = sn_attention_padded_f32(z->e);
  sn_real_f32 *const qt = sn_attention_take_f32(&room, z->d * ld), *const gt = sn_attention_take_f32(&room, z->e * ld);
  sn_real_f32 *const s = sn_attention_take_f32(&room, sn_attention_keys_f32 * ld);
  sn_real_f32 *const t = sn_attention_take_f32(&room, sn_attention_keys_f32 * ld);
  sn_real_f32 *const qs = sn_attention_take_f32(&room, most * ds), *const gs = sn_attention_take_f32(&room, most * es);
  sn_real_f32 *const y = sn_attention_take_f32(&room, most * ds);
  sn_real_f32 *const ks = sn_attention_take_f32(&room, sn_attention_keys_f32 * ds);
  sn_real_f32 *const vs = sn_attention_take_f32(&room, sn_attention_keys_f32 * es);
  sn_real_f32 l[sn_attention_queries_f32], less[sn_attention_queries_f32];
  const int64_t q_step = z->rows[sn_attention_q_f32][2], g_step = z->rows[sn_attention_y_f32][2];
  const int64_t k_step = z->rows[sn_attention_k_f32][2], v_step = z->rows[sn_attention_v_f32][2];
  for (int64_t q0 = 0; q0 < z->queries; q0 += sn_attention_queries_f32) {
    const int64_t rows = SN_MIN(sn_attention_queries_f32, z->queries - q0), lanes = sn_attention_padded_f32(rows);
    const int64_t reach = sn_attention_reach_f32(z, q0 + rows);
    const sn_attention_rows_f32 qb = sn_attention_take_rows_f32(rows, z->d, q + q0 * q_step, q_step, qs, &scale);
    const sn_attention_rows_f32 gb = sn_attention_take_rows_f32(rows, z->e, g + q0 * g_step, g_step, gs, 0);
    sn_attention_turn_f32(rows, z->d, lanes, qb, qt, ld);
    sn_attention_turn_f32(rows, z->e, lanes, gb, gt, ld);
    for (int64_t i = 0; i < lanes; ++i) {
      l[i] = i < rows ? lse[q0 + i] : SN_INF;
      less[i] = i < rows ? delta[q0 + i] : 0;
    }
    memset(y, 0, (size_t)(rows * ds) * sizeof *y);
    for (int64_t k0 = 0; k0 < reach; k0 += sn_attention_keys_f32) {
      const int64_t keys = SN_MIN(sn_attention_keys_f32, reach - k0);
      const sn_attention_rows_f32 kb = sn_attention_take_rows_f32(keys, z->d, k + k0 * k_step, k_step, ks, 0);
      const sn_attention_rows_f32 vb = sn_attention_take_rows_f32(keys, z->e, v + k0 * v_step, v_step, vs, 0);
      const int64_t shift = sn_attention_shift_f32(z, k0, q0);
      sn_attention_multiply_f32(sn_attention_columns_from_f32, shift,
                                keys, lanes, z->d, kb.at, kb.step, 1, qt, ld, s, ld, 0);
      sn_attention_mask_f32(z, n, h, q0, rows, k0, keys, mask, s, ld);
      sn_attention_multiply_f32(sn_attention_columns_from_f32, shift,
                                keys, lanes, z->e, vb.at, vb.step, 1, gt, ld, t, ld, 0);
      const int64_t weight = sn_attention_weight_f32(z, n, h, q0, k0);
      sn_attention_drop_f32(drops, weight, z->keys, keys, lanes, t, ld);
      sn_attention_slopes_f32(keys, lanes, shift, s, t, ld, l, less);
      sn_attention_drop_f32(drops, weight, z->keys, keys, lanes, s, ld);
      sn_attention_multiply_f32(sn_attention_depth_from_f32, shift,
                                keys, es, rows, s, ld, 1, gb.at, gb.step, dv + k0 * es, es, 1);
      sn_attention_multiply_f32(sn_attention_depth_from_f32, shift,
                                keys, ds, rows, t, ld, 1, qb.at, qb.step, dk + k0 * ds, ds, 1);
      sn_attention_multiply_f32(sn_attention_depth_to_f32, -shift,
                                rows, ds, keys, t, 1, ld, kb.at, kb.step, y, ds, 1);
    }
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < z->d; ++j)
        dq[(q0 + i) * z->made[sn_attention_q_f32][2] + j] = sn_put_f32(y[i * ds + j] * scale);
  }
}

static void sn_attention_gradient_f32(const sn_attention_sizes_f32 *z, const sn_cell_f32 *q,
                                      const sn_cell_f32 *k, const sn_cell_f32 *v,
                                      const sn_cell_f32 *g, const sn_real_f32 *scale,
                                      const sn_real_f32 *lse, const sn_real_f32 *delta,
                                      const void *mask, const uint64_t *key, const uint64_t *counter,
                                      const sn_real_f32 *kept, sn_cell_f32 *dq, sn_cell_f32 *dk,
                                      sn_cell_f32 *dv, char *scratch) {
  const sn_attention_drops_f32 drops = {key, counter, kept};
  const int64_t most = sn_attention_padded_f32(SN_MIN(sn_attention_queries_f32, z->queries)), ld = sn_attention_apart_f32(most);
  const int64_t ds = sn_attention_padded_f32(z->d), es = sn_attention_padded_f32(z->e);
  const int64_t sharing = z->groups ? z->heads / z->groups : 0;
  const int64_t *const to_k = z->made[sn_attention_k_f32], *const to_v = z->made[sn_attention_v_f32];
  const int own_k = SN_HALF_f32 || ds != z->d || (z->keys > 1 && to_k[2] != z->d);
  const int own_v = SN_HALF_f32 || es != z->e || (z->keys > 1 && to_v[2] != z->e);
  const int64_t tasks = z->n * z->groups;
  const double work = (double)(z->n * z->heads) * (double)most * (double)z->keys * (double)ds;
  const int threads = (int)SN_MIN(z->threads, SN_MOST_THREADS);
#pragma omp parallel num_threads(threads) if (work > SN_ATTENTION_WORK && SN_TOGETHER)
  {
    SN_THREAD
    (void)shares;
    sn_real_f32 *const memory = (sn_real_f32 *)scratch + share * z->room;
#pragma omp for schedule(dynamic)
    for (int64_t task = 0; task < tasks; ++task) {
      const int64_t n = task / z->groups, group = task % z->groups;
      sn_cell_f32 *const dk_at = dk + sn_attention_made_f32(z, sn_attention_k_f32, n, group);
      sn_cell_f32 *const dv_at = dv + sn_attention_made_f32(z, sn_attention_v_f32, n, group);
      sn_real_f32 *room = memory;
      sn_real_f32 *const k_sum = own_k ? sn_attention_take_f32(&room, z->keys * ds) : (sn_real_f32 *)dk_at;
      sn_real_f32 *const v_sum = own_v ? sn_attention_take_f32(&room, z->keys * es) : (sn_real_f32 *)dv_at;
      memset(k_sum, 0, (size_t)(z->keys * ds) * sizeof *k_sum);
      memset(v_sum, 0, (size_t)(z->keys * es) * sizeof *v_sum);
      for (int64_t h = group * sharing; h < (group + 1) * sharing; ++h) {
        const int64_t head = (n * z->heads + h) * z->queries;
        sn_attention_head_f32(z, n, h, q + sn_attention_place_f32(z, sn_attention_q_f32, n, h, 0),
                           k + sn_attention_place_f32(z, sn_attention_k_f32, n, group, 0),
                           v + sn_attention_place_f32(z, sn_attention_v_f32, n, group, 0), *scale,
                           lse + head, delta + head, g + sn_attention_place_f32(z, sn_attention_y_f32, n, h, 0),
                           mask, &drops, dq + sn_attention_made_f32(z, sn_attention_q_f32, n, h), k_sum, v_sum, room);
      }
      for (int64_t i = 0; i < z->keys && own_k; ++i)
        for (int64_t j = 0; j < z->d; ++j) dk_at[i * to_k[2] + j] = sn_put_f32(k_sum[i * ds + j]);
      for (int64_t i = 0; i < z->keys && own_v; ++i)
        for (int64_t j = 0; j < z->e; ++j) dv_at[i * to_v[2] + j] = sn_put_f32(v_sum[i * es + j]);
    }
  }
}
SN_BY_HAND_END
