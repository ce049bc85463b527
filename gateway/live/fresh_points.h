// Points ahead of their blocks, and one stream of new points for whoever computes on them: each point once, whichever
// lane brought it first. Design: docs/decisions/0009-live-lane.md.
//
// Invariants
// - A consumer is handed each identity (device, boot, ref, ordinal) at most once while this process lives: by the live
//   lane when it came there first, else by its block once that is stored. What the store has, the live lane never
//   brings again, across restarts too. Not remembered across a restart is what only the live lane had brought: its
//   block hands it out once more. Each point carries its identity, so a consumer that keeps state can tell.
// - What is stored while a consumer is there reaches it, but for what the bounds below name.
// - Live points are held in memory only, until their block is stored, or `keep_ms` after they came. A device's times
//   and ordinals are its own affair: they decide over nothing but its own series.
//
// Order, for one (device, boot, ref): points of one run ascend by ordinal; a run that the live lane had missed comes
// after later ones, with its block (Lane::kBlock). Times may be in any order, and far off (the clock guard is the
// consumer's). Nothing is promised between streams.
//
// Bounds: `points_max` live points: the device that has most of them gives up the oldest half of each of its series,
// those touched least recently first. `streams_max` streams: the device with most streams forgets the one touched least
// recently, and if the live lane was ahead there, its points may be handed out once more. `runs_max` runs of one
// stream: the lowest is forgotten, likewise. All are counted.
//
// Loop thread only; consumers run inside the calls that bring points and must not call back into this.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/env/env.h"
#include "gateway/live/live_message.h"
#include "gateway/store/runs.h"
#include "gateway/store/store.h"
#include "query/matcher.h"
#include "query/overlay.h"
#include "query/series_source.h"

namespace lambda::gateway {

struct FreshOptions {
  std::string site;
  uint64_t points_max = 300'000;   // about 80 bytes each
  uint64_t streams_max = 50'000;   // about 700 bytes each
  size_t runs_max = 256;           // 16 bytes each
  int64_t keep_ms = 600'000;       // since it came
  int64_t ahead_ms_max = 300'000;  // points later than this from now are counted as ahead; they are kept
  friend bool operator==(const FreshOptions&, const FreshOptions&) = default;
};

struct FreshCounters {
  uint64_t points_live = 0;       // that the live lane brought first
  uint64_t points_again = 0;      // that it brought once more, or after their block
  uint64_t points_confirmed = 0;  // whose block came, and says the same
  uint64_t points_differ = 0;     // whose block says something else: the block holds
  uint64_t points_ahead = 0, points_undeclared = 0, points_mistyped = 0, points_expired = 0, points_evicted = 0;
  uint64_t streams_forgotten = 0, runs_forgotten = 0, redeclared = 0;
  uint64_t consumed_live = 0, consumed_block = 0;  // points handed to consumers, once for each
};

// What is known of a series; immutable, and shared.
struct FreshSeries {
  std::string device;
  query::Labels labels;  // __name__, instance and site included
  Kind kind = Kind::kGauge;
  ValueType type = ValueType::kF64;
  uint8_t scale = 0;
  std::string unit;
};

enum class Lane { kLive, kBlock };

struct FreshPoint {
  uint64_t ordinal = 0;
  int64_t time_ms = 0;
  uint64_t bits = 0;  // as Point::bits; number_of() makes a number of them
};
double number_of(const FreshSeries& series, uint64_t bits);

// Points of one stream, in the order of their ordinals. Valid inside the call only.
struct FreshRun {
  const FreshSeries& series;
  uint64_t boot;
  uint32_t ref;
  Lane lane;
  int64_t offset_ms;                   // what the device's clock lacked; it is in the points' times
  bool timeless;                       // the times count from the boot, and nobody knows yet when that was
  std::span<const FreshPoint> points;  // not empty
};

class FreshConsumer {
 public:
  virtual ~FreshConsumer() = default;
  virtual void take(const FreshRun& run) = 0;
};

class FreshPoints {
 public:
  // `store` must outlive it.
  FreshPoints(Env& env, FreshOptions options, Store& store);
  ~FreshPoints();
  FreshPoints(const FreshPoints&) = delete;
  FreshPoints& operator=(const FreshPoints&) = delete;

