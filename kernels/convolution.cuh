// Convolution and its gradients, a thread an element of the result.
//
// Arrays have three spatial axes; those that an operation lacks are first and of length 1. Steps are
// in elements, so channels may come first or last: {first axis, channels, spatial axes}.
// Included after routines.cuh where a program needs it.

#ifndef STATICNET_CONVOLUTION_CUH
#define STATICNET_CONVOLUTION_CUH

struct sn_convolution_sizes {
  int64_t n, groups, outputs, inputs;  // outputs and inputs of one group
  int64_t s[3], k[3], t[3], stride[3], low[3], dilation[3];
  int64_t x[5], w[5], y[5];  // the arrays' steps
};

struct sn_place {
  int64_t first, channel, at[3];
};

// The element of this number of an array of so many channels and these spatial sizes.
__device__ inline sn_place sn_place_of(int64_t number, int64_t channels, const int64_t *size) {
  sn_place place;
  for (int axis = 2; axis >= 0; --axis) {
    place.at[axis] = number % size[axis];
    number /= size[axis];
  }
  place.channel = number % channels;
  place.first = number / channels;
  return place;
}

__device__ inline int64_t sn_at(const int64_t *step, const int64_t *at) {
  return at[0] * step[2] + at[1] * step[3] + at[2] * step[4];
}

// Whether the kernel's element k meets x when it stands at t, and where.
__device__ inline bool sn_meets(const sn_convolution_sizes &c, const int64_t *t, const int64_t *k,
                                int64_t *s) {
  bool inside = true;
  for (int axis = 0; axis < 3; ++axis) {
    s[axis] = t[axis] * c.stride[axis] + k[axis] * c.dilation[axis] - c.low[axis];
    inside = inside && s[axis] >= 0 && s[axis] < c.s[axis];
  }
  return inside;
}

// Whether the kernel's element k ever meets x at s, and where the kernel stands then.
__device__ inline bool sn_stands(const sn_convolution_sizes &c, const int64_t *s, const int64_t *k,
                                 int64_t *t) {
  bool ever = true;
  for (int axis = 0; axis < 3; ++axis) {
    const int64_t at = s[axis] + c.low[axis] - k[axis] * c.dilation[axis];
    t[axis] = at / c.stride[axis];
    ever = ever && at >= 0 && at % c.stride[axis] == 0 && t[axis] < c.t[axis];
  }
  return ever;
}

#define SN_TRIPLES(p, size)                                  \
  for (int64_t p[3] = {0, 0, 0}; p[0] < (size)[0]; ++p[0])   \
    for (p[1] = 0; p[1] < (size)[1]; ++p[1])                 \
      for (p[2] = 0; p[2] < (size)[2]; ++p[2])

template <class X>
__device__ inline void sn_convolution(const sn_convolution_sizes &c,
                                      const typename X::memory *x, const typename X::memory *w,
                                      typename X::memory *y) {
  const int64_t all = c.groups * c.outputs;
  SN_EACH(number, c.n * all * c.t[0] * c.t[1] * c.t[2]) {
    const sn_place p = sn_place_of(number, all, c.t);
    const typename X::memory *from =
        x + p.first * c.x[0] + p.channel / c.outputs * c.inputs * c.x[1];
    const typename X::memory *by = w + p.channel * c.w[0];
    typename X::value sum = 0;
    SN_TRIPLES(k, c.k) {
      int64_t s[3];
      if (!sn_meets(c, p.at, k, s)) continue;
      for (int64_t i = 0; i < c.inputs; ++i)
        sum += X::load(from[i * c.x[1] + sn_at(c.x, s)]) * X::load(by[i * c.w[1] + sn_at(c.w, k)]);
    }
    y[p.first * c.y[0] + p.channel * c.y[1] + sn_at(c.y, p.at)] = X::store(sum);
  }
}

template <class X>
__device__ inline void sn_convolution_input(const sn_convolution_sizes &c,
                                            const typename X::memory *y,
                                            const typename X::memory *w, typename X::memory *x) {
  const int64_t all = c.groups * c.inputs;
  SN_EACH(number, c.n * all * c.s[0] * c.s[1] * c.s[2]) {
    const sn_place p = sn_place_of(number, all, c.s);
    const int64_t first = p.channel / c.inputs * c.outputs;
    const typename X::memory *from = y + p.first * c.y[0] + first * c.y[1];
    const typename X::memory *by = w + first * c.w[0] + p.channel % c.inputs * c.w[1];
    typename X::value sum = 0;
    SN_TRIPLES(k, c.k) {
      int64_t t[3];
      if (!sn_stands(c, p.at, k, t)) continue;
      for (int64_t o = 0; o < c.outputs; ++o)
        sum += X::load(from[o * c.y[1] + sn_at(c.y, t)]) * X::load(by[o * c.w[0] + sn_at(c.w, k)]);
    }
    x[p.first * c.x[0] + p.channel * c.x[1] + sn_at(c.x, p.at)] = X::store(sum);
  }
}

template <class X>
__device__ inline void sn_convolution_weight(const sn_convolution_sizes &c,
                                             const typename X::memory *x,
                                             const typename X::memory *y, typename X::memory *w) {
  SN_EACH(number, c.groups * c.outputs * c.inputs * c.k[0] * c.k[1] * c.k[2]) {
    const sn_place p = sn_place_of(number, c.inputs, c.k);
    const typename X::memory *from =
        x + (p.first / c.outputs * c.inputs + p.channel) * c.x[1];
    const typename X::memory *by = y + p.first * c.y[1];
    typename X::value sum = 0;
    for (int64_t n = 0; n < c.n; ++n)
      SN_TRIPLES(t, c.t) {
        int64_t s[3];
        if (!sn_meets(c, t, p.at, s)) continue;
        sum += X::load(from[n * c.x[0] + sn_at(c.x, s)]) * X::load(by[n * c.y[0] + sn_at(c.y, t)]);
      }
    w[p.first * c.w[0] + p.channel * c.w[1] + sn_at(c.w, p.at)] = X::store(sum);
  }
}

#endif  // STATICNET_CONVOLUTION_CUH
