#include "cep/language/program.h"

#include <cmath>
#include <limits>
#include <string>

#include "cep/language/mutant.h"

namespace lambda::cep {
namespace {

Value arithmetic(Op op, const Value& x, const Value& y) {
  if (x.is_null() || y.is_null()) {
    return Value::null();
  }
  if (op == Op::kDivide) {
    const double divisor = y.number();
    if (mutant(Mutant::kIntegerDivision) && x.type == Type::kInt && y.type == Type::kInt && y.i != 0) {
      return Value::of_double(static_cast<double>(x.i / y.i));
    }
    return divisor == 0 ? Value::null() : Value::of_double(x.number() / divisor);
  }
  if (x.type == Type::kInt && y.type == Type::kInt) {
    int64_t out = 0;
    bool bad = false;
    switch (op) {
      case Op::kAdd:
        bad = __builtin_add_overflow(x.i, y.i, &out);
        break;
      case Op::kSubtract:
        bad = __builtin_sub_overflow(x.i, y.i, &out);
        break;
      case Op::kMultiply:
        bad = __builtin_mul_overflow(x.i, y.i, &out);
        break;
      default:
        bad = y.i == 0;
        out = bad || y.i == -1 ? 0 : x.i % y.i;  // the least INT % -1 traps
        break;
    }
    return bad ? Value::null() : Value::of_int(out);
  }
  switch (op) {
    case Op::kAdd:
      return Value::of_double(x.number() + y.number());
    case Op::kSubtract:
      return Value::of_double(x.number() - y.number());
    case Op::kMultiply:
      return Value::of_double(x.number() * y.number());
    default:
      return y.number() == 0 ? Value::null() : Value::of_double(std::fmod(x.number(), y.number()));
  }
}

template <class T>
bool compare(Op op, const T& x, const T& y) {
  switch (op) {
    case Op::kEqual:
      return x == y;
    case Op::kNotEqual:
      return x != y;
    case Op::kLess:
      return x < y;
    case Op::kLessEqual:
      return x <= y;
    case Op::kGreater:
      return x > y;
    default:
      return x >= y;
  }
}

bool comparison(Op op, const Value& x, const Value& y, const Symbols& symbols) {
  if (x.is_null() || y.is_null()) {
    return mutant(Mutant::kNullComparison) && op == Op::kNotEqual;
  }
  if (x.type == Type::kText) {
    if (op == Op::kEqual || op == Op::kNotEqual) {
      return (x.text == y.text) == (op == Op::kEqual);
    }
    return compare(op, symbols.text(x.text), symbols.text(y.text));
  }
  if (x.type == Type::kDouble || y.type == Type::kDouble) {
    return compare(op, x.number(), y.number());
  }
  return x.type == Type::kBool ? compare(op, x.b, y.b) : compare(op, x.i, y.i);
}

bool is_nan(const Value& x) {
  return x.type == Type::kDouble && std::isnan(x.d);
}

Value least_or_greatest(bool least, const Value& x, const Value& y, const Symbols& symbols) {
  if (x.is_null() || is_nan(x)) {
    return y.is_null() ? x : y;
  }
  if (y.is_null() || is_nan(y)) {
    return x;
  }
  return (compare_values(y, x, symbols) < 0) == least && !(x == y) ? y : x;
}

Value change_case(const Value& x, bool lower, Symbols& symbols) {
  if (x.is_null()) {
    return x;
  }
  std::string text(symbols.text(x.text));
  for (char& c : text) {
    if (lower && c >= 'A' && c <= 'Z') {
      c = static_cast<char>(c - 'A' + 'a');
    } else if (!lower && c >= 'a' && c <= 'z') {
      c = static_cast<char>(c - 'a' + 'A');
    }
  }
  const auto changed = symbols.try_intern(text);
  return changed ? Value::of_text(*changed) : Value::null();
}

Value negate(const Value& x) {
  if (x.type == Type::kDouble) {
    return Value::of_double(-x.d);
  }
  if (x.type == Type::kInt && x.i != std::numeric_limits<int64_t>::min()) {
    return Value::of_int(-x.i);
  }
  return Value::null();
}

size_t character_bytes(std::string_view text, size_t at) {
  size_t end = at + 1;
  while (end < text.size() && (text[end] & 0xC0) == 0x80) {
    ++end;
  }
  return end - at;
}

}  // namespace

bool like(std::string_view text, std::string_view pattern) {
  size_t t = 0;
  size_t p = 0;
  size_t star = std::string_view::npos;  // after the last % met
  size_t star_text = 0;                  // where what it stands for ends so far
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '%') {
      star = ++p;
      star_text = t;
    } else if (p < pattern.size() && pattern[p] == '_') {
      t += character_bytes(text, t);
      ++p;
    } else if (p < pattern.size() && pattern[p] == text[t]) {
      ++t;
      ++p;
    } else if (star != std::string_view::npos) {
      star_text += character_bytes(text, star_text);
      t = star_text;
      p = star;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '%') {
    ++p;
  }
  return p == pattern.size();
}

Value Evaluator::value(const Program& program, uint16_t node, const Frames& frames) {
  LAMBDA_ASSERT(node < program.nodes.size());
  const size_t count = node + 1u;
  if (registers_.size() < count) {
    registers_.resize(count);
  }
  Value* registers = registers_.data();
  for (size_t i = 0; i < count; ++i) {
    registers[i] = step(program.nodes[i], program, frames, registers);
  }
  return registers[count - 1];
}

Value Evaluator::step(const Node& node, const Program& program, const Frames& frames, const Value* registers) {
  const Value& x = registers[node.a];
  const Value& y = registers[node.b];
  switch (node.op) {
    case Op::kLoad:
      return frames.at[node.a][node.immediate];
    case Op::kConstant:
      return program.constants[node.immediate];
    case Op::kNegate:
      return negate(x);
    case Op::kAdd:
    case Op::kSubtract:
    case Op::kMultiply:
    case Op::kDivide:
    case Op::kModulo:
      return arithmetic(node.op, x, y);
    case Op::kToDouble:
      return x.is_null() ? x : Value::of_double(x.number());
    case Op::kEqual:
    case Op::kNotEqual:
    case Op::kLess:
    case Op::kLessEqual:
    case Op::kGreater:
    case Op::kGreaterEqual:
      return Value::of_bool(comparison(node.op, x, y, symbols_));
    case Op::kAnd:
      return Value::of_bool(x.is_true() && y.is_true());
    case Op::kOr:
      return Value::of_bool(x.is_true() || y.is_true());
    case Op::kNot:
      return Value::of_bool(!x.is_true());
    case Op::kLike:
      return Value::of_bool(!x.is_null() && !y.is_null() && like(symbols_.text(x.text), symbols_.text(y.text)));
    case Op::kIsNull:
      return Value::of_bool(x.is_null());
    case Op::kAbs:
      return (x.type == Type::kInt ? x.i < 0 : std::signbit(x.d)) && !x.is_null() ? negate(x) : x;
    case Op::kCoalesce:
      return x.is_null() ? y : x;
    case Op::kLeast:
    case Op::kGreatest:
      return least_or_greatest(node.op == Op::kLeast, x, y, symbols_);
    case Op::kLower:
    case Op::kUpper:
      return change_case(x, node.op == Op::kLower, symbols_);
  }
  return Value::null();
}

}  // namespace lambda::cep
