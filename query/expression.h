// The tree of an expression: the whole grammar of PromQL. What of it can be evaluated, the evaluator says.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "query/series_source.h"

namespace lambda::query {

enum class ExpressionType { kScalar, kString, kVector, kMatrix };
// "a scalar", "a string", "an instant vector", "a range vector".
std::string_view type_name(ExpressionType type);

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;

// `offset` and `@`.
struct TimeShift {
  enum class Anchor { kNone, kTime, kStart, kEnd };
  int64_t offset_ms = 0;  // back in time; may be negative
  Anchor anchor = Anchor::kNone;
  int64_t anchor_ms = 0;  // of kTime
};

struct NumberLiteral {
  double value;
};
struct StringLiteral {
  std::string value;
};
struct VectorSelector {
  std::vector<Matcher> matchers;  // the metric's name among them
  TimeShift shift;
};
struct MatrixSelector {
  std::vector<Matcher> matchers;
  TimeShift shift;
  int64_t range_ms;
};
struct Subquery {
  ExpressionPtr inner;
  TimeShift shift;
  int64_t range_ms;
  int64_t step_ms;  // 0: the default one
};
struct Call {
  std::string function;
  std::vector<ExpressionPtr> arguments;
};
struct Aggregation {
  std::string operation;    // in lower case
  ExpressionPtr parameter;  // of topk, quantile and the like; may be null
  ExpressionPtr inner;
  bool without = false;
  std::vector<std::string> labels;
};
struct Negation {
  ExpressionPtr inner;
};
struct Parentheses {
  ExpressionPtr inner;
};

enum class BinaryOp {
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kModulo,
  kPower,
  kAtan2,
  kEqual,
  kNotEqual,
  kLess,
  kGreater,
  kLessEqual,
  kGreaterEqual,
  kAnd,
  kOr,
  kUnless,
};
std::string_view symbol(BinaryOp op);
bool is_comparison(BinaryOp op);
bool is_set_operation(BinaryOp op);

struct Binary {
  enum class Cardinality { kOneToOne, kManyToOne, kOneToMany, kManyToMany };
  BinaryOp op;
  ExpressionPtr left, right;
  bool return_bool = false;
  bool on = false;                  // else ignoring
  std::vector<std::string> labels;  // of on or ignoring
  Cardinality cardinality = Cardinality::kOneToOne;
  std::vector<std::string> included;  // of group_left or group_right
};

struct Expression {
  using Node = std::variant<NumberLiteral, StringLiteral, VectorSelector, MatrixSelector, Subquery, Call, Aggregation,
                            Negation, Parentheses, Binary>;
  size_t offset = 0;  // of its first byte in the text
  ExpressionType type = ExpressionType::kScalar;
  uint32_t depth = 1;  // levels of the tree, bounded by kExpressionDepthMax, so that recursion is safe
  Node node;
  uint32_t line = 1;  // of `offset`, both from 1, the column in bytes
  uint32_t column = 1;
};

// A text that parses to an equal tree.
std::string to_string(const Expression& expression);

}  // namespace lambda::query
