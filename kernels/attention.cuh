// Attention by blocks on a GPU, and its gradient. Included after mma.cuh.
//
// A block has a tile of queries, or for dk and dv of keys, of one head, and 64 features of the
// result; its warps have 16 rows each. Scores are made of 64 features at a time, through shared
// memory, and live in registers as matrix units lay them out; they never go to memory. Operands of
// 16 bits meet on matrix units with sums in float32, others in plain multiply-adds. dq, and dk with
// dv, are kernels of their own, each of which sums in one order: nothing depends on chance.
//
// Dao, "FlashAttention-2: faster attention with better parallelism and work partitioning", 2023.

#ifndef STATICNET_ATTENTION_CUH
#define STATICNET_ATTENTION_CUH

struct sn_attention_sizes {
  int64_t n, heads, groups, queries, keys, d, e;
  int64_t step[4];     // of the mask along its axes
  int64_t rows[4][3];  // between batches, heads and rows of q, k, v, and of y or its cotangent
  int64_t made[3][3];  // of dq, dk and dv likewise
  bool packed;         // rows are read 16 bytes at a time
};

enum { SN_FEATURES = 64 };
enum { SN_Q, SN_K, SN_V, SN_Y };  // of rows; y's cotangent lies there in the gradient

__device__ inline float sn_attention_exp(float x) { return sn_exp_f32(x); }
__device__ inline double sn_attention_exp(double x) { return sn_exp_f64(x); }
__device__ inline float sn_attention_log(float x) { return sn_log_f32(x); }
__device__ inline double sn_attention_log(double x) { return sn_log_f64(x); }

// How elements lie in shared memory, as they lie in memory, and how many lie between two rows.
template <class X, int TILE>
struct sn_attention_tile {
  typedef typename X::memory cell;
  typedef typename X::value real;
  static constexpr int pad = 16 / sizeof(cell), pitch = SN_FEATURES + pad, across = TILE + pad;
};

// A lane of a warp has rows `lane / 4` and 8 more of a product [16, 8], and two neighbouring columns.
struct sn_attention_lane {
  int row, column, first;  // first: the warp's first row
  __device__ sn_attention_lane()
      : row(threadIdx.x % 32 / 4), column(threadIdx.x % 4 * 2), first(threadIdx.x / 32 * 16) {}
};

// c [16, 8] += a [16, 16] b [16, 8]; a's element (i, l) is a[i * AI + l * AL], b's (l, j) likewise.
template <class X, int AI, int AL, int BL, int BJ, bool HALF = sizeof(typename X::memory) == 2>
struct sn_attention_product {
  static __device__ void add(const typename X::memory *a, const typename X::memory *b,
                             typename X::value (&c)[4]) {
    const sn_attention_lane at;
#pragma unroll 4
    for (int l = 0; l < 16; ++l)
      for (int i = 0; i < 4; ++i)
        c[i] += X::load(a[(at.row + i / 2 * 8) * AI + l * AL]) *
                X::load(b[l * BL + (at.column + i % 2) * BJ]);
  }
};

// Two elements in a word, the first in its lower half.
template <int STEP>
__device__ inline unsigned sn_attention_word(const sn_u16 *x) {
  if (STEP == 1) return *(const unsigned *)x;
  return x[0] | (unsigned)x[STEP] << 16;
}

template <class X, int AI, int AL, int BL, int BJ>
struct sn_attention_product<X, AI, AL, BL, BJ, true> {
  static __device__ void add(const sn_u16 *a, const sn_u16 *b, float (&c)[4]) {
    const sn_attention_lane at;
    a += at.row * AI + at.column * AL;
    b += at.row * BJ + at.column * BL;
    const unsigned left[4] = {sn_attention_word<AL>(a), sn_attention_word<AL>(a + 8 * AI),
                              sn_attention_word<AL>(a + 8 * AL),
                              sn_attention_word<AL>(a + 8 * AI + 8 * AL)};
    const unsigned right[2] = {sn_attention_word<BL>(b), sn_attention_word<BL>(b + 8 * BL)};
    sn_mma<X>(c, left, right);
  }
};

