// Patterns that are a chain of single events: [EVERY] a -> b -> c, without ',', counts, NOT, AND, OR and SKIP. The same
// as pattern_machine.cpp says of them (17 to 31), with runs of a few words instead of a tree's.
#include <algorithm>

#include "cep/pattern_run.h"
#include "cep/results.h"

namespace lambda::cep {
namespace {

constexpr uint32_t kNone = UINT32_MAX;

class ChainMachine final : public Machine {
 public:
  ChainMachine(const RuleContext& context, Results& results);

  void on_event(const Event& event, const Moment& moment) override;
  void on_item(const Item& item, const Moment& moment) override;
  bool is_idle(KeyId key) const override {
    return key >= groups_.size() || !groups_[key].known || groups_[key].is_idle();
  }
  void reset(KeyId key) override {
    if (key < groups_.size()) {
      while (groups_[key].first != kNone) {
        drop(groups_[key], kNone, groups_[key].first);
      }
      groups_[key] = {};
    }
  }
  size_t state_bytes() const override {
    return pattern_state_bytes(plan_, context_.plan.keys.size(), groups_.size(), held_runs_);
  }
  void save(StateWriter& out) const override;
  void load(StateReader& in) override;

 private:
  struct Capture {
    uint32_t slot;
    uint32_t column;
    bool count;  // not the column, but that there was one
  };
  struct Step {
    StreamId stream = 0;
    const Program* filter = nullptr;
    bool reads_run = false;  // the filter
    std::vector<Capture> captures;
  };
  // A key's runs are a list, the oldest first. Few captured values are with the run: one line of the cache holds it
  // all.
  static constexpr size_t kSlotsInside = 2;
  struct alignas(64) Run {
    uint32_t next = kNone;
    uint32_t step = 0;  // that it waits for
    uint64_t age = 0;   // order of beginning
    int64_t deadline = cep::Run::kNever;
    Value slots[kSlotsInside];
  };
  struct Group {
    uint32_t first = kNone;
    uint32_t last = kNone;
    uint32_t count = 0;
    bool known = false;
    bool waits = false;  // for the first step
    LazyTimer deadline;  // the earliest of the runs', or earlier

    bool is_idle() const { return waits && first == kNone; }
  };

  KeyId admit(const Event& event, const Moment& moment, bool& is_new);
  bool matches(const Step& step, uint32_t run, KeyId key, const Event& event);
  void begin(KeyId key, const Event& event, const Moment& moment);
  void match(uint32_t run, KeyId key, const Moment& moment);
  void enforce_bound(Group& group, const Moment& moment);
  void drop(Group& group, uint32_t before, uint32_t run);
  uint32_t add(Group& group);
  void capture(uint32_t run, const Step& step, const Event& event);
  void start_deadline(Group& group, KeyId key, uint32_t run, int64_t t);
  void queue(KeyId key, int64_t due);
  const Value* frame(uint32_t run, KeyId key);
  bool slots_inside() const { return plan_.slots.size() <= kSlotsInside; }
  const Value* slots(uint32_t run) const {
    return slots_inside() ? runs_[run].slots : slots_.data() + size_t{run} * plan_.slots.size();
  }
  Value* slots(uint32_t run) {
    return slots_inside() ? runs_[run].slots : slots_.data() + size_t{run} * plan_.slots.size();
  }

