// Quantiles and shares of histograms in Prometheus' classic form: one cumulative series a bucket, its upper bound in
// the label "le".
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "query/columns.h"
#include "query/notes.h"

namespace lambda::query {

struct Bucket {
  double upper_bound;
  double count;  // of values up to the bound, those of lower buckets too
};

// `buckets` in order of their bounds, of which each stands once and none is NaN.

// What had to be put right in counts that fall as bounds grow: scrapes of a live process are not of one moment.
struct Mended {
  double lowest_bound, highest_bound;
  double difference_max;
};
std::string mended_text(const Mended& mended);
// NaN when the last bound is not infinity, there is but one bucket or nothing was counted. Values are taken to be
// spread evenly within a bucket; a lowest bucket with a bound above 0 begins at 0. Small errors of rounding are mended
// silently.
double bucket_quantile(double quantile, std::vector<Bucket>& buckets, std::optional<Mended>& mended);
// The share of values in (lower, upper].
double bucket_fraction(double lower, double upper, const std::vector<Bucket>& buckets);

// One histogram: the series that differ in "le" alone.
struct Histogram {
  Labels labels;  // without "le"
  bool drops_name;
  struct Series {
    double upper_bound;
    const Column* column;
  };
  std::vector<Series> series;  // in order of bounds

  // Those present at a step; of equal bounds the sum.
  void buckets_at(size_t step, std::vector<Bucket>& buckets) const;
};
// `columns` must outlive the result. Series whose "le" is no number are left out; `at` is where to say so.
std::vector<Histogram> histograms_of(const Columns& columns, const Expression& at, Notes& notes);

}  // namespace lambda::query
