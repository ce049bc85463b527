// What a run captures, and its state as bytes. The steps are in pattern_run.cpp.
#include <cmath>

#include "cep/language/mutant.h"
#include "cep/machine/pattern_run.h"

namespace lambda::cep {

using Phase = NodeState::Phase;

// Forgets what the node and its parts captured.
void PatternStepper::clear(Run& run, uint16_t id) {
  for (uint16_t i = id; i < plan_.nodes[id].end; ++i) {
    for (const uint32_t slot : plan_.nodes[i].slots) {
      const bool count = plan_.slots[slot].kind == CaptureKind::kCount;
      run.slots[keys_ + slot] = count ? Value::of_int(0) : Value::null();
      if (plan_.slots[slot].kind == CaptureKind::kAverage) {
        run.slots[keys_ + slot + 1] = Value::of_double(0);
        run.slots[keys_ + slot + 2] = Value::of_int(0);
      }
    }
    run.nodes[i] = {};
  }
}

void PatternStepper::capture_slot(Run& run, size_t slot, uint64_t index) {
  const CaptureSlot& plan = plan_.slots[slot];
  Value& kept = run.slots[keys_ + slot];
  if (plan.kind == CaptureKind::kCount) {
    kept = Value::of_int(static_cast<int64_t>(index + 1));
    return;
  }
  const Value& x = event_->columns[plan.column];
  const bool nan = x.type == Type::kDouble && std::isnan(x.d);
  switch (plan.kind) {
    case CaptureKind::kLast:
      kept = mutant(Mutant::kCaptureIsFirst) && index > 0 ? kept : x;
      break;
    case CaptureKind::kFirst:
      kept = index == 0 ? x : kept;
      break;
    case CaptureKind::kElement:
      kept = index == plan.element ? x : kept;
      break;
    case CaptureKind::kSum:
      if (kept.is_null() || x.is_null()) {
        kept = x.is_null() ? kept : x;
      } else if (x.type == Type::kInt) {
        int64_t sum = 0;
        kept = __builtin_add_overflow(kept.i, x.i, &sum) ? Value::null() : Value::of_int(sum);
      } else {
        kept = Value::of_double(kept.d + x.d);
      }
      break;
    case CaptureKind::kAverage:
      if (!x.is_null()) {
        Value& sum = run.slots[keys_ + slot + 1];
        Value& count = run.slots[keys_ + slot + 2];
        sum = Value::of_double(sum.d + x.number());
        count = Value::of_int(count.i + 1);
        kept = Value::of_double(sum.d / static_cast<double>(count.i));
      }
      break;
    default: {  // kMin, kMax
      const int order = compare_values(x, kept, context_.evaluator.symbols());
      const bool better = kept.is_null() || (plan.kind == CaptureKind::kMin ? order < 0 : order > 0);
      kept = !x.is_null() && !nan && better ? x : kept;
      break;
    }
  }
}

void PatternStepper::capture(Run& run, uint16_t id) {
  const uint64_t index = run.nodes[id].count++;
  for (const uint32_t slot : plan_.nodes[id].slots) {
    capture_slot(run, slot, index);
  }
  capture_dropped_ = capture_dropped_ || index >= kCapturesMax;
  if (!run.has_captures()) {
    run.first_t = now_.t;
    run.first_arrival = now_.arrival;
    if (run.deadline == Run::kNever) {
      set_deadline(run, now_.t);
    }
  } else if (plan_.per_step && satisfied(run, id) && !mutant(Mutant::kPerStepIsWhole)) {
    set_deadline(run, now_.t);  // the next step counts from the last of this one
  }
  run.last_t = now_.t;
  run.last_arrival = now_.arrival;
}

// ---- state

void Run::save(StateWriter& out) const {
  out.u64(id);
  out.u64(age);
  out.i64(first_t);
  out.u64(first_arrival);
  out.i64(last_t);
  out.u64(last_arrival);
  out.i64(deadline);
  for (const NodeState& node : nodes) {
    out.u8(static_cast<uint8_t>(node.phase));
    out.flag(node.gap);
    out.flag(node.was_split);
    out.flag(node.queued);
    out.u32(node.index);
    out.u64(node.count);
    out.i64(node.due);
    out.i64(node.from_t);
    out.u64(node.from_arrival);
  }
  for (const Value& value : slots) {
    out.value(value);
  }
}

void Run::load(StateReader& in) {
  id = in.u64();
  age = in.u64();
  first_t = in.i64();
  first_arrival = in.u64();
  last_t = in.i64();
  last_arrival = in.u64();
  deadline = in.i64();
  for (NodeState& node : nodes) {
    const uint8_t phase = in.u8();
    if (phase > static_cast<uint8_t>(Phase::kDead)) {
      in.refuse();
    }
    node.phase = static_cast<Phase>(phase);
    node.gap = in.flag();
    node.was_split = in.flag();
    node.queued = in.flag();
    node.index = static_cast<uint16_t>(in.u32());
    node.count = in.u64();
    node.due = in.i64();
    node.from_t = in.i64();
    node.from_arrival = in.u64();
  }
  for (Value& value : slots) {
    value = in.value();
  }
}

}  // namespace lambda::cep
