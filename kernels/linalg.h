/* Factorisations of stacks of matrices by LAPACK, and triangular systems by BLAS. Written for f64;
   f32 is the same with other names. Included where a program needs them, once a dtype.

   Matrices lie row by row. LAPACK reads them column by column, so as their transposes: what it does
   here is to those, and what it gives read by rows is what was wanted. Each matrix of a stack is its
   own problem, and threads share the stacks; memory to work in is asked for once a thread. */

typedef void sn_potrf_f64(const char *uplo, const int *n, double *a, const int *lda, int *info);
typedef void sn_trsm_f64(const char *side, const char *uplo, const char *transa, const char *diag,
                         const int *m, const int *n, const double *alpha, const double *a,
                         const int *lda, double *b, const int *ldb);
typedef void sn_getrf_f64(const int *m, const int *n, double *a, const int *lda, int *ipiv,
                          int *info);
typedef void sn_gelqf_f64(const int *m, const int *n, double *a, const int *lda, double *tau,
                          double *work, const int *lwork, int *info);
typedef void sn_orglq_f64(const int *m, const int *n, const int *k, double *a, const int *lda,
                          const double *tau, double *work, const int *lwork, int *info);
typedef void sn_syevd_f64(const char *jobz, const char *uplo, const int *n, double *a,
                          const int *lda, double *w, double *work, const int *lwork, int *iwork,
                          const int *liwork, int *info);
typedef void sn_gesdd_f64(const char *jobz, const int *m, const int *n, double *a, const int *lda,
                          double *s, double *u, const int *ldu, double *vt, const int *ldvt,
                          double *work, const int *lwork, int *iwork, int *info);

static sn_potrf_f64 *sn_f64_potrf;
static sn_trsm_f64 *sn_f64_trsm;
static sn_getrf_f64 *sn_f64_getrf;
static sn_gelqf_f64 *sn_f64_gelqf;
static sn_orglq_f64 *sn_f64_orglq;
static sn_syevd_f64 *sn_f64_syevd;
static sn_gesdd_f64 *sn_f64_gesdd;

void sn_set_lapack_f64(void *const *routines) {
  sn_f64_potrf = (sn_potrf_f64 *)routines[0];
  sn_f64_trsm = (sn_trsm_f64 *)routines[1];
  sn_f64_getrf = (sn_getrf_f64 *)routines[2];
  sn_f64_gelqf = (sn_gelqf_f64 *)routines[3];
  sn_f64_orglq = (sn_orglq_f64 *)routines[4];
  sn_f64_syevd = (sn_syevd_f64 *)routines[5];
  sn_f64_gesdd = (sn_gesdd_f64 *)routines[6];
}

/* Whether a stack of so many problems of `work` operations each is worth sharing among threads. */
#define SN_SHARED_f64(batch, work) \
  ((batch) > 1 && (double)(batch) * (double)(work) > 1e6 && SN_TOGETHER)

/* Memory of so many threads, one after the other: numbers that are copied, those that LAPACK works in,
   and its integers, which take no more than as many numbers. */
typedef struct {
  double *at;
  int64_t threads, copied, numbers, integers;
} sn_room_f64;

static double *sn_room_of_f64(sn_room_f64 r, int64_t share) {
  return r.at + share * (r.copied + r.numbers + r.integers);
}

static int sn_all_finite_f64(int64_t n, const double *x) {
  double zero = 0;
  for (int64_t i = 0; i < n; ++i) zero += x[i] * 0;
  return zero == 0;
}

/* y: lower triangular, x = y y'. */
static void sn_cholesky_f64(int64_t batch, int64_t n, const double *x, double *y,
                            volatile int *error, int site) {
  const int order = (int)n;
#pragma omp parallel for schedule(static) if (SN_SHARED_f64(batch, n * n * n / 3))
  for (int64_t b = 0; b < batch; ++b) {
    double *const l = y + b * n * n;
    int info = 0, positive = 1;
    memcpy(l, x + b * n * n, (size_t)(n * n) * sizeof(double));
    if (n) sn_f64_potrf("U", &order, l, &order, &info);
    for (int64_t i = 0; i < n; ++i) {
      positive &= l[i * n + i] > 0; /* NaN is not */
      for (int64_t j = i + 1; j < n; ++j) l[i * n + j] = 0;
    }
    if (info || !positive) *error = site;
  }
}

/* y: T y = x or, transposed, T' y = x; T is a triangle of a. */
static void sn_triangular_solve_f64(int64_t batch, int64_t n, int64_t k, int upper, int transposed,
                                    int unit, const double *a, const double *x, double *y,
                                    volatile int *error, int site) {
  const int rows = (int)k, order = (int)n;
  const double one = 1;
#pragma omp parallel for schedule(static) if (SN_SHARED_f64(batch, n * n * k))
  for (int64_t b = 0; b < batch; ++b) {
    const double *const t = a + b * n * n;
    double *const to = y + b * n * k;
    memcpy(to, x + b * n * k, (size_t)(n * k) * sizeof(double));
    for (int64_t i = 0; i < n && !unit; ++i)
      if (t[i * n + i] == 0) *error = site;
    if (n && k)
      sn_f64_trsm("R", upper ? "L" : "U", transposed ? "T" : "N", unit ? "U" : "N", &rows, &order,
                  &one, t, &order, to, &rows);
  }
}

