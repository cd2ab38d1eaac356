// Scalar functions of generated code, one source for C99/C11, C++ and CUDA (nvcc and NVRTC).
//
// Names: sn_<function>_<type>, with <function> as the ops' `scalar` forms have it and <type> one
// of f32 f64 i8 i16 i32 i64 u8 u16 u32 u64: sn_tanh_f32(x), sn_floor_divide_i32(a, b),
// sn_isnan_f64(x). The C types are sn_f32, ..., sn_u64 and sn_bool, which predicates return.
//
// Here are those of the float types: f64 is the platform's libm, f32 is written here. Beside this
// file, and included after it, integers.h has those of integers and philox.h random bits.
//
// The f32 functions have no branch, no table and no library call, so a loop over them vectorises
// (gcc: -O3 -march=native -fno-math-errno -fno-trapping-math). They need IEEE arithmetic, rounding
// to nearest, denormals and NaN: never compile them with -ffast-math. No header is included: not the
// system's <math.h>, whose name this file shares, nor any that NVRTC lacks.
//
// docs/math.md has the greatest error and the speed of each, and how the coefficients were found.

#ifndef STATICNET_MATH_H
#define STATICNET_MATH_H

// ---------------------------------------------------------------------------------------------
// Types, bits and the platform's functions

#if defined(__CUDACC__)
#define SN_FUNC __device__ __forceinline__
#define SN_LIBM(name) name
#define SN_FUSED(fma, a, b, c) fma(a, b, c)
#else
#define SN_FUNC static inline __attribute__((always_inline, unused))
#define SN_LIBM(name) __builtin_##name
#if defined(__FMA__) || defined(__FP_FAST_FMAF) || defined(__ARM_FEATURE_FMA)
#define SN_FUSED(fma, a, b, c) SN_LIBM(fma)(a, b, c)
#else
#define SN_FUSED(fma, a, b, c) ((a) * (b) + (c))
#endif
#endif

typedef float sn_f32;
typedef double sn_f64;
typedef signed char sn_i8;
typedef short sn_i16;
typedef int sn_i32;
typedef long long sn_i64;
typedef unsigned char sn_u8;
typedef unsigned short sn_u16;
typedef unsigned int sn_u32;
typedef unsigned long long sn_u64;
#if defined(__cplusplus)
typedef bool sn_bool;
#else
typedef _Bool sn_bool;
#endif

#if defined(__CUDACC__)
SN_FUNC sn_u32 sn_bits_f32(sn_f32 x) { return __float_as_uint(x); }
SN_FUNC sn_f32 sn_from_bits_f32(sn_u32 i) { return __uint_as_float(i); }
SN_FUNC sn_u64 sn_bits_f64(sn_f64 x) { return (sn_u64)__double_as_longlong(x); }
SN_FUNC sn_f64 sn_from_bits_f64(sn_u64 i) { return __longlong_as_double((sn_i64)i); }
#else
#define SN_BITS(name, to, from)    \
  SN_FUNC to name(from x) {        \
    to y;                          \
    __builtin_memcpy(&y, &x, sizeof y); \
    return y;                      \
  }
SN_BITS(sn_bits_f32, sn_u32, sn_f32)
SN_BITS(sn_from_bits_f32, sn_f32, sn_u32)
SN_BITS(sn_bits_f64, sn_u64, sn_f64)
SN_BITS(sn_from_bits_f64, sn_f64, sn_u64)
#endif

#define SN_INF_F32 sn_from_bits_f32(0x7F800000u)
#define SN_NAN_F32 sn_from_bits_f32(0x7FC00000u)
#define SN_INF_F64 sn_from_bits_f64(0x7FF0000000000000u)

// Adding and subtracting 1.5 * 2^23 (2^52) rounds to the nearest integer, which is then also the
// difference of the sum's bits and the constant's.
#define SN_ROUND_F32 12582912.0f
#define SN_ROUND_F64 6755399441055744.0

// a b + c, rounded once where the processor can: where one is written, and nowhere else. Compilers
// contract nothing (-ffp-contract=off, --fmad=false), so that what surrounds an expression does not
// change its bits.
SN_FUNC sn_f32 sn_fma_f32(sn_f32 a, sn_f32 b, sn_f32 c) { return SN_FUSED(fmaf, a, b, c); }
SN_FUNC sn_f64 sn_fma_f64(sn_f64 a, sn_f64 b, sn_f64 c) { return SN_FUSED(fma, a, b, c); }

