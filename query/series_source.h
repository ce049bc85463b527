// Where query results come from: the agent's memory or the gateway's store. Selecting happens on the loop thread and is
// quick: it takes references. Decoding what was selected may happen anywhere.
#pragma once

#include <bit>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"

namespace lambda::query {

using Labels = std::vector<std::pair<std::string, std::string>>;  // sorted by name, "__name__" included

struct Sample {
  int64_t time_ms;
  double value;
};

// The NaN with which Prometheus says that a series has ended; every other NaN is a value.
inline constexpr uint64_t kStalenessBits = 0x7ff0000000000002;
inline bool is_stale(double value) {
  return std::bit_cast<uint64_t>(value) == kStalenessBits;
}

enum class MatchOp { kEqual, kNotEqual, kRegex, kNotRegex };

struct Matcher {
  std::string label;
  MatchOp op;
  std::string value;
};

// The windows that a question looks through: (end - range, end] at `count` ends, `step_ms` apart.
struct Windows {
  int64_t first_end_ms;
  int64_t step_ms;  // above 0
  uint64_t count;   // at least 1
  int64_t range_ms;

  // Whether an edge lies between the two: some window holds a sample at one of them and none at the other.
  bool divide(int64_t t_min, int64_t t_max) const;
};

// A run of samples without NaN, whose sum is finite: what sums, means and extremes need of it. `sum` is rounded;
// `sum_lost` is what that took from it, so that a total does not depend on how its samples fall into runs.
struct RunSummary {
  int64_t t_min, t_max;
  uint64_t count;  // at least 1
  double sum, min, max, first, last;
  double sum_lost = 0;
};
// `samples` in order of time, strictly increasing, none of them NaN. Nothing when no such summary can be made of them.
std::optional<RunSummary> summary_of(std::span<const Sample> samples);

// A point that has just come, with all that tells it from others of its series: it may be in a stored block too.
struct FreshPoint {
  uint64_t boot;
  uint32_t ref;    // of the series in that boot
  uint32_t clock;  // segment of that boot's clock
  uint64_t ordinal;
  Sample sample;  // by the device's own clock
};

// The samples of one series, not decoded yet. May be used from any one thread.
class SeriesCursor {
 public:
  virtual ~SeriesCursor() = default;
  // Takes points that are to be answered together with its own, before anything is read, in any order: a point that is
  // there already counts once, and of points of one time the later boot's, then that of the higher ordinal, wins.
  // False, with nothing taken: it does not know its points by identity.
  virtual bool add(std::vector<FreshPoint>& /*fresh*/) { return false; }
  // All samples with from_ms <= time <= to_ms of the select() that made this, ascending and strictly increasing
  // in time (at equal times the later boot, then the higher ordinal, has won). kFull past `samples_max`.
  virtual Result<std::vector<Sample>> read(uint64_t samples_max) = 0;
  struct Gathered {
    std::vector<Sample> samples;   // as read() gives them
    std::vector<RunSummary> runs;  // ascending; no sample lies within a run
  };
  // As read(), for who looks through `windows` and needs no more than summaries: runs that no window divides may come
  // summed up, which saves decoding them. Each counts as one sample.
  virtual Result<Gathered> gather(const Windows& windows, uint64_t samples_max);
  // After read() or gather(): what could not be read, though the rest was.
  virtual std::vector<std::string> warnings() const { return {}; }
};

struct SelectedSeries {
  Labels labels;
  std::unique_ptr<SeriesCursor> cursor;
};

struct Selection {
  std::vector<SelectedSeries> series;  // sorted by labels
  std::vector<std::string> warnings;   // why the answer may be partial
};

class SeriesSource {
 public:
  virtual ~SeriesSource() = default;
  // Series that match all of `matchers` and may have points in [from_ms, to_ms]. kFull past `series_max`.
  virtual Result<Selection> select(const std::vector<Matcher>& matchers, int64_t from_ms, int64_t to_ms,
                                   uint64_t series_max) = 0;
  // The same for who wants no more than the labels: cursors may be null. It need not find all that there is of a
  // series.
  virtual Result<Selection> list(const std::vector<Matcher>& matchers, int64_t from_ms, int64_t to_ms,
                                 uint64_t series_max) {
    return select(matchers, from_ms, to_ms, series_max);
  }
};

// Whether `labels` meet all matchers; an absent label is an empty one, regexes are anchored, as Prometheus has it.
// Patterns must be valid RE2 (check_matchers).
bool matches(const Labels& labels, const std::vector<Matcher>& matchers);
Status check_matchers(const std::vector<Matcher>& matchers);

}  // namespace lambda::query
