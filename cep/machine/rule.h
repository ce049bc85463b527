// The seam between the engine and what rules are made of. A rule is a machine (plain rows, a window, a pattern, an anti
// join) that turns events and the passing of time into rows, and `Results`, which makes outputs of rows. The engine
// calls both in the order of sentence 3; neither knows where events come from or who else listens.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>

#include "cep/language/plan.h"
#include "cep/stream/batch.h"
#include "cep/stream/column_evaluator.h"
#include "cep/stream/keys.h"
#include "cep/stream/moment.h"
#include "cep/stream/output.h"
#include "cep/stream/snapshot.h"
#include "cep/stream/tables.h"

namespace lambda::cep {

// How often something happened to one rule, since it was created.
struct RuleCounters {
  uint64_t events = 0;  // that reached the rule; those that its WHERE is known to refuse do not
  uint64_t outputs = 0;
  uint64_t late_dropped = 0;
  uint64_t null_keys = 0;
  uint64_t keys_rejected = 0;   // events whose key max_keys had no room for
  uint64_t keys_forgotten = 0;  // keys that gave way to others while EMIT knew something of them
  uint64_t forced_release = 0;
  uint64_t runs_expired = 0;
  uint64_t runs_dropped = 0;
  uint64_t captures_dropped = 0;
  uint64_t state_dropped = 0;  // events that max_state had no room for
  uint64_t state_refused = 0;  // events that state_bytes_max, of all rules together, had no room for
  uint64_t ticks_skipped = 0;  // of REMIND, EARLY and EVERY NOT, when time jumped over more than kTicksMax of them
};

// How often REMIND, EARLY or EVERY NOT of one key speaks of one jump of time; the last so many ticks are said.
inline constexpr int64_t kTicksMax = 100'000;

// How many of the times `next`, next + every, .. are left out when it is `now`.
inline int64_t ticks_left_out(int64_t next, int64_t every, int64_t now) {
  return now > next ? std::max<int64_t>((now - next) / every - kTicksMax, 0) : 0;
}

// What the engine does for a rule.
class RuleHost {
 public:
  virtual ~RuleHost() = default;
  // Work for later; it comes back through on_item() of the item's owner. `rule` is filled in. Items cannot be taken
  // back: an owner that changed its mind lets the item come and does nothing.
  // On the rule's horizon: that of item.timeline, or the site's for rules of that class.
  virtual void at_horizon(Item item) = 0;
  // On the arrival clock; once due it waits for events that arrived by then and are held (7).
  virtual void at_clock(Item item) = 0;
  // What the rule's events of this timeline are measured with (6).
  virtual int64_t horizon_of(TimelineId timeline) const = 0;
  // The arrival clock.
  virtual int64_t clock() const = 0;
  // A device's timeline, seen or not.
  virtual TimelineId timeline_of(const Value& device) = 0;
  // A row or an alert's output: printed if the rule has DO, and handed to the rules that read this one, at once.
  // `order`: see OutputQueue::Entry.
  virtual void output(OutputKind kind, const Moment& moment, KeyId key, uint64_t order, uint64_t age,
                      std::span<const Value> fields) = 0;
  // Does another rule read what this one says? Then row() is not enough for it.
  virtual bool is_read() const = 0;
  // A row of a rule without HAVING, ALERT and EMIT, whose `fields` values the caller fills in. Null: nobody sees it.
  virtual Value* row(const Moment& moment, KeyId key, size_t fields) = 0;
  // Which of the rows of on_rows() the outputs from now on belong to.
  virtual void set_line(uint32_t row) = 0;
  // Of all rules of the engine together.
  virtual uint64_t state_bytes_max() const = 0;
  // So much was dropped at a bound. Says so as often as sentence 47 allows.
  virtual void limit(Bound bound, uint64_t max, const Moment& moment, uint64_t dropped) = 0;
};

// What the parts of one rule share. Outlives them.
struct RuleContext {
  const RulePlan& plan;
  RuleHost& host;
  KeyDirectory& keys;
  const Tables& tables;
  Evaluator& evaluator;
  RuleCounters& counters;
  ColumnEvaluator& columns;
  bool by_device = false;  // the rule's one key is the device of its one stream
  const bool& may_grow;    // has the engine room for more of its state?

  // Work of the machine for one key of the rule, or for kNoKey, still to be handed to the host.
  Item work(KeyId key, int64_t time, Place place, Rank rank, uint8_t tag = 0, uint64_t cookie = 0) const {
    Item item;
    item.time = time;
    item.key = key;
    item.timeline = key == kNoKey ? kSharedTimeline : keys.timeline(key);
    item.place = place;
    item.rank = rank;
    item.owner = Owner::kMachine;
    item.tag = tag;
    item.cookie = cookie;
    return item;
  }
  // On the clock that silence and alerts are measured with: the arrival clock, or the horizon when `by_event_time` (7).
  void at_silence_clock(const Item& item, bool by_event_time) const {
    by_event_time ? host.at_horizon(item) : host.at_clock(item);
  }

