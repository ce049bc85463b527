// Where blocks stand: gathered in memory, written as extents, looked for in both.
#include <algorithm>
#include <utility>

#include "gateway/store/index.h"
#include "gateway/store/index_query.h"

namespace lambda::gateway {
namespace {

constexpr int kDroppedExtents = 2'048;  // of a slice

}  // namespace

void Index::put_block(const BlockRow& row) {
  changed();
  const auto place = static_cast<uint32_t>(gathered_.size());
  const auto [newest, fresh] = newest_of_.try_emplace(row.stream, place);
  gathered_.push_back({row, fresh ? kNone : std::exchange(newest->second, place)});
  if (gathered_.size() >= kGatheredBlocksMax) write_gathered();
}

// By stream, then segment: nearly always one segment, so that nearly all goes to the end of the table.
void Index::write_gathered() {
  write_parcels();
  if (gathered_.empty()) return;
  std::vector<int64_t> streams;
  streams.reserve(newest_of_.size());
  for (const auto& [stream, place] : newest_of_) streams.push_back(stream);
  std::sort(streams.begin(), streams.end());
  std::vector<Extent> extents;
  std::vector<BlockRow> rows;
  for (const int64_t stream : streams) {
    rows.clear();
    for (uint32_t at = newest_of_[stream]; at != kNone; at = gathered_[at].before) rows.push_back(gathered_[at].row);
    std::reverse(rows.begin(), rows.end());
    const auto before = [](const BlockRow& a, const BlockRow& b) {
      return std::pair(a.segment, a.first) < std::pair(b.segment, b.first);
    };
    if (!std::is_sorted(rows.begin(), rows.end(), before)) std::sort(rows.begin(), rows.end(), before);
    write_extents(rows, &extents);
  }
  newest_of_.clear();
  const bool few = gathered_.size() < gathered_.capacity() / 4;
  gathered_.clear();
  if (few) gathered_.shrink_to_fit();
}

void Index::write_extents(std::span<const BlockRow> rows, std::vector<Extent>* extents) {
  pack_extents(rows, extents);
  for (const Extent& extent : *extents) {
    Query(*this, "INSERT OR REPLACE INTO extents VALUES(?,?,?,?,?,?)")
        .bind(extent.segment)
        .bind(extent.stream)
        .bind(extent.first)
        .bind(extent.t_min)
        .bind(extent.t_max)
        .bind_blob(extent.packed)
        .write();
  }
}

// Ascending by ordinal.
std::vector<BlockRow> Index::gathered_of(int64_t stream, uint64_t segment) const {
  std::vector<BlockRow> rows;
  const auto newest = newest_of_.find(stream);
  for (uint32_t at = newest == newest_of_.end() ? kNone : newest->second; at != kNone; at = gathered_[at].before) {
    if (gathered_[at].row.segment == segment) rows.push_back(gathered_[at].row);
  }
  std::reverse(rows.begin(), rows.end());
  return rows;
}

std::vector<BlockRow> Index::overlapping(int64_t stream, uint64_t first, uint64_t end,
                                         std::span<const uint64_t> segments, uint64_t points_max) {
  std::vector<BlockRow> all;
  std::vector<BlockRow> rows;
  RunSet found;
  uint64_t points = 0;
  for (const uint64_t segment : segments) {
    if (points >= points_max) break;
    rows = gathered_of(stream, segment);
    // Extents of a stream in a segment do not overlap: the last one that begins before, and those after it.
    Query query(*this,
                "SELECT first, blocks FROM extents WHERE segment=?1 AND stream=?2 AND first<?4 AND first>=coalesce("
                "(SELECT first FROM extents WHERE segment=?1 AND stream=?2 AND first<=?3 ORDER BY first DESC LIMIT 1)"
                ", 0) ORDER BY first");
    query.bind(segment).bind(stream).bind(first).bind(end);
    while (query.step()) {
      const uint64_t start = query.count();
      if (!unpack_extent(stream, segment, start, query.blob(), &rows)) refuse("an extent that cannot be read");
    }
    std::sort(rows.begin(), rows.end(), [](const BlockRow& a, const BlockRow& b) { return a.first < b.first; });
    for (const BlockRow& row : rows) {
      const uint64_t low = std::max(first, row.first);
      const uint64_t high = std::min(end, row.end());
      if (low >= high) continue;
      all.push_back(row);
      if (points_max != UINT64_MAX) points += found.add(low, high);
    }
  }
  return all;
}

void Index::in_time(int64_t stream, int64_t from, int64_t to, std::span<const uint64_t> segments,
                    const std::function<bool(const BlockRow&)>& visit) {
  std::vector<BlockRow> rows;
  for (const uint64_t segment : segments) {
    rows = gathered_of(stream, segment);
    Query query(*this,
                "SELECT first, blocks FROM extents WHERE segment=? AND stream=? AND t_max>=? AND t_min<=?"
                " ORDER BY first");
    query.bind(segment).bind(stream).bind(from).bind(to);
    while (query.step()) {
      const uint64_t start = query.count();
      if (!unpack_extent(stream, segment, start, query.blob(), &rows)) refuse("an extent that cannot be read");
    }
    for (const BlockRow& row : rows) {
      if (row.t_max >= from && row.t_min <= to && !visit(row)) return;
    }
  }
}

bool Index::drop_extents(uint64_t segment) {
  int64_t last = INT64_MAX;
  {
    Query query(*this, "SELECT stream FROM extents WHERE segment=? ORDER BY stream, first LIMIT 1 OFFSET ?");
    if (query.bind(segment).bind(kDroppedExtents).step()) last = query.number();
  }
  Query(*this, "DELETE FROM extents WHERE segment=? AND stream<=?").bind(segment).bind(last).write();
  return last == INT64_MAX;
}

void Index::add_held(uint64_t segment, int64_t device, int64_t blocks) {
  Query(*this,
        "INSERT INTO held VALUES(?,?,?) ON CONFLICT(segment, device) DO UPDATE SET blocks=blocks+excluded.blocks")
      .bind(segment)
      .bind(device)
      .bind(blocks)
      .write();
}

std::vector<std::pair<int64_t, int64_t>> Index::held(uint64_t segment) {
  std::vector<std::pair<int64_t, int64_t>> all;
  Query query(*this, "SELECT device, blocks FROM held WHERE segment=?");
  query.bind(segment);
  while (query.step()) {
    const int64_t device = query.number();
    all.emplace_back(device, query.number());
  }
  return all;
}

void Index::drop_held(uint64_t segment) {
  Query(*this, "DELETE FROM held WHERE segment=?").bind(segment).write();
}

}  // namespace lambda::gateway
