// Patterns that are a chain of single events: [EVERY] a -> b -> c, without ',', counts, NOT, AND, OR and SKIP. The same
// as pattern_machine.cpp says of them (17 to 31), with runs of a few words instead of a tree's.
//
// What costs is the memory that is waited for: a key's runs lie side by side, and an event that none of them waits for
// does not touch them.
#include <algorithm>
#include <array>

#include "cep/machine/pattern_run.h"
#include "cep/machine/results.h"

namespace lambda::cep {
namespace {

constexpr uint32_t kNone = UINT32_MAX;

class ChainMachine final : public Machine {
 public:
  ChainMachine(const RuleContext& context, Results& results);

  void on_event(const Event& event, const Moment& moment) override;
  void on_item(const Item& item, const Moment& moment) override;
  bool prefetches() const override { return key_.size() == 1; }
  void prefetch(const Batch& batch, size_t row, bool deep) const override;
  bool is_idle(KeyId key) const override {
    return key >= groups_.size() || !groups_[key].known || groups_[key].is_idle();
  }
  void reset(KeyId key) override {
    if (key < groups_.size()) {
      keep(groups_[key], 0);
      groups_[key] = {};
    }
  }
  void renumber(std::span<const KeyId> now) override { renumber_by_key(groups_, now); }
  void fit(const Moment& moment) override {
    for (KeyId key = 0; key < groups_.size(); ++key) {
      enforce_bound(groups_[key], moment);
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
  // Few captured values are with the run: one line of the cache holds it all.
  static constexpr size_t kSlotsInside = 2;
  struct alignas(64) Run {
    uint32_t step = 0;  // that it waits for
    uint64_t age = 0;   // order of beginning
    int64_t deadline = cep::Run::kNever;
    Value slots[kSlotsInside];
  };
  // A key's runs, the oldest first, are `count` places of a block of kBlockMin << size, from place `begin` on. A key
  // without runs has no block.
  static constexpr uint32_t kBlockMin = 4;
  static constexpr size_t kBlockSizes = 24;  // max_runs is far below the largest
  struct Group {
    uint32_t block = kNone;
    uint32_t begin = 0;
    uint32_t count = 0;
    uint8_t size = 0;
    uint8_t awaited = 0;  // bits of the steps that runs wait for, perhaps of more
    bool known = false;
    bool waits = false;  // for the first step
    LazyTimer deadline;  // the earliest of the runs', or earlier

    bool is_idle() const { return waits && count == 0; }
    uint32_t capacity() const { return kBlockMin << size; }
    uint32_t run(uint32_t place) const { return block + begin + place; }
  };
  static_assert(sizeof(Group) == 32);
  static uint8_t bit_of(size_t step) { return static_cast<uint8_t>(1u << std::min<size_t>(step, 7)); }

  KeyId admit(const Event& event, size_t use, const Moment& moment, bool& is_new);
  void offer(Group& group, KeyId key, const Event& event, const Moment& moment);
  bool matches(const Step& step, uint32_t run, KeyId key, const Event& event);
  void begin(KeyId key, const Event& event, const Moment& moment);
  void match(uint32_t run, KeyId key, const Moment& moment);
  void enforce_bound(Group& group, const Moment& moment);
  void drop(Group& group, uint32_t place);
  void keep(Group& group, uint32_t count);
  uint32_t add(Group& group);
  uint32_t take_block(uint8_t size);
  void move_runs(const Group& group, uint32_t to);
  void move_run(uint32_t from, uint32_t to) {
    runs_[to] = runs_[from];
    if (!slots_inside()) {
      std::copy_n(slots(from), plan_.slots.size(), slots(to));
    }
  }
  void capture(uint32_t run, const Step& step, const Event& event);
  void start_deadline(Group& group, KeyId key, uint32_t run, int64_t t);
  // Queues the look at a key's runs whose WITHIN may be over.
  auto deadline_of(KeyId key) const {
    return
        [this, key](int64_t due) { context_.host.at_horizon(context_.work(key, due, Place::kTimer, Rank::kExpiry)); };
  }
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
  std::vector<Value> slots_;                             // captured values by run, when they are more
  std::array<std::vector<uint32_t>, kBlockSizes> free_;  // blocks that nobody has
  std::vector<uint8_t> awaited_by_;  // by the rule's streams: the steps that one can take, but the first
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
  for (const StreamUse& use : context.plan.streams) {
    uint8_t steps = 0;
    for (size_t step = 1; step < steps_.size(); ++step) {
      steps |= steps_[step].stream == use.stream ? bit_of(step) : uint8_t{0};
    }
    awaited_by_.push_back(steps);
  }
}

// ---- events

KeyId ChainMachine::admit(const Event& event, size_t use, const Moment& moment, bool& is_new) {
  for (size_t i = 0; i < key_.size(); ++i) {
    key_[i] = event.columns[context_.plan.streams[use].keys[i].slot];
    if (key_[i].is_null()) {
      ++context_.counters.null_keys;
      return kNoKey;
    }
  }
  const auto found = context_.keys.find_or_add(key_.data(), event.timeline);
  if (!found) {
    context_.refuse_key(moment);
    return kNoKey;
  }
  is_new = found->is_new;
  if (is_new) {
    reset(found->id);
    results_.reset(found->id, moment);
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

void ChainMachine::prefetch(const Batch& batch, size_t row, bool deep) const {
  const auto use = std::ranges::find(context_.plan.streams, batch.stream, &StreamUse::stream);
  const Value value = batch.columns[use->keys[0].slot].at(row);
  const KeyId key = value.is_null() ? kNoKey : context_.keys.find(&value).value_or(kNoKey);
  if (key >= groups_.size()) {
    return;
  }
  const Group& group = groups_[key];
  if (!deep) {
    __builtin_prefetch(&group, 1);
    return;
  }
  if (group.block != kNone) {
    constexpr uint32_t kRunsMax = 4;
    for (uint32_t place = 0; place <= std::min(group.count, kRunsMax) && group.begin + place < group.capacity();
         ++place) {
      __builtin_prefetch(&runs_[group.run(place)], 1);
    }
  }
}

void ChainMachine::on_event(const Event& event, const Moment& moment) {
  size_t use = 0;
  while (context_.plan.streams[use].stream != event.stream) {
    ++use;
    LAMBDA_ASSERT(use < context_.plan.streams.size());
  }
  bool is_new = false;
  const KeyId key = admit(event, use, moment, is_new);
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
  if ((group.awaited & awaited_by_[use]) != 0) {
    offer(group, key, event, moment);
  }
  if (begins) {
    begin(key, event, moment);
  }
  if (is_new || was_idle != group.is_idle() || context_.plan.alert) {
    context_.keys.set_idle(key, group.is_idle() && results_.is_idle(key));
  }
}

// The event to the key's runs. Those that it completes are no more.
void ChainMachine::offer(Group& group, KeyId key, const Event& event, const Moment& moment) {
  const uint32_t first = group.run(0);
  uint32_t kept = 0;
  for (uint32_t place = 0; place < group.count; ++place) {
    const uint32_t run = first + place;
    const Step& step = steps_[runs_[run].step];
    if (matches(step, run, key, event)) {
      capture(run, step, event);
      if (++runs_[run].step == steps_.size()) {
        match(run, key, moment);
        continue;
      }
      group.awaited |= bit_of(runs_[run].step);
      if (plan_.per_step) {
        start_deadline(group, key, run, moment.t);
      }
    }
    if (kept != place) {
      move_run(run, first + kept);
    }
    ++kept;
  }
  keep(group, kept);
}

// The event is the first of a run.
void ChainMachine::begin(KeyId key, const Event& event, const Moment& moment) {
  if (!context_.may_hold_more(state_bytes(), moment)) {
    return;
  }
  Group& group = groups_[key];
  const uint32_t run = add(group);
  Value* captured = slots(run);
  for (size_t slot = 0; slot < fresh_slots_.size(); ++slot) {
    captured[slot] = fresh_slots_[slot];
  }
  runs_[run].step = 1;
  group.awaited |= bit_of(1);
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
    switch (context_.plan.options.on_limit) {
      case OnLimit::kOldest:
        drop(group, 0);
        break;
      case OnLimit::kNewest:
        drop(group, group.count - 2);
        break;
      case OnLimit::kReject:
        drop(group, group.count - 1);
        break;
    }
    ++context_.counters.runs_dropped;
    context_.say_full(Bound::kMaxRuns, max, moment);
  }
}

// ---- blocks

// Room for one more run of the group, behind the others.
uint32_t ChainMachine::add(Group& group) {
  if (group.block == kNone) {
    group.size = 0;
    group.block = take_block(0);
    group.begin = 0;
  } else if (group.begin + group.count == group.capacity()) {
    if (group.begin > group.capacity() / 2) {
      move_runs(group, group.block);
    } else {
      const uint32_t larger = take_block(static_cast<uint8_t>(group.size + 1));
      move_runs(group, larger);
      free_[group.size].push_back(group.block);
      group.block = larger;
      ++group.size;
    }
    group.begin = 0;
  }
  ++held_runs_;
  return group.run(group.count++);
}

uint32_t ChainMachine::take_block(uint8_t size) {
  LAMBDA_ASSERT(size < kBlockSizes);
  if (!free_[size].empty()) {
    const uint32_t block = free_[size].back();
    free_[size].pop_back();
    return block;
  }
  const auto block = static_cast<uint32_t>(runs_.size());
  runs_.resize(runs_.size() + (size_t{kBlockMin} << size));
  slots_.resize(slots_inside() ? 0 : runs_.size() * plan_.slots.size());
  return block;
}

// `to`: a place ahead of the runs, or another block.
void ChainMachine::move_runs(const Group& group, uint32_t to) {
  for (uint32_t place = 0; place < group.count; ++place) {
    move_run(group.run(place), to + place);
  }
}

void ChainMachine::drop(Group& group, uint32_t place) {
  if (place == 0) {
    ++group.begin;
    --group.count;
    --held_runs_;
    return;
  }
  for (uint32_t next = place + 1; next < group.count; ++next) {
    move_run(group.run(next), group.run(next - 1));
  }
  keep(group, group.count - 1);
}

// The first `count` of the group's runs.
void ChainMachine::keep(Group& group, uint32_t count) {
  held_runs_ -= group.count - count;
  group.count = count;
  if (count == 0 && group.block != kNone) {
    free_[group.size].push_back(group.block);
    group.block = kNone;
    group.begin = 0;
    group.awaited = 0;
  }
}

// ---- time

void ChainMachine::start_deadline(Group& group, KeyId key, uint32_t run, int64_t t) {
  if (!plan_.within_ms) {
    return;
  }
  const int64_t due = t + *plan_.within_ms;
  runs_[run].deadline = due;
  group.deadline.arm_earlier(due, deadline_of(key));
}

void ChainMachine::on_item(const Item& item, const Moment& moment) {
  if (item.key >= groups_.size()) {
    return;
  }
  Group& group = groups_[item.key];
  if (!group.deadline.comes_due(item.time, deadline_of(item.key))) {
    return;
  }
  int64_t next_due = cep::Run::kNever;
  uint32_t kept = 0;
  for (uint32_t place = 0; place < group.count; ++place) {
    const int64_t deadline = runs_[group.run(place)].deadline;
    if (deadline <= moment.t) {
      ++context_.counters.runs_expired;
      continue;
    }
    next_due = next_due == cep::Run::kNever ? deadline : std::min(next_due, deadline);
    if (kept != place) {
      move_run(group.run(place), group.run(kept));
    }
    ++kept;
  }
  keep(group, kept);
  if (next_due != cep::Run::kNever) {
    group.deadline.arm(next_due, deadline_of(item.key));
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
    for (uint32_t place = 0; place < group.count; ++place) {
      const uint32_t run = group.run(place);
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
  for (std::vector<uint32_t>& blocks : free_) {
    blocks.clear();
  }
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
      group.awaited |= bit_of(runs_[run].step);
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
