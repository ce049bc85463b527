#include "query/series_source.h"

#include <algorithm>
#include <cmath>

#include "query/functions.h"

namespace lambda::query {
namespace {

// Whether one of `count` moments, `step_ms` apart, lies in [t_min, t_max).
bool any_within(int64_t first_ms, int64_t step_ms, uint64_t count, int64_t t_min, int64_t t_max) {
  if (t_min <= first_ms) {
    return first_ms < t_max;
  }
  const auto steps =
      (static_cast<uint64_t>(t_min) - static_cast<uint64_t>(first_ms) + static_cast<uint64_t>(step_ms) - 1) /
      static_cast<uint64_t>(step_ms);
  return steps < count && first_ms + static_cast<int64_t>(steps) * step_ms < t_max;
}

}  // namespace

bool Windows::divide(int64_t t_min, int64_t t_max) const {
  return any_within(first_end_ms, step_ms, count, t_min, t_max) ||
         any_within(first_end_ms - range_ms, step_ms, count, t_min, t_max);
}

std::optional<RunSummary> summary_of(std::span<const Sample> samples) {
  if (samples.empty()) {
    return std::nullopt;
  }
  RunSummary out{samples.front().time_ms, samples.back().time_ms, samples.size(),        0,
                 samples.front().value,   samples.front().value,  samples.front().value, samples.back().value};
  ExactSum sum;
  int64_t before_ms = samples.front().time_ms - 1;
  for (const Sample& sample : samples) {
    if (sample.time_ms <= before_ms) {
      return std::nullopt;
    }
    before_ms = sample.time_ms;
    sum.add(sample.value);
    out.min = std::min(out.min, sample.value);
    out.max = std::max(out.max, sample.value);
  }
  out.sum = sum.rounded();
  out.sum_lost = sum.lost();
  return std::isfinite(out.sum) ? std::optional(out) : std::nullopt;  // a NaN makes the sum one
}

Result<SeriesCursor::Gathered> SeriesCursor::gather(const Windows&, uint64_t samples_max) {
  auto samples = read(samples_max);
  if (!samples) {
    return tl::unexpected(samples.error());
  }
  return Gathered{std::move(*samples), {}};
}

}  // namespace lambda::query
