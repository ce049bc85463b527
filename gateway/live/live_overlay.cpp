#include "gateway/live/live_overlay.h"

namespace lambda::gateway {
namespace {

// A question that ends less than this ago asks about the present: no seal age keeps a host's points for longer.
constexpr int64_t kPresentMs = 60'000;

}  // namespace

bool LiveOverlay::present(int64_t to_ms) const {
  return to_ms >= clock_.utc_ms() - kPresentMs;
}

Result<query::Selection> LiveOverlay::select(const std::vector<query::Matcher>& matchers, int64_t from_ms,
                                             int64_t to_ms, uint64_t series_max) {
  auto selection = over_.select(matchers, from_ms, to_ms, series_max);
  if (selection && asking_ && want_ && present(to_ms)) want_(matchers);
  return selection;
}

Result<query::Selection> LiveOverlay::list(const std::vector<query::Matcher>& matchers, int64_t from_ms, int64_t to_ms,
                                           uint64_t series_max) {
  return over_.list(matchers, from_ms, to_ms, series_max);
}

Result<std::vector<query::FreshSeries>> LiveOverlay::fresh(const query::MatcherSet& wanted, int64_t from_ms,
                                                           int64_t to_ms, uint64_t series_max,
                                                           std::vector<std::string>& warnings) {
  auto found = fresh_.read(wanted, from_ms, to_ms, series_max);
  if (present(to_ms) && fresh_.incomplete()) {
    warnings.push_back(
        "live points were dropped at their bound (live.points_max): the last moments may lack until they are stored");
  }
  if (found && !found->empty()) ++counters_.selections;
  return found;
}

}  // namespace lambda::gateway