// Rows of an operand from `row` on: `count` are there, `apart` elements from each other.
template <class X>
struct sn_attention_rows {
  const typename X::memory *at;
  int64_t apart, count;
  __device__ sn_attention_rows(const sn_attention_sizes &z, int of, const typename X::memory *x,
                               int64_t n, int64_t h, int64_t row)
      : at(x + n * z.rows[of][0] + h * z.rows[of][1] + row * z.rows[of][2]),
        apart(z.rows[of][2]),
        count((of == SN_K || of == SN_V ? z.keys : z.queries) - row) {}
};

// to [TILE, 64] = columns from `first` on of rows of `width`, 0 where there are none; no thread still
// reads what was there.
template <class X, int TILE>
__device__ inline void sn_attention_load(const sn_attention_sizes &z, sn_attention_rows<X> x,
                                         int64_t width, int64_t first, typename X::memory *to) {
  typedef typename X::memory cell;
  constexpr int pitch = sn_attention_tile<X, TILE>::pitch, pack = 16 / sizeof(cell);
  __syncthreads();
  if (z.packed) {
#pragma unroll
    for (int i = threadIdx.x * pack; i < TILE * SN_FEATURES; i += 2 * TILE * pack) {
      const int row = i / SN_FEATURES, column = i % SN_FEATURES;
      sn_pack<cell, pack> held;
      for (int j = 0; j < pack; ++j) held.v[j] = X::store(typename X::value(0));
      if (row < x.count && first + column < width)
        held = sn_read<pack>(x.at + row * x.apart + first + column);
      sn_write(to + row * pitch + column, held);
    }
    return;
  }
  for (int i = threadIdx.x; i < TILE * SN_FEATURES; i += 2 * TILE) {
    const int row = i / SN_FEATURES, column = i % SN_FEATURES;
    const bool there = row < x.count && first + column < width;
    to[row * pitch + column] =
        there ? x.at[row * x.apart + first + column] : X::store(typename X::value(0));
  }
}

// c [16 of TILE, TILE] = x yᵀ of rows [TILE, width].
template <class X, int TILE>
__device__ inline void sn_attention_outer(const sn_attention_sizes &z, int64_t width,
                                          sn_attention_rows<X> x, sn_attention_rows<X> y,
                                          typename X::memory *left, typename X::memory *right,
                                          typename X::value (&c)[TILE / 8][4]) {
  constexpr int pitch = sn_attention_tile<X, TILE>::pitch;
  const int row = sn_attention_lane().first;
  for (int t = 0; t < TILE / 8; ++t)
    for (int i = 0; i < 4; ++i) c[t][i] = 0;
  for (int64_t first = 0; first < width; first += SN_FEATURES) {
    sn_attention_load<X, TILE>(z, x, width, first, left);
    sn_attention_load<X, TILE>(z, y, width, first, right);
    __syncthreads();
#pragma unroll 1
    for (int l = 0; l < SN_FEATURES; l += 16)
#pragma unroll
      for (int t = 0; t < TILE / 8; ++t)
        sn_attention_product<X, pitch, 1, 1, pitch>::add(left + row * pitch + l,
                                                         right + t * 8 * pitch + l, c[t]);
  }
}

// c [16, 64] += a, [16, TILE] of rows `across` apart or, if turned, of columns, times 64 columns of
// the rows of x.
template <class X, int TILE, bool TURNED>
__device__ inline void sn_attention_inner(const sn_attention_sizes &z, const typename X::memory *a,
                                          sn_attention_rows<X> x, int64_t width, int64_t first,
                                          typename X::memory *right,
                                          typename X::value (&c)[SN_FEATURES / 8][4]) {
  typedef sn_attention_tile<X, TILE> tile;
  constexpr int ai = TURNED ? 1 : tile::across, al = TURNED ? tile::across : 1;
  const int row = sn_attention_lane().first;
  sn_attention_load<X, TILE>(z, x, width, first, right);
  __syncthreads();
#pragma unroll 1
  for (int l = 0; l < TILE; l += 16)
#pragma unroll
    for (int t = 0; t < SN_FEATURES / 8; ++t)
      sn_attention_product<X, ai, al, tile::pitch, 1>::add(
          a + row * ai + l * al, right + l * tile::pitch + t * 8, c[t]);
}