// a + b x + c x^2 + ... by Horner's rule, with the multiply-add of its type
#define SN_POLY2(fma, x, a, b) fma(b, x, a)
#define SN_POLY3(fma, x, a, ...) fma(SN_POLY2(fma, x, __VA_ARGS__), x, a)
#define SN_POLY4(fma, x, a, ...) fma(SN_POLY3(fma, x, __VA_ARGS__), x, a)
#define SN_POLY5(fma, x, a, ...) fma(SN_POLY4(fma, x, __VA_ARGS__), x, a)
#define SN_POLY6(fma, x, a, ...) fma(SN_POLY5(fma, x, __VA_ARGS__), x, a)
#define SN_POLY7(fma, x, a, ...) fma(SN_POLY6(fma, x, __VA_ARGS__), x, a)
#define SN_POLY8(fma, x, a, ...) fma(SN_POLY7(fma, x, __VA_ARGS__), x, a)
#define SN_POLY9(fma, x, a, ...) fma(SN_POLY8(fma, x, __VA_ARGS__), x, a)
#define SN_POLY10(fma, x, a, ...) fma(SN_POLY9(fma, x, __VA_ARGS__), x, a)
#define SN_POLY11(fma, x, a, ...) fma(SN_POLY10(fma, x, __VA_ARGS__), x, a)
#define SN_POLY12(fma, x, a, ...) fma(SN_POLY11(fma, x, __VA_ARGS__), x, a)

// The same coefficients serve float and double arguments.
#define SN_SIN_POLY(fma, s) SN_POLY3(fma, s, -1.66666552e-1f, 8.33218731e-3f, -1.95178945e-4f)
#define SN_COS_POLY(fma, s) SN_POLY3(fma, s, 4.16666456e-2f, -1.38873095e-3f, 2.44323273e-5f)
#define SN_ATAN_POLY(fma, s)                                                                 \
  SN_POLY9(fma, s, -3.33333e-1f, 1.999853e-1f, -1.4264016e-1f, 1.09508805e-1f, -8.399306e-2f, \
           5.788139e-2f, -3.1096986e-2f, 1.0868685e-2f, -1.7828207e-3f)

// ---------------------------------------------------------------------------------------------
// Both float types: rounding, signs, comparison, roots

#define SN_FLOAT_FUNCTIONS(f, F, top)                                                          \
  SN_FUNC sn_##f sn_fabs_##f(sn_##f x) { return SN_LIBM(fabs##F)(x); }                         \
  SN_FUNC sn_##f sn_floor_##f(sn_##f x) { return SN_LIBM(floor##F)(x); }                       \
  SN_FUNC sn_##f sn_ceil_##f(sn_##f x) { return SN_LIBM(ceil##F)(x); }                         \
  SN_FUNC sn_##f sn_trunc_##f(sn_##f x) { return SN_LIBM(trunc##F)(x); }                       \
  SN_FUNC sn_##f sn_rint_##f(sn_##f x) { return SN_LIBM(rint##F)(x); }                         \
  SN_FUNC sn_##f sn_sqrt_##f(sn_##f x) { return SN_LIBM(sqrt##F)(x); }                         \
  SN_FUNC sn_##f sn_rsqrt_##f(sn_##f x) { return 1 / SN_LIBM(sqrt##F)(x); }                    \
  SN_FUNC sn_##f sn_copysign_##f(sn_##f x, sn_##f y) { return SN_LIBM(copysign##F)(x, y); }    \
  /* NaN wins, in either operand */                                                            \
  SN_FUNC sn_##f sn_maximum_##f(sn_##f x, sn_##f y) { return ((x > y) | (x != x)) ? x : y; }    \
  SN_FUNC sn_##f sn_minimum_##f(sn_##f x, sn_##f y) { return ((x < y) | (x != x)) ? x : y; }    \
  SN_FUNC sn_##f sn_relu_##f(sn_##f x) { return x <= 0 ? 0 : x; }                              \
  SN_FUNC sn_##f sn_sign_##f(sn_##f x) {                                                       \
    sn_##f y = (sn_##f)(x > 0 ? 1 : 0) - (sn_##f)(x < 0 ? 1 : 0);                              \
    return x != x ? x : y;                                                                     \
  }                                                                                            \
  SN_FUNC sn_bool sn_isnan_##f(sn_##f x) { return x != x; }                                    \
  SN_FUNC sn_bool sn_isinf_##f(sn_##f x) { return sn_fabs_##f(x) == sn_from_bits_##f(top); }   \
  SN_FUNC sn_bool sn_isfinite_##f(sn_##f x) { return sn_fabs_##f(x) < sn_from_bits_##f(top); } \
  SN_FUNC sn_bool sn_signbit_##f(sn_##f x) { return SN_LIBM(copysign##F)((sn_##f)1, x) < 0; }

// The next value after x in the direction of y, of a type whose bits U load() and store() take.
#define SN_NEXTAFTER(NAME, T, U, LOAD, STORE)                                                  \
  SN_FUNC T NAME(T x, T y) {                                                                   \
    const U bits = STORE(x), sign = STORE(y) & ((U)1 << (8 * sizeof(U) - 1));                  \
    const U next = (U)((x < y) == (x > 0) ? bits + 1u : bits - 1u);                            \
    const T moved = LOAD(x == 0 ? (U)(sign | 1u) : next);                                      \
    return x != x || y != y ? x + y : x == y ? y : moved;                                      \
  }

SN_FLOAT_FUNCTIONS(f32, f, 0x7F800000u)
SN_FLOAT_FUNCTIONS(f64, , 0x7FF0000000000000u)
SN_NEXTAFTER(sn_nextafter_f32, sn_f32, sn_u32, sn_from_bits_f32, sn_bits_f32)
SN_NEXTAFTER(sn_nextafter_f64, sn_f64, sn_u64, sn_from_bits_f64, sn_bits_f64)

