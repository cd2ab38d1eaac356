/* Arrays one after the other: part k has for each of `before` outer elements a run of
   end[k + 1] - end[k] bytes, `step[k]` bytes apart. `unit` is what all runs have, or 0.
   Threads share the copying of so much that it pays. Included after threads.h. */
#define SN_LARGE (8 << 20)
#define SN_CONCAT_UNITS(T)                                                        \
  for (int64_t b = first; b < last; ++b)                                          \
    for (int64_t k = 0; k < parts; ++k)                                           \
      memcpy(to + (b * parts + k) * sizeof(T), part[k] + b * step[k], sizeof(T)); \
  return

/* The outer elements from `first` to `last`, for runs that are a move each. */
static inline void sn_concat_units(int64_t first, int64_t last, int64_t parts, int64_t unit,
                                   const char *const *part, const int64_t *step, char *to) {
  if (unit == 4) {
    SN_CONCAT_UNITS(int32_t);
  }
  SN_CONCAT_UNITS(int64_t);
}

#define SN_CONCAT_MOVES(BYTES)                                    \
  for (int64_t b = 0; b < n; ++b) {                               \
    memcpy(to + b * row, from + b * step, BYTES);                 \
    memcpy(to + b * row + rest, from + b * step + rest, BYTES);   \
  }                                                               \
  return

/* n runs of 4 to 32 bytes, `row` bytes apart in the result: two moves each, which may overlap. */
static inline void sn_concat_short(int64_t n, int64_t run, int64_t step, int64_t row,
                                   const char *from, char *to) {
  if (run < 8) {
    const int64_t rest = run - 4;
    SN_CONCAT_MOVES(4);
  }
  if (run < 16) {
    const int64_t rest = run - 8;
    SN_CONCAT_MOVES(8);
  }
  const int64_t rest = run - 16;
  SN_CONCAT_MOVES(16);
}

/* Whether all runs are a move or two. */
static inline int sn_concat_is_short(int64_t parts, const int64_t *end) {
  for (int64_t k = 0; k < parts; ++k)
    if (end[k + 1] - end[k] < 4 || end[k + 1] - end[k] > 32)
      return 0;
  return 1;
}

static inline void sn_concat(int64_t before, int64_t parts, int64_t unit, const char *const *part,
                             const int64_t *step, const int64_t *end, char *to) {
  const int64_t row = end[parts];
  const int shared = before * row >= SN_LARGE && SN_TOGETHER;
  if (unit == 4 || unit == 8) {
    if (!shared) {
      sn_concat_units(0, before, parts, unit, part, step, to);
      return;
    }
#pragma omp parallel
    {
      SN_THREAD
      sn_concat_units(before * share / shares, before * (share + 1) / shares, parts, unit, part,
                      step, to);
    }
    return;
  }
  if (sn_concat_is_short(parts, end)) {
    const int64_t some = 128, blocks = (before + some - 1) / some;
#pragma omp parallel for schedule(static) if (shared)
    for (int64_t o = 0; o < blocks; ++o) {
      const int64_t b = o * some, n = before - b < some ? before - b : some;
      for (int64_t k = 0; k < parts; ++k)
        sn_concat_short(n, end[k + 1] - end[k], step[k], row, part[k] + b * step[k],
                        to + b * row + end[k]);
    }
    return;
  }
#pragma omp parallel for collapse(2) schedule(static) if (shared)
  for (int64_t b = 0; b < before; ++b)
    for (int64_t k = 0; k < parts; ++k)
      memcpy(to + b * row + end[k], part[k] + b * step[k], (size_t)(end[k + 1] - end[k]));
}
