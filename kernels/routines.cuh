// Routines that are no loop nest of elements: copies, scans, scatters, sorts, arg-extrema, products
// of types that no library multiplies. Included after reduce.cuh.
//
// An array around an axis is [before, n, after]; a line is one pair of the two outer numbers.
// X, Y are of the types sn_of_<dtype>.

#ifndef STATICNET_ROUTINES_CUH
#define STATICNET_ROUTINES_CUH

#define SN_EACH(i, count)                                                                       \
  for (int64_t i = blockIdx.x * (int64_t)blockDim.x + threadIdx.x; i < (count);                 \
       i += (int64_t)gridDim.x * blockDim.x)

__device__ inline void sn_copy(const unsigned char *from, unsigned char *to, int64_t bytes) {
  SN_EACH(i, bytes / 16) sn_write<16>(to + 16 * i, sn_read<16>(from + 16 * i));
  SN_EACH(i, bytes % 16) to[bytes / 16 * 16 + i] = from[bytes / 16 * 16 + i];
}

// Running sums or products: a thread a line.
template <class X, class Op>
__device__ inline void sn_scan_lines(const typename X::memory *x, typename X::memory *y,
                                     int64_t before, int64_t n, int64_t after,
                                     typename X::value total) {
  SN_EACH(line, before * after) {
    const int64_t first = line / after * n * after + line % after;
    typename X::value sum = total;
    for (int64_t i = 0; i < n; ++i) {
      sum = Op::of(sum, X::load(x[first + i * after]));
      y[first + i * after] = X::store(sum);
    }
  }
}

// The same, a block a line: in turn each of its parts as long as the block.
template <class X, class Op, int THREADS>
__device__ inline void sn_scan_blocks(const typename X::memory *x, typename X::memory *y,
                                      int64_t before, int64_t n, int64_t after,
                                      typename X::value start) {
  typedef typename X::value T;
  __shared__ T sums[THREADS];
  const int me = threadIdx.x;
  for (int64_t line = blockIdx.x; line < before * after; line += gridDim.x) {
    const int64_t first = line / after * n * after + line % after;
    T total = start;
    for (int64_t i = me; i - me < n; i += THREADS) {
      sums[me] = i < n ? X::load(x[first + i * after]) : start;
      for (int distance = 1; distance < THREADS; distance *= 2) {
        __syncthreads();
        const T mine = sums[me], other = me < distance ? start : sums[me - distance];
        __syncthreads();
        sums[me] = me < distance ? mine : Op::of(other, mine);
      }
      __syncthreads();
      if (i < n) y[first + i * after] = X::store(Op::of(total, sums[me]));
      total = Op::of(total, sums[THREADS - 1]);
      __syncthreads();
    }
  }
}

// y[b, indices[j], a] += updates[b, j, a] in the order of j, so that no sum depends on chance. A
// block has some of the n rows of one b, and each thread its own columns a: it alone adds to them.
template <class X, class I, int THREADS, int ROWS>
__device__ inline void sn_scatter_rows(const typename X::memory *updates,
                                       const typename I::memory *indices, typename X::memory *y,
                                       int64_t before, int64_t n, int64_t after, int64_t count,
                                       int *error, int site) {
  __shared__ int64_t found[THREADS];
  const int64_t tiles = n > ROWS ? (n + ROWS - 1) / ROWS : 1;
  for (int64_t tile = blockIdx.x; tile < before * tiles; tile += gridDim.x) {
    const int64_t b = tile / tiles, low = tile % tiles * ROWS;
    const int64_t high = low + ROWS < n ? low + ROWS : n;
    for (int64_t start = 0; start < count; start += THREADS) {
      const int64_t here = start + threadIdx.x;
      __syncthreads();
      if (here < count) found[threadIdx.x] = sn_index(indices[here], n, error, site);
      __syncthreads();
      for (int k = 0; k < THREADS && start + k < count; ++k) {
        if (found[k] < low || found[k] >= high) continue;
        typename X::memory *to = y + (b * n + found[k]) * after;
        const typename X::memory *from = updates + (b * count + start + k) * after;
        for (int64_t a = threadIdx.x; a < after; a += THREADS)
          to[a] = X::store(X::load(to[a]) + X::load(from[a]));
      }
    }
  }
}

// The same, a thread an element of y: for rows too short to share.
template <class X, class I>
__device__ inline void sn_scatter_elements(const typename X::memory *updates,
                                           const typename I::memory *indices,
                                           typename X::memory *y, int64_t before, int64_t n,
                                           int64_t after, int64_t count, int *error, int site) {
  SN_EACH(place, before * n * after) {
    const int64_t b = place / after / n, i = place / after % n, a = place % after;
    typename X::value sum = X::load(y[place]);
    for (int64_t j = 0; j < count; ++j)
      if (sn_index(indices[j], n, error, site) == i)
        sum = X::load(X::store(sum + X::load(updates[(b * count + j) * after + a])));
    y[place] = X::store(sum);
  }
}

// y[b, indices[b, j, a], a] += updates[b, j, a] in the order of j, a thread a line.
template <class X, class I>
__device__ inline void sn_scatter_lines(const typename X::memory *updates,
                                        const typename I::memory *indices, typename X::memory *y,
                                        int64_t before, int64_t n, int64_t after, int64_t count,
                                        int *error, int site) {
  SN_EACH(line, before * after) {
    const int64_t b = line / after, a = line % after;
    for (int64_t j = 0; j < count; ++j) {
      const int64_t from = (b * count + j) * after + a;
      const int64_t i = sn_index(indices[from], n, error, site);
      typename X::memory *to = y + (b * n + i) * after + a;
      if (n > 0) *to = X::store(X::load(*to) + X::load(updates[from]));
    }
  }
}

