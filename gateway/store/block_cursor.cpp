#include "gateway/store/block_cursor.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <queue>
#include <set>
#include <span>
#include <tuple>
#include <utility>

#include "lambda/stored_block.h"
#include "query/block_samples.h"

namespace lambda::gateway {
namespace {

constexpr uint32_t kRankUnknown = UINT32_MAX;  // of a boot of which nothing is stored: it is the latest

tl::unexpected<Error> bad_block(const std::string& path, const BlockRow& row, const std::string& what) {
  return fail(ErrorCode::kCorrupt, path + ": block at byte " + std::to_string(row.offset) + ": " + what);
}

struct Found {
  int64_t time_ms;
  uint32_t rank;
  uint64_t ordinal;
  double value;
};

// Keeps one sample for each time: of the latest boot, then of the highest ordinal.
void keep_winners(std::vector<Found>* found) {
  const auto before = [](const Found& a, const Found& b) {
    return std::tie(a.time_ms, a.rank, a.ordinal) < std::tie(b.time_ms, b.rank, b.ordinal);
  };
  if (!std::is_sorted(found->begin(), found->end(), before)) std::sort(found->begin(), found->end(), before);
  size_t kept = 0;
  for (size_t i = 0; i < found->size(); ++i) {
    if (i + 1 < found->size() && (*found)[i + 1].time_ms == (*found)[i].time_ms) continue;
    (*found)[kept++] = (*found)[i];
  }
  found->resize(kept);
}

// Decodes one series' blocks. Those whose times lie apart from all others' go straight to the answer; only where blocks
// overlap is it asked, point by point, which boot and ordinal wins.
class BlockCursor final : public query::SeriesCursor {
 public:
  BlockCursor(Disk& disk, std::vector<BlockRef> blocks, std::shared_ptr<const BootPlaces> boots, int64_t from_ms,
              int64_t to_ms, std::shared_ptr<ReadCounters> counters, std::shared_ptr<Summaries> summaries)
      : disk_(disk),
        blocks_(std::move(blocks)),
        boots_(std::move(boots)),
        from_ms_(from_ms),
        to_ms_(to_ms),
        counters_(std::move(counters)),
        summaries_(std::move(summaries)),
        held_(blocks_.size()) {
    counters_->held_blocks.fetch_add(held_, std::memory_order_relaxed);
  }
  ~BlockCursor() override { counters_->held_blocks.fetch_sub(held_, std::memory_order_relaxed); }
  BlockCursor(const BlockCursor&) = delete;
  BlockCursor& operator=(const BlockCursor&) = delete;

  Result<std::vector<query::Sample>> read(uint64_t samples_max) override {
    auto gathered = collect(nullptr, samples_max);
    if (!gathered) return tl::unexpected(gathered.error());
    return std::move(gathered->samples);
  }

  std::vector<std::string> warnings() const override { return warnings_; }

  bool add(std::vector<query::FreshPoint>& fresh) override {
    given_ = std::move(fresh);
    return true;
  }

  // Blocks that no other one overlaps and no window divides come summed up; the others as read() gives them.
  Result<Gathered> gather(const query::Windows& windows, uint64_t samples_max) override {
    return collect(&windows, samples_max);
  }

 private:
  static constexpr size_t kWarningsMax = 8;
  static constexpr uint64_t kReservedMax = 1u << 20;
  using Samples = std::vector<query::Sample>;

  static int64_t begin_of(const BlockRef& ref) { return shifted_time(ref.row.t_min, ref.offset_ms); }
  static int64_t end_of(const BlockRef& ref) { return shifted_time(ref.row.t_max, ref.offset_ms); }

  Result<Gathered> collect(const query::Windows* windows, uint64_t samples_max) {
    Gathered out;
    const std::vector<Found> placed = place_fresh();
    auto fresh = std::span<const Found>(placed);  // those that are not in the answer yet
    // Moving them is what costs; they nearly always come in order.
    if (!std::ranges::is_sorted(blocks_, {}, begin_of)) std::ranges::stable_sort(blocks_, {}, begin_of);
    const auto take_fresh_before = [&](int64_t time_ms) {
      for (; !fresh.empty() && fresh.front().time_ms < time_ms; fresh = fresh.subspan(1)) {
        out.samples.push_back({fresh.front().time_ms, fresh.front().value});
      }
    };
    if (windows == nullptr) {
      uint64_t points = 0;
      for (const BlockRef& ref : blocks_) points += ref.row.count;
      out.samples.reserve(std::min(points, kReservedMax));
    }
    for (size_t i = 0, behind = 0; i < blocks_.size(); i = behind) {
      int64_t end = end_of(blocks_[i]);
      for (behind = i + 1; behind < blocks_.size() && begin_of(blocks_[behind]) <= end; ++behind) {
        end = std::max(end, end_of(blocks_[behind]));
      }
      take_fresh_before(begin_of(blocks_[i]));
      size_t beside = 0;  // fresh points at times of these blocks
      while (beside < fresh.size() && fresh[beside].time_ms <= end) ++beside;
      if (behind - i > 1 || beside > 0) {
        const auto blocks = std::span(blocks_).subspan(i, behind - i);
        if (auto read = read_mixed(blocks, fresh.first(beside), samples_max, &out.samples); !read) {
          return tl::unexpected(read.error());
        }
        fresh = fresh.subspan(beside);
      } else if (const auto run = windows == nullptr ? std::nullopt : sum_up_whole(blocks_[i], *windows)) {
        out.runs.push_back(*run);
      } else {
        read_alone(blocks_[i], &out.samples);
      }
      if (out.samples.size() + out.runs.size() > samples_max) return too_many(samples_max);
    }
    for (const Found& point : fresh) out.samples.push_back({point.time_ms, point.value});
    if (out.samples.size() + out.runs.size() > samples_max) return too_many(samples_max);
    query::keep_last_of_each_time(out.samples);  // within a block times may go back
    return out;
  }