  void say_full(Bound bound, uint64_t max, const Moment& moment) const { host.limit(bound, max, moment, 1); }
  // May what takes `held` bytes take more? If not, an event is lost; that is counted and said.
  bool may_hold_more(size_t held, const Moment& moment) const {
    if (held >= plan.options.max_state_bytes) {
      ++counters.state_dropped;
      say_full(Bound::kMaxState, plan.options.max_state_bytes, moment);
      return false;
    }
    if (!may_grow) {
      ++counters.state_refused;
      say_full(Bound::kStateBytes, host.state_bytes_max(), moment);
    }
    return may_grow;
  }
  // KeyDirectory::find_or_add() found nothing: the event is lost.
  void refuse_key(const Moment& moment) const {
    ++(keys.is_full() ? counters.keys_rejected : counters.state_refused);
    say_keys_full(moment);
  }
  void say_keys_full(const Moment& moment) const {
    if (keys.is_full()) {
      say_full(Bound::kMaxKeys, plan.options.max_keys, moment);
    } else {
      say_full(Bound::kStateBytes, host.state_bytes_max(), moment);
    }
  }
  // When it is `now`, the first of the times `next`, next + every, .. that is said.
  int64_t next_tick(int64_t next, int64_t every, int64_t now, const Moment& moment) const {
    const int64_t left_out = ticks_left_out(next, every, now);
    say_ticks(static_cast<uint64_t>(left_out), moment);
    return next + left_out * every;
  }
  void say_ticks(uint64_t left_out, const Moment& moment) const {
    if (left_out > 0) {
      counters.ticks_skipped += left_out;
      host.limit(Bound::kTicks, static_cast<uint64_t>(kTicksMax), moment, left_out);
    }
  }
};

// A timer of one key that moves often. There is at most one item under way unless the timer is brought forward: a later
// due time waits for the item to come and sends it on.
struct LazyTimer {
  static constexpr int64_t kOff = INT64_MIN;
  int64_t due = kOff;
  int64_t queued = kOff;

  bool armed() const { return due != kOff; }
  void disarm() { due = kOff; }
  // `queue` is called with the time for which an item is to be queued, if one is needed.
  template <class Queue>
  void arm(int64_t when, const Queue& queue) {
    due = when;
    if (queued == kOff || queued > when) {
      queued = when;
      queue(when);
    }
  }
  // The same, but a timer that is due earlier stays.
  template <class Queue>
  void arm_earlier(int64_t when, const Queue& queue) {
    if (!armed() || when < due) {
      arm(when, queue);
    }
  }
  // The item that was queued for `time` came. True: the timer is due, and armed no more. `queue` is called when it is
  // due later.
  template <class Queue>
  bool comes_due(int64_t time, const Queue& queue) {
    if (time != queued) {
      return false;  // brought forward since
    }
    queued = kOff;
    if (due == kOff) {
      return false;
    }
    if (due > time) {
      queued = due;
      queue(due);
      return false;
    }
    due = kOff;
    return true;
  }
  void save(StateWriter& out) const {
    out.i64(due);
    out.i64(queued);
  }
  void load(StateReader& in) {
    due = in.i64();
    queued = in.i64();
  }
};

class Machine {
 public:
  virtual ~Machine() = default;
  // Before the first event or advance_to that the rule lives to see (29, 40).
  virtual void on_start(const Moment&) {}
  // The rows of the rule's table are others than before, or may be. Only after on_start().
  virtual void on_table(const Moment&) {}
  // In the order of sentence 3. Never late unless the moment says so. The machine tells keys.set_idle() of the key that
  // it worked on; after on_item() the engine does.
  virtual void on_event(const Event& event, const Moment& moment) = 0;
  // An item whose owner is Owner::kMachine.
  virtual void on_item(const Item& item, const Moment& moment) = 0;
  // May the machine be given many events at once, ahead of other rules? It must not wait for anything but what
  // steps_over() knows.
  virtual bool takes_rows() const { return false; }
  // Events in their order, none of them late. For each the same as on_event(), with the line set.
  virtual void on_rows(const Rows&) { LAMBDA_ASSERT(false); }
  // An item of the machine is due with the event at `t` of its device, which is in order and given to on_rows() later.
  // If that does the item's work, when the item is to come instead; else kTimeMin.
  virtual int64_t steps_over(int64_t) const { return kTimeMin; }
  // Does prefetch() do anything?
  virtual bool prefetches() const { return false; }
  // An event of the stream comes soon: what of the key's state it will touch is asked for from memory. First for some
  // rows, then, right before a row's turn, with `deep` for what lies behind that.
  virtual void prefetch(const Batch&, size_t, bool) const {}
  // Has the key nothing that would be missed? Then it may be given up for another (47).
  virtual bool is_idle(KeyId key) const = 0;
  // The number was given to another key.
  virtual void reset(KeyId key) = 0;
  // Keys got new numbers, see KeyDirectory::surplus(); those that go were reset().
  virtual void renumber(std::span<const KeyId> now) = 0;
  // After load() into a rule with other bounds: what those of one key have no room for goes, and that is said.
  virtual void fit(const Moment&) {}
  virtual size_t state_bytes() const = 0;
  virtual void save(StateWriter& out) const = 0;
  virtual void load(StateReader& in) = 0;
};

class Results;

// Is TumbleMachine enough for the plan?
bool tumbles_flat(const RulePlan& plan);
// Is ChainMachine enough?
bool is_chain(const RulePlan& plan);
// Do its alerts wait for time?
bool has_timers(const RulePlan& plan);

// The machines beside plain rows; make_machine() chooses.
std::unique_ptr<Machine> make_tumble_machine(const RuleContext& context, Results& results);
std::unique_ptr<Machine> make_chain_machine(const RuleContext& context, Results& results);
std::unique_ptr<Machine> make_window_machine(const RuleContext& context, Results& results);
std::unique_ptr<Machine> make_pattern_machine(const RuleContext& context, Results& results);
std::unique_ptr<Machine> make_anti_join_machine(const RuleContext& context, Results& results);

// What of the plan has no meaning together: what, and its place; nothing when all is well.
std::optional<Diagnostic> unsupported_part(const RulePlan& plan);
// The machine for the plan. `results` outlives it. `special`: one that is made for the plan's shape, if there is one;
// both say the same.
std::unique_ptr<Machine> make_machine(const RuleContext& context, Results& results, bool special);

}  // namespace lambda::cep
