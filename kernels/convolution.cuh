// Convolution and its gradients: a block computes a tile of rows and columns of the result, and reads
// what meets in it from where it lies, as `convolution_places.cuh` tells. Each sum has an order that
// the shape decides. Included after that and mma.cuh.

#ifndef STATICNET_CONVOLUTION_CUH
#define STATICNET_CONVOLUTION_CUH

// How a block multiplies tiles a [ROWS, depth] and b [COLUMNS, depth] that lie in shared memory,
// `stride` elements a line; a thread has `count` sums, of which `place` tells row and column.

// By matrix units: a warp has a tile of WARP_ROWS by WARP_COLUMNS.
template <class X, int ROWS, int COLUMNS, int WARP_ROWS, int WARP_COLUMNS>
struct sn_by_units {
  typedef typename X::memory element;
  typedef float sum;
  typedef sn_pack<unsigned, 4> held;  // what shared memory is made of
  enum {
    rows = ROWS,
    columns = COLUMNS,
    words = 16,  // deep; 4 more in memory, so that the lanes of a warp read from all banks
    pitch = words + 4,
    depth = words * 4 / sizeof(element),
    stride = pitch * 4 / sizeof(element),
    across = COLUMNS / WARP_COLUMNS,
    threads = ROWS / WARP_ROWS * across * 32,
    down = WARP_ROWS / 16,
    beside = WARP_COLUMNS / 8,
    count = down * beside * 4,
  };
  __device__ static element as_element(element x) {
    if constexpr (sizeof(element) == 4)
      return sn_as_tf32(x);
    else
      return x;
  }
  __device__ static void multiply(sum *sums, const element *a, const element *b) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const unsigned *x =
        (const unsigned *)a + (warp / across * WARP_ROWS + lane / 4) * pitch + lane % 4;
    const unsigned *y =
        (const unsigned *)b + (warp % across * WARP_COLUMNS + lane / 4) * pitch + lane % 4;
#pragma unroll
    for (int word = 0; word < words; word += 8) {
      unsigned left[down][4], right[beside][2];
#pragma unroll
      for (int i = 0; i < down; ++i)
#pragma unroll
        for (int r = 0; r < 4; ++r)
          left[i][r] = x[(i * 16 + r % 2 * 8) * pitch + word + r / 2 * 4];
#pragma unroll
      for (int j = 0; j < beside; ++j)
#pragma unroll
        for (int r = 0; r < 2; ++r) right[j][r] = y[j * 8 * pitch + word + r * 4];
#pragma unroll
      for (int i = 0; i < down; ++i)
#pragma unroll
        for (int j = 0; j < beside; ++j) sn_mma<X>(sums + (i * beside + j) * 4, left[i], right[j]);
    }
  }
  __device__ static void place(int number, int &row, int &column) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int i = number / 4 / beside, j = number / 4 % beside;
    row = warp / across * WARP_ROWS + i * 16 + number % 4 / 2 * 8 + lane / 4;
    column = warp % across * WARP_COLUMNS + j * 8 + lane % 4 * 2 + number % 2;
  }
};

// By multiply-adds: a thread has 4 rows and 4 columns, each 16 apart.
template <class X>
struct sn_by_threads {
  typedef typename X::value element;
  typedef element sum, held;
  enum { rows = 64, columns = 64, depth = 16, stride = depth + 1, threads = 256, count = 16 };
  __device__ static element as_element(typename X::memory x) { return X::load(x); }
  __device__ static void multiply(sum *sums, const element *a, const element *b) {
    const element *x = a + threadIdx.x / 16 * stride, *y = b + threadIdx.x % 16 * stride;
    for (int l = 0; l < depth; ++l)
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          const element left = x[16 * i * stride + l], right = y[16 * j * stride + l];
          if constexpr (sizeof(sum) == 8)
            sums[4 * i + j] = sn_fma_f64(left, right, sums[4 * i + j]);
          else
            sums[4 * i + j] = sn_fma_f32(left, right, sums[4 * i + j]);
        }
  }
  __device__ static void place(int number, int &row, int &column) {
    row = threadIdx.x / 16 + number / 4 * 16;
    column = threadIdx.x % 16 + number % 4 * 16;
  }
};