  // The consumer is handed points of series that meet any of `selectors` from now on, until it is removed. It must
  // outlive that. kInvalid: a pattern cannot be read; kFull: kConsumersMax are there.
  Result<uint64_t> add(const std::vector<std::vector<query::Matcher>>& selectors, FreshConsumer& consumer);
  void remove(uint64_t consumer);
  static constexpr size_t kConsumersMax = 32;

  // What a device sent on the live lane. Nothing is taken while the store is not ready: nobody knows what it has.
  void live(const std::string& device, const LiveMessage& message);
  // A parcel was stored; `parcel` is the message's bytes.
  void stored(const std::string& device, uint64_t boot, std::string_view parcel, const Decision& decision);

  // The live points of the series that match, with from_ms <= time <= to_ms: those of the boot that was heard of last
  // behind the others, within a boot by ordinal. In order of labels. kFull past `series_max`.
  Result<std::vector<query::FreshSeries>> read(const query::MatcherSet& matchers, int64_t from_ms, int64_t to_ms,
                                               uint64_t series_max) const;
  // Points were given up at `points_max` less than keep_ms ago, and their blocks may not be here yet.
  bool incomplete() const;

  const FreshCounters& counters() const { return counters_; }
  uint64_t points() const { return points_; }
  uint64_t streams() const { return streams_; }

 private:
  struct Held {
    Point point{};
    int64_t came_ms = 0;  // monotonic
  };
  struct Device;
  // A (device, boot, ref) that the live lane or a consumer has to do with.
  struct Stream {
    Device* device = nullptr;
    uint64_t boot = 0;
    uint32_t ref = 0;
    uint64_t number = 0;  // in the order of being heard of
    std::shared_ptr<const FreshSeries> series;
    bool live = false;                // the live lane brought something; only then the next three mean anything
    RunSet seen;                      // ordinals that are stored, or were brought by the live lane
    RunSet ahead;                     // of these, brought by the live lane and not stored yet
    std::map<uint64_t, Held> points;  // by ordinal
    int64_t oldest_ms = 0;            // none of them came before
    uint64_t consumers_asked = 0;     // generation_ at which `consumers` was found
    uint32_t consumers = 0;           // a bit for each slot of consumers_
    int64_t touched_ms = 0;
  };
  using StreamKey = std::pair<uint64_t, uint32_t>;  // boot, ref
  struct Device {
    std::string name;
    std::list<Stream> streams;  // touched most recently first
    std::map<StreamKey, std::list<Stream>::iterator> at;
    std::map<StreamKey, ClockView> clocks;  // by boot and segment; at most kClocksMax
    uint64_t points = 0;
  };
  struct Consumer {
    uint64_t id = 0;  // 0: free
    FreshConsumer* consumer = nullptr;
    std::vector<query::MatcherSet> selectors;
  };

  Stream* find(Device& device, uint64_t boot, uint32_t ref);
  Stream& stream(Device& device, uint64_t boot, uint32_t ref);  // made if need be; the bound may take another one
  bool know_series(Stream& stream, const Declared* declared);
  uint32_t consumers_of(Stream& stream);
  void hand_out(Stream& stream, uint32_t consumers, Lane lane, const ClockView& clock);
  ClockView clock_of(Device& device, uint64_t boot, uint32_t segment);
  void live_block(Stream& stream, const LiveBlock& block);
  void stored_block(Device& device, uint64_t boot, std::span<const uint8_t> bytes,
                    std::span<const AcceptedOrdinals> accepted);
  void confirm(Stream& stream, const BlockInfo& info, std::span<const Point> points);
  void remember(Stream& stream, uint64_t first, uint64_t end);
  uint64_t drop_points(Stream& stream, std::map<uint64_t, Held>::iterator end);
  void forget(Device& device, std::list<Stream>::iterator stream);
  void bound_points();
  void bound_streams(const Stream* spared);
  void want_sweep();
  void sweep();

  Env& env_;
  const FreshOptions options_;
  Store& store_;
  std::map<std::string, Device> devices_;
  std::map<std::string, std::set<Stream*>> by_name_;  // streams with live points, by metric name
  std::vector<Consumer> consumers_;
  uint64_t last_consumer_ = 0, generation_ = 1, last_stream_ = 0;
  uint64_t points_ = 0, streams_ = 0;
  int64_t evicted_ms_ = INT64_MIN;
  EventLoop::TimerId sweep_timer_ = 0;
  std::vector<Point> decoded_;
  std::vector<FreshPoint> fresh_;
  FreshCounters counters_;
};

}  // namespace lambda::gateway
