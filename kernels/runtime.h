/* What generated C needs besides scalar functions: indices, streams, routines without a loop
   nest of their own. Included after math.h and float16.h, once a program. */
#ifndef SN_RUNTIME_H
#define SN_RUNTIME_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define SN_NAN __builtin_nanf("")
#define SN_INF __builtin_inff()
#define SN_MIN(a, b) ((a) < (b) ? (a) : (b))
#define SN_MAX(a, b) ((a) > (b) ? (a) : (b))
/* gcc 12 does not vectorise the sums of a function that it copies for constant arguments. */
#if defined(__GNUC__) && !defined(__clang__)
#define SN_KERNEL static __attribute__((noipa))
#define SN_SHARED_KERNEL __attribute__((noipa, visibility("hidden")))
#else
#define SN_KERNEL static
#define SN_SHARED_KERNEL __attribute__((visibility("hidden")))
#endif
#define SN_SMALL static inline __attribute__((always_inline))
#define SN_ALIGNED __attribute__((aligned(64)))

/* Where the part of thread `share` of `shares` begins in n pieces of work, at a multiple of `unit`. */
#define SN_CUT(n, share, unit) \
  ((share) >= shares ? (int64_t)(n) : (int64_t)(n) * (share) / shares / (unit) * (unit))

/* A thread's part of a copy, which begins at a multiple of `piece` bytes. */
static inline void sn_copy(int64_t share, int64_t shares, void *to, const void *from, int64_t n,
                           int64_t piece) {
  const int64_t begin = SN_CUT(n, share, piece), end = SN_CUT(n, share + 1, piece);
  memcpy((char *)to + begin, (const char *)from + begin, (size_t)(end - begin));
}

/* Copies to memory that is not read again soon, without first fetching what it holds. */
static inline void sn_stream(void *to, const void *from, size_t bytes) {
#if defined(__AVX__)
  typedef float line __attribute__((vector_size(32), aligned(4), may_alias));
  typedef float place __attribute__((vector_size(32), may_alias));
  char *t = (char *)to;
  const char *f = (const char *)from;
  const size_t gap = -(uintptr_t)to & 31, head = gap < bytes ? gap : bytes;
  memcpy(t, f, head);
  for (t += head, f += head, bytes -= head; bytes >= 32; t += 32, f += 32, bytes -= 32)
#if defined(__clang__)
    __builtin_nontemporal_store((place) * (const line *)f, (place *)t);
#else
    __builtin_ia32_movntps256((float *)t, (place) * (const line *)f);
#endif
  memcpy(t, f, bytes);
#else
  memcpy(to, from, bytes);
#endif
}
#if defined(__AVX__) && !defined(__clang__)
#define SN_FENCE __builtin_ia32_sfence();
#else
#define SN_FENCE __sync_synchronize();
#endif

/* Asks for memory that will be read soon. */
static inline void sn_prefetch(const void *from, size_t bytes) {
  for (size_t k = 0; k < bytes; k += 64) __builtin_prefetch((const char *)from + k);
}

/* Without branches: of `i < 2 ? a[clamp(i, 0, 1)] : b[clamp(i - 2, 0, 1)]` gcc 12 threads the clamps'
   conditions through the choice, leaves them out where it decides them, makes a vector of the loads all
   the same, and reads before b. */
static inline int64_t sn_clamp(int64_t i, int64_t low, int64_t high) {
  const int64_t up = i - low, over = high - low - (up & ~(up >> 63));
  return high - (over & ~(over >> 63));
}

/* An index into n elements, negative ones from the end; one outside sets *error and becomes 0. */
static inline int64_t sn_index(int64_t i, int64_t n, volatile int *error, int site) {
  i += i < 0 ? n : 0;
  if ((uint64_t)i >= (uint64_t)n) {
    *error = site;
    return 0;
  }
  return i;
}

/* c = a b for matrices with any strides, row by row; for products too small or of types without BLAS.
   T: the elements' type, A: that of the sum, LOAD and STORE: between the two. */
