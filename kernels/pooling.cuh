// Pooling on a GPU: a thread a result. Included after routines.cuh and windows.h. The transposes
// gather: an element adds the windows that it is in, in order, so that no sum depends on chance.

#ifndef STATICNET_POOLING_CUH
#define STATICNET_POOLING_CUH

// Of window `place` of all: its numbers along the axes, its channel, and where its plane begins.
struct sn_window {
  int64_t o[3], channel, plane;
  __device__ sn_window(const int64_t *count, const sn_windows &w, int64_t place) {
    channel = place % w.channels;
    place /= w.channels;
    for (int axis = 2; axis >= 0; --axis) {
      o[axis] = place % count[axis];
      place /= count[axis];
    }
    plane = place;
  }
};

__device__ inline int64_t sn_volume(const int64_t *count) { return count[0] * count[1] * count[2]; }

template <class X, class F>
__device__ inline void sn_in_window(const sn_windows &w, const sn_window &at,
                                    const typename X::memory *x, F &&each) {
  x += at.plane * sn_volume(w.size) * w.channels + at.channel;
  for (int64_t kd = 0; kd < w.kernel[0]; ++kd)
    for (int64_t kh = 0; kh < w.kernel[1]; ++kh)
      for (int64_t kw = 0; kw < w.kernel[2]; ++kw) {
        const int64_t d = SN_WINDOW_AT(&w, 0, at.o[0], kd), h = SN_WINDOW_AT(&w, 1, at.o[1], kh);
        const int64_t i = SN_WINDOW_AT(&w, 2, at.o[2], kw);
        if (!SN_WINDOW_HAS(&w, 0, d) || !SN_WINDOW_HAS(&w, 1, h) || !SN_WINDOW_HAS(&w, 2, i))
          continue;
        const int64_t place = (d * w.size[1] + h) * w.size[2] + i;
        const int64_t number = (kd * w.kernel[1] + kh) * w.kernel[2] + kw;
        each(X::load(x[place * w.channels]), place, number);
      }
}

// What an index says: of one byte an element's number in its window, else its place in the plane.
template <class I>
__device__ inline int64_t sn_which(int64_t place, int64_t number) {
  return sizeof(I) == 1 ? number : place;
}

template <class X, class I>
__device__ inline void sn_max_pool(const sn_windows &w, int64_t planes, const typename X::memory *x,
                                   typename X::memory *y, I *index) {
  typedef typename X::value T;
  SN_EACH(j, planes * sn_volume(w.windows) * w.channels) {
    T best = 0;
    int64_t at = -1;
    sn_in_window<X>(w, sn_window(w.windows, w, j), x, [&](T value, int64_t place, int64_t number) {
      const bool better = at < 0 || value > best || value != value;
      best = better ? value : best;
      at = better ? sn_which<I>(place, number) : at;
    });
    y[j] = X::store(best);
    index[j] = (I)at;
  }
}

template <class X>
__device__ inline void sn_window_sum(const sn_windows &w, int64_t planes,
                                     const typename X::memory *x, typename X::memory *y) {
  typedef typename X::value T;
  SN_EACH(j, planes * sn_volume(w.windows) * w.channels) {
    T sum = 0;
    sn_in_window<X>(w, sn_window(w.windows, w, j), x, [&](T value, int64_t, int64_t) { sum += value; });
    y[j] = X::store(sum);
  }
}

// The windows from first to last along an axis that may have element i.
__device__ inline void sn_windows_of(const sn_windows &w, int axis, int64_t i, int64_t &first,
                                     int64_t &last) {
  const int64_t reach = (w.kernel[axis] - 1) * w.gap[axis], at = i + w.low[axis];
  first = at > reach ? (at - reach + w.stride[axis] - 1) / w.stride[axis] : 0;
  last = at / w.stride[axis] < w.windows[axis] - 1 ? at / w.stride[axis] : w.windows[axis] - 1;
}

// Whether a window has the element that lies `distance` from its first one.
__device__ inline bool sn_window_meets(const sn_windows &w, int axis, int64_t i, int64_t o) {
  return (i + w.low[axis] - o * w.stride[axis]) % w.gap[axis] == 0;
}

// Which of its elements that is.
__device__ inline int64_t sn_element_of(const sn_windows &w, int axis, int64_t i, int64_t o) {
  return (i + w.low[axis] - o * w.stride[axis]) / w.gap[axis];
}

template <class F>
__device__ inline void sn_in_windows(const sn_windows &w, const sn_window &at, F &&each) {
  int64_t first[3], last[3];
  for (int axis = 0; axis < 3; ++axis) sn_windows_of(w, axis, at.o[axis], first[axis], last[axis]);
  for (int64_t od = first[0]; od <= last[0]; ++od)
    for (int64_t oh = first[1]; oh <= last[1]; ++oh)
      for (int64_t ow = first[2]; ow <= last[2]; ++ow)
        if (sn_window_meets(w, 0, at.o[0], od) && sn_window_meets(w, 1, at.o[1], oh) &&
            sn_window_meets(w, 2, at.o[2], ow)) {
          const int64_t row = (at.plane * w.windows[0] + od) * w.windows[1] + oh;
          const int64_t kd = sn_element_of(w, 0, at.o[0], od), kh = sn_element_of(w, 1, at.o[1], oh);
          const int64_t kw = sn_element_of(w, 2, at.o[2], ow);
          each((row * w.windows[2] + ow) * w.channels + at.channel,
               (kd * w.kernel[1] + kh) * w.kernel[2] + kw);
        }
}

template <class X, class I>
__device__ inline void sn_max_pool_gradient(const sn_windows &w, int64_t planes,
                                            const typename X::memory *g, const I *index,
                                            typename X::memory *y) {
  SN_EACH(j, planes * sn_volume(w.size) * w.channels) {
    typename X::value sum = 0;
    const int64_t place = j / w.channels % sn_volume(w.size);
    sn_in_windows(w, sn_window(w.size, w, j), [&](int64_t o, int64_t number) {
      if (index[o] == sn_which<I>(place, number)) sum += X::load(g[o]);
    });
    y[j] = X::store(sum);
  }
}

template <class X>
__device__ inline void sn_window_spread(const sn_windows &w, int64_t planes,
                                        const typename X::memory *g, typename X::memory *y) {
  SN_EACH(j, planes * sn_volume(w.size) * w.channels) {
    typename X::value sum = 0;
    sn_in_windows(w, sn_window(w.size, w, j), [&](int64_t o, int64_t) { sum += X::load(g[o]); });
    y[j] = X::store(sum);
  }
}

#endif  // STATICNET_POOLING_CUH