// How threads share the reading of an operand's tile: neighbours take elements that follow each
// other in depth, or else along its rows, PACK at a time, of which all or none are inside.
template <class X, class Method, int ROWS, bool DEEP, int PACK>
struct sn_reader {
  typedef typename X::memory memory;
  enum {
    packs = ROWS * Method::depth / PACK,
    each = (packs + Method::threads - 1) / Method::threads,
    beside = (DEEP ? (int)Method::depth : ROWS) / PACK,
  };
  sn_pack<memory, PACK> held[each];

  __device__ static void place(int number, int &row, int &deep) {
    const int i = number % beside * PACK, j = number / beside;
    row = DEEP ? j : i;
    deep = DEEP ? i : j;
  }
  template <bool CHECKED, bool IS_A>
  __device__ void fetch(const memory *from, const sn_line *lines, const sn_depth *depths,
                        const int64_t *limit) {
#pragma unroll
    for (int i = 0; i < each; ++i) {
      const int number = threadIdx.x + i * Method::threads;
      int row, deep;
      place(number, row, deep);
      bool inside = packs % Method::threads == 0 || number < packs;
      if (!inside) row = deep = 0;
      const sn_line &line = lines[row];
      const sn_depth &d = depths[deep];
#pragma unroll
      for (int axis = 0; axis < 3; ++axis) {
        const int at = line.c[axis] + d.c[axis];
        if (CHECKED)
          inside = inside && at >= 0 && at < limit[axis];
        else  // a line or a depth that is not there
          inside = inside && line.c[0] > sn_nowhere / 2 && d.c[0] > sn_nowhere / 2;
      }
#pragma unroll
      for (int v = 0; v < PACK; ++v) held[i].v[v] = 0;
      if (inside) held[i] = sn_read<PACK>(from + line.at + (IS_A ? d.a : d.b));
    }
  }
  __device__ void put(typename Method::element *tile) const {
#pragma unroll
    for (int i = 0; i < each; ++i) {
      const int number = threadIdx.x + i * Method::threads;
      int row, deep;
      place(number, row, deep);
      if (packs % Method::threads && number >= packs) continue;
      typename Method::element *const to = tile + row * Method::stride + deep;
      sn_pack<typename Method::element, PACK> made;
#pragma unroll
      for (int v = 0; v < PACK; ++v) made.v[v] = Method::as_element(held[i].v[v]);
      if constexpr (DEEP && Method::stride % PACK == 0)
        sn_write(to, made);
      else
#pragma unroll
        for (int v = 0; v < PACK; ++v) to[v * (DEEP ? 1 : (int)Method::stride)] = made.v[v];
    }
  }
};

// What follows a sum of a channel before it is stored at a place: times a number of the channel, plus
// another, plus what lies beside, where HOW has 1, 2, 4; then relu where it has 8; or where it has 16 or
// 32 what a mask, or numbers above 0 beside it, say.
struct sn_as_is {
  template <class V>
  __device__ V operator()(V sum, int64_t, int64_t) const {
    return sum;
  }
  __device__ int64_t channel(int64_t) const { return 0; }
  __device__ int64_t first_of(int64_t) const { return 0; }
};
template <class X, class S, int HOW>
struct sn_after {
  typedef typename X::value V;
  const typename S::memory *scale, *shift;
  const typename X::memory *beside;
  const unsigned char *mask;
  const typename X::memory *gate;
  int64_t step, channels;  // between two channels, and how many there are
  __device__ V operator()(V sum, int64_t place, int64_t channel) const {
    if constexpr (HOW & 1) sum = sum * (V)S::load(scale[channel]);
    if constexpr (HOW & 2) sum = sum + (V)S::load(shift[channel]);
    if constexpr (HOW & 4) sum = sum + X::load(beside[place]);
    if constexpr (HOW & 8) sum = sum <= 0 ? 0 : sum;
    if constexpr (HOW & 16) sum = mask[place] ? sum : 0;
    if constexpr (HOW & 32) sum = X::load(gate[place]) > 0 ? sum : 0;
    return sum;
  }
  __device__ int64_t channel(int64_t place) const {
    if (!(HOW & 3)) return 0;
    const int64_t first = first_of(place);
    return first - sn_quotient(first, channels) * channels;
  }
  // The channel of whose elements one lies there that has zeros for all other coordinates.
  __device__ int64_t first_of(int64_t place) const { return step == 1 ? place : place / step; }
};

