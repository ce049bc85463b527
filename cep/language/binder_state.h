// What the parts of the binder share while one rule is bound. Not for others than binder*.cpp.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "cep/language/binder.h"

namespace lambda::cep {

// Names of one event, and of the table row joined to it.
class RowScope : public Scope {
 public:
  RowScope(const StreamSchema* stream, std::string stream_name, const TableSchema* table, std::string table_name)
      : stream_(stream), table_(table), stream_name_(std::move(stream_name)), table_name_(std::move(table_name)) {}

  Resolved column(const ast::Expr& expr, Diagnostics& errors) override;
  Resolved call(const ast::Expr& expr, Diagnostics& errors) override;
  std::vector<std::string> functions() const override;

  // Without errors: kUnknown when there is no such column.
  Resolved find(const ast::Expr& expr) const;
  const StreamSchema& stream() const { return *stream_; }
  const TableSchema* table() const { return table_; }

 private:
  const StreamSchema* stream_;
  const TableSchema* table_;  // may be null
  std::string stream_name_;
  std::string table_name_;
};

// Names behind the window: keys, aggregates, window_start(), window_end(); without a window the event's columns too.
class GroupScope : public Scope {
 public:
  GroupScope(RowScope& rows, RulePlan& plan, Symbols& symbols) : rows_(rows), plan_(plan), symbols_(symbols) {}

  Resolved column(const ast::Expr& expr, Diagnostics& errors) override;
  Resolved call(const ast::Expr& expr, Diagnostics& errors) override;
  std::vector<std::string> functions() const override;

  // The slots behind the aggregates are known once all aggregates are: window_start() is kStartSlot until then.
  static constexpr uint32_t kStartSlot = 1u << 30;
  static constexpr uint32_t kEndSlot = kStartSlot + 1;

 private:
  Resolved aggregate(const ast::Expr& expr, AggregateKind kind, Diagnostics& errors);

  RowScope& rows_;
  RulePlan& plan_;
  Symbols& symbols_;
  std::map<std::string, uint32_t> known_;  // text of an aggregate -> index
};

// Names over PATTERN: `alias.field`, `alias[i].field`, count(alias) and the like; bare names are keys in SELECT and the
// event under test in a step's filter (24, 25).
class PatternScope : public Scope {
 public:
  PatternScope(const Catalog& catalog, RulePlan& plan, std::map<std::string, uint32_t> aliases)
      : catalog_(catalog), plan_(plan), aliases_(std::move(aliases)) {}

  // Whose filter is read; -1: what stands behind the pattern.
  void set_step(int node) { step_ = node; }
  bool knows(const ast::Expr& expr) const;

  Resolved column(const ast::Expr& expr, Diagnostics& errors) override;
  Resolved call(const ast::Expr& expr, Diagnostics& errors) override;
  std::vector<std::string> functions() const override { return {"count", "first", "last", "sum", "avg", "min", "max"}; }

 private:
  Resolved bare(const ast::Expr& expr, Diagnostics& errors);
  Resolved captured(CaptureKind kind, const ast::Expr& expr, Diagnostics& errors);
  // The step called so; nothing and an error when there is none, or when the step at work may not name itself.
  std::optional<uint32_t> step(const std::string& alias, Position at, Diagnostics& errors);
  Resolved slot(CaptureKind kind, uint32_t node, uint32_t column, uint32_t element, Type type);

  const Catalog& catalog_;
  RulePlan& plan_;
  std::map<std::string, uint32_t> aliases_;
  int step_ = -1;
};

// Any of the above, and the names of the SELECT items for what they do not know.
class ItemScope : public Scope {
 public:
  ItemScope(Scope& inner, const ast::CreateRule& rule, bool (*knows)(Scope&, const ast::Expr&))
      : inner_(inner), rule_(rule), knows_(knows) {}

  Resolved column(const ast::Expr& expr, Diagnostics& errors) override;
  Resolved call(const ast::Expr& expr, Diagnostics& errors) override { return inner_.call(expr, errors); }
  std::vector<std::string> functions() const override { return inner_.functions(); }

 private:
  Scope& inner_;
  const ast::CreateRule& rule_;
  bool (*knows_)(Scope&, const ast::Expr&);
};

// AS name, else the column, else the text (14).
std::string item_name(const ast::Item& item);

bool is_aggregate(const std::string& function);
// Has the expression an aggregate in it?
bool has_aggregate(const ast::Expr& expr);

Options bind_options(const std::vector<ast::Option>& options, Diagnostics& errors);
std::vector<ActionPlan> bind_actions(const std::vector<ast::Action>& actions, Diagnostics& errors);

// The tree of a pattern, without filters: `filters` gets one for each node, null where there is none; `aliases` the
// names of steps. Says what would grow without bound (31) and what has no meaning (28).
PatternPlan bind_pattern_tree(const ast::Pattern& pattern, bool bounded_by_option, const Catalog& catalog,
                              std::vector<const ast::Expr*>& filters, std::map<std::string, uint32_t>& aliases,
                              Diagnostics& errors);
// PARTITION BY over PATTERN: fills plan.streams and plan.keys (33).
void bind_pattern_keys(const std::vector<ast::Key>& keys, const Catalog& catalog, RulePlan& plan, Diagnostics& errors);

// JOIN TABLE .. ON: the equality on the table's key, and the rest.
std::optional<TableUse> bind_join(const ast::Source& source, RowScope& scope, Symbols& symbols, Diagnostics& errors);

}  // namespace lambda::cep
