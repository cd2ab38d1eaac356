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
#pragma omp parallel for collapse(2) schedule(static) if (shared)
  for (int64_t b = 0; b < before; ++b)
    for (int64_t k = 0; k < parts; ++k)
      memcpy(to + b * row + end[k], part[k] + b * step[k], (size_t)(end[k + 1] - end[k]));
}
