/* Pooling: the greatest elements of windows, their sums, and the transposes of both. Included after
   windows.h and threads.h where a program needs it, once a dtype; each call's windows are constants, so
   that the loops over a kernel are unrolled.

   A row is the windows of one row of results, in strips of what stays in registers or the first
   cache; where channels lie together, it is those of one window. Threads share the rows, or for the
   transposes the planes, each of which one thread sums in the order of the windows. */
#ifndef SN_POOLING_H
#define SN_POOLING_H

enum { sn_strip = 256 };

/* The windows from `from` to `to` of a strip, which begins at window `t`, whose element k is inside. */
#define SN_WINDOWS_INSIDE(w, k, t, n)                                                     \
  const int64_t shift = SN_WINDOW_AT(w, 2, t, k), step = (w)->stride[2];                  \
  const int64_t from = shift < 0 ? SN_MIN((step - 1 - shift) / step, n) : 0;              \
  const int64_t to = shift < (w)->size[2] ? SN_MIN(((w)->size[2] - 1 - shift) / step + 1, n) : 0;

/* The number of an element in its window, which are counted as its places in a plane are. */
#define SN_WINDOW_NUMBER(w, kd, kh, kw) (((kd) * (w)->kernel[1] + (kh)) * (w)->kernel[2] + (kw))

/* y, at: the greatest elements of a row of windows, and as I their places or, if SMALL, their numbers
   in the windows. T: the elements' type, A: that they are compared in, LOAD and STORE: between the
   two. */
