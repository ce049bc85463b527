// The head of a block as hosts write it: any codec, long spans, aggregates. proto/block.md, "Grammar".
#pragma once

#include "lambda/block.h"
#include "lambda/stored_block.h"
#include "packed.h"
#include "read_head.h"

namespace lambda {

inline constexpr uint8_t kCodecMask = 0x0F;
inline constexpr uint8_t kCodecAggregates = 1 << 4;
inline constexpr uint8_t kCodecLong = 1 << 5;
inline constexpr uint32_t kSpanTicksMax = (uint32_t{1} << 20) - 1;
inline constexpr size_t kStoredHeadBytesMax = 192;

// What was read from a head; the payload lies between `begin` and `end`, both counted from the block's first byte.
struct StoredHead {
  StoredHead() {}  // member by member: compilers clear the whole by an instruction that takes them longer
  BlockInfo info;
  Aggregates aggregates;    // count is 0: none
  uint64_t first_bits = 0;  // streaming codecs
  int32_t span_ticks = 0;
  int32_t first_tick = 0;
  size_t begin = 0;
  size_t end = 0;
};

// Without the payload. `aggregates` may be null. Returns the bytes written, at most kStoredHeadBytesMax.
size_t write_stored_head(const BlockInfo& info, Point first, const Aggregates* aggregates, uint8_t* out);

// `head`: as it was made.
BlockStatus read_stored_head(std::span<const uint8_t> bytes, uint64_t context_boot, int64_t span_ms_max, bool trusted,
                             StoredHead* head);

}  // namespace lambda
