#include "cep/language/scope.h"

#include <algorithm>
#include <array>
#include <utility>

#include "cep/language/parser_state.h"

namespace lambda::cep {
namespace {

using ast::Expr;
using ast::ExprKind;

bool is_numeric(Type type) {
  return type == Type::kInt || type == Type::kDouble || type == Type::kNull;
}

struct Function {
  const char* name;
  Op op;
  size_t arguments_min;
  size_t arguments_max;
};
constexpr size_t kArgumentsMax = 100;
constexpr Function kFunctions[] = {
    {"abs", Op::kAbs, 1, 1},
    {"coalesce", Op::kCoalesce, 1, kArgumentsMax},
    {"least", Op::kLeast, 1, kArgumentsMax},
    {"greatest", Op::kGreatest, 1, kArgumentsMax},
    {"lower", Op::kLower, 1, 1},
    {"upper", Op::kUpper, 1, 1},
};

// Grows one program. Indices stay valid until finish(), which takes out what nobody reads.
class Builder {
 public:
  explicit Builder(Symbols& symbols) : evaluator_(symbols) {}

  uint16_t load(Frame frame, uint32_t slot, Type type) {
    return add({Op::kLoad, type, static_cast<uint16_t>(frame), 0, slot});
  }
  uint16_t constant(Value value) {
    for (size_t i = 0; i < program_.constants.size(); ++i) {
      if (program_.constants[i].type == value.type && program_.constants[i].bits == value.bits) {
        return add({Op::kConstant, value.type, 0, 0, static_cast<uint32_t>(i)});
      }
    }
    program_.constants.push_back(value);
    return add({Op::kConstant, value.type, 0, 0, static_cast<uint32_t>(program_.constants.size() - 1)});
  }
  uint16_t apply(Op op, Type type, uint16_t a, uint16_t b = 0) {
    const bool unary = op == Op::kNegate || op == Op::kToDouble || op == Op::kNot || op == Op::kIsNull ||
                       op == Op::kAbs || op == Op::kLower || op == Op::kUpper;
    const Node node{op, type, a, unary ? a : b, 0};
    if (is_constant(node.a) && is_constant(node.b)) {
      Program one;
      one.constants = {value_of(node.a), value_of(node.b)};
      one.nodes = {{Op::kConstant, {}, 0, 0, 0}, {Op::kConstant, {}, 0, 0, 1}, {op, type, 0, 1, 0}};
      return constant(evaluator_.value(one, {}));
    }
    return add(node);
  }
  uint16_t to_double(uint16_t node) {
    return type(node) == Type::kInt ? apply(Op::kToDouble, Type::kDouble, node) : node;
  }
  Type type(uint16_t node) const { return program_.nodes[node].type; }
  bool full() const { return program_.nodes.size() >= kProgramNodesMax; }

  // The program whose result is `root`.
  Program finish(uint16_t root) {
    std::vector<bool> used(program_.nodes.size());
    used[root] = true;
    for (size_t i = root + 1; i-- > 0;) {
      const Node& node = program_.nodes[i];
      if (used[i] && node.op != Op::kLoad && node.op != Op::kConstant) {
        used[node.a] = used[node.b] = true;
      }
    }
    Program out;
    std::vector<uint16_t> moved(program_.nodes.size());
    for (size_t i = 0; i <= root; ++i) {
      if (!used[i]) {
        continue;
      }
      Node node = program_.nodes[i];
      if (node.op == Op::kConstant) {
        out.constants.push_back(program_.constants[node.immediate]);
        node.immediate = static_cast<uint32_t>(out.constants.size() - 1);
      } else if (node.op != Op::kLoad) {
        node.a = moved[node.a];
        node.b = moved[node.b];
      }
      moved[i] = static_cast<uint16_t>(out.nodes.size());
      out.nodes.push_back(node);
    }
    return out;
  }

