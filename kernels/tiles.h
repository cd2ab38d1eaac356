/* Vectors of the machine's width, and products that are added in one rounding. Included before
   kernels that keep tiles of sums in registers. */
#ifndef SN_TILES_H
#define SN_TILES_H

#if defined(__AVX512F__)
#define SN_LANES 64
#define SN_TALL 12 /* rows of a tile of two vectors, which leave registers free */
#elif defined(__AVX__)
#define SN_LANES 32
#define SN_TALL 4
#elif defined(__aarch64__)
#define SN_LANES 16
#define SN_TALL 8
#else
#define SN_LANES 16
#define SN_TALL 4
#endif

/* SN_BY_HAND: what is vectors already, or calls what is, compiles sooner at -O2 and is as fast. */
#if defined(__clang__)
#define SN_BY_HAND_BEGIN
#define SN_BY_HAND_END
#define SN_FUSED_BEGIN _Pragma("clang fp contract(fast)")
#define SN_FUSED_END _Pragma("clang fp contract(off)")
#else
#define SN_BY_HAND_BEGIN                                                                           \
  _Pragma("GCC push_options")                                                                      \
      _Pragma("GCC optimize(\"O2\", \"tree-vectorize\", \"vect-cost-model=dynamic\")")
#define SN_BY_HAND_END _Pragma("GCC pop_options")
#define SN_FUSED_BEGIN _Pragma("GCC push_options") _Pragma("GCC optimize(\"fp-contract=fast\")")
#define SN_FUSED_END _Pragma("GCC pop_options")
#endif

/* SN_MIXED: elements of two vectors that alternate, from the h-th of both on. */
#define SN_MIXED_2(h, width) (h), (h) + (width)
#define SN_MIXED_4(h, width) SN_MIXED_2(h, width), SN_MIXED_2((h) + 1, width)
#define SN_MIXED_8(h, width) SN_MIXED_4(h, width), SN_MIXED_4((h) + 2, width)
#define SN_MIXED_16(h, width) SN_MIXED_8(h, width), SN_MIXED_8((h) + 4, width)
#if defined(__clang__)
#define SN_SHUFFLED(lane, x, y, ...) __builtin_shufflevector(x, y, __VA_ARGS__)
#else
#define SN_SHUFFLED(lane, x, y, ...)                                                               \
  __builtin_shuffle(x, y, (lane __attribute__((vector_size(SN_LANES)))){__VA_ARGS__})
#endif
#if SN_LANES == 64
#define SN_MIXED_f32(x, y, h) SN_SHUFFLED(int32_t, x, y, SN_MIXED_16(h, 16))
#define SN_MIXED_f64(x, y, h) SN_SHUFFLED(int64_t, x, y, SN_MIXED_8(h, 8))
#elif SN_LANES == 32
#define SN_MIXED_f32(x, y, h) SN_SHUFFLED(int32_t, x, y, SN_MIXED_8(h, 8))
#define SN_MIXED_f64(x, y, h) SN_SHUFFLED(int64_t, x, y, SN_MIXED_4(h, 4))
#else
#define SN_MIXED_f32(x, y, h) SN_SHUFFLED(int32_t, x, y, SN_MIXED_4(h, 4))
#define SN_MIXED_f64(x, y, h) SN_SHUFFLED(int64_t, x, y, SN_MIXED_2(h, 2))
#endif

/* Asks for n elements, to be in the second cache when they are read. */
#define SN_FETCH(x, n)                                                     \
  for (const char *line = (const char *)(x); line < (const char *)((x) + (n)); line += 64) \
    __builtin_prefetch(line, 0, 2)

#define SN_ATTENTION_WORK 1e5 /* multiply-adds below which one thread is faster than two */

#endif