#define SN_PRODUCT(NAME, T, A, LOAD, STORE)                                                        \
  static inline __attribute__((always_inline)) void NAME(                                          \
      int64_t m, int64_t n, int64_t k, const T *a, int64_t ar, int64_t ac, const T *b, int64_t br, \
      int64_t bc, T *c) {                                                                          \
    for (int64_t i = 0; i < m; ++i)                                                                \
      for (int64_t j = 0; j < n; ++j) {                                                            \
        A sum = 0;                                                                                 \
        for (int64_t l = 0; l < k; ++l) sum += (A)LOAD(a[i * ar + l * ac]) * (A)LOAD(b[l * br + j * bc]); \
        c[i * n + j] = STORE(sum);                                                                 \
      }                                                                                            \
  }

/* The same sums of T itself; columns that lie beside each other are COUNT vectors of BYTES at a time. */
#define SN_PRODUCT_IN_VECTORS(NAME, T)                                                             \
  SN_PRODUCT(NAME##_one_by_one, T, T, , )                                                          \
  typedef T NAME##_64 __attribute__((vector_size(64), aligned(sizeof(T)), may_alias));             \
  typedef T NAME##_16 __attribute__((vector_size(16), aligned(sizeof(T)), may_alias));             \
  static inline __attribute__((always_inline)) void NAME(                                          \
      int64_t m, int64_t n, int64_t k, const T *a, int64_t ar, int64_t ac, const T *b, int64_t br, \
      int64_t bc, T *c) {                                                                          \
    int64_t first = 0;                                                                             \
    if (bc == 1) {                                                                                 \
      SN_PRODUCT_COLUMNS(NAME##_64, T, 4)                                                          \
      SN_PRODUCT_COLUMNS(NAME##_64, T, 1)                                                          \
      SN_PRODUCT_COLUMNS(NAME##_16, T, 1)                                                          \
    }                                                                                              \
    for (int64_t i = 0; i < m && first < n; ++i)                                                   \
      NAME##_one_by_one(1, n - first, k, a + i * ar, ar, ac, b + first * bc, br, bc,               \
                        c + i * n + first);                                                        \
  }
#define SN_PRODUCT_COLUMNS(VECTOR, T, COUNT)                                                       \
  for (const int64_t wide = COUNT * sizeof(VECTOR) / sizeof(T); first + wide <= n; first += wide)  \
    for (int64_t i = 0; i < m; ++i) {                                                              \
      VECTOR sum[COUNT] = {{0}};                                                                   \
      for (int64_t l = 0; l < k; ++l) {                                                            \
        const VECTOR *const row = (const VECTOR *)(b + l * br + first);                            \
        const T x = a[i * ar + l * ac];                                                            \
        _Pragma("GCC unroll 4") for (int v = 0; v < COUNT; ++v) sum[v] += x * row[v];              \
      }                                                                                            \
      VECTOR *const to = (VECTOR *)(c + i * n + first);                                            \
      _Pragma("GCC unroll 4") for (int v = 0; v < COUNT; ++v) to[v] = sum[v];                      \
    }

/* The lines of b: [k, n], whose columns lie `apart`. */
static inline void sn_lines_f32(int64_t n, int64_t k, const float *b, int64_t apart, float *to) {
  for (int64_t l = 0; l < k; ++l)
    for (int64_t j = 0; j < n; ++j) to[l * n + j] = b[j * apart + l];
}

/* Numbers in the order of floats, NaN last; -0 is 0. */
static inline uint32_t sn_order_f32(float x) {
  const float zero = x + 0.0f;
  uint32_t bits;
  memcpy(&bits, &zero, sizeof bits);
  if (x != x) return UINT32_MAX;
  return bits >> 31 ? (uint32_t)~bits : bits | 0x80000000u;
}

static inline uint64_t sn_order_f64(double x) {
  const double zero = x + 0.0;
  uint64_t bits;
  memcpy(&bits, &zero, sizeof bits);
  if (x != x) return UINT64_MAX;
  return bits >> 63 ? ~bits : bits | UINT64_C(1) << 63;
}

typedef struct {
  uint64_t key;
  int64_t at;
} sn_sorted;

enum { sn_inserted = 64, sn_sorted_block = 32 };

/* Sorts by keys of so many bytes, equal ones as they stand: few by insertion, more byte by byte.
   -> which of the two rooms has them */
static inline sn_sorted *sn_sort_keys(int64_t n, int bytes, sn_sorted *from, sn_sorted *to) {
  if (n <= sn_inserted) {
    for (int64_t i = 1, j; i < n; ++i) {
      const sn_sorted x = from[i];
      for (j = i; j && x.key < from[j - 1].key; --j) from[j] = from[j - 1];
      from[j] = x;
    }
    return from;
  }
  int64_t place[8][256];
  memset(place, 0, (size_t)bytes * sizeof *place);
  for (int64_t i = 0; i < n; ++i)
    for (int b = 0; b < bytes; ++b) ++place[b][from[i].key >> 8 * b & 255];
  for (int b = 0; b < bytes; ++b) {
    if (place[b][from[0].key >> 8 * b & 255] == n) continue; /* all have the same */
    for (int64_t d = 0, sum = 0; d < 256; ++d) {
      const int64_t count = place[b][d];
      place[b][d] = sum;
      sum += count;
    }
    for (int64_t i = 0; i < n; ++i) to[place[b][from[i].key >> 8 * b & 255]++] = from[i];
    sn_sorted *const swap = from;
    from = to;
    to = swap;
  }
  return from;
}

/* y = the places of the first k of x [n] in order, by ORDER(x), a number of type KEY; elements are
   `step` apart. So many as `most` are sorted at once, in a room for twice as many: all n, or no fewer
   than k and a block more. Of all that are sorted k are kept, and of what follows what is before the
   last of them is sorted with them: soon at first, for what may follow to be less, then ever later. */
#define SN_FIRST(NAME, T, ORDER, KEY)                                                              \
  static inline KEY NAME##_key(T x, int descending) {                                              \
    return (KEY)(descending ? ~(KEY)ORDER(x) : (KEY)ORDER(x));                                     \
  }                                                                                                \
  /* Whether one of a block is before the last that is kept; not looked for where they lie apart. */ \
  static inline int NAME##_any(const T *x, int64_t step, int descending, KEY last) {               \
    int any = 0;                                                                                   \
    if (step != 1) return 1;                                                                       \
    for (int l = 0; l < sn_sorted_block; ++l) any |= NAME##_key(x[l], descending) < last;          \
    return any;                                                                                    \
  }                                                                                                \
  SN_SMALL void NAME##_by(int64_t n, int64_t k, const T *x, int64_t *y, int64_t step,              \
                          int descending, sn_sorted *room, int64_t most) {                         \
    sn_sorted *kept = room;                                                                        \
    const int64_t start = most < n && k <= sn_inserted ? SN_MAX(k, sn_sorted_block) : most;        \
    for (int64_t i = 0; i < start; ++i) kept[i] = (sn_sorted){NAME##_key(x[i * step], descending), i}; \
    kept = sn_sort_keys(start, sizeof(KEY), room, room + most);                                    \
    int64_t soon = SN_MIN(k + 2 * sn_sorted_block, most);                                          \
    for (int64_t i = start, count = k; i < n; i += sn_sorted_block) {                              \
      const int64_t end = SN_MIN(i + sn_sorted_block, n);                                          \
      const KEY last = (KEY)kept[k - 1].key;                                                       \
      if (end - i < sn_sorted_block || NAME##_any(x + i * step, step, descending, last))           \
        for (int64_t j = i; j < end; ++j) {                                                        \
          kept[count] = (sn_sorted){NAME##_key(x[j * step], descending), j};                       \
          count += kept[count].key < last;                                                         \
        }                                                                                          \
      if (count == k || (count + sn_sorted_block <= soon && end < n)) continue;                    \
      kept = sn_sort_keys(count, sizeof(KEY), kept, kept == room ? room + most : room);            \
      count = k;                                                                                   \
      soon = SN_MIN(2 * soon, most);                                                               \
    }                                                                                              \
    for (int64_t i = 0; i < k; ++i) y[i * step] = kept[i].at;                                      \
  }                                                                                                \
  static void NAME(int64_t n, int64_t k, const T *x, int64_t *y, int64_t step, int descending,     \
                   sn_sorted *room, int64_t most) {                                                \
    if (step != 1)                                                                                 \
      NAME##_by(n, k, x, y, step, descending, room, most);                                         \
    else if (descending)                                                                           \
      NAME##_by(n, k, x, y, 1, 1, room, most);                                                     \
    else                                                                                           \
      NAME##_by(n, k, x, y, 1, 0, room, most);                                                     \
  }

#endif
