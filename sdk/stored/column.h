// A column: up to 1,024 integers of 64 bits, written in pieces of 128 in the smallest of a few forms. proto/block.md,
// "Packed", has the bytes. Planning finds the form and its exact size, so that ways to write the values of a block can
// be compared before one is written.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "bit_rows.h"
#include "lambda/point.h"

namespace lambda::packed {

enum class ColumnForm : uint8_t { kEven = 0, kPlain = 1, kDelta = 2, kSlope = 3 };
inline constexpr unsigned kSlopeShift = 8;     // a slope counts in 1/256 a point
inline constexpr uint8_t kRunsWidth = 0x7F;    // in the place of a width: runs
inline constexpr uint8_t kPatchedFlag = 0x80;  // beside a width
inline constexpr size_t kMinisMax = kBlockPointsMax / kMini;

// How 128 integers, or the rest of a column, are written.
struct MiniPlan {
  uint64_t base = 0;   // what is added to the packed integers; of a delta column the first value
  uint64_t delta = 0;  // delta columns: what is added to the packed differences
  uint32_t bytes = 0;
  uint8_t width = 0;  // kRunsWidth: runs
  uint8_t patches = 0;
  uint8_t extra = 0;  // bits of a patch above the width
  uint8_t runs = 0;
  uint8_t run_length_width = 0;
  uint8_t run_value_width = 0;
};

struct ColumnPlan {
  ColumnForm form = ColumnForm::kEven;
  uint64_t slope = 0;  // kEven: the step; kSlope: in 1/256
  size_t bytes = 0;    // of the whole column
  MiniPlan minis[kMinisMax];
};

// `count` is 1..1024. Slopes are for what follows a clock; on measured values they hardly ever pay for being tried.
void plan_column(const uint64_t* values, size_t count, ColumnPlan* plan, bool try_slope = false);
// Of values that are known to begin with `first` and to go on by `step`.
void plan_even_column(uint64_t first, uint64_t step, ColumnPlan* plan);
// Writes plan.bytes; `out` is zero from there on for those and 8 bytes more. Returns what is behind the column.
uint8_t* write_column(const ColumnPlan& plan, const uint64_t* values, size_t count, uint8_t* out);

constexpr size_t varint_length(uint64_t value) {
  return value == 0 ? 1 : (static_cast<size_t>(64 - __builtin_clzll(value)) + 6) / 7;
}
inline uint8_t* put_varint(uint8_t* out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) *out++ = static_cast<uint8_t>(value | 0x80);
  *out++ = static_cast<uint8_t>(value);
  return out;
}
constexpr unsigned bits_of(uint64_t value) {
  return value == 0 ? 0 : 64u - static_cast<unsigned>(__builtin_clzll(value));
}

}  // namespace lambda::packed
