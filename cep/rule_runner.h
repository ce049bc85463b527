// One rule at work: its machine, its results, its keys, what waits for its horizon. Between engine and machine.
#pragma once

#include <bit>
#include <memory>
#include <span>

#include "cep/machine/results.h"
#include "cep/machine/rule.h"
#include "cep/stream/horizon.h"
#include "cep/stream/reorder.h"

namespace lambda::cep {

class RuleRunner;

// How often something was dropped at one bound of a rule, and when that was last said: at most once a minute of the
// arrival clock (47). That one never jumps, whatever times the events carry.
struct LimitCount {
  static constexpr int64_t kMinuteMs = 60'000;
  uint64_t dropped = 0;       // since it was said
  int64_t minute = kTimeMin;  // in which it was said

  static int64_t minute_of(int64_t clock) { return clock / kMinuteMs - (clock % kMinuteMs < 0 ? 1 : 0); }
  // True: it is to be said now.
  bool drop(int64_t clock, uint64_t count) {
    dropped += count;
    return minute_of(clock) > minute;
  }
  void say(int64_t clock) {
    dropped = 0;
    minute = minute_of(clock);
  }
  void save(StateWriter& out) const {
    out.u64(dropped);
    out.i64(minute);
  }
  void load(StateReader& in) {
    dropped = in.u64();
    minute = in.i64();
  }
};

// What the runner needs of the engine.
class RunnerHost {
 public:
  virtual ~RunnerHost() = default;
  // On the horizon of `rule`.
  virtual void schedule_horizon(RuleRunner& rule, const Item& item) = 0;
  // `behind`: if it is due already, it comes right behind the events at that time.
  virtual void schedule_clock(const Item& item, std::optional<int64_t> behind) = 0;
  // The rule whose outputs the stream is, or null.
  virtual RuleRunner* source_of(StreamId stream) = 0;
  virtual int64_t clock_skew_ms() const = 0;
  // To the rules that read this one, at once.
  virtual void publish(const RuleRunner& from, const Moment& moment, std::span<const Value> fields) = 0;
  virtual OutputQueue& outputs() = 0;
  virtual TimelineId timeline_of(const Value& device) = 0;
  virtual int64_t clock() const = 0;
  virtual const Catalog& catalog() const = 0;
  virtual uint64_t state_bytes_max() const = 0;
  // The rule works, and holds more or less afterwards: said once until count_state().
  virtual void touched(RuleRunner& rule) = 0;
  // Is each drop at a bound to be said, because somebody behind the engine counts them together? (47)
  virtual bool says_each_limit() const = 0;
};

class RuleRunner final : public RuleHost {
 public:
  // `special`: see make_machine().
  RuleRunner(RunnerHost& host, RulePlan plan, Horizons& horizons, const Tables& tables, Evaluator& evaluator,
             ColumnEvaluator& columns, bool special);

  void at_horizon(Item item) override;
  void at_clock(Item item) override;
  void output(OutputKind kind, const Moment& moment, KeyId key, uint64_t order, uint64_t age,
              std::span<const Value> fields) override;
  bool is_read() const override { return read; }
  Value* row(const Moment& moment, KeyId key, size_t fields) override;
  void set_line(uint32_t row) override { host_.outputs().set_line(row); }
  void limit(Bound bound, uint64_t max, const Moment& moment, uint64_t dropped) override;
  int64_t horizon_of(TimelineId timeline) const override { return horizon(timeline); }
  TimelineId timeline_of(const Value& device) override { return host_.timeline_of(device); }
  int64_t clock() const override { return host_.clock(); }
  uint64_t state_bytes_max() const override { return host_.state_bytes_max(); }