// Scores from products, in place: scaled, with the mask, -inf where there is no key.
template <class X, int TILE, bool CAUSAL, int MASK, class M>
__device__ inline void sn_attention_mask(const sn_attention_sizes &z, int64_t n, int64_t h,
                                         int64_t q0, int64_t k0, typename X::value scale,
                                         const M *mask, typename X::value (&c)[TILE / 8][4]) {
  typedef typename X::value real;
  const sn_attention_lane at;
  for (int t = 0; t < TILE / 8; ++t)
    for (int i = 0; i < 4; ++i) {
      const int64_t q = q0 + at.first + at.row + i / 2 * 8, k = k0 + t * 8 + at.column + i % 2;
      real x = c[t][i] * scale;
      bool there = q < z.queries && k < z.keys && (!CAUSAL || k <= q);
      if (MASK && there) {
        const M m = mask[n * z.step[0] + h * z.step[1] + q * z.step[2] + k * z.step[3]];
        if (MASK == 1) there = m != 0;
        if (MASK == 2) x += X::load(m);
        if (MASK == 3) x += real(m);
      }
      c[t][i] = there ? x : -real(SN_INF);
    }
}

// Which weights a dropout keeps: numbers' key and counter, and the probability that one stays.
template <class real>
struct sn_attention_drops {
  const uint64_t *key, *counter;
  const real *kept;
};

// x of a tile of weights, or of their cotangents, times their factors: 1 / kept, or 0 where one is
// dropped. Weight ((n heads + h) queries + q) keys + k of all has that number's random word.
template <class real, int TILES>
__device__ inline void sn_attention_drop(const sn_attention_sizes &z, int64_t n, int64_t h,
                                         int64_t q0, int64_t k0, sn_attention_drops<real> drops,
                                         real (&x)[TILES][4]) {
  const sn_attention_lane at;
  const sn_u64 key = *drops.key, counter = *drops.counter;
  const float kept = (float)*drops.kept;
  const real factor = 1 / *drops.kept;
  for (int t = 0; t < TILES; ++t)
    for (int i = 0; i < 4; ++i) {
      const int64_t q = q0 + at.first + at.row + i / 2 * 8, k = k0 + t * 8 + at.column + i % 2;
      const sn_u64 weight = ((n * z.heads + h) * z.queries + q) * z.keys + k;
      const float even = (float)(sn_philox4x32(key, counter, weight) >> 8) * 5.9604645e-8f;
      x[t][i] *= even < kept ? factor : real(0);
    }
}

// The greatest, or the sum, of what the four lanes of a row have.
template <class T>
__device__ inline T sn_attention_most(T x) {
  for (int d = 1; d < 4; d *= 2) {
    const T y = __shfl_xor_sync(0xffffffffu, x, d);
    x = y > x ? y : x;
  }
  return x;
}
template <class T>
__device__ inline T sn_attention_sum(T x) {
  for (int d = 1; d < 4; d *= 2) x += __shfl_xor_sync(0xffffffffu, x, d);
  return x;
}

// Rows [16, 64 columns from `first` on] times a factor for each half of the rows.
template <class X>
__device__ inline void sn_attention_save(typename X::memory *to, int64_t apart, int64_t row,
                                         int64_t rows, int64_t width, int64_t first,
                                         const typename X::value (&c)[SN_FEATURES / 8][4],
                                         typename X::value upper, typename X::value lower) {
  const sn_attention_lane at;
  for (int t = 0; t < SN_FEATURES / 8; ++t)
    for (int i = 0; i < 4; ++i) {
      const int64_t r = row + at.first + at.row + i / 2 * 8, j = first + t * 8 + at.column + i % 2;
      if (r < rows && j < width) to[r * apart + j] = X::store(c[t][i] * (i < 2 ? upper : lower));
    }
}

template <class X, int TILE>
__device__ inline void sn_attention_keep(const typename X::value (&c)[TILE / 8][4],
                                         typename X::memory *to) {
  constexpr int across = sn_attention_tile<X, TILE>::across;
  const sn_attention_lane at;
  for (int t = 0; t < TILE / 8; ++t)
    for (int i = 0; i < 4; ++i)
      to[(at.first + at.row + i / 2 * 8) * across + t * 8 + at.column + i % 2] = X::store(c[t][i]);
}

