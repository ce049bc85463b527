#include "query/expression.h"

#include <cmath>

#include "query/duration.h"
#include "query/labels.h"
#include "query/matcher.h"
#include "query/number.h"

namespace lambda::query {
namespace {

std::string name_list(const std::vector<std::string>& names) {
  std::string out = "(";
  for (const std::string& name : names) {
    out += (out.size() > 1 ? ", " : "") + (is_plain_label_name(name) ? name : quoted(name));
  }
  return out + ")";
}

std::string shift_text(const TimeShift& shift) {
  std::string out;
  switch (shift.anchor) {
    case TimeShift::Anchor::kNone:
      break;
    case TimeShift::Anchor::kTime:
      out += " @ ";
      append_seconds(out, shift.anchor_ms);
      break;
    case TimeShift::Anchor::kStart:
      out += " @ start()";
      break;
    case TimeShift::Anchor::kEnd:
      out += " @ end()";
      break;
  }
  if (shift.offset_ms != 0) {
    out += shift.offset_ms < 0 ? " offset -" : " offset ";
    out += format_duration_ms(std::abs(shift.offset_ms));
  }
  return out;
}

struct Printer {
  std::string operator()(const NumberLiteral& n) const { return format_number(n.value); }
  std::string operator()(const StringLiteral& n) const { return quoted(n.value); }
  std::string operator()(const VectorSelector& n) const { return to_string(n.matchers) + shift_text(n.shift); }
  std::string operator()(const MatrixSelector& n) const {
    return to_string(n.matchers) + "[" + format_duration_ms(n.range_ms) + "]" + shift_text(n.shift);
  }
  std::string operator()(const Subquery& n) const {
    return to_string(*n.inner) + "[" + format_duration_ms(n.range_ms) + ":" +
           (n.step_ms == 0 ? "" : format_duration_ms(n.step_ms)) + "]" + shift_text(n.shift);
  }
  std::string operator()(const Call& n) const {
    std::string out = n.function + "(";
    for (size_t i = 0; i < n.arguments.size(); ++i) {
      out += (i == 0 ? "" : ", ") + to_string(*n.arguments[i]);
    }
    return out + ")";
  }
  std::string operator()(const Aggregation& n) const {
    std::string out = n.operation;
    if (n.without || !n.labels.empty()) {
      out += (n.without ? " without " : " by ") + name_list(n.labels) + " ";
    }
    out += "(";
    if (n.parameter) {
      out += to_string(*n.parameter) + ", ";
    }
    return out + to_string(*n.inner) + ")";
  }
  std::string operator()(const Negation& n) const { return "-" + to_string(*n.inner); }
  std::string operator()(const Parentheses& n) const { return "(" + to_string(*n.inner) + ")"; }
  std::string operator()(const Binary& n) const {
    std::string out = to_string(*n.left) + " " + std::string(symbol(n.op)) + (n.return_bool ? " bool" : "");
    const bool grouped =
        n.cardinality == Binary::Cardinality::kManyToOne || n.cardinality == Binary::Cardinality::kOneToMany;
    if (n.on || !n.labels.empty() || grouped) {
      out += (n.on ? " on " : " ignoring ") + name_list(n.labels);
    }
    if (grouped) {
      out += n.cardinality == Binary::Cardinality::kManyToOne ? " group_left " : " group_right ";
      out += name_list(n.included);
    }
    return out + " " + to_string(*n.right);
  }
};

}  // namespace

std::string_view type_name(ExpressionType type) {
  switch (type) {
    case ExpressionType::kScalar:
      return "a scalar";
    case ExpressionType::kString:
      return "a string";
    case ExpressionType::kVector:
      return "an instant vector";
    case ExpressionType::kMatrix:
      return "a range vector";
  }
  return "?";
}

std::string_view symbol(BinaryOp op) {
  switch (op) {
    case BinaryOp::kAdd:
      return "+";
    case BinaryOp::kSubtract:
      return "-";
    case BinaryOp::kMultiply:
      return "*";
    case BinaryOp::kDivide:
      return "/";
    case BinaryOp::kModulo:
      return "%";
    case BinaryOp::kPower:
      return "^";
    case BinaryOp::kAtan2:
      return "atan2";
    case BinaryOp::kEqual:
      return "==";
    case BinaryOp::kNotEqual:
      return "!=";
    case BinaryOp::kLess:
      return "<";
    case BinaryOp::kGreater:
      return ">";
    case BinaryOp::kLessEqual:
      return "<=";
    case BinaryOp::kGreaterEqual:
      return ">=";
    case BinaryOp::kAnd:
      return "and";
    case BinaryOp::kOr:
      return "or";
    case BinaryOp::kUnless:
      return "unless";
  }
  return "?";
}

bool is_comparison(BinaryOp op) {
  return op >= BinaryOp::kEqual && op <= BinaryOp::kGreaterEqual;
}
bool is_set_operation(BinaryOp op) {
  return op >= BinaryOp::kAnd;
}

std::string to_string(const Expression& expression) {
  return std::visit(Printer{}, expression.node);
}

}  // namespace lambda::query
