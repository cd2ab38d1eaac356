/* The products of a library of BLAS, and its threads. Included after the types of its routines. */
static sn_gemm_f32 *sn_f32_gemm;
static sn_gemm_f64 *sn_f64_gemm;
static void (*sn_set_blas_threads)(int);
static int (*sn_get_blas_threads)(void);

void sn_set_blas(void *sgemm, void *dgemm, void *set_threads, void *get_threads) {
  sn_f32_gemm = (sn_gemm_f32 *)sgemm;
  sn_f64_gemm = (sn_gemm_f64 *)dgemm;
  sn_set_blas_threads = (void (*)(int))set_threads;
  sn_get_blas_threads = (int (*)(void))get_threads;
}

/* Tells sgemm that the right operand of its next product in this thread is that of its last one. */
static void (*sn_same_right)(void);

void sn_set_same_right(void *same) { sn_same_right = (void (*)(void))same; }

#define SN_RIGHT_AGAIN_f32() do { if (sn_same_right) sn_same_right(); } while (0)
#define SN_RIGHT_AGAIN_f64() (void)0

static int sn_take_threads(void) {
  const int before = SN_USES_BLAS && sn_get_blas_threads ? sn_get_blas_threads() : 0;
  if (before > 1) sn_set_blas_threads(1);
  return before;
}

static void sn_give_threads(int before) {
  if (before > 1) sn_set_blas_threads(before);
}
