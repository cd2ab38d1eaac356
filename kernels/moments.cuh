// Statistics of channels on a GPU: a block a channel, whose threads sum in a fixed order. Included after
// reduce.cuh and routines.cuh. An array is [before, channels, after].

#ifndef STATICNET_MOMENTS_CUH
#define STATICNET_MOMENTS_CUH

// Where element i of channel c lies.
__device__ inline int64_t sn_channel_place(int64_t i, int64_t c, int64_t channels, int64_t after) {
  return (i / after * channels + c) * after + i % after;
}

template <class X, int THREADS>
__device__ inline void sn_moments(const typename X::memory *x, typename X::memory *mean,
                                  typename X::memory *var, int64_t before, int64_t channels,
                                  int64_t after) {
  typedef typename X::value T;
  const int64_t n = before * after;
  for (int64_t c = blockIdx.x; c < channels; c += gridDim.x) {
    T sum = 0, squares = 0;
    for (int64_t i = threadIdx.x; i < n; i += THREADS)
      sum += X::load(x[sn_channel_place(i, c, channels, after)]);
    const T middle = sn_reduce<sn_sum<T>, THREADS>(sum) / (T)n;
    for (int64_t i = threadIdx.x; i < n; i += THREADS) {
      const T d = X::load(x[sn_channel_place(i, c, channels, after)]) - middle;
      squares += d * d;
    }
    squares = sn_reduce<sn_sum<T>, THREADS>(squares);
    if (threadIdx.x == 0) {
      mean[c] = X::store(middle);
      var[c] = X::store(squares / (T)n);
    }
  }
}

template <class X, int THREADS>
__device__ inline void sn_centered_sums(const typename X::memory *g, const typename X::memory *x,
                                        const typename X::memory *mean, typename X::memory *s,
                                        typename X::memory *t, int64_t before, int64_t channels,
                                        int64_t after) {
  typedef typename X::value T;
  for (int64_t c = blockIdx.x; c < channels; c += gridDim.x) {
    const T middle = X::load(mean[c]);
    T sum = 0, product = 0;
    for (int64_t i = threadIdx.x; i < before * after; i += THREADS) {
      const int64_t at = sn_channel_place(i, c, channels, after);
      const T weight = X::load(g[at]);
      sum += weight;
      product += weight * (X::load(x[at]) - middle);
    }
    sum = sn_reduce<sn_sum<T>, THREADS>(sum);
    product = sn_reduce<sn_sum<T>, THREADS>(product);
    if (threadIdx.x == 0) {
      s[c] = X::store(sum);
      t[c] = X::store(product);
    }
  }
}

#endif  // STATICNET_MOMENTS_CUH
