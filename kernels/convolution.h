/* Convolution and its gradients by their definitions, one sum an element.

   Arrays have three spatial axes; those that an operation lacks are first and of length 1. Steps are
   in elements, so channels may come first or last: {first axis, channels, spatial axes}. */
typedef struct {
  int64_t n, groups, outputs, inputs; /* outputs and inputs of one group */
  int64_t s[3], k[3], t[3], stride[3], low[3], dilation[3];
  int64_t x[5], w[5], y[5]; /* the arrays' steps */
} sn_convolution;

/* The places of the triples below `size`, in order. */
#define SN_TRIPLES(p, size)                       \
  for (int64_t p##0 = 0; p##0 < (size)[0]; ++p##0) \
    for (int64_t p##1 = 0; p##1 < (size)[1]; ++p##1) \
      for (int64_t p##2 = 0; p##2 < (size)[2]; ++p##2)
#define SN_AT(step, p) (p##0 * (step)[2] + p##1 * (step)[3] + p##2 * (step)[4])

/* Where along an axis the kernel's element k meets x, when it stands at t. */
static inline int64_t sn_met(const sn_convolution *c, int axis, int64_t t, int64_t k) {
  return t * c->stride[axis] + k * c->dilation[axis] - c->low[axis];
}

/* Where along an axis the kernel stands when its element k meets x at s; -1 if it never does. */
static inline int64_t sn_stands(const sn_convolution *c, int axis, int64_t s, int64_t k) {
  const int64_t at = s + c->low[axis] - k * c->dilation[axis];
  return at < 0 || at % c->stride[axis] || at / c->stride[axis] >= c->t[axis] ? -1
                                                                             : at / c->stride[axis];
}

/* S: the type's name, T: the elements' type, A: that of the sums, LOAD and STORE: between the two. */
#define SN_CONVOLUTION(S, T, A, LOAD, STORE)                                                       \
  static void sn_convolution_##S(const sn_convolution *c, const T *x, const T *w, T *y) {          \
    const int64_t all = c->groups * c->outputs;                                                    \
    _Pragma("omp parallel for schedule(static) if (SN_TOGETHER)")                                  \
    for (int64_t each = 0; each < c->n * all; ++each) {                                            \
      const int64_t o = each % all, first = o / c->outputs * c->inputs;                            \
      const T *const from = x + each / all * c->x[0] + first * c->x[1], *const by = w + o * c->w[0]; \
      T *const to = y + each / all * c->y[0] + o * c->y[1];                                        \
      SN_TRIPLES(t, c->t) {                                                                        \
        A sum = 0;                                                                                 \
        SN_TRIPLES(k, c->k) {                                                                      \
          const int64_t s0 = sn_met(c, 0, t0, k0), s1 = sn_met(c, 1, t1, k1);                      \
          const int64_t s2 = sn_met(c, 2, t2, k2);                                                 \
          if (s0 < 0 || s1 < 0 || s2 < 0 || s0 >= c->s[0] || s1 >= c->s[1] || s2 >= c->s[2])       \
            continue;                                                                              \
          for (int64_t i = 0; i < c->inputs; ++i)                                                  \
            sum += (A)LOAD(from[i * c->x[1] + SN_AT(c->x, s)]) *                                   \
                   (A)LOAD(by[i * c->w[1] + SN_AT(c->w, k)]);                                      \
        }                                                                                          \
        to[SN_AT(c->y, t)] = STORE(sum);                                                           \
      }                                                                                            \
    }                                                                                              \
  }                                                                                                \
  static void sn_convolution_input_##S(const sn_convolution *c, const T *y, const T *w, T *x) {    \
    const int64_t all = c->groups * c->inputs;                                                     \
    _Pragma("omp parallel for schedule(static) if (SN_TOGETHER)")                                  \
    for (int64_t each = 0; each < c->n * all; ++each) {                                            \
      const int64_t i = each % all, first = i / c->inputs * c->outputs;                            \
      const T *const from = y + each / all * c->y[0] + first * c->y[1];                            \
      const T *const by = w + first * c->w[0] + i % c->inputs * c->w[1];                           \
      T *const to = x + each / all * c->x[0] + i * c->x[1];                                        \
      SN_TRIPLES(s, c->s) {                                                                        \
        A sum = 0;                                                                                 \
        SN_TRIPLES(k, c->k) {                                                                      \
          const int64_t t0 = sn_stands(c, 0, s0, k0), t1 = sn_stands(c, 1, s1, k1);                \
          const int64_t t2 = sn_stands(c, 2, s2, k2);                                              \
          if (t0 < 0 || t1 < 0 || t2 < 0) continue;                                                \
          for (int64_t o = 0; o < c->outputs; ++o)                                                 \
            sum += (A)LOAD(from[o * c->y[1] + SN_AT(c->y, t)]) *                                   \
                   (A)LOAD(by[o * c->w[0] + SN_AT(c->w, k)]);                                      \
        }                                                                                          \
        to[SN_AT(c->x, s)] = STORE(sum);                                                           \
      }                                                                                            \
    }                                                                                              \
  }                                                                                                \
  static void sn_convolution_weight_##S(const sn_convolution *c, const T *x, const T *y, T *w) {   \
    _Pragma("omp parallel for schedule(static) if (SN_TOGETHER)")                                  \
    for (int64_t each = 0; each < c->groups * c->outputs * c->inputs; ++each) {                    \
      const int64_t o = each / c->inputs, i = each % c->inputs;                                    \
      const T *const from = x + (o / c->outputs * c->inputs + i) * c->x[1], *const by = y + o * c->y[1]; \
      T *const to = w + o * c->w[0] + i * c->w[1];                                                 \
      SN_TRIPLES(k, c->k) {                                                                        \
        A sum = 0;                                                                                 \
        for (int64_t n = 0; n < c->n; ++n)                                                         \
          SN_TRIPLES(t, c->t) {                                                                    \
            const int64_t s0 = sn_met(c, 0, t0, k0), s1 = sn_met(c, 1, t1, k1);                    \
            const int64_t s2 = sn_met(c, 2, t2, k2);                                               \
            if (s0 < 0 || s1 < 0 || s2 < 0 || s0 >= c->s[0] || s1 >= c->s[1] || s2 >= c->s[2])     \
              continue;                                                                            \
            sum += (A)LOAD(from[n * c->x[0] + SN_AT(c->x, s)]) *                                   \
                   (A)LOAD(by[n * c->y[0] + SN_AT(c->y, t)]);                                      \
          }                                                                                        \
        to[SN_AT(c->w, k)] = STORE(sum);                                                           \
      }                                                                                            \
    }                                                                                              \
  }
