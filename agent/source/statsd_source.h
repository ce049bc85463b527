// Tells what StatsD clients sent, once an interval, and how that went: lambda_agent_statsd_*.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "agent/source/statsd.h"

namespace lambda::agent {

// Different names told as lambda_agent_statsd_over_max_lines{metric=...} by one source: each costs a series.
inline constexpr size_t kStatsdOffenderSeriesMax = 32;

class StatsdSource final : public Source {
 public:
  // One source at a time tells of a Statsd.
  explicit StatsdSource(std::shared_ptr<Statsd> statsd);
  std::string_view name() const override { return "statsd"; }
  int64_t interval_ms() const override { return statsd_->options().interval_ms; }
  SeriesOwner owner() const override { return kOwnerStatsd; }
  Status collect(Sink& sink, int64_t time_ms) override;

 private:
  void tell_offenders(Sink& sink);

  const std::shared_ptr<Statsd> statsd_;
  std::vector<SeriesSlot> slots_;
  std::unordered_map<std::string, SeriesSlot> offenders_;
};

}  // namespace lambda::agent
