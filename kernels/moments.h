/* Statistics of channels, in one read of memory: a chunk of a channel, of what lies together or of
   several such runs, or of a cache line of channels, is read from memory once and then again from
   the first cache. Included after threads.h where a program needs it, once a dtype.

   An array is [before, channels, after]: `run` is for channels whose elements lie together, and
   `columns` for after = 1. Chunks are summed in lanes, and added up in double, in an
   order of their own: no sum depends on how threads share the channels. Chunks' moments are
   combined by Chan's formula. Its routines are functions of their own, compiled once, not where each
   launch calls them. */
#ifndef SN_MOMENTS_H
#define SN_MOMENTS_H

enum { sn_lanes = 16, sn_chunk = 1024, sn_chunk_rows = 64 };

/* One more chunk of n elements: their rounded mean, and the sums of what they are apart from it and
   of its squares. */
SN_SMALL void sn_moments_add(double n, double middle, double rest, double squares, double *count,
                             double *all, double *square) {
  const double sum = middle * n + (rest == rest ? rest : 0); /* nothing is apart from infinity */
  const double apart = *count > 0 ? sum / n - *all / *count : 0;
  *square += squares - rest * rest / n + apart * apart * (*count * n / (*count + n));
  *all += sum, *count += n;
}

SN_SMALL double sn_moments_tree(const double *lane) {
  double part[sn_lanes];
  for (int64_t l = 0; l < sn_lanes; ++l) part[l] = lane[l];
  for (int64_t half = sn_lanes / 2; half; half /= 2)
    for (int64_t l = 0; l < half; ++l) part[l] += part[l + half];
  return part[0];
}

/* Vectors of lanes, how they lie anywhere, and their sum. They go to functions by address: how a
   vector is passed depends on the machine's widest. */
#define SN_MOMENTS_LANES(NAME, T)                                                                  \
  typedef T NAME##_lanes __attribute__((vector_size(sn_lanes * sizeof(T))));                       \
  typedef T NAME##_near                                                                            \
      __attribute__((vector_size(sn_lanes * sizeof(T)), aligned(sizeof(T)), may_alias));           \
  SN_SMALL double NAME##_sum(const NAME##_lanes *lane) {                                           \
    double wide[sn_lanes];                                                                         \
    for (int64_t l = 0; l < sn_lanes; ++l) wide[l] = (double)(*lane)[l];                           \
    return sn_moments_tree(wide);                                                                  \
  }

/* All parts of an array; threads share them. PARAMETERS and ARGUMENTS stand in brackets. */
#define SN_CHANNELS(NAME, PARTS, PARAMETERS, ARGUMENTS)                                            \
  SN_CALLED void NAME(int64_t before, int64_t channels, int64_t after, int shared,                 \
                      SN_BARE PARAMETERS) {                                                        \
    const int64_t parts = PARTS;                                                                   \
    _Pragma("omp parallel for schedule(static) if (shared && SN_TOGETHER)")                        \
    for (int64_t part = 0; part < parts; ++part)                                                   \
      NAME##_part(before, channels, after, part, SN_BARE ARGUMENTS);                               \
  }
#define SN_BARE(...) __VA_ARGS__

