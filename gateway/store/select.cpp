// Reading: which series, which blocks of them, and the cursors that decode these on any thread.
#include <algorithm>
#include <bit>
#include <cmath>
#include <tuple>
#include <utility>

#include "gateway/store/series_name.h"
#include "gateway/store/store_impl.h"
#include "query/matcher.h"

namespace lambda::gateway {
namespace {

// References of one selection; about 80 bytes each.
constexpr uint64_t kSelectedBlocksMax = 2'000'000;

struct BlockRef {
  SegmentPin segment;
  BlockRow row;
  uint64_t boot = 0;
  uint32_t rank = 0;      // of the boot: the later one wins
  int64_t offset_ms = 0;  // what the boot's clock lacked
};

struct Found {
  int64_t time_ms;
  uint32_t rank;
  uint64_t ordinal;
  double value;
};

double to_number(const BlockInfo& info, uint64_t bits) {
  static constexpr double kPowers[kScaleMax + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8, 1e9,
                                                    1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18};
  if (info.type == ValueType::kF64) return std::bit_cast<double>(bits);
  const auto number = static_cast<double>(static_cast<int64_t>(bits));
  return info.type == ValueType::kDec ? number / kPowers[std::min(info.scale, kScaleMax)] : number;
}

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

class StoreCursor final : public query::SeriesCursor {
 public:
  StoreCursor(Disk& disk, std::vector<BlockRef> blocks, int64_t from_ms, int64_t to_ms,
              std::shared_ptr<ReadCounters> counters)
      : disk_(disk), blocks_(std::move(blocks)), from_ms_(from_ms), to_ms_(to_ms), counters_(std::move(counters)) {}

  Result<std::vector<query::Sample>> read(uint64_t samples_max) override {
    std::vector<Found> found;
    for (const BlockRef& ref : blocks_) {
      read_one(ref, &found);
      // Samples that lose to others of their time do not count against the bound, but must not fill the memory either.
      if (found.size() / 2 > samples_max + kBlockPointsMax) keep_winners(&found);
      if (found.size() / 2 > samples_max + kBlockPointsMax) return too_many(samples_max);
    }
    keep_winners(&found);
    if (found.size() > samples_max) return too_many(samples_max);
    std::vector<query::Sample> samples;
    samples.reserve(found.size());
    for (const Found& one : found) samples.push_back({one.time_ms, one.value});
    return samples;
  }

  std::vector<std::string> warnings() const override { return warnings_; }

 private:
  static tl::unexpected<Error> too_many(uint64_t samples_max) {
    return fail(ErrorCode::kFull, "a series has more than " + std::to_string(samples_max) + " samples in this range");
  }

  void read_one(const BlockRef& ref, std::vector<Found>* found) {
    BlockInfo info;
    const auto points = read_points(disk_, ref.segment->path, ref.row, ref.boot, &info);
    if (!points) {
      // One bad block must not hide the good ones; whoever asked is told.
      counters_->damaged_blocks.fetch_add(1, std::memory_order_relaxed);
      if (warnings_.size() < kWarningsMax) warnings_.push_back(points.error().text);
      return;
    }
    for (uint64_t ordinal = ref.row.first; ordinal < ref.row.end(); ++ordinal) {
      const Point& point = (*points)[ordinal - info.first_ordinal];
      const int64_t time_ms = point.time_ms + ref.offset_ms;
      if (time_ms < from_ms_ || time_ms > to_ms_) continue;
      found->push_back({time_ms, ref.rank, ordinal, to_number(info, point.bits)});
    }
  }

