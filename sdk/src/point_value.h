// What a point's bits are as a number: the same double that a gateway makes of them (query/block_samples.h).
#pragma once

#include "doubles.h"
#include "lambda/block.h"
#include "lambda/point.h"

namespace lambda {

inline uint64_t power_of_ten(uint8_t exponent) {
  uint64_t power = 1;
  for (; exponent > 0; --exponent) power *= 10;  // a double holds it exactly up to 10^22
  return power;
}

inline double point_value(ValueType type, uint64_t power, uint64_t bits) {
  if (type == ValueType::kF64) return __builtin_bit_cast(double, bits);
  if (kFurtherCodecs && type == ValueType::kF32) return double_of_float(static_cast<uint32_t>(bits));
  const double n = double_of(static_cast<int64_t>(bits));
  return type == ValueType::kDec ? divide(n, power) : n;
}

}  // namespace lambda