 private:
  bool is_constant(uint16_t node) const { return program_.nodes[node].op == Op::kConstant; }
  Value value_of(uint16_t node) const { return program_.constants[program_.nodes[node].immediate]; }
  uint16_t add(const Node& node) {
    for (size_t i = 0; i < program_.nodes.size(); ++i) {
      const Node& other = program_.nodes[i];
      if (other.op == node.op && other.type == node.type && other.a == node.a && other.b == node.b &&
          other.immediate == node.immediate) {
        return static_cast<uint16_t>(i);
      }
    }
    program_.nodes.push_back(node);
    return static_cast<uint16_t>(program_.nodes.size() - 1);
  }

  Program program_;
  Evaluator evaluator_;
};

class ExpressionBinder {
 public:
  ExpressionBinder(Scope& scope, Symbols& symbols, Diagnostics& errors)
      : scope_(scope), symbols_(symbols), errors_(errors), builder_(symbols) {}

  Program run(const Expr& expr) {
    const size_t errors_before = errors_.size();
    const uint16_t root = bind(expr);
    return errors_.size() == errors_before ? builder_.finish(root) : Program{};
  }

 private:
  uint16_t nothing() { return builder_.constant(Value::null()); }
  uint16_t fail(Position at, std::string text) {
    if (!failed_) {  // what follows from the first is noise
      errors_.push_back({at, std::move(text)});
    }
    failed_ = true;
    return nothing();
  }

  uint16_t bind(const Expr& expr) {
    if (failed_) {
      return nothing();
    }
    if (builder_.full()) {
      return fail(expr.at, "the expression is too large");
    }
    switch (expr.kind) {
      case ExprKind::kNull:
        return nothing();
      case ExprKind::kBool:
        return builder_.constant(Value::of_bool(expr.b));
      case ExprKind::kInt:
        return builder_.constant(Value::of_int(expr.i));
      case ExprKind::kDouble:
        return builder_.constant(Value::of_double(expr.d));
      case ExprKind::kText:
        return builder_.constant(Value::of_text(symbols_.intern(expr.name)));
      case ExprKind::kDuration:
        return fail(expr.at, "a duration has no place in an expression; write milliseconds");
      case ExprKind::kColumn:
        return take(scope_.column(expr, errors_), expr);
      case ExprKind::kUnary:
        return unary(expr);
      case ExprKind::kBinary:
        return binary(expr);
      case ExprKind::kCall:
        return call(expr);
      default:
        return test(expr);
    }
  }

  uint16_t take(const Resolved& resolved, const Expr& expr) {
    switch (resolved.kind) {
      case Resolved::Kind::kSlot:
        return builder_.load(resolved.frame, resolved.slot, resolved.type);
      case Resolved::Kind::kExpression:
        if (++substitutions_ > kSubstitutionsMax) {
          return fail(expr.at, "the expression is too large");
        }
        return bind(*resolved.expression);
      default:
        failed_ = true;
        return nothing();
    }
  }

  uint16_t unary(const Expr& expr) {
    const uint16_t x = bind(*expr.args[0]);
    if (failed_) {
      return x;
    }
    if (expr.op == "NOT") {
      need_bool(x, *expr.args[0], "NOT");
      return builder_.apply(Op::kNot, Type::kBool, x);
    }
    if (!is_numeric(builder_.type(x))) {
      return fail(expr.at, std::string("- needs a number, ") + what(*expr.args[0], x));
    }
    return builder_.apply(Op::kNegate, builder_.type(x), x);
  }

  std::string what(const Expr& expr, uint16_t node) const {
    return expr.text + " is " + type_name(builder_.type(node));
  }

  void need_bool(uint16_t node, const Expr& expr, const std::string& who) {
    const Type type = builder_.type(node);
    if (type != Type::kBool && type != Type::kNull) {
      fail(expr.at, who + " needs a condition, " + what(expr, node));
    }
  }

