// Rules over PATTERN: keys, the order of runs, timers, SKIP and the bound on runs. A run's own steps are in
// pattern_run.cpp.
#include <algorithm>

#include "cep/language/mutant.h"
#include "cep/machine/pattern_run.h"
#include "cep/machine/results.h"

namespace lambda::cep {
namespace {

using StepResult = PatternStepper::Result;

// What one key holds.
struct Group {
  bool known = false;
  bool waits = false;  // for its first step with nothing captured; such a run is not kept
  std::vector<Run> runs;
  LazyTimer deadline;  // the earliest of the runs'
};

class PatternMachine final : public Machine {
 public:
  PatternMachine(const RuleContext& context, Results& results)
      : context_(context),
        plan_(*context.plan.pattern),
        results_(results),
        stepper_(context),
        fresh_(stepper_.fresh({})),
        key_(context.plan.keys.size()) {}

  void on_start(const Moment& moment) override {
    if (plan_.starts_with_absence && context_.plan.keys.empty()) {
      (void)group_of(0, {moment.t, moment.arrival, moment.clock});
    }
  }
  void on_event(const Event& event, const Moment& moment) override;
  void on_item(const Item& item, const Moment& moment) override;
  bool is_idle(KeyId key) const override {
    return key >= groups_.size() || !groups_[key].known || (groups_[key].waits && groups_[key].runs.empty());
  }
  void reset(KeyId key) override {
    if (key < groups_.size()) {
      held_runs_ -= groups_[key].runs.size();
      groups_[key] = {};
    }
  }
  void renumber(std::span<const KeyId> now) override { renumber_by_key(groups_, now); }
  void fit(const Moment& moment) override {
    for (KeyId key = 0; key < groups_.size(); ++key) {
      enforce_bound(key, moment);
    }
  }
  size_t state_bytes() const override { return pattern_state_bytes(plan_, key_.size(), groups_.size(), held_runs_); }
  void save(StateWriter& out) const override;
  void load(StateReader& in) override;

 private:
  enum Tag : uint8_t { kAbsence, kDeadline };

  std::optional<KeyId> admit(const Event& event, const Moment& moment);
  Group& group_of(KeyId key, const Instant& now);
  Run new_run(KeyId key) {
    Run run;
    if (!spare_.empty()) {
      run = std::move(spare_.back());
      spare_.pop_back();
    }
    run = fresh_;
    std::copy_n(context_.keys.values(key), key_.size(), run.slots.begin());
    run.id = ++last_id_;
    return run;
  }
  void begin(KeyId key, const Event& event, const Moment& moment, const Instant& now);
  // What a run's step came to. False: the run is no more.
  bool settle(KeyId key, size_t index, StepResult result, const Moment& moment);
  void take_split(KeyId key, const Run& from);
  void match(KeyId key, size_t index, const Moment& moment);
  void drop(KeyId key, size_t index) {
    auto& runs = groups_[key].runs;
    recycle(std::move(runs[index]));
    runs.erase(runs.begin() + static_cast<std::ptrdiff_t>(index));
    --held_runs_;
  }
  // Keeps the run's memory for the next one.
  void recycle(Run&& run) {
    constexpr size_t kSpareMax = 64;
    if (spare_.size() < kSpareMax && !run.nodes.empty()) {
      spare_.push_back(std::move(run));
    }
  }
  void enforce_bound(KeyId key, const Moment& moment);
  // After each step of a run that goes on.
  void queue_timers(KeyId key, Run& run);
  // Queues the look at a key's runs whose WITHIN may be over.
  auto deadline_of(KeyId key) const {
    return [this, key](int64_t due) {
      context_.host.at_horizon(context_.work(key, due, Place::kTimer, Rank::kExpiry, kDeadline));
    };
  }
  void absence_over(const Item& item, const Moment& moment);
  void deadline_over(KeyId key, const Moment& moment);
  bool by_event_time() const { return context_.plan.options.event_time || mutant(Mutant::kAbsenceEventTime); }
  bool skips() const { return plan_.skip != ast::Skip::kNone; }