// A block a tile of the result. Of a depth cut into `parts`, each part's sums go to `partial`, one
// after the other as the result's elements lie.
template <class X, class Form, class Method, bool A_DEEP, int A_PACK, bool B_DEEP, int B_PACK,
          class After = sn_as_is>
__device__ inline void sn_convolve(const sn_convolution_sizes &c,
                                   const typename X::memory *a, const typename X::memory *b,
                                   typename X::memory *z, typename Method::sum *partial,
                                   int64_t phases, int64_t row_tiles, int64_t column_tiles,
                                   int64_t parts, int64_t elements,
                                   const After &after = After()) {
  enum { rows = Method::rows, columns = Method::columns };
  typedef typename Method::element element;
  __shared__ typename Method::held
      tiles[(rows + columns) * Method::stride * sizeof(element) / sizeof(typename Method::held)];
  __shared__ sn_line row_lines[rows], column_lines[columns];
  __shared__ int64_t row_places[rows], column_places[columns];
  __shared__ sn_depth depths[2][Method::depth];
  element *const left = (element *)tiles, *const right = left + rows * Method::stride;
  const int64_t blocks = c.groups * phases * row_tiles * column_tiles * parts;
  for (int64_t block = blockIdx.x; block < blocks; block += gridDim.x) {
    int64_t rest = block;
    const int64_t column_tile = rest % column_tiles;
    rest /= column_tiles;
    const int64_t row_tile = rest % row_tiles;
    rest /= row_tiles;
    const int64_t part = rest % parts;
    rest /= parts;
    const Form form(c, rest / phases, rest % phases);
    if (row_tile * rows >= form.rows) continue;  // all of the block
    for (int i = threadIdx.x; i < rows; i += Method::threads) {
      const int64_t row = row_tile * rows + i;
      row_lines[i] = {0, {sn_nowhere, sn_nowhere, sn_nowhere}};
      row_places[i] = -1;
      if (row < form.rows) form.row(row, row_lines[i], row_places[i]);
    }
    for (int i = threadIdx.x; i < columns; i += Method::threads) {
      const int64_t column = column_tile * columns + i;
      column_lines[i] = {0, {sn_nowhere, sn_nowhere, sn_nowhere}};
      column_places[i] = -1;
      if (column < form.columns) form.column(column, column_lines[i], column_places[i]);
    }
    // the tiles of the depth that are this part's
    const int64_t all = (form.deep + Method::depth - 1) / Method::depth;
    const int64_t each = (all + parts - 1) / parts;
    const int64_t first = part * each, last = first + each < all ? first + each : all;
    sn_reader<X, Method, rows, A_DEEP, A_PACK> from_a;
    sn_reader<X, Method, columns, B_DEEP, B_PACK> from_b;
    typename Method::sum sums[Method::count];
#pragma unroll
    for (int i = 0; i < Method::count; ++i) sums[i] = 0;
    for (int64_t tile = first - 1; tile < last; ++tile) {  // what it multiplies was read before
      if (tile >= first) {
        from_a.put(left);
        from_b.put(right);
      }
      sn_depth *const next = depths[(tile + 1) & 1];
      for (int i = threadIdx.x; i < Method::depth; i += Method::threads) {
        const int64_t number = (tile + 1) * Method::depth + i;
        next[i] = {0, 0, {sn_nowhere, sn_nowhere, sn_nowhere}};
        if (number < form.deep) form.depth(number, next[i]);
      }
      __syncthreads();
      if (tile + 1 < last) {
        from_a.template fetch<Form::in_a, true>(a + form.a, row_lines, next, form.limit);
        from_b.template fetch<!Form::in_a, false>(b + form.b, column_lines, next, form.limit);
      }
      if (tile >= first) Method::multiply(sums, left, right);
      __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < Method::count; ++i) {
      int row, column;
      Method::place(i, row, column);
      if (row_places[row] < 0 || column_places[column] < 0) continue;
      const int64_t to = form.z + row_places[row] + column_places[column];
      if (parts > 1)
        partial[part * elements + to] = sums[i];
      else
        z[to] = X::store(after(sums[i], to, after.first_of(form.z + column_places[column])));
    }
    __syncthreads();  // before the lines are another tile's
  }
}

