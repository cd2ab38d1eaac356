// Factorisations of stacks of matrices, and triangular systems: a block a matrix, its threads over
// rows, columns or pairs, with a barrier a step. T is float or double. Matrices lie row by row.
// Included after routines.cuh where a program needs them.

#ifndef STATICNET_LINALG_CUH
#define STATICNET_LINALG_CUH

#define SN_MATRICES(b, batch) for (int64_t b = blockIdx.x; b < (batch); b += gridDim.x)
// The numbers from first up to last that are this thread's.
#define SN_SHARE(i, first, last) \
  for (int64_t i = (first) + threadIdx.x; i < (last); i += blockDim.x)

template <class T> struct sn_real;
template <> struct sn_real<float> {
  static constexpr float eps = 1.1920929e-7f, greatest = 3.40282347e38f;
  __device__ static inline float root(float x) { return sn_sqrt_f32(x); }
};
template <> struct sn_real<double> {
  static constexpr double eps = 2.220446049250313e-16, greatest = 1.7976931348623157e308;
  __device__ static inline double root(double x) { return sn_sqrt_f64(x); }
};

template <class T>
__device__ inline T sn_magnitude(T x) {
  return x < 0 ? -x : x;
}

__device__ inline void sn_fail(int *error, int site) {
  if (threadIdx.x == 0) atomicCAS(error, 0, site);
}

template <class T>
__device__ inline void sn_exchange(T &x, T &y) {
  const T old = x;
  x = y;
  y = old;
}

// The greatest magnitude of n elements `step` apart, and NaN if one is NaN; of no elements 0.
template <class T, int THREADS>
__device__ inline T sn_greatest(const T *x, int64_t n, int64_t step) {
  T most = 0;
  SN_SHARE(i, 0, n) most = sn_max<T>::of(sn_magnitude(x[i * step]), most);
  return sn_reduce<sn_max<T>, THREADS>(most);
}

// y: lower triangular, x = y y'.
template <class T, int THREADS>
__device__ inline void sn_cholesky(const T *x, T *y, int64_t batch, int64_t n, int *error,
                                   int site) {
  SN_MATRICES(b, batch) {
    T *const l = y + b * n * n;
    SN_SHARE(i, 0, n * n) l[i] = i % n <= i / n ? x[b * n * n + i] : 0;
    for (int64_t j = 0; j < n; ++j) {
      __syncthreads();
      const T pivot = l[j * n + j], root = sn_real<T>::root(pivot);
      if (!(pivot > 0)) sn_fail(error, site);  // nor is NaN
      __syncthreads();
      SN_SHARE(i, j, n) l[i * n + j] = i == j ? root : l[i * n + j] / root;
      __syncthreads();
      const int64_t left = n - j - 1;
      SN_SHARE(e, 0, left * left) {
        const int64_t i = j + 1 + e / left, k = j + 1 + e % left;
        if (k <= i) l[i * n + k] -= l[i * n + j] * l[k * n + j];
      }
    }
  }
}

// y: T y = x or, TRANSPOSED, T' y = x; T is a triangle of a.
template <class T, bool UPPER, bool TRANSPOSED, bool UNIT>
__device__ inline void sn_triangular_solve(const T *a, const T *x, T *y, int64_t batch, int64_t n,
                                           int64_t k, int *error, int site) {
  constexpr bool FORWARD = UPPER == TRANSPOSED;
  SN_MATRICES(b, batch) {
    const T *const t = a + b * n * n;
    T *const to = y + b * n * k;
    SN_SHARE(i, 0, n * k) to[i] = x[b * n * k + i];
    for (int64_t step = 0; step < n; ++step) {
      const int64_t i = FORWARD ? step : n - 1 - step;
      __syncthreads();
      if (!UNIT) {
        const T pivot = t[i * n + i];
        if (pivot == 0) sn_fail(error, site);
        SN_SHARE(c, 0, k) to[i * k + c] /= pivot;
        __syncthreads();
      }
      SN_SHARE(e, 0, (n - 1 - step) * k) {
        const int64_t r = (FORWARD ? i + 1 : 0) + e / k, c = e % k;
        to[r * k + c] -= (TRANSPOSED ? t[i * n + r] : t[r * n + i]) * to[i * k + c];
      }
    }
  }
}

