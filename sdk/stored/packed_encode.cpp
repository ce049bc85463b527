// Finds the smallest form for the values of a block: each candidate is planned, which gives its exact size, and only
// the best is written. Candidates that cannot win, going by what others came to, are not planned.
#include <algorithm>

#include "decimals.h"
#include "packed.h"

namespace lambda::packed {
namespace {

struct Values {
  ValueType type;
  size_t count;
  const uint64_t* bits;  // up to the next multiple of kMini like the last one
};

struct Decimals {
  unsigned exponent = 0;
  size_t exception_count = 0;
  alignas(32) uint64_t integers[kBlockPointsMax];
  alignas(32) uint64_t ulps[kBlockPointsMax];
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

// The number of decimals that makes a sample of the values cheapest; false: none is any good.
bool choose_exponent(const Values& values, unsigned* exponent) {
  constexpr unsigned kExceptionBits = 80;
  constexpr size_t kSamples = kDecimalSamples;
  alignas(32) uint64_t samples[kSamples];
  for (size_t i = 0; i < kSamples; ++i) samples[i] = values.bits[i * values.count / kSamples];
  size_t best = kSamples * 60;
  bool found = false;
  for (unsigned e = 0; e <= kDecimalMax; ++e) {
    const DecimalSample sample = sample_decimals(values.type, samples, kPowers[e]);
    if (sample.exceptions > kSamples / 8) continue;
    const size_t cost = (kSamples - sample.exceptions) * (bits_of(sample.range) + bits_of(sample.ulp_range)) +
                        sample.exceptions * kExceptionBits;
    if (cost >= best) continue;
    best = cost;
    *exponent = e;
    found = true;
    if (sample.exceptions == 0 && !sample.any_ulps) break;  // more decimals only cost more
  }
  return found;
}

// Bytes of the values as decimals, or SIZE_MAX.
size_t plan_decimals(const Values& values, Decimals* decimals) {
  if (values.type != ValueType::kF64 && values.type != ValueType::kF32) return SIZE_MAX;
  if (!choose_exponent(values, &decimals->exponent)) return SIZE_MAX;
  const double power = kPowers[decimals->exponent];
  const size_t exceptions_max = values.count / 8;
  decimals->exception_count = 0;
  for (size_t begin = 0; begin < values.count; begin += kMini) {
    uint64_t* const integers = decimals->integers + begin;
    uint64_t* const ulps = decimals->ulps + begin;
    alignas(32) uint64_t wrong[kMini];
    if (!split_decimals(values.type, values.bits + begin, power, integers, ulps, wrong)) continue;
    const size_t n = values.count - begin < kMini ? values.count - begin : kMini;
    for (size_t i = 0; i < n; ++i) {
      if (wrong[i] == 0) continue;
      if (decimals->exception_count >= exceptions_max) return SIZE_MAX;
      decimals->exceptions[decimals->exception_count++] = static_cast<uint16_t>(begin + i);
      integers[i] = begin + i > 0 ? integers[static_cast<ptrdiff_t>(i) - 1] : 0;
      ulps[i] = 0;
    }
  }
  plan_column(decimals->integers, values.count, &decimals->integer_plan);
  plan_column(decimals->ulps, values.count, &decimals->ulp_plan);
  return 1 + varint_length(decimals->exception_count) + kExceptionBytes * decimals->exception_count +
         decimals->integer_plan.bytes + decimals->ulp_plan.bytes;
}

// The entries in rising order, by the bytes in which they differ; `order` begins as 0, 1, 2 ...
void sort_entries(const uint64_t* entries, size_t count, uint16_t* order) {
  uint64_t differ = 0;
  for (size_t i = 1; i < count; ++i) differ |= entries[i] ^ entries[0];
  uint16_t other[kEntriesMax];
  for (unsigned shift = 0; shift < 64; shift += 8) {
    if ((differ >> shift & 0xFF) == 0) continue;
    uint16_t begins[257] = {};
    for (size_t i = 0; i < count; ++i) ++begins[(entries[i] >> shift & 0xFF) + 1];
    for (size_t b = 1; b < 256; ++b) begins[b] = static_cast<uint16_t>(begins[b] + begins[b - 1]);
    for (size_t i = 0; i < count; ++i) other[begins[entries[order[i]] >> shift & 0xFF]++] = order[i];
    std::copy(other, other + count, order);
  }
}

// How many different ones there are among `drawn` that come at random from `all`: all x (1 - e^(-drawn / all)), by an
// approximation of the exponential that does up to twice as many as there are.
size_t distinct_of(size_t all, size_t drawn) {
  return 12 * all * all * drawn / (12 * all * all + 6 * all * drawn + drawn * drawn);
}

// The distinct ones of `from`, sorted, and each one's place among them. False: there are more than `entries_max`, or
// that is to be expected.
bool find_entries(const uint64_t* from, size_t count, size_t entries_max, Dictionary* dictionary) {
  constexpr size_t kSlots = 2048;
  uint16_t slots[kSlots] = {};  // entry + 1
  size_t entries = 0;
  constexpr size_t kLooks = 3;
  constexpr size_t kLookAt[kLooks + 1] = {64, 128, 256, SIZE_MAX};
  // Twice as many values as there may be entries, at random from a quarter more than these, have as many different
  // ones. They may come to a few more before.
  constexpr size_t kSlack = 40;
  size_t look = 0;
  for (size_t i = 0; i < count; ++i) {
    if (i == kLookAt[look]) {
      ++look;
      if (i <= 2 * entries_max && entries > distinct_of(entries_max * 5 / 4, i) + i / kSlack) return false;
    }
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
  sort_entries(dictionary->entries, entries, order);
  for (size_t i = 0; i < entries; ++i) {
    rank[order[i]] = static_cast<uint16_t>(i);
    sorted[i] = dictionary->entries[order[i]];
  }
  std::copy(sorted, sorted + entries, dictionary->entries);
  for (size_t i = 0; i < count; ++i) dictionary->places[i] = rank[dictionary->places[i]];
  dictionary->entry_count = entries;
  return true;
}

// `best`: bytes of the best other form.
size_t plan_dictionary(const Values& values, size_t best, Dictionary* dictionary) {
  // An entry hardly ever takes less, and places rarely less than their bits: with more entries it cannot win.
  constexpr size_t kEntryBits = 16;
  size_t most = values.count / 2 < kEntriesMax ? values.count / 2 : kEntriesMax;
  while (most > 0 && most * kEntryBits + values.count * bits_of(most - 1) / 2 > best * 8) most -= (most + 7) / 8;
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

size_t encode_packed(ValueType type, Columns* columns, uint8_t* out, size_t bytes_max) {
  const uint64_t* const ticks = columns->ticks;
  const Values values{type, columns->count, columns->bits};
  for (size_t i = values.count; i % kMini != 0; ++i) columns->bits[i] = columns->bits[values.count - 1];
  ColumnPlan time_plan;
  if (columns->is_even) {
    plan_even_column(0, 1, &time_plan);
  } else {
    plan_column(ticks, values.count, &time_plan, true);
  }

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
    consider(ValueForm::kDictionary, plan_dictionary(values, best, &dictionary));
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
