// FROM TABLE t ANTI JOIN s WITHIN x: rows of the table whose key no event came for (40).
#include <algorithm>

#include "cep/language/mutant.h"
#include "cep/machine/results.h"

namespace lambda::cep {
namespace {

class AntiJoinMachine final : public Machine {
 public:
  AntiJoinMachine(const RuleContext& context, Results& results) : context_(context), results_(results) {}

  // The silence of all rows begins.
  void on_start(const Moment& moment) override { list_rows(moment); }
  // That of added rows begins now. A row that is gone is silent no more, whoever was told that it was.
  void on_table(const Moment& moment) override {
    const TableId table = context_.plan.table->table;
    if (!context_.tables.is_set(table)) {
      return;  // restored, and the table comes later
    }
    for (KeyId key = 0; key < keys_.size(); ++key) {
      if (keys_[key].listed && !is_listed(key)) {
        results_.resolve(moment, key);
        (void)results_.forget(key, moment.t);  // it may have been about to fire
        keys_[key] = {};
        context_.keys.set_idle(key, true);
      }
    }
    list_rows(moment);
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

  void on_item(const Item& item, const Moment& moment) override;
  bool is_idle(KeyId key) const override { return key >= keys_.size() || !keys_[key].listed; }
  void reset(KeyId key) override {
    if (key < keys_.size()) {
      keys_[key] = {};
    }
  }
  void renumber(std::span<const KeyId> now) override { renumber_by_key(keys_, now); }
  size_t state_bytes() const override { return keys_.size() * sizeof(Key); }
  void save(StateWriter& out) const override {
    out.u32(static_cast<uint32_t>(keys_.size()));
    for (const Key& key : keys_) {
      out.flag(key.listed);
      key.timer.save(out);
    }
  }
  void load(StateReader& in) override {
    keys_.assign(in.count(17), {});
    for (Key& key : keys_) {
      key.listed = in.flag();
      key.timer.load(in);
    }
  }

 private:
  struct Key {
    bool listed = false;  // has a row
    LazyTimer timer;      // when the silence is long enough
  };

  // Queues the end of a key's silence.
  auto silence_of(KeyId key) const {
    return [this, key](int64_t due) {
      context_.at_silence_clock(context_.work(key, due, Place::kTimer, Rank::kAbsence),
                                context_.plan.options.event_time);
    };
  }

  bool is_listed(KeyId key) const {
    return context_.tables.find(context_.plan.table->table, *context_.keys.values(key)) != nullptr;
  }

  // The silence of the rows that were not there before begins.
  void list_rows(const Moment& moment) {
    const TableId table = context_.plan.table->table;
    const auto key_column = static_cast<size_t>(context_.tables.schema(table).key_column);
    const bool device = context_.plan.horizon == HorizonClass::kDevice;
    for (size_t i = 0; i < context_.tables.count(table) && !mutant(Mutant::kAntiJoinNeedsEvent); ++i) {
      const Value& value = context_.tables.row(table, i)[key_column];
      const auto known = context_.keys.find(&value);
      if (!known || *known >= keys_.size() || !keys_[*known].listed) {
        (void)heard(value, device ? context_.host.timeline_of(value) : kSharedTimeline, moment);
      }
    }
  }

  // The silence of a row's key begins anew.
  std::optional<KeyId> heard(const Value& value, TimelineId timeline, const Moment& moment) {
    const auto found = context_.keys.find_or_add(&value, timeline);
    if (!found) {
      context_.refuse_key(moment);
      return std::nullopt;
    }
    if (found->is_new) {
      reset(found->id);
      results_.reset(found->id, moment);
    }
    if (keys_.size() <= found->id) {
      keys_.resize(std::max<size_t>(found->id + 1, context_.keys.id_end()));
    }
    Key& key = keys_[found->id];
    key.listed = true;
    context_.keys.set_idle(found->id, false);
    const int64_t from = context_.plan.options.event_time ? moment.t : moment.clock;
    key.timer.arm(from + context_.plan.silence_ms, silence_of(found->id));
    return found->id;
  }

  const RuleContext& context_;
  Results& results_;
  std::vector<Key> keys_;
};

void AntiJoinMachine::on_item(const Item& item, const Moment& moment) {
  if (item.key >= keys_.size()) {
    return;
  }
  LazyTimer& timer = keys_[item.key].timer;
  if (!timer.comes_due(item.time, silence_of(item.key))) {
    return;
  }
  if (mutant(Mutant::kAntiJoinRepeats)) {
    timer.arm(item.time + context_.plan.silence_ms, silence_of(item.key));
  }
  const Value* row = context_.tables.find(context_.plan.table->table, *context_.keys.values(item.key));
  Frames frames;
  frames[Frame::kTable] = row;
  if (row != nullptr && context_.evaluator.is_true(context_.plan.where, frames)) {
    results_.row(moment, item.key, frames);
  }
}

}  // namespace

std::unique_ptr<Machine> make_anti_join_machine(const RuleContext& context, Results& results) {
  return std::make_unique<AntiJoinMachine>(context, results);
}

}  // namespace lambda::cep
