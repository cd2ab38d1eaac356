/* The number of a thread of a step, and of how many. Included before what is generated. */
#ifdef _OPENMP
#include <omp.h>
#define SN_THREAD const int64_t share = omp_get_thread_num(), shares = omp_get_num_threads();
#define SN_MOST_THREADS omp_get_max_threads()
#else
#define SN_THREAD const int64_t share = 0, shares = 1;
#define SN_MOST_THREADS 1
#endif

#define SN_ALONE const int64_t share = 0, shares = 1;
