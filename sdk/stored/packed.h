// The payload of codec `packed` (proto/block.md, "Packed"): times as one column, values as one or two.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <span>

#include "column_reader.h"
#include "lambda/block.h"
#include "lambda/stored_block.h"

namespace lambda::packed {

enum class ValueForm : uint8_t { kInteger = 0, kDecimal = 1, kDictionary = 2, kSplit = 3 };
inline constexpr size_t kEntriesMax = 512;  // of a dictionary
inline constexpr size_t kHighsMax = 16;     // of a split
inline constexpr size_t kExceptionBytes = 10;
inline constexpr unsigned kDecimalMax = 18;               // the greatest exponent
inline constexpr int64_t kDecimalEnd = int64_t{1} << 51;  // integers of decimals are less, either way
inline constexpr double kPowers[kDecimalMax + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8, 1e9,
                                                    1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18};

// n / 10^e as the type's bits. Division, as it gives back more decimals than multiplication does.
//
// kFused: the processor multiplies and adds with one rounding, which finds the same in a third of the time. Let q be
// n x inverse, less than two units of the last place u beside n / 10^e. What is missing, n - q x 10^e, is a multiple of
// u x 2^e and less than 2u x 10^e, so 43 bits hold it and it is exact; q more by that times the inverse, before the one
// rounding, is 2^-52 u beside n / 10^e. Only where a border between two floats lies closer would it be rounded to the
// other side; but n / 10^e is no border, which has 54 bits, and borders are apart from it by multiples of u / 2 / 5^e,
// more than 2^-43 u.
template <bool kFused>
LAMBDA_INLINE uint64_t decimal_bits(bool is_f32, int64_t n, double power, double inverse) {
  // Exact for |n| <= 2^51, and vectors can do it.
  const double number = __builtin_bit_cast(double, static_cast<uint64_t>(n) + 0x4338000000000000) - 6755399441055744.0;
  double quotient;
  if constexpr (kFused) {
    const double near = number * inverse;
    quotient = __builtin_fma(__builtin_fma(-near, power, number), inverse, near);
  } else {
    quotient = number / power;
  }
  if (is_f32) return __builtin_bit_cast(uint32_t, static_cast<float>(quotient));
  return __builtin_bit_cast(uint64_t, quotient);
}

// Reads a payload in steps of 128 points. All of it is bounds-checked.
struct PackedReader {
  BlockInfo info;
  ColumnReader times, main, second;
  ValueForm form = ValueForm::kInteger;
  unsigned cut = 0;  // kSplit: bits of the low part
  double power = 1;
  double inverse = 1;  // of the power
  const uint8_t* exceptions = nullptr;
  size_t exception_count = 0;
  size_t next_exception = 0;
  size_t index = 0;        // of the next point, a multiple of 128
  size_t entry_count = 0;  // kDictionary, kSplit
  uint64_t entries[kEntriesMax + kMini];
  const uint8_t* stop = nullptr;  // where the payload ends