// ---------------------------------------------------------------------------------------------
// float32: exponentials

// 2^n for n in [-126, 127].
SN_FUNC sn_f32 sn_pow2_f32(sn_i32 n) { return sn_from_bits_f32((sn_u32)(n + 127) << 23); }

// x = n ln(2) + r with |r| <= ln(2)/2, by Cody and Waite; sets n, gives r.
SN_FUNC sn_f32 sn_exp_reduce_f32(sn_f32 x, sn_i32 *n) {
  sn_f32 t = sn_fma_f32(x, 1.44269504f, SN_ROUND_F32);
  sn_f32 k = t - SN_ROUND_F32;
  *n = (sn_i32)(sn_bits_f32(t) - 0x4B400000u);
  return sn_fma_f32(-k, 1.42860677e-6f, sn_fma_f32(-k, 0.693145752f, x));
}

// e^r for |r| <= ln(2)/2.
SN_FUNC sn_f32 sn_exp_poly_f32(sn_f32 r) {
  sn_f32 p = SN_POLY5(sn_fma_f32, r, 4.9999994e-1f, 1.66665167e-1f, 4.16681021e-2f, 8.36916454e-3f,
                      1.38379715e-3f);
  return sn_fma_f32(p, r * r, r) + 1.0f;
}

// e^x for |x| <= 87, where 2^n is one normal factor.
SN_FUNC sn_f32 sn_exp_inner_f32(sn_f32 x) {
  sn_i32 n;
  sn_f32 r = sn_exp_reduce_f32(x, &n);
  return sn_exp_poly_f32(r) * sn_pow2_f32(n);
}

// 2^shift e^x for all x, by two factors 2^(n/2) so that the result may be denormal. The low bits of
// t are n + shift; beyond the float range they are wrong, and the result is chosen at the end: clamping
// x first would make compilers follow the clamped values through all that comes after.
SN_FUNC sn_f32 sn_exp_shifted_f32(sn_f32 x, sn_i32 shift) {
  sn_f32 t = sn_fma_f32(x, 1.44269504f, SN_ROUND_F32);
  sn_f32 k = t - SN_ROUND_F32;
  sn_f32 r = sn_fma_f32(-k, 1.42860677e-6f, sn_fma_f32(-k, 0.693145752f, x));
  sn_u32 n = sn_bits_f32(t) + (sn_u32)shift;
  sn_u32 half = (n << 22) & 0xFF800000u, rest = (n << 23) - half;
  sn_f32 y = sn_exp_poly_f32(r) * sn_from_bits_f32(half + 0x3F800000u) *
             sn_from_bits_f32(rest + 0x3F800000u);
  y = x > 90.0f ? sn_from_bits_f32(0x7F800000u) : y;
  return x < -105.0f ? 0.0f : y;
}

SN_FUNC sn_f32 sn_exp_f32(sn_f32 x) { return sn_exp_shifted_f32(x, 0); }

// e^x for x <= 0, by factors 2^(n+24) and 2^-24: the first is normal wherever the result is not 0.
SN_FUNC sn_f32 sn_exp_nonpositive_f32(sn_f32 x) {
  sn_f32 t = sn_fma_f32(x, 1.44269504f, SN_ROUND_F32);
  sn_f32 k = t - SN_ROUND_F32;
  sn_f32 r = sn_fma_f32(-k, 1.42860677e-6f, sn_fma_f32(-k, 0.693145752f, x));
  sn_f32 scale = sn_from_bits_f32((sn_bits_f32(t) + 151u) << 23);
  sn_f32 y = sn_exp_poly_f32(r) * scale * 5.96046448e-8f;
  return x < -104.0f ? 0.0f : y;
}

// e^x - 1 = 2^n (e^r - 1) + (2^n - 1), halved until the end lest 2^128 overflow.
SN_FUNC sn_f32 sn_expm1_f32(sn_f32 x) {
  sn_i32 n;
  sn_f32 r, p, h, y, c = x > 90.0f ? 90.0f : x;
  c = c < -20.0f ? -20.0f : c;
  r = sn_exp_reduce_f32(c, &n);
  p = SN_POLY6(sn_fma_f32, r, 5e-1f, 1.6666666e-1f, 4.1666493e-2f, 8.333545e-3f, 1.3932331e-3f,
               1.9762566e-4f);
  p = sn_fma_f32(p, r * r, r);
  n = (sn_i32)((sn_u32)n - 1u);
  n = n > 127 ? 127 : n;
  h = sn_pow2_f32(n);
  y = 2.0f * (h * p + (h - 0.5f));
  y = c >= 89.0f ? SN_INF_F32 : y;
  return sn_fabs_f32(x) < 1e-9f ? x : y;
}

// 1 / (1 + e^-x), from e^-|x| so that nothing overflows and the left tail keeps its digits.
SN_FUNC sn_f32 sn_sigmoid_f32(sn_f32 x) {
  sn_f32 z = sn_exp_nonpositive_f32(-sn_fabs_f32(x));
  return (x < 0.0f ? z : 1.0f) / (1.0f + z);
}