#define SN_MAX_POOL(NAME, T, I, SMALL, A, LOAD, STORE)                                             \
  SN_SMALL void NAME##_more(int64_t n, const T *restrict x, int64_t step, int64_t place,           \
                            int64_t places, A *restrict best, int32_t *restrict at) {              \
    const int32_t first = (int32_t)place, each = (int32_t)places;                                  \
    _Pragma("omp simd") for (int32_t j = 0; j < (int32_t)n; ++j) {                                 \
      const A value = (A)LOAD(x[j * step]);                                                        \
      const int better = (at[j] < 0) | (value > best[j]) | (value != value);                       \
      best[j] = better ? value : best[j];                                                          \
      at[j] = better ? first + j * each : at[j];                                                   \
    }                                                                                              \
  }                                                                                                \
  SN_SMALL void NAME##_strip(const sn_windows *w, int64_t od, int64_t oh, int64_t t, int64_t c,    \
                             int64_t n, const T *x, T *y, I *index) {                        \
    A best[sn_strip];                                                                              \
    int32_t at[sn_strip];                                                                          \
    for (int64_t j = 0; j < n; ++j) best[j] = 0, at[j] = -1;                                       \
    for (int64_t kd = 0; kd < w->kernel[0]; ++kd)                                                  \
      for (int64_t kh = 0; kh < w->kernel[1]; ++kh) {                                              \
        const int64_t d = SN_WINDOW_AT(w, 0, od, kd), h = SN_WINDOW_AT(w, 1, oh, kh);              \
        if (!SN_WINDOW_HAS(w, 0, d) || !SN_WINDOW_HAS(w, 1, h)) continue;                          \
        const int64_t row = (d * w->size[1] + h) * w->size[2];                                     \
        for (int64_t kw = 0; kw < w->kernel[2]; ++kw) {                                            \
          if (w->channels == 1) {                                                                  \
            SN_WINDOWS_INSIDE(w, kw, t, n)                                                         \
            const int64_t first = row + shift + from * step;                                       \
            const int64_t place = SMALL ? SN_WINDOW_NUMBER(w, kd, kh, kw) : first;                 \
            NAME##_more(to - from, x + first, step, place, SMALL ? 0 : step, best + from,          \
                        at + from);                                                                \
          } else {                                                                                 \
            const int64_t i = SN_WINDOW_AT(w, 2, t, kw);                                           \
            const int64_t place = SMALL ? SN_WINDOW_NUMBER(w, kd, kh, kw) : row + i;               \
            if (SN_WINDOW_HAS(w, 2, i))                                                            \
              NAME##_more(n, x + (row + i) * w->channels + c, 1, place, 0, best, at);              \
          }                                                                                        \
        }                                                                                          \
      }                                                                                            \
    for (int64_t j = 0; j < n; ++j) y[j] = STORE(best[j]), index[j] = (I)at[j];                 \
  }                                                                                                \
  SN_SMALL void NAME(const sn_windows *w, int64_t row, const T *x, T *y, I *at) {                  \
    SN_POOL_STRIPS(w, row, NAME##_strip(w, od, oh, t, c, n, x, y + place, at + place))             \
  }

/* y: the sums of a row of windows. */
#define SN_WINDOW_SUM(NAME, T, A, LOAD, STORE)                                                     \
  SN_SMALL void NAME##_strip(const sn_windows *w, int64_t od, int64_t oh, int64_t t, int64_t c,    \
                             int64_t n, const T *x, T *y) {                                        \
    A sum[sn_strip];                                                                               \
    for (int64_t j = 0; j < n; ++j) sum[j] = 0;                                                    \
    for (int64_t kd = 0; kd < w->kernel[0]; ++kd)                                                  \
      for (int64_t kh = 0; kh < w->kernel[1]; ++kh) {                                              \
        const int64_t d = SN_WINDOW_AT(w, 0, od, kd), h = SN_WINDOW_AT(w, 1, oh, kh);              \
        if (!SN_WINDOW_HAS(w, 0, d) || !SN_WINDOW_HAS(w, 1, h)) continue;                          \
        const int64_t row = (d * w->size[1] + h) * w->size[2];                                     \
        for (int64_t kw = 0; kw < w->kernel[2]; ++kw) {                                            \
          if (w->channels == 1) {                                                                  \
            SN_WINDOWS_INSIDE(w, kw, t, n)                                                         \
            for (int64_t j = from; j < to; ++j) sum[j] += (A)LOAD(x[row + shift + j * step]);      \
          } else {                                                                                 \
            const int64_t i = SN_WINDOW_AT(w, 2, t, kw);                                           \
            const T *const at = x + (row + i) * w->channels + c;                                   \
            for (int64_t j = 0; j < n && SN_WINDOW_HAS(w, 2, i); ++j) sum[j] += (A)LOAD(at[j]);    \
          }                                                                                        \
        }                                                                                          \
      }                                                                                            \
    for (int64_t j = 0; j < n; ++j) y[j] = STORE(sum[j]);                                       \
  }                                                                                                \
  SN_SMALL void NAME(const sn_windows *w, int64_t row, const T *x, T *y) {                         \
    SN_POOL_STRIPS(w, row, NAME##_strip(w, od, oh, t, c, n, x, y + place))                         \
  }

/* What `DO` does with each strip of a row: n windows from t on, or the channels from c on of one. */
#define SN_POOL_STRIPS(w, row, DO)                                                                 \
  const int64_t rows = (w)->windows[1], each = (w)->windows[2] * (w)->channels;             \
  const int64_t plane = (row) / (rows * (w)->windows[0]);                                   \
  const int64_t od = (row) / rows % (w)->windows[0], oh = (row) % rows;                     \
  x += plane * (w)->size[0] * (w)->size[1] * (w)->size[2] * (w)->channels;                  \
  if ((w)->channels == 1) {                                                                 \
    const int64_t c = 0;                                                                    \
    for (int64_t t = 0; t < each; t += sn_strip) {                                          \
      const int64_t n = SN_MIN(each - t, (int64_t)sn_strip), place = (row) * each + t;      \
      DO;                                                                                   \
    }                                                                                       \
  } else {                                                                                  \
    for (int64_t t = 0; t < (w)->windows[2]; ++t)                                           \
      for (int64_t c = 0; c < (w)->channels; c += sn_strip) {                               \
        const int64_t n = SN_MIN((w)->channels - c, (int64_t)sn_strip);                     \
        const int64_t place = (row) * each + t * (w)->channels + c;                         \
        DO;                                                                                 \
      }                                                                                     \
  }

/* y: each g added where its window's greatest element was, of one plane. */
#define SN_MAX_POOL_GRADIENT(NAME, T, I, SMALL)                                                    \
  SN_SMALL void NAME(const sn_windows *w, int64_t plane, const T *g, const I *at, T *y) {          \
    const int64_t size = w->size[0] * w->size[1] * w->size[2] * w->channels;                       \
    const int64_t windows = w->windows[0] * w->windows[1] * w->windows[2];                         \
    int64_t away[SMALL ? 256 : 1] = {0}, number = 0; /* from a window's first element */           \
    for (int64_t kd = 0; SMALL && kd < w->kernel[0]; ++kd)                                         \
      for (int64_t kh = 0; kh < w->kernel[1]; ++kh)                                                \
        for (int64_t kw = 0; kw < w->kernel[2]; ++kw)                                              \
          away[number++] = (kd * w->gap[0] * w->size[1] + kh * w->gap[1]) * w->size[2] +           \
                           kw * w->gap[2];                                                         \
    g += plane * windows * w->channels, at += plane * windows * w->channels, y += plane * size;    \
    memset(y, 0, (size_t)size * sizeof(T));                                                        \
    for (int64_t od = 0; od < w->windows[0]; ++od)                                                 \
      for (int64_t oh = 0; oh < w->windows[1]; ++oh) {                                             \
        const int64_t d = SN_WINDOW_AT(w, 0, od, 0), h = SN_WINDOW_AT(w, 1, oh, 0);                \
        int64_t first = (d * w->size[1] + h) * w->size[2] + SN_WINDOW_AT(w, 2, 0, 0);              \
        for (int64_t ow = 0; ow < w->windows[2]; ++ow, first += w->stride[2])                      \
          for (int64_t c = 0; c < w->channels; ++c, ++at, ++g)                                     \
            y[(SMALL ? first + away[*at] : (int64_t)*at) * w->channels + c] += *g;                 \
      }                                                                                            \
  }

/* The same in 16 bits: an element is added up in float, in the order of its windows, and rounded. */
#define SN_MAX_POOL_GRADIENT_16(NAME, T, I, SMALL, LOAD, STORE)                                    \
  SN_SMALL void NAME##_add(const sn_windows *w, const int64_t *at, int64_t c, int64_t n,           \
                           const T *g, const I *index, float *sum) {                               \
    const int64_t place = (at[0] * w->size[1] + at[1]) * w->size[2] + at[2];                       \
    for (int64_t kd = w->kernel[0]; kd--;)                                                         \
      for (int64_t kh = w->kernel[1]; kh--;)                                                       \
        for (int64_t kw = w->kernel[2]; kw--;) {                                                   \
          const int64_t k[3] = {kd, kh, kw};                                                       \
          int64_t o = 0, axis = 0;                                                                 \
          for (; axis < 3; ++axis) {                                                               \
            const int64_t from = at[axis] + w->low[axis] - k[axis] * w->gap[axis];                 \
            if (from < 0 || from % w->stride[axis]) break;                                         \
            if (from / w->stride[axis] >= w->windows[axis]) break;                                 \
            o = o * w->windows[axis] + from / w->stride[axis];                                     \
          }                                                                                        \
          const I own = (I)(SMALL ? SN_WINDOW_NUMBER(w, kd, kh, kw) : place);                      \
          const int64_t first = o * w->channels + c, count = axis < 3 ? 0 : n;                     \
          for (int64_t j = 0; j < count; ++j)                                                      \
            sum[j] += index[first + j] == own ? LOAD(g[first + j]) : 0;                            \
        }                                                                                          \
  }                                                                                                \
  SN_SMALL void NAME(const sn_windows *w, int64_t plane, const T *g, const I *index, T *y) {       \
    const int64_t size = w->size[0] * w->size[1] * w->size[2];                                     \
    const int64_t windows = w->windows[0] * w->windows[1] * w->windows[2] * w->channels;           \
    g += plane * windows, index += plane * windows, y += plane * size * w->channels;               \
    for (int64_t place = 0; place < size; ++place)                                                 \
      for (int64_t c = 0; c < w->channels; c += sn_strip) {                                        \
        const int64_t n = SN_MIN(w->channels - c, (int64_t)sn_strip);                              \
        const int64_t row = place / w->size[2];                                                    \
        const int64_t at[3] = {row / w->size[1], row % w->size[1], place % w->size[2]};            \
        float sum[sn_strip] = {0};                                                                 \
        NAME##_add(w, at, c, n, g, index, sum);                                                    \
        for (int64_t j = 0; j < n; ++j) y[place * w->channels + c + j] = STORE(sum[j]);            \
      }                                                                                            \
  }

