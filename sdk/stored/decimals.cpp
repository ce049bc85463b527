// Compiled twice from the same text, for any processor and for x86 with AVX2, as decoding is. Both find the same.
#include "decimals.h"

#include "packed.h"

namespace lambda::packed {
namespace {

constexpr double kRounder = 6755399441055744.0;  // 1.5 * 2^52: adding and subtracting it rounds to an integer
constexpr uint64_t kRounderBits = 0x4338000000000000;
constexpr uint64_t kUlpsMax = 255;  // farther off, the value is none of so many decimals
constexpr int kUlpsBits = 9;        // -kUlpsMax to kUlpsMax + 1

template <bool kF32>
LAMBDA_INLINE double number_of(uint64_t bits) {
  if constexpr (kF32) return static_cast<double>(__builtin_bit_cast(float, static_cast<uint32_t>(bits)));
  return __builtin_bit_cast(double, bits);
}

// Nothing is compared: what is out of range, a NaN too, has bits that are out of range as an integer.
template <bool kF32, size_t kCount>
LAMBDA_INLINE bool split(const uint64_t* __restrict bits, double power, uint64_t* __restrict integers,
                         uint64_t* __restrict ulps, uint64_t* __restrict wrong) {
  constexpr auto kEnd = static_cast<uint64_t>(kDecimalEnd);
  uint64_t any = 0;
  for (size_t i = 0; i < kCount; ++i) {
    const double shifted = number_of<kF32>(bits[i]) * power + kRounder;
    const double quotient = (shifted - kRounder) / power;
    const uint64_t n = __builtin_bit_cast(uint64_t, shifted) - kRounderBits;
    uint64_t near;
    if constexpr (kF32) {
      near = __builtin_bit_cast(uint32_t, static_cast<float>(quotient));
    } else {
      near = __builtin_bit_cast(uint64_t, quotient);
    }
    const uint64_t distance = bits[i] - near;
    // |n| < 2^51, and a distance that is small.
    const uint64_t bad = ((n + kEnd) | (n + kEnd - 1)) >> 52 | (distance + kUlpsMax) >> kUlpsBits;
    integers[i] = n;
    ulps[i] = distance;
    wrong[i] = bad;
    any |= bad;
  }
  return any != 0;
}

template <bool kF32>
LAMBDA_INLINE DecimalSample sample(const uint64_t* bits, double power) {
  alignas(32) uint64_t integers[kDecimalSamples];
  alignas(32) uint64_t ulps[kDecimalSamples];
  alignas(32) uint64_t wrong[kDecimalSamples];
  split<kF32, kDecimalSamples>(bits, power, integers, ulps, wrong);
  int64_t low = INT64_MAX, high = INT64_MIN, ulps_low = INT64_MAX, ulps_high = INT64_MIN;
  DecimalSample found;
  for (size_t i = 0; i < kDecimalSamples; ++i) {
    if (wrong[i] != 0) {
      ++found.exceptions;
      continue;
    }
    const auto n = static_cast<int64_t>(integers[i]);
    const auto distance = static_cast<int64_t>(ulps[i]);
    low = n < low ? n : low;
    high = n > high ? n : high;
    ulps_low = distance < ulps_low ? distance : ulps_low;
    ulps_high = distance > ulps_high ? distance : ulps_high;
    found.any_ulps |= distance != 0;
  }
  if (found.exceptions == kDecimalSamples) return found;
  found.range = static_cast<uint64_t>(high - low);
  found.ulp_range = static_cast<uint64_t>(ulps_high - ulps_low);
  return found;
}

#ifdef LAMBDA_AVX2
template <bool kF32>
LAMBDA_AVX2 bool split_avx2(const uint64_t* __restrict bits, double power, uint64_t* __restrict integers,
                            uint64_t* __restrict ulps, uint64_t* __restrict wrong) {
  return split<kF32, kMini>(bits, power, integers, ulps, wrong);
}
template <bool kF32>
LAMBDA_AVX2 DecimalSample sample_avx2(const uint64_t* bits, double power) {
  return sample<kF32>(bits, power);
}
#endif

}  // namespace

bool split_decimals(ValueType type, const uint64_t* bits, double power, uint64_t* integers, uint64_t* ulps,
                    uint64_t* wrong) {
  const bool is_f32 = type == ValueType::kF32;
#ifdef LAMBDA_AVX2
  if (has_avx2()) {
    return is_f32 ? split_avx2<true>(bits, power, integers, ulps, wrong)
                  : split_avx2<false>(bits, power, integers, ulps, wrong);
  }
#endif
  return is_f32 ? split<true, kMini>(bits, power, integers, ulps, wrong)
                : split<false, kMini>(bits, power, integers, ulps, wrong);
}

DecimalSample sample_decimals(ValueType type, const uint64_t* bits, double power) {
  const bool is_f32 = type == ValueType::kF32;
#ifdef LAMBDA_AVX2
  if (has_avx2()) return is_f32 ? sample_avx2<true>(bits, power) : sample_avx2<false>(bits, power);
#endif
  return is_f32 ? sample<true>(bits, power) : sample<false>(bits, power);
}

}  // namespace lambda::packed