// 1 - 2 / (e^2|x| + 1) from 0.55 on (1 from 9.02 on), below that an odd polynomial.
SN_FUNC sn_f32 sn_tanh_f32(sn_f32 x) {
  sn_f32 a = sn_fabs_f32(x), s = x * x;
  sn_f32 p = SN_POLY5(sn_fma_f32, s, -3.3333316e-1f, 1.3332546e-1f, -5.3847853e-2f, 2.1052506e-2f,
                      -6.246065e-3f);
  sn_f32 c = a > 10.0f ? 10.0f : a;
  sn_f32 y = 1.0f - 2.0f / (sn_exp_inner_f32(c + c) + 1.0f);
  return sn_copysign_f32(a < 0.55f ? sn_fma_f32(a, s * p, a) : y, x);
}

// 1 - e^-g(|x|) from 0.85 on with g = -ln(erfc) (1 from 3.93 on), below that an odd polynomial.
SN_FUNC sn_f32 sn_erf_f32(sn_f32 x) {
  sn_f32 a = sn_fabs_f32(x), s = x * x;
  sn_f32 p = SN_POLY6(sn_fma_f32, s, 1.2837917e-1f, -3.761259e-1f, 1.1282865e-1f, -2.6807288e-2f,
                      5.0577037e-3f, -6.3485187e-4f);
  sn_f32 c = a > 4.0f ? 4.0f : a;
  sn_f32 g = SN_POLY7(sn_fma_f32, c, 1.045192e-4f, 1.128061f, 6.365188e-1f, 1.0452616e-1f,
                      -2.2519225e-2f, 3.117916e-3f, -2.0368537e-4f);
  sn_f32 y = 1.0f - sn_exp_inner_f32(-g);
  return sn_copysign_f32(a < 0.85f ? sn_fma_f32(a, p, a) : y, x);
}

// ---------------------------------------------------------------------------------------------
// float32: logarithms

// ln(1 + f) + k ln(2) for f in [sqrt(1/2) - 1, sqrt(2) - 1].
SN_FUNC sn_f32 sn_log_sum_f32(sn_f32 f, sn_f32 k) {
  sn_f32 p = SN_POLY8(sn_fma_f32, f, 3.333333e-1f, -2.5000823e-1f, 2.000125e-1f, -1.6623315e-1f,
                      1.4201273e-1f, -1.3160191e-1f, 1.2764768e-1f, -7.6381885e-2f);
  sn_f32 r = sn_fma_f32(f * f, sn_fma_f32(f, p, -0.5f), k * 1.42860677e-6f);
  return sn_fma_f32(k, 0.693145752f, f + r);
}

// x = 2^k (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)); sets k, gives f. x may be denormal.
SN_FUNC sn_f32 sn_log_reduce_f32(sn_f32 x, sn_f32 *k) {
  sn_bool small = x < 1.17549435e-38f;
  sn_u32 i = sn_bits_f32(small ? x * 8388608.0f : x);
  sn_i32 n = (sn_i32)(i - 0x3F3504F3u) >> 23;
  *k = (sn_f32)n - (small ? 23.0f : 0.0f);
  return sn_from_bits_f32(i - ((sn_u32)n << 23)) - 1.0f;
}

// Of a logarithm y of x: NaN below 0, -Inf at 0, Inf at Inf.
SN_FUNC sn_f32 sn_log_special_f32(sn_f32 x, sn_f32 y) {
  y = x < SN_INF_F32 ? y : x;
  y = x < 0.0f ? SN_NAN_F32 : y;
  return x == 0.0f ? -SN_INF_F32 : y;
}

SN_FUNC sn_f32 sn_log_f32(sn_f32 x) {
  sn_f32 k, f = sn_log_reduce_f32(x, &k);
  return sn_log_special_f32(x, sn_log_sum_f32(f, k));
}

SN_FUNC sn_f32 sn_log2_f32(sn_f32 x) {
  sn_f32 k, f = sn_log_reduce_f32(x, &k);
  return sn_log_special_f32(x, sn_log_sum_f32(f, 0.0f) * 1.44269504f + k);
}

SN_FUNC sn_f32 sn_log10_f32(sn_f32 x) {
  sn_f32 k, f = sn_log_reduce_f32(x, &k);
  sn_f32 r = sn_log_sum_f32(f, 0.0f) * 0.434294482f + k * 4.60503893e-6f;
  return sn_log_special_f32(x, k * 0.301025391f + r);
}

// ln(1 + x) = k ln(2) + ln(1 + f), 2^k near 1 + x, and f = 2^-k x + (2^-k - 1) from x itself.
SN_FUNC sn_f32 sn_log1p_f32(sn_f32 x) {
  sn_f32 u = 1.0f + x, f, y;
  sn_i32 k = (sn_i32)(sn_bits_f32(u) - 0x3F3504F3u) >> 23;
  sn_f32 scale = 0.25f * sn_from_bits_f32((sn_u32)(129 - k) << 23);
  f = x * scale + (scale - 1.0f);
  y = sn_log_special_f32(u, sn_log_sum_f32(f, (sn_f32)k));
  return x == 0.0f ? x : y;
}

