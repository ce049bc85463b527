#include "cep/language/binder.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "cep/language/binder_state.h"

namespace lambda::cep {
namespace {

using ast::Expr;

constexpr size_t kColumnsMax = 1024;  // of a stream, table or rule
constexpr size_t kKeysMax = 16;

bool is_free(const ast::Name& name, const Catalog& catalog, Diagnostics& errors) {
  const StreamSchema* stream = catalog.find_stream(name.text);
  if (stream == nullptr && catalog.find_table(name.text) == nullptr) {
    return true;
  }
  const char* what = stream == nullptr ? "table" : stream->rule ? "rule" : "stream";
  errors.push_back({name.at, std::string("there is a ") + what + " " + name.text + " already"});
  return false;
}

// Columns of a stream or table; `key`: the one declared KEY, or -1.
std::vector<ColumnSchema> bind_columns(const std::vector<ast::Column>& columns, int& key, Diagnostics& errors) {
  std::vector<ColumnSchema> out;
  key = -1;
  for (const ast::Column& column : columns) {
    if (std::ranges::find(out, column.name.text, &ColumnSchema::name) != out.end()) {
      errors.push_back({column.name.at, "there are two columns " + column.name.text});
    }
    if (column.key && key >= 0) {
      errors.push_back({column.name.at, "only one column can be the KEY"});
    }
    key = column.key ? static_cast<int>(out.size()) : key;
    out.push_back({column.name.text, column.type});
  }
  if (columns.size() > kColumnsMax) {
    errors.push_back({columns[kColumnsMax].name.at, "more than " + std::to_string(kColumnsMax) + " columns"});
  }
  return out;
}

bool row_knows(Scope& scope, const Expr& expr) {
  return static_cast<RowScope&>(scope).find(expr).kind != Resolved::Kind::kUnknown;
}

// Binds one rule over a stream, with or without a table; ANTI JOIN and PATTERN are told apart by `source`.
class RuleBinder {
 public:
  RuleBinder(const ast::CreateRule& rule, const Catalog& catalog, Symbols& symbols, Diagnostics& errors)
      : rule_(rule), catalog_(catalog), symbols_(symbols), errors_(errors) {}

  std::optional<RulePlan> run() {
    const size_t errors_before = errors_.size();
    plan_.name = rule_.name.text;
    plan_.at = rule_.name.at;
    plan_.priority = rule_.priority;
    plan_.options = bind_options(rule_.options, errors_);
    plan_.actions = bind_actions(rule_.actions, errors_);
    plan_.prints = rule_.has_do;
    plan_.source = rule_.source.kind;
    (void)is_free(rule_.name, catalog_, errors_);
    switch (rule_.source.kind) {
      case ast::SourceKind::kStream:
        bind_over_stream();
        break;
      case ast::SourceKind::kAntiJoin:
        bind_over_table();
        break;
      case ast::SourceKind::kPattern:
        bind_over_pattern();
        break;
    }
    return errors_.size() == errors_before ? std::optional(std::move(plan_)) : std::nullopt;
  }

 private:
  void fail(Position at, std::string text) { errors_.push_back({at, std::move(text)}); }

  void bind_over_stream() {
    const StreamSchema* stream = need_stream(rule_.source.stream);
    const TableSchema* table = rule_.source.table ? need_table(*rule_.source.table) : nullptr;
    if (stream == nullptr || (rule_.source.table && table == nullptr)) {
      return;
    }
    const auto name_of = [](const std::optional<ast::Name>& alias, const std::string& name) {
      return alias ? alias->text : name;
    };
    RowScope rows(stream, name_of(rule_.source.stream_alias, stream->name), table,
                  table == nullptr ? "" : name_of(rule_.source.table_alias, table->name));
    plan_.streams.push_back({stream->id, {}});
    if (table != nullptr) {
      plan_.table = bind_join(rule_.source, rows, symbols_, errors_);
    }
    if (rule_.where) {
      plan_.where = bind_condition(*rule_.where, "WHERE", rows, symbols_, errors_);
    }
    bind_keys(rule_.partition_by, rows);
    bind_keys(rule_.group_by, rows);
    if (needs_group()) {
      bind_window();
      GroupScope group(rows, plan_, symbols_);
      // GroupScope looks keys up first, which row_knows() does not see; what the rows know it knows or refuses.
      bind_results(group, &rows, group_knows_);
    } else {
      if (!rule_.group_by.empty()) {
        fail(rule_.group_by[0].at, "GROUP BY needs a WINDOW or an aggregate; PARTITION BY is meant, perhaps");
      }
      bind_results(rows, &rows, &row_knows);
    }
    set_horizon();
  }

