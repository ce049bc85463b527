// Sums, quotients and conversions of doubles as a processor with doubles rounds them. The compiler's own routines take
// a small core a kilobyte and a half of flash, for a speed that has no use here.
#pragma once

#include <stdint.h>

#include "varint.h"

// The processor has no doubles of its own.
#if defined(__arm__) && (!defined(__ARM_FP) || (__ARM_FP & 8) == 0)
#define LAMBDA_DOUBLES_BY_STEPS 1
#endif

namespace lambda {

inline constexpr int kDoubleInfinite = 0x7FF;  // the exponent of what is no finite number
inline constexpr int kDoubleBias = 1023;

// A double's parts: sign x significand x 2^(exponent - 1023 - 62). The highest bit of a whole significand is in place
// 62; that of a number too small for it lies lower.
struct DoubleParts {
  uint64_t sign;  // in place 63
  uint64_t significand;
  int exponent;

  LAMBDA_ONE_COPY explicit DoubleParts(double value) {
    constexpr uint64_t kOne = uint64_t{1} << 52;
    const auto bits = __builtin_bit_cast(uint64_t, value);
    sign = bits >> 63 << 63;
    exponent = static_cast<int>(bits >> 52 & kDoubleInfinite);
    significand = bits & (kOne - 1);
    if (exponent > 0) significand |= kOne;
    if (exponent == 0) exponent = 1;
    significand <<= 10;
  }
  bool is_finite() const { return exponent < kDoubleInfinite; }
};

// A place down; that something was lost stays to be seen in the last bit, which is never what rounding is done by.
inline uint64_t halve(uint64_t significand) {
  return significand >> 1 | (significand & 1);
}

// The nearest double to what such parts are, the even one of two.
LAMBDA_ONE_COPY inline double rounded(uint64_t sign, uint64_t significand, int exponent) {
  uint64_t bits = significand;
  if (bits != 0) {
    for (; bits >> 63 != 0; bits = halve(bits)) ++exponent;
    for (; bits >> 62 == 0; bits <<= 1) --exponent;
    for (; exponent < 1; ++exponent) bits = halve(bits);
    const bool odd = (bits >> 10 & 1) != 0;
    bits = (bits + (odd ? 512 : 511)) >> 10;
    // The leading one adds the last one of the exponent, and what was rounded up to the next power one more.
    bits += static_cast<uint64_t>(exponent - 1) << 52;
    if (exponent >= kDoubleInfinite) bits = uint64_t{kDoubleInfinite} << 52;
  }
  return __builtin_bit_cast(double, sign | bits);
}

// In the order of what they are without their sign.
inline uint64_t magnitude(double value) {
  return __builtin_bit_cast(uint64_t, value) << 1;
}

inline double add_by_steps(double a, double b) {
  if (magnitude(a) < magnitude(b)) return add_by_steps(b, a);
  const DoubleParts more(a);
  DoubleParts less(b);
  if (!more.is_finite()) return magnitude(a) == magnitude(b) && more.sign != less.sign ? __builtin_nan("") : a;
  for (; less.exponent < more.exponent; ++less.exponent) less.significand = halve(less.significand);
  const bool alike = more.sign == less.sign;
  const uint64_t sum = alike ? more.significand + less.significand : more.significand - less.significand;
  return rounded(sum != 0 || alike ? more.sign : 0, sum, more.exponent);
}

// `by`: 1 to 2^62, a number that a double holds exactly. Long division, a bit a step.
inline double divide_by_steps(double value, uint64_t by) {
  DoubleParts parts(value);
  if (!parts.is_finite() || parts.significand == 0) return value;
  for (; parts.significand >> 62 == 0; parts.significand <<= 1) --parts.exponent;
  for (parts.exponent -= 62; by >> 62 == 0; by <<= 1) ++parts.exponent;
  uint64_t rest = parts.significand;
  uint64_t quotient = 0;
  for (int i = 0; i < 63; ++i, rest <<= 1) {
    quotient <<= 1;
    if (rest < by) continue;
    quotient |= 1;
    rest -= by;
  }
  return rounded(parts.sign, quotient | (rest != 0 ? 1 : 0), parts.exponent);
}

inline double double_by_steps(int64_t n) {
  const auto bits = static_cast<uint64_t>(n);
  const uint64_t sign = bits >> 63 << 63;
  return rounded(sign, sign != 0 ? 0 - bits : bits, kDoubleBias + 62);
}

// `bits` of a float.
inline double double_by_steps_of_float(uint32_t bits) {
  const uint64_t sign = static_cast<uint64_t>(bits >> 31) << 63;
  const int exponent = static_cast<int>(bits >> 23 & 0xFF);
  const uint64_t fraction = bits & 0x7FFFFF;
  if (exponent == 0xFF) {
    return __builtin_bit_cast(double, sign | uint64_t{kDoubleInfinite} << 52 | fraction << 29);
  }
  const uint64_t significand = exponent > 0 ? fraction | 1u << 23 : fraction;
  return rounded(sign, significand, (exponent > 0 ? exponent : 1) - 127 + kDoubleBias + 62 - 23);
}

#ifdef LAMBDA_DOUBLES_BY_STEPS
inline double add(double a, double b) {
  return add_by_steps(a, b);
}
inline double divide(double value, uint64_t by) {
  return divide_by_steps(value, by);
}
inline double double_of(int64_t n) {
  return double_by_steps(n);
}
inline double double_of_float(uint32_t bits) {
  return double_by_steps_of_float(bits);
}
#else
inline double add(double a, double b) {
  return a + b;
}
inline double divide(double value, uint64_t by) {
  return value / static_cast<double>(by);
}
inline double double_of(int64_t n) {
  return static_cast<double>(n);
}
inline double double_of_float(uint32_t bits) {
  return static_cast<double>(__builtin_bit_cast(float, bits));
}
#endif

}  // namespace lambda
