// A point: one measurement of one series. Identity is (device, boot, ref, ordinal); see proto/parcel.md.
#pragma once

#include <stdint.h>

namespace lambda {

enum class ValueType : uint8_t { kF64 = 1, kF32 = 2, kI64 = 3, kDec = 4, kState = 5 };

// `bits` is the IEEE 754 pattern for f64, the two's complement integer for i64, state and dec (n of n x 10^-k).
struct Point {
  int64_t time_ms;
  uint64_t bits;
  friend bool operator==(const Point&, const Point&) = default;
};

// Counts what is rarer than points. On a device (LAMBDA_ONE_LANE, see lambda/uplink.h) 32 bits last for its life.
#ifdef LAMBDA_ONE_LANE
using EventCount = uint32_t;
#else
using EventCount = uint64_t;
#endif

inline constexpr uint32_t kBlockPointsMax = 1024;
inline constexpr int64_t kBlockSpanMsMax = 600'000;
inline constexpr uint8_t kScaleMax = 18;

}  // namespace lambda
