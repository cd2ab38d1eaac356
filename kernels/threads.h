/* When the steps of a process run on one thread. Included after openmp.h.

   Threads wait for each other by spinning. Where another process has taken a core, one that spins
   holds the core which the awaited one lacks: a step took 40 ms instead of 0.5 on two cores, and on
   one thread 0.9. So where steps together take longer than one thread would need for them, the next
   ones run alone, on one thread, and the more of them the oftener that happened. The results are the
   same: they do not depend on the number of threads. */
static _Thread_local int sn_alone; /* so many steps run on one thread */
static int sn_forked;              /* all do in a forked child: OpenMP's threads stayed behind */
#define SN_TOGETHER (!sn_alone && !sn_forked)

void sn_after_fork(void) { sn_forked = 1; }

#if SN_USES_THREADS && defined(_OPENMP)
#ifndef SN_NOW
#define SN_NOW omp_get_wtime()
#endif
enum { sn_window = 32, sn_fewest_alone = 64, sn_most_alone = 2048 };

/* After a step that took so many seconds. One thread needs no longer than all have for the fastest
   step, added up; 10 ms are for what happens on any machine. */
static void sn_watch(double seconds) {
  static _Thread_local double fastest = 1e30, spent;
  static _Thread_local int steps, next = sn_fewest_alone;
  if (sn_alone) {
    --sn_alone;
    return;
  }
  if (seconds < fastest / 2) spent = steps = 0; /* those before were warming up */
  if (seconds < fastest) fastest = seconds;
  spent += seconds;
  ++steps;
  if (spent > sn_window * omp_get_max_threads() * fastest + 10e-3) {
    sn_alone = next;
    next = SN_MIN(2 * next, (int)sn_most_alone);
  } else if (steps < sn_window) {
    return;
  } else if (next > sn_fewest_alone) {
    next /= 2;
  }
  spent = steps = 0;
}
#endif