  static tl::unexpected<Error> too_many(uint64_t samples_max) {
    return fail(ErrorCode::kFull, "a series has more than " + std::to_string(samples_max) + " samples in this range");
  }

  // One bad block must not hide the good ones; whoever asked is told.
  void note_damage(Error error) {
    counters_->damaged_blocks.fetch_add(1, std::memory_order_relaxed);
    if (warnings_.size() < kWarningsMax) warnings_.push_back(std::move(error.text));
  }

  // By the block's own times.
  Status decode(const BlockRef& ref, const query::BlockPart& part, Samples* samples) {
    const std::string& path = ref.segment->path;
    if (auto read = read_block_bytes(disk_, path, ref.row, &bytes_); !read) return read;
    BlockInfo info;
    const size_t before = samples->size();
    const BlockStatus status = query::append_samples(bytes_, ref.boot, part, &info, *samples);
    auto checked = check_block(path, ref.row, ref.boot, info, status);
    if (!checked) samples->resize(before);
    return checked;
  }

  // What a summary needs, when it may stand for the block; nothing when it must be read, which says what is wrong.
  std::optional<query::RunSummary> sum_up_whole(const BlockRef& ref, const query::Windows& windows) {
    const int64_t t_min = begin_of(ref);
    const int64_t t_max = end_of(ref);
    if (t_min < from_ms_ || t_max > to_ms_ || windows.divide(t_min, t_max)) return std::nullopt;
    auto found = summaries_->find(ref.row);
    if (!found.known) {
      Samples samples;
      samples.reserve(ref.row.count);
      if (!decode(ref, {.first = ref.row.first, .end = ref.row.end()}, &samples)) return std::nullopt;
      found.summary = query::summary_of(samples);
      summaries_->keep(ref.row, found.summary);
    }
    if (found.summary) {
      found.summary->t_min = t_min;
      found.summary->t_max = t_max;
    }
    return found.summary;
  }

  void read_alone(const BlockRef& ref, Samples* samples) {
    const query::BlockPart part{
        .from_ms = from_ms_, .to_ms = to_ms_, .offset_ms = ref.offset_ms, .first = ref.row.first, .end = ref.row.end()};
    if (auto decoded = decode(ref, part, samples); !decoded) note_damage(std::move(decoded.error()));
  }

  Status read_mixed(std::span<const BlockRef> blocks, std::span<const Found> fresh, uint64_t samples_max,
                    Samples* samples) {
    std::vector<Found> found(fresh.begin(), fresh.end());
    for (const BlockRef& ref : blocks) {
      BlockInfo info;
      const auto points = read_points(disk_, ref.segment->path, ref.row, ref.boot, &info);
      if (!points) {
        note_damage(points.error());
        continue;
      }
      for (uint64_t ordinal = ref.row.first; ordinal < ref.row.end(); ++ordinal) {
        const Point& point = (*points)[ordinal - info.first_ordinal];
        const int64_t time_ms = shifted_time(point.time_ms, ref.offset_ms);
        if (time_ms < from_ms_ || time_ms > to_ms_) continue;
        found.push_back({time_ms, ref.rank, ordinal, query::point_number(info.type, info.scale, point.bits)});
      }
      // Samples that lose to others of their time do not count against the bound, but must not fill the memory either.
      if (found.size() / 2 > samples_max + kBlockPointsMax) keep_winners(&found);
      if (found.size() / 2 > samples_max + kBlockPointsMax) return too_many(samples_max);
    }
    keep_winners(&found);
    for (const Found& one : found) samples->push_back({one.time_ms, one.value});
    return {};
  }