// ---------------------------------------------------------------------------------------------
// float32: circular functions

// |x| = q pi/2 + r, |r| <= pi/4, over the whole range; sets q mod 4, gives r.
// 2/pi is three doubles, by the exponent of x without the bits whose product with x is a multiple
// of 4 (Payne and Hanek's observation). The first two have 29 bits, so their products are exact.
SN_FUNC sn_f64 sn_circular_reduce_f32(sn_f32 x, sn_u32 *q) {
  sn_f32 a = sn_fabs_f32(x);
  sn_f64 w = a, t, u;
  sn_f64 c1 = 0.636619770899415, c2 = 1.4681663246252086e-9, c3 = 2.276010073078396e-18;
  c1 = a < 1125899906842624.0f ? c1 : 2.5682553250749862e-8;  // 2^50
  c2 = a < 1125899906842624.0f ? c2 : 1.6153797803925804e-17;
  c3 = a < 1125899906842624.0f ? c3 : 7.696704864039572e-26;
  c1 = a < 7.5557863725914323e22f ? c1 : 2.937095537534198e-16;  // 2^76
  c2 = a < 7.5557863725914323e22f ? c2 : 2.83762200841452e-25;
  c3 = a < 7.5557863725914323e22f ? c3 : 9.372006544409767e-34;
  c1 = a < 5.0706024009129176e30f ? c1 : 6.074026479468182e-24;  // 2^102
  c2 = a < 5.0706024009129176e30f ? c2 : 1.0181664371599596e-32;
  c3 = a < 5.0706024009129176e30f ? c3 : 1.590011303568902e-41;
  t = w * c1;
  t -= 4.0 * ((t * 0.25 + SN_ROUND_F64) - SN_ROUND_F64);
  t += w * c2;
  u = t + SN_ROUND_F64;
  *q = (sn_u32)sn_bits_f64(u);
  return ((t - (u - SN_ROUND_F64)) + w * c3) * 1.5707963267948966;
}

// sin(q pi/2 + r), |r| <= pi/4.
SN_FUNC sn_f32 sn_sin_quadrant_f32(sn_f32 r, sn_u32 q) {
  sn_f32 s = r * r;
  sn_f32 sine = r + r * (s * SN_SIN_POLY(sn_fma_f32, s));
  sn_f32 cosine = 1.0f - (0.5f * s - s * s * SN_COS_POLY(sn_fma_f32, s));
  sn_f32 y = q & 1u ? cosine : sine;
  return sn_from_bits_f32(sn_bits_f32(y) ^ ((q & 2u) << 30));
}

SN_FUNC sn_f32 sn_sin_f32(sn_f32 x) {
  sn_u32 q;
  sn_f32 r = (sn_f32)sn_circular_reduce_f32(x, &q);
  sn_f32 y = sn_sin_quadrant_f32(r, q);
  return sn_from_bits_f32(sn_bits_f32(y) ^ (sn_bits_f32(x) & 0x80000000u));
}

SN_FUNC sn_f32 sn_cos_f32(sn_f32 x) {
  sn_u32 q;
  sn_f32 r = (sn_f32)sn_circular_reduce_f32(x, &q);
  return sn_sin_quadrant_f32(r, q + 1u);
}

// sin(r) / cos(r), or -cos(r) / sin(r) in the odd quadrants, in double.
SN_FUNC sn_f32 sn_tan_f32(sn_f32 x) {
  sn_u32 q;
  sn_f64 r = sn_circular_reduce_f32(x, &q), s = r * r;
  sn_f64 sine = r + r * (s * SN_SIN_POLY(sn_fma_f64, s));
  sn_f64 cosine = 1.0 - (0.5 * s - s * s * SN_COS_POLY(sn_fma_f64, s));
  sn_bool odd = q & 1u;
  sn_f32 y = (sn_f32)((odd ? -cosine : sine) / (odd ? sine : cosine));
  return sn_from_bits_f32(sn_bits_f32(y) ^ (sn_bits_f32(x) & 0x80000000u));
}

// asin(|x|) for |x| <= 1/2, else asin(sqrt((1 - |x|) / 2)), with asin|x| = pi/2 - 2 of it.
SN_FUNC sn_f32 sn_asin_reduced_f32(sn_f32 x) {
  sn_f32 a = sn_fabs_f32(x);
  sn_f32 z = a > 0.5f ? 0.5f - 0.5f * a : a * a;
  sn_f32 s = a > 0.5f ? SN_LIBM(sqrtf)(z) : a;
  sn_f32 p = SN_POLY5(sn_fma_f32, z, 1.66667521e-1f, 7.49530941e-2f, 4.54691537e-2f, 2.41847411e-2f,
                      4.21583988e-2f);
  return s + s * (z * p);
}

SN_FUNC sn_f32 sn_asin_f32(sn_f32 x) {
  sn_f32 p = sn_asin_reduced_f32(x);
  sn_f32 y = sn_fabs_f32(x) > 0.5f ? (1.57079637f - 2.0f * p) - 4.37113883e-8f : p;
  return sn_copysign_f32(y, x);
}

