// OPTIONS, DO and JOIN.
#include <algorithm>

#include "cep/language/binder_state.h"
#include "cep/language/parser_state.h"

namespace lambda::cep {
namespace {

using ast::Expr;
using ast::ExprKind;

constexpr int64_t kOptionMsMax = 400LL * 86'400'000;

class OptionBinder {
 public:
  explicit OptionBinder(Diagnostics& errors) : errors_(errors) {}

  void bind(const ast::Option& option, Options& out) {
    const std::string& name = option.name.text;
    if (name == "lateness") {
      duration(option, out.lateness_ms, 0);
    } else if (name == "idle") {
      duration(option, out.idle_ms, 1);
    } else if (name == "max_delay") {
      duration(option, out.max_delay_ms, 0);
    } else if (name == "keep") {
      duration(option, out.keep_ms, 0);
    } else if (name == "max_keys") {
      count(option, out.max_keys, 1'000'000);
    } else if (name == "max_runs") {
      count(option, out.max_runs, 1'000'000);
      out.max_runs_given = true;
    } else if (name == "max_state") {
      count(option, out.max_state_bytes, uint64_t{1} << 40);
    } else if (name == "late") {
      word(option, {"drop", "update", "backfill"}, [&](size_t i) { out.late = static_cast<LatePolicy>(i); });
    } else if (name == "on_limit") {
      word(option, {"oldest", "newest", "reject"}, [&](size_t i) { out.on_limit = static_cast<OnLimit>(i); });
    } else if (name == "time") {
      word(option, {"arrival", "event"}, [&](size_t i) { out.event_time = i == 1; });
    } else {
      static const std::vector<std::string> kNames = {"lateness", "idle",      "max_delay", "keep",     "max_keys",
                                                      "max_runs", "max_state", "late",      "on_limit", "time"};
      errors_.push_back({option.name.at, "unknown option " + name + name_hint(name, kNames)});
    }
  }

 private:
  void fail(const ast::Option& option, const std::string& wanted) {
    errors_.push_back({option.value_at, option.name.text + " needs " + wanted});
  }
  void duration(const ast::Option& option, int64_t& out, int64_t min) {
    const bool zero = option.is_number && option.number == 0;
    if ((!option.is_duration && !zero) || option.number < min || option.number > kOptionMsMax) {
      fail(option, min == 0 ? "a duration such as 2s, at most 400d" : "a duration above 0, at most 400d");
      return;
    }
    out = option.number;
  }
  void count(const ast::Option& option, uint64_t& out, uint64_t max) {
    if (!option.is_number || option.number < 1 || static_cast<uint64_t>(option.number) > max) {
      fail(option, "a number from 1 to " + std::to_string(max));
      return;
    }
    out = static_cast<uint64_t>(option.number);
  }
  template <class Set>
  void word(const ast::Option& option, const std::vector<std::string>& words, const Set& set) {
    const auto found = std::ranges::find(words, option.word);
    if (found == words.end() || option.is_number || option.is_duration) {
      std::string wanted = words[0];
      for (size_t i = 1; i < words.size(); ++i) {
        wanted += (i + 1 == words.size() ? " or " : ", ") + words[i];
      }
      fail(option, wanted + near_name(option.word, words));
      return;
    }
    set(static_cast<size_t>(found - words.begin()));
  }

