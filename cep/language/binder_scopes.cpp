#include <algorithm>
#include <cmath>

#include "cep/language/binder_state.h"
#include "cep/language/parser_state.h"

namespace lambda::cep {
namespace {

std::vector<std::string> column_names(const std::vector<ColumnSchema>& columns) {
  std::vector<std::string> names;
  for (const ColumnSchema& column : columns) {
    names.push_back(column.name);
  }
  return names;
}

constexpr std::pair<const char*, AggregateKind> kAggregates[] = {
    {"count", AggregateKind::kCount},       {"sum", AggregateKind::kSum},       {"avg", AggregateKind::kAvg},
    {"min", AggregateKind::kMin},           {"max", AggregateKind::kMax},       {"stddev", AggregateKind::kStddev},
    {"first", AggregateKind::kFirst},       {"last", AggregateKind::kLast},     {"delta", AggregateKind::kDelta},
    {"rate", AggregateKind::kRate},         {"irate", AggregateKind::kIrate},   {"deriv", AggregateKind::kDeriv},
    {"changes", AggregateKind::kChanges},   {"resets", AggregateKind::kResets}, {"p", AggregateKind::kPercentile},
    {"distinct", AggregateKind::kDistinct}, {"topk", AggregateKind::kTopk},     {"ewma", AggregateKind::kEwma},
    {"apdex", AggregateKind::kApdex}};

std::optional<AggregateKind> aggregate_of(const std::string& function) {
  const std::string name = upper_case(function);
  for (const auto& [known, kind] : kAggregates) {
    if (upper_case(known) == name) {
      return kind;
    }
  }
  return std::nullopt;
}

// Which argument is the value; the other one, if there is one, is the parameter.
size_t value_argument(AggregateKind kind) {
  return kind == AggregateKind::kPercentile || kind == AggregateKind::kTopk ? 1 : 0;
}
bool has_parameter(AggregateKind kind) {
  return kind == AggregateKind::kPercentile || kind == AggregateKind::kTopk || kind == AggregateKind::kEwma ||
         kind == AggregateKind::kApdex;
}
bool any_type(AggregateKind kind) {
  return kind == AggregateKind::kCount || kind == AggregateKind::kFirst || kind == AggregateKind::kLast ||
         kind == AggregateKind::kMin || kind == AggregateKind::kMax || kind == AggregateKind::kChanges ||
         kind == AggregateKind::kDistinct || kind == AggregateKind::kTopk;
}

Type aggregate_type(AggregateKind kind, Type argument) {
  switch (kind) {
    case AggregateKind::kCount:
    case AggregateKind::kChanges:
    case AggregateKind::kResets:
    case AggregateKind::kDistinct:
      return Type::kInt;
    case AggregateKind::kSum:
    case AggregateKind::kDelta:
    case AggregateKind::kMin:
    case AggregateKind::kMax:
    case AggregateKind::kFirst:
    case AggregateKind::kLast:
      return argument;
    case AggregateKind::kTopk:
      return Type::kList;
    default:
      return Type::kDouble;
  }
}

// Sets `parameter`; false with an error when it is out of range.
bool bind_parameter(const ast::Expr& call, AggregatePlan& plan, Diagnostics& errors) {
  const ast::Expr& given = *call.args[1 - value_argument(plan.kind)];
  const auto refuse = [&](const char* wanted) {
    errors.push_back({given.at, std::string(aggregate_name(plan.kind)) + " needs " + wanted + ", found " + given.text});
    return false;
  };
  const bool number = given.kind == ast::ExprKind::kInt || given.kind == ast::ExprKind::kDouble;
  plan.parameter = given.kind == ast::ExprKind::kDouble ? given.d : static_cast<double>(given.i);
  switch (plan.kind) {
    case AggregateKind::kPercentile:
      return (number && plan.parameter >= 0 && plan.parameter <= 1) ||
             refuse("a rank from 0 to 1 first, as p(0.95, x)");
    case AggregateKind::kTopk:
      return (given.kind == ast::ExprKind::kInt && given.i >= 1 && given.i <= 1000) ||
             refuse("a count from 1 to 1000 first, as topk(3, x)");
    case AggregateKind::kEwma:
      return (given.kind == ast::ExprKind::kDuration && given.i > 0) || refuse("a duration second, as ewma(x, 30s)");
    default:
      return (number && plan.parameter > 0) || refuse("a threshold above 0 second, as apdex(ms, 300)");
  }
}

}  // namespace

const char* aggregate_name(AggregateKind kind) {
  return std::ranges::find(kAggregates, kind, &std::pair<const char*, AggregateKind>::second)->first;
}

bool is_aggregate(const std::string& function) {
  return aggregate_of(function).has_value();
}

bool has_aggregate(const ast::Expr& expr) {
  return (expr.kind == ast::ExprKind::kCall && is_aggregate(expr.name)) ||
         std::ranges::any_of(expr.args, [](const ast::ExprPtr& arg) { return has_aggregate(*arg); });
}

Resolved RowScope::find(const ast::Expr& expr) const {
  if (expr.index != ast::Index::kNone) {
    return Resolved::unknown();
  }
  if (expr.qualifier.empty() || expr.qualifier == stream_name_) {
    const int slot = stream_->find(expr.name);
    if (slot >= 0) {
      const auto index = static_cast<uint32_t>(slot);
      return Resolved::at(Frame::kEvent, index, stream_->columns[index].type);
    }
  }
  if (table_ != nullptr && (expr.qualifier.empty() || expr.qualifier == table_name_)) {
    const int slot = table_->find(expr.name);
    if (slot >= 0) {
      const auto index = static_cast<uint32_t>(slot);
      return Resolved::at(Frame::kTable, index, table_->columns[index].type);
    }
  }
  return Resolved::unknown();
}

Resolved RowScope::column(const ast::Expr& expr, Diagnostics& errors) {
  const Resolved found = find(expr);
  if (found.kind != Resolved::Kind::kUnknown) {
    return found;
  }
  if (expr.index != ast::Index::kNone) {
    errors.push_back({expr.at, expr.text + ": elements have a meaning over PATTERN only"});
    return Resolved::error();
  }
  if (!expr.qualifier.empty() && expr.qualifier != stream_name_ && expr.qualifier != table_name_) {
    std::vector<std::string> names{stream_name_};
    if (table_ != nullptr) {
      names.push_back(table_name_);
    }
    errors.push_back({expr.at, "unknown source " + expr.qualifier + name_hint(expr.qualifier, names)});
    return Resolved::error();
  }
  std::vector<std::string> names = column_names(stream_->columns);
  std::string where = stream_name_;
  if (table_ != nullptr && expr.qualifier == table_name_) {
    names = column_names(table_->columns);
    where = table_name_;
  } else if (table_ != nullptr && expr.qualifier.empty()) {
    const auto more = column_names(table_->columns);
    names.insert(names.end(), more.begin(), more.end());
    where += (where.empty() ? "" : " and ") + table_name_;
  }
  errors.push_back({expr.at, "unknown column " + expr.name + " in " + where + name_hint(expr.name, names)});
  return Resolved::error();
}

Resolved RowScope::call(const ast::Expr& expr, Diagnostics& errors) {
  if (is_aggregate(expr.name)) {
    errors.push_back({expr.at, expr.name + " is an aggregate; it has no place here, use HAVING"});
    return Resolved::error();
  }
  const std::string name = upper_case(expr.name);
  if (name == "WINDOW_START" || name == "WINDOW_END") {
    errors.push_back({expr.at, expr.name + "() needs a WINDOW"});
    return Resolved::error();
  }
  return Resolved::unknown();
}

// Aggregates too: who mistypes one means it.
std::vector<std::string> RowScope::functions() const {
  std::vector<std::string> names{"window_start", "window_end"};
  for (const auto& [name, kind] : kAggregates) {
    names.emplace_back(name);
  }
  return names;
}

Resolved GroupScope::column(const ast::Expr& expr, Diagnostics& errors) {
  const Resolved found = rows_.find(expr);
  for (size_t i = 0; i < plan_.keys.size(); ++i) {
    const KeySource& source = plan_.streams[0].keys[i];
    const bool by_source =
        found.kind == Resolved::Kind::kSlot && found.frame == source.frame && found.slot == source.slot;
    if (by_source || (expr.qualifier.empty() && expr.index == ast::Index::kNone && expr.name == plan_.keys[i].name)) {
      return Resolved::at(Frame::kGroup, static_cast<uint32_t>(i), plan_.keys[i].type);
    }
  }
  if (!plan_.window->kind) {
    return rows_.column(expr, errors);
  }
  if (found.kind == Resolved::Kind::kUnknown) {
    return rows_.column(expr, errors);
  }
  errors.push_back({expr.at, expr.text + " has many values in a window; put it into an aggregate such as last(" +
                                 expr.text + "), or into GROUP BY"});
  return Resolved::error();
}

Resolved GroupScope::call(const ast::Expr& expr, Diagnostics& errors) {
  const std::string name = upper_case(expr.name);
  if (name == "WINDOW_START" || name == "WINDOW_END") {
    if (!plan_.window->kind || !expr.args.empty() || expr.star) {
      errors.push_back(
          {expr.at, plan_.window->kind ? expr.name + "() takes no argument" : expr.name + "() needs a WINDOW"});
      return Resolved::error();
    }
    return Resolved::at(Frame::kGroup, name == "WINDOW_START" ? kStartSlot : kEndSlot, Type::kInt);
  }
  const auto kind = aggregate_of(expr.name);
  return kind ? aggregate(expr, *kind, errors) : Resolved::unknown();
}

std::vector<std::string> GroupScope::functions() const {
  return rows_.functions();
}

Resolved GroupScope::aggregate(const ast::Expr& expr, AggregateKind kind, Diagnostics& errors) {
  const auto slot = [&](uint32_t index) {
    return Resolved::at(Frame::kGroup, plan_.window->aggregate_slot(plan_.keys.size(), index),
                        plan_.window->aggregates[index].type);
  };
  if (const auto found = known_.find(expr.text); found != known_.end()) {
    return slot(found->second);
  }
  const auto refuse = [&](Position at, std::string text) {
    errors.push_back({at, std::move(text)});
    return Resolved::error();
  };
  AggregatePlan plan;
  plan.kind = kind;
  const size_t arguments = has_parameter(kind) ? 2 : 1;
  if (expr.star ? kind != AggregateKind::kCount : expr.args.size() != arguments) {
    return refuse(expr.at,
                  expr.name + " takes " + std::to_string(arguments) + (arguments == 1 ? " argument" : " arguments"));
  }
  const bool unbounded =
      kind == AggregateKind::kPercentile || kind == AggregateKind::kDistinct || kind == AggregateKind::kTopk;
  if (unbounded && !plan_.window->kind) {
    return refuse(expr.at, expr.name + " needs a WINDOW: without one it would keep values for ever");
  }
  if (!expr.star) {
    const ast::Expr& value = *expr.args[value_argument(kind)];
    plan.argument = bind_expression(value, rows_, symbols_, errors);
    if (plan.argument.empty() || (has_parameter(kind) && !bind_parameter(expr, plan, errors))) {
      return Resolved::error();
    }
    const Type type = plan.argument.type();
    if (type != Type::kInt && type != Type::kDouble && !any_type(kind)) {
      return refuse(value.at, expr.name + " needs a number, " + value.text + " is " + type_name(type));
    }
    plan.type = aggregate_type(kind, type);
  } else {
    plan.type = Type::kInt;
  }
  const auto index = static_cast<uint32_t>(plan_.window->aggregates.size());
  plan_.window->aggregates.push_back(std::move(plan));
  known_.emplace(expr.text, index);
  return slot(index);
}

std::string item_name(const ast::Item& item) {
  if (item.as) {
    return item.as->text;
  }
  return item.expr->kind == ast::ExprKind::kColumn ? item.expr->name : item.expr->text;
}

Resolved ItemScope::column(const ast::Expr& expr, Diagnostics& errors) {
  if (expr.qualifier.empty() && !knows_(inner_, expr)) {
    for (const ast::Item& item : rule_.items) {
      if (item_name(item) == expr.name) {
        return Resolved::as(item.expr.get());
      }
    }
  }
  return inner_.column(expr, errors);
}

}  // namespace lambda::cep
