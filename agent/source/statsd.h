// What StatsD clients sent, gathered into series until it is told. Lines come from a Datagrams; StatsdSource tells.
//
// Lives longer than a configuration: when an agent reads its settings again and those of StatsD are the same, the
// sockets stay open and counters go on. What came since the last collection is lost with the process.
//
// Bounds: series_max series of names and tags, whose texts take half of text_bytes_max; lines of further ones are
// counted under their names (the worst are told) and dropped. The other half is for the ways in which clients spell
// them: those that it has no room for are taken apart each time, and counted. A series without a line for idle_ms is
// forgotten and its place is free; a counter that comes back begins at zero, as after a restart. Loop thread only.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "agent/source/statsd_series.h"
#include "base/env/clock.h"
#include "base/env/datagrams.h"
#include "base/log.h"

namespace lambda::agent {

inline constexpr uint32_t kStatsdSeriesMax = 20'000;
inline constexpr size_t kStatsdOffendersMax = 32;       // names counted while series_max is reached
inline constexpr size_t kStatsdOffendersTold = 5;       // the worst of them, in the log and as series
inline constexpr size_t kStatsdSpellingsPerSeries = 4;  // ways to write a series' tags that are found at once

struct StatsdOptions {
  bool enabled = false;
  std::string address = "127.0.0.1";  // numeric; empty: no UDP
  uint16_t port = 8125;
  std::string socket;          // path of a Unix socket; empty: none
  bool from_anywhere = false;  // must be set for an address that is not loopback: nobody is asked who they are
  int64_t interval_ms = 10'000;
  uint32_t series_max = 2'000;
  int64_t idle_ms = 600'000;
  uint32_t buckets_max = kHistogramBucketsMax;
  uint64_t text_bytes_max = 16u << 20;  // names and tags of series, and their spellings
  uint32_t packet_bytes_max = 8'192;
  uint64_t waiting_bytes_max = 2u << 20;
  uint64_t kernel_bytes_max = 4u << 20;

  friend bool operator==(const StatsdOptions&, const StatsdOptions&) = default;
};

struct StatsdCounters {
  uint64_t lines = 0;  // taken into a series; one may hold many values
  uint64_t lines_left_out = 0;
  std::array<uint64_t, static_cast<size_t>(StatsdVerdict::kVerdicts)> lines_refused{};  // by verdict
  uint64_t lines_bad_names = 0;  // name or tags too long, too many, or not UTF-8
  uint64_t lines_conflict = 0;   // another metric is told under one of its names already
  uint64_t lines_over_max = 0;   // of series over series_max
  uint64_t lines_over_text = 0;  // of series over text_bytes_max
  uint64_t spellings_left = 0;   // lines whose spelling found no room
  uint64_t name_collisions = 0;  // spellings that became the name of a series that another spelling had
  uint64_t series_expired = 0;
  uint64_t microseconds = 0;  // spent on lines; collections are counted by their source
};

class Statsd {
 public:
  Statsd(StatsdOptions options, const Clock& clock, Log& log, uint64_t seed);

  // Begins to receive. The error names the address or the path.
  Status open(Datagrams& datagrams);

  // As a Datagrams calls it.
  void take(std::span<const std::string_view> packets);
  // Appends all series and begins the next interval.
  void tell(Sink& sink);
  // Another sink will be told to.
  void forget_refs();

  struct Offender {
    std::string metric;  // as it is told; cut at 180 bytes
    uint64_t lines = 0;  // refused; at most too many by what the name it took the place of had
  };
  // The worst first, at most kStatsdOffendersTold.
  std::vector<Offender> worst() const;

  const StatsdOptions& options() const { return options_; }
  const StatsdCounters& counters() const { return counters_; }
  DatagramCounters datagrams() const { return receiver_ == nullptr ? DatagramCounters{} : receiver_->counters(); }
  uint16_t port() const { return receiver_ == nullptr ? 0 : receiver_->port(); }
  size_t series() const { return series_.size(); }
  uint64_t text_bytes() const { return series_bytes_ + spelling_bytes_; }

 private:
  struct Hash {
    using is_transparent = void;
    uint64_t seed;
    size_t operator()(std::string_view text) const { return seeded_hash(seed, text); }
  };
  template <class Value>
  using Map = std::unordered_map<std::string, Value, Hash, std::equal_to<>>;
  struct Told {
    std::string family;  // type and name of the metric that is told so
    uint32_t series = 0;
    std::shared_ptr<ExponentialHistogram> timers;  // of a timer's own name: what all series of it have seen
  };

  void take_line(std::string_view line);
  StatsdSeries* find(const StatsdLine& line);
  StatsdSeries* find_mapped(const StatsdLine& line);
  StatsdSeries* add(StatsdIdentity identity, StatsdType type, std::string key);
  void over_max(const std::string& metric, uint64_t& lines);
  void tell_over_max();
  void expire();
  void refuse(StatsdVerdict verdict, std::string_view line);

  const StatsdOptions options_;
  const Clock& clock_;
  Log& log_;
  const uint64_t seed_;
  StatsdLine line_;
  std::string spelt_;

  std::vector<std::unique_ptr<StatsdSeries>> series_;
  uint64_t series_bytes_ = 0, spelling_bytes_ = 0;  // of texts
  Map<StatsdSeries*> by_spelling_;  // type, name and tags as they came; at most kStatsdSpellingsPerSeries x series_max
  Map<StatsdSeries*> by_key_;       // type and mapped names
  Map<Told> told_;                  // by name of a series
  std::vector<Offender> offenders_;
  uint64_t over_max_logged_ = 0;  // lines over a bound when they were last in the log
  int64_t over_max_logged_ms_ = 0;
  int64_t now_ms_ = 0;
  StatsdCounters counters_;
  std::unique_ptr<DatagramReceiver> receiver_;  // last: its handler uses all the rest
};

// "metric" -> "metric"; what does not print becomes '?'; at most 80 bytes: for the log.
std::string printable(std::string_view text);

}  // namespace lambda::agent
