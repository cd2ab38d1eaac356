// Scalar functions of integers, as NumPy has them: results wrap, division by zero is 0, shifts may
// exceed the width. Included after math.h, whose names and types they follow.
//
//   fabs sign ceil floor trunc rint relu maximum minimum floor_divide remainder pow shift_left
//   shift_right
//
// And integers of floats, which C leaves open beyond the range: sn_to_<integer>_<float>.

#define SN_INTEGER_FUNCTIONS(t)                                                     \
  SN_FUNC sn_##t sn_ceil_##t(sn_##t x) { return x; }                                \
  SN_FUNC sn_##t sn_floor_##t(sn_##t x) { return x; }                               \
  SN_FUNC sn_##t sn_trunc_##t(sn_##t x) { return x; }                               \
  SN_FUNC sn_##t sn_rint_##t(sn_##t x) { return x; }                                \
  SN_FUNC sn_##t sn_maximum_##t(sn_##t x, sn_##t y) { return x > y ? x : y; }       \
  SN_FUNC sn_##t sn_minimum_##t(sn_##t x, sn_##t y) { return x < y ? x : y; }

#define SN_UNSIGNED_FUNCTIONS(bits)                                                             \
  SN_INTEGER_FUNCTIONS(u##bits)                                                                 \
  SN_FUNC sn_u##bits sn_fabs_u##bits(sn_u##bits x) { return x; }                                \
  SN_FUNC sn_u##bits sn_relu_u##bits(sn_u##bits x) { return x; }                                \
  SN_FUNC sn_u##bits sn_sign_u##bits(sn_u##bits x) { return x != 0; }                           \
  SN_FUNC sn_u##bits sn_floor_divide_u##bits(sn_u##bits x, sn_u##bits y) {                      \
    return y == 0 ? 0 : (sn_u##bits)(x / y);                                                    \
  }                                                                                             \
  SN_FUNC sn_u##bits sn_remainder_u##bits(sn_u##bits x, sn_u##bits y) {                         \
    return y == 0 ? 0 : (sn_u##bits)(x % y);                                                    \
  }                                                                                             \
  SN_FUNC sn_u##bits sn_shift_left_u##bits(sn_u##bits x, sn_u##bits y) {                        \
    return y >= bits ? 0 : (sn_u##bits)(x << (y & (bits - 1)));                                 \
  }                                                                                             \
  SN_FUNC sn_u##bits sn_shift_right_u##bits(sn_u##bits x, sn_u##bits y) {                       \
    return y >= bits ? 0 : (sn_u##bits)(x >> (y & (bits - 1)));                                 \
  }                                                                                             \
  /* by squaring, modulo 2^64 and so modulo 2^bits */                                           \
  SN_FUNC sn_u##bits sn_pow_u##bits(sn_u##bits x, sn_u##bits y) {                               \
    sn_u64 power = 1, square = x, n = y;                                                        \
    for (; n; n >>= 1, square *= square) power *= n & 1 ? square : 1;                           \
    return (sn_u##bits)power;                                                                   \
  }

#define SN_SIGNED_FUNCTIONS(bits)                                                               \
  SN_INTEGER_FUNCTIONS(i##bits)                                                                 \
  SN_FUNC sn_i##bits sn_wrapped_negative_i##bits(sn_i##bits x) {                                \
    return (sn_i##bits)(sn_u##bits)(0u - (sn_u##bits)x);                                        \
  }                                                                                             \
  SN_FUNC sn_i##bits sn_fabs_i##bits(sn_i##bits x) {                                            \
    return x < 0 ? sn_wrapped_negative_i##bits(x) : x;                                          \
  }                                                                                             \
  SN_FUNC sn_i##bits sn_relu_i##bits(sn_i##bits x) { return x < 0 ? 0 : x; }                    \
  SN_FUNC sn_i##bits sn_sign_i##bits(sn_i##bits x) { return (sn_i##bits)((x > 0) - (x < 0)); }  \
  /* C truncates: one less where there is a remainder of the other sign */                      \
  SN_FUNC sn_i##bits sn_floor_divide_i##bits(sn_i##bits x, sn_i##bits y) {                      \
    sn_i##bits d = y == 0 || y == -1 ? 1 : y;                                                   \
    sn_i##bits q = (sn_i##bits)(x / d - (x % d != 0 && (x < 0) != (d < 0)));                    \
    return y == 0 ? 0 : y == -1 ? sn_wrapped_negative_i##bits(x) : q;                           \
  }                                                                                             \
  SN_FUNC sn_i##bits sn_remainder_i##bits(sn_i##bits x, sn_i##bits y) {                         \
    sn_i##bits d = y == 0 || y == -1 ? 1 : y, r = (sn_i##bits)(x % d);                          \
    return (sn_i##bits)(r != 0 && (r < 0) != (d < 0) ? r + d : r);                              \
  }                                                                                             \
  SN_FUNC sn_i##bits sn_shift_left_i##bits(sn_i##bits x, sn_i##bits y) {                        \
    return (sn_i##bits)sn_shift_left_u##bits((sn_u##bits)x, (sn_u##bits)y);                     \
  }                                                                                             \
  SN_FUNC sn_i##bits sn_shift_right_i##bits(sn_i##bits x, sn_i##bits y) {                       \
    return (sn_i##bits)(x >> ((sn_u##bits)y >= bits ? bits - 1 : (y & (bits - 1))));            \
  }                                                                                             \
  /* NumPy refuses negative exponents: here the exact power truncated, and 0 of 0 */            \
  SN_FUNC sn_i##bits sn_pow_i##bits(sn_i##bits x, sn_i##bits y) {                               \
    sn_i##bits inverse = x == 1 || (x == -1 && !(y & 1)) ? 1 : x == -1 ? -1 : 0;                \
    return y < 0 ? inverse : (sn_i##bits)sn_pow_u##bits((sn_u##bits)x, (sn_u##bits)y);          \
  }

