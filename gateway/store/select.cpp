// Reading: which series, which blocks of them, and the cursors that decode these on any thread.
#include <algorithm>
#include <utility>

#include "gateway/store/block_cursor.h"
#include "gateway/store/series_name.h"
#include "gateway/store/store_impl.h"
#include "query/matcher.h"

namespace lambda::gateway {
namespace {

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
  std::shared_ptr<const BootPlaces> places;
};

// `segments`: those of [from_ms, to_ms].
StoreImpl::DeviceView StoreImpl::view_device(const Device& device, int64_t from_ms, int64_t to_ms,
                                             const std::vector<uint64_t>& segments) {
  DeviceView view;
  view.name = device.row.name;
  const std::vector<BootRow> rows = catalog_->index().boots(device.row.id);
  const auto ranks = boot_ranks(rows);
  auto places = std::make_shared<BootPlaces>();
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
    (*places)[row.boot] = {boot.rank, boot.clocks};
    boot.may_have = row.t_min <= row.t_max && shifted_time(row.t_min, boot.offset_min) <= to_ms &&
                    shifted_time(row.t_max, boot.offset_max) >= from_ms;
    // offset_max is subtracted from the start and offset_min from the end, so that no block is missed.
    boot.low = shifted_time(from_ms, -boot.offset_max);
    boot.high = shifted_time(to_ms, -boot.offset_min);
    if (!boot.may_have) continue;
    const bool plain = boot.low == from_ms && boot.high == to_ms;  // its clock was right
    boot.segments = Catalog::segments_of(row, plain ? segments : catalog_->segments_in(boot.low, boot.high));
  }
  view.places = std::move(places);
  return view;
}

Result<query::Selection> StoreImpl::select(const std::vector<query::Matcher>& matchers, int64_t from_ms, int64_t to_ms,
                                           uint64_t series_max) {
  const uint64_t held = read_counters_->held_blocks.load(std::memory_order_relaxed);
  const uint64_t left = options_.held_blocks_max - std::min(held, options_.held_blocks_max);
  return find_series(matchers, {from_ms, to_ms, false, std::min(options_.selected_blocks_max, left)}, series_max);
}

Result<query::Selection> StoreImpl::list(const std::vector<query::Matcher>& matchers, int64_t from_ms, int64_t to_ms,
                                         uint64_t series_max) {
  return find_series(matchers, {from_ms, to_ms, true, UINT64_MAX}, series_max);
}

Result<query::Selection> StoreImpl::find_series(const std::vector<query::Matcher>& matchers, Asked asked,
                                                uint64_t series_max) {
  auto set = query::MatcherSet::compile(matchers);
  if (!set) return tl::unexpected(set.error());
  query::Selection selection;
  if (!catalog_->ok()) return fail(ErrorCode::kUnavailable, "the index is being computed");
  if (!ready_) selection.warnings.push_back("the index is being computed; older points may be missing");
  if (damaged_records_ > 0) {
    selection.warnings.push_back(
        std::to_string(damaged_records_) +
        " records of the store were found damaged since the start; their points may be missing");
  }

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
  const std::vector<uint64_t> segments = catalog_->segments_in(asked.from_ms, asked.to_ms);
  std::map<int64_t, DeviceView> views;
  for (auto& [labels, row] : wanted) {
    const Device& device = *catalog_->find_device(row.device);
    auto view = views.find(row.device);
    if (view == views.end()) {
      view = views.emplace(row.device, view_device(device, asked.from_ms, asked.to_ms, segments)).first;
    }
    std::unique_ptr<query::SeriesCursor> cursor;
    const bool found = select_series(row, view->second, &asked, &selection, &cursor);
    if (asked.blocks > asked.blocks_max) {
      if (asked.blocks_max < options_.selected_blocks_max) {
        return fail(ErrorCode::kUnavailable, "other questions hold " +
                                                 std::to_string(options_.held_blocks_max - asked.blocks_max) +
                                                 " blocks: try again later");
      }
      return fail(ErrorCode::kFull, "the answer lies in more than " + std::to_string(asked.blocks_max) +
                                        " blocks: ask for fewer series or a shorter time");
    }
    if (!found) continue;
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

// False: it has no block that may have points of that time.
bool StoreImpl::select_series(const SeriesRow& series, const DeviceView& view, Asked* asked,
                              query::Selection* selection, std::unique_ptr<query::SeriesCursor>* cursor) {
  std::vector<BlockRef> refs;
  bool timeless = false;
  for (const StreamRow& stream : catalog_->index().streams(series.id)) {
    if (asked->labels_only && !refs.empty()) break;
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
      if (shifted_time(row.t_max, offset_ms) < asked->from_ms || shifted_time(row.t_min, offset_ms) > asked->to_ms) {
        return true;
      }
      refs.push_back({pin(row.segment), row, boot.boot, stream.ref, boot.rank, offset_ms});
      return ++asked->blocks <= asked->blocks_max && !asked->labels_only;
    });
  }
  if (timeless && selection->warnings.size() < 16) {
    selection->warnings.push_back(view.name + ": points whose device did not know the time yet are left out");
  }
  if (refs.empty() || asked->labels_only) return !refs.empty();
  *cursor =
      block_cursor(env_.disk, std::move(refs), view.places, asked->from_ms, asked->to_ms, read_counters_, summaries_);
  return true;
}

void StoreImpl::each_metric(const std::function<void(const std::string&, Kind, const std::string&)>& visit) {
  if (ready_) catalog_->index().each_metric(visit);
}

}  // namespace lambda::gateway