  // Reads what stands before the columns' integers and passes over those. False: not such a payload.
  bool open(const BlockInfo& head, const uint8_t* begin, const uint8_t* end);
  // The next points: times in ticks from t_min, and bits. `count` is 128 or the rest. False: it breaks a rule.
  template <bool kFused>
  LAMBDA_INLINE bool next(size_t count, uint64_t* ticks, uint64_t* bits);
  // The same without the times, for who knows them.
  template <bool kFused>
  LAMBDA_INLINE bool next_values(size_t count, uint64_t* bits);
  bool has_no_ulps() const { return second.form == ColumnForm::kEven && second.base == 0 && second.slope == 0; }
  // The main column's, for who makes the values of them: of decimals the quotients, then what put_exceptions() hands.
  LAMBDA_INLINE bool next_integers(size_t count, uint64_t* integers);
  // Passes over 128 points.
  void skip();
};

// False: an integer is too large for its float.
template <bool kF32, bool kWhole, bool kFused>
LAMBDA_INLINE bool divide(uint64_t* bits, size_t count, double power, double inverse) {
  uint64_t all = 0;
  for (size_t i = 0; i < count; ++i) {
    all |= bits[i] + static_cast<uint64_t>(kDecimalEnd);
    const auto n = static_cast<int64_t>(bits[i]);
    bits[i] = kWhole ? decimal_bits<false>(kF32, n, 1, 1) : decimal_bits<kFused>(kF32, n, power, inverse);
  }
  return all >> 52 == 0;
}

template <bool kFused>
LAMBDA_INLINE bool decimals(PackedReader* reader, size_t piece, size_t count, uint64_t* bits) {
  const double power = reader->power;
  const double inverse = reader->inverse;
  bool fine = true;
  if (reader->info.type == ValueType::kF32) {
    fine = divide<true, false, kFused>(bits, count, power, inverse);
  } else if (power == 1) {
    fine = divide<false, true, kFused>(bits, count, 1, 1);
  } else {
    fine = divide<false, false, kFused>(bits, count, power, inverse);
  }
  if (reader->has_no_ulps()) return fine;
  uint64_t ulps[kMini];
  fine &= reader->second.read(piece, count, ulps);
  const uint64_t mask = reader->info.type == ValueType::kF32 ? 0xFFFFFFFF : ~uint64_t{0};
  for (size_t i = 0; i < count; ++i) bits[i] = (bits[i] + ulps[i]) & mask;
  return fine;
}

inline bool entries_of(PackedReader* reader, size_t count, uint64_t* bits) {
  uint64_t greatest = 0;
  for (size_t i = 0; i < count; ++i) greatest = bits[i] > greatest ? bits[i] : greatest;
  if (greatest >= reader->entry_count) return false;
  for (size_t i = 0; i < count; ++i) bits[i] = reader->entries[bits[i]];
  return true;
}

inline size_t exception_place(const uint8_t* exceptions, size_t i) {
  const uint8_t* const at = exceptions + i * kExceptionBytes;
  return static_cast<size_t>(at[0] | at[1] << 8);
}

// Hands those among the last `count` points to `put`, by their places in these. All places rise and are the block's.
template <class Put>
inline void put_exceptions(PackedReader* reader, size_t count, const Put& put) {
  for (; reader->next_exception < reader->exception_count; ++reader->next_exception) {
    const size_t place = exception_place(reader->exceptions, reader->next_exception);
    if (place >= reader->index) return;
    put(place + count - reader->index, load_u64le(reader->exceptions + reader->next_exception * kExceptionBytes + 2));
  }
}

template <bool kFused>
LAMBDA_INLINE bool PackedReader::next(size_t count, uint64_t* ticks, uint64_t* bits) {
  return times.read(index / kMini, count, ticks) && next_values<kFused>(count, bits);
}

LAMBDA_INLINE bool PackedReader::next_integers(size_t count, uint64_t* integers) {
  const size_t piece = index / kMini;
  index += count;
  return main.read(piece, count, integers);
}

template <bool kFused>
LAMBDA_INLINE bool PackedReader::next_values(size_t count, uint64_t* bits) {
  const size_t piece = index / kMini;
  if (!next_integers(count, bits)) return false;
  bool fine = true;
  if (form == ValueForm::kDecimal) {
    fine = decimals<kFused>(this, piece, count, bits);
    put_exceptions(this, count, [&](size_t i, uint64_t exception) { bits[i] = exception; });
  } else if (form == ValueForm::kDictionary) {
    fine = entries_of(this, count, bits);
  } else if (form == ValueForm::kSplit) {
    uint64_t low[kMini];
    fine = second.read(piece, count, low) && entries_of(this, count, bits);
    uint64_t outside = 0;
    for (size_t i = 0; fine && i < count; ++i) {
      outside |= low[i] >> cut;
      bits[i] = bits[i] << cut | low[i];
    }
    fine = fine && outside == 0;
  }
  if (info.type == ValueType::kF32) {
    for (size_t i = 0; fine && i < count; ++i) fine = bits[i] <= 0xFFFFFFFF;
  }
  return fine;
}

// What the points of a payload come to: written out, or aggregated. Both check that the times fill 0 to `span_ticks`
// and that the order flag is right. `times_wrong` tells a failure of that from one of the bytes.
bool decode_packed(PackedReader* reader, uint32_t span_ticks, Point* points, bool* times_wrong);
bool aggregate_packed(PackedReader* reader, uint32_t span_ticks, int64_t from_ms, int64_t to_ms, Aggregates* aggregates,
                      bool* times_wrong);

// A block's points apart: times in ticks from t_min, and bits.
struct Columns {
  size_t count = 0;
  bool is_even = false;  // the ticks are 0, 1, 2 ..., and need not be there
  alignas(32) uint64_t ticks[kBlockPointsMax];
  alignas(32) uint64_t bits[kBlockPointsMax];

  Columns() {}  // nothing is cleared
};

// Writes the payload's columns to `out`, which has room for `bytes_max` and 1,024 bytes more. Fills `columns->bits` up
// to the next multiple of 128. 0: packing does not pay (more than `bytes_max`).
size_t encode_packed(ValueType type, Columns* columns, uint8_t* out, size_t bytes_max);

const char* packed_name(const PackedReader& reader);

}  // namespace lambda::packed
