// Reductions among threads. The order of every sum depends on the shape alone, so its bits do too.
// Included after runtime.cuh.

#ifndef STATICNET_REDUCE_CUH
#define STATICNET_REDUCE_CUH

// Integers wrap: they are added and multiplied as unsigned ones.
template <class T> struct sn_wrapping { typedef T type; };
template <> struct sn_wrapping<int32_t> { typedef uint32_t type; };
template <> struct sn_wrapping<int64_t> { typedef uint64_t type; };

#define SN_COMBINATION(name, expression)                             \
  template <class T>                                                 \
  struct sn_##name {                                                 \
    typedef typename sn_wrapping<T>::type U;                         \
    __device__ static inline T of(T a, T b) { return expression; }   \
  };
SN_COMBINATION(sum, (T)((U)a + (U)b))
SN_COMBINATION(prod, (T)((U)a * (U)b))
SN_COMBINATION(set, b)
SN_COMBINATION(any, (T)(a | b))
SN_COMBINATION(all, (T)(a & b))
// NaN wins, in either operand
SN_COMBINATION(max, (a > b) | (a != a) ? a : b)
SN_COMBINATION(min, (a < b) | (a != a) ? a : b)

template <class T>
struct sn_logaddexp {
  __device__ static inline T of(T a, T b) {
    if (a == -SN_INF) return b;  // of -0.0 alone that is -0.0
    if constexpr (sizeof(T) == 4)
      return sn_logaddexp_f32(a, b);
    else
      return sn_logaddexp_f64(a, b);
  }
};

// The value of the lane whose number differs in the bits of `distance`.
template <class T>
__device__ inline T sn_swap(unsigned lanes, T x, int distance) {
  if constexpr (sizeof(T) < 4)
    return (T)__shfl_xor_sync(lanes, (int)x, distance);
  else
    return __shfl_xor_sync(lanes, x, distance);
}

// The lanes of this warp that work on one thing with this one: LANES side by side, a power of 2.
template <int LANES>
__device__ inline unsigned sn_lanes() {
  if constexpr (LANES == 32)
    return 0xffffffffu;
  else
    return ((1u << LANES) - 1) << (threadIdx.x % 32 & ~(LANES - 1));
}

// THREADS side by side, of which the block has one group or two, wait for each other.
template <int THREADS>
__device__ inline void sn_sync_group() {
#if defined(__CUDACC__)
  if (THREADS != 128 || blockDim.x == THREADS)
    __syncthreads();
  else
    asm volatile("bar.sync %0, %1;" ::"r"(1 + threadIdx.x / THREADS), "n"(THREADS) : "memory");
#else
  shim::wait_for_group(THREADS, __LINE__);
#endif
}

// Each of THREADS side by side, a power of 2, gets the combination of all their values. More than
// 32 are all of the block, but 128 may be one of its two halves. What one of them read before,
// another may write over afterwards.
template <class Op, int THREADS, class T>
__device__ inline T sn_reduce(T x) {
  if constexpr (THREADS <= 32) {
    for (int distance = THREADS / 2; distance; distance /= 2)
      x = Op::of(x, sn_swap(sn_lanes<THREADS>(), x, distance));
    if constexpr (THREADS > 1) __syncwarp(sn_lanes<THREADS>());
    return x;
  } else {
    constexpr int WARPS = THREADS / 32;
    __shared__ T parts[WARPS < 8 ? 8 : WARPS];
    x = sn_reduce<Op, 32>(x);
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = x;
    sn_sync_group<THREADS>();
    x = sn_reduce<Op, WARPS>(parts[threadIdx.x / THREADS * WARPS + threadIdx.x % WARPS]);
    sn_sync_group<THREADS>();
    return x;
  }
}

// Of ACROSS threads side by side, powers of 2, and THREADS in the block: the first ACROSS get the
// combination of the values of all threads that stand a multiple of ACROSS further.
template <class Op, int ACROSS, int THREADS, class T>
__device__ inline T sn_reduce_down(T x) {
  __shared__ T parts[THREADS];
  const int me = threadIdx.x;
  parts[me] = x;
  for (int half = THREADS / 2; half >= ACROSS; half /= 2) {
    __syncthreads();
    if (me < half) parts[me] = Op::of(parts[me], parts[me + half]);
  }
  if (me < ACROSS) x = parts[me];  // the others would read what these still write
  __syncthreads();
  return x;
}

#endif  // STATICNET_REDUCE_CUH