  // The first time that the rule knows; again is nothing.
  void start(const Moment& moment) {
    if (!started_) {
      started_ = true;
      machine->on_start(moment);
    }
  }
  // The rows of its table may be others than before.
  void table_changed(const Moment& moment) {
    if (started_) {
      touch();
      machine->on_table(moment);
    }
  }
  // An event of one of the rule's streams, at its arrival.
  void arrive(const Event& event, const Moment& moment);
  // Many at once; `late` others of them came too late. Only if takes_rows().
  void arrive(const Rows& rows, size_t late) {
    counters.events += late;
    counters.late_dropped += late;
    if (!rows.at.empty()) {
      touch();
      machine->on_rows(rows);
    }
  }
  // Not while another rule reads this one: that must happen event by event.
  bool takes_rows() const {
    return machine->takes_rows() && !site() && plan.options.lateness_ms == 0 &&
           plan.options.late == LatePolicy::kDrop && !read;
  }
  // An event whose time has come, or that never waits (41).
  void deliver(const Event& event, const Moment& moment);
  void run(const Item& item, Moment moment);
  // A timer of the arrival clock that is due. True: it waits for an event that is held and comes again behind that (7).
  bool put_off(const Item& timer);
  int64_t horizon(TimelineId timeline) const { return site() ? horizons.site() : horizons.device(timeline); }
  bool site() const { return plan.horizon == HorizonClass::kSite; }

  void save(StateWriter& out) const;
  void load(StateReader& in);
  // After load(), at `now`: what the rule's own bounds have no room for goes, by their policies, and that is said.
  // Returns the new numbers of keys as KeyDirectory::surplus() does: the items that wait must get them too.
  std::vector<KeyId> fit(const Moment& now);
  // Keys and waiting events that a new beginning would lose.
  size_t held() const;
  // The same whatever batches the events came in, and after a restart.
  size_t state_bytes() const {
    return keys.bytes() + machine->state_bytes() + results.state_bytes() + reorder.bytes() +
           (waits_ ? keys.count() * kTimerBytes : 0);
  }
  // What it held when it was counted last.
  struct Held {
    uint64_t bytes = 0;     // by state_bytes()
    uint64_t tables = 0;    // of these, in tables by key, which double
    uint64_t doubling = 0;  // how much more that is with the next key: the tables once more if they are full, or 0
  };
  const Held& count_state() {
    held_.bytes = state_bytes();
    held_.tables = keys.bytes() + results.state_bytes();
    held_.doubling = std::has_single_bit(keys.count()) ? held_.tables : 0;
    is_touched_ = false;
    return held_;
  }
  const Held& counted() const { return held_; }
  // May it hold more? Decided by the engine, for all rules together.
  void set_may_grow(bool may_grow) {
    may_grow_ = may_grow;
    keys.set_may_grow(may_grow);
  }

  const RulePlan plan;
  Horizons& horizons;
  KeyDirectory keys;
  RuleCounters counters;
  const size_t own_bytes;     // what it takes itself, see footprint.h
  const size_t growth_bytes;  // how much more it can hold after one event
  RuleContext context;
  Results results;
  std::unique_ptr<Machine> machine;
  ReorderBuffer reorder;
  bool read = false;        // by another rule
  bool is_divided = false;  // by device, over shards
  bool is_active = true;    // false: it runs in other shards only
  // The stream whose events it gets many at once; set by that stream's Readers.
  static constexpr StreamId kNoStream = UINT32_MAX;
  StreamId together_of = kNoStream;

 private:
  struct HeldEvent {  // in the reorder buffer of `rule`
    RuleRunner* rule;
    TimelineId timeline;
    int64_t t;
  };
  OutputQueue::Place place_of(const Moment& moment) const;
  std::optional<HeldEvent> held_by(int64_t clock, std::optional<TimelineId> timeline);
  void hold_back(const Event& event, const Moment& moment);
  void come_due(const Item& item, const Moment& moment);
  void run_clock_timer(Item item, Moment moment);

  void touch() {
    if (!is_touched_) {
      is_touched_ = true;
      host_.touched(*this);
    }
  }

  // An item that waits at the horizon or the clock, which is not counted by itself: a key has one, more or less.
  static constexpr size_t kTimerBytes = 96;

  RunnerHost& host_;
  const bool waits_;  // for anything
  bool started_ = false;
  bool is_touched_ = false;
  bool may_grow_ = true;
  Held held_;
  std::optional<int64_t> behind_;  // the time of the held event that is being done, or that a timer waited for
  LimitCount limits_[kBounds];
};

}  // namespace lambda::cep
