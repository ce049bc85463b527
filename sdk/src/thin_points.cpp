// Three points of six.
#include "lambda/thinning.h"
#include "point_value.h"

namespace lambda {
namespace {

constexpr int kSpareBits = 4;  // a mean of six floats may have so many bits more than they have
constexpr int kNoBits = 4096;  // above any exponent

bool is_float(ValueType type) {
  return type == ValueType::kF64 || type == ValueType::kF32;
}

double number_of(ValueType type, const Point& point) {
  return point_value(type, 1, point.bits);
}

bool is_number(ValueType type, const Point& point) {
  if (!is_float(type)) return true;
  const double value = number_of(type, point);
  return value == value;
}

bool is_less(ValueType type, const Point& one, const Point& other) {
  if (is_float(type)) return number_of(type, one) < number_of(type, other);
  return static_cast<int64_t>(one.bits) < static_cast<int64_t>(other.bits);
}

// Of the last place of a double's mantissa.
int exponent_of(uint64_t bits) {
  const int exponent = static_cast<int>(bits >> 52 & 0x7FF);
  return (exponent != 0 ? exponent : 1) - 1075;
}

// Of the lowest bit that is set in a double; kNoBits for zero and infinities.
int lowest_bit(double value) {
  const auto bits = __builtin_bit_cast(uint64_t, value);
  const uint64_t exponent = bits >> 52 & 0x7FF;
  const uint64_t mantissa = (bits & ((uint64_t{1} << 52) - 1)) | (exponent != 0 ? uint64_t{1} << 52 : 0);
  if (mantissa == 0 || exponent == 0x7FF) return kNoBits;
  return exponent_of(bits) + __builtin_ctzll(mantissa);
}

// Rounds to a multiple of 2^lowest. What is written by XOR costs by its bits, and a mean of short numbers has all 52.
double rounded(double value, int lowest) {
  auto bits = __builtin_bit_cast(uint64_t, value);
  const int places = lowest - exponent_of(bits);
  if (places <= 0) return value;
  if (places > 52) return 0;
  bits += uint64_t{1} << (places - 1);
  return __builtin_bit_cast(double, bits & ~((uint64_t{1} << places) - 1));
}

// Of those that are numbers, of which there is one at least. Infinities of both signs have no mean: the least.
uint64_t float_mean(ValueType type, const Point points[kThinFrom], const Point& least, const Point& greatest) {
  unsigned numbers = 0;
  for (uint32_t i = 0; i < kThinFrom; ++i) numbers += is_number(type, points[i]) ? 1 : 0;
  double mean = 0;
  int lowest = kNoBits;
  for (uint32_t i = 0; i < kThinFrom; ++i) {
    if (!is_number(type, points[i])) continue;
    const double value = number_of(type, points[i]);
    mean += value / numbers;  // the sum might be too large for a double where the mean is not
    if (lowest_bit(value) < lowest) lowest = lowest_bit(value);
  }
  if (lowest != kNoBits) mean = rounded(mean, lowest - kSpareBits);
  if (!(mean >= number_of(type, least))) return least.bits;
  if (mean > number_of(type, greatest)) return greatest.bits;
  return type == ValueType::kF64 ? __builtin_bit_cast(uint64_t, mean)
                                 : __builtin_bit_cast(uint32_t, static_cast<float>(mean));
}

// To the nearest; of two as near the one that is further from zero.
uint64_t integer_mean(const Point points[kThinFrom]) {
  constexpr int64_t kCount = kThinFrom;
  int64_t whole = 0;
  int64_t rest = 0;
  for (uint32_t i = 0; i < kThinFrom; ++i) {
    const auto value = static_cast<int64_t>(points[i].bits);
    whole += value / kCount;
    rest += value % kCount;
  }
  // Of what is left over a part may be whole; then the two must have one sign before anything is rounded.
  whole += rest / kCount;
  rest %= kCount;
  if (whole > 0 && rest < 0) {
    --whole;
    rest += kCount;
  } else if (whole < 0 && rest > 0) {
    ++whole;
    rest -= kCount;
  }
  if (rest >= kCount / 2) ++whole;
  if (rest <= -kCount / 2) --whole;
  return static_cast<uint64_t>(whole);
}

}  // namespace

void thin_points(ValueType type, Point points[kThinFrom]) {
  uint32_t low = kThinFrom;
  uint32_t high = kThinFrom;
  for (uint32_t i = 0; i < kThinFrom; ++i) {
    if (!is_number(type, points[i])) continue;
    if (low == kThinFrom || is_less(type, points[i], points[low])) low = i;
    if (high == kThinFrom || is_less(type, points[high], points[i])) high = i;
  }
  uint64_t values[kThinTo] = {points[1].bits, points[3].bits, points[5].bits};
  if (low < kThinFrom) {
    values[0] = points[low < high ? low : high].bits;
    values[1] = is_float(type) ? float_mean(type, points, points[low], points[high]) : integer_mean(points);
    values[2] = points[low < high ? high : low].bits;
  }
  for (uint32_t i = 0; i < kThinTo; ++i) points[i] = {points[2 * i + 1].time_ms, values[i]};
}

}  // namespace lambda