// y: L and U in one, x[:, place] = L U, U's diagonal 1; place: a permutation, sign: its sign.
template <class T, int THREADS>
__device__ inline void sn_lu(const T *x, T *y, int64_t *place, T *sign, int64_t batch, int64_t n) {
  __shared__ T most[THREADS];
  __shared__ int64_t where[THREADS];
  const int me = threadIdx.x;
  SN_MATRICES(b, batch) {
    T *const lu = y + b * n * n;
    T parity = 1;
    SN_SHARE(i, 0, n * n) lu[i] = x[b * n * n + i];
    SN_SHARE(i, 0, n) place[b * n + i] = i;
    for (int64_t j = 0; j < n; ++j) {  // what this thread reads of row j, it wrote
      most[me] = -1;
      where[me] = j;
      SN_SHARE(c, j, n) {
        const T size = sn_magnitude(lu[j * n + c]);
        if (size > most[me]) {
          most[me] = size;
          where[me] = c;
        }
      }
      for (int half = THREADS / 2; half; half /= 2) {
        __syncthreads();
        if (me < half) {
          const bool beats = sn_beats<true>(most[me], where[me], most[me + half], where[me + half]);
          if (!beats) {
            most[me] = most[me + half];
            where[me] = where[me + half];
          }
        }
      }
      __syncthreads();
      const int64_t p = where[0];
      if (p != j) {
        parity = -parity;
        SN_SHARE(r, 0, n) sn_exchange(lu[r * n + j], lu[r * n + p]);
        if (me == 0) sn_exchange(place[b * n + j], place[b * n + p]);
      }
      __syncthreads();
      const T pivot = lu[j * n + j];
      if (pivot != 0) SN_SHARE(c, j + 1, n) lu[j * n + c] /= pivot;
      __syncthreads();
      const int64_t left = n - j - 1;
      SN_SHARE(e, 0, left * left) {
        const int64_t r = j + 1 + e / left, c = j + 1 + e % left;
        lu[r * n + c] -= lu[r * n + j] * lu[j * n + c];
      }
    }
    if (me == 0) sign[b] = parity;
  }
}

// The sum of squares of a column of q below row j, each divided by `scale`.
template <class T, int THREADS>
__device__ inline T sn_squares_below(const T *q, int64_t j, int64_t m, int64_t k, T scale) {
  T sum = 0;
  SN_SHARE(i, j + 1, m) sum += q[i * k + j] / scale * (q[i * k + j] / scale);
  return sn_reduce<sn_sum<T>, THREADS>(sum);
}

// Columns j + 1 to `last` of q, from row j, reflected: H = I - tau v v' with v = (1, q[j + 1:, j]).
template <class T>
__device__ inline void sn_reflect(T *q, int64_t j, int64_t last, int64_t m, int64_t k, T tau) {
  SN_SHARE(c, j + 1, last) {
    T sum = q[j * k + c];
    for (int64_t i = j + 1; i < m; ++i) sum += q[i * k + j] * q[i * k + c];
    sum *= tau;
    q[j * k + c] -= sum;
    for (int64_t i = j + 1; i < m; ++i) q[i * k + c] -= sum * q[i * k + j];
  }
}

