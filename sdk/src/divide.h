// The quotient of a double and a whole number as a processor with doubles, or the compiler's routine, rounds it. That
// routine comes with its multiplication and takes a small core a kilobyte of flash, for a speed that has no use here.
#pragma once

#include <stdint.h>

namespace lambda {

// `by`: 1 to 2^62, a number that a double holds exactly. Long division, a bit a step.
inline double divide_by_steps(double value, uint64_t by) {
  constexpr uint64_t kOne = uint64_t{1} << 52;
  const auto bits = __builtin_bit_cast(uint64_t, value);
  const uint64_t sign = bits >> 63 << 63;
  uint64_t rest = bits ^ sign;
  int exponent = static_cast<int>(rest >> 52);
  if (rest == 0 || exponent == 0x7FF) return value;
  rest &= kOne - 1;
  if (exponent > 0) rest |= kOne;
  if (exponent == 0) exponent = 1;  // of numbers too small to have a leading one
  for (; rest < kOne; rest <<= 1) --exponent;
  // Both with their highest bit in place 62.
  rest <<= 10;
  for (exponent -= 62; by >> 62 == 0; by <<= 1) ++exponent;
  if (rest < by) {
    rest <<= 1;
    --exponent;
  }
  // 53 bits, one to round by, and whether anything is left. Below the smallest exponent there are fewer.
  uint64_t quotient = 0;
  for (int i = 0; i < 54; ++i, rest <<= 1) {
    quotient <<= 1;
    if (rest < by) continue;
    quotient |= 1;
    rest -= by;
  }
  bool left = rest != 0;
  for (; exponent < 1 && quotient != 0; ++exponent, quotient >>= 1) left = left || (quotient & 1) != 0;
  const bool up = (quotient & 1) != 0 && (left || (quotient & 2) != 0);
  quotient = (quotient >> 1) + (up ? 1 : 0);
  // The leading one adds the last one of the exponent.
  if (quotient != 0 && exponent > 0) quotient += static_cast<uint64_t>(exponent - 1) << 52;
  return __builtin_bit_cast(double, sign | quotient);
}

inline double divide(double value, uint64_t by) {
#if defined(__arm__) && defined(__SOFTFP__)
  return divide_by_steps(value, by);
#else
  return value / static_cast<double>(by);
#endif
}

}  // namespace lambda
