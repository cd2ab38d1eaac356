// 16-bit floats of generated code, one source for C and CUDA. Included after math.h.
//
// They lie in memory as bits and compute as float; sn_round_<type> is a float that has 16 bits.

#ifndef STATICNET_FLOAT16_H
#define STATICNET_FLOAT16_H

SN_FUNC sn_f32 sn_load_bf16(sn_u16 h) { return sn_from_bits_f32((sn_u32)h << 16); }

#if defined(__CUDA_ARCH__)

SN_FUNC sn_u16 sn_store_bf16(sn_f32 x) {
  sn_u16 h;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(h) : "f"(x));
  return h;
}

SN_FUNC sn_f32 sn_load_f16(sn_u16 h) {
  sn_f32 x;
  asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(h));
  return x;
}

SN_FUNC sn_u16 sn_store_f16(sn_f32 x) {
  sn_u16 h;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(x));
  return h;
}

#else

SN_FUNC sn_u16 sn_store_bf16(sn_f32 x) {
  const sn_u32 bits = sn_bits_f32(x);
  const sn_u32 rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  return (sn_u16)(x != x ? (bits >> 16) | 0x40 : rounded);
}

SN_FUNC sn_f32 sn_load_f16(sn_u16 h) {
  const sn_u32 sign = (sn_u32)(h & 0x8000) << 16, magnitude = h & 0x7fff;
  const sn_f32 normal = sn_from_bits_f32((magnitude << 13) + (112u << 23));
  const sn_f32 subnormal = (sn_f32)magnitude * 5.9604644775390625e-8f;  // 2^-24
  const sn_f32 special = sn_from_bits_f32((magnitude << 13) + (224u << 23));
  const sn_f32 x = magnitude >= 0x7c00 ? special : magnitude >= 0x0400 ? normal : subnormal;
  return sn_from_bits_f32(sn_bits_f32(x) | sign);
}

SN_FUNC sn_u16 sn_store_f16(sn_f32 x) {
  const sn_u32 bits = sn_bits_f32(x), sign = (bits >> 16) & 0x8000, magnitude = bits & 0x7fffffff;
  // adding 0.5 puts a subnormal result's 10 bits at the end of the float's, rounded to even
  const sn_u32 subnormal = sn_bits_f32(sn_from_bits_f32(magnitude) + 0.5f) - 0x3f000000;
  const sn_u32 normal = (magnitude - (112u << 23) + 0xfff + ((magnitude >> 13) & 1)) >> 13;
  sn_u32 h = magnitude < (113u << 23) ? subnormal : normal;
  h = magnitude >= 0x477ff000 ? 0x7c00 : h;
  h = magnitude > 0x7f800000 ? 0x7e00 | ((magnitude >> 13) & 0x3ff) : h;
  return (sn_u16)(h | sign);
}

#endif

// x to a float rounded to odd, which rounds to 16 bits as x itself does.
SN_FUNC sn_f32 sn_odd_f32(sn_f64 x) {
  const sn_f32 y = (sn_f32)x;
  const sn_u32 bits = sn_bits_f32(y);
  const sn_bool away = sn_fabs_f64((sn_f64)y) > sn_fabs_f64(x);
  const sn_bool moved = !((sn_f64)y == x || x != x || (bits & 1));
  return moved ? sn_from_bits_f32(away ? bits - 1 : bits + 1) : y;
}

SN_FUNC sn_f32 sn_round_f16(sn_f32 x) { return sn_load_f16(sn_store_f16(x)); }
SN_FUNC sn_f32 sn_round_bf16(sn_f32 x) { return sn_load_bf16(sn_store_bf16(x)); }
SN_NEXTAFTER(sn_nextafter_f16, sn_f32, sn_u16, sn_load_f16, sn_store_f16)
SN_NEXTAFTER(sn_nextafter_bf16, sn_f32, sn_u16, sn_load_bf16, sn_store_bf16)

#endif  // STATICNET_FLOAT16_H
