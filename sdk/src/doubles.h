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

// A place down; that something was lost stays to be seen in the last bit, which is never what rounding is done by.
inline uint64_t halve(uint64_t significand) {
  return significand >> 1 | (significand & 1);
}

// A double's parts: sign x significand x 2^(exponent - 1023 - 62). The highest bit of what raise() has seen is in place
// 62, but for zero.
struct DoubleParts {
  uint64_t significand;
  int exponent;
  bool negative;

  DoubleParts(uint64_t of, int at, bool is_negative) : significand(of), exponent(at), negative(is_negative) {}
  LAMBDA_ONE_COPY explicit DoubleParts(double value) {
    const auto bits = __builtin_bit_cast(uint64_t, value);
    negative = bits >> 63 != 0;
    exponent = static_cast<int>(bits >> 52 & kDoubleInfinite);
    significand = (bits & ((uint64_t{1} << 52) - 1)) << 10;
    if (exponent > 0) {
      significand |= uint64_t{1} << 62;
    } else {
      exponent = 1;
      raise();
    }
  }
  bool is_finite() const { return exponent < kDoubleInfinite; }

  LAMBDA_ONE_COPY void raise() {
    if (significand == 0) return;
    for (; significand >> 62 == 0; significand <<= 1) --exponent;
  }

  // The nearest double, the even one of two. The parts are used up by it.
  LAMBDA_ONE_COPY double rounded() {
    raise();
    uint64_t bits = significand;
    if (bits != 0) {
      for (; bits >> 63 != 0 || exponent < 1; ++exponent) bits = halve(bits);
      const uint64_t odd = bits >> 10 & 1;
      bits = (bits + 511 + odd) >> 10;
      // The leading one adds the last one of the exponent, and what was rounded up to the next power one more.
      bits += static_cast<uint64_t>(exponent - 1) << 52;
      if (exponent >= kDoubleInfinite) bits = uint64_t{kDoubleInfinite} << 52;
    }
    return __builtin_bit_cast(double, uint64_t{negative} << 63 | bits);
  }
};

// In the order of what they are without their sign.
inline uint64_t magnitude(double value) {
  return __builtin_bit_cast(uint64_t, value) & INT64_MAX;
}

inline double add_by_steps(double a, double b) {
  if (magnitude(a) < magnitude(b)) return add_by_steps(b, a);
  DoubleParts more(a);
  DoubleParts less(b);
  const bool alike = more.negative == less.negative;
  if (!more.is_finite()) return magnitude(a) == magnitude(b) && !alike ? __builtin_nan("") : a;
  uint64_t added = less.significand;
  for (int places = more.exponent - less.exponent; places > 0; --places) added = halve(added);
  more.significand += alike ? added : 0 - added;
  if (more.significand == 0 && !alike) more.negative = false;
  return more.rounded();
}

// `by`: 1 to 2^62, a number that a double holds exactly. Long division, a bit a step.
inline double divide_by_steps(double value, uint64_t by) {
  DoubleParts parts(value);
  if (!parts.is_finite() || parts.significand == 0) return value;
  DoubleParts divisor(by, 62, false);
  divisor.raise();
  parts.exponent -= divisor.exponent;
  uint64_t rest = parts.significand;
  uint64_t quotient = 0;
  for (int i = 0; i < 63; ++i, rest <<= 1) {
    quotient <<= 1;
    if (rest < divisor.significand) continue;
    quotient |= 1;
    rest -= divisor.significand;
  }
  parts.significand = quotient | (rest != 0 ? 1 : 0);
  return parts.rounded();
}

inline double double_by_steps(int64_t n) {
  const auto bits = static_cast<uint64_t>(n);
  return DoubleParts(n < 0 ? 0 - bits : bits, kDoubleBias + 62, n < 0).rounded();
}

// `bits` of a float.
inline double double_by_steps_of_float(uint32_t bits) {
  const bool negative = bits >> 31 != 0;
  const int exponent = static_cast<int>(bits >> 23 & 0xFF);
  const uint64_t fraction = bits & 0x7FFFFF;
  if (exponent == 0xFF) {
    return __builtin_bit_cast(double, uint64_t{negative} << 63 | uint64_t{kDoubleInfinite} << 52 | fraction << 29);
  }
  const uint64_t significand = exponent > 0 ? fraction | 1u << 23 : fraction;
  return DoubleParts(significand, (exponent > 0 ? exponent : 1) - 127 + kDoubleBias + 62 - 23, negative).rounded();
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
