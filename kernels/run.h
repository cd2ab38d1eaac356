/* What Python calls of a generated program: one step, or many. Included after sn_one_step. */

/* A step, and whether the next ones run on one thread: see threads.h. */
static int sn_watched_step(void **slot, char *arena) {
#if SN_USES_THREADS && defined(_OPENMP)
  const double start = SN_NOW;
  const int failed = sn_one_step(slot, arena);
  sn_watch(SN_NOW - start);
  return failed;
#else
  return sn_one_step(slot, arena);
#endif
}

int sn_step(void **slot, char *arena) {
  const int threads = sn_take_threads(), failed = sn_watched_step(slot, arena);
  sn_give_threads(threads);
  return failed;
}

typedef struct {
  int64_t first, steps; /* of a longer run, whose order and results these addresses are of */
  int64_t batch, period;
  const int64_t *order; /* rows of the data sets: period batches, then again; or NULL: as they lie */
  int64_t feeds, outputs;
  const int64_t *row_bytes;    /* of each feed */
  const int64_t *output_bytes; /* of each output, which advances by them */
  char *const *data;           /* of each feed */
  void *const *rooms;          /* of each feed, for a batch of rows that do not lie together */
  char **results;              /* of each output */
} sn_run_arguments;

int sn_run(void **buffers, char *arena, const sn_run_arguments *a) {
  void *const *rooms = a->rooms;
  const int threads = sn_take_threads();
  int failed = 0;
  for (int64_t s = a->first; s < a->first + a->steps && !failed; ++s) {
    const int64_t start = s % a->period * a->batch;
    const int64_t *const order = a->order ? a->order + start : NULL;
    int64_t in_order = order ? 1 : a->batch; /* rows that follow each other are read in place */
    while (in_order < a->batch && order[in_order] == order[0] + in_order) ++in_order;
    for (int64_t f = 0; f < a->feeds; ++f) {
      const int64_t bytes = a->row_bytes[f];
      buffers[f] = a->data[f] + (order ? order[0] : start) * bytes;
      if (in_order == a->batch) continue;
      buffers[f] = rooms[f];
#pragma omp parallel for schedule(static) if (a->batch * bytes > SN_PARALLEL_COPY && SN_TOGETHER)
      for (int64_t r = 0; r < a->batch; ++r)
        memcpy((char *)rooms[f] + r * bytes, a->data[f] + order[r] * bytes, bytes);
    }
    for (int64_t o = 0; o < a->outputs; ++o)
      buffers[SN_FIRST_OUTPUT + o] = a->results[o] + s * a->output_bytes[o];
    failed = sn_watched_step(buffers, arena);
  }
  sn_give_threads(threads);
  return failed;
}
