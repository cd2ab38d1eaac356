// What a kernel needs that runs a whole step: a barrier of all blocks, products of matrices of its
// own. Included after routines.cuh.

#ifndef STATICNET_PERSISTENT_CUH
#define STATICNET_PERSISTENT_CUH

// All blocks of the grid wait for each other, and then see what the others wrote. `barrier` is 0
// when nobody waits, but for its highest bit, which each barrier turns over: block 0 adds what the
// others lack. The blocks must run together, as those of a cooperative launch do. `number` is the
// barrier's in the text.
__device__ inline void sn_grid_sync(unsigned *barrier, int number) {
#if defined(__CUDACC__)
  __syncthreads();
  if (threadIdx.x == 0) {
    const unsigned last = 0x80000000u;
    __threadfence();
    const unsigned before = atomicAdd(barrier, blockIdx.x == 0 ? last - (gridDim.x - 1) : 1u);
    while (!((*(volatile unsigned *)barrier ^ before) & last)) {
    }
    __threadfence();
  }
  __syncthreads();
#else
  shim::wait_for_grid(number);
#endif
}

// For a loop whose blocks make a test: `going` is its bool and, four bytes further, whether a node
// has failed. That may change at any time, also by what runs beside the kernel: so one thread notes
// it before a barrier, and all go by the note behind it.
__device__ inline void sn_note_failure(char *going, const char *failed) {
  if (blockIdx.x == 0 && threadIdx.x == 0)
    *(volatile int *)(going + 4) = *(const volatile int *)failed;
}

// Whether the loop goes on, read where all blocks' writes are seen.
__device__ inline bool sn_goes_on(const char *going) {
  return *(const volatile char *)going && !*(const volatile int *)(going + 4);
}

// The memory of this block that the launch asks for; it keeps what it holds until the kernel ends.
__device__ inline char *sn_own_room() {
#if defined(__CUDACC__)
  extern __shared__ __align__(16) char sn_room[];
  return sn_room;
#else
  return shim::own_room();
#endif
}

// The first of a stage's blocks that this block of the grid computes, if `before` blocks of others
// run side by side with it; the next ones are gridDim.x further.
__device__ inline int sn_turn(int before) {
  const int shift = before % gridDim.x;
  return blockIdx.x >= shift ? blockIdx.x - shift : blockIdx.x + gridDim.x - shift;
}

__device__ inline float sn_fma(float x, float y, float z) { return sn_fma_f32(x, y, z); }
__device__ inline double sn_fma(double x, double y, double z) { return sn_fma_f64(x, y, z); }

// Where a product lies: element (i, l) of x at i * xr + l * xc, (l, j) of y at l * yr + j * yc,
// (i, j) of z at i * zr + j.
struct sn_matrices {
  int m, n, k, xr, xc, yr, yc, zr;
};

constexpr int SN_SIDE = 16;               // of the square of results that a block computes
constexpr int SN_PITCH = SN_SIDE + 4;     // of its rows in shared memory, a multiple of a pack
constexpr int SN_PARTS = 8;               // warps, each of which sums a part of every stretch

// The terms of a sum that are in shared memory at once: 8 KiB of each operand.
template <class T>
constexpr int sn_stretch = 512 / sizeof(T);

// Bytes of shared memory that a product of a block works in.
template <class T>
constexpr int sn_product_room = 2 * sn_stretch<T> * SN_PITCH * sizeof(T);

// SN_SIDE rows of an operand, or columns, from `first` on, at the terms from `start` on: to
// registers. Neighbouring threads read along the terms, or across where those lie side by side.
template <class X, bool ALONG, int THREADS, int N>
__device__ inline void sn_fetch_stretch(typename X::value (&held)[N], const typename X::memory *x,
                                        int first, int rows, int row, int start, int terms,
                                        int term) {
  constexpr int STRETCH = sn_stretch<typename X::value>;
#pragma unroll
  for (int e = 0; e < N; ++e) {
    const int at = threadIdx.x + e * THREADS;
    const int i = first + (ALONG ? at / STRETCH : at % SN_SIDE);
    const int l = start + (ALONG ? at % STRETCH : at / SN_SIDE);
    held[e] = i < rows && l < terms ? X::load(x[(int64_t)i * row + (int64_t)l * term])
                                    : (typename X::value)0;
  }
}

template <bool ALONG, int THREADS, class T, int N>
__device__ inline void sn_place_stretch(const T (&held)[N], T *room) {
#pragma unroll
  for (int e = 0; e < N; ++e) {
    const int at = threadIdx.x + e * THREADS;
    const int i = ALONG ? at / sn_stretch<T> : at % SN_SIDE;
    const int l = ALONG ? at % sn_stretch<T> : at / SN_SIDE;
    room[l * SN_PITCH + i] = held[e];
  }
}

