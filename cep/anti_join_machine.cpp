// FROM TABLE t ANTI JOIN s WITHIN x: rows of the table whose key no event came for (40).
#include <algorithm>

#include "cep/mutant.h"
#include "cep/results.h"

namespace lambda::cep {
namespace {

class AntiJoinMachine final : public Machine {
 public:
  AntiJoinMachine(const RuleContext& context, Results& results) : context_(context), results_(results) {}

  // The silence of all rows begins.
  void on_start(const Moment& moment) override {
    const TableId table = context_.plan.table->table;
    const int key_column = context_.tables.schema(table).key_column;
    for (size_t i = 0; i < context_.tables.count(table) && !mutant(Mutant::kAntiJoinNeedsEvent); ++i) {
      const Value* row = context_.tables.row(table, i);
      const bool device = context_.plan.horizon == HorizonClass::kDevice;
      heard(row[key_column], device ? context_.host.timeline_of(row[key_column]) : kSharedTimeline, moment);
    }
  }

  void on_event(const Event& event, const Moment& moment) override {
    const Value& value = event.columns[context_.plan.streams[0].keys[0].slot];
    if (value.is_null()) {
      ++context_.counters.null_keys;
      return;
    }
    if (context_.tables.find(context_.plan.table->table, value) != nullptr) {
      if (const auto key = heard(value, event.timeline, moment)) {
        results_.resolve(moment, *key);
      }
    }
  }

  void on_item(const Item& item, const Moment& moment) override {
    if (item.key >= timers_.size()) {
      return;
    }
    LazyTimer& timer = timers_[item.key];
    switch (timer.on_item(item.time)) {
      case LazyTimer::Came::kNothing:
        return;
      case LazyTimer::Came::kQueueAgain:
        queue(item.key, timer.due);
        return;
      case LazyTimer::Came::kDue:
        break;
    }
    if (mutant(Mutant::kAntiJoinRepeats) && timer.arm(item.time + context_.plan.silence_ms)) {
      queue(item.key, timer.due);
    }
    const Value* row = context_.tables.find(context_.plan.table->table, *context_.keys.values(item.key));
    Frames frames;
    frames[Frame::kTable] = row;
    if (row != nullptr && context_.evaluator.is_true(context_.plan.where, frames)) {
      results_.row(moment, item.key, frames);
    }
  }

  bool is_idle(KeyId) const override { return false; }
  void reset(KeyId key) override {
    if (key < timers_.size()) {
      timers_[key] = {};
    }
  }
  void renumber(std::span<const KeyId> now) override { renumber_by_key(timers_, now); }
  size_t state_bytes() const override { return timers_.size() * sizeof(LazyTimer); }
  void save(StateWriter& out) const override {
    out.u32(static_cast<uint32_t>(timers_.size()));
    for (const LazyTimer& timer : timers_) {
      timer.save(out);
    }
  }
  void load(StateReader& in) override {
    timers_.assign(in.count(16), {});
    for (LazyTimer& timer : timers_) {
      timer.load(in);
    }
  }

 private:
  std::optional<KeyId> heard(const Value& value, TimelineId timeline, const Moment& moment) {
    const auto found = context_.keys.find_or_add(&value, timeline);
    if (!found) {
      ++context_.counters.keys_rejected;
      context_.say_full(Bound::kMaxKeys, context_.plan.options.max_keys, moment);
      return std::nullopt;
    }
    if (timers_.size() <= found->id) {
      timers_.resize(std::max<size_t>(found->id + 1, context_.keys.id_end()));
    }
    const int64_t from = context_.plan.options.event_time ? moment.t : moment.clock;
    if (timers_[found->id].arm(from + context_.plan.silence_ms)) {
      queue(found->id, from + context_.plan.silence_ms);
    }
    return found->id;
  }

  void queue(KeyId key, int64_t due) {
    Item item;
    item.time = due;
    item.key = key;
    item.timeline = context_.keys.timeline(key);
    item.place = Place::kTimer;
    item.rank = Rank::kAbsence;
    item.owner = Owner::kMachine;
    if (context_.plan.options.event_time) {
      context_.host.at_horizon(item);
    } else {
      context_.host.at_clock(item);
    }
  }

  const RuleContext& context_;
  Results& results_;
  std::vector<LazyTimer> timers_;  // by key: when the silence is long enough
};

}  // namespace

std::unique_ptr<Machine> make_anti_join_machine(const RuleContext& context, Results& results) {
  return std::make_unique<AntiJoinMachine>(context, results);
}

}  // namespace lambda::cep