  const RuleContext& context_;
  const PatternPlan& plan_;
  Results& results_;
  PatternStepper stepper_;
  const Run fresh_;
  std::vector<Value> key_;
  std::vector<uint64_t> ids_;
  std::vector<Run> spare_;
  std::vector<Group> groups_;
  size_t held_runs_ = 0;
  uint64_t last_id_ = 0;
  uint64_t last_age_ = 0;
  size_t matches_ = 0;
};

// ---- events

std::optional<KeyId> PatternMachine::admit(const Event& event, const Moment& moment) {
  const auto use = std::ranges::find(context_.plan.streams, event.stream, &StreamUse::stream);
  LAMBDA_ASSERT(use != context_.plan.streams.end());
  for (size_t i = 0; i < key_.size(); ++i) {
    key_[i] = event.columns[use->keys[i].slot];
    if (key_[i].is_null() && !mutant(Mutant::kNullKeyIsAKey)) {
      ++context_.counters.null_keys;
      return std::nullopt;
    }
  }
  const auto found = context_.keys.find_or_add(key_.data(), event.timeline);
  if (!found) {
    context_.refuse_key(moment);
    return std::nullopt;
  }
  if (found->is_new) {
    reset(found->id);
    results_.reset(found->id, moment);
  }
  return found->id;
}

Group& PatternMachine::group_of(KeyId key, const Instant& now) {
  if (groups_.size() <= key) {
    groups_.resize(std::max<size_t>(key + 1, context_.keys.id_end()));
  }
  Group& group = groups_[key];
  if (!group.known) {
    group.known = true;
    group.waits = !plan_.starts_with_absence;
    if (plan_.starts_with_absence) {
      Run run = stepper_.fresh(now);
      std::copy_n(context_.keys.values(key), key_.size(), run.slots.begin());
      run.id = ++last_id_;
      queue_timers(key, run);
      group.runs.push_back(std::move(run));
      ++held_runs_;
    }
  }
  return group;
}

void PatternMachine::on_event(const Event& event, const Moment& moment) {
  const auto key = admit(event, moment);
  if (!key) {
    return;
  }
  const Instant now{moment.t, moment.arrival, moment.clock};
  (void)group_of(*key, now);
  if (context_.plan.alert && !mutant(Mutant::kAlertOverPatternStays) && stepper_.matches_first(fresh_, event)) {
    results_.resolve(moment, *key);
  }
  const bool waits = groups_[*key].waits;
  const uint64_t age_before = last_age_;
  stepper_.begin_event();
  ids_.clear();  // of the runs that are there; a match may drop some on the way (32)
  for (const Run& run : groups_[*key].runs) {
    ids_.push_back(run.id);
  }
  const size_t matches_before = matches_;
  size_t index = 0;
  for (const uint64_t id : ids_) {
    auto& runs = groups_[*key].runs;
    if (index >= runs.size() || runs[index].id != id) {
      index = static_cast<size_t>(std::ranges::find(runs, id, &Run::id) - runs.begin());
    }
    if (index < runs.size() && !stepper_.matters(runs[index], event)) {
      ++index;
    } else if (index < runs.size()) {
      index += settle(*key, index, stepper_.offer(runs[index], event, now), moment) ? 1 : 0;
    }
  }
  // With SKIP PAST LAST nothing begins with an event that ended a match.
  const bool skipped = matches_ != matches_before;
  if (waits && !(skipped && plan_.skip == ast::Skip::kPastLast)) {
    begin(*key, event, moment, now);
  }
  if (last_age_ != age_before) {
    enforce_bound(*key, moment);
  }
  context_.keys.set_idle(*key, is_idle(*key) && results_.is_idle(*key));
}

// The event may be the first of a run.
void PatternMachine::begin(KeyId key, const Event& event, const Moment& moment, const Instant& now) {
  if (!stepper_.matches_first(fresh_, event)) {
    return;
  }
  if (!context_.may_hold_more(state_bytes(), moment)) {
    return;
  }
  Group& group = groups_[key];
  group.runs.push_back(new_run(key));
  ++held_runs_;
  const size_t index = group.runs.size() - 1;
  const StepResult result = stepper_.offer(group.runs[index], event, now);
  if (result == StepResult::kIgnored) {
    drop(key, index);
    return;
  }
  group.waits = skips();
  (void)settle(key, index, result, moment);
}

bool PatternMachine::settle(KeyId key, size_t index, StepResult result, const Moment& moment) {
  if (stepper_.capture_dropped()) {
    ++context_.counters.captures_dropped;
    context_.say_full(Bound::kMaxCaptures, kCapturesMax, moment);
  }
  Run& run = groups_[key].runs[index];
  if (run.has_captures() && run.age == 0) {
    run.age = ++last_age_;
  }
  take_split(key, run);
  Run& same = groups_[key].runs[index];  // the vector may have moved
  switch (result) {
    case StepResult::kDone:
      match(key, index, moment);
      return false;
    case StepResult::kKilled:
    case StepResult::kBroken:
      drop(key, index);
      return false;
    default:
      break;
  }
  if (!same.has_captures() && !plan_.starts_with_absence) {
    drop(key, index);  // set back to its beginning by EVERY: it waits, and that needs no run
    groups_[key].waits = true;
    return false;
  }
  queue_timers(key, same);
  return true;
}

void PatternMachine::take_split(KeyId key, const Run& from) {
  const uint64_t age = from.age;
  groups_[key].waits = groups_[key].waits || stepper_.split_waits();
  for (Run& original : stepper_.split()) {
    original.id = ++last_id_;
    original.age = original.has_captures() ? age : 0;
    for (NodeState& node : original.nodes) {
      node.queued = false;
    }
    queue_timers(key, original);
    groups_[key].runs.push_back(std::move(original));
    ++held_runs_;
  }
  if (!stepper_.split().empty() && age != 0) {
    ++last_age_;  // there is one run more: the bound is looked at
  }
  stepper_.split().clear();
}

void PatternMachine::match(KeyId key, size_t index, const Moment& moment) {
  Run run = std::move(groups_[key].runs[index]);
  drop(key, index);
  Frames frames;
  frames[Frame::kRun] = run.slots.data();
  if (!context_.evaluator.is_true(context_.plan.where, frames)) {
    recycle(std::move(run));
    return;
  }
  ++matches_;
  if (skips() && plan_.skip != ast::Skip::kNoSkip) {
    const auto begin = [](const Run& r) { return std::pair(r.first_t, r.first_arrival); };
    const std::pair last(run.last_t, run.last_arrival);
    const auto goes = [&](const Run& other) {
      return plan_.skip == ast::Skip::kNext ? begin(other) == begin(run) && !mutant(Mutant::kSkipNextKeeps)
                                            : begin(other) <= last && !mutant(Mutant::kSkipPastLastKeeps);
    };
    held_runs_ -= std::erase_if(groups_[key].runs, goes);
  }
  results_.row(moment, key, frames, 0, run.age);
  recycle(std::move(run));
}

// At most max_runs with something captured (47).
void PatternMachine::enforce_bound(KeyId key, const Moment& moment) {
  auto& runs = groups_[key].runs;
  const uint64_t max = context_.plan.options.max_runs;
  while (static_cast<uint64_t>(std::ranges::count_if(runs, &Run::has_captures)) > max) {
    std::vector<size_t> by_age;
    for (size_t i = 0; i < runs.size(); ++i) {
      if (runs[i].has_captures()) {
        by_age.push_back(i);
      }
    }
    std::ranges::stable_sort(by_age, {}, [&](size_t i) { return runs[i].age; });
    size_t victim = by_age.front();
    switch (context_.plan.options.on_limit) {
      case OnLimit::kOldest:
        break;
      case OnLimit::kNewest:
        victim = by_age[by_age.size() - 2];
        break;
      case OnLimit::kReject:
        victim = by_age.back();
        break;
    }
    if (mutant(Mutant::kOnLimitNewest)) {
      victim = by_age.back();
    }
    drop(key, victim);
    ++context_.counters.runs_dropped;
    context_.say_full(Bound::kMaxRuns, max, moment);
  }
}

// ---- time

void PatternMachine::queue_timers(KeyId key, Run& run) {
  stepper_.note_awaits(run);
  if (run.deadline != Run::kNever) {
    groups_[key].deadline.arm_earlier(run.deadline, deadline_of(key));
  }
  for (uint16_t id = 0; id < run.nodes.size(); ++id) {
    NodeState& node = run.nodes[id];
    if (node.phase != NodeState::Phase::kActive || node.due == NodeState::kNever || node.queued) {
      continue;
    }
    node.queued = true;
    context_.at_silence_clock(context_.work(key, node.due, Place::kTimer, Rank::kAbsence, kAbsence, run.id << 8 | id),
                              by_event_time());
  }
}

void PatternMachine::on_item(const Item& item, const Moment& moment) {
  if (item.key >= groups_.size()) {
    return;
  }
  if (item.tag == kAbsence) {
    absence_over(item, moment);
    return;
  }
  if (groups_[item.key].deadline.comes_due(item.time, deadline_of(item.key))) {
    deadline_over(item.key, moment);
  }
}

void PatternMachine::absence_over(const Item& item, const Moment& moment) {
  auto& runs = groups_[item.key].runs;
  const auto run = std::ranges::find(runs, item.cookie >> 8, &Run::id);
  const auto id = static_cast<uint16_t>(item.cookie & 0xFF);
  if (run == runs.end() || run->nodes[id].phase != NodeState::Phase::kActive || run->nodes[id].due != item.time) {
    return;
  }
  const auto index = static_cast<size_t>(run - runs.begin());
  const int64_t reached =
      by_event_time() ? context_.host.horizon_of(context_.keys.timeline(item.key)) : context_.host.clock();
  const Instant now{moment.t, UINT64_MAX, moment.clock, reached};
  const StepResult result = stepper_.absence_over(*run, id, now);
  context_.say_ticks(stepper_.periods_left_out(), moment);
  (void)settle(item.key, index, result, moment);
}

// WITHIN is over for the runs whose deadline this is.
void PatternMachine::deadline_over(KeyId key, const Moment& moment) {
  const Instant now{moment.t, UINT64_MAX, moment.clock};
  const auto is_over = [&](const Run& run) { return run.deadline != Run::kNever && run.deadline <= moment.t; };
  for (;;) {
    auto& runs = groups_[key].runs;
    const auto run = std::ranges::find_if(runs, is_over);
    if (run == runs.end()) {
      break;
    }
    const auto index = static_cast<size_t>(run - runs.begin());
    if (stepper_.deadline_over(*run, now)) {
      match(key, index, moment);
      continue;
    }
    ++context_.counters.runs_expired;
    if (!run->has_captures() && plan_.has_every && plan_.starts_with_absence && !is_over(*run)) {
      queue_timers(key, *run);  // EVERY began anew
      continue;
    }
    const bool again = !run->has_captures() && !is_over(*run);
    drop(key, index);
    groups_[key].waits = groups_[key].waits || (again && !plan_.starts_with_absence);
  }
  int64_t next = Run::kNever;
  for (const Run& run : groups_[key].runs) {
    if (run.deadline != Run::kNever && (next == Run::kNever || run.deadline < next)) {
      next = run.deadline;
    }
  }
  if (next != Run::kNever) {
    groups_[key].deadline.arm(next, deadline_of(key));
  }
}

// ---- state

void PatternMachine::save(StateWriter& out) const {
  out.u64(last_id_);
  out.u64(last_age_);
  out.u32(static_cast<uint32_t>(groups_.size()));
  for (const Group& group : groups_) {
    out.flag(group.known);
    out.flag(group.waits);
    group.deadline.save(out);
    out.u32(static_cast<uint32_t>(group.runs.size()));
    for (const Run& run : group.runs) {
      run.save(out);
    }
  }
}

void PatternMachine::load(StateReader& in) {
  last_id_ = in.u64();
  last_age_ = in.u64();
  groups_.clear();
  groups_.resize(in.count(22));
  held_runs_ = 0;
  for (Group& group : groups_) {
    group.known = in.flag();
    group.waits = in.flag();
    group.deadline.load(in);
    group.runs.assign(in.count(50), fresh_);
    for (Run& run : group.runs) {
      run.load(in);
      if (in.ok()) {
        stepper_.note_awaits(run);
      }
      ++held_runs_;
      for (uint16_t id = 0; id < run.nodes.size(); ++id) {
        if (run.nodes[id].index > 0 && run.nodes[id].index >= plan_.nodes[id].parts.size()) {
          in.refuse();
          return;
        }
      }
    }
  }
}

}  // namespace

std::unique_ptr<Machine> make_pattern_machine(const RuleContext& context, Results& results) {
  return std::make_unique<PatternMachine>(context, results);
}

}  // namespace lambda::cep
