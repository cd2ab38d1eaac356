// Products of a loop whose right operand is the same in all steps: its elements stay in shared
// memory, as the matrix units take them, and each block has those of its own columns.
// Included after mma.cuh and persistent.cuh.

#ifndef STATICNET_RESIDENT_CUH
#define STATICNET_RESIDENT_CUH

constexpr int SN_TALL = 16;                       // rows of a tile of results
constexpr int SN_STEPS = 32;                      // of a chunk of terms, each as deep as a fragment
constexpr int SN_STEP_PITCH = 4 * 32 + 4;         // words of a step's left fragment, and a bank apart
constexpr int SN_LEFT_BYTES = 4 * SN_STEPS * SN_STEP_PITCH;
constexpr int SN_UNITS = SN_TALL * SN_STEPS * 2;  // of a chunk: a row's words in half a fragment

// z = activation(x y + bias), x: [m, k], y: [k, n], z: [m, n]. Rows of x lie xr apart, of z zr;
// element (l, j) of y lies at l * yr + j * yc. Columns are `groups` side by side, of which a tile
// takes the same `each` of all: so those of an LSTM's gates for some units. A block has a tile's
// columns of `turns` times SN_TALL rows, which it computes in turn.
struct sn_resident {
  int m, n, k, xr, yr, yc, zr, groups, each, turns;
};

template <class X>
constexpr int sn_depth = 32 / sizeof(typename X::memory);  // terms of a fragment's step

// Tiles of a product: those with the same columns are neighbours.
__device__ inline int sn_tiles_down(const sn_resident &s) {
  return (s.m + SN_TALL * s.turns - 1) / (SN_TALL * s.turns);
}

__device__ inline int sn_first_row(const sn_resident &s, int tile, int turn) {
  return (tile % sn_tiles_down(s) * s.turns + turn) * SN_TALL;
}

__device__ inline int sn_first_unit(const sn_resident &s, int tile) {
  return tile / sn_tiles_down(s) * s.each;
}

// Of a tile's column, that of the matrix; -1 if it has none.
__device__ inline int sn_column(const sn_resident &s, int tile, int column) {
  const int group = column / s.each, unit = sn_first_unit(s, tile) + column % s.each;
  const int units = s.n / s.groups;
  return group < s.groups && unit < units ? group * units + unit : -1;
}

// A word of a fragment: one float as TF32 has it, or two numbers of 16 bits.
template <class X>
__device__ inline unsigned sn_word(const typename X::memory *x) {
  if constexpr (sizeof(*x) == 4)
    return sn_bits_f32(sn_as_tf32(*x));
  else
    return x[0] | (unsigned)x[1] << 16;
}

// Puts the columns of y that a tile of ACROSS has where the threads find them: fragment b of each
// step of terms and eight columns, lane by lane.
template <class X, int ACROSS>
__device__ __noinline__ void sn_take_resident(int tile, sn_resident s,
                                              const typename X::memory *y, unsigned *held) {
  constexpr int EIGHTS = ACROSS / 8, WORD = sn_depth<X> / 8;
  const int words = (s.k + sn_depth<X> - 1) / sn_depth<X> * EIGHTS * 64;
  for (int w = threadIdx.x; w < words; w += 32 * SN_PARTS) {
    const int lane = w / 2 % 32, step = w / 64 / EIGHTS;
    const int j = sn_column(s, tile, w / 64 % EIGHTS * 8 + lane / 4);
    const int first = step * sn_depth<X> + (lane % 4 + w % 2 * 4) * WORD;
    typename X::memory pair[WORD];
#pragma unroll
    for (int e = 0; e < WORD; ++e)
      pair[e] = j >= 0 && first + e < s.k ? y[(int64_t)(first + e) * s.yr + (int64_t)j * s.yc]
                                          : (typename X::memory)0;
    held[w] = sn_word<X>(pair);
  }
}

// The part of a chunk of x that a thread brings: N units of half a fragment's row, in L's type.
template <class X, class L, int N>
__device__ inline void sn_fetch_left(typename L::memory (&held)[N][sn_depth<X> / 2], sn_resident s,
                                     const typename L::memory *x, int row, int start) {
  typedef typename L::memory M;
  constexpr int TERMS = sn_depth<X> / 2, PACK = 16 / sizeof(M) < TERMS ? 16 / sizeof(M) : TERMS;
  const bool packs = ((uint64_t)x | s.xr * sizeof(M)) % 16 == 0;
#pragma unroll
  for (int e = 0; e < N; ++e) {
    const int unit = threadIdx.x + e * 32 * SN_PARTS;
    const int i = row + unit / (2 * SN_STEPS), l = start + unit % (2 * SN_STEPS) * TERMS;
    const M *from = x + (int64_t)i * s.xr + l;
    if (packs && i < s.m && l + TERMS <= s.k) {
#pragma unroll
      for (int p = 0; p < TERMS; p += PACK) {
        const auto pack = sn_read<PACK>(from + p);
#pragma unroll
        for (int c = 0; c < PACK; ++c) held[e][p + c] = pack.v[c];
      }
    } else {
#pragma unroll
      for (int p = 0; p < TERMS; ++p) held[e][p] = i < s.m && l + p < s.k ? from[p] : (M)0;
    }
  }
}

