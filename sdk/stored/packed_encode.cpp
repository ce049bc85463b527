// Finds the smallest form for the values of a block: each candidate is planned, which gives its exact size, and only
// the best is written.
#include <algorithm>

#include "packed.h"

namespace lambda::packed {
namespace {

constexpr double kRounder = 6755399441055744.0;  // 1.5 * 2^52: adding and subtracting it rounds to an integer

struct Values {
  ValueType type;
  size_t count;
  uint64_t bits[kBlockPointsMax];
};

struct Decimals {
  unsigned exponent = 0;
  size_t exception_count = 0;
  uint64_t integers[kBlockPointsMax];
  uint64_t ulps[kBlockPointsMax];
  uint16_t exceptions[kBlockPointsMax / 8];
  ColumnPlan integer_plan;
  ColumnPlan ulp_plan;
};

struct Dictionary {
  unsigned cut = 0;  // of a split
  size_t entry_count = 0;
  uint64_t entries[kEntriesMax];
  uint64_t places[kBlockPointsMax];
  uint64_t lows[kBlockPointsMax];  // of a split
  ColumnPlan entry_plan;
  ColumnPlan place_plan;
  ColumnPlan low_plan;
};

double number_of(ValueType type, uint64_t bits) {
  if (type == ValueType::kF32) return static_cast<double>(__builtin_bit_cast(float, static_cast<uint32_t>(bits)));
  return __builtin_bit_cast(double, bits);
}

// The integer n and the distance in units of the last place for which n / power + distance is exactly the value.
bool as_decimal(ValueType type, uint64_t bits, double power, int64_t* n, int64_t* ulps) {
  constexpr int64_t kUlpsMax = 255;  // farther off, the value is none of so many decimals
  const double scaled = number_of(type, bits) * power;
  if (!(scaled > -static_cast<double>(kDecimalEnd) && scaled < static_cast<double>(kDecimalEnd))) return false;
  *n = static_cast<int64_t>((scaled + kRounder) - kRounder);
  if (*n <= -kDecimalEnd || *n >= kDecimalEnd) return false;
  *ulps = static_cast<int64_t>(bits - decimal_bits(type == ValueType::kF32, *n, power));
  return *ulps >= -kUlpsMax && *ulps <= kUlpsMax;
}

// The number of decimals that makes a sample of the values cheapest; false: none is any good.
bool choose_exponent(const Values& values, unsigned* exponent) {
  constexpr size_t kSamples = 24;
  constexpr unsigned kExceptionBits = 80;
  const size_t samples = values.count < kSamples ? values.count : kSamples;
  size_t best = samples * 60;
  bool found = false;
  for (unsigned e = 0; e <= kDecimalMax; ++e) {
    int64_t low = INT64_MAX, high = INT64_MIN, ulps_low = 0, ulps_high = 0;
    size_t exceptions = 0;
    for (size_t i = 0; i < samples && exceptions <= samples / 8; ++i) {
      int64_t n, ulps;
      if (!as_decimal(values.type, values.bits[i * values.count / samples], kPowers[e], &n, &ulps)) {
        ++exceptions;
        continue;
      }
      low = n < low ? n : low;
      high = n > high ? n : high;
      ulps_low = ulps < ulps_low ? ulps : ulps_low;
      ulps_high = ulps > ulps_high ? ulps : ulps_high;
    }
    if (exceptions > samples / 8 || exceptions == samples) continue;
    const size_t bits =
        bits_of(static_cast<uint64_t>(high - low)) + bits_of(static_cast<uint64_t>(ulps_high - ulps_low));
    const size_t cost = (samples - exceptions) * bits + exceptions * kExceptionBits;
    if (cost >= best) continue;
    best = cost;
    *exponent = e;
    found = true;
    if (exceptions == 0 && ulps_low == 0 && ulps_high == 0) break;  // more decimals only cost more
  }
  return found;
}

// Bytes of the values as decimals, or SIZE_MAX.
size_t plan_decimals(const Values& values, Decimals* decimals) {
  if (values.type != ValueType::kF64 && values.type != ValueType::kF32) return SIZE_MAX;
  if (!choose_exponent(values, &decimals->exponent)) return SIZE_MAX;
  const double power = kPowers[decimals->exponent];
  decimals->exception_count = 0;
  int64_t last = 0;
  for (size_t i = 0; i < values.count; ++i) {
    int64_t n, ulps;
    if (!as_decimal(values.type, values.bits[i], power, &n, &ulps)) {
      if (decimals->exception_count >= values.count / 8) return SIZE_MAX;
      decimals->exceptions[decimals->exception_count++] = static_cast<uint16_t>(i);
      n = last;
      ulps = 0;
    }
    last = n;
    decimals->integers[i] = static_cast<uint64_t>(n);
    decimals->ulps[i] = static_cast<uint64_t>(ulps);
  }
  plan_column(decimals->integers, values.count, &decimals->integer_plan);
  plan_column(decimals->ulps, values.count, &decimals->ulp_plan);
  return 1 + varint_length(decimals->exception_count) + kExceptionBytes * decimals->exception_count +
         decimals->integer_plan.bytes + decimals->ulp_plan.bytes;
}

// The distinct ones of `from`, sorted, and each one's place among them. False: there are more than `entries_max`.
bool find_entries(const uint64_t* from, size_t count, size_t entries_max, Dictionary* dictionary) {
  constexpr size_t kSlots = 2048;
  uint16_t slots[kSlots] = {};  // entry + 1
  size_t entries = 0;
  for (size_t i = 0; i < count; ++i) {
    size_t slot = static_cast<size_t>((from[i] ^ from[i] >> 32) * 0x9E3779B97F4A7C15 >> 53);
    while (slots[slot] != 0 && dictionary->entries[slots[slot] - 1] != from[i]) slot = (slot + 1) % kSlots;
    if (slots[slot] == 0) {
      if (entries == entries_max) return false;
      dictionary->entries[entries] = from[i];
      slots[slot] = static_cast<uint16_t>(++entries);
    }
    dictionary->places[i] = slots[slot] - 1u;
  }
  uint16_t order[kEntriesMax];
  uint16_t rank[kEntriesMax];
  uint64_t sorted[kEntriesMax];
  for (size_t i = 0; i < entries; ++i) order[i] = static_cast<uint16_t>(i);
  std::sort(order, order + entries,
            [&](uint16_t a, uint16_t b) { return dictionary->entries[a] < dictionary->entries[b]; });
  for (size_t i = 0; i < entries; ++i) {
    rank[order[i]] = static_cast<uint16_t>(i);
    sorted[i] = dictionary->entries[order[i]];
  }
  std::copy(sorted, sorted + entries, dictionary->entries);
  for (size_t i = 0; i < count; ++i) dictionary->places[i] = rank[dictionary->places[i]];
  dictionary->entry_count = entries;
  return true;
}

size_t plan_dictionary(const Values& values, Dictionary* dictionary) {
  const size_t most = values.count / 2 < kEntriesMax ? values.count / 2 : kEntriesMax;
  if (most == 0 || !find_entries(values.bits, values.count, most, dictionary)) return SIZE_MAX;
  plan_column(dictionary->entries, dictionary->entry_count, &dictionary->entry_plan);
  plan_column(dictionary->places, values.count, &dictionary->place_plan);
  return varint_length(dictionary->entry_count) + dictionary->entry_plan.bytes + dictionary->place_plan.bytes;
}

// The upper bits from a dictionary, the lower ones as they are: for floats that share few exponents.
size_t plan_split(const Values& values, Dictionary* split) {
  if (values.type != ValueType::kF64) return SIZE_MAX;
  uint64_t highs[kBlockPointsMax];
  for (const unsigned cut : {48u, 50u, 52u}) {
    for (size_t i = 0; i < values.count; ++i) highs[i] = values.bits[i] >> cut;
    if (!find_entries(highs, values.count, kHighsMax, split)) continue;
    split->cut = cut;
    for (size_t i = 0; i < values.count; ++i) split->lows[i] = values.bits[i] & low_bits(cut);
    plan_column(split->entries, split->entry_count, &split->entry_plan);
    plan_column(split->places, values.count, &split->place_plan);
    plan_column(split->lows, values.count, &split->low_plan);
    return 1 + varint_length(split->entry_count) + split->entry_plan.bytes + split->place_plan.bytes +
           split->low_plan.bytes;
  }
  return SIZE_MAX;
}

uint8_t* write_decimals(const Decimals& decimals, const Values& values, uint8_t* out) {
  *out++ = static_cast<uint8_t>(decimals.exponent);
  out = put_varint(out, decimals.exception_count);
  for (size_t i = 0; i < decimals.exception_count; ++i) {
    const uint16_t at = decimals.exceptions[i];
    *out++ = static_cast<uint8_t>(at);
    *out++ = static_cast<uint8_t>(at >> 8);
    store_u64le(out, values.bits[at]);
    out += 8;
  }
  out = write_column(decimals.integer_plan, decimals.integers, values.count, out);
  return write_column(decimals.ulp_plan, decimals.ulps, values.count, out);
}

uint8_t* write_dictionary(const Dictionary& dictionary, size_t count, uint8_t* out) {
  if (dictionary.cut > 0) *out++ = static_cast<uint8_t>(dictionary.cut);
  out = put_varint(out, dictionary.entry_count);
  out = write_column(dictionary.entry_plan, dictionary.entries, dictionary.entry_count, out);
  out = write_column(dictionary.place_plan, dictionary.places, count, out);
  return dictionary.cut > 0 ? write_column(dictionary.low_plan, dictionary.lows, count, out) : out;
}

}  // namespace

size_t encode_packed(ValueType type, std::span<const Point> points, const uint64_t* ticks, uint8_t* out,
                     size_t bytes_max) {
  Values values;
  values.type = type;
  values.count = points.size();
  for (size_t i = 0; i < values.count; ++i) values.bits[i] = points[i].bits;
  ColumnPlan time_plan;
  plan_column(ticks, values.count, &time_plan, true);

  ColumnPlan integer_plan;
  Decimals decimals;
  Dictionary dictionary, split;
  ValueForm form = ValueForm::kInteger;
  // Decimals first: of floats that are such, the bits as integers need not be looked at, unless they are all the same.
  // What a point costs at least before a further form is tried, in bits.
  constexpr size_t kWorthIntegers = 16, kWorthDictionary = 8, kWorthSplit = 48;
  size_t best = SIZE_MAX;
  const auto consider = [&](ValueForm other, size_t bytes) {
    if (bytes >= best) return;
    best = bytes;
    form = other;
  };
  const bool is_float = type == ValueType::kF64 || type == ValueType::kF32;
  const bool is_same =
      std::all_of(values.bits, values.bits + values.count, [&](uint64_t b) { return b == values.bits[0]; });
  if (is_float && !is_same) consider(ValueForm::kDecimal, plan_decimals(values, &decimals));
  if (best == SIZE_MAX || best * 8 > values.count * kWorthIntegers) {
    plan_column(values.bits, values.count, &integer_plan, !is_float);
    consider(ValueForm::kInteger, integer_plan.bytes);
  }
  if (best * 8 > values.count * kWorthDictionary)
    consider(ValueForm::kDictionary, plan_dictionary(values, &dictionary));
  if (is_float && best * 8 > values.count * kWorthSplit) consider(ValueForm::kSplit, plan_split(values, &split));

  const size_t total = time_plan.bytes + 1 + best;
  if (total > bytes_max) return 0;
  __builtin_memset(out, 0, total + 16);
  uint8_t* at = write_column(time_plan, ticks, values.count, out);
  *at++ = static_cast<uint8_t>(form);
  switch (form) {
    case ValueForm::kInteger:
      at = write_column(integer_plan, values.bits, values.count, at);
      break;
    case ValueForm::kDecimal:
      at = write_decimals(decimals, values, at);
      break;
    case ValueForm::kDictionary:
      at = write_dictionary(dictionary, values.count, at);
      break;
    case ValueForm::kSplit:
      at = write_dictionary(split, values.count, at);
      break;
  }
  return static_cast<size_t>(at - out);
}

}  // namespace lambda::packed