// Toward zero; beyond the range its nearest end, and 0 of NaN.
#define SN_TO_INTEGER(to, from, low, high, last)                               \
  SN_FUNC sn_##to sn_to_##to##_##from(sn_##from x) {                           \
    return x != x ? 0 : x >= high ? last : (sn_##to)(x > low ? x : low);       \
  }
SN_TO_INTEGER(i8, f32, -128.0f, 128.0f, 127)
SN_TO_INTEGER(i16, f32, -32768.0f, 32768.0f, 32767)
SN_TO_INTEGER(i32, f32, -2147483648.0f, 2147483648.0f, 2147483647)
SN_TO_INTEGER(i64, f32, -9223372036854775808.0f, 9223372036854775808.0f, 9223372036854775807LL)
SN_TO_INTEGER(u8, f32, 0.0f, 256.0f, 255)
SN_TO_INTEGER(u16, f32, 0.0f, 65536.0f, 65535)
SN_TO_INTEGER(u32, f32, 0.0f, 4294967296.0f, 4294967295u)
SN_TO_INTEGER(u64, f32, 0.0f, 18446744073709551616.0f, 18446744073709551615ull)
SN_TO_INTEGER(i8, f64, -128.0, 128.0, 127)
SN_TO_INTEGER(i16, f64, -32768.0, 32768.0, 32767)
SN_TO_INTEGER(i32, f64, -2147483648.0, 2147483648.0, 2147483647)
SN_TO_INTEGER(i64, f64, -9223372036854775808.0, 9223372036854775808.0, 9223372036854775807LL)
SN_TO_INTEGER(u8, f64, 0.0, 256.0, 255)
SN_TO_INTEGER(u16, f64, 0.0, 65536.0, 65535)
SN_TO_INTEGER(u32, f64, 0.0, 4294967296.0, 4294967295u)
SN_TO_INTEGER(u64, f64, 0.0, 18446744073709551616.0, 18446744073709551615ull)

SN_UNSIGNED_FUNCTIONS(8)
SN_UNSIGNED_FUNCTIONS(16)
SN_UNSIGNED_FUNCTIONS(32)
SN_UNSIGNED_FUNCTIONS(64)
SN_SIGNED_FUNCTIONS(8)
SN_SIGNED_FUNCTIONS(16)
SN_SIGNED_FUNCTIONS(32)
SN_SIGNED_FUNCTIONS(64)
