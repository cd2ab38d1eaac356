/* The copy that kernels are compared with: all threads copy a part each, `times` times. */
#include <stdint.h>
#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#endif

void sn_copy(char *to, const char *from, int64_t bytes, int64_t times, int64_t parallel) {
#pragma omp parallel if (parallel)
  {
#ifdef _OPENMP
    const int64_t share = omp_get_thread_num(), shares = omp_get_num_threads();
#else
    const int64_t share = 0, shares = 1;
#endif
    const int64_t first = bytes * share / shares, last = bytes * (share + 1) / shares;
    for (int64_t t = 0; t < times; ++t) {
      memcpy(to + first, from + first, (size_t)(last - first));
      __asm__ volatile("" ::: "memory"); /* so that no copy is left out */
    }
  }
}