SN_FUNC sn_f32 sn_acos_f32(sn_f32 x) {
  sn_f32 p = sn_asin_reduced_f32(x);
  sn_f32 middle = 1.57079637f - (sn_copysign_f32(p, x) + 4.37113883e-8f);
  sn_f32 outer = x > 0.0f ? 2.0f * p : 3.14159274f - (2.0f * p + 8.74227766e-8f);
  return sn_fabs_f32(x) > 0.5f ? outer : middle;
}

// atan t for t = min(|x|, 1/|x|), and pi/2 less that where |x| > 1.
SN_FUNC sn_f32 sn_atan_f32(sn_f32 x) {
  sn_f32 a = sn_fabs_f32(x);
  sn_bool far = a > 1.0f;
  sn_f32 t = (far ? 1.0f : a) / (far ? a : 1.0f), s = t * t;
  sn_f32 y = t + t * (s * SN_ATAN_POLY(sn_fma_f32, s));
  y = far ? 1.57079637f - (y + 4.37113883e-8f) : y;
  return sn_copysign_f32(y, x);
}

// The angle of the point (y, x) from that of the octant's, in double.
SN_FUNC sn_f32 sn_atan2_f32(sn_f32 x, sn_f32 y) {
  sn_f64 a = sn_fabs_f32(x), b = sn_fabs_f32(y), t, s, r;
  sn_bool steep = a > b;
  sn_f64 low = steep ? b : a, high = steep ? a : b;
  t = low / high;
  t = high == 0.0 ? 0.0 : t;
  t = low == SN_INF_F64 ? 1.0 : t;
  s = t * t;
  r = t + t * (s * SN_ATAN_POLY(sn_fma_f64, s));
  r = steep ? 1.5707963267948966 - r : r;
  r = sn_signbit_f32(y) ? 3.141592653589793 - r : r;
  r = ((x != x) | (y != y)) ? (sn_f64)(x + y) : r;
  return sn_copysign_f32((sn_f32)r, x);
}

// ---------------------------------------------------------------------------------------------
// float32: hyperbolic functions

// e^|x|/2 - e^-|x|/2 from 1 on, below that an odd polynomial.
SN_FUNC sn_f32 sn_sinh_f32(sn_f32 x) {
  sn_f32 a = sn_fabs_f32(x), s = a * a, h = sn_exp_shifted_f32(a, -1);
  sn_f32 p = SN_POLY4(sn_fma_f32, s, 1.66666672e-1f, 8.33331048e-3f, 1.98428956e-4f,
                      2.78221319e-6f);
  sn_f32 y = a > 1.0f ? h - 0.25f / h : sn_fma_f32(a, s * p, a);
  return sn_copysign_f32(y, x);
}

SN_FUNC sn_f32 sn_cosh_f32(sn_f32 x) {
  sn_f32 h = sn_exp_shifted_f32(sn_fabs_f32(x), -1);
  return h + 0.25f / h;
}

// ln(x + sqrt(x^2 + 1)) = log1p(x + x^2 / (1 + sqrt(x^2 + 1))), or ln(2x) for large x.
SN_FUNC sn_f32 sn_asinh_f32(sn_f32 x) {
  sn_f32 a = sn_fabs_f32(x), s = a * a, y;
  sn_bool large = a > 1e9f;
  sn_f32 z = large ? 0.5f * a : a + s / (1.0f + SN_LIBM(sqrtf)(1.0f + s));
  y = sn_log1p_f32(z) + (large ? 1.38629436f : 0.0f);
  return sn_copysign_f32(y, x);
}

// ln(x + sqrt(x^2 - 1)) = log1p(t + sqrt(t (t + 2))) for t = x - 1, or ln(2x) for large x.
SN_FUNC sn_f32 sn_acosh_f32(sn_f32 x) {
  sn_f32 t = x - 1.0f, y;
  sn_bool large = x > 1e9f;
  sn_f32 z = large ? 0.5f * x : t + SN_LIBM(sqrtf)(t * (t + 2.0f));
  y = sn_log1p_f32(z) + (large ? 1.38629436f : 0.0f);
  return x < 1.0f ? SN_NAN_F32 : y;
}

// log1p(2x / (1 - x)) / 2, with 2x / (1 - x) = 2x + 2x^2 / (1 - x).
SN_FUNC sn_f32 sn_atanh_f32(sn_f32 x) {
  sn_f32 a = sn_fabs_f32(x), d = a + a;
  sn_f32 y = 0.5f * sn_log1p_f32(d + d * a / (1.0f - a));
  y = a == 1.0f ? SN_INF_F32 : y;
  return sn_copysign_f32(a > 1.0f ? SN_NAN_F32 : y, x);
}

// ---------------------------------------------------------------------------------------------
// float32: functions of two arguments, in double

