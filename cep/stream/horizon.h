// Time as rules see it: the arrival clock, devices' timelines, their horizons and the site's, and the work that waits
// for them. Sentences 1 to 7. One thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "cep/language/mutant.h"
#include "cep/stream/batch.h"
#include "cep/stream/moment.h"
#include "cep/stream/snapshot.h"

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

// Devices by value.
class Devices {
 public:
  explicit Devices(size_t timelines_max);
  // Null is the shared timeline. At `timelines_max` strangers share that one too, and each of their events is counted.
  TimelineId find_or_add(const Value& device) {
    const bool known = device.type == Type::kText && device.text < by_symbol_.size() && by_symbol_[device.text] != 0;
    return known ? by_symbol_[device.text] : look_up(device);
  }
  // kSharedTimeline for strangers, and for all that are no TEXT.
  TimelineId find_fast(const ColumnView& column, size_t row) const {
    if (column.type != Type::kText || (column.nulls != nullptr && column.nulls[row] != 0)) {
      return kSharedTimeline;
    }
    const Symbol device = static_cast<const Symbol*>(column.data)[row];
    return device < by_symbol_.size() ? by_symbol_[device] : kSharedTimeline;
  }
  size_t count() const { return values_.size(); }
  size_t room() const { return timelines_max_ - std::min(timelines_max_, values_.size()); }
  uint64_t rejected() const { return rejected_; }

  void save(StateWriter& out) const;
  void load(StateReader& in);

 private:
  struct Hash {
    size_t operator()(const Value& value) const { return hash_value(value); }
  };
  TimelineId look_up(const Value& device);

  size_t timelines_max_;  // the shared one included
  std::vector<Value> values_;
  std::vector<TimelineId> by_symbol_;  // TEXT, the usual case, without hashing; 0: none
  std::unordered_map<Value, TimelineId, Hash> others_;
  uint64_t rejected_ = 0;
};

// By a rule's number in a snapshot: its number now, kNoRule when it is not there any more.
using RuleNumbers = std::vector<RuleId>;
inline constexpr RuleId kNoRule = UINT32_MAX;

// Items, the one with the least (time, place) first.
class ItemHeap {
 public:
  bool empty() const { return items_.empty(); }
  size_t size() const { return items_.size(); }
  const Item& top() const { return items_.front(); }
  void push(const Item& item);
  Item pop();

  void save(StateWriter& out) const;
  // `rules`: what the numbers of rules in the snapshot are now.
  void load(StateReader& in, const RuleNumbers& rules);
  // Of a rule that is gone. Returns how many there were.
  size_t erase(RuleId rule);
  // The rule's keys got new numbers (KeyDirectory::surplus()). Returns how many items went with their keys.
  size_t renumber(RuleId rule, std::span<const KeyId> now);

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
  // New ones, that are to know which devices others have heard of.
  void begin_like(const Horizons& others);
  bool knows_nobody() const { return timelines_.empty(); }

  const HorizonSettings& settings() const { return settings_; }

  // Call order for an event: clock.on_event, this, refresh_site(). `guarded`: its time is too far in the
  // future to move anything. Returns may_be_due(), but for the site's items.
  bool on_event(TimelineId timeline, int64_t t, bool guarded) {
    if (timelines_.size() <= timeline) {
      grow(timeline);
    }
    Timeline& line = timelines_[timeline];
    const int64_t now = clock_.now();
    int64_t own = line.own;
    if (is_idle(line, clock_.before())) {
      own = std::max(own, clock_.before() - settings_.idle_ms);
    }
    if (!guarded || mutant(Mutant::kNoClockGuard)) {
      own = std::max(own, t - settings_.lateness_ms);
    }
    line.own = own;
    line.last_arrival = now;
    if (!line.is_active) {
      activate(timeline);
    }
    return line.next <= std::max(base_, own) || next_wakeup() <= now;
  }
  void on_advance(int64_t t);
  // Brings the site's horizon up to the clock and the devices; with no rule that needs it this may be left out.
  void refresh_site();

  int64_t device(TimelineId timeline) const {
    if (timeline >= timelines_.size()) {
      return base_;
    }
    const Timeline& line = timelines_[timeline];
    const int64_t idle = is_idle(line, clock_.now()) ? clock_.now() - settings_.idle_ms : kTimeMin;
    return std::max({base_, line.own, idle});
  }
  // One that on_event() is about to see.
  void prefetch(TimelineId timeline) const {
    if (timeline < timelines_.size()) {
      __builtin_prefetch(&timelines_[timeline], 1);
    }
  }
  // Of one that on_event() just saw.
  int64_t heard_device(TimelineId timeline) const { return std::max(base_, timelines_[timeline].own); }
  int64_t site() const { return site_; }

