// Special functions: erfc and its kin, the gamma function's logarithm and derivatives. One source
// for C99/C11, C++ and CUDA, included after math.h, whose names and types it uses.
//
// f64 is written here or the platform's libm; f32 is f64's, rounded once.

#ifndef STATICNET_SPECIAL_H
#define STATICNET_SPECIAL_H

#if defined(__CUDACC__)
#define SN_CALLED static __device__ __noinline__
#else
#define SN_CALLED static __attribute__((noinline, unused))
#endif
#define SN_NAN_F64 sn_from_bits_f64(0x7FF8000000000000u)
#define SN_PI 3.14159265358979324

SN_FUNC sn_f64 sn_erfc_f64(sn_f64 x) { return SN_LIBM(erfc)(x); }

SN_FUNC sn_f64 sn_lgamma_f64(sn_f64 x) { return SN_LIBM(lgamma)(x); }

// The inverse of erf. M. Giles, "Approximating the erfinv function" (GPU Computing Gems, 2011), to
// seven digits, or beyond its range what erfc's first term gives; then Halley's steps on erf, or on
// erfc where x is near 1.
SN_CALLED sn_f64 sn_erfinv_f64(sn_f64 x) {
  const sn_f64 a = SN_LIBM(fabs)(x);
  if (!(a < 1)) return a == 1 ? x * SN_INF_F64 : SN_NAN_F64;
  sn_f64 w = -(SN_LIBM(log1p)(-a) + SN_LIBM(log1p)(a)), p;
  if (w < 5) {
    w -= 2.5;
    p = SN_POLY9(sn_fma_f64, w, 1.50140941, 0.246640727, -0.00417768164, -0.00125372503,
                 0.00021858087, -4.39150654e-06, -3.5233877e-06, 3.43273939e-07, 2.81022636e-08);
  } else if (w < 16) {
    w = SN_LIBM(sqrt)(w) - 3;
    p = SN_POLY9(sn_fma_f64, w, 2.83297682, 1.00167406, 0.00943887047, -0.0076224613,
                 0.00573950773, -0.00367342844, 0.00134934322, 0.000100950558, -0.000200214257);
  } else {
    const sn_f64 tail = -SN_LIBM(log1p)(-a);
    p = SN_LIBM(sqrt)(tail - 0.5 * SN_LIBM(log)(SN_PI * tail));
  }
  sn_f64 y = p * a;
  for (int step = 0; step < 3; ++step) {
    const sn_f64 e = a < 0.5 ? SN_LIBM(erf)(y) - a : (1 - a) - SN_LIBM(erfc)(y);
    const sn_f64 u = e * 0.886226925452758014 * SN_LIBM(exp)(y * y);  // sqrt(pi) / 2
    y -= u / (1 + y * u);
  }
  return SN_LIBM(copysign)(y, x);
}

// The sum of (q + k)^-s over k >= 0, for q > 0 and s > 1, by Euler and Maclaurin: Cephes' zeta.
SN_CALLED sn_f64 sn_zeta_positive(int s, sn_f64 q) {
  const sn_f64 x = s;
  sn_f64 sum = SN_LIBM(pow)(q, -x), a = q, b = 0;
  for (int i = 0; i < 9 || a <= 9; ++i) {
    a += 1;
    b = SN_LIBM(pow)(a, -x);
    sum += b;
    if (b < sum * 1.1e-16) return sum;
  }
  const sn_f64 bernoulli[] = {12.0, -720.0, 30240.0, -1209600.0, 47900160.0,
                              -1.8924375803183791606e9, 7.47242496e10, -2.950130727918164224e12,
                              1.1646782814350067249e14, -4.5979787224074726105e15,
                              1.8152105401943546773e17, -7.1661652561756670113e18};
  sum += b * a / (x - 1) - 0.5 * b;
  sn_f64 factor = 1, k = 0;
  for (int i = 0; i < 12; ++i) {
    factor *= x + k;
    b /= a;
    const sn_f64 term = factor * b / bernoulli[i];
    sum += term;
    if (SN_LIBM(fabs)(term) < SN_LIBM(fabs)(sum) * 1.1e-16) break;
    factor *= x + k + 1;
    b /= a;
    k += 2;
  }
  return sum;
}

// d^(n+1) ln Gamma(x) / dx^(n+1) for n >= 1. Left of 0, the sum over all k of (q + k)^-s, which has
// the period 1, less that over k < 0.
SN_CALLED sn_f64 sn_polygamma_f64(int n, sn_f64 x) {
  const int s = n + 1;
  const sn_f64 even = s % 2 ? -1 : 1;
  sn_f64 sum, factorial = 1;
  for (int k = 2; k <= n; ++k) factorial *= k;
  if (x > 0) {
    if (x == SN_INF_F64) return even * 0.0;
    sum = sn_zeta_positive(s, x);
  } else {
    const sn_f64 r = x - SN_LIBM(floor)(x);
    if (r == 0) return s % 2 ? SN_NAN_F64 : SN_INF_F64;  // a pole, of two signs or of one
    sum = sn_zeta_positive(s, r) + even * (sn_zeta_positive(s, 1 - r) - sn_zeta_positive(s, 1 - x));
  }
  return even * factorial * sum;
}

// d ln Gamma(x) / dx: the recurrence up to 10, then the asymptotic series; reflected left of 0.
SN_CALLED sn_f64 sn_digamma_f64(sn_f64 x) {
  sn_f64 rest = 0;
  if (x == 0) return SN_LIBM(copysign)(SN_INF_F64, -x);
  if (x < 0) {
    const sn_f64 r = x - SN_LIBM(trunc)(x);
    if (!(r < 0)) return SN_NAN_F64;  // a pole, or infinity
    rest = -SN_PI / SN_LIBM(tan)(SN_PI * r);
    x = 1 - x;
  }
  for (; x < 10; x += 1) rest -= 1 / x;
  const sn_f64 z = 1 / (x * x);
  const sn_f64 series =
      z * SN_POLY7(sn_fma_f64, z, 1.0 / 12, -1.0 / 120, 1.0 / 252, -1.0 / 240, 1.0 / 132,
                   -691.0 / 32760, 1.0 / 12);
  return SN_LIBM(log)(x) - 0.5 / x - series + rest;
}

SN_FUNC sn_f32 sn_erfc_f32(sn_f32 x) { return (sn_f32)sn_erfc_f64(x); }
SN_FUNC sn_f32 sn_erfinv_f32(sn_f32 x) { return (sn_f32)sn_erfinv_f64(x); }
SN_FUNC sn_f32 sn_lgamma_f32(sn_f32 x) { return (sn_f32)sn_lgamma_f64(x); }
SN_FUNC sn_f32 sn_digamma_f32(sn_f32 x) { return (sn_f32)sn_digamma_f64(x); }
SN_FUNC sn_f32 sn_polygamma_f32(int n, sn_f32 x) { return (sn_f32)sn_polygamma_f64(n, x); }

#endif
