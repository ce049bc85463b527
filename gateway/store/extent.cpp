#include "gateway/store/extent.h"

#include <algorithm>

#include "gateway/store/varint.h"

namespace lambda::gateway {
namespace {

// Each block is told by its distance from the one before.
void pack(const BlockRow& row, const BlockRow& before, std::string& out) {
  put_varint(out, row.count);
  put_varint(out, zigzag(static_cast<uint64_t>(row.t_min) - static_cast<uint64_t>(before.t_max)));
  put_varint(out, static_cast<uint64_t>(row.t_max) - static_cast<uint64_t>(row.t_min));
  put_varint(out, zigzag(row.offset - before.offset));
  put_varint(out, row.length);
  put_varint(out, zigzag(uint64_t{row.clock} - uint64_t{before.clock}));
}

bool unpack(std::string_view& in, BlockRow* row) {
  uint64_t count = 0;
  uint64_t start = 0;
  uint64_t span = 0;
  uint64_t offset = 0;
  uint64_t length = 0;
  uint64_t clock = 0;
  if (!get_varint(in, &count) || !get_varint(in, &start) || !get_varint(in, &span) || !get_varint(in, &offset) ||
      !get_varint(in, &length) || !get_varint(in, &clock)) {
    return false;
  }
  if (count == 0 || count > UINT32_MAX || length > UINT32_MAX) return false;
  row->first = row->end();
  row->count = static_cast<uint32_t>(count);
  row->t_min = static_cast<int64_t>(static_cast<uint64_t>(row->t_max) + unzigzag(start));
  row->t_max = static_cast<int64_t>(static_cast<uint64_t>(row->t_min) + span);
  row->offset += unzigzag(offset);
  row->length = static_cast<uint32_t>(length);
  row->clock = static_cast<uint32_t>(row->clock + unzigzag(clock));
  return true;
}

}  // namespace

void pack_extents(std::span<const BlockRow> rows, std::vector<Extent>* extents) {
  extents->clear();
  BlockRow before;
  size_t blocks = 0;
  for (const BlockRow& row : rows) {
    if (blocks == 0 || blocks == kExtentBlocksMax || row.segment != before.segment || row.first != before.end()) {
      extents->push_back({row.stream, row.segment, row.first, row.t_min, row.t_max, {}});
      before = BlockRow{};
      blocks = 0;
    }
    Extent& extent = extents->back();
    extent.t_min = std::min(extent.t_min, row.t_min);
    extent.t_max = std::max(extent.t_max, row.t_max);
    pack(row, before, extent.packed);
    before = row;
    ++blocks;
  }
}

bool unpack_extent(int64_t stream, uint64_t segment, uint64_t first, std::string_view packed,
                   std::vector<BlockRow>* rows) {
  const size_t start = rows->size();
  BlockRow row;
  row.stream = stream;
  row.segment = segment;
  row.first = first;
  while (!packed.empty()) {
    if (!unpack(packed, &row)) {
      rows->resize(start);
      return false;
    }
    rows->push_back(row);
  }
  return true;
}

}  // namespace lambda::gateway