  Diagnostics& errors_;
};

void split_conjuncts(const Expr& expr, std::vector<const Expr*>& out) {
  if (expr.kind == ExprKind::kBinary && expr.op == "AND") {
    split_conjuncts(*expr.args[0], out);
    split_conjuncts(*expr.args[1], out);
  } else {
    out.push_back(&expr);
  }
}

bool reads_table(const Expr& expr, const RowScope& scope) {
  if (expr.kind == ExprKind::kColumn) {
    const Resolved found = scope.find(expr);
    return found.kind == Resolved::Kind::kSlot && found.frame == Frame::kTable;
  }
  return std::ranges::any_of(expr.args, [&](const ast::ExprPtr& arg) { return reads_table(*arg, scope); });
}

bool is_table_key(const Expr& expr, const RowScope& scope) {
  if (expr.kind != ExprKind::kColumn) {
    return false;
  }
  const Resolved found = scope.find(expr);
  return found.kind == Resolved::Kind::kSlot && found.frame == Frame::kTable &&
         static_cast<int>(found.slot) == scope.table()->key_column;
}

}  // namespace

Options bind_options(const std::vector<ast::Option>& options, Diagnostics& errors) {
  Options out;
  std::vector<std::string> seen;
  for (const ast::Option& option : options) {
    if (std::ranges::find(seen, option.name.text) != seen.end()) {
      errors.push_back({option.name.at, "the option " + option.name.text + " stands twice"});
    }
    seen.push_back(option.name.text);
    OptionBinder(errors).bind(option, out);
  }
  return out;
}

std::vector<ActionPlan> bind_actions(const std::vector<ast::Action>& actions, Diagnostics& errors) {
  static const std::vector<std::string> kActions = {"log", "mqtt", "webhook", "exec", "live"};
  std::vector<ActionPlan> out;
  for (const ast::Action& action : actions) {
    if (std::ranges::find(kActions, action.name.text) == kActions.end()) {
      errors.push_back({action.name.at, "unknown action " + action.name.text + near_name(action.name.text, kActions) +
                                            "; there are log, mqtt, webhook, exec and live"});
    }
    ActionPlan plan{action.name.text, {}};
    for (const ast::ExprPtr& arg : action.args) {
      const bool literal = arg->kind == ExprKind::kText || arg->kind == ExprKind::kInt ||
                           arg->kind == ExprKind::kDouble || arg->kind == ExprKind::kDuration;
      if (!literal) {
        errors.push_back({arg->at, "an action takes texts, numbers and durations as they stand"});
      }
      plan.args.push_back(arg->name);
    }
    out.push_back(std::move(plan));
  }
  return out;
}

std::optional<TableUse> bind_join(const ast::Source& source, RowScope& scope, Symbols& symbols, Diagnostics& errors) {
  const size_t errors_before = errors.size();
  const TableSchema& table = *scope.table();
  TableUse out;
  out.table = table.id;
  const ColumnSchema& key = table.columns[static_cast<size_t>(table.key_column)];
  const auto need_key_type = [&](Position at) {
    const Type type = out.key.type();
    if (type == Type::kInt && key.type == Type::kDouble) {
      const auto last = static_cast<uint16_t>(out.key.nodes.size() - 1);
      out.key.nodes.push_back({Op::kToDouble, Type::kDouble, last, last, 0});
    } else if (!out.key.empty() && type != key.type) {
      errors.push_back({at, "the key " + key.name + " of " + table.name + " is " + type_name(key.type) + ", not " +
                                type_name(type)});
    }
  };
  const Expr& on = *source.on;
  if (on.kind == ExprKind::kColumn && on.qualifier.empty()) {  // ON c: stream.c = table.c
    if (on.name != key.name) {
      errors.push_back({on.at, on.name + " is not the KEY of " + table.name + ", which is " + key.name});
      return std::nullopt;
    }
    RowScope stream_only(&scope.stream(), scope.stream().name, nullptr, "");
    out.key = bind_expression(on, stream_only, symbols, errors);
    need_key_type(on.at);
    return errors.size() == errors_before ? std::optional(std::move(out)) : std::nullopt;
  }
  std::vector<const Expr*> conjuncts;
  split_conjuncts(on, conjuncts);
  for (const Expr* conjunct : conjuncts) {
    if (conjunct->kind != ExprKind::kBinary || conjunct->op != "=") {
      continue;
    }
    for (size_t side = 0; side < 2 && out.key.empty(); ++side) {
      const Expr& other = *conjunct->args[1 - side];
      if (is_table_key(*conjunct->args[side], scope) && !reads_table(other, scope)) {
        out.key = bind_expression(other, scope, symbols, errors);
        need_key_type(other.at);
      }
    }
  }
  if (out.key.empty() && errors.size() == errors_before) {
    errors.push_back({on.at, "JOIN needs an equality on the KEY of " + table.name + ", which is " + key.name});
  }
  if (conjuncts.size() > 1 && errors.size() == errors_before) {
    out.on = bind_condition(on, "ON", scope, symbols, errors);
  } else if (errors.size() == errors_before) {
    (void)bind_condition(on, "ON", scope, symbols, errors);
  }
  return errors.size() == errors_before ? std::optional(std::move(out)) : std::nullopt;
}

}  // namespace lambda::cep