// q: [m, k] with orthonormal columns, r: [k, n] upper triangular, x: [m, n] = q r, by Householder's
// reflections, whose vectors lie in q until it is made of them.
template <class T, int THREADS>
__device__ inline void sn_qr(const T *x, T *q, T *r, int64_t batch, int64_t m, int64_t n,
                             int64_t k) {
  constexpr T eps = sn_real<T>::eps, least = eps * eps * eps * eps;
  SN_MATRICES(b, batch) {
    T *const to = q + b * m * k, *const right = r + b * k * n;
    SN_SHARE(e, 0, m * k) to[e] = e % k < n ? x[b * m * n + e / k * n + e % k] : 0;
    __syncthreads();
    for (int64_t j = 0; j < n; ++j) {
      const T scale = sn_greatest<T, THREADS>(to + j * k + j, m - j, k), first = to[j * k + j];
      const T rest = scale != 0 ? sn_squares_below<T, THREADS>(to, j, m, k, scale) : 0;
      const T head = scale != 0 ? first / scale : 0;
      const T norm = scale * sn_real<T>::root(head * head + rest), beta = first > 0 ? -norm : norm;
      const bool reflects = !(rest <= least);  // so v's squares do not vanish, and NaN passes on
      SN_SHARE(i, j + 1, m) to[i * k + j] = reflects ? to[i * k + j] / (first - beta) : 0;
      if (reflects && threadIdx.x == 0) to[j * k + j] = beta;
      __syncthreads();
      if (reflects) sn_reflect(to, j, n, m, k, (beta - first) / beta);
      __syncthreads();
    }
    SN_SHARE(e, 0, k * n) right[e] = e / n <= e % n ? to[e / n * k + e % n] : 0;
    SN_SHARE(e, 0, m * (k - n)) {
      const int64_t i = e / (k - n), c = n + e % (k - n);
      to[i * k + c] = i == c;
    }
    for (int64_t j = n - 1; j >= 0; --j) {
      const T rest = sn_squares_below<T, THREADS>(to, j, m, k, (T)1);
      const T tau = rest != 0 ? 2 / (1 + rest) : 0;  // of a reflection: 2 / |v|^2
      sn_reflect(to, j, k, m, k, tau);
      __syncthreads();
      SN_SHARE(i, 0, m) to[i * k + j] = i < j ? 0 : i == j ? 1 - tau : -tau * to[i * k + j];
    }
  }
}

// In each of n - 1 rounds, n even, each number meets another one: the pair i of a round, i < n / 2.
__device__ inline void sn_pair(int64_t i, int64_t round, int64_t n, int64_t &p, int64_t &q) {
  p = i == 0 ? n - 1 : (round + i) % (n - 1);
  q = (round + n - 1 - i) % (n - 1);
  if (p > q) sn_exchange(p, q);
}

// The rotation (c, s) that makes two numbers with products a, b, and g between them orthogonal.
template <class T>
__device__ inline void sn_rotation(T a, T b, T g, T &c, T &s) {
  const T zeta = (b - a) / (2 * g), size = sn_magnitude(zeta);
  const T t = (zeta < 0 ? -1 : 1) / (size + sn_real<T>::root(1 + zeta * zeta));
  c = 1 / sn_real<T>::root(1 + t * t);
  s = c * t;
}

constexpr int sn_sweeps = 48;  // of Jacobi's method, which needs about 10

// w: ascending eigenvalues, v: [n, n], its columns their eigenvectors; x is symmetric. Jacobi's
// method, in whose rounds n / 2 rotations are made at once. A block's room: n n + 3 n + 2 elements.
template <class T, int THREADS>
__device__ inline void sn_eigh(const T *x, T *w, T *v, T *room, int64_t batch, int64_t n,
                               int *error, int site) {
  T *const a = room + blockIdx.x * (n * n + 3 * n + 2), *const values = a + n * n;
  T *const turn = values + n;
  const int64_t even = n + n % 2;
  __shared__ int rotated;
  SN_MATRICES(b, batch) {
    T *const to = v + b * n * n;
    const T most = sn_greatest<T, THREADS>(x + b * n * n, n * n, 1);
    const bool finite = most <= sn_real<T>::greatest;
    const T scale = most != 0 && finite ? most : 1;
    if (!finite) sn_fail(error, site);
    SN_SHARE(e, 0, n * n) {
      a[e] = x[b * n * n + e] / scale;
      to[e] = e / n == e % n;
    }
    int sweep = 0;
    for (; sweep < sn_sweeps && finite && n > 1; ++sweep) {
      if (threadIdx.x == 0) rotated = 0;
      for (int64_t round = 0; round < even - 1; ++round) {
        __syncthreads();
        SN_SHARE(i, 0, even / 2) {
          int64_t p, q;
          sn_pair(i, round, even, p, q);
          T c = 1, s = 0;
          if (q < n && sn_magnitude(a[p * n + q]) > sn_real<T>::eps) {
            sn_rotation(a[p * n + p], a[q * n + q], a[p * n + q], c, s);
            atomicCAS(&rotated, 0, 1);
          }
          turn[2 * i] = c;
          turn[2 * i + 1] = s;
        }
        __syncthreads();
        SN_SHARE(e, 0, even / 2 * n) {
          int64_t p, q;
          sn_pair(e / n, round, even, p, q);
          const T c = turn[e / n * 2], s = turn[e / n * 2 + 1];
          if (s == 0) continue;
          T &high = a[p * n + e % n], &low = a[q * n + e % n], old = high;
          high = c * old - s * low;
          low = s * old + c * low;
        }
        __syncthreads();
        SN_SHARE(e, 0, even / 2 * 2 * n) {  // the columns of a, then of v
          const int64_t i = e % (even / 2), r = e / (even / 2);
          int64_t p, q;
          sn_pair(i, round, even, p, q);
          const T c = turn[2 * i], s = turn[2 * i + 1];
          if (s == 0) continue;
          T *const row = r < n ? a + r * n : to + (r - n) * n;
          const T old = row[p];
          row[p] = c * old - s * row[q];
          row[q] = s * old + c * row[q];
        }
      }
      const int again = rotated;  // nobody rotates since two barriers ago
      __syncthreads();
      if (!again) break;
    }
    if (sweep == sn_sweeps) sn_fail(error, site);
    __syncthreads();  // also where nothing is rotated
    SN_SHARE(i, 0, n) values[i] = a[i * n + i] * scale;
    __syncthreads();
    SN_SHARE(e, 0, n * n) a[e] = to[e];
    __syncthreads();
    SN_SHARE(i, 0, n) {
      int64_t place = 0;
      for (int64_t j = 0; j < n; ++j) place += values[j] < values[i] || (values[j] == values[i] && j < i);
      w[b * n + place] = values[i];
      for (int64_t r = 0; r < n; ++r) to[r * n + place] = a[r * n + i];
    }
  }
}

