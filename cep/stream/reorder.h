// Events that wait for their rule's horizon (2), by timeline, in (t, arrival) order.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "cep/stream/moment.h"
#include "cep/stream/snapshot.h"

namespace lambda::cep {

struct WaitingEvent {
  int64_t t = 0;
  uint64_t arrival = 0;
  int64_t on_input = -1;
  int64_t clock = 0;  // when it arrived
  StreamId stream = 0;
  std::vector<Value> columns;
};

// One rule's. At most kEventsMax of a timeline wait: the caller takes the oldest one early when add() says so.
class ReorderBuffer {
 public:
  static constexpr size_t kEventsMax = 256;

  // `clock_skew_ms`: events that are further ahead of their arrival are the clock guard's (7b).
  explicit ReorderBuffer(int64_t clock_skew_ms) : clock_skew_ms_(clock_skew_ms) {}

  // False: the timeline has more than kEventsMax now; take_oldest() one.
  bool add(TimelineId timeline, WaitingEvent event);
  WaitingEvent take_oldest(TimelineId timeline);
  // The one whose time has come; nothing when it went early.
  std::optional<WaitingEvent> take(TimelineId timeline, int64_t t, uint64_t arrival);

  // The last, by time, of those that arrived by `clock`, of the timeline or of all. The clock guard's are left out:
  // nobody is to wait for a time that may be a year away.
  struct Last {
    TimelineId timeline;
    int64_t t;
  };
  std::optional<Last> last_by(int64_t clock, std::optional<TimelineId> timeline) const;

  size_t count() const;  // of all timelines
  size_t bytes() const { return bytes_; }
  void save(StateWriter& out) const;
  void load(StateReader& in);

 private:
  std::optional<int64_t> last_of(const std::vector<WaitingEvent>& events, int64_t clock) const;

  int64_t clock_skew_ms_;
  size_t bytes_ = 0;                                                   // of the events
  std::unordered_map<TimelineId, std::vector<WaitingEvent>> waiting_;  // the oldest last
};

}  // namespace lambda::cep
