// A source and what it costs. Wraps every source the agent runs.
//
// A collection that takes longer than the source's interval doubles the interval, up to kSlowdownMax times its own, so
// that a slow file or a huge machine costs points of that source and not the agent's loop. It is halved again when a
// collection would have fitted twice into the half.
#pragma once

#include <cstdint>
#include <memory>

#include "agent/source/source.h"
#include "base/env/clock.h"

namespace lambda::agent {

inline constexpr int64_t kSlowdownMax = 16;

struct SourceCost {
  uint64_t collections = 0;
  uint64_t microseconds = 0;  // of wall time inside collect(), which runs on the loop thread
  uint64_t errors = 0;        // collections that returned one
  uint64_t overruns = 0;      // collections that took longer than the source's interval at that time
  uint64_t points = 0;
};

class MeteredSource final : public Source {
 public:
  MeteredSource(std::unique_ptr<Source> source, const Clock& clock) : source_(std::move(source)), clock_(clock) {}

  std::string_view name() const override { return source_->name(); }
  int64_t interval_ms() const override { return source_->interval_ms() * slowdown_; }
  SeriesOwner owner() const override { return source_->owner(); }
  Status collect(Sink& sink, int64_t time_ms) override;
  const SourceCost& cost() const { return cost_; }

 private:
  std::unique_ptr<Source> source_;
  const Clock& clock_;
  SourceCost cost_;
  int64_t slowdown_ = 1;
};

}  // namespace lambda::agent
