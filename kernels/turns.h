/* Matrices of float turned by the widest vectors: as many lines as a vector has lanes, four elements
   of each at a time. Included after vectors.h, before what asks whether there is SN_TURNS_f32. */
#include <stdint.h>
#ifndef SN_TURNS
#define SN_TURNS

#include <stdint.h>

#if defined(__AVX512F__) || (defined(__AVX2__) && defined(__FMA__))
#define SN_TURNS_f32
typedef sn_wide_f32 sn_wide_anywhere __attribute__((aligned(sizeof(float))));

/* SN_PIECES: a vector is put together of fours that lie `apart`. SN_PICKED: elements of two vectors,
   those of the second counted on, the same of each four of both as SN_FOURS has them. */
#if defined(__AVX512F__)
#define SN_PIECES(to, at, apart)                                                                   \
  SN_FOUR_f32(to, 0, at) SN_FOUR_f32(to, 1, (at) + (apart)) SN_FOUR_f32(to, 2, (at) + 2 * (apart)) \
      SN_FOUR_f32(to, 3, (at) + 3 * (apart))
#define SN_FOURS(a, b, c, d)                                                                       \
  a, b, c, d, a + 4, b + 4, c + 4, d + 4, a + 8, b + 8, c + 8, d + 8, a + 12, b + 12, c + 12, d + 12
#else
#define SN_PIECES(to, at, apart) SN_FOUR_f32(to, 0, at) SN_FOUR_f32(to, 1, (at) + (apart))
#define SN_FOURS(a, b, c, d) a, b, c, d, a + 4, b + 4, c + 4, d + 4
#endif
#ifdef __clang__
#define SN_PICKED(x, y, ...) __builtin_shufflevector(x, y, __VA_ARGS__)
#else
typedef int32_t sn_choice __attribute__((vector_size(sizeof(sn_wide_f32))));
#define SN_PICKED(x, y, ...) __builtin_shuffle(x, y, (sn_choice){__VA_ARGS__})
#endif

/* to[l][j] = b[j][l]: lines of b that lie `bj` apart, as many as lanes, of n elements; elements that lie
   so far `ahead` are asked for. */
static inline void sn_turn_lanes(int64_t n, const float *b, int64_t bj, float *to, int64_t apart,
                                 int64_t ahead) {
  enum { lanes = sizeof(sn_wide_f32) / sizeof(float), other = lanes };
  int64_t l = 0;
  for (; l + 4 <= n; l += 4, b += 4, to += 4 * apart) {
    sn_wide_f32 x[4];
    _Pragma("GCC unroll 4") for (int j = 0; j < lanes / 4; ++j)
        if (ahead) __builtin_prefetch(b + (l / 4 % 4 * (lanes / 4) + j) * bj + ahead);
    _Pragma("GCC unroll 4") for (int j = 0; j < 4; ++j) {
      x[j] = SN_ALL_f32(0);
      SN_PIECES(x[j], b + j * bj, 4 * bj)
    }
    const sn_wide_f32 a0 = SN_PICKED(x[0], x[1], SN_FOURS(0, other, 1, other + 1));
    const sn_wide_f32 a1 = SN_PICKED(x[2], x[3], SN_FOURS(0, other, 1, other + 1));
    const sn_wide_f32 a2 = SN_PICKED(x[0], x[1], SN_FOURS(2, other + 2, 3, other + 3));
    const sn_wide_f32 a3 = SN_PICKED(x[2], x[3], SN_FOURS(2, other + 2, 3, other + 3));
    *(sn_wide_anywhere *)to = SN_PICKED(a0, a1, SN_FOURS(0, 1, other, other + 1));
    *(sn_wide_anywhere *)(to + apart) = SN_PICKED(a0, a1, SN_FOURS(2, 3, other + 2, other + 3));
    *(sn_wide_anywhere *)(to + 2 * apart) = SN_PICKED(a2, a3, SN_FOURS(0, 1, other, other + 1));
    *(sn_wide_anywhere *)(to + 3 * apart) = SN_PICKED(a2, a3, SN_FOURS(2, 3, other + 2, other + 3));
  }
  for (; l < n; ++l, ++b, to += apart)
    for (int64_t j = 0; j < lanes; ++j) to[j] = b[j * bj];
}
#endif

#endif
