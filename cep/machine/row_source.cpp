#include "cep/machine/row_source.h"

#include <algorithm>

#include "cep/language/mutant.h"

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
    context_.refuse_key(moment);
    return std::nullopt;
  }
  row.key = found->id;
  row.is_new_key = found->is_new;
  return row;
}

std::span<const uint32_t> RowSource::passing(const Rows& rows) {
  const Program& where = context_.plan.where;
  std::span<const uint32_t> at = rows.at;
  if (demand_) {  // single events that do not meet it never come here, and are not counted
    at = context_.columns.select(where, demand_->node, rows, at);
  }
  context_.counters.events += at.size();
  const bool all = demand_ && demand_->node + 1u == where.nodes.size();
  return all ? at : context_.columns.select(where, rows, at);
}

// False: a null key.
bool RowSource::read_key(const Rows& rows, uint32_t row) {
  for (size_t i = 0; i < key_.size(); ++i) {
    key_[i] = rows.columns[context_.plan.streams[0].keys[i].slot].at(row);
    if (key_[i].is_null()) {
      return false;
    }
  }
  return true;
}

std::optional<KeyDirectory::Found> RowSource::key_of(const Rows& rows, uint32_t row) {
  if (!read_key(rows, row)) {
    ++context_.counters.null_keys;
    return std::nullopt;
  }
  const auto found = context_.keys.find_or_add(key_.data(), rows.timeline[row]);
  if (!found) {
    context_.host.set_line(row);
    context_.refuse_key(rows.moment(row));
  }
  return found;
}

const std::vector<KeyId>& RowSource::known_keys(const Rows& rows, std::span<const uint32_t> at) {
  known_.resize(at.size());
  evicted_ = context_.keys.evicted();
  const ColumnView* column = key_.size() == 1 ? &rows.columns[context_.plan.streams[0].keys[0].slot] : nullptr;
  if (column != nullptr && column->type == Type::kText && column->nulls == nullptr) {
    context_.keys.find_all(static_cast<const Symbol*>(column->data), at, known_.data());
  } else {
    std::ranges::fill(known_, kNoKey);
  }
  return known_;
}

std::optional<KeyId> RowSource::find_key(const Rows& rows, uint32_t row) {
  return read_key(rows, row) ? context_.keys.find(key_.data()) : std::nullopt;
}

}  // namespace lambda::cep