  uint16_t binary(const Expr& expr) {
    const uint16_t x = bind(*expr.args[0]);
    const uint16_t y = bind(*expr.args[1]);
    if (failed_) {
      return x;
    }
    if (expr.op == "AND" || expr.op == "OR") {
      need_bool(x, *expr.args[0], expr.op);
      need_bool(y, *expr.args[1], expr.op);
      return failed_ ? x : builder_.apply(expr.op == "AND" ? Op::kAnd : Op::kOr, Type::kBool, x, y);
    }
    static constexpr std::pair<const char*, Op> kArithmetic[] = {
        {"+", Op::kAdd}, {"-", Op::kSubtract}, {"*", Op::kMultiply}, {"/", Op::kDivide}, {"%", Op::kModulo}};
    for (const auto& [symbol, op] : kArithmetic) {
      if (expr.op == symbol) {
        return arithmetic(expr, op, x, y);
      }
    }
    static constexpr std::pair<const char*, Op> kComparisons[] = {{"=", Op::kEqual},   {"!=", Op::kNotEqual},
                                                                  {"<", Op::kLess},    {"<=", Op::kLessEqual},
                                                                  {">", Op::kGreater}, {">=", Op::kGreaterEqual}};
    for (const auto& [symbol, op] : kComparisons) {
      if (expr.op == symbol) {
        return compare(op, expr.at, *expr.args[0], x, *expr.args[1], y);
      }
    }
    return fail(expr.at, "unknown operator " + expr.op);
  }

  uint16_t arithmetic(const Expr& expr, Op op, uint16_t x, uint16_t y) {
    for (size_t i = 0; i < 2; ++i) {
      const uint16_t node = i == 0 ? x : y;
      if (!is_numeric(builder_.type(node))) {
        return fail(expr.args[i]->at, expr.op + " needs numbers, " + what(*expr.args[i], node));
      }
    }
    const bool real = op == Op::kDivide || builder_.type(x) == Type::kDouble || builder_.type(y) == Type::kDouble;
    if (real && op != Op::kDivide) {
      x = builder_.to_double(x);
      y = builder_.to_double(y);
    }
    return builder_.apply(op, real ? Type::kDouble : Type::kInt, x, y);
  }

  uint16_t compare(Op op, Position at, const Expr& left, uint16_t x, const Expr& right, uint16_t y) {
    const Type a = builder_.type(x);
    const Type b = builder_.type(y);
    if (a == Type::kList || b == Type::kList) {
      return fail(at, "a list cannot be compared");
    }
    if (a != b && a != Type::kNull && b != Type::kNull && !(is_numeric(a) && is_numeric(b))) {
      return fail(at, "cannot compare " + left.text + ", which is " + type_name(a) + ", with " + right.text +
                          ", which is " + type_name(b));
    }
    return builder_.apply(op, Type::kBool, x, y);
  }

  // LIKE, IN, BETWEEN, IS NULL
  uint16_t test(const Expr& expr) {
    const Expr& subject = *expr.args[0];
    const uint16_t x = bind(subject);
    uint16_t out = x;
    switch (expr.kind) {
      case ExprKind::kIsNull:
        out = builder_.apply(Op::kIsNull, Type::kBool, x);
        break;
      case ExprKind::kBetween: {
        const uint16_t low = bind(*expr.args[1]);
        const uint16_t high = bind(*expr.args[2]);
        if (failed_) {
          return x;
        }
        const uint16_t above = compare(Op::kGreaterEqual, expr.at, subject, x, *expr.args[1], low);
        const uint16_t below = compare(Op::kLessEqual, expr.at, subject, x, *expr.args[2], high);
        out = builder_.apply(Op::kAnd, Type::kBool, above, below);
        break;
      }
      case ExprKind::kIn:
        out = builder_.constant(Value::of_bool(false));
        for (size_t i = 1; i < expr.args.size() && !failed_; ++i) {
          const uint16_t y = bind(*expr.args[i]);
          if (failed_ || builder_.full()) {
            return fail(expr.at, "the list is too long");
          }
          const uint16_t equal = compare(Op::kEqual, expr.at, subject, x, *expr.args[i], y);
          out = i == 1 ? equal : builder_.apply(Op::kOr, Type::kBool, out, equal);
        }
        break;
      default: {
        const uint16_t pattern = bind(*expr.args[1]);
        for (size_t i = 0; i < 2 && !failed_; ++i) {
          const uint16_t node = i == 0 ? x : pattern;
          if (builder_.type(node) != Type::kText && builder_.type(node) != Type::kNull) {
            return fail(expr.args[i]->at, "LIKE needs TEXT, " + what(*expr.args[i], node));
          }
        }
        out = builder_.apply(Op::kLike, Type::kBool, x, pattern);
        break;
      }
    }
    return failed_ || !expr.negated ? out : builder_.apply(Op::kNot, Type::kBool, out);
  }

