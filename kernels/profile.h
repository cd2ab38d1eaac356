/* Timestamps between the launches of a step. A program that begins with this text is profiled: the
   host points sn_marks at room for them, and SN_MARK(i) of the program fills place i. What runs many
   times a step is summed: SN_START begins, and SN_LAP(i) adds to the i-th pair of sn_laps the time
   since then or since the last lap, and one. */
#define _POSIX_C_SOURCE 199309L
#include <stdint.h>
#include <time.h>

int64_t *sn_marks; /* nanoseconds since some point in the past */
int64_t *sn_laps;  /* pairs of nanoseconds and how many times they took */

static inline int64_t sn_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static inline void sn_mark(int64_t i) { sn_marks[i] = sn_now(); }
#define SN_MARK(i) sn_mark(i)

static inline int64_t sn_lap(int64_t i, int64_t since) {
  const int64_t now = sn_now();
  sn_laps[2 * i] += now - since;
  sn_laps[2 * i + 1] += 1;
  return now;
}
#define SN_START int64_t since = sn_now()
#define SN_LAP(i) since = sn_lap(i, since)

/* The nanoseconds that n marks take. */
int64_t sn_time_marks(int64_t n) {
  sn_mark(0);
  for (int64_t i = 0; i < n; ++i) sn_mark(1);
  return sn_marks[1] - sn_marks[0];
}