/* y: each g added to all elements of its window, of one plane. The last element of a kernel is the
   first one's turn, so that each y adds its windows in order. */
#define SN_WINDOW_SPREAD(NAME, T)                                                                  \
  SN_SMALL void NAME##_row(const sn_windows *w, const T *g, T *y) {                                \
    for (int64_t kw = w->kernel[2]; kw--;) {                                                       \
      SN_WINDOWS_INSIDE(w, kw, 0, w->windows[2])                                                   \
      for (int64_t j = from; j < to; ++j)                                                          \
        for (int64_t c = 0; c < w->channels; ++c)                                                  \
          y[(shift + j * step) * w->channels + c] += g[j * w->channels + c];                       \
    }                                                                                              \
  }                                                                                                \
  SN_SMALL void NAME(const sn_windows *w, int64_t plane, const T *g, T *y) {                       \
    const int64_t row = w->size[2] * w->channels, size = w->size[0] * w->size[1] * row;            \
    const int64_t many = w->windows[2] * w->channels;                                              \
    g += plane * w->windows[0] * w->windows[1] * many, y += plane * size;                          \
    memset(y, 0, (size_t)size * sizeof(T));                                                        \
    for (int64_t od = 0; od < w->windows[0]; ++od)                                                 \
      for (int64_t oh = 0; oh < w->windows[1]; ++oh, g += many)                                    \
        for (int64_t kd = 0; kd < w->kernel[0]; ++kd)                                              \
          for (int64_t kh = 0; kh < w->kernel[1]; ++kh) {                                          \
            const int64_t d = SN_WINDOW_AT(w, 0, od, kd), h = SN_WINDOW_AT(w, 1, oh, kh);          \
            if (SN_WINDOW_HAS(w, 0, d) && SN_WINDOW_HAS(w, 1, h))                                  \
              NAME##_row(w, g, y + (d * w->size[1] + h) * row);                                    \
          }                                                                                        \
  }

#endif