// One after the other of the tiles of all heads: of `rows` rows, and 64 of `width` features.
struct sn_attention_task {
  int64_t first, row, head;
  __device__ sn_attention_task(int64_t task, int64_t tile, int64_t rows, int64_t width) {
    const int64_t parts = width ? (width + SN_FEATURES - 1) / SN_FEATURES : 1;
    const int64_t tiles = (rows + tile - 1) / tile;
    first = task % parts * SN_FEATURES;
    row = task / parts % tiles * tile;
    head = task / parts / tiles;
  }
};

template <class X, int TILE, bool CAUSAL, int MASK, bool DROPS, class M>
__device__ inline void sn_attention(
    const sn_attention_sizes &z, int64_t tasks, int block, int blocks, const typename X::memory *q,
    const typename X::memory *k, const typename X::memory *v, const typename X::value *scale,
    const M *mask, sn_attention_drops<typename X::value> drops, typename X::memory *out,
    typename X::value *lse) {
  typedef sn_attention_tile<X, TILE> tile;
  typedef typename X::value real;
  alignas(16) __shared__ typename X::memory left[TILE * tile::pitch], right[TILE * tile::pitch];
  alignas(16) __shared__ typename X::memory weights[TILE * tile::across];
  const sn_attention_lane at;
  const real none = -real(SN_INF);
  for (int64_t task = block; task < tasks; task += blocks) {
    const sn_attention_task on(task, TILE, z.queries, z.e);
    const int64_t n = on.head / z.heads, h = on.head % z.heads;
    const int64_t group = h / (z.heads / z.groups);
    const int64_t end = CAUSAL && on.row + TILE < z.keys ? on.row + TILE : z.keys;
    const sn_attention_rows<X> rows(z, SN_Q, q, n, h, on.row);
    real c[TILE / 8][4], y[SN_FEATURES / 8][4], top[2] = {none, none}, total[2] = {0, 0};
    for (int t = 0; t < SN_FEATURES / 8; ++t)
      for (int i = 0; i < 4; ++i) y[t][i] = 0;
    for (int64_t k0 = 0; k0 < end; k0 += TILE) {
      const sn_attention_rows<X> keys(z, SN_K, k, n, group, k0), values(z, SN_V, v, n, group, k0);
      sn_attention_outer<X, TILE>(z, z.d, rows, keys, left, right, c);
      sn_attention_mask<X, TILE, CAUSAL, MASK>(z, n, h, on.row, k0, *scale, mask, c);
      for (int half = 0; half < 2; ++half) {
        real most = top[half], sum = 0;
        for (int t = 0; t < TILE / 8; ++t)
          for (int i = 2 * half; i < 2 * half + 2; ++i) most = c[t][i] > most ? c[t][i] : most;
        most = sn_attention_most(most);
        const real base = most == none ? real(0) : most;
        const real factor = top[half] == most ? real(1) : sn_attention_exp(top[half] - base);
        for (int t = 0; t < TILE / 8; ++t)
          for (int i = 2 * half; i < 2 * half + 2; ++i) {
            c[t][i] = sn_attention_exp(c[t][i] - base);
            sum += c[t][i];
          }
        for (int t = 0; t < SN_FEATURES / 8; ++t)
          for (int i = 2 * half; i < 2 * half + 2; ++i) y[t][i] *= factor;
        total[half] = total[half] * factor + sn_attention_sum(sum);
        top[half] = most;
      }
      if constexpr (DROPS) sn_attention_drop(z, n, h, on.row, k0, drops, c);
      sn_attention_keep<X, TILE>(c, weights);
      sn_attention_inner<X, TILE, false>(z, weights, values, z.e, on.first, right, y);
    }
    sn_attention_save<X>(out + n * z.rows[SN_Y][0] + h * z.rows[SN_Y][1], z.rows[SN_Y][2], on.row,
                         z.queries, z.e, on.first, y,
                         1 / (total[0] == 0 ? real(1) : total[0]),
                         1 / (total[1] == 0 ? real(1) : total[1]));
    for (int half = 0; half < 2; ++half) {
      const int64_t row = on.row + at.first + at.row + half * 8;
      if (on.first == 0 && at.column == 0 && row < z.queries)
        lse[on.head * z.queries + row] =
            total[half] == 0 ? real(SN_INF) : sn_attention_log(total[half]) + top[half];
    }
  }
}

