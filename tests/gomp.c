/* OpenMP's threads and barriers as pthreads have them, which ThreadSanitizer knows how to follow.
   A team is gathered anew for each region, of as many threads as TEAM says. */
#include <pthread.h>
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