  const RuleContext& context_;
  const PatternPlan& plan_;
  Results& results_;
  const bool every_;
  std::vector<Step> steps_;
  std::vector<Value> fresh_slots_;
  std::vector<Value> key_;
  std::vector<Value> frame_;  // Frame::kRun of the run at work
  std::vector<Group> groups_;
  std::vector<Run> runs_;
  std::vector<Value> slots_;  // captured values by run, when they are more
  uint32_t free_ = kNone;     // list of runs that are none
  size_t held_runs_ = 0;
  uint64_t last_age_ = 0;
};

ChainMachine::ChainMachine(const RuleContext& context, Results& results)
    : context_(context),
      plan_(*context.plan.pattern),
      results_(results),
      every_(plan_.nodes[plan_.nodes[0].parts[0]].every),
      fresh_slots_(plan_.slots.size()),
      key_(context.plan.keys.size()),
      frame_(key_.size() + plan_.slots.size()) {
  for (const uint16_t part : plan_.nodes[0].parts) {
    const PatternNode& node = plan_.nodes[part];
    Step& step = steps_.emplace_back();
    step.stream = node.stream;
    step.filter = &node.filter;
    step.reads_run = std::ranges::any_of(node.filter.nodes, [](const Node& n) {
      return n.op == Op::kLoad && n.a == static_cast<uint16_t>(Frame::kRun);
    });
    for (const uint32_t slot : node.slots) {
      const bool count = plan_.slots[slot].kind == CaptureKind::kCount;
      step.captures.push_back({slot, plan_.slots[slot].column, count});
      if (count) {
        fresh_slots_[slot] = Value::of_int(0);
      }
    }
  }
}

// ---- events

KeyId ChainMachine::admit(const Event& event, const Moment& moment, bool& is_new) {
  const auto use = std::ranges::find(context_.plan.streams, event.stream, &StreamUse::stream);
  LAMBDA_ASSERT(use != context_.plan.streams.end());
  for (size_t i = 0; i < key_.size(); ++i) {
    key_[i] = event.columns[use->keys[i].slot];
    if (key_[i].is_null()) {
      ++context_.counters.null_keys;
      return kNoKey;
    }
  }
  const auto found = context_.keys.find_or_add(key_.data(), event.timeline);
  if (!found) {
    ++context_.counters.keys_rejected;
    context_.host.limit(Bound::kMaxKeys, context_.plan.options.max_keys, moment);
    return kNoKey;
  }
  is_new = found->is_new;
  if (is_new) {
    reset(found->id);
    results_.reset(found->id);
  }
  if (groups_.size() <= found->id) {
    groups_.resize(std::max<size_t>(found->id + 1, context_.keys.id_end()));
  }
  Group& group = groups_[found->id];
  if (!group.known) {
    group.known = true;
    group.waits = true;
  }
  return found->id;
}

const Value* ChainMachine::frame(uint32_t run, KeyId key) {
  Value* captured = std::copy_n(context_.keys.values(key), key_.size(), frame_.data());
  std::copy_n(run == kNone ? fresh_slots_.data() : slots(run), plan_.slots.size(), captured);
  return frame_.data();
}

bool ChainMachine::matches(const Step& step, uint32_t run, KeyId key, const Event& event) {
  if (step.stream != event.stream || step.filter->empty()) {
    return step.stream == event.stream;
  }
  Frames frames;
  frames[Frame::kEvent] = event.columns;
  frames[Frame::kRun] = step.reads_run ? frame(run, key) : nullptr;
  return context_.evaluator.is_true(*step.filter, frames);
}

void ChainMachine::on_event(const Event& event, const Moment& moment) {
  bool is_new = false;
  const KeyId key = admit(event, moment, is_new);
  if (key == kNoKey) {
    return;
  }
  const bool may_begin = matches(steps_[0], kNone, key, event);
  if (context_.plan.alert && may_begin) {
    results_.resolve(moment, key);
  }
  Group& group = groups_[key];
  const bool was_idle = group.is_idle();
  const bool begins = group.waits && may_begin;
  uint32_t before = kNone;
  for (uint32_t run = group.first; run != kNone;) {
    const uint32_t next = runs_[run].next;
    const Step& step = steps_[runs_[run].step];
    if (matches(step, run, key, event)) {
      capture(run, step, event);
      if (++runs_[run].step == steps_.size()) {
        match(run, key, moment);
        drop(group, before, run);
        run = next;
        continue;
      }
      if (plan_.per_step) {
        start_deadline(group, key, run, moment.t);
      }
    }
    before = run;
    run = next;
  }
  if (begins) {
    begin(key, event, moment);
  }
  if (is_new || was_idle != group.is_idle() || context_.plan.alert) {
    context_.keys.set_idle(key, group.is_idle() && results_.is_idle(key));
  }
}

// The event is the first of a run.
void ChainMachine::begin(KeyId key, const Event& event, const Moment& moment) {
  if (state_bytes() >= context_.plan.options.max_state_bytes) {
    ++context_.counters.state_dropped;
    context_.host.limit(Bound::kMaxState, context_.plan.options.max_state_bytes, moment);
    return;
  }
  Group& group = groups_[key];
  const uint32_t run = add(group);
  Value* captured = slots(run);
  for (size_t slot = 0; slot < fresh_slots_.size(); ++slot) {
    captured[slot] = fresh_slots_[slot];
  }
  runs_[run].step = 1;
  runs_[run].age = ++last_age_;
  runs_[run].deadline = cep::Run::kNever;
  capture(run, steps_[0], event);
  start_deadline(group, key, run, moment.t);
  group.waits = every_;
  enforce_bound(group, moment);
}

void ChainMachine::capture(uint32_t run, const Step& step, const Event& event) {
  Value* into = slots(run);
  for (const Capture& capture : step.captures) {
    into[capture.slot] = capture.count ? Value::of_int(1) : event.columns[capture.column];
  }
}

void ChainMachine::match(uint32_t run, KeyId key, const Moment& moment) {
  const auto items = results_.plain_items();
  if (!items.empty() && context_.plan.where.empty() && !context_.host.is_read()) {
    if (Value* fields = context_.host.row(moment, key, items.size()); fields != nullptr) {
      const size_t keys = key_.size();
      for (const Node& item : items) {  // several rows of one event keep the order in which they are added
        const uint32_t at = item.immediate;
        *fields++ = at < keys ? context_.keys.values(key)[at] : slots(run)[at - keys];
      }
    }
    return;
  }
  Frames frames;
  frames[Frame::kRun] = frame(run, key);
  if (context_.evaluator.is_true(context_.plan.where, frames)) {
    results_.row(moment, key, frames, 0, runs_[run].age);
  }
}

// At most max_runs (47).
void ChainMachine::enforce_bound(Group& group, const Moment& moment) {
  const uint64_t max = context_.plan.options.max_runs;
  while (group.count > max) {
    uint32_t before = kNone;
    uint32_t victim = group.first;
    if (context_.plan.options.on_limit != OnLimit::kOldest) {
      const uint32_t place = group.count - (context_.plan.options.on_limit == OnLimit::kReject ? 1 : 2);
      for (uint32_t i = 0; i < place; ++i) {
        before = victim;
        victim = runs_[victim].next;
      }
    }
    drop(group, before, victim);
    ++context_.counters.runs_dropped;
    context_.host.limit(Bound::kMaxRuns, max, moment);
  }
}

// ---- the lists

uint32_t ChainMachine::add(Group& group) {
  uint32_t run = free_;
  if (run == kNone) {
    run = static_cast<uint32_t>(runs_.size());
    runs_.emplace_back();
    slots_.resize(slots_.size() + (slots_inside() ? 0 : plan_.slots.size()));
  } else {
    free_ = runs_[run].next;
  }
  runs_[run].next = kNone;
  (group.last == kNone ? group.first : runs_[group.last].next) = run;
  group.last = run;
  ++group.count;
  ++held_runs_;
  return run;
}

// `before`: the one ahead of it in the list, or kNone.
void ChainMachine::drop(Group& group, uint32_t before, uint32_t run) {
  (before == kNone ? group.first : runs_[before].next) = runs_[run].next;
  group.last = group.last == run ? before : group.last;
  --group.count;
  --held_runs_;
  runs_[run].next = free_;
  free_ = run;
}

// ---- time

void ChainMachine::start_deadline(Group& group, KeyId key, uint32_t run, int64_t t) {
  if (!plan_.within_ms) {
    return;
  }
  const int64_t due = t + *plan_.within_ms;
  runs_[run].deadline = due;
  if ((!group.deadline.armed() || due < group.deadline.due) && group.deadline.arm(due)) {
    queue(key, due);
  }
}

void ChainMachine::queue(KeyId key, int64_t due) {
  Item item;
  item.key = key;
  item.timeline = context_.keys.timeline(key);
  item.place = Place::kTimer;
  item.owner = Owner::kMachine;
  item.time = due;
  item.rank = Rank::kExpiry;
  context_.host.at_horizon(item);
}

void ChainMachine::on_item(const Item& item, const Moment& moment) {
  if (item.key >= groups_.size()) {
    return;
  }
  Group& group = groups_[item.key];
  switch (group.deadline.on_item(item.time)) {
    case LazyTimer::Came::kNothing:
      return;
    case LazyTimer::Came::kQueueAgain:
      queue(item.key, group.deadline.due);
      return;
    case LazyTimer::Came::kDue:
      break;
  }
  int64_t next_due = cep::Run::kNever;
  uint32_t before = kNone;
  for (uint32_t run = group.first; run != kNone;) {
    const uint32_t next = runs_[run].next;
    const int64_t deadline = runs_[run].deadline;
    if (deadline <= moment.t) {
      drop(group, before, run);
      ++context_.counters.runs_expired;
    } else {
      next_due = next_due == cep::Run::kNever ? deadline : std::min(next_due, deadline);
      before = run;
    }
    run = next;
  }
  if (next_due != cep::Run::kNever && group.deadline.arm(next_due)) {
    queue(item.key, next_due);
  }
}

// ---- state

void ChainMachine::save(StateWriter& out) const {
  out.u64(last_age_);
  out.u32(static_cast<uint32_t>(groups_.size()));
  for (const Group& group : groups_) {
    out.flag(group.known);
    out.flag(group.waits);
    group.deadline.save(out);
    out.u32(group.count);
    for (uint32_t run = group.first; run != kNone; run = runs_[run].next) {
      out.u32(runs_[run].step);
      out.u64(runs_[run].age);
      out.i64(runs_[run].deadline);
      for (size_t slot = 0; slot < plan_.slots.size(); ++slot) {
        out.value(slots(run)[slot]);
      }
    }
  }
}

void ChainMachine::load(StateReader& in) {
  last_age_ = in.u64();
  groups_.assign(in.count(22), {});
  runs_.clear();
  slots_.clear();
  free_ = kNone;
  held_runs_ = 0;
  for (Group& group : groups_) {
    group.known = in.flag();
    group.waits = in.flag();
    group.deadline.load(in);
    const size_t count = in.count(20 + plan_.slots.size());
    for (size_t i = 0; i < count; ++i) {
      const uint32_t run = add(group);
      runs_[run].step = in.u32();
      runs_[run].age = in.u64();
      runs_[run].deadline = in.i64();
      for (size_t slot = 0; slot < plan_.slots.size(); ++slot) {
        slots(run)[slot] = in.value();
      }
      if (runs_[run].step == 0 || runs_[run].step >= steps_.size()) {
        in.refuse();
        return;
      }
    }
  }
}

}  // namespace

bool is_chain(const RulePlan& plan) {
  if (!plan.pattern) {
    return false;
  }
  const PatternPlan& pattern = *plan.pattern;
  const PatternNode& root = pattern.nodes[0];
  const bool flat = root.parts.size() >= 2 && pattern.nodes.size() == root.parts.size() + 1 && !root.every &&
                    pattern.skip == ast::Skip::kNone && std::ranges::find(root.strict, true) == root.strict.end();
  const auto is_step = [&](uint16_t part) {
    const PatternNode& node = pattern.nodes[part];
    return node.kind == ast::StepKind::kEvent && !node.counted && (!node.every || part == root.parts[0]);
  };
  const auto is_simple = [](const CaptureSlot& slot) {
    return slot.kind == CaptureKind::kLast || slot.kind == CaptureKind::kFirst || slot.kind == CaptureKind::kCount ||
           (slot.kind == CaptureKind::kElement && slot.element == 0);
  };
  return flat && std::ranges::all_of(root.parts, is_step) && std::ranges::all_of(pattern.slots, is_simple);
}

std::unique_ptr<Machine> make_chain_machine(const RuleContext& context, Results& results) {
  return std::make_unique<ChainMachine>(context, results);
}

}  // namespace lambda::cep