// Vectors from number `known` on of `count`, each of `length` elements `step` apart and `apart` from
// the next, that are orthonormal with those before: of unit vectors, what those leave of the one of
// which they have least. `part` is room for `count` elements.
template <class T, int THREADS>
__device__ inline void sn_complete(T *u, int64_t known, int64_t count, int64_t length, int64_t step,
                                   int64_t apart, T *part) {
  __shared__ T most[THREADS];
  __shared__ int64_t where[THREADS];
  for (int64_t j = known; j < count; ++j) {
    T *const mine = u + j * apart;
    __syncthreads();
    most[threadIdx.x] = -1;
    where[threadIdx.x] = 0;
    SN_SHARE(i, 0, length) {
      T rest = 1;
      for (int64_t c = 0; c < j; ++c) rest -= u[c * apart + i * step] * u[c * apart + i * step];
      if (rest > most[threadIdx.x]) {
        most[threadIdx.x] = rest;
        where[threadIdx.x] = i;
      }
    }
    __syncthreads();
    int64_t best = 0;
    for (int t = 1; t < THREADS; ++t) best = most[t] > most[best] ? t : best;
    const int64_t place = where[best];
    SN_SHARE(i, 0, length) mine[i * step] = i == place;
    for (int again = 0; again < 2; ++again) {
      __syncthreads();
      SN_SHARE(c, 0, j) {
        T sum = 0;
        for (int64_t i = 0; i < length; ++i) sum += u[c * apart + i * step] * mine[i * step];
        part[c] = sum;
      }
      __syncthreads();
      T squares = 0;
      SN_SHARE(i, 0, length) {
        T value = mine[i * step];
        for (int64_t c = 0; c < j; ++c) value -= part[c] * u[c * apart + i * step];
        mine[i * step] = value;
        squares += value * value;
      }
      const T norm = sn_real<T>::root(sn_reduce<sn_sum<T>, THREADS>(squares));
      SN_SHARE(i, 0, length) mine[i * step] /= norm;
    }
  }
}