  void bind_over_pattern() {
    std::vector<const Expr*> filters;
    std::map<std::string, uint32_t> aliases;
    const size_t errors_before = errors_.size();
    plan_.pattern =
        bind_pattern_tree(rule_.source.pattern, plan_.options.max_runs_given, catalog_, filters, aliases, errors_);
    refuse_window("PATTERN");
    if (rule_.select_star) {
      fail(rule_.select_at, "SELECT * has no meaning over PATTERN; name the items");
    }
    if (errors_.size() != errors_before) {
      return;
    }
    bind_pattern_keys(rule_.partition_by, catalog_, plan_, errors_);
    if (errors_.size() != errors_before) {
      return;
    }
    PatternScope scope(catalog_, plan_, std::move(aliases));
    for (size_t i = 0; i < filters.size(); ++i) {
      if (filters[i] != nullptr) {
        scope.set_step(static_cast<int>(i));
        plan_.pattern->nodes[i].filter = bind_condition(*filters[i], "a step's filter", scope, symbols_, errors_);
      }
    }
    scope.set_step(-1);
    if (rule_.where) {
      plan_.where = bind_condition(*rule_.where, "WHERE", scope, symbols_, errors_);
    }
    plan_.pattern->emit_final = rule_.emit && rule_.emit->kind == ast::EmitKind::kFinal;
    bind_results(
        scope, nullptr, +[](Scope& names, const Expr& expr) { return static_cast<PatternScope&>(names).knows(expr); });
    set_horizon();
  }

  // FROM TABLE .. ANTI JOIN: rows of the table whose key is silent (40).
  void bind_over_table() {
    const StreamSchema* stream = need_stream(rule_.source.stream);
    const TableSchema* table = need_table(*rule_.source.table);
    refuse_window("ANTI JOIN");
    for (const ast::Key& key : rule_.partition_by) {
      fail(key.at, "the key of ANTI JOIN is the table's");
    }
    if (rule_.select_star) {
      fail(rule_.select_at, "SELECT * has no meaning over JOIN; name the items");
    }
    if (stream == nullptr || table == nullptr) {
      return;
    }
    const ColumnSchema& key = table->columns[static_cast<size_t>(table->key_column)];
    const Expr* on = rule_.source.on.get();
    if (on != nullptr && (on->kind != ast::ExprKind::kColumn || !on->qualifier.empty() || on->name != key.name)) {
      fail(on->at, "ON takes the KEY of " + table->name + " here, which is " + key.name);
      return;
    }
    const int column = stream->find(key.name);
    if (column < 0 || stream->columns[static_cast<size_t>(column)].type != key.type) {
      fail(on != nullptr ? on->at : rule_.source.stream.at, stream->name + " needs a column " + key.name + " that is " +
                                                                type_name(key.type) + ", the KEY of " + table->name);
      return;
    }
    plan_.silence_ms = rule_.source.within_ms;
    plan_.table = TableUse{table->id, {}, {}};
    plan_.keys.push_back(key);
    plan_.streams.push_back({stream->id, {{Frame::kEvent, static_cast<uint32_t>(column)}}});
    static const StreamSchema kNoEvent;  // there is none: that is what the rule is about
    RowScope rows(&kNoEvent, "", table, rule_.source.table_alias ? rule_.source.table_alias->text : table->name);
    if (rule_.where) {
      plan_.where = bind_condition(*rule_.where, "WHERE", rows, symbols_, errors_);
    }
    bind_results(rows, &rows, &row_knows);
    // The key that is joined by is the rule's: a heartbeat must not wait for other devices.
    plan_.horizon = column == stream->device_column ? HorizonClass::kDevice : HorizonClass::kSite;
  }

