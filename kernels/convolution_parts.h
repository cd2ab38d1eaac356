/* What convolutions of all dtypes share: where the pixels of a band lie and which elements of the
   kernel they need. Included after convolution_sizes.h and vectors.h. */
#ifndef SN_CONVOLUTION_PARTS_H
#define SN_CONVOLUTION_PARTS_H

#include <stdint.h>
#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#define SN_THREAD_NUMBER omp_get_thread_num()
#define SN_THREADS omp_get_max_threads()
#else
#define SN_THREAD_NUMBER 0
#define SN_THREADS 1
#endif

#define SN_LEAST(a, b) ((a) < (b) ? (a) : (b))
#define SN_MOST(a, b) ((a) > (b) ? (a) : (b))
#define SN_INLINE static inline __attribute__((always_inline, unused))
/* Keeps a vector in a register: gcc would read memory again for each multiply-add that takes it. */
#if defined(__GNUC__) && !defined(__clang__) && defined(__AVX2__)
#define SN_LOADED(x) __asm__("" : "+v"(x))
#else
#define SN_LOADED(x) (void)(x)
#endif

/* COUNT lines of a matrix that is turned, if from line i on so many are left; if they are all that the
   result has beside each other, by vectors. */
#define SN_FEW_LINES(COUNT, READ, WRITE)                                                        \
  if (i + COUNT == m && to_step == COUNT) {                                                     \
    _Pragma("GCC ivdep") for (int64_t j = 0; j < n; ++j)                                        \
        _Pragma("GCC unroll 4") for (int u = 0; u < COUNT; ++u)                                 \
            to[j * COUNT + u] = WRITE(READ(from[u * step + j]));                                \
    return;                                                                                     \
  }                                                                                             \
  for (; i + COUNT <= m; i += COUNT)                                                            \
    for (int64_t j = 0; j < n; ++j)                                                             \
      _Pragma("GCC unroll 4") for (int u = 0; u < COUNT; ++u)                                   \
          to[j * to_step + i + u] = WRITE(READ(from[(i + u) * step + j]));

/* One axis of a product. Pixels of the result are first, first + step, …; what one needs begins
   at `from` in the box, and `stride` further for the next. Of the kernel so many taps: tap,
   tap + tap_step, …, each `reach` further in the box. */
typedef struct {
  int64_t first, step, count, from, stride, taps, tap, tap_step, reach;
} sn_axis;

/* A box of a source: so many pixels from `start`, each the `every`th; elements between neighbours
   `along` each axis, and in all for one image. */
typedef struct {
  int64_t start[3], count[3], every[3], along[3], size;
} sn_box;

/* A product's sizes: channels of the source and of the result, their pixels, and how far apart the
   weights of neighbours lie. */
typedef struct {
  int64_t backward, depth, width, source[3], result[3];
  int64_t of_width, of_depth;
  int64_t remainders[3], bands_of_image, bands;
} sn_product_sizes;

/* Some images, and the rows [low, high) of each. */
typedef struct {
  int64_t image, images, low, high;
} sn_band;

static int64_t sn_floor(int64_t a, int64_t b) { return a >= 0 ? a / b : -((b - 1 - a) / b); }
static int64_t sn_gcd(int64_t a, int64_t b) { return b ? sn_gcd(b, a % b) : a; }
static int64_t sn_volume(const int64_t *x) { return x[0] * x[1] * x[2]; }

SN_APART sn_product_sizes sn_sizes(const sn_convolution *v) {
  const int64_t taps = sn_volume(v->kernel), of_output = v->inputs * taps;
  const int64_t backward = v->backward;
  sn_product_sizes p = {.backward = backward};
  p.depth = backward ? v->outputs : v->inputs, p.width = backward ? v->inputs : v->outputs;
  p.of_depth = backward ? of_output : taps, p.of_width = backward ? taps : of_output;
  for (int k = 0; k < 3; ++k) {
    p.source[k] = backward ? v->out[k] : v->size[k];
    p.result[k] = backward ? v->size[k] : v->out[k];
    p.remainders[k] = backward ? v->stride[k] : 1;
  }
  p.bands_of_image = v->rows ? (p.result[0] + v->rows - 1) / v->rows : 1;
  p.bands = v->rows ? v->n * p.bands_of_image : (v->n + v->images - 1) / v->images;
  return p;
}

