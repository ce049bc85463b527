// Blocks as samples: what an agent's memory, a gateway's store and files have in common when they are asked.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "lambda/block.h"
#include "query/series_source.h"

namespace lambda::query {

// What a point's bits are as a number; of `dec` the nearest one.
double point_number(ValueType type, uint8_t scale, uint64_t bits);

// Which points of a block are wanted: ordinals in [first, end), times in [from_ms, to_ms] after `offset_ms` was added.
struct BlockPart {
  int64_t from_ms = INT64_MIN, to_ms = INT64_MAX;
  int64_t offset_ms = 0;
  uint64_t first = 0, end = UINT64_MAX;
};

// Checks the whole block and appends its samples, in order of ordinal. On an error `samples` is as it was before. A
// block without a boot of its own is taken to be of `context_boot`; what it says of itself goes to `info`.
BlockStatus append_samples(std::span<const uint8_t> block, uint64_t context_boot, const BlockPart& part,
                           BlockInfo* info, std::vector<Sample>& samples);

// Puts samples in order of time; of those of one time the last one stays. Quick when they are in order already.
void keep_last_of_each_time(std::vector<Sample>& samples);

}  // namespace lambda::query
