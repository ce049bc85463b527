#include "cep/stream/predicate_index.h"

#include <algorithm>

namespace lambda::cep {
namespace {

using Demand = PredicateIndex::Demand;

Op mirrored(Op op) {
  switch (op) {
    case Op::kLess:
      return Op::kGreater;
    case Op::kLessEqual:
      return Op::kGreaterEqual;
    case Op::kGreater:
      return Op::kLess;
    case Op::kGreaterEqual:
      return Op::kLessEqual;
    default:
      return op;
  }
}

Value as_key(const Value& value) {
  return value.type == Type::kInt ? Value::of_double(value.number()) : value;
}

}  // namespace

std::optional<Demand> PredicateIndex::demand_at(const Program& where, uint16_t at) {
  const Node& node = where.nodes[at];
  if (node.op < Op::kEqual || node.op > Op::kGreaterEqual || node.op == Op::kNotEqual) {
    return std::nullopt;
  }
  const Node& x = where.nodes[node.a];
  const Node& y = where.nodes[node.b];
  const bool forward = x.op == Op::kLoad && y.op == Op::kConstant;
  if (!forward && !(x.op == Op::kConstant && y.op == Op::kLoad)) {
    return std::nullopt;
  }
  const Node& load = forward ? x : y;
  const Value constant = where.constants[(forward ? y : x).immediate];
  const bool usable =
      (is_number(constant) && is_exact(constant)) || (constant.type == Type::kText && node.op == Op::kEqual);
  if (load.a != static_cast<uint16_t>(Frame::kEvent) || !usable) {
    return std::nullopt;
  }
  return Demand{load.immediate, at, forward ? node.op : mirrored(node.op), constant};
}

// Of the conjuncts the first one that can be used, equalities before others.
void PredicateIndex::collect(const Program& where, uint16_t at, std::optional<Demand>& best) {
  const Node& node = where.nodes[at];
  if (node.op == Op::kAnd) {
    collect(where, node.a, best);
    collect(where, node.b, best);
  } else if (const auto found = demand_at(where, at);
             found && (!best || (found->op == Op::kEqual && best->op != Op::kEqual))) {
    best = found;
  }
}

std::optional<Demand> PredicateIndex::demand_of(const RulePlan& plan) {
  std::optional<Demand> best;
  if (!plan.where.empty() && plan.source == ast::SourceKind::kStream) {
    collect(plan.where, static_cast<uint16_t>(plan.where.nodes.size() - 1), best);
  }
  return best;
}

PredicateIndex::Column& PredicateIndex::column(uint32_t index) {
  const auto found = std::ranges::find(columns_, index, &Column::column);
  if (found != columns_.end()) {
    return *found;
  }
  columns_.emplace_back();
  columns_.back().column = index;
  return columns_.back();
}

void PredicateIndex::add(uint32_t reader, const RulePlan& plan) {
  const auto demand = demand_of(plan);
  if (!demand) {
    always_.push_back(reader);
    return;
  }
  Column& into = column(demand->column);
  if (demand->op == Op::kEqual) {
    into.equal[as_key(demand->constant)].push_back(reader);
    return;
  }
  const bool inclusive = demand->op == Op::kGreaterEqual || demand->op == Op::kLessEqual;
  const Threshold threshold{demand->constant.number(), inclusive, reader};
  const bool above = demand->op == Op::kGreater || demand->op == Op::kGreaterEqual;
  (above ? into.above : into.below).push_back(threshold);
}

void PredicateIndex::build() {
  for (Column& column : columns_) {
    std::ranges::stable_sort(column.above, {}, &Threshold::constant);
    std::ranges::stable_sort(column.below, std::ranges::greater{}, &Threshold::constant);
    if (!column.above.empty()) {
      column.least_above = column.above.front().constant;
    }
    if (!column.below.empty()) {
      column.greatest_below = column.below.front().constant;
    }
    only_thresholds_ = only_thresholds_ && column.equal.empty();
  }
  only_thresholds_ = only_thresholds_ && always_.empty();
}

void PredicateIndex::find_equal(const Column& column, const Value& value, std::vector<uint32_t>& out) {
  if (value.is_null()) {
    return;
  }
  if (const auto found = column.equal.find(as_key(value)); found != column.equal.end()) {
    out.insert(out.end(), found->second.begin(), found->second.end());
  }
}

}  // namespace lambda::cep