SN_APART sn_band sn_band_of(const sn_convolution *v, const sn_product_sizes *p, int64_t band) {
  if (v->rows == 0) {
    const int64_t image = band * v->images;
    return (sn_band){image, SN_LEAST(v->images, v->n - image), 0, p->result[0]};
  }
  const int64_t low = band % p->bands_of_image * v->rows;
  return (sn_band){band / p->bands_of_image, 1, low, SN_LEAST(p->result[0], low + v->rows)};
}

/* The box that the rows [low, high) of a result need. */
SN_APART sn_box sn_box_of(const sn_convolution *v, const sn_product_sizes *p, int64_t low,
                          int64_t high) {
  sn_box box;
  for (int k = 0; k < 3; ++k) {
    const int64_t s = v->stride[k], far = (v->kernel[k] - 1) * v->dilation[k];
    const int64_t first = k ? 0 : low, last = (k ? p->result[k] : high) - 1;
    box.every[k] = 1;
    if (p->backward) {
      box.start[k] = sn_floor(first + v->low[k], s) - far / s;
      box.count[k] = sn_floor(last + v->low[k], s) - box.start[k] + 1;
    } else {
      if (far == 0) box.every[k] = s; /* between its pixels lie some that nobody needs */
      box.start[k] = first * s - v->low[k];
      box.count[k] = ((last - first) * s + far) / box.every[k] + 1;
    }
  }
  box.along[2] = p->depth;
  box.along[1] = box.count[2] * box.along[2];
  box.along[0] = box.count[1] * box.along[1];
  box.size = box.count[0] * box.along[0];
  return box;
}

/* The pixels [low, high) along axis k of a result whose place has the remainder r. */
SN_APART sn_axis sn_axis_of(const sn_convolution *v, const sn_product_sizes *p, const sn_box *box,
                            int k, int64_t low, int64_t high, int64_t r) {
  const int64_t s = v->stride[k], d = v->dilation[k], taps = v->kernel[k];
  if (!p->backward)
    return (sn_axis){low, 1, high - low, (low * s - v->low[k] - box->start[k]) / box->every[k],
                     s / box->every[k], taps, 0, 1, d};
  const int64_t q = sn_floor(low + v->low[k] - r + s - 1, s);
  const int64_t end = sn_floor(high - 1 + v->low[k] - r, s);
  const int64_t tap_step = s / sn_gcd(s, d), reach = d / sn_gcd(s, d);
  int64_t tap = 0;
  while (tap < taps && tap * d % s != r) ++tap;
  const int64_t some = tap < taps ? (taps - 1 - tap) / tap_step + 1 : 0;
  const int64_t last = tap + (some - 1) * tap_step; /* the furthest back is first in the box */
  sn_axis axis = {.first = q * s + r - v->low[k], .step = s, .stride = 1, .taps = some};
  axis.count = SN_MOST(0, end - q + 1), axis.tap = last, axis.tap_step = -tap_step;
  axis.reach = reach, axis.from = some ? q - box->start[k] - (last * d - r) / s : 0;
  return axis;
}

/* The axes of a band's pixels, those of remainder r of all. */
SN_APART void sn_axes_of(const sn_convolution *v, const sn_product_sizes *p, const sn_box *box,
                         int64_t low, int64_t high, int64_t r, sn_axis *axis) {
  for (int k = 2; k >= 0; r /= p->remainders[k--])
    axis[k] = sn_axis_of(v, p, box, k, k ? 0 : low, k ? p->result[k] : high, r % p->remainders[k]);
}

/* Where the pixel of x lies in its plane that each pixel of y has, of one tap and no padding; after
   them, where the plane ends. */
