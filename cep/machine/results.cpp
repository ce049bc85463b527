#include "cep/machine/results.h"

#include <algorithm>
#include <bit>

#include "cep/language/mutant.h"

namespace lambda::cep {

Results::Results(const RuleContext& context) : context_(context), scratch_(context.plan.items.size()) {
  const RulePlan& plan = context.plan;
  const bool loads = std::ranges::all_of(plan.items, [](const ItemPlan& item) {
    return item.program.nodes.size() == 1 && item.program.nodes[0].op == Op::kLoad;
  });
  if (loads && plan.having.empty() && !plan.alert && plan.emit.kind == ast::EmitKind::kFinal) {
    plain_items_.reserve(plan.items.size());
    for (const ItemPlan& item : plan.items) {
      plain_items_.push_back(item.program.nodes[0]);
    }
  }
}

void Results::row(const Moment& moment, KeyId key, const Frames& frames, uint64_t order, uint64_t age) {
  if (!context_.evaluator.is_true(context_.plan.having, frames)) {
    return;
  }
  if (context_.plan.alert) {
    alert_row(moment, key, frames);
  } else {
    emit_row(moment, key, frames, order, age);
  }
}

void Results::evaluate_items(const Frames& frames, Value* into) {
  for (const ItemPlan& item : context_.plan.items) {
    *into++ = context_.evaluator.value(item.program, frames);
  }
}

// ---- alerts

Results::Alert& Results::alert_of(KeyId key) {
  if (alerts_.size() <= key) {
    alerts_.resize(std::max<size_t>(key + 1, context_.keys.id_end()));
    rows_.resize(alerts_.size() * context_.plan.items.size());
  }
  return alerts_[key];
}

void Results::alert_row(const Moment& moment, KeyId key, const Frames& frames) {
  const bool on = context_.evaluator.is_true(context_.plan.alert->on, frames);
  Alert& alert = alert_of(key);
  if (alert.phase == Phase::kQuiet && !on) {
    if (!mutant(Mutant::kSamplesTotal)) {
      alert.samples = 0;
    }
    return;  // the row would be replaced before anybody sees it
  }
  if (!mutant(Mutant::kFirstRowFields) || alert.phase == Phase::kQuiet) {
    evaluate_items(frames, stored_row(key));
  }
  switch (alert.phase) {
    case Phase::kQuiet:
      begin(alert, moment, key);
      break;
    case Phase::kPending:
      while_pending(alert, moment, key, on);
      break;
    case Phase::kFiring:
      while_firing(alert, moment, key, frames, on);
      break;
  }
}

void Results::begin(Alert& alert, const Moment& moment, KeyId key) {
  const AlertPlan& plan = *context_.plan.alert;
  ++alert.samples;
  const bool waits = plan.for_ms || (plan.for_samples && *plan.for_samples > alert.samples);
  if (!waits) {
    fire(alert, moment, key, armed_at(moment));
    return;
  }
  alert.phase = Phase::kPending;
  if (plan.for_ms) {
    arm(alert.fire, Timer::kFor, armed_at(moment) + *plan.for_ms, key);
  }
  if (mutant(Mutant::kRemindFromPending) && plan.remind_ms) {
    arm(alert.remind, Timer::kRemind, armed_at(moment) + *plan.remind_ms, key);
  }
  if (!mutant(Mutant::kPendingSilent)) {
    say(OutputKind::kPending, moment, key);
  }
}

void Results::while_pending(Alert& alert, const Moment& moment, KeyId key, bool on) {
  const AlertPlan& plan = *context_.plan.alert;
  if (!on) {
    alert.phase = Phase::kQuiet;
    alert.samples = mutant(Mutant::kSamplesTotal) ? alert.samples : 0;
    alert.fire.disarm();
    alert.remind.disarm();
    return;
  }
  ++alert.samples;
  const bool overdue = mutant(Mutant::kForNeedsEvent) && plan.for_ms && alert.fire.due <= armed_at(moment);
  if ((plan.for_samples && alert.samples >= *plan.for_samples) || overdue) {
    fire(alert, moment, key, armed_at(moment));
  }
}

void Results::while_firing(Alert& alert, const Moment& moment, KeyId key, const Frames& frames, bool on) {
  const AlertPlan& plan = *context_.plan.alert;
  const bool by_on = plan.clear.empty() || mutant(Mutant::kClearIsNotOn);
  const bool clear = by_on ? !on : context_.evaluator.is_true(plan.clear, frames);
  if (mutant(Mutant::kRemindFromLastRow) && plan.remind_ms) {
    arm(alert.remind, Timer::kRemind, armed_at(moment) + *plan.remind_ms, key);
  }
  if (!clear) {
    if (!mutant(Mutant::kClearTimerRuns)) {
      alert.clear.disarm();
    }
  } else if (!plan.clear_for_ms) {
    end(alert, moment, key);
  } else if (!alert.clear.armed()) {
    arm(alert.clear, Timer::kClear, armed_at(moment) + *plan.clear_for_ms, key);
  }
}

void Results::fire(Alert& alert, const Moment& moment, KeyId key, int64_t from) {
  alert.phase = Phase::kFiring;
  alert.fire.disarm();
  if (context_.plan.alert->remind_ms && !(mutant(Mutant::kRemindFromPending) && alert.remind.armed())) {
    arm(alert.remind, Timer::kRemind, from + *context_.plan.alert->remind_ms, key);
  }
  say(OutputKind::kFiring, moment, key);
}

void Results::end(Alert& alert, const Moment& moment, KeyId key) {
  alert.phase = Phase::kQuiet;
  alert.samples = 0;
  alert.clear.disarm();
  alert.remind.disarm();
  say(OutputKind::kResolved, moment, key);
}

void Results::resolve(const Moment& moment, KeyId key) {
  if (key < alerts_.size() && alerts_[key].phase == Phase::kFiring) {
    end(alerts_[key], moment, key);
  }
}

void Results::withdraw(const Moment& moment) {
  for (KeyId key = 0; key < alerts_.size(); ++key) {
    resolve(moment, key);
  }
}

void Results::on_item(const Item& item, const Moment& moment) {
  if (item.key >= alerts_.size()) {
    return;
  }
  Alert& alert = alerts_[item.key];
  const auto which = static_cast<Timer>(item.tag);
  LazyTimer& timer = which == Timer::kFor ? alert.fire : which == Timer::kClear ? alert.clear : alert.remind;
  if (!timer.comes_due(item.time, [&](int64_t due) { queue(which, due, item.key); })) {
    return;
  }
  switch (which) {
    case Timer::kFor:
      if (mutant(Mutant::kForNeedsEvent)) {
        timer.due = item.time;
      } else {
        fire(alert, moment, item.key, item.time);
      }
      break;
    case Timer::kClear:
      end(alert, moment, item.key);
      break;
    case Timer::kRemind:
      remind_again(alert, item, moment);
      say(OutputKind::kFiring, moment, item.key);
      break;
  }
}

void Results::remind_again(Alert& alert, const Item& item, const Moment& moment) {
  const int64_t every = *context_.plan.alert->remind_ms;
  const int64_t now = by_event_time() ? context_.host.horizon_of(item.timeline) : context_.host.clock();
  const int64_t next = context_.next_tick(item.time + every, every, now, moment);
  arm(alert.remind, Timer::kRemind, next, item.key);
}

bool Results::by_event_time() const {
  return context_.plan.options.event_time || mutant(Mutant::kAlertEventTime);
}

int64_t Results::armed_at(const Moment& moment) const {
  return by_event_time() ? moment.t : moment.clock;
}

void Results::arm(LazyTimer& timer, Timer which, int64_t due, KeyId key) {
  timer.arm(due, [&](int64_t when) { queue(which, when, key); });
}

void Results::queue(Timer which, int64_t due, KeyId key) {
  const Rank rank = which == Timer::kFor ? Rank::kAlertFor : which == Timer::kClear ? Rank::kClearFor : Rank::kRemind;
  Item item = context_.work(key, due, Place::kTimer, rank, static_cast<uint8_t>(which));
  item.owner = Owner::kResults;
  context_.at_silence_clock(item, by_event_time());
}

void Results::say(OutputKind kind, const Moment& moment, KeyId key) {
  context_.host.output(kind, moment, key, 0, 0, std::span(stored_row(key), context_.plan.items.size()));
}

// ---- rows

void Results::emit_row(const Moment& moment, KeyId key, const Frames& frames, uint64_t order, uint64_t age) {
  evaluate_items(frames, scratch_.data());
  if (passes_emit(moment, key)) {
    context_.host.output(OutputKind::kRow, moment, key, order, age, scratch_);
  }
}

bool Results::passes_emit(const Moment& moment, KeyId key) {
  const EmitPlan& plan = context_.plan.emit;
  if (plan.kind != ast::EmitKind::kFirst && plan.kind != ast::EmitKind::kChanges) {
    return true;
  }
  if (mutant(Mutant::kChangesWholeRule)) {
    key = 0;
  }
  if (emitted_.size() <= key) {
    emitted_.resize(std::max<size_t>(key + 1, context_.keys.id_end()));
  }
  Emitted& last = emitted_[key];
  if (plan.kind == ast::EmitKind::kFirst) {
    const bool passes = !holds_back(last, moment.t);
    if (passes || mutant(Mutant::kFirstPerSlides)) {
      last = {true, moment.t};
    }
    return passes;
  }
  rows_.resize(emitted_.size() * scratch_.size());
  if (last.any && std::equal(scratch_.begin(), scratch_.end(), stored_row(key))) {
    return false;
  }
  std::ranges::copy(scratch_, stored_row(key));
  last = {true, moment.t};
  return true;
}

// Could the key's last row keep one at `t` from being printed? (42)
bool Results::holds_back(const Emitted& emitted, int64_t t) const {
  const EmitPlan& plan = context_.plan.emit;
  return emitted.any &&
         (plan.kind == ast::EmitKind::kChanges || mutant(Mutant::kFirstPerOnce) || t < emitted.t + plan.every_ms);
}

// ---- state

bool Results::is_idle(KeyId key) const {
  return key >= alerts_.size() || alerts_[key].phase == Phase::kQuiet;
}

void Results::reset(KeyId key, const Moment& moment) {
  if (forget(key, moment.t)) {
    ++context_.counters.keys_forgotten;
    context_.say_keys_full(moment);
  }
}

bool Results::forget(KeyId key, int64_t t) {
  if (key < alerts_.size()) {
    alerts_[key] = {};  // items under way carry the key's old generation
  }
  const bool was_needed = key < emitted_.size() && holds_back(emitted_[key], t);
  if (key < emitted_.size()) {
    emitted_[key] = {};
  }
  return was_needed;
}

void Results::renumber(std::span<const KeyId> now) {
  renumber_by_key(rows_, now, context_.plan.items.size());
  renumber_by_key(alerts_, now);
  renumber_by_key(emitted_, now);
}

size_t Results::state_bytes() const {
  const auto doubled = [](size_t count, size_t each) { return count == 0 ? 0 : std::bit_ceil(count) * each; };
  return doubled(alerts_.size(), sizeof(Alert)) + doubled(emitted_.size(), sizeof(Emitted)) +
         doubled(rows_.size(), sizeof(Value));
}

void Results::save(StateWriter& out) const {
  out.u32(static_cast<uint32_t>(alerts_.size()));
  for (const Alert& alert : alerts_) {
    out.u8(static_cast<uint8_t>(alert.phase));
    out.u32(alert.samples);
    alert.fire.save(out);
    alert.clear.save(out);
    alert.remind.save(out);
  }
  out.u32(static_cast<uint32_t>(emitted_.size()));
  for (const Emitted& emitted : emitted_) {
    out.flag(emitted.any);
    out.i64(emitted.t);
  }
  out.u32(static_cast<uint32_t>(rows_.size()));
  for (const Value& value : rows_) {
    out.value(value);
  }
}

void Results::load(StateReader& in) {
  alerts_.assign(in.count(53), {});
  for (Alert& alert : alerts_) {
    const uint8_t phase = in.u8();
    if (phase > static_cast<uint8_t>(Phase::kFiring)) {
      in.refuse();
      return;
    }
    alert.phase = static_cast<Phase>(phase);
    alert.samples = in.u32();
    alert.fire.load(in);
    alert.clear.load(in);
    alert.remind.load(in);
  }
  emitted_.assign(in.count(9), {});
  for (Emitted& emitted : emitted_) {
    emitted.any = in.flag();
    emitted.t = in.i64();
  }
  rows_.assign(in.count(1), {});
  for (Value& value : rows_) {
    value = in.value();
  }
  if (rows_.size() != std::max(alerts_.size(), rows_.empty() ? 0 : emitted_.size()) * context_.plan.items.size()) {
    in.refuse();
  }
}

}  // namespace lambda::cep
