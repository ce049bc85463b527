// Made-up points for tests and benchmarks: as many series as asked, every value unique over all series, boots and
// collections, so that a lost, doubled or swapped point cannot hide behind an equal one.
#pragma once

#include <vector>

#include "agent/source/device_table.h"
#include "agent/source/source.h"

namespace lambda::agent {

inline constexpr uint32_t kSyntheticSeriesMax = 4096;

class SyntheticSource final : public Source {
 public:
  // Series lambda_synthetic{series="0"} to {series="<series - 1>"}; the value is time_ms x 4096 + series.
  SyntheticSource(uint32_t series, int64_t interval_ms) : interval_ms_(interval_ms), slots_(series) {}
  std::string_view name() const override { return "synthetic"; }
  int64_t interval_ms() const override { return interval_ms_; }
  Status collect(Sink& sink, int64_t time_ms) override;

 private:
  const int64_t interval_ms_;
  std::vector<SeriesSlot> slots_;
};

}  // namespace lambda::agent
