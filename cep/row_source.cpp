#include "cep/row_source.h"

#include "cep/mutant.h"

namespace lambda::cep {

std::optional<RowSource::Row> RowSource::admit(const Event& event, const Moment& moment) {
  const RulePlan& plan = context_.plan;
  Row row;
  row.frames[Frame::kEvent] = event.columns;
  if (plan.table) {
    const Value key = context_.evaluator.value(plan.table->key, row.frames);
    const Value* found = context_.tables.find(plan.table->table, key);
    if (found == nullptr && mutant(Mutant::kJoinKeepsMissing)) {
      static const std::vector<Value> nothing(1024);
      found = nothing.data();
    }
    if (found == nullptr) {
      return std::nullopt;
    }
    row.frames[Frame::kTable] = found;
    if (!context_.evaluator.is_true(plan.table->on, row.frames)) {
      return std::nullopt;
    }
  }
  if (!context_.evaluator.is_true(plan.where, row.frames)) {
    return std::nullopt;
  }
  for (size_t i = 0; i < key_.size(); ++i) {
    const KeySource& source = plan.streams[0].keys[i];
    key_[i] = row.frames[source.frame][source.slot];
    if (key_[i].is_null() && !mutant(Mutant::kNullKeyIsAKey)) {
      ++context_.counters.null_keys;
      return std::nullopt;
    }
  }
  const auto found = context_.keys.find_or_add(key_.data(), event.timeline);
  if (!found) {
    ++context_.counters.keys_rejected;
    context_.host.limit(Bound::kMaxKeys, plan.options.max_keys, moment);
    return std::nullopt;
  }
  row.key = found->id;
  row.is_new_key = found->is_new;
  return row;
}

}  // namespace lambda::cep
