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
  const int aligned = (((uint64_t)from | (uint64_t)to) & 15) == 0;  // an element of a stack need not be
  const int64_t packs = aligned ? bytes / 16 : 0;
  SN_EACH(i, packs) sn_write<16>(to + 16 * i, sn_read<16>(from + 16 * i));
  SN_EACH(i, bytes - packs * 16) to[packs * 16 + i] = from[packs * 16 + i];
}

// Arrays one after the other: of each of `before` rows of y, from its beginning, part k has the
// elements from end[k] to end[k + 1], and in its own memory they lie step[k] apart.
template <class T>
__device__ inline void sn_concat(const T *const *part, const int64_t *step, const int64_t *end,
                                 int parts, T *y, int64_t before, int64_t row) {
  SN_EACH(i, before * end[parts]) {
    const int64_t b = i / end[parts], e = i % end[parts];
    int k = 0;
    for (int above = parts; above - k > 1;) {
      const int middle = (k + above) / 2;
      if (e < end[middle])
        above = middle;
      else
        k = middle;
    }
    y[b * row + e] = part[k][b * step[k] + e - end[k]];
  }
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
// The threads look at THREADS indices at a time; most are of other blocks.
template <class X, class I, int THREADS, int ROWS>
__device__ inline void sn_scatter_rows(const typename X::memory *updates,
                                       const typename I::memory *indices, typename X::memory *y,
                                       int64_t before, int64_t n, int64_t after, int64_t count,
                                       int *error, int site) {
  __shared__ int64_t row[THREADS];
  __shared__ unsigned ours[THREADS / 32];
  const int64_t tiles = n > ROWS ? (n + ROWS - 1) / ROWS : 1;
  for (int64_t tile = blockIdx.x; tile < before * tiles; tile += gridDim.x) {
    const int64_t b = tile / tiles, low = tile % tiles * ROWS;
    const int64_t high = low + ROWS < n ? low + ROWS : n;
    for (int64_t start = 0; start < count; start += THREADS) {
      const int64_t j = start + threadIdx.x;
      const int64_t i = j < count ? sn_index(indices[j], n, error, site) : -1;
      const unsigned lanes = __ballot_sync(0xffffffffu, i >= low && i < high);
      row[threadIdx.x] = i;
      if (threadIdx.x % 32 == 0) ours[threadIdx.x / 32] = lanes;
      __syncthreads();
      for (int warp = 0; warp < THREADS / 32; ++warp) {
        for (unsigned left = ours[warp]; left; left &= left - 1) {
          const int k = warp * 32 + sn_lowest_bit(left);
          typename X::memory *to = y + (b * n + row[k]) * after;
          const typename X::memory *from = updates + (b * count + start + k) * after;
          for (int64_t a = threadIdx.x; a < after; a += THREADS)
            to[a] = X::store(X::load(to[a]) + X::load(from[a]));
        }
      }
      __syncthreads();
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
        sum += X::load(updates[(b * count + j) * after + a]);
    y[place] = X::store(sum);
  }
}

// y[b, indices[b, j, a], a] combined with updates[b, j, a] in the order of j, a thread a line.
template <class X, class I, class Op>
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
      if (n > 0) *to = X::store(Op::of(X::load(*to), X::load(updates[from])));
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

// y[b, i, a] = from[line (b, a), i], of i below count.
__device__ inline void sn_unline(const int64_t *from, int64_t *y, int64_t before, int64_t n,
                                 int64_t after, int64_t count) {
  SN_EACH(place, before * count * after) {
    const int64_t b = place / after / count, i = place / after % count, a = place % after;
    y[place] = from ? from[(b * after + a) * n + i] : i;
  }
}

// Whether an element at a place is rather the extremum than another one: NaN is, then the greater
// (or less) one, then the first.
template <bool GREATEST, class T>
__device__ inline bool sn_beats(T x, int64_t i, T y, int64_t j) {
  const bool xn = x != x, yn = y != y;
  if (xn || yn) return xn == yn ? i < j : xn;
  return x == y ? i < j : GREATEST ? x > y : x < y;
}

// The first place of the greatest (or least) element of each line, or of its first NaN. A line has
// THREADS threads: a power of 2 up to 32, or all of the block.
template <class X, bool GREATEST, int THREADS>
__device__ inline void sn_extremum(const typename X::memory *x, int64_t *y, int64_t before,
                                   int64_t n, int64_t after) {
  typedef typename X::value T;
  constexpr int LANES = THREADS < 32 ? THREADS : 32, WARPS = THREADS / LANES;
  __shared__ T bests[WARPS];
  __shared__ int64_t places[WARPS];
  const int64_t each = blockDim.x / THREADS;
  for (int64_t line = blockIdx.x * each + threadIdx.x / THREADS; line < before * after;
       line += gridDim.x * each) {
    const int64_t first = line / after * n * after + line % after;
    int64_t place = threadIdx.x % THREADS;
    place = place < n ? place : 0;
    T best = X::load(x[first + place * after]);
    for (int64_t i = place + THREADS; i < n; i += THREADS) {
      const T value = X::load(x[first + i * after]);
      if (sn_beats<GREATEST>(value, i, best, place)) {
        best = value;
        place = i;
      }
    }
    for (int distance = LANES / 2; distance; distance /= 2) {
      const T value = sn_swap(sn_lanes<LANES>(), best, distance);
      const int64_t other = sn_swap(sn_lanes<LANES>(), place, distance);
      if (sn_beats<GREATEST>(value, other, best, place)) {
        best = value;
        place = other;
      }
    }
    if constexpr (WARPS > 1) {
      if (threadIdx.x % 32 == 0) {
        bests[threadIdx.x / 32] = best;
        places[threadIdx.x / 32] = place;
      }
      __syncthreads();
      for (int warp = 0; warp < WARPS; ++warp) {
        if (sn_beats<GREATEST>(bests[warp], places[warp], best, place)) {
          best = bests[warp];
          place = places[warp];
        }
      }
      __syncthreads();
    }
    if (threadIdx.x % THREADS == 0) y[line] = place;
  }
}

// ACTIVATION: 0 none, 1 relu, 2 gelu (the tanh form).
template <int ACTIVATION, class T>
__device__ inline T sn_activated(T x) {
  if (ACTIVATION == 1) return x <= (T)0 ? (T)0 : x;
  if constexpr (ACTIVATION == 2) {
    const double u = x, scaled = 1.5957691216057308 * (u + 0.044715 * (u * u * u));
    return (T)(u * sn_sigmoid_f64(scaled));
  }
  return x;
}

// z = activation(x y + bias) for stacks of matrices with any strides, a thread an element.
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
    z[place] = X::store(sn_activated<ACTIVATION>(sum));
  }
}

#endif  // STATICNET_ROUTINES_CUH
