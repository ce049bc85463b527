// Floats as decimals: the integer n and the distance in units of the last place for which n / 10^e + distance is
// exactly the value.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "lambda/point.h"

namespace lambda::packed {

inline constexpr size_t kDecimalSamples = 32;

// Of the values of one piece (kMini of them). `wrong` is 0 where the value is such a decimal, and something else
// where it is none: there the other two mean nothing. False: there is nothing wrong.
bool split_decimals(ValueType type, const uint64_t* bits, double power, uint64_t* integers, uint64_t* ulps,
                    uint64_t* wrong);

// What kDecimalSamples values come to. Ranges are those of the values that are such decimals, 0 if there are none.
struct DecimalSample {
  size_t exceptions = 0;
  uint64_t range = 0;
  uint64_t ulp_range = 0;
  bool any_ulps = false;
};
DecimalSample sample_decimals(ValueType type, const uint64_t* bits, double power);

}  // namespace lambda::packed