// x: [m, n] = u diag(s) v, s descending; u: [m, across], s: [k], v: [down, n]. Jacobi's method on
// one side: the longer rows or columns of x, k in number, are rotated until they are orthogonal; a
// warp has a pair. A block's room: k l + k k + k + l + 1 elements, where l is the greater of m, n.
template <class T, int THREADS>
__device__ inline void sn_svd(const T *x, T *u, T *s, T *v, T *room, int64_t batch, int64_t m,
                              int64_t n, int64_t across, int64_t down, int *error, int site) {
  const int64_t k = m < n ? m : n, length = m < n ? n : m, even = k + k % 2;
  T *const rows = room + blockIdx.x * (k * length + k * k + k + length + 1);
  T *const turns = rows + k * length, *const values = turns + k * k, *const part = values + k;
  const T near = sn_real<T>::eps * sn_real<T>::root((T)length);
  const int lane = threadIdx.x % 32;
  __shared__ int rotated;
  SN_MATRICES(b, batch) {
    const T *const from = x + b * m * n;
    const T most = sn_greatest<T, THREADS>(from, m * n, 1);
    const bool finite = most <= sn_real<T>::greatest;
    const T scale = most != 0 && finite ? most : 1;
    if (!finite) sn_fail(error, site);
    SN_SHARE(e, 0, k * length) {
      const int64_t j = e / length, i = e % length;
      rows[e] = (m < n ? from[j * n + i] : from[i * n + j]) / scale;
    }
    SN_SHARE(e, 0, k * k) turns[e] = e / k == e % k;
    int sweep = 0;
    for (; sweep < sn_sweeps && finite; ++sweep) {
      if (threadIdx.x == 0) rotated = 0;
      for (int64_t round = 0; round < even - 1; ++round) {
        __syncthreads();
        for (int64_t i = threadIdx.x / 32; i < even / 2; i += THREADS / 32) {
          int64_t p, q;
          sn_pair(i, round, even, p, q);
          if (q >= k) continue;
          T *const one = rows + p * length, *const two = rows + q * length;
          T a = 0, d = 0, g = 0;
          for (int64_t e = lane; e < length; e += 32) {
            a += one[e] * one[e];
            d += two[e] * two[e];
            g += one[e] * two[e];
          }
          a = sn_reduce<sn_sum<T>, 32>(a);
          d = sn_reduce<sn_sum<T>, 32>(d);
          g = sn_reduce<sn_sum<T>, 32>(g);
          if (sn_magnitude(g) <= near * sn_real<T>::root(a) * sn_real<T>::root(d)) continue;
          T c, t;
          sn_rotation(a, d, g, c, t);
          atomicCAS(&rotated, 0, 1);
          for (int64_t e = lane; e < length; e += 32) {
            const T old = one[e];
            one[e] = c * old - t * two[e];
            two[e] = t * old + c * two[e];
          }
          for (int64_t e = lane; e < k; e += 32) {
            const T old = turns[p * k + e];
            turns[p * k + e] = c * old - t * turns[q * k + e];
            turns[q * k + e] = t * old + c * turns[q * k + e];
          }
        }
      }
      __syncthreads();
      const int again = rotated;
      __syncthreads();
      if (!again) break;
    }
    if (sweep == sn_sweeps) sn_fail(error, site);
    __syncthreads();
    T there = 0;
    SN_SHARE(j, 0, k) {
      T squares = 0;
      for (int64_t i = 0; i < length; ++i) squares += rows[j * length + i] * rows[j * length + i];
      values[j] = sn_real<T>::root(squares);
      there += values[j] > 0;
    }
    const int64_t known = (int64_t)sn_reduce<sn_sum<T>, THREADS>(there);
    // the vectors of the longer side, and of the shorter one
    T *const longer = m < n ? v + b * down * n : u + b * m * across;
    T *const shorter = m < n ? u + b * m * across : v + b * down * n;
    const int64_t step = m < n ? 1 : across, apart = m < n ? n : 1;
    const int64_t step2 = m < n ? across : 1, apart2 = m < n ? 1 : n;
    SN_SHARE(j, 0, k) {
      const T value = values[j];
      int64_t place = 0;
      for (int64_t i = 0; i < k; ++i) place += values[i] > value || (values[i] == value && i < j);
      s[b * k + place] = value * scale;
      for (int64_t i = 0; i < length && value > 0; ++i)
        longer[place * apart + i * step] = rows[j * length + i] / value;
      for (int64_t i = 0; i < k; ++i) shorter[place * apart2 + i * step2] = turns[j * k + i];
    }
    sn_complete<T, THREADS>(longer, known, m < n ? down : across, length, step, apart, part);
  }
}

#endif  // STATICNET_LINALG_CUH
