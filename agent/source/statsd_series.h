// What one StatsD series has gathered, and how it is told. By type, for the metric `x`:
//
//   counter  x_total: the sum of all counts since the agent's start; a count at rate r counts 1/r times
//   gauge    x: the last value, repeated; +n and -n change it
//   set      x: different members within the last interval (see cardinality.h)
//   timer    x_count, x_sum: since the agent's start. x_bucket{le=...}: cumulative, since the agent's start, at the
//            bounds of an exponential histogram (see exponential_histogram.h), those on either side of a bucket that
//            is not empty, and le="+Inf"; once a value was not above zero also le="0". Which bounds is the same for
//            all tags of x, so that `sum by (le)` over them is exact.
//            x_min, x_max, x{quantile="0.5"|"0.9"|"0.99"}: of the last interval; nothing when it had no values
//
// x is told as it came: a client that sends milliseconds has a metric of milliseconds.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "agent/source/cardinality.h"
#include "agent/source/device_table.h"
#include "agent/source/exponential_histogram.h"
#include "agent/source/source.h"
#include "agent/source/statsd_line.h"
#include "agent/source/statsd_names.h"

namespace lambda::agent {

class StatsdSeries {
 public:
  // `seed` for the hashes of sets; `family`, of a timer, is shared by all of its name: it gathers the values of all.
  StatsdSeries(StatsdIdentity identity, StatsdType type, uint32_t buckets_max, uint64_t seed,
               std::shared_ptr<ExponentialHistogram> family);

  // Of a line of this series and type.
  void add(const StatsdLine& line);
  // Ends the interval. All series of a family have done so when one of them is told.
  void end_interval();
  // Appends what is told of the interval that ended, and begins the next.
  void tell(Sink& sink);
  // Another sink will be told to: ask it for all series anew.
  void forget_refs();

  // Names of the series that a metric of this name and type is told as.
  static std::vector<std::string> told_names(const std::string& name, StatsdType type);

  const StatsdIdentity& identity() const { return identity_; }
  StatsdType type() const { return type_; }

  int64_t touched_ms = 0;  // monotonic time of the last line; the owner's

 private:
  enum TimerField : size_t { kCount, kSum, kMin, kMax, kQuantiles, kTimerFields = kQuantiles + 3 };
  struct Timer {
    Timer(uint32_t buckets_max, std::shared_ptr<ExponentialHistogram> of)
        : interval(buckets_max), all(buckets_max), family(std::move(of)) {}
    ExponentialHistogram interval, all;
    std::shared_ptr<ExponentialHistogram> family;
    std::array<SeriesSlot, kTimerFields> slots;
    // bounds[i] is the upper bound of the bucket first_bound + i, at the scale of the bounds: the family's.
    std::vector<SeriesSlot> bounds;
    int bounds_scale = kHistogramScaleMax;
    int64_t first_bound = 0;
    SeriesSlot zero, infinity;
  };

  SeriesSpec spec(const char* suffix, Kind kind, const char* label = nullptr, std::string value = {}) const;
  void tell_timer(Sink& sink);
  void tell_buckets(Sink& sink);
  void fit_bounds();

  const StatsdIdentity identity_;
  const StatsdType type_;
  double value_ = 0;  // of a counter or gauge
  SeriesSlot slot_;   // of all but timers
  std::unique_ptr<Cardinality> members_;
  std::unique_ptr<Timer> timer_;
};

}  // namespace lambda::agent
