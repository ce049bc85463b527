#include "cep/rule_runner.h"

#include <algorithm>

#include "cep/footprint.h"
#include "cep/language/mutant.h"

namespace lambda::cep {
namespace {

bool is_by_device(const RulePlan& plan, const Catalog& catalog) {
  if (plan.streams.size() != 1 || plan.keys.size() != 1) {
    return false;
  }
  const KeySource& key = plan.streams[0].keys[0];
  const int device = catalog.stream(plan.streams[0].stream).device_column;
  return key.frame == Frame::kEvent && device >= 0 && key.slot == static_cast<uint32_t>(device);
}

// Events that a window's end makes come ahead of the end of the reader's own window (41): it has two open then.
bool reads_rules(const RulePlan& plan, const Catalog& catalog) {
  return std::ranges::any_of(plan.streams,
                             [&](const StreamUse& use) { return catalog.stream(use.stream).rule.has_value(); });
}

}  // namespace

RuleRunner::RuleRunner(RunnerHost& host_in, RulePlan plan_in, Horizons& horizons_in, const Tables& tables,
                       Evaluator& evaluator, ColumnEvaluator& columns, bool special)
    : plan(std::move(plan_in)),
      horizons(horizons_in),
      keys(plan.keys.size(), plan.options.max_keys),
      own_bytes(rule_bytes(plan)),
      growth_bytes(event_bytes(plan, host_in.catalog())),
      context{plan,     *this, keys, tables, evaluator, counters, columns, is_by_device(plan, host_in.catalog()),
              may_grow_},
      results(context),
      machine(make_machine(context, results, special && !reads_rules(plan, host_in.catalog()))),
      reorder(host_in.clock_skew_ms()),
      host_(host_in),
      waits_((plan.window && plan.window->kind) || plan.pattern || plan.alert ||
             plan.source == ast::SourceKind::kAntiJoin) {}

void RuleRunner::at_horizon(Item item) {
  item.rule = plan.id;
  item.generation = keys.generation(item.key);
  host_.schedule_horizon(*this, item);
}

void RuleRunner::at_clock(Item item) {
  item.rule = plan.id;
  item.generation = keys.generation(item.key);
  item.clock_due = item.time;
  host_.schedule_clock(item, behind_);
}

// An event that arrived by `clock` and is still held, by this rule or by one that it reads; of the timeline, if that is
// all that can matter. Cost: rules of the site's horizon look at each device with events that wait.
std::optional<RuleRunner::HeldEvent> RuleRunner::held_by(int64_t clock, std::optional<TimelineId> timeline) {
  const auto last = reorder.last_by(clock, site() ? std::nullopt : timeline);
  if (last) {
    return HeldEvent{this, last->timeline, last->t};
  }
  for (const StreamUse& use : plan.streams) {
    if (RuleRunner* source = host_.source_of(use.stream); source != nullptr) {
      if (const auto held = source->held_by(clock, std::nullopt)) {
        return held;
      }
    }
  }
  return std::nullopt;
}

// The events it can wait for are those that arrived in time, so it does not wait for ever.
bool RuleRunner::put_off(const Item& timer) {
  const auto held =
      mutant(Mutant::kTimersPassHeld)
          ? std::nullopt
          : held_by(mutant(Mutant::kTimersWaitForAll) ? kTimeMax : timer.clock_due, keys.timeline(timer.key));
  if (!held) {
    return false;
  }
  Item later = timer;
  later.time = held->t;
  later.place = Place::kEvent;
  later.arrival = UINT64_MAX;
  later.timeline = held->timeline;
  host_.schedule_horizon(*held->rule, later);
  return true;
}

void RuleRunner::output(OutputKind kind, const Moment& moment, KeyId key, uint64_t order, uint64_t age,
                        std::span<const Value> fields) {
  ++counters.outputs;
  if (plan.prints || mutant(Mutant::kSilentRulesPrint)) {
    Output said;
    said.rule = plan.id;
    said.kind = kind;
    said.t = mutant(Mutant::kTimerAtClock) && moment.place == Place::kTimer ? host_.clock() : moment.t;
    said.on_input = moment.on_input;
    said.late = moment.late;
    OutputQueue::Place place = place_of(moment);
    place.order = order;
    place.age = age;
    std::ranges::copy(fields,
                      host_.outputs().add(said, place, std::span(keys.values(key), keys.width()), fields.size()));
  }
  if (kind == OutputKind::kRow || kind == OutputKind::kFiring || mutant(Mutant::kCascadeReadsAll)) {
    host_.publish(*this, moment, fields);
  }
}

Value* RuleRunner::row(const Moment& moment, KeyId key, size_t fields) {
  ++counters.outputs;
  if (!plan.prints) {
    return nullptr;
  }
  Output said;
  said.rule = plan.id;
  said.t = moment.t;
  said.on_input = moment.on_input;
  // One event makes one row at most; a line may close windows of several keys.
  const size_t key_width = moment.place == Place::kEvent ? 0 : keys.width();
  return host_.outputs().add(said, place_of(moment), std::span(keys.values(key), key_width), fields);
}

OutputQueue::Place RuleRunner::place_of(const Moment& moment) const {
  return {moment.place, moment.arrival, mutant(Mutant::kPriorityIgnored) ? 0 : plan.priority, 0, 0};
}

void RuleRunner::limit(Bound bound, uint64_t max, const Moment& moment, uint64_t dropped) {
  LimitCount& limit = limits_[static_cast<size_t>(bound)];
  const int64_t clock = mutant(Mutant::kLimitByEventTime) ? moment.t : moment.clock;
  if (!limit.drop(clock, dropped) && !host_.says_each_limit() && !mutant(Mutant::kLimitEveryTime)) {
    return;
  }
  if (plan.prints) {
    Output said;
    said.rule = plan.id;
    said.kind = OutputKind::kLimit;
    said.t = moment.t;
    said.on_input = moment.on_input;
    said.bound = bound;
    said.max = max;
    said.dropped = host_.says_each_limit() ? dropped : limit.dropped;
    said.clock = clock;
    (void)host_.outputs().add(said, place_of(moment), {}, 0);
  }
  limit.say(clock);
}

void RuleRunner::arrive(const Event& event, const Moment& moment) {
  ++counters.events;
  touch();
  const int64_t now = horizon(event.timeline);
  if (moment.t < now || (mutant(Mutant::kLateAtHorizon) && moment.t == now && plan.options.lateness_ms > 0)) {
    if (plan.options.late == LatePolicy::kDrop && !mutant(Mutant::kLateDropIsPrinted)) {
      ++counters.late_dropped;
      return;
    }
    Moment late = moment;
    late.late = true;
    deliver(event, late);
    return;
  }
  if (is_due(moment.t, Place::kEvent, now) ||
      (mutant(Mutant::kFilterSkipsReorder) && plan.horizon == HorizonClass::kStateless)) {
    deliver(event, moment);
    return;
  }
  hold_back(event, moment);
}

// The event waits for its time. At the bounds: at max_state it is dropped, like all that would make the state grow;
// when too many of its device wait, the oldest goes early, unless that is one of the clock guard's.
void RuleRunner::hold_back(const Event& event, const Moment& moment) {
  if (!context.may_hold_more(reorder.bytes(), moment)) {
    return;
  }
  const size_t width = host_.catalog().stream(event.stream).columns.size();
  Item item;
  item.time = moment.t;
  item.arrival = moment.arrival;
  item.timeline = event.timeline;
  item.place = Place::kEvent;
  item.owner = Owner::kReorder;
  at_horizon(item);
  if (reorder.add(event.timeline, {moment.t, moment.arrival, moment.on_input, moment.clock, event.stream,
                                   std::vector<Value>(event.columns, event.columns + width)})) {
    return;
  }
  const WaitingEvent oldest = reorder.take_oldest(event.timeline);
  ++counters.forced_release;
  limit(Bound::kReorder, ReorderBuffer::kEventsMax, moment, 1);
  if (oldest.t <= oldest.clock + host_.clock_skew_ms()) {
    Moment early = moment;
    early.t = oldest.t;
    early.arrival = oldest.arrival;
    early.on_input = oldest.on_input;
    early.clock = oldest.clock;
    deliver({oldest.stream, event.timeline, oldest.columns.data()}, early);
  }
}

void RuleRunner::deliver(const Event& event, const Moment& moment) {
  touch();
  machine->on_event(event, moment);
}

void RuleRunner::run(const Item& item, Moment moment) {
  touch();
  switch (item.owner) {
    case Owner::kReorder: {
      const auto event = reorder.take(item.timeline, item.time, item.arrival);
      if (event) {
        moment.on_input = event->on_input;
        moment.clock = mutant(Mutant::kArmedAtRelease) ? moment.clock : event->clock;
        behind_ = item.time;
        deliver({event->stream, item.timeline, event->columns.data()}, moment);
        behind_.reset();
      }
      return;
    }
    case Owner::kMachine:
    case Owner::kResults:
      if (item.generation != keys.generation(item.key)) {
        return;  // of a key that was given up since
      }
      if (item.clock_due == kTimeMin) {
        come_due(item, moment);
      } else if (!put_off(item)) {
        run_clock_timer(item, moment);
      }
      break;
  }
  if (item.key < keys.id_end()) {
    keys.set_idle(item.key, machine->is_idle(item.key) && results.is_idle(item.key));
  }
}

void RuleRunner::come_due(const Item& item, const Moment& moment) {
  if (item.owner == Owner::kMachine) {
    machine->on_item(item, moment);
  } else {
    results.on_item(item, moment);
  }
}

// What it leads to counts from its due time, whenever that is looked at (18).
void RuleRunner::run_clock_timer(Item item, Moment moment) {
  if (item.place == Place::kEvent) {  // it was put off, or was due when it was set
    behind_ = item.time;
    item.timeline = keys.timeline(item.key);
  }
  item.time = item.clock_due;
  item.place = Place::kTimer;
  item.arrival = 0;
  moment.t = item.time;
  moment.place = item.place;
  moment.arrival = 0;
  moment.clock = item.time;
  come_due(item, moment);
  behind_.reset();
}

void RuleRunner::save(StateWriter& out) const {
  out.flag(started_);
  out.flag(may_grow_);
  keys.save(out);
  machine->save(out);
  results.save(out);
  reorder.save(out);
  for (const LimitCount& limit : limits_) {
    limit.save(out);
  }
  out.u64(counters.events);
  out.u64(counters.outputs);
  out.u64(counters.late_dropped);
  out.u64(counters.null_keys);
  out.u64(counters.keys_rejected);
  out.u64(counters.keys_forgotten);
  out.u64(counters.forced_release);
  out.u64(counters.runs_expired);
  out.u64(counters.runs_dropped);
  out.u64(counters.captures_dropped);
  out.u64(counters.state_dropped);
  out.u64(counters.state_refused);
  out.u64(counters.ticks_skipped);
}

void RuleRunner::load(StateReader& in) {
  started_ = in.flag();
  set_may_grow(in.flag());
  keys.load(in);
  machine->load(in);
  results.load(in);
  reorder.load(in);
  for (LimitCount& limit : limits_) {
    limit.load(in);
  }
  counters.events = in.u64();
  counters.outputs = in.u64();
  counters.late_dropped = in.u64();
  counters.null_keys = in.u64();
  counters.keys_rejected = in.u64();
  counters.keys_forgotten = in.u64();
  counters.forced_release = in.u64();
  counters.runs_expired = in.u64();
  counters.runs_dropped = in.u64();
  counters.captures_dropped = in.u64();
  counters.state_dropped = in.u64();
  counters.state_refused = in.u64();
  counters.ticks_skipped = in.u64();
}

std::vector<KeyId> RuleRunner::fit(const Moment& moment) {
  std::vector<KeyId> now = keys.surplus(plan.options.max_keys);
  uint64_t lost = 0;
  for (KeyId key = 0; key < now.size(); ++key) {
    if (now[key] == kNoKey) {
      results.resolve(moment, key);
      const bool was_needed = results.forget(key, moment.t);
      lost += was_needed || !keys.is_idle(key) ? 1 : 0;
      machine->reset(key);
    }
  }
  if (!now.empty()) {
    machine->renumber(now);
    results.renumber(now);
    keys.keep(now, plan.options.max_keys);
  }
  if (lost > 0) {
    counters.keys_forgotten += lost;
    limit(Bound::kMaxKeys, plan.options.max_keys, moment, lost);
  }
  machine->fit(moment);
  return now;
}

size_t RuleRunner::held() const {
  size_t count = reorder.count();
  if (!started_) {
    return count;
  }
  for (KeyId key = 0; key < keys.id_end(); ++key) {
    count += machine->is_idle(key) && !results.holds(key) ? 0 : 1;
  }
  return count;
}

}  // namespace lambda::cep