/* y: L and U in one, x[:, place] = L U, U's diagonal 1; place: a permutation, sign: its sign. */
static void sn_lu_f64(int64_t batch, int64_t n, const double *x, double *y, int64_t *place,
                      double *sign) {
  const int order = (int)n;
#pragma omp parallel for schedule(static) if (SN_SHARED_f64(batch, 2 * n * n * n / 3))
  for (int64_t b = 0; b < batch; ++b) {
    double *const lu = y + b * n * n;
    int64_t *const p = place + b * n;
    char *const pivots = (char *)p + (size_t)n * sizeof(int); /* the upper half of their memory */
    int info = 0, pivot;
    memcpy(lu, x + b * n * n, (size_t)(n * n) * sizeof(double));
    if (n) sn_f64_getrf(&order, &order, lu, &order, (int *)pivots, &info);
    for (int64_t i = 0; i < n; ++i) { /* a pivot above, a place below: what is written was read */
      memcpy(&pivot, pivots + (size_t)i * sizeof(int), sizeof pivot);
      p[i] = (int64_t)(pivot - 1) << 32 | i;
    }
    sign[b] = 1;
    for (int64_t i = 0; i < n; ++i) {
      const int64_t j = p[i] >> 32, old = p[i];
      if (j != i) sign[b] = -sign[b];
      p[i] = (p[j] & 0xffffffff) | (p[i] & ~(int64_t)0xffffffff);
      p[j] = (old & 0xffffffff) | (p[j] & ~(int64_t)0xffffffff);
    }
    for (int64_t i = 0; i < n; ++i) p[i] &= 0xffffffff;
  }
}

/* q: [m, k] with orthonormal columns, r: [k, n] upper triangular, x: [m, n] = q r; m >= n, and k
   is n, or m for all of q. */
static void sn_qr_f64(int64_t batch, int64_t m, int64_t n, int64_t k, const double *x, double *q,
                      double *r, sn_room_f64 own) {
  const int rows = (int)n, columns = (int)m, all = (int)k, lead = SN_MAX(all, 1);
  const int size = (int)own.numbers;
#pragma omp parallel num_threads(own.threads) if (SN_SHARED_f64(batch, 4 * m * n * k))
  {
    SN_THREAD
    double *const tau = sn_room_of_f64(own, share), *const room = tau + own.copied;
    int info = 0;
    (void)shares;
#pragma omp for schedule(static)
    for (int64_t b = 0; b < batch; ++b) {
      const double *const from = x + b * m * n;
      double *const to = q + b * m * k, *const right = r + b * k * n;
      for (int64_t i = 0; i < m; ++i) memcpy(to + i * k, from + i * n, (size_t)n * sizeof(double));
      if (n) sn_f64_gelqf(&rows, &columns, to, &lead, tau, room, &size, &info);
      for (int64_t i = 0; i < k; ++i)
        for (int64_t j = 0; j < n; ++j) right[i * n + j] = i > j ? 0 : to[i * k + j];
      if (k) sn_f64_orglq(&all, &columns, &rows, to, &lead, tau, room, &size, &info);
    }
  }
}

/* w: ascending eigenvalues, v: [n, n], its columns their eigenvectors; x is symmetric. */
static void sn_eigh_f64(int64_t batch, int64_t n, const double *x, double *w, double *v,
                        sn_room_f64 own, volatile int *error, int site) {
  const int order = (int)n, size = (int)own.numbers, least = (int)own.integers;
  if (!n) return;
#pragma omp parallel num_threads(own.threads) if (SN_SHARED_f64(batch, 9 * n * n * n))
  {
    SN_THREAD
    double *const room = sn_room_of_f64(own, share);
    int *const whole = (int *)(room + size);
    int info = 0;
    (void)shares;
#pragma omp for schedule(static)
    for (int64_t b = 0; b < batch; ++b) {
      double *const to = v + b * n * n;
      memcpy(to, x + b * n * n, (size_t)(n * n) * sizeof(double));
      info = !sn_all_finite_f64(n * n, to);
      if (!info)
        sn_f64_syevd("V", "U", &order, to, &order, w + b * n, room, &size, whole, &least, &info);
      if (info) *error = site;
      for (int64_t i = 0; i < n; ++i)
        for (int64_t j = 0; j < i; ++j) {
          const double old = to[i * n + j];
          to[i * n + j] = to[j * n + i];
          to[j * n + i] = old;
        }
    }
  }
}

/* x: [m, n] = u diag(s) v, s descending; u: [m, k], s: [k], v: [k, n], where k is the lesser of m
   and n, or if `full` u: [m, m], v: [n, n]. */
static void sn_svd_f64(int64_t batch, int64_t m, int64_t n, int full, const double *x, double *u,
                       double *s, double *v, sn_room_f64 own, volatile int *error, int site) {
  const int64_t k = SN_MIN(m, n), across = full ? m : k, down = full ? n : k;
  const int rows = (int)n, columns = (int)m, lead = (int)across, size = (int)own.numbers;
  const char *const job = full ? "A" : "S";
  if (!k) { /* no values, and any basis */
    for (int64_t i = 0; i < batch * m * across; ++i) u[i] = i % (m * m) % (m + 1) == 0;
    for (int64_t i = 0; i < batch * down * n; ++i) v[i] = i % (n * n) % (n + 1) == 0;
    return;
  }
#pragma omp parallel num_threads(own.threads) if (SN_SHARED_f64(batch, 22 * m * n * k))
  {
    SN_THREAD
    double *const copy = sn_room_of_f64(own, share), *const room = copy + own.copied;
    int *const whole = (int *)(room + size);
    int info = 0;
    (void)shares;
#pragma omp for schedule(static)
    for (int64_t b = 0; b < batch; ++b) {
      memcpy(copy, x + b * m * n, (size_t)(m * n) * sizeof(double));
      info = !sn_all_finite_f64(m * n, copy);
      if (!info)
        sn_f64_gesdd(job, &rows, &columns, copy, &rows, s + b * k, v + b * down * n, &rows,
                     u + b * m * across, &lead, room, &size, whole, &info);
      if (info) *error = site;
    }
  }
}