// In double the squares neither overflow nor vanish.
SN_FUNC sn_f32 sn_hypot_f32(sn_f32 x, sn_f32 y) {
  sn_f32 a = sn_fabs_f32(x), b = sn_fabs_f32(y);
  sn_f32 r = (sn_f32)SN_LIBM(sqrt)((sn_f64)a * a + (sn_f64)b * b);
  return a == SN_INF_F32 || b == SN_INF_F32 ? SN_INF_F32 : r;
}

// 2^(y log2|x|); log2 by an odd polynomial in (m - 1) / (m + 1); special cases as C99 has them.
SN_FUNC sn_f32 sn_pow_f32(sn_f32 x, sn_f32 y) {
  sn_f32 a = sn_fabs_f32(x);
  sn_f64 w = a, v = y, m, s, z, l, t, k, p, r;
  sn_u64 i = sn_bits_f64(w);
  sn_i32 e = (sn_i32)(sn_u32)((i - 0x3FE6A09E00000000u) >> 52);
  sn_i32 whole, odd;
  e = (sn_i32)((sn_u32)e << 20) >> 20;  // 12 bits of exponent, with their sign
  m = sn_from_bits_f64(i - ((sn_u64)(sn_i64)e << 52));
  s = (m - 1.0) / (m + 1.0);
  z = s * s;
  l = s * SN_POLY5(sn_fma_f64, z, 2.8853900817901077, 9.617966732873422e-1, 5.770835970889452e-1,
                   4.11671922643661e-1, 3.4074585876315827e-1) + (sn_f64)e;
  l = a == 0.0f ? -SN_INF_F64 : l;
  l = a < SN_INF_F32 ? l : w;
  t = v * l;
  t = a == 1.0f ? 0.0 : t;
  t = t > 200.0 ? 200.0 : t;
  t = t < -200.0 ? -200.0 : t;
  k = t + SN_ROUND_F64;
  p = t - (k - SN_ROUND_F64);
  r = SN_POLY7(sn_fma_f64, p, 1.0, 6.931472028815906e-1, 2.40226479102613e-1, 5.550332408295674e-2,
               9.61843760575188e-3, 1.3398900721667026e-3, 1.535334222191087e-4);
  r *= sn_from_bits_f64((sn_bits_f64(k) + 1023u) << 52);
  whole = sn_rint_f32(y) == y;
  odd = whole & (sn_rint_f32(0.5f * y) != 0.5f * y);
  r = (odd & (sn_i32)(sn_bits_f32(x) >> 31)) ? -r : r;
  r = ((whole ^ 1) & (x < 0.0f) & (a < SN_INF_F32)) ? (sn_f64)SN_NAN_F32 : r;
  r = y != y ? v : r;
  return ((x == 1.0f) | (y == 0.0f)) ? 1.0f : (sn_f32)r;
}

// max(x, y) + ln(1 + e^-|x - y|), in double to the end: the sum may cancel.
SN_FUNC sn_f32 sn_logaddexp_f32(sn_f32 x, sn_f32 y) {
  sn_f64 d = -SN_LIBM(fabs)((sn_f64)x - (sn_f64)y), k, r, e, s, z, l;
  sn_bool half;
  d = x == y ? 0.0 : d;
  d = d < -200.0 ? -200.0 : d;
  k = d * 1.4426950408889634 + SN_ROUND_F64;
  r = d - (k - SN_ROUND_F64) * 0.6931471805599453;
  e = SN_POLY12(sn_fma_f64, r, 0.5, 1.0 / 6, 1.0 / 24, 1.0 / 120, 1.0 / 720, 1.0 / 5040,
                1.0 / 40320, 1.0 / 362880, 1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600,
                1.0 / 6227020800);
  e = (e * (r * r) + r) + 1.0;
  e *= sn_from_bits_f64((sn_bits_f64(k) + 1023u) << 52);
  // 1 + e = (1 + s) / (1 - s), or twice that
  half = e > 0.41421356;
  s = (half ? e - 1.0 : e) / (half ? e + 3.0 : e + 2.0);
  z = s * s;
  l = SN_POLY11(sn_fma_f64, z, 2.0, 2.0 / 3, 2.0 / 5, 2.0 / 7, 2.0 / 9, 2.0 / 11, 2.0 / 13,
                2.0 / 15, 2.0 / 17, 2.0 / 19, 2.0 / 21);
  l = s * l + (half ? 0.6931471805599453 : 0.0);
  return (sn_f32)((sn_f64)sn_maximum_f32(x, y) + l);
}

// x - b rint(x / b) without error, 28 bits of the quotient at a time, then moved to b's sign.
// Infinite b acts as 2^200: larger than any x, and past float's range.
#define SN_REMAINDER_STEP(k)                                            \
  r -= ((r * (inverse * sn_from_bits_f64((1023ull - k) << 52)) + SN_ROUND_F64) - SN_ROUND_F64) * \
       (b * sn_from_bits_f64((1023ull + k) << 52))
