// Time as rules see it: the arrival clock, devices' timelines, their horizons and the site's, and the work that waits
// for them. Sentences 1 to 7. One thread.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "cep/moment.h"
#include "cep/mutant.h"
#include "cep/snapshot.h"

namespace lambda::cep {

// The arrival clock: the highest arrival time (7b).
class ArrivalClock {
 public:
  void on_event(int64_t at) {
    before_ = now_;
    now_ = at > now_ ? at : now_;
    due_below_ = now_ > due_below_ ? now_ : due_below_;
  }
  void on_advance(int64_t t) {
    on_event(t);
    due_below_ = t + 1 > due_below_ ? t + 1 : due_below_;
  }
  int64_t now() const { return now_; }
  int64_t before() const { return before_; }  // ahead of the line that is being worked on
  // Timers are due below this: an event at their very time still comes first.
  int64_t due_below() const { return mutant(Mutant::kTimersBeforeEvents) ? now_ + 1 : due_below_; }

  void save(StateWriter& out) const;
  void load(StateReader& in);

 private:
  int64_t now_ = kTimeMin;
  int64_t before_ = kTimeMin;
  int64_t due_below_ = kTimeMin;
};

// Devices by value, and when each was last heard of.
class Devices {
 public:
  Devices();
  // Null is the shared timeline. At `timelines_max` strangers share that one too, and are counted.
  TimelineId find_or_add(const Value& device);
  void heard(TimelineId timeline, int64_t clock) { last_arrival_[timeline] = clock; }
  int64_t last_arrival(TimelineId timeline) const { return last_arrival_[timeline]; }  // kTimeMin: never
  size_t count() const { return values_.size(); }
  uint64_t rejected() const { return rejected_; }

  void save(StateWriter& out) const;
  void load(StateReader& in);

  static constexpr size_t kTimelinesMax = 1 << 20;

 private:
  struct Hash {
    size_t operator()(const Value& value) const { return hash_value(value); }
  };
  std::vector<Value> values_;
  std::vector<int64_t> last_arrival_;
  std::vector<TimelineId> by_symbol_;  // TEXT, the usual case, without hashing; 0: none
  std::unordered_map<Value, TimelineId, Hash> others_;
  uint64_t rejected_ = 0;
};

// Items, the one with the least (time, place) first.
class ItemHeap {
 public:
  bool empty() const { return items_.empty(); }
  size_t size() const { return items_.size(); }
  const Item& top() const { return items_.front(); }
  void push(const Item& item);
  Item pop();

  void save(StateWriter& out) const;
  void load(StateReader& in);

 private:
  std::vector<Item> items_;
};

// Is work at (time, place) due at this horizon? Ends and events at H >= T, timers at H > T (3).
inline bool is_due(int64_t time, Place place, int64_t horizon) {
  const bool waits = mutant(Mutant::kTimersBeforeEvents)    ? false
                     : mutant(Mutant::kReleaseBelowHorizon) ? place != Place::kWindowEnd
                                                            : place == Place::kTimer;
  return time < horizon || (time == horizon && !waits);
}

struct HorizonSettings {
  int64_t lateness_ms = 0;
  int64_t idle_ms = 0;
  int64_t max_delay_ms = 0;
  friend bool operator==(const HorizonSettings&, const HorizonSettings&) = default;
};

// The horizons of all rules with the same settings, and what waits for them.
class Horizons {
 public:
  Horizons(const HorizonSettings& settings, const ArrivalClock& clock, const Devices& devices)
      : settings_(settings), clock_(clock), devices_(devices) {}

  const HorizonSettings& settings() const { return settings_; }

  // Call order for an event: clock.on_event, this, devices.heard, refresh(). `guarded`: its time is too far in the
  // future to move anything.
  void on_event(TimelineId timeline, int64_t t, bool guarded);
  void on_advance(int64_t t);
  // Brings the site's horizon up to the clock and the devices; with no rule that needs it this may be left out.
  void refresh_site();

  int64_t device(TimelineId timeline) const;
  int64_t site() const { return site_; }

  // Items wait here until take_due() hands them over. kSite: for the site's horizon, else for their timeline's.
  void add(const Item& item, bool site);
  // Moves what is due to the end of `out`. `timeline`: the one that may have moved by itself; the others may have by
  // being idle. `all`: every timeline moved.
  void take_due(TimelineId timeline, bool all, std::vector<Item>& out);

  void save(StateWriter& out) const;
  void load(StateReader& in);

 private:
  struct Active {  // a device in the search for the minimum; `horizon` may be behind the real one, never ahead
    int64_t horizon;
    TimelineId timeline;
  };
  struct Wakeup {  // when the arrival clock is here, the idle device's next item may be due
    int64_t clock;
    TimelineId timeline;
  };
  bool is_idle(TimelineId timeline, int64_t clock) const {
    return clock > devices_.last_arrival(timeline) + settings_.idle_ms && devices_.last_arrival(timeline) != kTimeMin;
  }
  void grow(TimelineId timeline);
  void take_timeline(TimelineId timeline, std::vector<Item>& out);
  void watch(TimelineId timeline);

  HorizonSettings settings_;
  const ArrivalClock& clock_;
  const Devices& devices_;
  int64_t base_ = kTimeMin;         // of timelines not seen yet
  std::vector<int64_t> own_;        // without what idleness adds since the last event
  std::vector<uint8_t> active_in_;  // has an entry in active_
  std::vector<int64_t> watched_;    // the clock of its entry in wakeups_ that counts; kTimeMax: none
  std::vector<Active> active_;      // heap
  std::vector<Wakeup> wakeups_;     // heap
  int64_t site_ = kTimeMin;
  std::vector<ItemHeap> by_timeline_;
  std::vector<int64_t> next_;  // time of the first item of each; kTimeMax: none. Most events look no further
  ItemHeap by_site_;
};

}  // namespace lambda::cep
