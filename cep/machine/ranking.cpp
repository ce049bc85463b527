#include "cep/machine/ranking.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "cep/language/mutant.h"

namespace lambda::cep {

void Ranking::add(KeyId key, const std::vector<Value>& row) {
  Frames frames;
  frames[Frame::kGroup] = row.data();
  if (!context_.evaluator.is_true(context_.plan.having, frames)) {
    return;
  }
  RankedRow& added = rows_.emplace_back(RankedRow{key, row, {}});
  for (const OrderPlan& order : context_.plan.order_by) {
    added.order.push_back(context_.evaluator.value(order.program, frames));
  }
}

std::vector<RankedRow> Ranking::take() {
  std::ranges::sort(rows_, [this](const RankedRow& x, const RankedRow& y) { return is_before(x, y); });
  const auto& limit = context_.plan.limit;
  if (!limit) {
    return std::exchange(rows_, {});
  }
  std::vector<RankedRow> kept;
  std::unordered_map<Value, uint64_t, decltype([](const Value& v) { return hash_value(v); })> taken;
  const bool per = !limit->per.empty() && !mutant(Mutant::kLimitPerIgnored);
  for (RankedRow& row : rows_) {
    Frames frames;
    frames[Frame::kGroup] = row.row.data();
    if (++taken[per ? context_.evaluator.value(limit->per, frames) : Value::null()] <= limit->count) {
      kept.push_back(std::move(row));
    }
  }
  rows_.clear();
  return kept;
}

// Ties go by ascending key; null and NaN come last in both directions.
bool Ranking::is_before(const RankedRow& x, const RankedRow& y) const {
  const Symbols& symbols = context_.evaluator.symbols();
  const auto missing = [](const Value& v) { return v.is_null() || (v.type == Type::kDouble && v.d != v.d); };
  for (size_t i = 0; i < context_.plan.order_by.size(); ++i) {
    const bool descending = context_.plan.order_by[i].descending;
    const bool x_last = missing(x.order[i]);
    const bool y_last = missing(y.order[i]);
    if (x_last != y_last) {
      return mutant(Mutant::kOrderNullFirst) && descending ? x_last : y_last;
    }
    const int order = x_last ? 0 : compare_values(x.order[i], y.order[i], symbols);
    if (order != 0) {
      return descending ? order > 0 : order < 0;
    }
  }
  const int order = context_.keys.compare(x.key, y.key, symbols);
  return mutant(Mutant::kOrderTiesDescend) ? order > 0 : order < 0;
}

}  // namespace lambda::cep
