// Points that programs hand in with times of their own, on their way to the journal: what the doors share.
//
// Invariants
// - A batch is answered once, when the journal has decided about all its points: what is accepted is made.
// - The rows of a batch go into the journal together, as one append, or a few if there are very many points.
// - The points of a series are made in the order of their times. One that is not newer than the last one taken is
// refused
//   by name; the very same point again (a client that asks again after a lost answer) is accepted and not made twice.
// - After an append that the journal could not take, its series go on behind what was made: it may be sent again.
// - A batch for which there is no room is refused as a whole (kFull) before anything of it was taken.
// - Labels `instance` and `site` of a client become `exported_instance` and `exported_site`: those names say which
// device
//   handed the points in.
// - A series belongs to a collector or to the doors, never to both: two sources of one series would mix their times.
// - What is known of a series goes with it when it has ended (forget()); it may begin anew.
//
// Bounds: `points_waiting_max` points of all batches, `series_max` series of the doors (known ones go on), `errors_max`
// errors that are spelled out of each, times between `past_ms_max` behind and `future_ms_max` ahead of the clock. RAM:
// 16 bytes a series, 16 bytes a waiting point. Loop thread only.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/door/known_series.h"
#include "agent/source/source.h"
#include "agent/spool/journal_format.h"
#include "base/result.h"

namespace lambda::agent {

struct FeedOptions {
  uint64_t points_waiting_max = 200'000;
  int64_t past_ms_max = int64_t{7} * 24 * 3600 * 1000;
  int64_t future_ms_max = 600'000;
  uint32_t errors_max = 100;
  size_t append_points_max = 16'384;    // of a batch for the journal at a time: a longer one holds up the collectors
  uint32_t series_max = 8'000;          // of the doors: what comes over HTTP leaves room for the collectors
  uint64_t known_bytes_max = 8u << 20;  // of known_series.h
};

struct FeedError {
  uint64_t item = 0;  // line or sample, from 1, as the door counts them
  std::string text;
};

// What a client says of a metric. Any bytes, of any length; valid during the call.
struct MetricSaid {
  std::string_view metric, type, unit, help;
};

class Feeder;

// What one request brings, for Feeder::take(). Items that a door cannot read are told to it as well, so that one answer
// has all. Its series are looked up at once, and stay in the table even if the batch comes to nothing: what waits is 32
// bytes a point, and no more than `points_waiting_max` of them are kept.
class FeedBatch {
 public:
  explicit FeedBatch(Feeder& feeder);
  // The series that a point is to be added to. Lines mostly come with that of the line before.
  Result<SeriesRef> series(SeriesSpec spec);
  void add(uint64_t item, const Result<SeriesRef>& series, int64_t time_ms, double value);
  void add(uint64_t item, SeriesSpec spec, int64_t time_ms, double value) {
    add(item, series(std::move(spec)), time_ms, value);
  }
  void refuse(uint64_t item, std::string why);
  void say(const MetricSaid& said);
  // A whole number of a point is not one of a double's, and was rounded: it is made all the same, and counted.
  void value_was_rounded() { rounded_++; }
  // A point came without a time and got this moment's: the same request later brings other points.
  void time_was_missing() { has_all_times_ = false; }
  bool has_all_times() const { return has_all_times_; }
  // The request's id, for the journal to keep beside the points.
  void name(const RequestId& request) { request_ = request; }
  KnownSeries& known();
  size_t size() const { return points_.size(); }
  bool too_large() const { return too_large_; }  // more points than may ever wait