  void refuse_window(const char* over) {
    const auto refuse = [&](Position at, const char* what) {
      fail(at, std::string(what) + " has no meaning over " + over + "; read this rule from another one");
    };
    if (rule_.window) {
      refuse(rule_.window->at, "WINDOW");
    }
    if (!rule_.group_by.empty()) {
      refuse(rule_.group_by[0].at, "GROUP BY");
    }
  }

  const StreamSchema* need_stream(const ast::Name& name) {
    const StreamSchema* stream = catalog_.find_stream(name.text);
    if (stream == nullptr) {
      const bool table = catalog_.find_table(name.text) != nullptr;
      fail(name.at, table ? name.text + " is a table, expected a stream"
                          : "unknown stream " + name.text + name_hint(name.text, catalog_.stream_names()));
    }
    return stream;
  }
  const TableSchema* need_table(const ast::Name& name) {
    const TableSchema* table = catalog_.find_table(name.text);
    if (table == nullptr) {
      fail(name.at, "unknown table " + name.text + name_hint(name.text, catalog_.table_names()));
    }
    return table;
  }

  bool needs_group() const {
    const auto has = [](const ast::ExprPtr& expr) { return expr && has_aggregate(*expr); };
    return rule_.window || has(rule_.having) || (rule_.alert && (has(rule_.alert->on) || has(rule_.alert->clear))) ||
           std::ranges::any_of(rule_.items, [&](const ast::Item& item) { return has(item.expr); }) ||
           std::ranges::any_of(rule_.order_by, [&](const ast::OrderItem& item) { return has(item.expr); });
  }

  void bind_keys(const std::vector<ast::Key>& keys, RowScope& rows) {
    for (const ast::Key& key : keys) {
      if (key.columns.size() > 1) {
        fail(key.at, "a key of several streams has a meaning over PATTERN only");
        continue;
      }
      const Resolved found = rows.column(*key.columns[0], errors_);
      if (found.kind != Resolved::Kind::kSlot) {
        continue;
      }
      const std::string name = key.as ? key.as->text : key.columns[0]->name;
      const auto same = [&](const KeySource& source) {
        return source.frame == found.frame && source.slot == found.slot;
      };
      if (std::ranges::any_of(plan_.streams[0].keys, same)) {
        continue;  // the union of PARTITION BY and GROUP BY (34)
      }
      if (std::ranges::find(plan_.keys, name, &ColumnSchema::name) != plan_.keys.end()) {
        fail(key.at, "there are two keys " + name + "; give one another name with AS");
      }
      plan_.keys.push_back({name, found.type});
      plan_.streams[0].keys.push_back({found.frame, found.slot});
    }
    if (plan_.keys.size() > kKeysMax) {
      fail(keys[0].at, "more than " + std::to_string(kKeysMax) + " keys");
    }
  }

  void bind_window() {
    WindowPlan window;
    if (rule_.window) {
      const ast::Window& w = *rule_.window;
      window.kind = w.kind;
      window.size = w.size;
      window.step = w.step.value_or(w.size);
      window.session_max = w.size_max.value_or(0);
      if (w.kind == ast::WindowKind::kHop && window.step > window.size) {
        fail(w.at, "the step of HOP must not be longer than the window");
      }
      constexpr int64_t kPanesMax = 10'000;
      if (w.kind == ast::WindowKind::kHop && window.size / window.step > kPanesMax) {
        fail(w.at, "a HOP window has at most " + std::to_string(kPanesMax) + " steps");
      }
    }
    plan_.window = std::move(window);
  }

  void bind_results(Scope& scope, const RowScope* rows, bool (*knows)(Scope&, const Expr&)) {
    bind_items(scope, rows);
    ItemScope with_items(scope, rule_, knows);
    if (rule_.having) {
      plan_.having = bind_condition(*rule_.having, "HAVING", with_items, symbols_, errors_);
    }
    bind_order(with_items);
    if (rule_.alert) {
      bind_alert(with_items);
    }
    bind_emit();
    if (plan_.window) {
      fix_window_slots();
    }
  }

  static inline const auto group_knows_ = +[](Scope& scope, const Expr& expr) {
    Diagnostics ignored;
    return static_cast<GroupScope&>(scope).column(expr, ignored).kind == Resolved::Kind::kSlot;
  };