#define SN_MOMENTS_RUN(NAME, T)                                                                    \
  SN_MOMENTS_LANES(NAME, T)                                                                        \
  SN_SMALL void NAME##_add(int64_t n, const T *x, T middle, NAME##_lanes *sum,                     \
                           NAME##_lanes *squares) {                                                \
    int64_t i = 0;                                                                                 \
    for (; i + sn_lanes <= n; i += sn_lanes) {                                                     \
      const NAME##_lanes d = *(const NAME##_near *)(x + i) - middle;                               \
      *sum += d, *squares += d * d;                                                                \
    }                                                                                              \
    for (int64_t l = 0; i < n; ++l, ++i) {                                                         \
      const T d = x[i] - middle;                                                                   \
      (*sum)[l] += d, (*squares)[l] += d * d;                                                      \
    }                                                                                              \
  }                                                                                                \
  /* of one channel, whose elements lie together `after` at a time */                              \
  SN_KERNEL void NAME##_part(int64_t before, int64_t channels, int64_t after, int64_t c,           \
                             const T *x, T *mean, T *var) {                                        \
    double count = 0, all = 0, square = 0;                                                         \
    const int64_t together = SN_MAX((int64_t)1, sn_chunk / after);                                 \
    for (int64_t b = 0; b < before; b += together)                                                 \
      for (int64_t at = 0; at < after; at += sn_chunk) {                                           \
        const int64_t n = SN_MIN(after - at, (int64_t)sn_chunk);                                   \
        const int64_t end = SN_MIN(b + together, before);                                          \
        const T *const run = x + c * after + at;                                                   \
        NAME##_lanes lane = {0}, rest = {0}, squares = {0}, none = {0};                            \
        for (int64_t k = b; k < end; ++k)                                                          \
          NAME##_add(n, run + k * channels * after, 0, &lane, &none);                              \
        const T middle = (T)(NAME##_sum(&lane) / (double)(n * (end - b)));                         \
        for (int64_t k = b; k < end; ++k)                                                          \
          NAME##_add(n, run + k * channels * after, middle, &rest, &squares);                      \
        sn_moments_add((double)(n * (end - b)), (double)middle, NAME##_sum(&rest),                 \
                       NAME##_sum(&squares), &count, &all, &square);                               \
      }                                                                                            \
    mean[c] = (T)(all / count), var[c] = (T)(square / count);                                      \
  }                                                                                                \
  SN_CHANNELS(NAME, channels, (const T *x, T *mean, T *var), (x, mean, var))

#define SN_MOMENTS_COLUMNS(NAME, T)                                                                \
  /* of channels c, … that lie together, `width` of them */                                        \
  SN_SMALL void NAME##_columns(int64_t rows, int64_t channels, int64_t c, int64_t width,           \
                               const T *x, T *mean, T *var) {                                      \
    double count = 0, all[sn_lanes] = {0}, square[sn_lanes] = {0};                                 \
    for (int64_t at = 0; at < rows; at += sn_chunk_rows) {                                         \
      const int64_t n = SN_MIN(rows - at, (int64_t)sn_chunk_rows);                                 \
      const T *const block = x + at * channels + c;                                                \
      T sum[sn_lanes] = {0}, middle[sn_lanes] = {0};                                               \
      T rest[sn_lanes] = {0}, squares[sn_lanes] = {0};                                             \
      for (int64_t r = 0; r < n; ++r)                                                              \
        for (int64_t l = 0; l < width; ++l) sum[l] += block[r * channels + l];                     \
      for (int64_t l = 0; l < width; ++l) middle[l] = sum[l] / (T)n;                               \
      for (int64_t r = 0; r < n; ++r)                                                              \
        for (int64_t l = 0; l < width; ++l) {                                                      \
          const T d = block[r * channels + l] - middle[l];                                         \
          rest[l] += d;                                                                            \
          squares[l] += d * d;                                                                     \
        }                                                                                          \
      for (int64_t l = 0; l < width; ++l) {                                                        \
        double seen = count;                                                                       \
        sn_moments_add((double)n, (double)middle[l], (double)rest[l], (double)squares[l], &seen,   \
                       all + l, square + l);                                                       \
      }                                                                                            \
      count += (double)n;                                                                          \
    }                                                                                              \
    for (int64_t l = 0; l < width; ++l)                                                            \
      mean[c + l] = (T)(all[l] / count), var[c + l] = (T)(square[l] / count);                      \
  }                                                                                                \
  SN_KERNEL void NAME##_part(int64_t before, int64_t channels, int64_t after, int64_t part,        \
                             const T *x, T *mean, T *var) {                                        \
    const int64_t c = part * sn_lanes, rest = channels - c;                                        \
    if (rest >= sn_lanes)                                                                          \
      NAME##_columns(before, channels, c, sn_lanes, x, mean, var);                                 \
    else                                                                                           \
      NAME##_columns(before, channels, c, rest, x, mean, var);                                     \
  }                                                                                                \
  SN_CHANNELS(NAME, (channels + sn_lanes - 1) / sn_lanes, (const T *x, T *mean, T *var),           \
              (x, mean, var))