// Weights w of a tile of queries and keys, to c, and their scores' cotangents, to s.
template <class X, int TILE, bool CAUSAL, int MASK, bool DROPS, class M>
__device__ inline void sn_attention_slopes(
    const sn_attention_sizes &z, int64_t n, int64_t h, int64_t q0, int64_t k0,
    const typename X::memory *q, const typename X::memory *k, const typename X::memory *v,
    typename X::value scale, const typename X::value *lse, const typename X::value *delta,
    const typename X::memory *a, const M *mask, sn_attention_drops<typename X::value> drops,
    typename X::memory *left, typename X::memory *right, typename X::value (&c)[TILE / 8][4], typename X::value (&s)[TILE / 8][4]) {
  typedef typename X::value real;
  const sn_attention_lane at;
  const int64_t head = (n * z.heads + h) * z.queries + q0;
  const int64_t group = h / (z.heads / z.groups);
  const sn_attention_rows<X> queries(z, SN_Q, q, n, h, q0), to_y(z, SN_Y, a, n, h, q0);
  const sn_attention_rows<X> keys(z, SN_K, k, n, group, k0), values(z, SN_V, v, n, group, k0);
  sn_attention_outer<X, TILE>(z, z.d, queries, keys, left, right, c);
  sn_attention_mask<X, TILE, CAUSAL, MASK>(z, n, h, q0, k0, scale, mask, c);
  sn_attention_outer<X, TILE>(z, z.e, to_y, values, left, right, s);
  if constexpr (DROPS) sn_attention_drop(z, n, h, q0, k0, drops, s);
  for (int half = 0; half < 2; ++half) {
    const int row = at.first + at.row + half * 8;
    const bool there = q0 + row < z.queries;
    const real l = there ? lse[head + row] : real(SN_INF), less = there ? delta[head + row] : real(0);
    for (int t = 0; t < TILE / 8; ++t)
      for (int i = 2 * half; i < 2 * half + 2; ++i) {
        c[t][i] = sn_attention_exp(c[t][i] - l);
        s[t][i] = c[t][i] * (s[t][i] - less);
      }
  }
  if constexpr (DROPS) sn_attention_drop(z, n, h, q0, k0, drops, c);
}

// delta of each row, a warp a row: the sum of a y, whose rows are `apart`.
template <class X>
__device__ inline void sn_attention_delta(const sn_attention_sizes &z, const int64_t (&apart)[3],
                                          int block, int blocks, const typename X::memory *a,
                                          const typename X::memory *y, typename X::value *delta) {
  const int64_t warps = blockDim.x / 32, rows = z.n * z.heads * z.queries;
  for (int64_t i = block * warps + threadIdx.x / 32; i < rows; i += blocks * warps) {
    const int64_t n = i / z.queries / z.heads, h = i / z.queries % z.heads, row = i % z.queries;
    const typename X::memory *left =
        a + n * z.rows[SN_Y][0] + h * z.rows[SN_Y][1] + row * z.rows[SN_Y][2];
    const typename X::memory *right = y + n * apart[0] + h * apart[1] + row * apart[2];
    typename X::value sum = 0;
    for (int64_t j = threadIdx.x % 32; j < z.e; j += 32) sum += X::load(left[j]) * X::load(right[j]);
    for (int d = 16; d; d /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, d);
    if (threadIdx.x % 32 == 0) delta[i] = sum;
  }
}

