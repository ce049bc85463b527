// Asks the sources when they are due, and says which moment their points belong to.
//
// Time: within a clock segment it is monotonic time plus an offset that follows the system's UTC slowly (1 ms a
// second), so points never go back in time by themselves. When UTC differs by more than `step_ms`, somebody set the
// clock: a new segment begins, sources are aligned anew. Collections are due at multiples of their interval in that
// time; all points of sources due at one moment carry that moment. A moment that was slept through is skipped and
// counted, not made up. Loop thread only.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "agent/offenders.h"
#include "agent/source/source.h"
#include "agent/spool/journal_format.h"
#include "agent/spool/series_table.h"
#include "base/env/env.h"

namespace lambda::agent {

struct SamplerCounters {
  uint64_t collections = 0, collections_failed = 0, moments_missed = 0, clock_steps = 0, series_refused = 0,
           series_invalid = 0, series_of_others = 0;
};

class Sampler final : private Sink {
 public:
  struct Handlers {
    std::function<void(SeriesRef)> series_added;
    std::function<void(uint32_t segment)> clock_stepped;  // before the first row of the segment
    std::function<void(Row row)> row;
  };

  Sampler(Env& env, int64_t step_ms, Handlers handlers)
      : env_(env), step_ms_(step_ms), handlers_(std::move(handlers)) {}
  ~Sampler() override;

  // A new table when a new boot began: its series have the refs that they had, but others may have left.
  void set_table(std::shared_ptr<SeriesTable> table) {
    table_ = std::move(table);
    ++epoch_;
  }
  // Begins anew at segment 0, for a new boot.
  void restart_clock();
  void start(std::vector<std::unique_ptr<Source>> sources);
  // As a source asks for one, for points that come another way. `fresh`: it was not there before. kFull when it was not
  // and `may_add` is false; kDenied when another owner makes it.
  Result<SeriesRef> add_series(const SeriesSpec& spec, SeriesOwner owner, bool may_add, bool* fresh);
  // Logs whose series were refused, if any were since the last time and that was not within the last minute.
  void tell_refused();
  void stop();

  uint32_t segment() const { return segment_; }
  int64_t offset_ms() const { return offset_ms_; }
  const SamplerCounters& counters() const { return counters_; }
  const Offenders& offenders() const { return offenders_; }  // of series over the cap

 private:
  struct Due {
    std::unique_ptr<Source> source;
    int64_t at_ms = 0;  // in our time
    bool failed = false;
    int64_t interval_ms = 0;  // as it was at the start; a source may make it longer for a while
    bool slowed = false;
  };

  Result<SeriesRef> series(const SeriesSpec& spec) override {
    bool fresh = false;
    return add_series(spec, owner_, true, &fresh);
  }
  uint32_t epoch() const override { return epoch_; }
  void append(SeriesRef series, uint64_t bits) override { points_.push_back({series, bits}); }
  int64_t now_ms() const { return env_.clock.mono_ms() + offset_ms_; }
  void follow_clock();
  void align();
  void fire();
  void collect(int64_t at_ms);
  void tell_slowdown(Due& due);
  void emit(int64_t at_ms);
  void schedule();

  Env& env_;
  const int64_t step_ms_;
  Handlers handlers_;
  std::shared_ptr<SeriesTable> table_;
  uint32_t epoch_ = 0;
  SeriesOwner owner_ = kOwnerCollectors;  // of the source that is being asked
  std::vector<Due> due_;
  std::vector<RowPoint> points_;
  int64_t offset_ms_ = 0;
  int64_t slewed_ms_ = 0;
  uint32_t segment_ = 0;
  EventLoop::TimerId timer_ = 0;
  SamplerCounters counters_;
  Offenders offenders_;
  uint64_t refused_told_ = 0;
  int64_t refused_told_ms_ = 0;
};

}  // namespace lambda::agent