#define SN_CENTERED_SUMS_RUN(NAME, T)                                                              \
  SN_MOMENTS_LANES(NAME, T)                                                                        \
  SN_SMALL void NAME##_add(int64_t n, const T *g, const T *x, T middle, NAME##_lanes *sum,         \
                           NAME##_lanes *product) {                                                \
    int64_t i = 0;                                                                                 \
    for (; i + sn_lanes <= n; i += sn_lanes) {                                                     \
      const NAME##_lanes weight = *(const NAME##_near *)(g + i);                                   \
      *sum += weight, *product += weight * (*(const NAME##_near *)(x + i) - middle);               \
    }                                                                                              \
    for (int64_t l = 0; i < n; ++l, ++i)                                                           \
      (*sum)[l] += g[i], (*product)[l] += g[i] * (x[i] - middle);                                  \
  }                                                                                                \
  SN_KERNEL void NAME##_part(int64_t before, int64_t channels, int64_t after, int64_t c,           \
                             const T *g, const T *x, const T *mean, T *s, T *t) {                  \
    const T middle = mean[c];                                                                      \
    double sum = 0, product = 0;                                                                   \
    const int64_t together = SN_MAX((int64_t)1, sn_chunk / after);                                 \
    for (int64_t b = 0; b < before; b += together)                                                 \
      for (int64_t at = 0; at < after; at += sn_chunk) {                                           \
        const int64_t n = SN_MIN(after - at, (int64_t)sn_chunk);                                   \
        NAME##_lanes lane = {0}, other = {0};                                                      \
        for (int64_t k = b; k < SN_MIN(b + together, before); ++k) {                               \
          const int64_t place = (k * channels + c) * after + at;                                   \
          NAME##_add(n, g + place, x + place, middle, &lane, &other);                              \
        }                                                                                          \
        sum += NAME##_sum(&lane), product += NAME##_sum(&other);                                   \
      }                                                                                            \
    s[c] = (T)sum, t[c] = (T)product;                                                              \
  }                                                                                                \
  SN_CHANNELS(NAME, channels, (const T *g, const T *x, const T *mean, T *s, T *t),                 \
              (g, x, mean, s, t))

#define SN_CENTERED_SUMS_COLUMNS(NAME, T)                                                          \
  SN_SMALL void NAME##_columns(int64_t rows, int64_t channels, int64_t c, int64_t width,           \
                               const T *g, const T *x, const T *mean, T *s, T *t) {                \
    double sum[sn_lanes] = {0}, product[sn_lanes] = {0};                                           \
    T middle[sn_lanes] = {0};                                                                      \
    for (int64_t l = 0; l < width; ++l) middle[l] = mean[c + l];                                   \
    for (int64_t at = 0; at < rows; at += sn_chunk_rows) {                                         \
      const int64_t n = SN_MIN(rows - at, (int64_t)sn_chunk_rows);                                 \
      T lane[sn_lanes] = {0}, other[sn_lanes] = {0};                                               \
      for (int64_t r = 0; r < n; ++r) {                                                            \
        const int64_t place = (at + r) * channels + c;                                             \
        for (int64_t l = 0; l < width; ++l) {                                                      \
          lane[l] += g[place + l];                                                                 \
          other[l] += g[place + l] * (x[place + l] - middle[l]);                                   \
        }                                                                                          \
      }                                                                                            \
      for (int64_t l = 0; l < width; ++l)                                                          \
        sum[l] += (double)lane[l], product[l] += (double)other[l];                                 \
    }                                                                                              \
    for (int64_t l = 0; l < width; ++l) s[c + l] = (T)sum[l], t[c + l] = (T)product[l];            \
  }                                                                                                \
  SN_KERNEL void NAME##_part(int64_t before, int64_t channels, int64_t after, int64_t part,        \
                             const T *g, const T *x, const T *mean, T *s, T *t) {                  \
    const int64_t c = part * sn_lanes, rest = channels - c;                                        \
    if (rest >= sn_lanes)                                                                          \
      NAME##_columns(before, channels, c, sn_lanes, g, x, mean, s, t);                             \
    else                                                                                           \
      NAME##_columns(before, channels, c, rest, g, x, mean, s, t);                                 \
  }                                                                                                \
  SN_CHANNELS(NAME, (channels + sn_lanes - 1) / sn_lanes,                                          \
              (const T *g, const T *x, const T *mean, T *s, T *t), (g, x, mean, s, t))

#endif
