// Blocks as hosts keep them: every codec of proto/block.md, series slower than ten minutes a block, aggregates in the
// head, and packing, which writes a run of points anew in the smallest form that gives back every bit. Nothing of this
// is in a device: it writes and reads with lambda/block.h. What both hold has the same identity and content root.
//
// Nothing is allocated; about 100 KB of stack while a block is packed. Distinct blocks may be used from distinct
// threads.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <span>

#include "lambda/block.h"

namespace lambda {

// What the points of a block come to. NaNs are counted and are in nothing else; first and last are the points' own
// bits.
struct Aggregates {
  uint64_t first = 0;
  uint64_t last = 0;
  uint64_t min = 0;  // bits of the least value; means something when nan_count < count
  uint64_t max = 0;
  uint64_t sum_low = 0;  // f64, f32: bits of the sum as a double, see below. Else the low half of the exact sum,
  int64_t sum_high = 0;  // whose high half this is
  uint32_t count = 0;
  uint32_t nan_count = 0;
  friend bool operator==(const Aggregates&, const Aggregates&) = default;
};
// The sum of floats is that of eight lanes (the point at i goes to lane i % 8), each compensated after Neumaier and
// added up in order: the same bits on every machine. An infinity makes it what IEEE 754 makes of it.
// min and max go by the numbers, -0 below +0.
Aggregates aggregates_of(ValueType type, std::span<const Point> points);
// Of those with from_ms <= time <= to_ms; a point's lane is still by its place among all.
Aggregates aggregates_within(ValueType type, std::span<const Point> points, int64_t from_ms, int64_t to_ms);

struct StoredOptions {
  BlockOptions block;       // tick_ms is found from the points
  bool aggregates = false;  // write them into the head
};

// Of these points, how many from the first on fit one block: 1,024, times that count less than 2^20 ticks, and
// `span_ms_max` (kBlockSpanMsMax, or more for files of slow series; up to kLongSpanMsMax). At least 1 of any.
inline constexpr int64_t kLongSpanMsMax = int64_t{1} << 52;
size_t points_that_fit(std::span<const Point> points, int64_t span_ms_max);

// Space that is enough for a block of `points` points in any form.
constexpr size_t stored_bytes_max(size_t points) {
  return block_bytes_max(points) + 128;
}

// Writes `points`, all of which must fit, into `space` (at least stored_bytes_max long) in a streaming codec: xor64,
// xor32, delta64 or slope64, of those that hold the type. The result aliases `space`.
std::span<const uint8_t> write_block(const StoredOptions& options, Codec codec, std::span<const Point> points,
                                     std::span<uint8_t> space);

// The same points in the smallest form that is found: packed, or a streaming codec where that is smaller. Decoded and
// compared with `points`, bit for bit, before it is returned.
std::span<const uint8_t> pack_block(const StoredOptions& options, std::span<const Point> points,
                                    std::span<uint8_t> space);

// Decodes a block of any codec after checking it completely, aggregates too. Blocks of more than `span_ms_max` are
// refused (kSpan). On an error `points` may hold anything. kCount when `points` is too short.
BlockStatus read_block(std::span<const uint8_t> bytes, uint64_t context_boot, BlockInfo* info, std::span<Point> points,
                       int64_t span_ms_max = kBlockSpanMsMax);

// What a block says of itself; the points are not decoded. With `trusted` the checksum, which was checked before, is
// not computed again. `aggregates`, if given, is set when the head has them: count is 0 otherwise.
BlockStatus read_block_info(std::span<const uint8_t> bytes, uint64_t context_boot, BlockInfo* info,
                            Aggregates* aggregates = nullptr, bool trusted = false,
                            int64_t span_ms_max = kBlockSpanMsMax);

// The point at `index`: of a packed block no more than 128 points are decoded for it. kCount: there is no such point.
// What is not decoded is not checked, but for the checksum, and not for that if `trusted`.
BlockStatus read_point(std::span<const uint8_t> bytes, uint64_t context_boot, size_t index, Point* point,
                       bool trusted = false, int64_t span_ms_max = kBlockSpanMsMax);

// The points with from_ms <= time <= to_ms, without writing them out. As read_block() otherwise.
BlockStatus aggregate_block(std::span<const uint8_t> bytes, uint64_t context_boot, int64_t from_ms, int64_t to_ms,
                            BlockInfo* info, Aggregates* aggregates, int64_t span_ms_max = kBlockSpanMsMax);

// "xor64", "packed decimal delta" ...: how the values are written, for people. Valid for a block that was read.
const char* encoding_name(std::span<const uint8_t> bytes);

}  // namespace lambda
