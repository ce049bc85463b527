// What is known about metrics beside their points: for /api/v1/metadata.
//
// What comes from the metric's own program (a scraped page) is in a book. Of the metrics that agents make themselves
// the help texts are here; their kinds and units are declared with their series. The rest is "unknown" and "", as
// Prometheus says it: a declared gauge may be a gauge, or come from a client that did not say what it was.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>

namespace lambda::query {

struct MetricFacts {
  std::string type = "unknown";  // counter, gauge, histogram, gaugehistogram, summary, info, stateset, unknown
  std::string help, unit;
};
using MetricFactsByName = std::map<std::string, MetricFacts, std::less<>>;

// The help text of a metric that agents make themselves; empty: it is none of those.
std::string_view own_metric_help(std::string_view name);

// What programs said about their metrics. What was said last counts. Bounded: over `metrics_max` further names are
// counted and left out. Not thread-safe.
class MetricBook {
 public:
  static constexpr size_t kHelpBytesMax = 512, kWordBytesMax = 64;
  explicit MetricBook(size_t metrics_max = 5'000) : metrics_max_(metrics_max) {}

  // "untyped" and "" become "unknown"; longer texts are cut.
  void note(std::string_view metric, std::string_view type, std::string_view help, std::string_view unit);
  const MetricFactsByName& facts() const { return facts_; }
  uint64_t left_out() const { return left_out_; }
  // Whether `name` is a sample of a metric in the book: "http_seconds_bucket" of "http_seconds".
  bool covers(std::string_view name) const;

 private:
  const size_t metrics_max_;
  MetricFactsByName facts_;
  uint64_t left_out_ = 0;
};

// Adds what the declaration of a series says of its metric, unless something is known already.
void add_declared(MetricFactsByName& facts, std::string_view name, bool counter, std::string_view unit);

}  // namespace lambda::query
