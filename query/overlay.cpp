#include "query/overlay.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "query/block_samples.h"

namespace lambda::query {
namespace {

// Fresh points, and a cursor that does not know its points by identity, or none.
class MergedCursor final : public SeriesCursor {
 public:
  MergedCursor(std::unique_ptr<SeriesCursor> stored, std::vector<FreshPoint> fresh)
      : stored_(std::move(stored)), fresh_(std::move(fresh)) {}

  Result<std::vector<Sample>> read(uint64_t samples_max) override {
    std::vector<Sample> samples;
    samples.reserve(fresh_.size());
    for (const FreshPoint& point : fresh_) {
      samples.push_back(point.sample);
    }
    if (stored_ != nullptr) {  // behind the others: its samples win
      auto stored = stored_->read(samples_max);
      if (!stored) {
        return stored;
      }
      samples.insert(samples.end(), stored->begin(), stored->end());
    }
    keep_last_of_each_time(samples);
    if (samples.size() > samples_max) {
      return fail(ErrorCode::kFull, "a series has more than " + std::to_string(samples_max) + " samples in this range");
    }
    return samples;
  }

  std::vector<std::string> warnings() const override {
    return stored_ == nullptr ? std::vector<std::string>() : stored_->warnings();
  }

 private:
  std::unique_ptr<SeriesCursor> stored_;
  std::vector<FreshPoint> fresh_;
};

void lay_over(SelectedSeries& series, std::vector<FreshPoint> points) {
  if (series.cursor == nullptr || !series.cursor->add(points)) {
    series.cursor = std::make_unique<MergedCursor>(std::move(series.cursor), std::move(points));
  }
}

}  // namespace

Result<Selection> Overlay::select(const std::vector<Matcher>& matchers, int64_t from_ms, int64_t to_ms,
                                  uint64_t series_max) {
  return join(stored_.select(matchers, from_ms, to_ms, series_max), matchers, from_ms, to_ms, series_max);
}

Result<Selection> Overlay::list(const std::vector<Matcher>& matchers, int64_t from_ms, int64_t to_ms,
                                uint64_t series_max) {
  return join(stored_.list(matchers, from_ms, to_ms, series_max), matchers, from_ms, to_ms, series_max);
}

Result<Selection> Overlay::join(Result<Selection> selection, const std::vector<Matcher>& matchers, int64_t from_ms,
                                int64_t to_ms, uint64_t series_max) {
  if (!selection) {
    return selection;
  }
  const auto wanted = MatcherSet::compile(matchers);
  if (!wanted) {
    return tl::unexpected(wanted.error());
  }
  auto fresh = fresh_.fresh(*wanted, from_ms, to_ms, series_max, selection->warnings);
  if (!fresh) {
    selection->warnings.push_back("points that are not stored yet are left out: " + fresh.error().text);
    return selection;
  }
  std::vector<SelectedSeries>& all = selection->series;
  const auto stored_count = static_cast<std::ptrdiff_t>(all.size());
  for (FreshSeries& series : *fresh) {
    if (series.points.empty()) {
      continue;
    }
    const auto found =
        std::ranges::lower_bound(all.begin(), all.begin() + stored_count, series.labels, {}, &SelectedSeries::labels);
    if (found != all.begin() + stored_count && found->labels == series.labels) {
      lay_over(*found, std::move(series.points));
    } else if (all.size() == series_max) {
      return fail(ErrorCode::kFull, "more than " + std::to_string(series_max) + " series match");
    } else {
      all.push_back({std::move(series.labels), nullptr});
      lay_over(all.back(), std::move(series.points));
    }
  }
  std::ranges::sort(all, {}, &SelectedSeries::labels);
  return selection;
}

}  // namespace lambda::query