// Whether x comes before y; NaN is greatest.
template <class T>
__device__ inline bool sn_before(T x, T y, bool descending) {
  const bool xn = x != x, yn = y != y;
  if (descending) return xn || yn ? xn > yn : x > y;
  return xn || yn ? xn < yn : x < y;
}

// One pass of a stable merge sort of places: runs of `width` in `from` become runs of twice that in
// `to`. Each place finds its own in the merged run: as many as are before it in its run, and in the
// other by bisection. The first pass numbers the places itself. Lines lie one after the other in
// `from` and `to`, and in y, if it is there, around the axis.
template <class X>
__device__ inline void sn_merge_pass(const typename X::memory *x, const int64_t *from, int64_t *to,
                                     int64_t before, int64_t n, int64_t after, int64_t width,
                                     bool descending) {
  SN_EACH(place, before * after * n) {
    const int64_t line = place / n, i = place % n;
    const typename X::memory *keys = x + line / after * n * after + line % after;
    const int64_t low = i / (2 * width) * (2 * width), middle = low + width < n ? low + width : n;
    const int64_t high = low + 2 * width < n ? low + 2 * width : n;
    const bool right = i >= middle;
    const int64_t mine = width == 1 ? i : from[line * n + i];
    const typename X::value key = X::load(keys[mine * after]);
    int64_t first = right ? low : middle, last = right ? middle : high;
    const int64_t start = first;
    while (first < last) {
      const int64_t half = (first + last) / 2;
      const int64_t place_there = width == 1 ? half : from[line * n + half];
      const typename X::value other = X::load(keys[place_there * after]);
      const bool precedes = right ? !sn_before(key, other, descending)
                                  : sn_before(other, key, descending);
      if (precedes)
        first = half + 1;
      else
        last = half;
    }
    to[line * n + low + (right ? i - middle : i - low) + (first - start)] = mine;
  }
}

// y[b, i, a] = from[line (b, a), i].
__device__ inline void sn_unline(const int64_t *from, int64_t *y, int64_t before, int64_t n,
                                 int64_t after) {
  SN_EACH(place, before * n * after) {
    const int64_t b = place / after / n, i = place / after % n, a = place % after;
    y[place] = from ? from[(b * after + a) * n + i] : i;
  }
}

// The first place of the greatest (or least) element of each line, or of its first NaN.
template <class X, bool GREATEST, int THREADS>
__device__ inline void sn_extremum(const typename X::memory *x, int64_t *y, int64_t before,
                                   int64_t n, int64_t after) {
  typedef typename X::value T;
  const int64_t group = blockIdx.x * (int64_t)(blockDim.x / THREADS) + threadIdx.x / THREADS;
  const int64_t groups = gridDim.x * (int64_t)(blockDim.x / THREADS);
  for (int64_t line = group; line < before * after; line += groups) {
    const int64_t first = line / after * n * after + line % after;
    int64_t place = threadIdx.x % THREADS;
    place = place < n ? place : 0;
    T best = X::load(x[first + place * after]);
    for (int64_t i = place + THREADS; i < n; i += THREADS) {
      const T value = X::load(x[first + i * after]);
      if (best == best && ((GREATEST ? value > best : value < best) || value != value)) {
        best = value;
        place = i;
      }
    }
    for (int distance = THREADS / 2; distance; distance /= 2) {
      const T value = sn_swap(sn_lanes<THREADS>(), best, distance);
      const int64_t other = sn_swap(sn_lanes<THREADS>(), place, distance);
      const bool equal = value == best || (value != value && best != best);
      const bool beats = best == best && ((GREATEST ? value > best : value < best) || value != value);
      if (equal ? other < place : beats) {
        best = value;
        place = other;
      }
    }
    if (threadIdx.x % THREADS == 0) y[line] = place;
  }
}

// z = activation(x y + bias) for stacks of matrices with any strides, a thread an element.
// ACTIVATION: 0 none, 1 relu, 2 gelu (the tanh form).
template <class X, int ACTIVATION>
__device__ inline void sn_product(const typename X::memory *x, const typename X::memory *y,
                                  const typename X::memory *bias, typename X::memory *z, int64_t m,
                                  int64_t n, int64_t k, int64_t xr, int64_t xc, int64_t yr,
                                  int64_t yc) {
  typedef typename X::value T;
  SN_EACH(place, m * n) {
    const int64_t i = place / n, j = place % n;
    T sum = 0;
    for (int64_t l = 0; l < k; ++l)
      sum = (T)(sum + X::load(x[i * xr + l * xc]) * X::load(y[l * yr + j * yc]));
    if (bias) sum = (T)(sum + X::load(bias[j]));
    if (ACTIVATION == 1) sum = sum < (T)0 ? (T)0 : sum;
    if constexpr (ACTIVATION == 2) {
      const double u = sum, scaled = 1.5957691216057308 * (u + 0.044715 * (u * u * u));
      sum = (T)(u * sn_sigmoid_f64(scaled));
    }
    z[place] = X::store(sum);
  }
}

#endif  // STATICNET_ROUTINES_CUH