  // Of the points that were given, those that no block has: one for each time, in order.
  std::vector<Found> place_fresh() {
    const auto identity = [](const BlockRef& ref) { return std::tuple(ref.boot, ref.ref, ref.row.first); };
    std::vector<Found> placed;
    if (given_.empty()) return placed;
    std::ranges::sort(blocks_, {}, identity);
    for (const query::FreshPoint& point : given_) {
      const auto behind =
          std::ranges::upper_bound(blocks_, std::tuple(point.boot, point.ref, point.ordinal), {}, identity);
      if (behind != blocks_.begin()) {
        const BlockRef& ref = *std::prev(behind);
        if (ref.boot == point.boot && ref.ref == point.ref && point.ordinal < ref.row.end()) continue;
      }
      const auto boot = boots_->find(point.boot);
      const bool known = boot != boots_->end();
      int64_t offset_ms = 0;
      if (known) {
        const auto clock = boot->second.clocks.find(point.clock);
        if (clock != boot->second.clocks.end() && clock->second.known) offset_ms = clock->second.offset_ms;
      }
      const int64_t time_ms = shifted_time(point.sample.time_ms, offset_ms);
      if (time_ms < from_ms_ || time_ms > to_ms_) continue;
      placed.push_back({time_ms, known ? boot->second.rank : kRankUnknown, point.ordinal, point.sample.value});
    }
    keep_winners(&placed);
    return placed;
  }

  Disk& disk_;
  std::vector<BlockRef> blocks_;
  std::shared_ptr<const BootPlaces> boots_;
  std::vector<query::FreshPoint> given_;
  int64_t from_ms_, to_ms_;
  std::shared_ptr<ReadCounters> counters_;
  std::shared_ptr<Summaries> summaries_;
  const uint64_t held_;
  std::vector<uint8_t> bytes_;  // of the block being read
  std::vector<std::string> warnings_;
};

}  // namespace

int64_t shifted_time(int64_t time_ms, int64_t by) {
  int64_t result = 0;
  if (__builtin_add_overflow(time_ms, by, &result)) return by > 0 ? INT64_MAX : INT64_MIN;
  return result;
}

Status read_block_bytes(Disk& disk, const std::string& path, const BlockRow& row, std::vector<uint8_t>* bytes) {
  bytes->resize(row.length);
  const auto got = disk.read(path, row.offset, std::as_writable_bytes(std::span(*bytes)));
  if (!got) return tl::unexpected(got.error());
  if (*got != bytes->size()) return bad_block(path, row, "the file ends within it");
  return {};
}

Status check_block(const std::string& path, const BlockRow& row, uint64_t boot, const BlockInfo& info,
                   const BlockStatus& status) {
  if (!status.ok()) {
    return bad_block(path, row,
                     std::string(block_error_name(status.error)) + " at its byte " + std::to_string(status.offset));
  }
  if (info.boot != boot || info.first_ordinal > row.first || info.first_ordinal + info.count < row.end()) {
    return bad_block(path, row, "it holds other ordinals than the index says");
  }
  return {};
}

Result<std::vector<Point>> read_points(Disk& disk, const std::string& path, const BlockRow& row, uint64_t boot,
                                       BlockInfo* info) {
  std::vector<uint8_t> bytes;
  if (auto read = read_block_bytes(disk, path, row, &bytes); !read) return tl::unexpected(read.error());
  std::vector<Point> points(kBlockPointsMax);
  const BlockStatus status = lambda::read_block(bytes, boot, info, points);
  if (auto checked = check_block(path, row, boot, *info, status); !checked) return tl::unexpected(checked.error());
  points.resize(info->count);
  return points;
}

std::map<int64_t, uint32_t> boot_ranks(const std::vector<BootRow>& boots) {
  const auto started = [](const BootRow& row) {
    if (row.has_hello) return row.started_ms;
    return row.t_min <= row.t_max ? INT64_MAX : INT64_MIN;
  };
  std::map<uint64_t, size_t> at;
  for (size_t i = 0; i < boots.size(); ++i) at[boots[i].boot] = i;
  using Key = std::tuple<int64_t, uint64_t, size_t>;
  std::priority_queue<Key, std::vector<Key>, std::greater<>> free;
  std::vector<std::vector<size_t>> after(boots.size());
  std::set<Key> rest;
  for (size_t i = 0; i < boots.size(); ++i) {
    const Key key{started(boots[i]), boots[i].boot, i};
    const auto previous = boots[i].has_hello ? at.find(boots[i].previous_boot) : at.end();
    rest.insert(key);
    if (previous != at.end() && previous->second != i) {
      after[previous->second].push_back(i);
    } else {
      free.push(key);
    }
  }
  std::map<int64_t, uint32_t> ranks;
  while (!rest.empty()) {
    const Key key = free.empty() ? *rest.begin() : free.top();
    if (!free.empty()) free.pop();
    if (rest.erase(key) == 0) continue;
    const size_t i = std::get<2>(key);
    ranks[boots[i].id] = static_cast<uint32_t>(ranks.size());
    for (const size_t next : after[i]) free.push({started(boots[next]), boots[next].boot, next});
  }
  return ranks;
}

std::unique_ptr<query::SeriesCursor> block_cursor(Disk& disk, std::vector<BlockRef> blocks,
                                                  std::shared_ptr<const BootPlaces> boots, int64_t from_ms,
                                                  int64_t to_ms, std::shared_ptr<ReadCounters> counters,
                                                  std::shared_ptr<Summaries> summaries) {
  return std::make_unique<BlockCursor>(disk, std::move(blocks), std::move(boots), from_ms, to_ms, std::move(counters),
                                       std::move(summaries));
}

}  // namespace lambda::gateway
