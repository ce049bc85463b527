#include "gateway/live/live_overlay.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <memory>
#include <utility>

#include "query/matcher.h"

namespace lambda::gateway {
namespace {

// A question that ends less than this ago asks about the present: no seal age keeps a host's points for longer.
constexpr int64_t kPresentMs = 60'000;

tl::unexpected<Error> too_many(uint64_t samples_max) {
  return fail(ErrorCode::kFull, "a series has more than " + std::to_string(samples_max) + " samples in this range");
}

class OverlaidCursor final : public query::SeriesCursor {
 public:
  // `base` may be null: there are live points only.
  OverlaidCursor(std::unique_ptr<query::SeriesCursor> base, std::vector<query::Sample> live)
      : base_(std::move(base)), live_(std::move(live)) {}

  Result<std::vector<query::Sample>> read(uint64_t samples_max) override {
    std::vector<query::Sample> stored;
    if (base_ != nullptr) {
      auto read = base_->read(samples_max);
      if (!read) return read;
      stored = std::move(*read);
    }
    // Nearly always the live ones follow the stored ones.
    if (!stored.empty() && !live_.empty() && stored.back().time_ms >= live_.front().time_ms) {
      std::vector<query::Sample> all;
      all.reserve(stored.size() + live_.size());
      auto live = live_.begin();
      for (const query::Sample& sample : stored) {
        for (; live != live_.end() && live->time_ms < sample.time_ms; ++live) all.push_back(*live);
        if (live == live_.end() || live->time_ms != sample.time_ms) all.push_back(sample);
      }
      all.insert(all.end(), live, live_.end());
      stored = std::move(all);
    } else {
      stored.insert(stored.end(), live_.begin(), live_.end());
    }
    if (stored.size() > samples_max) return too_many(samples_max);
    return stored;
  }

  std::vector<std::string> warnings() const override {
    return base_ == nullptr ? std::vector<std::string>() : base_->warnings();
  }

 private:
  const std::unique_ptr<query::SeriesCursor> base_;
  const std::vector<query::Sample> live_;
};

}  // namespace

Result<query::Selection> LiveOverlay::select(const std::vector<query::Matcher>& matchers, int64_t from_ms,
                                             int64_t to_ms, uint64_t series_max) {
  auto selection = base_.select(matchers, from_ms, to_ms, series_max);
  if (!selection) return selection;
  const bool present = to_ms >= clock_.utc_ms() - kPresentMs;
  if (asking_ && want_ && present) want_(matchers);
  const auto set = query::MatcherSet::compile(matchers);
  if (!set) return tl::unexpected(set.error());
  auto fresh = fresh_.read(*set, from_ms, to_ms, series_max);
  if (!fresh) return tl::unexpected(fresh.error());
  if (present && fresh_.incomplete()) {
    selection->warnings.push_back(
        "live points were dropped at their bound (live.points_max): the last moments may lack until they are stored");
  }
  if (fresh->empty()) return selection;
  ++counters_.selections;
  std::map<query::Labels, std::vector<query::Sample>> live;
  for (auto& one : *fresh) live.emplace(std::move(one.labels), std::move(one.samples));
  for (auto& series : selection->series) {
    const auto found = live.find(series.labels);
    if (found == live.end()) continue;
    series.cursor = std::make_unique<OverlaidCursor>(std::move(series.cursor), std::move(found->second));
    live.erase(found);
  }
  if (selection->series.size() + live.size() > series_max) {
    return fail(ErrorCode::kFull, "more than " + std::to_string(series_max) + " series match");
  }
  for (auto& [labels, samples] : live) {
    selection->series.push_back({labels, std::make_unique<OverlaidCursor>(nullptr, std::move(samples))});
  }
  std::sort(selection->series.begin(), selection->series.end(),
            [](const auto& a, const auto& b) { return a.labels < b.labels; });
  return selection;
}

}  // namespace lambda::gateway