// The same to shared memory, rounded to X's type: fragment a of each step, lane by lane.
template <class X, class L, int N>
__device__ inline void sn_place_left(const typename L::memory (&held)[N][sn_depth<X> / 2],
                                     unsigned *left) {
  constexpr int WORD = sn_depth<X> / 8;
#pragma unroll
  for (int e = 0; e < N; ++e) {
    const int unit = threadIdx.x + e * 32 * SN_PARTS;
    const int row = unit / (2 * SN_STEPS), half = unit % 2, step = unit % (2 * SN_STEPS) / 2;
    unsigned *to = left + step * SN_STEP_PITCH + row % 8 * 16 + row / 8 + 2 * half;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      typename X::memory pair[WORD];
#pragma unroll
      for (int c = 0; c < WORD; ++c) pair[c] = X::store(L::load(held[e][j * WORD + c]));
      to[4 * j] = sn_word<X>(pair);
    }
  }
}

// One turn of a tile of z, 16 by ACROSS, by 256 threads. Each warp has some of the columns or, where these
// are few, some of the steps of terms, whose sums are then added in order: so the bits depend on
// sizes and on ACROSS alone. L: the type x lies in; it is rounded to X's. `room` is of
// SN_LEFT_BYTES bytes, `held` what sn_take_resident left.
template <class X, class L, int ACTIVATION, int ACROSS>
__device__ __noinline__ void sn_resident_product(int tile, int turn, sn_resident s,
                                                 const typename L::memory *x, const unsigned *held,
                                                 const typename X::memory *bias,
                                                 typename X::memory *z, unsigned *room) {
  constexpr int EIGHTS = ACROSS / 8, OWN = EIGHTS > SN_PARTS ? EIGHTS / SN_PARTS : 1;
  constexpr int SIDE = EIGHTS / OWN, WAYS = SN_PARTS / SIDE;
  constexpr int N = SN_UNITS / (32 * SN_PARTS), CHUNK = SN_STEPS * sn_depth<X>;
  static_assert(WAYS * SN_TALL * ACROSS * 4 <= SN_LEFT_BYTES, "sums fit");
  const int row = sn_first_row(s, tile, turn), warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int side = warp % SIDE, way = warp / SIDE;
  float sums[OWN][4] = {};
  // the next chunk of terms is on its way while those of one are summed
  for (int next = 0, start = -CHUNK; start < s.k; start = next, next += CHUNK) {
    typename L::memory fetched[N][sn_depth<X> / 2];
    sn_fetch_left<X, L>(fetched, s, x, row, next);
    const int left = (s.k - start + sn_depth<X> - 1) / sn_depth<X>;
    const int count = start < 0 ? 0 : left < SN_STEPS ? left : SN_STEPS;
    const unsigned *y = held + start / sn_depth<X> * EIGHTS * 64 + side * OWN * 64 + lane * 2;
#pragma unroll 4
    for (int step = way; step < count; step += WAYS) {
      const auto a = sn_read<4>(room + step * SN_STEP_PITCH + lane * 4);
#pragma unroll
      for (int j = 0; j < OWN; ++j) {
        const auto b = sn_read<2>(y + (step * EIGHTS + j) * 64);
        sn_mma<X>(sums[j], a.v, b.v);
      }
    }
    __syncthreads();
    sn_place_left<X, L>(fetched, room);
    __syncthreads();
  }
  float *const parts = (float *)room;
#pragma unroll
  for (int j = 0; j < OWN; ++j)
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int i = lane / 4 + e / 2 * 8, at = (side * OWN + j) * 8 + lane % 4 * 2 + e % 2;
      parts[(way * SN_TALL + i) * ACROSS + at] = sums[j][e];
    }
  __syncthreads();
  for (int e = threadIdx.x; e < SN_TALL * ACROSS; e += 32 * SN_PARTS) {
    float sum = 0.0f;
#pragma unroll
    for (int p = 0; p < WAYS; ++p) sum += parts[p * SN_TALL * ACROSS + e];
    const int i = row + e / ACROSS, j = sn_column(s, tile, e % ACROSS);
    if (i < s.m && j >= 0) {
      if (bias) sum += X::load(bias[j]);
      z[(int64_t)i * s.zr + j] = X::store(sn_activated<ACTIVATION>(sum));
    }
  }
  __syncthreads();
}

#endif  // STATICNET_RESIDENT_CUH