// What follows, of a result that is there without it, and so was rounded before: of halves, no scale.
template <class X, class After>
__device__ inline void sn_finish(typename X::memory *z, int64_t elements, const After &after) {
  SN_EACH(i, elements) z[i] = X::store(after(X::load(z[i]), i, after.channel(i)));
}

// The sums of the parts of a depth, in order.
template <class X, class After = sn_as_is>
__device__ inline void sn_sum_parts(const typename X::value *partial, typename X::memory *z,
                                    int64_t parts, int64_t elements,
                                    const After &after = After()) {
  SN_EACH(i, elements) {
    typename X::value sum = partial[i];
    for (int64_t part = 1; part < parts; ++part) sum += partial[part * elements + i];
    z[i] = X::store(after(sum, i, after.channel(i)));
  }
}

// Weights [o, i, k] as [o, k, i]: `elements` are those of all o and i, `places` those of k.
template <class T>
__device__ inline void sn_turn_weights(const T *w, T *turned, int64_t elements, int64_t inputs,
                                       int64_t places) {
  SN_EACH(number, elements) {
    const int64_t o = sn_quotient(number, inputs), i = number - o * inputs;
    for (int64_t k = 0; k < places; ++k)
      turned[(o * places + k) * inputs + i] = w[number * places + k];
  }
}

// An element of the result for each LANES threads: for groups too narrow for tiles.
template <class X, class Form, int LANES, class After = sn_as_is>
__device__ inline void sn_convolve_each(const sn_convolution_sizes &c,
                                        const typename X::memory *a,
                                        const typename X::memory *b, typename X::memory *z,
                                        int64_t phases, int64_t rows,
                                        const After &after = After()) {
  const int64_t columns = Form(c, 0, 0).columns, beside = blockDim.x / LANES;
  const int64_t all = c.groups * phases * rows * columns;
  for (int64_t number = blockIdx.x * beside + threadIdx.x / LANES; number < all;
       number += gridDim.x * beside) {
    // neighbours are channels if those lie side by side, else places
    const bool last = c.y[1] == 1;
    int64_t rest = last ? number / c.groups : number;
    const int64_t column = rest % columns;
    rest /= columns;
    const int64_t row = rest % rows;
    rest /= rows;
    const int64_t phase = rest % phases, group = last ? number % c.groups : rest / phases;
    const Form form(c, group, phase);
    if (row >= form.rows) continue;  // all of the lanes
    sn_line from_a, from_b;
    int64_t to_row, to_column;
    form.row(row, from_a, to_row);
    form.column(column, from_b, to_column);
    const sn_line &edge = Form::in_a ? from_a : from_b;
    typename X::value sum = 0;
    for (int64_t l = threadIdx.x % LANES; l < form.deep; l += LANES) {
      sn_depth d;
      form.depth(l, d);
      bool inside = true;
      for (int axis = 0; axis < 3; ++axis) {
        const int64_t at = (int64_t)edge.c[axis] + d.c[axis];
        inside = inside && at >= 0 && at < form.limit[axis];
      }
      if (inside)
        sum += X::load(a[form.a + from_a.at + d.a]) * X::load(b[form.b + from_b.at + d.b]);
    }
    if constexpr (LANES > 1) sum = sn_reduce<sn_sum<typename X::value>, LANES>(sum);
    if (threadIdx.x % LANES == 0) {
      const int64_t to = form.z + to_row + to_column;
      z[to] = X::store(after(sum, to, after.first_of(form.z + to_column)));
    }
  }
}

#endif  // STATICNET_CONVOLUTION_CUH
