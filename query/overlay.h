// A source laid over another one: the points that have just come over the ones that are stored. Each point counts once,
// whether one of them has it or both; questions see one series where both have it.
//
//   Overlay overlay(store, live);   HttpApi api(overlay, ...);
//
// What is stored is the record: when the fresh source cannot answer, its points are missing, and a warning says so.
// Loop thread, as SeriesSource; cursors are for any one thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "query/matcher.h"
#include "query/series_source.h"

namespace lambda::query {

struct FreshSeries {
  Labels labels;  // as the source below has them: sorted, with "__name__", "instance" and "site"
  // In any order. The same point may be in it twice. Where the source below does not have the series, of points of one
  // time the one later in this list wins: so put the points of a later boot behind those of an earlier one.
  std::vector<FreshPoint> points;
};

class FreshSource {
 public:
  virtual ~FreshSource() = default;
  // Copies of the points with from_ms <= time <= to_ms of the series that `wanted` matches, each series once, in any
  // order. Quick. Whatever keeps the answer from being whole (a bound was reached, points had to be dropped) goes to
  // `warnings`. kFull past `series_max`.
  virtual Result<std::vector<FreshSeries>> fresh(const MatcherSet& wanted, int64_t from_ms, int64_t to_ms,
                                                 uint64_t series_max, std::vector<std::string>& warnings) = 0;
};

class Overlay final : public SeriesSource {
 public:
  // Both must outlive this.
  Overlay(SeriesSource& stored, FreshSource& fresh) : stored_(stored), fresh_(fresh) {}

  Result<Selection> select(const std::vector<Matcher>& matchers, int64_t from_ms, int64_t to_ms,
                           uint64_t series_max) override;
  Result<Selection> list(const std::vector<Matcher>& matchers, int64_t from_ms, int64_t to_ms,
                         uint64_t series_max) override;

 private:
  Result<Selection> join(Result<Selection> stored, const std::vector<Matcher>& matchers, int64_t from_ms, int64_t to_ms,
                         uint64_t series_max);
  SeriesSource& stored_;
  FreshSource& fresh_;
};

}  // namespace lambda::query
