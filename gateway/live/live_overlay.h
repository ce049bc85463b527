// The store's points with the live ones laid over them: what the gateway's query interface asks. How they become one
// series: query/overlay.h. A live point of a boot of which nothing is stored yet is of the latest one, and so wins.
//
// While a question is being asked, what it reads of the present is wanted at once from then on: a second look is fresh.
// Loop thread only, but for the cursors, which may go to any one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "base/env/clock.h"
#include "gateway/live/fresh_points.h"
#include "query/overlay.h"
#include "query/series_source.h"

namespace lambda::gateway {

struct OverlayCounters {
  uint64_t selections = 0;  // with live points in them
};

class LiveOverlay final : public query::SeriesSource, private query::FreshSource {
 public:
  using Want = std::function<void(const std::vector<query::Matcher>& matchers)>;

  // All must outlive this; `base` every cursor, too.
  LiveOverlay(query::SeriesSource& base, const FreshPoints& fresh, const Clock& clock, Want want)
      : fresh_(fresh), clock_(clock), want_(std::move(want)), over_(base, *this) {}

  // Between the two, selections are those of a question that somebody looks at.
  void begin_question() { asking_ = true; }
  void end_question() { asking_ = false; }

  Result<query::Selection> select(const std::vector<query::Matcher>& matchers, int64_t from_ms, int64_t to_ms,
                                  uint64_t series_max) override;
  Result<query::Selection> list(const std::vector<query::Matcher>& matchers, int64_t from_ms, int64_t to_ms,
                                uint64_t series_max) override;

  const OverlayCounters& counters() const { return counters_; }

 private:
  Result<std::vector<query::FreshSeries>> fresh(const query::MatcherSet& wanted, int64_t from_ms, int64_t to_ms,
                                                uint64_t series_max, std::vector<std::string>& warnings) override;
  bool present(int64_t to_ms) const;

  const FreshPoints& fresh_;
  const Clock& clock_;
  const Want want_;
  bool asking_ = false;
  OverlayCounters counters_;
  query::Overlay over_;
};

}  // namespace lambda::gateway
