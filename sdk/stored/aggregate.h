// Aggregates, eight lanes at a time. Inlined into its callers, see bit_rows.h.
#pragma once

#include "bit_rows.h"
#include "lambda/stored_block.h"

namespace lambda::packed {

// Orders floats as their numbers, -0 below +0; NaNs lie outside everything else.
template <class Float, class Bits, class Signed>
LAMBDA_INLINE Signed float_key(Bits bits) {
  constexpr unsigned kSign = 8 * sizeof(Bits) - 1;
  return static_cast<Signed>(bits ^ (static_cast<Bits>(static_cast<Signed>(bits) >> kSign) >> 1));
}

struct Aggregator {
  static constexpr size_t kLanes = 8;

  ValueType type;
  double sum[kLanes] = {};
  double lost[kLanes] = {};  // what rounding took from the sum
  uint64_t sum_low = 0;
  int64_t sum_high = 0;
  int64_t least = INT64_MAX;  // floats: by float_key()
  int64_t greatest = INT64_MIN;
  uint64_t first = 0;
  uint64_t last = 0;
  uint32_t count = 0;
  uint32_t nan_count = 0;
  uint32_t numbers = 0;  // that were not NaN

  explicit Aggregator(ValueType value_type) : type(value_type) {}

  // Values of consecutive points, the first of which is at a multiple of kLanes in its block. Those whose `wanted` is 0
  // are passed over; the others have all bits set.
  LAMBDA_INLINE void add(const uint64_t* bits, const uint64_t* wanted, size_t n) {
    size_t taken = 0;
    for (size_t i = 0; i < n; ++i) taken += wanted[i] & 1;
    if (taken == 0) return;
    size_t begin = 0;
    while (wanted[begin] == 0) ++begin;
    size_t end = n;
    while (wanted[end - 1] == 0) --end;
    if (count == 0) first = bits[begin];
    last = bits[end - 1];
    count += static_cast<uint32_t>(taken);
    if (type == ValueType::kF64) {
      add_floats<false>(bits, wanted, n);
    } else if (type == ValueType::kF32) {
      add_floats<true>(bits, wanted, n);
    } else {
      add_integers(bits, wanted, n);
    }
  }

  Aggregates finish() const {
    Aggregates all;
    all.first = first;
    all.last = last;
    all.count = count;
    all.nan_count = nan_count;
    const bool is_float = type == ValueType::kF64 || type == ValueType::kF32;
    if (count > nan_count) {
      all.min = key_to_bits(least);
      all.max = key_to_bits(greatest);
    }
    if (is_float) {
      all.sum_low = __builtin_bit_cast(uint64_t, float_sum());
    } else {
      all.sum_low = sum_low;
      all.sum_high = sum_high;
    }
    return all;
  }

 private:
  template <bool kF32>
  LAMBDA_INLINE static double number(uint64_t bits) {
    if constexpr (kF32) {
      return static_cast<double>(__builtin_bit_cast(float, static_cast<uint32_t>(bits)));
    }
    return __builtin_bit_cast(double, bits);
  }

  template <bool kF32>
  LAMBDA_INLINE void add_floats(const uint64_t* bits, const uint64_t* wanted, size_t n) {
    uint64_t nans = 0;
    int64_t low = least;
    int64_t high = greatest;
    for (size_t i = 0; i < n; ++i) {
      const double value = number<kF32>(bits[i]);
      const bool is_nan = value != value;
      const bool takes = wanted[i] != 0 && !is_nan;
      nans += wanted[i] != 0 && is_nan ? 1 : 0;
      int64_t key;
      if constexpr (kF32) {
        key = float_key<float, uint32_t, int32_t>(static_cast<uint32_t>(bits[i]));
      } else {
        key = float_key<double, uint64_t, int64_t>(bits[i]);
      }
      low = takes && key < low ? key : low;
      high = takes && key > high ? key : high;
    }
    least = low;
    greatest = high;
    nan_count += static_cast<uint32_t>(nans);
    size_t i = 0;
    for (; i + kLanes <= n; i += kLanes) add_lanes<kF32, kLanes>(bits + i, wanted + i);
    for (size_t lane = 0; i < n; ++i, ++lane) add_lane<kF32>(bits[i], wanted[i], lane);
  }

  template <bool kF32, size_t kCount>
  LAMBDA_INLINE void add_lanes(const uint64_t* bits, const uint64_t* wanted) {
    for (size_t lane = 0; lane < kCount; ++lane) add_lane<kF32>(bits[lane], wanted[lane], lane);
  }

  template <bool kF32>
  LAMBDA_INLINE void add_lane(uint64_t bits, uint64_t wanted, size_t lane) {
    const double value = number<kF32>(bits);
    const double x = wanted != 0 && value == value ? value : 0.0;
    const double s = sum[lane];
    const double t = s + x;
    const double size_s = s < 0 ? -s : s;
    const double size_x = x < 0 ? -x : x;
    const double large = size_s >= size_x ? s : x;
    const double small = size_s >= size_x ? x : s;
    lost[lane] += (large - t) + small;
    sum[lane] = t;
  }

  LAMBDA_INLINE void add_integers(const uint64_t* bits, const uint64_t* wanted, size_t n) {
    int64_t low = least;
    int64_t high = greatest;
    uint64_t halves_low = 0;  // of 128 words of 32 bits: no carry is lost
    int64_t halves_high = 0;
    for (size_t i = 0; i < n; ++i) {
      const auto value = static_cast<int64_t>(bits[i]);
      low = wanted[i] != 0 && value < low ? value : low;
      high = wanted[i] != 0 && value > high ? value : high;
      halves_low += bits[i] & wanted[i] & 0xFFFFFFFF;
      halves_high += static_cast<int64_t>(bits[i] & wanted[i]) >> 32;
    }
    least = low;
    greatest = high;
    add_wide(halves_low, 0);
    add_wide(static_cast<uint64_t>(halves_high) << 32, halves_high >> 32);
  }

  void add_wide(uint64_t low, int64_t high) {
    sum_low += low;
    sum_high += high + (sum_low < low ? 1 : 0);
  }

  double float_sum() const {
    Aggregator all(ValueType::kF64);
    double plain = 0;
    double rest = 0;
    for (size_t lane = 0; lane < kLanes; ++lane) {
      plain += sum[lane];
      all.add_lane<false>(__builtin_bit_cast(uint64_t, sum[lane]), 1, 0);
      rest += lost[lane];
    }
    if (plain != plain) return __builtin_nan("");
    if (plain - plain != 0) return plain;  // infinite: what was lost means nothing
    return all.sum[0] + (all.lost[0] + rest);
  }

  uint64_t key_to_bits(int64_t key) const {
    if (type == ValueType::kF32) {
      return static_cast<uint32_t>(float_key<float, uint32_t, int32_t>(static_cast<uint32_t>(key)));
    }
    if (type != ValueType::kF64) return static_cast<uint64_t>(key);
    return static_cast<uint64_t>(float_key<double, uint64_t, int64_t>(static_cast<uint64_t>(key)));
  }
};

}  // namespace lambda::packed