  // Items wait here until take_due() hands them over. kSite: for the site's horizon, else for their timeline's.
  void add(const Item& item, bool site);
  // Moves what is due to the end of `out`. `timeline`: the one that may have moved by itself; the others may have by
  // being idle. `all`: every timeline moved.
  void take_due(TimelineId timeline, bool all, std::vector<Item>& out);
  // As on_event() for rows [begin, end), until after the first one with which something may be due: returns that one's
  // place, or `end`. `clock` is the arrival clock at each of them, `before` ahead of the first; no item of the clock
  // comes due. The rows that are in order go to `in_order`, the others are counted; those of kForeignTimeline only move
  // the clock. Not with rules of the site.
  uint32_t on_rows(const Rows& rows, uint32_t begin, uint32_t end, int64_t before, Places& in_order, size_t& late);
  // Does anything wait here?
  bool any_items() const { return items_ > 0; }
  // The clock at which some idle device may have something due.
  int64_t next_wakeup() const { return wakeups_.empty() ? kTimeMax : wakeups_.front().clock; }
  // Whose machine's is the timeline's one item? kNoRule: there are more, or none.
  RuleId rule_of_only_item(TimelineId timeline) const { return timelines_[timeline].only_rule; }
  // That item need not be looked at until `time`, though it may say less.
  void step_over_only_item(TimelineId timeline, int64_t time) { timelines_[timeline].next = time; }

  bool may_be_woken() const { return next_wakeup() <= clock_.now(); }
  // After on_event(): could take_due() find anything?
  bool may_be_due(TimelineId timeline) const {
    return timelines_[timeline].next <= heard_device(timeline) ||
           (!wakeups_.empty() && wakeups_.front().clock <= clock_.now()) ||
           (!by_site_.empty() && by_site_.top().time <= site_);
  }

  // Forgets the items of a rule that is gone.
  void erase(RuleId rule);
  // As ItemHeap::renumber().
  void renumber(RuleId rule, std::span<const KeyId> now);
  void save(StateWriter& out) const;
  void load(StateReader& in, const RuleNumbers& rules);

 private:
  struct Active {  // a device in the search for the minimum; `horizon` may be behind the real one, never ahead
    int64_t horizon;
    TimelineId timeline;
  };
  struct Wakeup {  // when the arrival clock is here, the idle device's next item may be due
    int64_t clock;
    TimelineId timeline;
  };
  struct alignas(32) Timeline {  // never in two lines of the cache: events come from devices all over the array
    int64_t own = kTimeMin;      // without what idleness adds since the last event
    int64_t next = kTimeMax;     // when the first item is to be looked at; kTimeMax: never. Most events look no further
    int64_t last_arrival = kTimeMin;  // kTimeMin: never
    bool is_active = false;           // has an entry in active_
    RuleId only_rule = kNoRule;       // see rule_of_only_item()
  };
  bool is_idle(const Timeline& line, int64_t clock) const {
    return clock > line.last_arrival + settings_.idle_ms && line.last_arrival != kTimeMin;
  }
  void note_first(TimelineId timeline) {
    const ItemHeap& items = by_timeline_[timeline];
    Timeline& line = timelines_[timeline];
    line.next = items.empty() ? kTimeMax : items.top().time;
    const bool only = items.size() == 1 && items.top().owner == Owner::kMachine;
    line.only_rule = only ? items.top().rule : kNoRule;
  }
  void grow(TimelineId timeline);
  void activate(TimelineId timeline);
  void take_timeline(TimelineId timeline, std::vector<Item>& out);
  void watch(TimelineId timeline);

  HorizonSettings settings_;
  const ArrivalClock& clock_;
  const Devices& devices_;
  int64_t base_ = kTimeMin;  // of timelines not seen yet
  std::vector<Timeline> timelines_;
  std::vector<int64_t> watched_;  // by timeline: the clock of its entry in wakeups_ that counts; kTimeMax: none
  std::vector<Active> active_;    // heap
  std::vector<Wakeup> wakeups_;   // heap
  int64_t site_ = kTimeMin;
  std::vector<ItemHeap> by_timeline_;
  ItemHeap by_site_;
  size_t items_ = 0;  // in all heaps
};

}  // namespace lambda::cep
