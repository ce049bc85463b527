// Asks Prometheus exporters for their pages when they are due, and makes points of them.
//
// A page is read twice, a slice at a time so that the loop goes on: first all of it is checked and counted, then it is
// taken. A page that is wrong anywhere, longer than `body_bytes_max`, or of more than `sample_max` samples is refused
// as a whole, as Prometheus does: half a page would look like the end of the other half's series. Then, and when there
// is no page, `up` is 0 and the target's series have ended.
//
// Each scrape makes, at its moment: up, scrape_duration_seconds, scrape_samples_scraped (samples on the page),
// scrape_samples_post_metric_relabeling (those that include and exclude leave), scrape_series_added.
//
// Moments are multiples of the interval, shifted by the target's name so that not all are asked at once. A target that
// is still being asked, or a moment that was slept through, is missed and counted. Points have the agent's own time
// (see sampler.h), which the owner gives. A row that the journal cannot take is unmade, as a collector's.
//
// Bounds: kScrapeTargetsMax targets, one page of each at a time: a target is asked again when the rows of its last page
// are decided. Rows go to the journal kScrapeRowsOutMax at a time, so that collectors find room beside a page of which
// each sample has a time of its own. Loop thread only.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "agent/scrape/scrape_options.h"
#include "agent/scrape/target_series.h"
#include "agent/source/device_filter.h"
#include "base/env/env.h"

namespace lambda::agent {

inline constexpr uint64_t kScrapeRowsOutMax = 16;

// What a page says of a metric. The views are valid during the call.
struct ScrapedFacts {
  std::string_view metric, type, unit;
  std::string_view help;  // as it is written: see exposition_help()
};

struct ScrapeCounters {
  uint64_t scrapes = 0;
  uint64_t unreachable = 0;  // no connection, no whole answer in time, TLS
  uint64_t bad_status = 0;   // an answer that is not 200
  uint64_t too_long = 0;     // body_bytes_max
  uint64_t malformed = 0;
  uint64_t too_many_samples = 0;
  uint64_t missed = 0;  // moments
  uint64_t samples = 0;
  ScrapeTally tally;  // sums

  uint64_t failed() const { return unreachable + bad_status + too_long + malformed + too_many_samples; }
};

// How a target does, for people.
struct ScrapeState {
  const ScrapeOptions* options = nullptr;
  bool asked = false;  // once at least
  bool up = false;
  std::string error;  // why it is not
  int64_t last_ms = 0;
  double duration_s = 0;
  uint64_t samples = 0;
};

class Scraper {
 public:
  struct Ports {
    // As TargetSeries::FindSeries, and for whom: kOwnerTargets for the first target, and so on.
    std::function<Result<SeriesRef>(const SeriesSpec&, SeriesOwner, bool* fresh)> series;
    // A row for the journal; `done` runs later, from the loop, whatever became of the row.
    std::function<void(Row, std::function<void()> done)> row;
    std::function<int64_t()> now_ms;
    std::function<uint32_t()> segment;               // of the clock
    std::function<void(const ScrapedFacts&)> facts;  // may be empty
  };

  // kInvalid: an expression or a label of a target; the error names the setting.
  static Result<std::unique_ptr<Scraper>> make(Env& env, std::vector<ScrapeOptions> targets, ScrapeLimits limits,
                                               std::unique_ptr<HttpFetcher> fetcher, Ports ports);
  ~Scraper();
  Scraper(const Scraper&) = delete;
  Scraper& operator=(const Scraper&) = delete;

  void start();
  const ScrapeCounters& counters() const { return counters_; }
  std::vector<ScrapeState> states() const;

  // As TargetSeries', of all targets and of the rows that wait.
  void each_in_use(const std::function<void(SeriesRef)>& in_use) const;
  void forget(const std::vector<bool>& gone);
  std::vector<Places> places(const std::function<bool(SeriesRef)>& ended) const;

 private:
  struct Target;
  struct Page;
  Scraper(Env& env, std::unique_ptr<HttpFetcher> fetcher, Ports ports);
  void schedule();
  void fire();
  void ask(Target& target, int64_t moment_ms);
  void answered(Target& target, Result<HttpPage> page);
  void read_slice(Target& target);
  void take(Target& target, Page& page, ExpositionReader::Item item);
  void tell_facts(Target& target, Page& page);
  void refuse(Target& target, uint64_t ScrapeCounters::*reason, std::string why);
  void finish(Target& target);
  void tell(Target& target, bool up);
  void hand_over();

  Env& env_;
  Ports ports_;
  std::vector<std::unique_ptr<Target>> targets_;
  struct Waiting {
    Target* target;
    Row row;
  };
  std::deque<Waiting> rows_;
  uint64_t rows_out_ = 0;
  EventLoop::TimerId timer_ = 0;
  ScrapeCounters counters_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  std::unique_ptr<HttpFetcher> fetcher_;  // last: nothing of it runs when the rest goes
};

}  // namespace lambda::agent
