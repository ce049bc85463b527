#include "agent/source/synthetic_source.h"

namespace lambda::agent {

Status SyntheticSource::collect(Sink& sink, int64_t time_ms) {
  for (size_t i = 0; i < slots_.size(); ++i) {
    put(sink, slots_[i], static_cast<uint64_t>(time_ms) * kSyntheticSeriesMax + i, [&] {
      return SeriesSpec{"lambda_synthetic", {{"series", std::to_string(i)}}, Kind::kGauge, ValueType::kI64, 0, ""};
    });
  }
  return {};
}

}  // namespace lambda::agent