  void bind_items(Scope& scope, const RowScope* rows) {
    if (rule_.select_star) {
      if (plan_.table || rule_.source.table || plan_.window) {
        fail(rule_.select_at, "SELECT * has no meaning over JOIN or windows; name the items");
        return;
      }
      const auto& columns = rows->stream().columns;
      for (uint32_t i = 0; i < columns.size(); ++i) {
        Program load;
        load.nodes.push_back({Op::kLoad, columns[i].type, static_cast<uint16_t>(Frame::kEvent), 0, i});
        plan_.items.push_back({columns[i].name, columns[i].type, std::move(load)});
      }
      return;
    }
    std::set<std::string> names;
    for (const ast::Item& item : rule_.items) {
      Program program = bind_expression(*item.expr, scope, symbols_, errors_);
      const std::string name = item_name(item);
      if (!names.insert(name).second) {
        fail(item.expr->at, "there are two items " + name + "; give one another name with AS");
      }
      const Type type = program.type();
      plan_.items.push_back({name, type, std::move(program)});
    }
    if (rule_.items.size() > kColumnsMax) {
      fail(rule_.select_at, "more than " + std::to_string(kColumnsMax) + " items");
    }
  }

  void bind_order(Scope& scope) {
    const bool window_ends =
        rule_.window && (rule_.window->kind == ast::WindowKind::kTumble || rule_.window->kind == ast::WindowKind::kHop);
    if (!rule_.order_by.empty() && !window_ends) {
      fail(rule_.order_by[0].expr->at, "ORDER BY orders the rows of a window's end; it needs WINDOW TUMBLE or HOP");
    }
    for (const ast::OrderItem& item : rule_.order_by) {
      plan_.order_by.push_back({bind_expression(*item.expr, scope, symbols_, errors_), item.descending});
    }
    if (!rule_.limit) {
      return;
    }
    if (!window_ends) {
      fail(rule_.limit->at, "LIMIT picks among the rows of a window's end; it needs WINDOW TUMBLE or HOP");
    }
    LimitPlan limit{static_cast<uint64_t>(rule_.limit->count), {}};
    if (rule_.limit->per && window_ends) {
      limit.per = bind_per(*rule_.limit->per, scope);
    }
    plan_.limit = std::move(limit);
  }

  // A key, a SELECT item, or another column: then its last value in the group.
  Program bind_per(const ast::Name& per, Scope& scope) {
    Expr name;
    name.kind = ast::ExprKind::kColumn;
    name.at = per.at;
    name.name = name.text = per.text;
    const auto called = [&](const ast::Item& item) { return item_name(item) == per.text; };
    const bool key = std::ranges::find(plan_.keys, per.text, &ColumnSchema::name) != plan_.keys.end();
    if (key || std::ranges::any_of(rule_.items, called)) {
      return bind_expression(name, scope, symbols_, errors_);
    }
    Expr last;
    last.kind = ast::ExprKind::kCall;
    last.at = per.at;
    last.name = "last";
    last.text = "last(" + per.text + ")";
    last.args.push_back(std::make_unique<Expr>(std::move(name)));
    return bind_expression(last, scope, symbols_, errors_);
  }

  void bind_alert(Scope& scope) {
    const ast::Alert& alert = *rule_.alert;
    AlertPlan out;
    if (alert.on) {
      out.on = bind_condition(*alert.on, "ALERT ON", scope, symbols_, errors_);
    } else if (!alert.clear && !alert.remind_ms) {
      fail(alert.at, "ALERT needs ON, CLEAR or REMIND");
    }
    if (alert.clear) {
      out.clear = bind_condition(*alert.clear, "CLEAR", scope, symbols_, errors_);
    }
    out.for_ms = alert.for_ms;
    out.for_samples = alert.for_samples;
    out.clear_for_ms = alert.clear_for_ms;
    out.remind_ms = alert.remind_ms;
    plan_.alert = std::move(out);
  }

