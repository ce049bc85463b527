// What the parts of the binder share while one rule is bound. Not for others than binder*.cpp.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "cep/binder.h"

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

// JOIN TABLE .. ON: the equality on the table's key, and the rest.
std::optional<TableUse> bind_join(const ast::Source& source, RowScope& scope, Symbols& symbols, Diagnostics& errors);

}  // namespace lambda::cep