  uint16_t call(const Expr& expr) {
    const Resolved resolved = scope_.call(expr, errors_);
    if (resolved.kind != Resolved::Kind::kUnknown) {
      return take(resolved, expr);
    }
    const std::string name = upper_case(expr.name);
    for (const Function& function : kFunctions) {
      if (upper_case(function.name) == name) {
        return builtin(expr, function);
      }
    }
    std::vector<std::string> names = scope_.functions();
    for (const Function& function : kFunctions) {
      names.emplace_back(function.name);
    }
    return fail(expr.at, "unknown function " + expr.name + near_name(expr.name, names));
  }

  uint16_t builtin(const Expr& expr, const Function& function) {
    if (expr.star || expr.args.size() < function.arguments_min || expr.args.size() > function.arguments_max) {
      return fail(expr.at, std::string(function.name) + " takes " +
                               (function.arguments_max == 1 ? "one argument" : "one or more arguments"));
    }
    std::vector<uint16_t> nodes;
    for (const auto& arg : expr.args) {
      nodes.push_back(bind(*arg));
    }
    if (failed_) {
      return nodes[0];
    }
    const bool text = function.op == Op::kLower || function.op == Op::kUpper;
    Type common = Type::kNull;
    for (size_t i = 0; i < nodes.size(); ++i) {
      const Type type = builder_.type(nodes[i]);
      if ((text && type != Type::kText && type != Type::kNull) || (function.op == Op::kAbs && !is_numeric(type))) {
        return fail(expr.args[i]->at, std::string(function.name) + " needs " + (text ? "TEXT, " : "a number, ") +
                                          what(*expr.args[i], nodes[i]));
      }
      if (type != Type::kNull && common != Type::kNull && type != common && !(is_numeric(type) && is_numeric(common))) {
        return fail(expr.args[i]->at, std::string(function.name) + " needs values of one type, " +
                                          what(*expr.args[i], nodes[i]) + " and not " + type_name(common));
      }
      if (type == Type::kList) {
        return fail(expr.args[i]->at, std::string(function.name) + " takes no list");
      }
      common = common == Type::kNull || type == Type::kDouble ? type : common;
    }
    const auto as_common = [&](uint16_t node) { return common == Type::kDouble ? builder_.to_double(node) : node; };
    uint16_t out = as_common(nodes[0]);
    if (nodes.size() == 1) {
      const bool unary = text || function.op == Op::kAbs;
      return unary ? builder_.apply(function.op, common, out) : out;
    }
    for (size_t i = 1; i < nodes.size(); ++i) {
      out = builder_.apply(function.op, common, out, as_common(nodes[i]));
    }
    return out;
  }

  static constexpr int kSubstitutionsMax = 1000;

  Scope& scope_;
  Symbols& symbols_;
  Diagnostics& errors_;
  Builder builder_;
  bool failed_ = false;
  int substitutions_ = 0;
};

}  // namespace

Program bind_expression(const Expr& expr, Scope& scope, Symbols& symbols, Diagnostics& errors) {
  return ExpressionBinder(scope, symbols, errors).run(expr);
}

Program bind_condition(const Expr& expr, const char* what, Scope& scope, Symbols& symbols, Diagnostics& errors) {
  Program program = bind_expression(expr, scope, symbols, errors);
  if (!program.empty() && program.type() != Type::kBool && program.type() != Type::kNull) {
    errors.push_back(
        {expr.at, std::string(what) + " needs a condition, " + expr.text + " is " + type_name(program.type())});
    return {};
  }
  return program;
}

}  // namespace lambda::cep
