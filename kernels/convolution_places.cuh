// Convolution and its gradients as products of matrices that are never made: which elements meet,
// and where they lie. `convolution.cuh` computes them.
//
//            result           rows             columns                summed, "deep"
// forward    y  [n, o, t]     places n, t      outputs o              inputs i and k, i fastest
// input      x  [n, i, s]     places n, s      inputs i               outputs o and k, o fastest
// weight     w  [o, i, k]     outputs o        inputs i and k         places n, t
//
// The operand of the rows is a, that of the columns b. Where in an array an element lies is a sum of
// what its row or column and what its depth add, and so are the coordinates that tell whether it is
// inside. The gradient by the input has a phase for each residue of s + low by the strides: of a
// phase only those elements k count that ever meet it.
//
// Arrays have three spatial axes; those that an operation lacks are first and of length 1. Steps are
// in elements, so channels may come first or last: {first axis, channels, spatial axes}.
// Included after runtime.cuh where a program needs it.

#ifndef STATICNET_CONVOLUTION_PLACES_CUH
#define STATICNET_CONVOLUTION_PLACES_CUH

struct sn_convolution_sizes {
  int64_t n, groups, outputs, inputs;  // outputs and inputs of one group
  int64_t s[3], k[3], t[3], stride[3], low[3], dilation[3];
  int64_t x[5], w[5], y[5];  // the arrays' steps
};

// Where a row, a column or a depth lies: what it adds to an operand's place and coordinates. One
// that is not there has coordinates that lie outside of everything.
struct sn_line {
  int64_t at;
  int c[3];
};
struct sn_depth {
  int64_t a, b;
  int c[3];
};
enum { sn_nowhere = -(1 << 30) };

// The quotient of numbers that are not negative; most are short, and those divide faster.
__device__ inline int64_t sn_quotient(int64_t a, int64_t b) {
  return ((a | b) >> 32) == 0 ? (int64_t)((unsigned)a / (unsigned)b) : a / b;
}

// The same of numbers of less than 32 bits, as those of weights' elements are.
__device__ inline int sn_short_quotient(int64_t a, int64_t b) {
  return (int)((unsigned)a / (unsigned)b);
}

// Takes a number apart into what comes before three axes of these sizes, and places along them.
template <class I, class J>
__device__ inline int64_t sn_take_apart(int64_t number, const I *size, J *place) {
  for (int axis = 2; axis >= 0; --axis) {
    const int64_t before = sn_quotient(number, size[axis]);
    place[axis] = (J)(number - before * size[axis]);
    number = before;
  }
  return number;
}

template <class I, class J>
__device__ inline void sn_take_apart_short(int number, const I *size, J *place) {
  for (int axis = 2; axis >= 0; --axis) {
    const int before = sn_short_quotient(number, size[axis]);
    place[axis] = number - before * (int)size[axis];
    number = before;
  }
}

template <class I>
__device__ inline int64_t sn_points(const I *size) {
  return (int64_t)size[0] * size[1] * size[2];
}

struct sn_forward {
  enum { in_a = true };  // the operand that has an outside
  const sn_convolution_sizes &c;
  int64_t rows, columns, deep, a, b, z;
  const int64_t *limit;

  __device__ sn_forward(const sn_convolution_sizes &sizes, int64_t group, int64_t) : c(sizes) {
    rows = c.n * sn_points(c.t);
    columns = c.outputs;
    deep = c.inputs * sn_points(c.k);
    a = group * c.inputs * c.x[1];
    b = group * c.outputs * c.w[0];
    z = group * c.outputs * c.y[1];
    limit = c.s;
  }
  __device__ void row(int64_t number, sn_line &line, int64_t &to) const {
    int64_t t[3];
    const int64_t n = sn_take_apart(number, c.t, t);
    line.at = n * c.x[0];
    to = n * c.y[0];
    for (int axis = 0; axis < 3; ++axis) {
      const int64_t s = t[axis] * c.stride[axis] - c.low[axis];
      line.c[axis] = (int)s;
      line.at += s * c.x[axis + 2];
      to += t[axis] * c.y[axis + 2];
    }
  }
  __device__ void column(int64_t o, sn_line &line, int64_t &to) const {
    line = {o * c.w[0], {0, 0, 0}};
    to = o * c.y[1];
  }
  __device__ void depth(int64_t number, sn_depth &d) const {
    int64_t k[3];
    int before = sn_short_quotient(number, c.inputs);
    const int i = (int)number - before * (int)c.inputs;
    sn_take_apart_short(before, c.k, k);
    d.a = i * c.x[1];
    d.b = i * c.w[1];
    for (int axis = 0; axis < 3; ++axis) {
      const int64_t s = k[axis] * c.dilation[axis];
      d.c[axis] = (int)s;
      d.a += s * c.x[axis + 2];
      d.b += k[axis] * c.w[axis + 2];
    }
  }
};

