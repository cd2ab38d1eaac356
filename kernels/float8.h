// 8-bit floats of generated code, one source for C and CUDA. Included after math.h.
//
// Two formats (OCP 8-bit Floating Point Specification, 2023): e4m3, with 4 bits of exponent, 3 of
// mantissa and no infinity, and e5m2. Both lie in memory as bytes and compute as float.

#ifndef STATICNET_FLOAT8_H
#define STATICNET_FLOAT8_H

// The byte of the nearest number, ties to even. What is beyond the greatest, 448 or 57344, becomes
// it, infinity too; NaN is 0x7f.
SN_FUNC sn_u8 sn_float8_f32(sn_f32 x, sn_bool e5m2) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
  sn_u16 pair;
  if (e5m2)
    asm("cvt.rn.satfinite.e5m2x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(0.0f), "f"(x));
  else
    asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(0.0f), "f"(x));
  return (sn_u8)pair;
#else
  const sn_u32 bits = sn_bits_f32(x), sign = (bits >> 24) & 0x80, magnitude = bits & 0x7fffffff;
  const sn_u32 cut = e5m2 ? 21 : 20, bias = e5m2 ? 112u << 23 : 120u << 23;
  // adding this puts a subnormal result's bits at the end of the float's, rounded to even
  const sn_f32 place = e5m2 ? 128.0f : 16384.0f;
  const sn_u32 subnormal = sn_bits_f32(sn_from_bits_f32(magnitude) + place) - sn_bits_f32(place);
  const sn_u32 half = (1u << (cut - 1)) - 1 + ((magnitude >> cut) & 1);
  const sn_u32 normal = (magnitude - bias + half) >> cut;
  const sn_u32 greatest = e5m2 ? 0x7b : 0x7e;
  sn_u32 byte = magnitude < bias + (1u << 23) ? subnormal : normal;
  byte = byte > greatest ? greatest : byte;
  return (sn_u8)(magnitude > 0x7f800000 ? 0x7f : byte | sign);
#endif
}

// The number of a byte.
SN_FUNC sn_f32 sn_float8_value_u8(sn_u8 byte, sn_bool e5m2) {
  const sn_u32 sign = (sn_u32)(byte & 0x80) << 24, magnitude = byte & 0x7f;
  const sn_u32 cut = e5m2 ? 21 : 20, bias = e5m2 ? 112u << 23 : 120u << 23;
  const sn_f32 normal = sn_from_bits_f32((magnitude << cut) + bias);
  const sn_f32 subnormal = (sn_f32)(sn_i32)magnitude * (e5m2 ? 1.52587890625e-5f : 0.001953125f);
  sn_f32 x = magnitude >> (e5m2 ? 2 : 3) ? normal : subnormal;
  x = e5m2 && magnitude == 0x7c ? SN_INF_F32 : x;
  x = magnitude > (e5m2 ? 0x7cu : 0x7eu) ? SN_NAN_F32 : x;
  return sn_from_bits_f32(sn_bits_f32(x) | sign);
}

// The greatest power of 2, at most 2^126, by which `amax` does not exceed `limit`; 1 where it is 0,
// infinite or NaN.
SN_FUNC sn_f32 sn_float8_scale_f32(sn_f32 amax, sn_f32 limit) {
  const sn_f32 most = sn_from_bits_f32(253u << 23), ratio = limit / amax;
  const sn_f32 power = sn_from_bits_f32(sn_bits_f32(ratio < most ? ratio : most) & 0x7f800000);
  return amax > 0 && amax < SN_INF_F32 ? power : 1.0f;
}

#endif  // STATICNET_FLOAT8_H