  void bind_emit() {
    if (!rule_.emit) {
      return;
    }
    const ast::Emit& emit = *rule_.emit;
    if (emit.kind == ast::EmitKind::kEarly && (!rule_.window || rule_.window->kind == ast::WindowKind::kSlide ||
                                               rule_.window->kind == ast::WindowKind::kRows)) {
      fail(emit.at, "EMIT EARLY shows open windows; it needs WINDOW TUMBLE, HOP or SESSION");
    }
    if (rule_.alert && emit.kind != ast::EmitKind::kFinal) {
      fail(emit.at, "EMIT acts on rows, and a rule with ALERT prints none");
    }
    plan_.emit = {emit.kind, emit.every_ms};
  }

  // window_start() and window_end() come behind the aggregates, whose number is known only now.
  void fix_window_slots() {
    const auto fix = [&](Program& program) {
      for (Node& node : program.nodes) {
        if (node.op == Op::kLoad && node.a == static_cast<uint16_t>(Frame::kGroup) &&
            node.immediate >= GroupScope::kStartSlot) {
          node.immediate = plan_.window->start_slot(plan_.keys.size()) + (node.immediate - GroupScope::kStartSlot);
        }
      }
    };
    for (ItemPlan& item : plan_.items) {
      fix(item.program);
    }
    for (OrderPlan& order : plan_.order_by) {
      fix(order.program);
    }
    fix(plan_.having);
    if (plan_.limit) {
      fix(plan_.limit->per);
    }
    if (plan_.alert) {
      fix(plan_.alert->on);
      fix(plan_.alert->clear);
    }
  }

  // Sentence 6.
  void set_horizon() {
    const bool stateless = !plan_.pattern && !plan_.window && !plan_.alert && plan_.order_by.empty() && !plan_.limit;
    if (stateless) {
      plan_.horizon = HorizonClass::kStateless;
      return;
    }
    const auto has_device = [&](const StreamUse& use) {
      const int device = catalog_.stream(use.stream).device_column;
      return device >= 0 && std::ranges::any_of(use.keys, [&](const KeySource& key) {
               return key.frame == Frame::kEvent && key.slot == static_cast<uint32_t>(device);
             });
    };
    const bool by_device = plan_.order_by.empty() && !plan_.limit && std::ranges::all_of(plan_.streams, has_device);
    plan_.horizon = by_device ? HorizonClass::kDevice : HorizonClass::kSite;
  }

  const ast::CreateRule& rule_;
  const Catalog& catalog_;
  Symbols& symbols_;
  Diagnostics& errors_;
  RulePlan plan_;
};

}  // namespace

bool bind_stream(const ast::CreateStream& statement, Catalog& catalog, Diagnostics& errors) {
  const size_t errors_before = errors.size();
  (void)is_free(statement.name, catalog, errors);
  StreamSchema schema;
  schema.name = statement.name.text;
  int key = -1;
  schema.columns = bind_columns(statement.columns, key, errors);
  schema.device_column = key >= 0 ? key : schema.find("dev");
  if (errors.size() != errors_before) {
    return false;
  }
  catalog.add_stream(std::move(schema));
  return true;
}

bool bind_table(const ast::CreateTable& statement, Catalog& catalog, Diagnostics& errors) {
  const size_t errors_before = errors.size();
  (void)is_free(statement.name, catalog, errors);
  TableSchema schema;
  schema.name = statement.name.text;
  schema.columns = bind_columns(statement.columns, schema.key_column, errors);
  if (schema.key_column < 0 && errors.size() == errors_before) {
    errors.push_back({statement.name.at, "a table needs a KEY: write it behind the type of one column"});
  }
  if (errors.size() != errors_before) {
    return false;
  }
  catalog.add_table(std::move(schema));
  return true;
}

std::optional<RulePlan> bind_rule(const ast::CreateRule& statement, const Catalog& catalog, Symbols& symbols,
                                  Diagnostics& errors) {
  return RuleBinder(statement, catalog, symbols, errors).run();
}

StreamSchema output_schema(const RulePlan& plan) {
  StreamSchema schema;
  schema.name = plan.name;
  schema.rule = plan.id;
  for (const ItemPlan& item : plan.items) {
    schema.columns.push_back({item.name, item.type});
  }
  schema.device_column = schema.find("dev");
  return schema;
}

}  // namespace lambda::cep