// z = activation(x y + bias) of one square of results, the block's, by 256 threads. Each warp sums
// its part of every stretch of terms in order, and the warps' sums are added in order: so the bits
// depend on the sizes alone. X_ALONG, Y_ALONG: whether terms lie side by side. All products of a
// kernel share `room`. It is called, as stages are: inlined, a step takes twice as long to compile.
template <class X, int ACTIVATION, bool X_ALONG, bool Y_ALONG>
__device__ __noinline__ void sn_square_product(int block, sn_matrices s, const typename X::memory *x,
                                         const typename X::memory *y,
                                         const typename X::memory *bias, typename X::memory *z,
                                         char *room) {
  typedef typename X::value T;
  constexpr int THREADS = 32 * SN_PARTS, STRETCH = sn_stretch<T>, PART = STRETCH / SN_PARTS;
  constexpr int HELD = SN_SIDE * STRETCH / THREADS, DOWN = 4, ACROSS = 2;
  static_assert(SN_PARTS * SN_SIDE * SN_SIDE * sizeof(T) <= sn_product_room<T>, "sums fit");
  T *const left = (T *)room, *const right = left + STRETCH * SN_PITCH;
  const int across = (s.n + SN_SIDE - 1) / SN_SIDE;
  const int row = block / across * SN_SIDE, column = block % across * SN_SIDE;
  const int part = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int i = lane / 8 * DOWN, j = lane % 8 * ACROSS;
  T sums[DOWN][ACROSS] = {};
  // the terms of the next stretch are on their way while those of one are summed
  for (int next = 0, start = -STRETCH; start < s.k; start = next, next += STRETCH) {
    T xs[HELD], ys[HELD];
    sn_fetch_stretch<X, X_ALONG, THREADS>(xs, x, row, s.m, s.xr, next, s.k, s.xc);
    sn_fetch_stretch<X, Y_ALONG, THREADS>(ys, y, column, s.n, s.yc, next, s.k, s.yr);
    const int own = s.k - start - part * PART;
    const int count = start < 0 ? 0 : own < PART ? own : PART;
#pragma unroll 2
    for (int l = 0; l < count; ++l) {
      const int at = (part * PART + l) * SN_PITCH;
      const auto u = sn_read<DOWN>(left + at + i);
      const auto v = sn_read<ACROSS>(right + at + j);
#pragma unroll
      for (int a = 0; a < DOWN; ++a)
#pragma unroll
        for (int b = 0; b < ACROSS; ++b) sums[a][b] = sn_fma(u.v[a], v.v[b], sums[a][b]);
    }
    __syncthreads();
    sn_place_stretch<X_ALONG, THREADS>(xs, left);
    sn_place_stretch<Y_ALONG, THREADS>(ys, right);
    __syncthreads();
  }
  T *const parts = (T *)room + part * SN_SIDE * SN_SIDE;
#pragma unroll
  for (int a = 0; a < DOWN; ++a)
#pragma unroll
    for (int b = 0; b < ACROSS; ++b) parts[(i + a) * SN_SIDE + j + b] = sums[a][b];
  __syncthreads();
  T sum = 0;
#pragma unroll
  for (int p = 0; p < SN_PARTS; ++p) sum += ((T *)room)[p * SN_SIDE * SN_SIDE + threadIdx.x];
  const int to = row + threadIdx.x / SN_SIDE, at = column + threadIdx.x % SN_SIDE;
  if (to < s.m && at < s.n) {
    if (bias) sum += X::load(bias[at]);
    z[(int64_t)to * s.zr + at] = X::store(sn_activated<ACTIVATION>(sum));
  }
}

// z = activation(x y + bias) of 256 results, one a thread, of few terms: a thread adds them in order,
// and waits for nobody. It is inlined, as small as it is, so that the sizes are known.
template <class X, int ACTIVATION>
__device__ inline void sn_small_product(int block, sn_matrices s, const typename X::memory *x,
                                        const typename X::memory *y,
                                        const typename X::memory *bias, typename X::memory *z) {
  const int at = block * 256 + threadIdx.x;
  if (at >= s.m * s.n) return;
  const int i = at / s.n, j = at % s.n;
  typename X::value sum = 0;
#pragma unroll 16
  for (int l = 0; l < s.k; ++l)
    sum = sn_fma(X::load(x[(int64_t)i * s.xr + (int64_t)l * s.xc]),
                 X::load(y[(int64_t)l * s.yr + (int64_t)j * s.yc]), sum);
  if (bias) sum += X::load(bias[j]);
  z[(int64_t)i * s.zr + j] = X::store(sn_activated<ACTIVATION>(sum));
}

#endif  // STATICNET_PERSISTENT_CUH