SN_APART void sn_places(const sn_convolution *v, int64_t *where) {
  const int64_t *const s = v->stride;
  for (int64_t a = 0; a < v->out[0]; ++a)
    for (int64_t b = 0; b < v->out[1]; ++b)
      for (int64_t c = 0; c < v->out[2]; ++c)
        *where++ = (a * s[0] * v->size[1] + b * s[1]) * v->size[2] + c * s[2];
  *where = sn_volume(v->size);
}

static int64_t sn_taps(const sn_axis *axis) { return axis[0].taps * axis[1].taps * axis[2].taps; }

/* Which element of the kernel tap t of the axes is. */
static int64_t sn_tap_of(const sn_convolution *v, const sn_axis *axis, int64_t t) {
  const int64_t a = t / axis[2].taps / axis[1].taps, b = t / axis[2].taps % axis[1].taps;
  const int64_t x = axis[0].tap + a * axis[0].tap_step, y = axis[1].tap + b * axis[1].tap_step;
  return (x * v->kernel[1] + y) * v->kernel[2] + axis[2].tap + t % axis[2].taps * axis[2].tap_step;
}

/* Where the runs of a product begin, after the first; -> how many, and the length of each */
SN_APART int64_t sn_runs(const sn_axis *axis, const sn_box *box, int64_t depth, int64_t *offset,
                         int64_t *length) {
  int merged = 3;
  int64_t runs = 1;
  *length = depth;
  for (int k = 2; k >= 0; --k) {
    if (axis[k].taps > 1 && axis[k].reach * box->along[k] != *length) break;
    *length *= axis[k].taps;
    merged = k;
  }
  offset[0] = 0;
  for (int k = 0; k < merged; runs *= axis[k++].taps)
    for (int64_t r = runs; r-- > 0;)
      for (int64_t t = axis[k].taps; t-- > 0;)
        offset[r * axis[k].taps + t] = offset[r] + t * axis[k].reach * box->along[k];
  return runs;
}

/* A convolution of `single` groups as one whose groups are its channels. */
static sn_convolution sn_one_group(const sn_convolution *v) {
  sn_convolution one = *v;
  one.groups = 1, one.inputs = one.outputs = v->groups;
  return one;
}

/* Where the taps of a product begin, after the first; -> how many, each one run of length 1 */
SN_APART int64_t sn_offsets(const sn_axis *axis, const sn_box *box, int64_t *offset,
                            int64_t *length) {
  for (int64_t a = 0; a < axis[0].taps; ++a)
    for (int64_t b = 0; b < axis[1].taps; ++b)
      for (int64_t c = 0; c < axis[2].taps; ++c)
        *offset++ = a * axis[0].reach * box->along[0] + b * axis[1].reach * box->along[1] +
                    c * axis[2].reach * box->along[2];
  *length = 1;
  return sn_taps(axis);
}

#if defined(__AVX512F__) || defined(__aarch64__)
#define SN_TALLEST 12 /* with 32 registers */
#define SN_HEIGHTS(S) S(12) S(10) S(8) S(6) S(4) S(2)
#else
#define SN_TALLEST 6
#define SN_HEIGHTS(S) S(6) S(5) S(4) S(3) S(2) S(1)
#endif

/* So many lines of a panel of weights are turned at a time. */
#define SN_TURNED 160

/* About so many pixels of a panel's outputs, whole strips of most sizes, are turned at a time. */
#define SN_PIECE 336

/* Vectors of a panel that are asked for so many lines before they are read. */
#define SN_AHEAD 16

/* The height of strips of m pixels that wastes least. */
SN_APART int64_t sn_height(int64_t m) {
  int64_t best = 0, least = INT64_MAX;
#define SN_TRY_HEIGHT(ROWS)                                  \
  {                                                          \
    const int64_t cost = (m + ROWS - 1) / ROWS * (ROWS + 1); \
    if (cost < least) least = cost, best = ROWS;             \
  }
  SN_HEIGHTS(SN_TRY_HEIGHT)
  return best;
}

/* What elements are in memory, and between that and what is computed with. */
typedef float sn_stored_f32;
typedef double sn_stored_f64;
#define SN_READ_f32(x) (x)
#define SN_READ_f64(x) (x)
#define SN_WRITE_f32(x) (x)
#define SN_WRITE_f64(x) (x)

#endif
