/* What ThreadSanitizer can follow: OpenMP's threads and barriers as pthreads have them, and products
   by plain loops, for it does not look at vectors. A team is gathered anew for each region, of as
   many threads as TEAM says. */
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

typedef struct {
  unsigned count;
  pthread_barrier_t barrier;
  void (*run)(void *);
  void *data;
} team_t;

typedef struct {
  team_t *team;
  unsigned number;
} member_t;

static _Thread_local team_t *own;
static _Thread_local unsigned number;

int omp_get_max_threads(void) {
  const char *const team = getenv("TEAM");
  return team ? atoi(team) : 3;
}
int omp_get_thread_num(void) { return (int)number; }
int omp_get_num_threads(void) { return own ? (int)own->count : 1; }
double omp_get_wtime(void) { return (double)clock() / CLOCKS_PER_SEC; }

void GOMP_barrier(void) {
  if (own) pthread_barrier_wait(&own->barrier);
}

static void *member(void *given) {
  member_t *const me = given;
  own = me->team;
  number = me->number;
  own->run(own->data);
  return NULL;
}

void GOMP_parallel(void (*run)(void *), void *data, unsigned count, unsigned flags) {
  (void)flags;
  team_t team = {count ? count : (unsigned)omp_get_max_threads(), {{0}}, run, data};
  team_t *const before = own;
  if (before) team.count = 1; /* as OpenMP does by default: no teams within teams */
  pthread_t threads[64];
  member_t members[64];
  pthread_barrier_init(&team.barrier, NULL, team.count);
  for (unsigned i = 1; i < team.count; ++i) {
    members[i] = (member_t){&team, i};
    pthread_create(&threads[i], NULL, member, &members[i]);
  }
  const unsigned mine = number;
  own = &team;
  number = 0;
  run(data);
  own = before;
  number = mine;
  for (unsigned i = 1; i < team.count; ++i) pthread_join(threads[i], NULL);
  pthread_barrier_destroy(&team.barrier);
}

void cblas_sgemm(int order, int ta, int tb, int m, int n, int k, float alpha, const float *a,
                 int lda, const float *b, int ldb, float beta, float *c, int ldc) {
  (void)order; /* columns, as Fortran */
  for (int j = 0; j < n; ++j)
    for (int i = 0; i < m; ++i) {
      float sum = beta == 0 ? 0 : beta * c[i + j * ldc];
      for (int l = 0; l < k; ++l)
        sum += alpha * a[ta == 111 ? i + l * lda : l + i * lda] *
               b[tb == 111 ? l + j * ldb : j + l * ldb];
      c[i + j * ldc] = sum;
    }
}

/* Held panels are b itself here, row by row. */
void traced_hold(int64_t n, int64_t k, int64_t first, int64_t last, const float *b, int64_t bl,
                 int64_t bj, float *to) {
  for (int64_t l = 0; l < k; ++l)
    for (int64_t j = first; j < last; ++j) to[l * n + j] = b[l * bl + j * bj];
}

void traced_times(int64_t m, int64_t n, int64_t k, int64_t first, int64_t last, const float *a,
                  int64_t ai, int64_t al, const float *panels, float *c, int adds) {
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = first; j < last; ++j) {
      float sum = adds ? c[i * n + j] : 0;
      for (int64_t l = 0; l < k; ++l) sum += a[i * ai + l * al] * panels[l * n + j];
      c[i * n + j] = sum;
    }
}

#ifdef HOLDS
void sn_set_held(void *, void *);
__attribute__((constructor)) static void set(void) {
  sn_set_held((void *)traced_hold, (void *)traced_times);
}
#endif