SN_FUNC sn_f64 sn_floor_mod_f32(sn_f32 x, sn_f64 b) {
  sn_f64 r = x, inverse = 1.0 / b;
  SN_REMAINDER_STEP(252);
  SN_REMAINDER_STEP(224);
  SN_REMAINDER_STEP(196);
  SN_REMAINDER_STEP(168);
  SN_REMAINDER_STEP(140);
  SN_REMAINDER_STEP(112);
  SN_REMAINDER_STEP(84);
  SN_REMAINDER_STEP(56);
  SN_REMAINDER_STEP(28);
  SN_REMAINDER_STEP(0);
  return r * b < 0.0 ? r + b : r;
}
#undef SN_REMAINDER_STEP

SN_FUNC sn_f64 sn_divisor_f32(sn_f32 y) {
  return sn_isinf_f32(y) ? (sn_f64)sn_copysign_f32(1.0f, y) * 1.6069380442589903e60 : (sn_f64)y;
}

// The sign of y, as Python and NumPy have it; a zero has y's sign too.
SN_FUNC sn_f32 sn_remainder_f32(sn_f32 x, sn_f32 y) {
  sn_f32 r = (sn_f32)sn_floor_mod_f32(x, sn_divisor_f32(y));
  return r == 0.0f ? sn_copysign_f32(r, y) : r;
}

// floor(x / y), exact before rounding; x / 0 is the quotient.
SN_FUNC sn_f32 sn_floor_divide_f32(sn_f32 x, sn_f32 y) {
  sn_f64 b = sn_divisor_f32(y);
  sn_f32 quotient = x / y;
  sn_f32 q = (sn_f32)SN_LIBM(rint)(((sn_f64)x - sn_floor_mod_f32(x, b)) / b);
  q = q == 0.0f ? sn_copysign_f32(0.0f, quotient) : q;
  return y == 0.0f ? quotient : q;
}

// ---------------------------------------------------------------------------------------------
// float64: the platform's libm, and what it lacks

#define SN_LIBM_UNARY_F64(name) \
  SN_FUNC sn_f64 sn_##name##_f64(sn_f64 x) { return SN_LIBM(name)(x); }
SN_LIBM_UNARY_F64(exp)
SN_LIBM_UNARY_F64(expm1)
SN_LIBM_UNARY_F64(log)
SN_LIBM_UNARY_F64(log1p)
SN_LIBM_UNARY_F64(log2)
SN_LIBM_UNARY_F64(log10)
SN_LIBM_UNARY_F64(sin)
SN_LIBM_UNARY_F64(cos)
SN_LIBM_UNARY_F64(tan)
SN_LIBM_UNARY_F64(asin)
SN_LIBM_UNARY_F64(acos)
SN_LIBM_UNARY_F64(atan)
SN_LIBM_UNARY_F64(sinh)
SN_LIBM_UNARY_F64(cosh)
SN_LIBM_UNARY_F64(tanh)
SN_LIBM_UNARY_F64(asinh)
SN_LIBM_UNARY_F64(acosh)
SN_LIBM_UNARY_F64(atanh)
SN_LIBM_UNARY_F64(erf)

// Compilers take x^(1/2) for a square root, which differs at -0 and -infinity.
SN_FUNC sn_f64 sn_pow_f64(sn_f64 x, sn_f64 y) {
  sn_f64 root = x == -SN_INF_F64 ? SN_INF_F64 : SN_LIBM(sqrt)(x) + 0.0;
  return y == 0.5 ? root : SN_LIBM(pow)(x, y);
}
SN_FUNC sn_f64 sn_atan2_f64(sn_f64 x, sn_f64 y) { return SN_LIBM(atan2)(x, y); }
SN_FUNC sn_f64 sn_hypot_f64(sn_f64 x, sn_f64 y) { return SN_LIBM(hypot)(x, y); }

SN_FUNC sn_f64 sn_sigmoid_f64(sn_f64 x) {
  sn_f64 z = SN_LIBM(exp)(-SN_LIBM(fabs)(x));
  return (x < 0.0 ? z : 1.0) / (1.0 + z);
}

SN_FUNC sn_f64 sn_logaddexp_f64(sn_f64 x, sn_f64 y) {
  sn_f64 d = x == y ? 0.0 : SN_LIBM(fabs)(x - y);
  return sn_maximum_f64(x, y) + SN_LIBM(log1p)(SN_LIBM(exp)(-d));
}

SN_FUNC sn_f64 sn_remainder_f64(sn_f64 x, sn_f64 y) {
  sn_f64 r = SN_LIBM(fmod)(x, y);
  r = (r < 0.0 && y > 0.0) || (r > 0.0 && y < 0.0) ? r + y : r;
  return r == 0.0 ? SN_LIBM(copysign)(r, y) : r;
}

SN_FUNC sn_f64 sn_floor_divide_f64(sn_f64 x, sn_f64 y) {
  sn_f64 r = SN_LIBM(fmod)(x, y), quotient = x / y;
  sn_f64 q = (x - r) / y - ((r < 0.0 && y > 0.0) || (r > 0.0 && y < 0.0) ? 1.0 : 0.0);
  q = SN_LIBM(rint)(q);
  q = q == 0.0 ? SN_LIBM(copysign)(0.0, quotient) : q;
  return y == 0.0 ? quotient : q;
}

#endif  // STATICNET_MATH_H