 private:
  friend class Feeder;
  struct Item {
    uint64_t item;
    SeriesRef series;
    int64_t time_ms;
    double value;
  };
  Feeder& feeder_;
  SeriesSpec last_;  // and what was found for it
  Result<SeriesRef> last_ref_ = SeriesRef{0};
  bool has_last_ = false;
  bool too_large_ = false;
  bool has_all_times_ = true;
  std::optional<RequestId> request_;
  std::vector<Item> points_;
  std::vector<FeedError> errors_;
  uint64_t refused_ = 0, rounded_ = 0;
};

// `whole` as the double that is nearest; tells the batch when that is another number.
double double_of(int64_t whole, FeedBatch& batch);
double double_of(uint64_t whole, FeedBatch& batch);

struct FeedResult {
  // kFull: nothing was taken, ask again later. kInvalid: more points than can ever wait; send fewer at a time. kIo: the
  // journal could not be written; some points may be made, and the whole batch may be sent again. Success: `accepted`
  // points are made.
  Status status;
  uint64_t accepted = 0;
  uint64_t refused = 0;
  uint64_t rounded = 0;           // values of which digits were lost; their points count as any other
  std::vector<FeedError> errors;  // the first of those that were refused
};

struct FeedCounters {
  uint64_t batches = 0, batches_full = 0, points = 0, points_again = 0, points_refused = 0, points_failed = 0,
           values_rounded = 0;
  uint64_t series = 0;  // of the doors
};

class Feeder {
 public:
  using RowsDone = std::function<void(Status, std::span<const Row>)>;
  struct Ports {
    // The series' ref, as Sink::series() for kOwnerDoors; `fresh` says that it was not there before. kFull when it is
    // not and `may_add` is false.
    std::function<Result<SeriesRef>(const SeriesSpec&, bool may_add, bool* fresh)> series;
    // Rows for the journal, all or none of them, with the note that they are all of a request; `done` runs later, from
    // the loop, in the order of the calls, and hands them back.
    std::function<void(std::vector<Row> rows, std::optional<RequestNote> note, RowsDone done)> rows;
    std::function<int64_t()> now_ms;
    std::function<uint32_t()> segment;                 // of the clock
    std::function<void(const MetricSaid&)> said = {};  // may be empty
  };
  Feeder(FeedOptions options, Ports ports)
      : options_(options), ports_(std::move(ports)), known_(options.known_bytes_max) {
    LAMBDA_ASSERT(options_.append_points_max > 0 && options_.append_points_max <= kRowsPointsMax);
  }
  Feeder(const Feeder&) = delete;
  Feeder& operator=(const Feeder&) = delete;
  ~Feeder() { *alive_ = false; }

  // `done` runs from the loop, or at once when nothing of the batch goes to the journal.
  void take(FeedBatch batch, std::function<void(FeedResult)> done);

  // Calls `in_use` for the series that have points on their way to the journal.
  void each_in_use(const std::function<void(SeriesRef)>& in_use) const;
  // These refs, by ref, may be of other series from now on.
  void forget(const std::vector<bool>& gone);
  // Of series_max: how many there are, and for how many of them `ended` holds.
  Places places(const std::function<bool(SeriesRef)>& ended) const;

  uint64_t points_waiting() const { return points_waiting_; }
  const KnownSeries& known() const { return known_; }
  const FeedCounters& counters() const { return counters_; }

 private:
  friend class FeedBatch;
  struct Last {
    int64_t time_ms = INT64_MIN;  // of the last point that was taken
    int64_t made_ms = INT64_MIN;  // of the last one that the journal has
    uint64_t bits = 0, made_bits = 0;
    uint32_t undecided = 0;  // points on their way to the journal
    bool failed = false;     // a point before those could not be made: where the series goes on is not known yet
    bool ours = false;
  };
  struct Request {
    FeedResult result;
    std::function<void(FeedResult)> done;
    uint64_t appends = 0;    // not decided yet
    uint64_t failures = 0;   // counted by the feeder when it came
    bool has_again = false;  // points that an earlier batch brought
  };
  struct Waiting {
    std::vector<Row> rows;  // none: it waits for those before it
    size_t points = 0;
    std::shared_ptr<Request> request;
    std::optional<RequestNote> note;  // all that the request brought is in these rows, or made
  };

  Result<SeriesRef> ref_of(const SeriesSpec& spec);
  enum class Admission { kTaken, kAgain, kRefused, kLater };
  // kRefused says `why`; kLater: the same point may be sent again once the journal works.
  Admission admit(SeriesRef ref, int64_t now_ms, int64_t time_ms, uint64_t bits, std::string* why);
  void enqueue(const std::shared_ptr<Request>& request, int64_t time_ms, RowPoint point);
  void pump();
  void decided(const std::shared_ptr<Request>& request, std::span<const Row> rows, const Status& status);
  void finish(Request& request);

  const FeedOptions options_;
  Ports ports_;
  KnownSeries known_;
  std::vector<Last> last_;  // by ref
  std::deque<Waiting> waiting_;
  uint64_t appends_out_ = 0;
  uint64_t points_waiting_ = 0;
  uint64_t failures_ = 0;
  FeedCounters counters_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace lambda::agent
