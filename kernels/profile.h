/* Timestamps between the launches of a step. A program that begins with this text is profiled: the
   host points sn_marks at room for them, and SN_MARK(i) of the program fills place i. */
#define _POSIX_C_SOURCE 199309L
#include <stdint.h>
#include <time.h>

int64_t *sn_marks; /* nanoseconds since some point in the past */

static inline void sn_mark(int64_t i) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  sn_marks[i] = (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}
#define SN_MARK(i) sn_mark(i)

/* The nanoseconds that n marks take. */
int64_t sn_time_marks(int64_t n) {
  sn_mark(0);
  for (int64_t i = 0; i < n; ++i) sn_mark(1);
  return sn_marks[1] - sn_marks[0];
}
