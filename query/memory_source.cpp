#include "query/memory_source.h"

#include "query/labels.h"
#include "query/matcher.h"

namespace lambda::query {
namespace {

class VectorCursor : public SeriesCursor {
 public:
  explicit VectorCursor(std::vector<Sample> samples) : samples_(std::move(samples)) {}

  Result<std::vector<Sample>> read(uint64_t samples_max) override {
    if (samples_.size() > samples_max) {
      return fail(ErrorCode::kFull, "a series has more than " + std::to_string(samples_max) + " samples");
    }
    return samples_;
  }

 private:
  std::vector<Sample> samples_;
};

}  // namespace

void MemorySource::add(std::vector<std::pair<std::string, std::string>> labels, const std::vector<Sample>& samples) {
  auto& points = series_[sorted_labels(std::move(labels))];
  for (const Sample& sample : samples) {
    points[sample.time_ms] = sample.value;
  }
}

void MemorySource::add(std::vector<std::pair<std::string, std::string>> labels, int64_t time_ms, double value) {
  add(std::move(labels), {Sample{time_ms, value}});
}

Result<Selection> MemorySource::select(const std::vector<Matcher>& matchers, int64_t from_ms, int64_t to_ms,
                                       uint64_t series_max) {
  const auto wanted = MatcherSet::compile(matchers);
  if (!wanted) {
    return tl::unexpected(wanted.error());
  }
  Selection selection;
  selection.warnings = warnings_;
  for (const auto& [labels, points] : series_) {
    const auto from = points.lower_bound(from_ms);
    const auto to = points.upper_bound(to_ms);
    if (from_ms > to_ms || from == to || !wanted->matches(labels)) {
      continue;
    }
    if (selection.series.size() == series_max) {
      return fail(ErrorCode::kFull, "more than " + std::to_string(series_max) + " series match");
    }
    std::vector<Sample> samples;
    for (auto point = from; point != to; ++point) {
      samples.push_back({point->first, point->second});
    }
    selection.series.push_back({labels, std::make_unique<VectorCursor>(std::move(samples))});
  }
  return selection;
}

}  // namespace lambda::query
