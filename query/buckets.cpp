#include "query/buckets.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <utility>

#include "query/labels.h"
#include "query/number.h"

namespace lambda::query {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
// Counts that were computed (rates) differ by rounding; this much of one another is no difference.
constexpr double kRoundingShare = 1e-12;

bool nearly_equal(double a, double b) {
  return std::fabs(a - b) <= kRoundingShare * (std::fabs(a) + std::fabs(b));
}

// Counts never fall as bounds grow.
std::optional<Mended> mend(std::vector<Bucket>& buckets) {
  std::optional<Mended> mended;
  double highest = buckets.front().count;
  for (size_t i = 1; i < buckets.size(); ++i) {
    Bucket& bucket = buckets[i];
    if (nearly_equal(highest, bucket.count)) {
      bucket.count = highest;
    } else if (bucket.count < highest) {
      if (!mended) {
        mended = Mended{bucket.upper_bound, bucket.upper_bound, 0};
      }
      mended->highest_bound = bucket.upper_bound;
      mended->difference_max = std::max(mended->difference_max, highest - bucket.count);
      bucket.count = highest;
    } else {
      highest = bucket.count;
    }
  }
  return mended;
}

// How many values lie at or below `value`; what lies in a bucket of infinite width counts as its finite bound.
double rank_of(double value, const std::vector<Bucket>& buckets) {
  double lower_bound = buckets.front().upper_bound > 0 ? 0 : -kInfinity;
  double below = 0;
  for (const Bucket& bucket : buckets) {
    if (value <= lower_bound) {
      return below;
    }
    if (value < bucket.upper_bound) {
      if (std::isinf(lower_bound)) {
        return bucket.count;
      }
      return below + (bucket.count - below) * (value - lower_bound) / (bucket.upper_bound - lower_bound);
    }
    lower_bound = bucket.upper_bound;
    below = bucket.count;
  }
  return buckets.back().count;
}

}  // namespace

std::string mended_text(const Mended& mended) {
  return "input to histogram_quantile needed to be fixed for monotonicity (counts fell between the bounds " +
         format_number(mended.lowest_bound) + " and " + format_number(mended.highest_bound) + ", by at most " +
         format_number(mended.difference_max) + ")";
}

double bucket_quantile(double quantile, std::vector<Bucket>& buckets, std::optional<Mended>& mended) {
  if (std::isnan(quantile)) {
    return kNan;
  }
  if (quantile < 0 || quantile > 1) {
    return quantile < 0 ? -kInfinity : kInfinity;
  }
  if (buckets.empty() || buckets.back().upper_bound != kInfinity) {
    return kNan;
  }
  mended = mend(buckets);
  const double total = buckets.back().count;
  if (buckets.size() < 2 || total == 0 || std::isnan(total)) {
    return kNan;
  }
  const double rank = quantile * total;
  const auto found =
      std::find_if(buckets.begin(), buckets.end() - 1, [rank](const Bucket& bucket) { return bucket.count >= rank; });
  if (found == buckets.end() - 1) {
    return (found - 1)->upper_bound;
  }
  if (found == buckets.begin()) {
    return found->upper_bound <= 0 ? found->upper_bound : found->upper_bound * (rank / found->count);
  }
  const Bucket& below = *(found - 1);
  return below.upper_bound +
         (found->upper_bound - below.upper_bound) * ((rank - below.count) / (found->count - below.count));
}

double bucket_fraction(double lower, double upper, const std::vector<Bucket>& buckets) {
  if (buckets.empty() || buckets.back().upper_bound != kInfinity) {
    return kNan;
  }
  const double total = buckets.back().count;
  if (total == 0 || std::isnan(total) || std::isnan(lower) || std::isnan(upper)) {
    return kNan;
  }
  if (lower >= upper) {
    return 0;
  }
  return (std::min(rank_of(upper, buckets), total) - std::min(rank_of(lower, buckets), total)) / total;
}

void Histogram::buckets_at(size_t step, std::vector<Bucket>& buckets) const {
  buckets.clear();
  for (const Series& one : series) {
    if (one.column->present[step] == 0) {
      continue;
    }
    const double count = one.column->values[step];
    if (!buckets.empty() && buckets.back().upper_bound == one.upper_bound) {
      buckets.back().count += count;
    } else {
      buckets.push_back({one.upper_bound, count});
    }
  }
}

std::vector<Histogram> histograms_of(const Columns& columns, const Expression& at, Notes& notes) {
  static const std::vector<std::string> kBound{"le"};
  std::map<Labels, size_t> places;
  std::vector<Histogram> out;
  for (const Column& column : columns) {
    const std::string_view text = label_value(column.labels, "le");
    const auto bound = parse_number(text);
    if (!bound || std::isnan(*bound)) {
      notes.warn("bucket label \"le\" is missing or has a malformed value of " + quoted(text) +
                     for_metric(label_value(column.labels, kMetricName)),
                 at);
      continue;
    }
    Labels labels = without_labels(column.labels, kBound);
    const auto [place, is_new] = places.try_emplace(labels, out.size());
    if (is_new) {
      out.push_back({std::move(labels), false, {}});
    }
    Histogram& histogram = out[place->second];
    histogram.series.push_back({*bound, &column});
    histogram.drops_name = histogram.drops_name || column.drops_name;
  }
  for (Histogram& histogram : out) {
    std::ranges::stable_sort(histogram.series, {}, &Histogram::Series::upper_bound);
  }
  return out;
}

}  // namespace lambda::query
