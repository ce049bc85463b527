// A run of blocks of one stream in one segment, packed: what a row of the index holds. A row for each block cost more
// than storing the block; a run costs about 12 bytes a block.
//
// Invariant: the blocks of an extent are in one segment and follow each other by ordinal without a gap.
// Pure functions: any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lambda::gateway {

inline constexpr size_t kExtentBlocksMax = 64;

// Where one block stands, or the part of it that counts.
struct BlockRow {
  int64_t stream = 0;
  uint64_t first = 0;  // of the accepted run, which may be a part of the block
  uint32_t count = 0;
  uint32_t clock = 0;
  int64_t t_min = 0, t_max = 0;      // of the whole block
  uint64_t segment = 0, offset = 0;  // of the block's bytes in the file
  uint32_t length = 0;
  uint64_t end() const { return first + count; }
  friend bool operator==(const BlockRow&, const BlockRow&) = default;
};

struct Extent {
  int64_t stream = 0;
  uint64_t segment = 0;
  uint64_t first = 0;
  int64_t t_min = 0, t_max = 0;
  std::string packed;  // all but the above of each block
};

// Extents of `rows`: all of one stream, ascending by segment, then ordinal. `extents` is emptied first.
void pack_extents(std::span<const BlockRow> rows, std::vector<Extent>* extents);

// Adds the blocks of an extent to `rows`. False, with `rows` as it was, when the bytes are not of that form.
[[nodiscard]] bool unpack_extent(int64_t stream, uint64_t segment, uint64_t first, std::string_view packed,
                                 std::vector<BlockRow>* rows);

}  // namespace lambda::gateway
