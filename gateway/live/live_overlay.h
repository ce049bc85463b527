// The store's points with the live ones laid over them: what the gateway's query interface asks.
//
// A live point is held only until its block is stored (fresh_points.h), so no point comes from both. At one time and
// series a live point wins: it is of the boot that speaks now, or of an ordinal that is not stored yet.
//
// While a question is being asked, what it reads of the present is wanted at once from then on: a second look is fresh.
// Loop thread only, but for the cursors, which may go to any one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "base/env/clock.h"
#include "gateway/live/fresh_points.h"
#include "query/series_source.h"

namespace lambda::gateway {

struct OverlayCounters {
  uint64_t selections = 0;  // with live points in them
};

class LiveOverlay final : public query::SeriesSource {
 public:
  using Want = std::function<void(const std::vector<query::Matcher>& matchers)>;

  // All must outlive this; `base` every cursor, too.
  LiveOverlay(query::SeriesSource& base, const FreshPoints& fresh, const Clock& clock, Want want)
      : base_(base), fresh_(fresh), clock_(clock), want_(std::move(want)) {}

  // Between the two, selections are those of a question that somebody looks at.
  void begin_question() { asking_ = true; }
  void end_question() { asking_ = false; }

  Result<query::Selection> select(const std::vector<query::Matcher>& matchers, int64_t from_ms, int64_t to_ms,
                                  uint64_t series_max) override;

  const OverlayCounters& counters() const { return counters_; }

 private:
  query::SeriesSource& base_;
  const FreshPoints& fresh_;
  const Clock& clock_;
  const Want want_;
  bool asking_ = false;
  OverlayCounters counters_;
};

}  // namespace lambda::gateway
