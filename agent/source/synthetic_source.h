// Made-up points for tests and benchmarks: as many series as asked.
//
// Unique: every value is unique over all series, boots and collections, so that a lost, doubled or swapped point cannot
// hide behind an equal one. It codes into next to nothing.
// Lifelike: what a host's and a plant's sensors tell, so that memory and disk fill as they would: of each four series
// one counts bytes in uneven steps, one counts seconds in hundredths, one is a reading with two decimals that wanders,
// and one is the same as a double. The same for each start: seeded by the series' number.
#pragma once

#include <vector>

#include "agent/source/device_table.h"
#include "agent/source/source.h"

namespace lambda::agent {

inline constexpr uint32_t kSyntheticSeriesMax = 4096;

enum class SyntheticShape { kUnique, kLifelike };

class SyntheticSource final : public Source {
 public:
  // Unique: lambda_synthetic{series="0"} to {series="<series - 1>"}; the value is time_ms x 4096 + series.
  // Lifelike: lambda_synthetic_bytes_total, lambda_synthetic_seconds_total, lambda_synthetic_celsius,
  // lambda_synthetic_bar, with the same label; series n is of the kind n modulo 4.
  SyntheticSource(uint32_t series, int64_t interval_ms, SyntheticShape shape = SyntheticShape::kUnique);
  std::string_view name() const override { return "synthetic"; }
  int64_t interval_ms() const override { return interval_ms_; }
  Status collect(Sink& sink, int64_t time_ms) override;

 private:
  struct Walk {
    uint64_t random = 0;
    int64_t value = 0;  // bytes, hundredths of a second, hundredths of a degree or of a bar
  };
  uint64_t step(Walk& walk, size_t series) const;

  const int64_t interval_ms_;
  const SyntheticShape shape_;
  std::vector<SeriesSlot> slots_;
  std::vector<Walk> walks_;  // lifelike
};

}  // namespace lambda::agent
