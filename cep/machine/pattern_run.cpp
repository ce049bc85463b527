#include "cep/machine/pattern_run.h"

#include <algorithm>

#include "cep/language/mutant.h"

namespace lambda::cep {

using ast::StepKind;
using Phase = NodeState::Phase;
using Result = PatternStepper::Result;

PatternStepper::PatternStepper(const RuleContext& context)
    : context_(context), plan_(*context.plan.pattern), keys_(context.plan.keys.size()) {
  begin_event();
  for (const PatternNode& node : plan_.nodes) {
    sees_all_ = sees_all_ || node.counted || std::ranges::find(node.strict, true) != node.strict.end();
  }
}

void PatternStepper::note_awaits(Run& run) const {
  if (sees_all_) {
    return;
  }
  run.awaits = 0;
  for (size_t id = 0; id < plan_.nodes.size(); ++id) {
    const PatternNode& node = plan_.nodes[id];
    const bool leaf = node.kind == StepKind::kEvent || node.kind == StepKind::kAbsence;
    if (leaf && run.nodes[id].phase == Phase::kActive) {
      run.awaits |= stream_bit(node.stream);
    }
  }
}

Run PatternStepper::fresh(const Instant& now) {
  Run run;
  run.nodes.resize(plan_.nodes.size());
  run.slots.resize(keys_ + plan_.slots.size());
  enter(run, 0, now);
  return run;
}

// ---- nodes

// The node is what the run waits for from now on.
void PatternStepper::enter(Run& run, uint16_t id, const Instant& now) {
  const PatternNode& node = plan_.nodes[id];
  clear(run, id);
  NodeState& state = run.nodes[id];
  state.phase = Phase::kActive;
  switch (node.kind) {
    case StepKind::kAbsence:
      state.from_t = now.t;
      state.from_arrival = now.arrival;
      if (node.absence_ms) {
        const bool event_time = context_.plan.options.event_time || mutant(Mutant::kAbsenceEventTime);
        state.due = (event_time ? now.t : now.clock) + *node.absence_ms;
      }
      break;
    case StepKind::kSequence:
      enter(run, node.parts[0], now);
      break;
    case StepKind::kAnd:
    case StepKind::kOr:
      for (const uint16_t part : node.parts) {
        enter(run, part, now);
      }
      break;
    default:
      break;
  }
}

bool PatternStepper::started(const Run& run, uint16_t id) const {
  for (uint16_t i = id; i < plan_.nodes[id].end; ++i) {
    if (run.nodes[i].count > 0) {
      return true;
    }
  }
  return false;
}

bool PatternStepper::captured_outside(const Run& run, uint16_t id) const {
  for (uint16_t i = 0; i < plan_.nodes.size(); ++i) {
    if (run.nodes[i].count > 0 && (i < id || i >= plan_.nodes[id].end)) {
      return true;
    }
  }
  return false;
}

// May all parts from here on be left out?
bool PatternStepper::skippable_from(uint16_t sequence, size_t index) const {
  const auto& parts = plan_.nodes[sequence].parts;
  return std::all_of(parts.begin() + static_cast<std::ptrdiff_t>(index), parts.end(),
                     [&](uint16_t part) { return plan_.nodes[part].counted && plan_.nodes[part].count_min == 0; });
}

// Does the counted part go on taking events while the next one is waited for? Not when that is an absence, whose period
// begins with the last of the least number.
bool PatternStepper::lingers(uint16_t sequence, size_t index) const {
  const auto& parts = plan_.nodes[sequence].parts;
  size_t next = index + 1;
  while (next < parts.size() && is_guard(parts[next])) {
    ++next;
  }
  if (next >= parts.size()) {
    return true;
  }
  for (uint16_t i = parts[next]; i < plan_.nodes[parts[next]].end; ++i) {
    if (plan_.nodes[i].kind == StepKind::kAbsence) {
      return false;
    }
  }
  return true;
}

bool PatternStepper::matches(const Run& run, uint16_t id, const Event& event) {
  const PatternNode& node = plan_.nodes[id];
  if (event.stream != node.stream) {
    return false;
  }
  Frames frames;
  frames[Frame::kEvent] = event.columns;
  frames[Frame::kRun] = run.slots.data();
  return context_.evaluator.is_true(node.filter, frames);
}

bool PatternStepper::matches_first(const Run& run, const Event& event) {
  for (uint16_t i = 0; i < plan_.nodes.size(); ++i) {
    const PatternNode& node = plan_.nodes[i];
    const bool leaf = node.kind == StepKind::kEvent || node.kind == StepKind::kAbsence;
    if (leaf && node.leading && matches(run, i, event)) {
      return true;
    }
  }
  return false;
}

// ---- events

Result PatternStepper::offer(Run& run, const Event& event, const Instant& now) {
  event_ = &event;
  capture_dropped_ = false;
  periods_left_out_ = 0;
  begin_step(run, now);
  return step(run, 0);
}

void PatternStepper::begin_step(const Run& run, const Instant& now) {
  now_ = now;
  split_.clear();
  split_waits_ = false;
  for (uint16_t id = 0; plan_.has_every && id < plan_.nodes.size(); ++id) {
    if (plan_.nodes[id].every && !run.nodes[id].was_split) {
      before_ = run;  // an instance may complete, and its original is what the run is now
      return;
    }
  }
}

// EVERY: the instance that was complete goes on in `run`, the original waits for the step again (18).
void PatternStepper::split_off(Run& run, uint16_t id) {
  run.nodes[id].was_split = true;
  if (mutant(Mutant::kEveryOnce)) {
    return;
  }
  const bool first = !captured_outside(before_, id);
  if (first && !plan_.starts_with_absence) {
    split_waits_ = true;
    return;
  }
  Run original = before_;
  if (first) {
    original.first_t = Run::kNever;
    original.deadline = Run::kNever;
  }
  enter(original, id, now_);
  NodeState& again = original.nodes[id];
  if (const auto period = plan_.nodes[id].absence_ms; period) {
    const int64_t left_out = ticks_left_out(again.due, *period, now_.reached);
    periods_left_out_ += static_cast<uint64_t>(left_out);
    again.due += left_out * *period;
    again.from_t += left_out * *period;
  }
  const int parent = plan_.nodes[id].parent;
  if (parent >= 0 && plan_.nodes[static_cast<size_t>(parent)].kind == StepKind::kSequence) {
    original.nodes[static_cast<size_t>(parent)].index = run.nodes[static_cast<size_t>(parent)].index;
  }
  split_.push_back(std::move(original));
}

// The instance of EVERY that was under way is over, the next one waits (18, 30).
void PatternStepper::set_back(Run& run, uint16_t id) {
  if (!captured_outside(run, id)) {
    run.first_t = Run::kNever;
    run.deadline = Run::kNever;
  }
  enter(run, id, now_);
}

Result PatternStepper::step(Run& run, uint16_t id) {
  Result result = step_plain(run, id);
  const PatternNode& node = plan_.nodes[id];
  if (!node.every) {
    return result;
  }
  NodeState& state = run.nodes[id];
  if (result == Result::kKilled && !state.was_split) {
    set_back(run, id);
    if (mutant(Mutant::kViolationIsOffered)) {
      return step_plain(run, id);
    }
    return Result::kTaken;  // a violated NOT is used by the instance it ended (19)
  }
  if (result == Result::kBroken && !state.was_split) {
    set_back(run, id);
    result = mutant(Mutant::kBrokenIsLost) ? Result::kIgnored : step_plain(run, id);
    result = result == Result::kBroken ? Result::kIgnored : result;
  }
  const bool complete = result == Result::kDone || (result == Result::kTaken && satisfied(run, id));
  if (complete && !run.nodes[id].was_split) {
    split_off(run, id);
  }
  return result;
}

Result PatternStepper::step_plain(Run& run, uint16_t id) {
  if (run.nodes[id].phase != Phase::kActive) {
    return Result::kIgnored;
  }
  switch (plan_.nodes[id].kind) {
    case StepKind::kEvent:
      return step_event(run, id);
    case StepKind::kAbsence:
      return step_absence(run, id);
    case StepKind::kAnd:
      return step_and(run, id);
    case StepKind::kOr:
      return step_or(run, id);
    default:
      return step_sequence(run, id);
  }
}

Result PatternStepper::step_event(Run& run, uint16_t id) {
  const PatternNode& node = plan_.nodes[id];
  NodeState& state = run.nodes[id];
  const bool one_at_a_time = node.every && node.counted;
  if (one_at_a_time && state.count == 0 && taken_by_every_[id]) {
    return Result::kIgnored;  // an instance of the step that is under way took it (19)
  }
  if (!matches(run, id, *event_)) {
    return Result::kIgnored;
  }
  capture(run, id);
  taken_by_every_[id] = taken_by_every_[id] || one_at_a_time;
  if (!node.counted || state.count >= static_cast<uint64_t>(node.count_max)) {
    state.phase = Phase::kDone;
    return Result::kDone;
  }
  return Result::kTaken;
}

Result PatternStepper::step_absence(Run& run, uint16_t id) {
  const PatternNode& node = plan_.nodes[id];
  NodeState& state = run.nodes[id];
  if (!node.absence_ms || !matches(run, id, *event_)) {
    return Result::kIgnored;
  }
  const bool behind = std::pair(now_.t, now_.arrival) > std::pair(state.from_t, state.from_arrival);
  const int64_t last = state.from_t + *node.absence_ms - (mutant(Mutant::kAbsenceEndExcluded) ? 1 : 0);
  if (!behind || now_.t > last) {
    return Result::kIgnored;
  }
  if (node.every || (node.leading && !mutant(Mutant::kLeadingAbsenceDies))) {  // restarts the period (18, 20)
    enter(run, id, now_);
    return Result::kTaken;
  }
  state.phase = Phase::kDead;
  return Result::kKilled;
}

Result PatternStepper::step_and(Run& run, uint16_t id) {
  const auto& parts = plan_.nodes[id].parts;
  for (const uint16_t part : parts) {
    if (is_guard(part) && matches(run, part, *event_)) {
      return Result::kKilled;
    }
  }
  bool any = false;
  for (const uint16_t part : parts) {
    const Result result = step(run, part);
    if (result == Result::kKilled || result == Result::kBroken) {
      return result;
    }
    any = any || result != Result::kIgnored;
    if (result == Result::kDone || satisfied(run, part)) {
      run.nodes[part].phase = Phase::kDone;
    }
    if (mutant(Mutant::kAndNeedsTwoEvents) && any) {
      break;
    }
  }
  const bool all = std::ranges::all_of(
      parts, [&](uint16_t part) { return is_guard(part) || run.nodes[part].phase == Phase::kDone; });
  if (all) {
    run.nodes[id].phase = Phase::kDone;
    return Result::kDone;
  }
  return any ? Result::kTaken : Result::kIgnored;
}

Result PatternStepper::step_or(Run& run, uint16_t id) {
  const auto& parts = plan_.nodes[id].parts;
  bool any = false;
  bool alive = false;
  for (const uint16_t part : parts) {
    const Result result = step(run, part);
    if (result == Result::kDone || (result == Result::kTaken && satisfied(run, part))) {
      return choose(run, id, part);
    }
    if (result == Result::kKilled || result == Result::kBroken) {
      run.nodes[part].phase = Phase::kDead;
    }
    any = any || result == Result::kTaken || result == Result::kKilled;
    alive = alive || run.nodes[part].phase == Phase::kActive;
  }
  return !alive ? Result::kKilled : any ? Result::kTaken : Result::kIgnored;
}

// The side that won; the others did not match (25).
Result PatternStepper::choose(Run& run, uint16_t id, uint16_t part) {
  for (const uint16_t other : plan_.nodes[id].parts) {
    if (other != part && !mutant(Mutant::kOrKeepsBoth)) {
      clear(run, other);
    }
  }
  run.nodes[part].phase = Phase::kDone;
  run.nodes[id].phase = Phase::kDone;
  return Result::kDone;
}

// ---- sequences

Result PatternStepper::step_sequence(Run& run, uint16_t id) {
  const PatternNode& node = plan_.nodes[id];
  NodeState& state = run.nodes[id];
  for (size_t at = state.index;;) {
    const uint16_t part = node.parts[at];
    if (at != state.index) {
      enter(run, part, now_);  // tried; it arms nothing, lingers() saw to that
    }
    const Result result = step(run, part);
    if (result == Result::kKilled || result == Result::kBroken) {
      return result;
    }
    if (result != Result::kIgnored) {
      state.index = static_cast<uint16_t>(at);
      state.gap = false;
      return after_part(run, id, result);
    }
    // A counted part that has enough lets the next one try (21).
    size_t next = at + 1;
    while (next < node.parts.size() && is_guard(node.parts[next])) {
      ++next;
    }
    const bool blocked = next < node.parts.size() && node.strict[next - 1] && state.gap;
    if (!satisfied(run, part) || next >= node.parts.size() || blocked) {
      break;
    }
    at = next;
  }
  if (guard_violated(run, id)) {
    return Result::kKilled;
  }
  return contiguity(run, id);
}

// NOT without FOR between the step before and the one that is waited for (28).
bool PatternStepper::guard_violated(const Run& run, uint16_t sequence) {
  const auto& parts = plan_.nodes[sequence].parts;
  const size_t index = run.nodes[sequence].index;
  if (!started(run, parts[index])) {
    for (size_t at = index + 1; at-- > 0 && (at == index || is_guard(parts[at]));) {
      if (is_guard(parts[at]) && matches(run, parts[at], *event_)) {
        return true;
      }
    }
  }
  if (satisfied(run, parts[index])) {
    for (size_t at = index + 1; at < parts.size() && is_guard(parts[at]); ++at) {
      if (matches(run, parts[at], *event_)) {
        return true;
      }
    }
  }
  return false;
}

// The event is none that the sequence waits for. Does it break a ','? (22)
Result PatternStepper::contiguity(Run& run, uint16_t id) {
  const PatternNode& node = plan_.nodes[id];
  NodeState& state = run.nodes[id];
  const uint16_t part = node.parts[state.index];
  if (plan_.nodes[part].kind == StepKind::kAbsence || mutant(Mutant::kCommaIsArrow)) {
    return Result::kIgnored;
  }
  if (!started(run, part)) {
    return state.index > 0 && node.strict[state.index - 1u] ? Result::kBroken : Result::kIgnored;
  }
  if (plan_.nodes[part].counted) {
    const size_t connector = state.index > 0 ? state.index - 1u : 0;
    if (connector < node.strict.size() && node.strict[connector]) {
      if (!plan_.nodes[part].every || run.nodes[part].was_split) {
        return Result::kBroken;
      }
      set_back(run, part);  // inside an instance of EVERY: the event is the next one's (19)
      const Result again = step(run, part);
      return again == Result::kIgnored ? again : after_part(run, id, again);
    }
    state.gap = state.gap || satisfied(run, part);
  }
  return Result::kIgnored;
}

// The part at work took the event.
Result PatternStepper::after_part(Run& run, uint16_t id, Result part) {
  NodeState& state = run.nodes[id];
  const uint16_t at = plan_.nodes[id].parts[state.index];
  if (part == Result::kDone) {
    return advance(run, id);
  }
  if (satisfied(run, at)) {
    const bool final = id == 0 && (plan_.emit_final || mutant(Mutant::kCountedLastAtMost));
    if (!final && skippable_from(id, state.index + 1u)) {
      state.phase = Phase::kDone;  // a counted last step completes at its least number, once (23)
      return Result::kDone;
    }
    if (!lingers(id, state.index)) {
      return advance(run, id);
    }
  }
  return Result::kTaken;
}

// The part at work is complete: on to the next.
Result PatternStepper::advance(Run& run, uint16_t id) {
  const auto& parts = plan_.nodes[id].parts;
  NodeState& state = run.nodes[id];
  if (id == 0 && plan_.per_step && run.has_captures() && !mutant(Mutant::kPerStepIsWhole)) {
    set_deadline(run, now_.t);
  }
  for (;;) {
    ++state.index;
    if (state.index == parts.size()) {
      --state.index;
      state.phase = Phase::kDone;
      return Result::kDone;
    }
    const uint16_t part = parts[state.index];
    enter(run, part, now_);
    if (is_guard(part)) {
      if (state.index + 1u == parts.size()) {
        return Result::kTaken;  // WITHIN will tell
      }
      continue;
    }
    const bool final = id == 0 && plan_.emit_final;
    if (!final && skippable_from(id, state.index)) {
      state.phase = Phase::kDone;
      return Result::kDone;
    }
    return Result::kTaken;
  }
}

// ---- time

Result PatternStepper::part_done(Run& run, uint16_t id, uint16_t part) {
  const PatternNode& node = plan_.nodes[id];
  switch (node.kind) {
    case StepKind::kSequence:
      return node.parts[run.nodes[id].index] == part ? advance(run, id) : Result::kTaken;
    case StepKind::kOr:
      return choose(run, id, part);
    default: {
      const bool all = std::ranges::all_of(
          node.parts, [&](uint16_t p) { return is_guard(p) || run.nodes[p].phase == Phase::kDone; });
      run.nodes[id].phase = all ? Phase::kDone : run.nodes[id].phase;
      return all ? Result::kDone : Result::kTaken;
    }
  }
}

Result PatternStepper::absence_over(Run& run, uint16_t node, const Instant& now) {
  begin_step(run, now);
  capture_dropped_ = false;
  periods_left_out_ = 0;
  run.nodes[node].phase = Phase::kDone;
  run.nodes[node].due = NodeState::kNever;
  if (!run.has_captures()) {
    set_deadline(run, now.t);  // 29
  } else if (plan_.per_step) {
    set_deadline(run, now.t);
  }
  for (uint16_t done = node;;) {
    if (plan_.nodes[done].every && !run.nodes[done].was_split) {
      split_off(run, done);
    }
    const int parent = plan_.nodes[done].parent;
    if (parent < 0) {
      return Result::kDone;
    }
    if (part_done(run, static_cast<uint16_t>(parent), done) != Result::kDone) {
      return Result::kTaken;
    }
    done = static_cast<uint16_t>(parent);
  }
}

bool PatternStepper::deadline_over(Run& run, const Instant& now) {
  begin_step(run, now);
  const uint16_t part = plan_.nodes[0].parts[run.nodes[0].index];
  const bool last = run.nodes[0].index + 1u == plan_.nodes[0].parts.size();
  if (last && (is_guard(part) || (plan_.emit_final && satisfied(run, part)))) {
    return true;
  }
  for (uint16_t id = 0; id < plan_.nodes.size(); ++id) {
    const NodeState& state = run.nodes[id];
    if (plan_.nodes[id].every && state.phase == Phase::kActive && !state.was_split && !captured_outside(run, id) &&
        started(run, id)) {
      set_back(run, id);
      return false;
    }
  }
  return false;
}

}  // namespace lambda::cep