template <class X, int TILE, bool CAUSAL, int MASK, bool DROPS, class M>
__device__ inline void sn_attention_to_queries(
    const sn_attention_sizes &z, int64_t tasks, int block, int blocks, const typename X::memory *q,
    const typename X::memory *k, const typename X::memory *v, const typename X::memory *a,
    const typename X::value *scale, const typename X::value *lse, const typename X::value *delta,
    const M *mask, sn_attention_drops<typename X::value> drops, typename X::memory *dq) {
  typedef sn_attention_tile<X, TILE> tile;
  typedef typename X::value real;
  alignas(16) __shared__ typename X::memory left[TILE * tile::pitch], right[TILE * tile::pitch];
  alignas(16) __shared__ typename X::memory slopes[TILE * tile::across];
  for (int64_t task = block; task < tasks; task += blocks) {
    const sn_attention_task on(task, TILE, z.queries, z.d);
    const int64_t n = on.head / z.heads, h = on.head % z.heads;
    const int64_t group = h / (z.heads / z.groups);
    const int64_t end = CAUSAL && on.row + TILE < z.keys ? on.row + TILE : z.keys;
    real c[TILE / 8][4], s[TILE / 8][4], y[SN_FEATURES / 8][4];
    for (int t = 0; t < SN_FEATURES / 8; ++t)
      for (int i = 0; i < 4; ++i) y[t][i] = 0;
    for (int64_t k0 = 0; k0 < end; k0 += TILE) {
      sn_attention_slopes<X, TILE, CAUSAL, MASK, DROPS>(z, n, h, on.row, k0, q, k, v, *scale, lse,
                                                        delta, a, mask, drops, left, right, c, s);
      sn_attention_keep<X, TILE>(s, slopes);
      const sn_attention_rows<X> keys(z, SN_K, k, n, group, k0);
      sn_attention_inner<X, TILE, false>(z, slopes, keys, z.d, on.first, right, y);
    }
    sn_attention_save<X>(dq + n * z.made[SN_Q][0] + h * z.made[SN_Q][1], z.made[SN_Q][2], on.row,
                         z.queries, z.d, on.first, y, *scale, *scale);
  }
}

template <class X, int TILE, bool CAUSAL, int MASK, bool DROPS, class M>
__device__ inline void sn_attention_to_keys(
    const sn_attention_sizes &z, int64_t tasks, int block, int blocks, const typename X::memory *q,
    const typename X::memory *k, const typename X::memory *v, const typename X::memory *a,
    const typename X::value *scale, const typename X::value *lse, const typename X::value *delta,
    const M *mask, sn_attention_drops<typename X::value> drops, typename X::memory *dk,
    typename X::memory *dv) {
  typedef sn_attention_tile<X, TILE> tile;
  typedef typename X::value real;
  alignas(16) __shared__ typename X::memory left[TILE * tile::pitch], right[TILE * tile::pitch];
  alignas(16) __shared__ typename X::memory weights[TILE * tile::across], slopes[TILE * tile::across];
  const int64_t sharing = z.groups ? z.heads / z.groups : 0;
  for (int64_t task = block; task < tasks; task += blocks) {
    const sn_attention_task on(task, TILE, z.keys, z.d > z.e ? z.d : z.e);
    const int64_t n = on.head / z.groups, first_head = on.head % z.groups * sharing;
    real c[TILE / 8][4], s[TILE / 8][4], yk[SN_FEATURES / 8][4], yv[SN_FEATURES / 8][4];
    for (int t = 0; t < SN_FEATURES / 8; ++t)
      for (int i = 0; i < 4; ++i) yk[t][i] = yv[t][i] = 0;
    for (int64_t h = first_head; h < first_head + sharing; ++h)
      for (int64_t q0 = CAUSAL ? on.row : 0; q0 < z.queries; q0 += TILE) {
        const sn_attention_rows<X> queries(z, SN_Q, q, n, h, q0), to_y(z, SN_Y, a, n, h, q0);
        sn_attention_slopes<X, TILE, CAUSAL, MASK, DROPS>(z, n, h, q0, on.row, q, k, v, *scale, lse,
                                                          delta, a, mask, drops, left, right, c, s);
        sn_attention_keep<X, TILE>(c, weights);
        sn_attention_keep<X, TILE>(s, slopes);
        sn_attention_inner<X, TILE, true>(z, weights, to_y, z.e, on.first, right, yv);
        sn_attention_inner<X, TILE, true>(z, slopes, queries, z.d, on.first, right, yk);
      }
    const int64_t group = on.head % z.groups;
    sn_attention_save<X>(dk + n * z.made[SN_K][0] + group * z.made[SN_K][1], z.made[SN_K][2],
                         on.row, z.keys, z.d, on.first, yk, *scale, *scale);
    sn_attention_save<X>(dv + n * z.made[SN_V][0] + group * z.made[SN_V][1], z.made[SN_V][2],
                         on.row, z.keys, z.e, on.first, yv, real(1), real(1));
  }
}

#endif  // STATICNET_ATTENTION_CUH