  static constexpr size_t kWarningsMax = 8;
  Disk& disk_;
  std::vector<BlockRef> blocks_;
  int64_t from_ms_, to_ms_;
  std::shared_ptr<ReadCounters> counters_;
  std::vector<std::string> warnings_;
};

query::Labels full_labels(const SeriesRow& row, const std::string& device, const std::string& site) {
  query::Labels labels;
  std::string name;
  if (!parse_canonical(row.canonical, &name, &labels)) return {};
  std::erase_if(labels, [](const auto& label) {
    return label.first == "instance" || label.first == "site" || label.first == "__name__";
  });
  labels.emplace_back("__name__", name);
  labels.emplace_back("instance", device);
  labels.emplace_back("site", site);
  std::sort(labels.begin(), labels.end());
  return labels;
}

int64_t shifted(int64_t time_ms, int64_t by) {
  int64_t result = 0;
  if (__builtin_add_overflow(time_ms, by, &result)) return by > 0 ? INT64_MAX : INT64_MIN;
  return result;
}

}  // namespace

// What one device's boots have to do with a question; read once for all its series.
struct StoreImpl::DeviceView {
  struct BootView {
    uint64_t boot = 0;
    uint32_t rank = 0;
    bool may_have = false;
    int64_t offset_min = 0, offset_max = 0;
    int64_t low = 0, high = 0;  // the question, by the boot's own time
    std::map<uint32_t, ClockView> clocks;
    std::vector<uint64_t> segments;  // that may have an answer
  };
  std::string name;
  std::map<int64_t, BootView> boots;  // by row
};

// `segments`: those of [from_ms, to_ms].
StoreImpl::DeviceView StoreImpl::view_device(const Device& device, int64_t from_ms, int64_t to_ms,
                                             const std::vector<uint64_t>& segments) {
  DeviceView view;
  view.name = device.row.name;
  const std::vector<BootRow> rows = catalog_->index().boots(device.row.id);
  const auto ranks = boot_ranks(rows);
  for (const BootRow& row : rows) {
    DeviceView::BootView& boot = view.boots[row.id];
    boot.boot = row.boot;
    boot.rank = ranks.at(row.id);
    for (const ClockView& clock : catalog_->index().clocks(row.id)) {
      boot.clocks[clock.segment] = clock;
      if (!clock.known) continue;
      boot.offset_min = std::min(boot.offset_min, clock.offset_ms);
      boot.offset_max = std::max(boot.offset_max, clock.offset_ms);
    }
    boot.may_have = row.t_min <= row.t_max && shifted(row.t_min, boot.offset_min) <= to_ms &&
                    shifted(row.t_max, boot.offset_max) >= from_ms;
    // offset_max is subtracted from the start and offset_min from the end, so that no block is missed.
    boot.low = shifted(from_ms, -boot.offset_max);
    boot.high = shifted(to_ms, -boot.offset_min);
    if (!boot.may_have) continue;
    const bool plain = boot.low == from_ms && boot.high == to_ms;  // its clock was right
    boot.segments = Catalog::segments_of(row, plain ? segments : catalog_->segments_in(boot.low, boot.high));
  }
  return view;
}

Result<query::Selection> StoreImpl::select(const std::vector<query::Matcher>& matchers, int64_t from_ms, int64_t to_ms,
                                           uint64_t series_max) {
  auto set = query::MatcherSet::compile(matchers);
  if (!set) return tl::unexpected(set.error());
  query::Selection selection;
  if (!catalog_->ok()) return fail(ErrorCode::kUnavailable, "the index is being computed");
  if (!ready_) selection.warnings.push_back("the index is being computed; older points may be missing");

  int64_t device_id = 0;
  std::string name;
  for (const query::Matcher& matcher : matchers) {
    if (matcher.op != query::MatchOp::kEqual) continue;
    if (matcher.label == "__name__") name = matcher.value;
    if (matcher.label == "instance") {
      const Device* device = catalog_->find_device(matcher.value);
      if (device == nullptr) return selection;
      device_id = device->row.id;
    }
  }
  catalog_->write_boots();

  std::vector<std::pair<query::Labels, SeriesRow>> wanted;
  catalog_->index().each_series(device_id, name, [&](const SeriesRow& row) {
    const Device* device = catalog_->find_device(row.device);
    if (device == nullptr) return true;
    query::Labels labels = full_labels(row, device->row.name, options_.site);
    if (set->matches(labels)) wanted.emplace_back(std::move(labels), row);
    return wanted.size() <= series_max * 4;  // series without points in the range do not count
  });
  const std::vector<uint64_t> segments = catalog_->segments_in(from_ms, to_ms);
  std::map<int64_t, DeviceView> views;
  uint64_t blocks = 0;
  for (auto& [labels, row] : wanted) {
    const Device& device = *catalog_->find_device(row.device);
    auto view = views.find(row.device);
    if (view == views.end()) view = views.emplace(row.device, view_device(device, from_ms, to_ms, segments)).first;
    auto cursor = select_series(row, view->second, from_ms, to_ms, &blocks, &selection);
    if (blocks > kSelectedBlocksMax) return fail(ErrorCode::kFull, "the selection has more than 2,000,000 blocks");
    if (!cursor) continue;
    if (selection.series.size() == series_max) {
      return fail(ErrorCode::kFull, "more than " + std::to_string(series_max) + " series match");
    }
    selection.series.push_back({std::move(labels), std::move(cursor)});
  }
  if (wanted.size() > series_max * 4) {
    return fail(ErrorCode::kFull, "more than " + std::to_string(series_max) + " series match");
  }
  if (!catalog_->ok()) return fail(ErrorCode::kUnavailable, "the index failed");
  std::sort(selection.series.begin(), selection.series.end(),
            [](const auto& a, const auto& b) { return a.labels < b.labels; });
  return selection;
}

std::unique_ptr<query::SeriesCursor> StoreImpl::select_series(const SeriesRow& series, const DeviceView& view,
                                                              int64_t from_ms, int64_t to_ms, uint64_t* blocks,
                                                              query::Selection* selection) {
  std::vector<BlockRef> refs;
  bool timeless = false;
  for (const StreamRow& stream : catalog_->index().streams(series.id)) {
    const auto found = view.boots.find(stream.boot);
    if (found == view.boots.end() || !found->second.may_have) continue;
    const DeviceView::BootView& boot = found->second;
    catalog_->index().in_time(stream.id, boot.low, boot.high, boot.segments, [&](const BlockRow& row) {
      const auto clock = boot.clocks.find(row.clock);
      int64_t offset_ms = 0;
      if (clock != boot.clocks.end()) {
        if (clock->second.known) {
          offset_ms = clock->second.offset_ms;
        } else if (clock->second.relative) {
          timeless = true;  // nobody knows yet when that was
          return true;
        }
      }
      if (shifted(row.t_max, offset_ms) < from_ms || shifted(row.t_min, offset_ms) > to_ms) return true;
      refs.push_back({pin(row.segment), row, boot.boot, boot.rank, offset_ms});
      return ++*blocks <= kSelectedBlocksMax;
    });
  }
  if (timeless && selection->warnings.size() < 16) {
    selection->warnings.push_back(view.name + ": points whose device did not know the time yet are left out");
  }
  if (refs.empty()) return nullptr;
  std::sort(refs.begin(), refs.end(), [](const BlockRef& a, const BlockRef& b) {
    return std::tie(a.rank, a.row.stream, a.row.first) < std::tie(b.rank, b.row.stream, b.row.first);
  });
  return std::make_unique<StoreCursor>(env_.disk, std::move(refs), from_ms, to_ms, read_counters_);
}

void StoreImpl::each_metric(const std::function<void(const std::string&, Kind, const std::string&)>& visit) {
  if (ready_) catalog_->index().each_metric(visit);
}

}  // namespace lambda::gateway
