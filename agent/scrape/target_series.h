// The series of one scraped target: from a sample as it is written to the series it belongs to, and which of them have
// ended. Rows for the journal come out of it.
//
// Labels: `job` and the configured ones are the target's. A sample's own label of such a name becomes exported_<name>,
// or stands instead of the target's when `honor_labels` is set. `instance` and `site` say which device the points are
// from and always become exported_instance and exported_site.
//
// As in Prometheus: a series that is no longer on the page, or whose target does not answer, gets a staleness marker at
// the moment of that scrape. One that carries times of its own does not: its times say how old it is.
//
// A series belongs to this target, or to whoever made it first: two sources of one series would mix their times. The
// times of a series rise; after the clock was set (another segment) they begin anew.
//
// Bounds: `series_max` different series, counted until forget() is told that they are no more; further ones are
// refused, and those go on. The texts of twice as many and of one page are remembered; when a page writes its series in
// ever new ways, those that ended are forgotten.
// Loop thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "agent/scrape/exposition.h"
#include "agent/scrape/scrape_options.h"
#include "agent/source/source.h"
#include "agent/spool/journal_format.h"

namespace lambda::agent {

struct ScrapeLimits {
  int64_t past_ms_max = 3'600'000;  // of times that a page brings
  int64_t future_ms_max = 600'000;
};

// Of the samples on a page.
struct ScrapeTally {
  uint64_t samples = 0;                // wanted
  uint64_t series_added = 0;           // that were not on the page before
  uint64_t series_refused = 0;         // over a bound, a name or label that is not allowed, another source's
  uint64_t samples_twice = 0;          // of a series and time that was there already
  uint64_t samples_out_of_bounds = 0;  // too old, too far ahead, or before what the series has
};

class TargetSeries {
 public:
  // As Sink::series(); `fresh` says that it was not there before.
  using FindSeries = std::function<Result<SeriesRef>(const SeriesSpec&, bool* fresh)>;

  TargetSeries(const ScrapeOptions& options, LabelList labels, ScrapeLimits limits, uint64_t seed, FindSeries find);

  // A scrape: begin(), take() for each wanted sample, then end() or fail(). `moment` is the time of all samples without
  // one, `segment` that of the clock.
  void begin(int64_t moment_ms, uint32_t segment);
  void take(const ExpositionSample& sample, Kind kind, std::string_view unit);
  // A series that the agent makes about the target: "up".
  void report(const char* name, double value, const char* unit = "");
  // What was on the page is there, what was there before and is not any more has ended.
  void end();
  // There was no page: all series have ended.
  void fail();

  // The rows of the scrape, by time; each has a series once, refs ascending. Taken once.
  std::vector<Row> rows();
  const ScrapeTally& tally() const { return tally_; }      // of the present scrape
  const std::string& refused() const { return refused_; }  // the reason why a series of it was refused; the first one
  size_t texts() const { return known_.size(); }

  // Calls `in_use` for the series that are on the page, or have points that nobody took yet.
  void each_in_use(const std::function<void(SeriesRef)>& in_use) const;
  // These refs, by ref, may be of other series from now on.
  void forget(const std::vector<bool>& gone);
  // Of series_max: how many series count, and for how many of them `ended` holds.
  Places places(const std::function<bool(SeriesRef)>& ended) const;

 private:
  static constexpr SeriesRef kNone = UINT32_MAX;
  struct Known {
    SeriesRef ref = kNone;  // kNone: refused, asked for again after some scrapes
    uint32_t round = 0;     // of the scrape that had it last
    uint32_t wait = 0;
    bool timed = false;  // its last sample had a time of its own
    bool ended = true;   // it was not on the last page
  };
  struct Past {
    int64_t time_ms = INT64_MIN;
    uint64_t bits = 0;
    uint32_t segment = 0;
  };
  struct Hash {
    uint64_t seed;
    size_t operator()(std::string_view text) const;
    using is_transparent = void;
  };

  size_t texts_max() const { return 2 * size_t{options_.series_max} + options_.sample_max; }
  // Of name and labels, whatever their order.
  uint64_t key_of(const SeriesSpec& spec) const;
  SeriesRef ref_of(SeriesSpec spec);
  SeriesSpec spec_of(const ExpositionSample& sample, Kind kind, std::string_view unit) const;
  Known& known_of(const ExpositionSample& sample, Kind kind, std::string_view unit);
  void put(SeriesRef ref, int64_t time_ms, uint64_t bits);

  const ScrapeOptions& options_;
  const LabelList labels_;
  const ScrapeLimits limits_;
  const uint64_t seed_;
  const FindSeries find_;
  std::unordered_map<std::string, Known, Hash, std::equal_to<>> known_;  // by the sample's text
  std::unordered_map<SeriesRef, Past> past_;
  std::unordered_map<std::string_view, SeriesRef> reports_;  // by name
  std::map<int64_t, std::vector<RowPoint>> rows_;
  uint32_t round_ = 0;
  int64_t moment_ms_ = 0;
  uint32_t segment_ = 0;
  std::unordered_map<uint64_t, SeriesRef> made_;  // the series that count, by key
  ScrapeTally tally_;
  std::string refused_;
};

}  // namespace lambda::agent