struct sn_input {
  enum { in_a = true };
  const sn_convolution_sizes &c;
  int64_t rows, columns, deep, a, b, z;
  const int64_t *limit;
  // of the phase: its residues, the first kernel's place q (s = residue + stride q - low) and how
  // many there are, and the elements k that meet it: the first, how many, and the step between them
  int residue[3], first[3], count[3], k_first[3], k_count[3], k_step[3];

  __device__ sn_input(const sn_convolution_sizes &sizes, int64_t group, int64_t phase)
      : c(sizes) {
    sn_take_apart(phase, c.stride, residue);
    for (int axis = 0; axis < 3; ++axis) {
      const int stride = (int)c.stride[axis], dilation = (int)c.dilation[axis];
      const int before = (int)c.low[axis] - residue[axis], k = (int)c.k[axis];
      first[axis] = before > 0 ? (before + stride - 1) / stride : 0;
      const int rest = (int)c.s[axis] - (stride * first[axis] - before);
      count[axis] = rest > 0 ? (rest + stride - 1) / stride : 0;
      k_step[axis] = 1;
      while (k_step[axis] * dilation % stride) ++k_step[axis];
      k_first[axis] = 0;
      while (k_first[axis] < k_step[axis] &&
             k_first[axis] * dilation % stride != residue[axis])
        ++k_first[axis];
      const bool met = k_first[axis] < k_step[axis] && k_first[axis] < k;
      k_count[axis] = met ? (k - k_first[axis] + k_step[axis] - 1) / k_step[axis] : 0;
    }
    rows = c.n * sn_points(count);
    columns = c.inputs;
    deep = c.outputs * sn_points(k_count);
    a = group * c.outputs * c.y[1];
    b = group * c.outputs * c.w[0];
    z = group * c.inputs * c.x[1];
    limit = c.t;
  }
  __device__ void row(int64_t number, sn_line &line, int64_t &to) const {
    int64_t q[3];
    const int64_t n = sn_take_apart(number, count, q);
    line.at = n * c.y[0];
    to = n * c.x[0];
    for (int axis = 0; axis < 3; ++axis) {
      const int64_t t = q[axis] + first[axis];
      line.c[axis] = (int)t;
      line.at += t * c.y[axis + 2];
      to += (residue[axis] + c.stride[axis] * t - c.low[axis]) * c.x[axis + 2];
    }
  }
  __device__ void column(int64_t i, sn_line &line, int64_t &to) const {
    line = {i * c.w[1], {0, 0, 0}};
    to = i * c.x[1];
  }
  __device__ void depth(int64_t number, sn_depth &d) const {
    int j[3];
    const int before = sn_short_quotient(number, c.outputs);
    const int o = (int)number - before * (int)c.outputs;
    sn_take_apart_short(before, k_count, j);
    d.a = o * c.y[1];
    d.b = o * c.w[0];
    for (int axis = 0; axis < 3; ++axis) {
      const int k = k_first[axis] + j[axis] * k_step[axis];
      const int t = (k * (int)c.dilation[axis] - residue[axis]) / (int)c.stride[axis];
      d.c[axis] = -t;
      d.a -= t * c.y[axis + 2];
      d.b += k * c.w[axis + 2];
    }
  }
};

struct sn_weight {
  enum { in_a = false };
  const sn_convolution_sizes &c;
  int64_t rows, columns, deep, a, b, z;
  const int64_t *limit;

  __device__ sn_weight(const sn_convolution_sizes &sizes, int64_t group, int64_t) : c(sizes) {
    rows = c.outputs;
    columns = c.inputs * sn_points(c.k);
    deep = c.n * sn_points(c.t);
    a = group * c.outputs * c.y[1];
    b = group * c.inputs * c.x[1];
    z = group * c.outputs * c.w[0];
    limit = c.s;
  }
  __device__ void row(int64_t o, sn_line &line, int64_t &to) const {
    line = {o * c.y[1], {0, 0, 0}};
    to = o * c.w[0];
  }
  __device__ void column(int64_t number, sn_line &line, int64_t &to) const {
    int64_t k[3];
    const int64_t before = sn_quotient(number, c.inputs), i = number - before * c.inputs;
    sn_take_apart(before, c.k, k);
    line.at = i * c.x[1];
    to = i * c.w[1];
    for (int axis = 0; axis < 3; ++axis) {
      const int64_t s = k[axis] * c.dilation[axis] - c.low[axis];
      line.c[axis] = (int)s;
      line.at += s * c.x[axis + 2];
      to += k[axis] * c.w[axis + 2];
    }
  }
  __device__ void depth(int64_t number, sn_depth &d) const {
    int64_t t[3];
    const int64_t n = sn_take_apart(number, c.t, t);
    d.a = n * c.y[0];
    d.b = n * c.x[0];
    for (int axis = 0; axis < 3; ++axis) {
      const int64_t s = t[axis] * c.stride[axis];
      d.c[axis] = (int)s;
      d.a += t[axis] * c.y[axis + 2];
      d.b += s * c.x[axis + 2];
    }
  }
};

#endif  // STATICNET_CONVOLUTION_PLACES_CUH
