/* The widest vectors that the machine multiplies and adds, of float and of double. */
#ifndef SN_VECTORS
#define SN_VECTORS

/* A function on its own: gcc would compile it again for each caller, and each constant argument. */
#if defined(__clang__)
#define SN_APART static __attribute__((noinline, unused))
#else
#define SN_APART static __attribute__((noipa, unused))
#endif

/* Four floats side by side; SN_FOUR_f32(to, q, at) makes those at an address a vector's q-th. */
typedef float sn_four_f32 __attribute__((vector_size(16), aligned(4), may_alias));

/* gcc takes longer to read <immintrin.h> than to compile what is here, so it does without. */
#if defined(__AVX512F__) && !defined(__clang__)
typedef float sn_wide_f32 __attribute__((vector_size(64), may_alias));
typedef double sn_wide_f64 __attribute__((vector_size(64), may_alias));
#define SN_FMA_f32(x, y, z) __builtin_ia32_vfmaddps512_mask(x, y, z, -1, 4)
#define SN_FMA_f64(x, y, z) __builtin_ia32_vfmaddpd512_mask(x, y, z, -1, 4)
#define SN_FOUR_f32(to, q, at)                                                                     \
  to = __builtin_ia32_insertf32x4_mask(to, *(const sn_four_f32 *)(at), q, to, -1);
#elif defined(__AVX512F__)
#include <immintrin.h>
typedef __m512 sn_wide_f32;
typedef __m512d sn_wide_f64;
#define SN_FMA_f32(x, y, z) _mm512_fmadd_ps(x, y, z)
#define SN_FMA_f64(x, y, z) _mm512_fmadd_pd(x, y, z)
#define SN_FOUR_f32(to, q, at) to = _mm512_insertf32x4(to, _mm_loadu_ps(at), q);
#elif defined(__AVX2__) && defined(__FMA__) && !defined(__clang__)
typedef float sn_wide_f32 __attribute__((vector_size(32), may_alias));
typedef double sn_wide_f64 __attribute__((vector_size(32), may_alias));
#define SN_FMA_f32(x, y, z) __builtin_ia32_vfmaddps256(x, y, z)
#define SN_FMA_f64(x, y, z) __builtin_ia32_vfmaddpd256(x, y, z)
#define SN_FOUR_f32(to, q, at)                                                                     \
  to = __builtin_ia32_vinsertf128_ps256(to, *(const sn_four_f32 *)(at), q);
#elif defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>
typedef __m256 sn_wide_f32;
typedef __m256d sn_wide_f64;
#define SN_FMA_f32(x, y, z) _mm256_fmadd_ps(x, y, z)
#define SN_FMA_f64(x, y, z) _mm256_fmadd_pd(x, y, z)
#define SN_FOUR_f32(to, q, at) to = _mm256_insertf128_ps(to, _mm_loadu_ps(at), q);
#elif defined(__aarch64__)
#include <arm_neon.h>
typedef float32x4_t sn_wide_f32;
typedef float64x2_t sn_wide_f64;
#define SN_FMA_f32(x, y, z) vfmaq_f32(z, x, y)
#define SN_FMA_f64(x, y, z) vfmaq_f64(z, x, y)
#else
typedef float sn_wide_f32 __attribute__((vector_size(16)));
typedef double sn_wide_f64 __attribute__((vector_size(16)));
#define SN_FMA_f32(x, y, z) ((x) * (y) + (z))
#define SN_FMA_f64(x, y, z) ((x) * (y) + (z))
#endif
#define SN_ALL_f32(x) ((float)(x) - (sn_wide_f32){0})
#define SN_ALL_f64(x) ((double)(x) - (sn_wide_f64){0})

#endif
