// A rule as it was written: what the parser makes and the binder reads. Every node keeps where it stands.
// Plain data, owned by its parent.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cep/language/diagnostic.h"
#include "cep/language/value.h"

namespace lambda::cep::ast {

struct Name {
  std::string text;
  Position at;
};

enum class ExprKind : uint8_t {
  kNull,
  kBool,
  kInt,
  kDouble,
  kText,
  kDuration,  // `i` is milliseconds; only as an argument of functions that take one
  kColumn,    // [qualifier [index] .] name
  kUnary,     // op "-" or "NOT"
  kBinary,    // op + - * / % = != < <= > >= AND OR
  kLike,      // args: value, pattern
  kIn,        // args: value, then the list
  kBetween,   // args: value, low, high
  kIsNull,    // args: value
  kCall,      // name(args); star: count(*)
};

// Which captured element `a[..].f` means.
enum class Index : uint8_t { kNone, kNumber, kLast };

struct Expr {
  ExprKind kind = ExprKind::kNull;
  Position at;
  std::string text;  // as written, without blanks: the name of a SELECT item that has none
  std::string op;
  bool negated = false;  // NOT LIKE, NOT IN, NOT BETWEEN, IS NOT NULL
  bool star = false;
  bool b = false;
  int64_t i = 0;
  double d = 0;
  std::string name;  // column, function or the literal's text
  std::string qualifier;
  Index index = Index::kNone;
  int64_t index_number = 0;
  std::vector<std::unique_ptr<Expr>> args;
};
using ExprPtr = std::unique_ptr<Expr>;

struct Column {
  Name name;
  Type type = Type::kNull;
  bool key = false;
};
struct CreateStream {
  Name name;
  std::vector<Column> columns;
};
struct CreateTable {
  Name name;
  std::vector<Column> columns;
};

struct Option {
  Name name;
  Position value_at;
  bool is_duration = false;
  bool is_number = false;
  int64_t number = 0;  // milliseconds of a duration
  std::string word;    // neither number nor duration
};

struct Item {
  ExprPtr expr;
  std::optional<Name> as;
};

// PARTITION BY dev | s.dev | a.x = b.y [AS k]
struct Key {
  Position at;
  std::vector<ExprPtr> columns;  // one, or one for each stream that calls it otherwise
  std::optional<Name> as;
};

enum class StepKind : uint8_t { kEvent, kAbsence, kGroup, kAnd, kOr, kSequence };

// One node of a pattern.
struct Step {
  StepKind kind = StepKind::kEvent;
  Position at;
  bool every = false;
  // kEvent, kAbsence
  std::optional<Name> alias;
  Name stream;
  ExprPtr filter;  // may be null
  bool counted = false;
  int64_t count_min = 1;
  int64_t count_max = 1;              // -1: no maximum
  std::optional<int64_t> absence_ms;  // NOT .. FOR
  // kGroup: one part; kAnd, kOr: two or more; kSequence: two or more with the connectors between them
  std::vector<std::unique_ptr<Step>> parts;
  std::vector<bool> strict;  // kSequence: parts[i] ',' parts[i+1] rather than '->'
};
using StepPtr = std::unique_ptr<Step>;

enum class Skip : uint8_t { kNone, kPastLast, kNext, kNoSkip };
struct Pattern {
  StepPtr root;
  std::optional<int64_t> within_ms;
  bool per_step = false;
  Skip skip = Skip::kNone;
};

enum class SourceKind : uint8_t { kStream, kAntiJoin, kPattern };
struct Source {
  SourceKind kind = SourceKind::kStream;
  Position at;
  Name stream;  // kStream: the stream; kAntiJoin: the one whose silence is meant
  std::optional<Name> stream_alias;
  // JOIN TABLE, or the table of ANTI JOIN
  std::optional<Name> table;
  std::optional<Name> table_alias;
  ExprPtr on;
  int64_t within_ms = 0;  // kAntiJoin
  Pattern pattern;
};

enum class WindowKind : uint8_t { kTumble, kHop, kSlide, kSession, kRows };
struct Window {
  WindowKind kind = WindowKind::kTumble;
  Position at;
  int64_t size = 0;                 // milliseconds; kRows: rows
  std::optional<int64_t> step;      // kHop: milliseconds; kRows: rows
  std::optional<int64_t> size_max;  // kSession: milliseconds
};

struct OrderItem {
  ExprPtr expr;
  bool descending = false;
};

struct Alert {
  Position at;
  ExprPtr on;
  std::optional<int64_t> for_ms;
  std::optional<int64_t> for_samples;
  ExprPtr clear;
  std::optional<int64_t> clear_for_ms;
  std::optional<int64_t> remind_ms;
};

enum class EmitKind : uint8_t { kFinal, kEarly, kFirst, kChanges };
struct Emit {
  EmitKind kind = EmitKind::kFinal;
  Position at;
  int64_t every_ms = 0;  // kEarly, kFirst
};

struct Limit {
  Position at;
  int64_t count = 0;
  std::optional<Name> per;
};

struct Action {
  Name name;
  std::vector<ExprPtr> args;  // literals
};

struct CreateRule {
  Name name;
  int64_t priority = 0;
  std::vector<Option> options;
  bool select_star = false;
  Position select_at;
  std::vector<Item> items;
  Source source;
  ExprPtr where;
  std::vector<Key> partition_by;
  std::vector<Key> group_by;
  std::optional<Window> window;
  ExprPtr having;
  std::vector<OrderItem> order_by;
  std::optional<Alert> alert;
  std::optional<Emit> emit;
  std::optional<Limit> limit;
  bool has_do = false;
  std::vector<Action> actions;
};

enum class StatementKind : uint8_t { kStream, kTable, kRule };
struct Statement {
  StatementKind kind = StatementKind::kRule;
  Position at;
  CreateStream stream;
  CreateTable table;
  CreateRule rule;
};

}  // namespace lambda::cep::ast
