#include "cep/stream/column_evaluator.h"

#include <algorithm>
#include <bit>

namespace lambda::cep {
namespace {

using Word __attribute__((may_alias)) = uint64_t;

// One operand of a loop; `step` 0 is one value for all.
template <class T>
struct Plain {
  const T* data;
  size_t step;
  T operator[](size_t i) const { return data[i]; }
};
// Numbers, kept as bits.
template <class T>
struct Bits {
  const Word* data;
  size_t step;
  T operator[](size_t i) const { return std::bit_cast<T>(static_cast<uint64_t>(data[i])); }
};

// The compiler makes each of the three a plain loop.
template <class Operand, class F>
void for_each_pair(size_t count, Operand x, Operand y, const F& f) {
  if (x.step == 0) {
    const auto left = x[0];
    for (size_t i = 0; i < count; ++i) {
      f(i, left, y[i * y.step]);
    }
  } else if (y.step == 0) {
    const auto right = y[0];
    for (size_t i = 0; i < count; ++i) {
      f(i, x[i], right);
    }
  } else {
    for (size_t i = 0; i < count; ++i) {
      f(i, x[i], y[i]);
    }
  }
}

template <class Operand>
void compare_loop(Op op, size_t count, Operand x, Operand y, uint8_t* out) {
  switch (op) {
    case Op::kEqual:
      return for_each_pair(count, x, y, [out](size_t i, auto a, auto b) { out[i] = a == b; });
    case Op::kNotEqual:
      return for_each_pair(count, x, y, [out](size_t i, auto a, auto b) { out[i] = a != b; });
    case Op::kLess:
      return for_each_pair(count, x, y, [out](size_t i, auto a, auto b) { out[i] = a < b; });
    case Op::kLessEqual:
      return for_each_pair(count, x, y, [out](size_t i, auto a, auto b) { out[i] = a <= b; });
    case Op::kGreater:
      return for_each_pair(count, x, y, [out](size_t i, auto a, auto b) { out[i] = a > b; });
    default:
      return for_each_pair(count, x, y, [out](size_t i, auto a, auto b) { out[i] = a >= b; });
  }
}

bool is_comparison(Op op) {
  return op >= Op::kEqual && op <= Op::kGreaterEqual;
}

bool is_number(Type type) {
  return type == Type::kInt || type == Type::kDouble;
}

bool contiguous(std::span<const uint32_t> at) {
  return !at.empty() && at.back() - at.front() + 1 == at.size();
}

}  // namespace

// A tree of nodes that there are loops for.
bool ColumnEvaluator::has_loops(const Program& program, uint16_t id) {
  const Node& node = program.nodes[id];
  const auto both = [&] { return has_loops(program, node.a) && has_loops(program, node.b); };
  const auto numbers = [&] {
    return is_number(program.nodes[node.a].type) && is_number(program.nodes[node.b].type) && both();
  };
  switch (node.op) {
    case Op::kLoad:
      return node.a == static_cast<uint16_t>(Frame::kEvent);
    case Op::kConstant:
      return !program.constants[node.immediate].is_null();
    case Op::kAdd:
    case Op::kSubtract:
    case Op::kMultiply:
    case Op::kDivide:
      return numbers();
    case Op::kToDouble:
      return is_number(program.nodes[node.a].type) && has_loops(program, node.a);
    case Op::kAnd:
    case Op::kOr:
      return program.nodes[node.a].type == Type::kBool && program.nodes[node.b].type == Type::kBool && both();
    case Op::kNot:
      return program.nodes[node.a].type == Type::kBool && has_loops(program, node.a);
    case Op::kIsNull:  // booleans do not remember that they were null
      return program.nodes[node.a].type != Type::kBool && has_loops(program, node.a);
    default:
      break;
  }
  if (is_comparison(node.op)) {
    const bool texts = program.nodes[node.a].type == Type::kText && program.nodes[node.b].type == Type::kText;
    return texts ? (node.op == Op::kEqual || node.op == Op::kNotEqual) && both() : numbers();
  }
  return false;
}

// ---- the two questions

std::span<const uint32_t> ColumnEvaluator::select(const Program& program, const Rows& rows,
                                                  std::span<const uint32_t> at) {
  return program.empty() ? at : select(program, static_cast<uint16_t>(program.nodes.size() - 1), rows, at);
}

std::span<const uint32_t> ColumnEvaluator::select(const Program& program, uint16_t node, const Rows& rows,
                                                  std::span<const uint32_t> at) {
  rows_ = &rows;
  if (at.empty()) {
    return at;
  }
  if (program.nodes.size() > kNodesMax || program.nodes[node].type != Type::kBool || !has_loops(program, node)) {
    return select_by_row(program, node, at);
  }
  return select_node(program, node, at);
}

std::span<const uint32_t> ColumnEvaluator::select_node(const Program& program, uint16_t id,
                                                       std::span<const uint32_t> at) {
  const Node& node = program.nodes[id];
  if (node.op == Op::kAnd) {  // the second side looks at what the first one left
    const auto left = select_node(program, node.a, at);
    return left.empty() ? left : select_node(program, node.b, left);
  }
  const Register& result = run(program, id, at);
  if (result.step == 0) {
    return result.bools[0] != 0 ? at : std::span<const uint32_t>();
  }
  selected_.resize(std::max(selected_.size(), at.size()));  // `at` may be in it: places only move down
  uint32_t* out = selected_.data();
  size_t count = 0;
  for (size_t i = 0; i < at.size(); ++i) {
    out[count] = at[i];
    count += result.bools[i];
  }
  return {out, count};
}

std::span<const uint32_t> ColumnEvaluator::select_by_row(const Program& program, uint16_t node,
                                                         std::span<const uint32_t> at) {
  row_.resize(rows_->columns.size());
  selected_.resize(std::max(selected_.size(), at.size()));
  uint32_t* out = selected_.data();
  size_t count = 0;
  Frames frames;
  frames[Frame::kEvent] = row_.data();
  for (const uint32_t row : at) {
    rows_->read(row, row_.data());
    if (by_row_.value(program, node, frames).is_true()) {
      out[count++] = row;
    }
  }
  return {out, count};
}

void ColumnEvaluator::evaluate(const Program& program, const Rows& rows, std::span<const uint32_t> at,
                               ColumnValues& into) {
  rows_ = &rows;
  into.type = program.type();
  into.data.resize(at.size());
  into.nulls.clear();
  const auto root = static_cast<uint16_t>(program.nodes.size() - 1);
  if (at.empty()) {
    return;
  }
  if (program.nodes.size() > kNodesMax || !is_number(program.type()) || !has_loops(program, root)) {
    row_.resize(rows.columns.size());
    into.nulls.resize(at.size());
    Frames frames;
    frames[Frame::kEvent] = row_.data();
    for (size_t i = 0; i < at.size(); ++i) {
      rows.read(at[i], row_.data());
      const Value value = by_row_.value(program, frames);
      into.data[i] = value.bits;
      into.nulls[i] = value.is_null() ? 1 : 0;
    }
    return;
  }
  const Register& result = run(program, root, at);
  for (size_t i = 0; i < at.size(); ++i) {
    into.data[i] = result.data[i * result.step];
  }
  if (result.nulls != nullptr) {
    into.nulls.assign(result.nulls, result.nulls + at.size());
  }
}

// ---- nodes

const ColumnEvaluator::Register& ColumnEvaluator::run(const Program& program, uint16_t id,
                                                      std::span<const uint32_t> at) {
  if (registers_.size() < kNodesMax) {
    registers_.resize(kNodesMax);
  }
  const Node& node = program.nodes[id];
  Register& out = registers_[id];
  out.type = node.type;
  out.step = 1;
  out.nulls = nullptr;
  if (node.op == Op::kLoad) {
    load(out, rows_->columns[node.immediate], at);
    return out;
  }
  if (node.op == Op::kConstant) {
    constant(out, program.constants[node.immediate]);
    return out;
  }
  const size_t count = at.size();
  const Register& x = run(program, node.a, at);
  const bool unary = node.op == Op::kNot || node.op == Op::kIsNull || node.op == Op::kToDouble;
  const Register& y = unary ? x : run(program, node.b, at);
  if (node.type == Type::kBool) {
    out.bool_space.resize(std::max(out.bool_space.size(), count));
    out.bools = out.bool_space.data();
  }
  uint8_t* bools = out.bool_space.data();
  switch (node.op) {
    case Op::kAnd:
      for_each_pair<Plain<uint8_t>>(count, {x.bools, x.step}, {y.bools, y.step},
                                    [bools](size_t i, uint8_t a, uint8_t b) { bools[i] = a & b; });
      break;
    case Op::kOr:
      for_each_pair<Plain<uint8_t>>(count, {x.bools, x.step}, {y.bools, y.step},
                                    [bools](size_t i, uint8_t a, uint8_t b) { bools[i] = a | b; });
      break;
    case Op::kNot:
      for (size_t i = 0; i < count; ++i) {
        bools[i] = x.bools[i * x.step] ^ 1;
      }
      break;
    case Op::kIsNull:
      for (size_t i = 0; i < count; ++i) {
        bools[i] = x.nulls != nullptr && x.nulls[i] != 0;
      }
      break;
    case Op::kToDouble: {
      const Register& converted = as_double(x, out, count);
      if (&converted != &out) {  // it was DOUBLE
        out.data = converted.data;
        out.nulls = converted.nulls;
        out.step = converted.step;
      }
      break;
    }
    case Op::kDivide:
      divide(out, as_double(x, left_, count), as_double(y, right_, count), count);
      break;
    case Op::kAdd:
    case Op::kSubtract:
    case Op::kMultiply:
      arithmetic(out, node, x, y, count);
      break;
    default:
      compare(out, node.op, x, y, count);
      break;
  }
  return out;
}

void ColumnEvaluator::load(Register& out, const ColumnView& column, std::span<const uint32_t> at) {
  const bool straight = contiguous(at);
  const size_t first = at.front();
  const size_t count = at.size();
  const auto gather = [&]<class T>(const T* from, std::vector<T>& space) -> const T* {
    if (straight) {
      return from + first;
    }
    space.resize(std::max(space.size(), count));
    for (size_t i = 0; i < count; ++i) {
      space[i] = from[at[i]];
    }
    return space.data();
  };
  if (column.nulls != nullptr) {
    out.nulls = gather(column.nulls, out.null_space);
  }
  switch (column.type) {
    case Type::kText:
      out.texts = gather(static_cast<const uint32_t*>(column.data), out.text_space);
      break;
    case Type::kBool: {  // null is false, wherever a BOOL is used
      const uint8_t* from = gather(static_cast<const uint8_t*>(column.data), out.bool_space);
      out.bool_space.resize(std::max(out.bool_space.size(), count));
      for (size_t i = 0; i < count; ++i) {
        out.bool_space[i] = from[i] != 0 && (out.nulls == nullptr || out.nulls[i] == 0);
      }
      out.bools = out.bool_space.data();
      out.nulls = nullptr;
      break;
    }
    default: {  // not by gather(): a template forgets that words may alias
      const Word* from = static_cast<const Word*>(column.data);
      out.data = from + first;
      if (!straight) {
        out.data_space.resize(std::max(out.data_space.size(), count));
        for (size_t i = 0; i < count; ++i) {
          out.data_space[i] = from[at[i]];
        }
        out.data = out.data_space.data();
      }
      break;
    }
  }
}

void ColumnEvaluator::constant(Register& out, const Value& value) {
  out.step = 0;
  out.data_space.resize(std::max<size_t>(out.data_space.size(), 1));
  out.text_space.resize(std::max<size_t>(out.text_space.size(), 1));
  out.bool_space.resize(std::max<size_t>(out.bool_space.size(), 1));
  out.data_space[0] = value.bits;
  out.text_space[0] = value.text;
  out.bool_space[0] = value.is_true() ? 1 : 0;
  out.data = out.data_space.data();
  out.texts = out.text_space.data();
  out.bools = out.bool_space.data();
}

// Null where either operand is.
void ColumnEvaluator::or_nulls(Register& out, const Register& x, const Register& y, size_t count) {
  if (x.nulls == nullptr || y.nulls == nullptr) {
    out.nulls = x.nulls != nullptr ? x.nulls : y.nulls;
    return;
  }
  out.null_space.resize(std::max(out.null_space.size(), count));
  for (size_t i = 0; i < count; ++i) {
    out.null_space[i] = x.nulls[i] | y.nulls[i];
  }
  out.nulls = out.null_space.data();
}

const ColumnEvaluator::Register& ColumnEvaluator::as_double(const Register& x, Register& space, size_t count) {
  if (x.type == Type::kDouble) {
    return x;
  }
  const size_t values = x.step == 0 ? 1 : count;
  space.data_space.resize(std::max(space.data_space.size(), values));
  for (size_t i = 0; i < values; ++i) {
    space.data_space[i] = std::bit_cast<uint64_t>(static_cast<double>(static_cast<int64_t>(x.data[i])));
  }
  space.type = Type::kDouble;
  space.step = x.step;
  space.data = space.data_space.data();
  space.nulls = x.nulls;
  return space;
}

void ColumnEvaluator::arithmetic(Register& out, const Node& node, const Register& x, const Register& y, size_t count) {
  out.data_space.resize(std::max(out.data_space.size(), count));
  out.data = out.data_space.data();
  if (x.type == Type::kInt && y.type == Type::kInt) {  // overflow is null
    or_nulls(out, x, y, count);
    const uint8_t* operand_nulls = out.nulls;
    out.null_space.resize(std::max(out.null_space.size(), count));
    uint64_t* data = out.data_space.data();
    uint8_t* nulls = out.null_space.data();
    const auto loop = [&](const auto& overflows) {
      for_each_pair<Bits<int64_t>>(count, {x.data, x.step}, {y.data, y.step}, [&](size_t i, int64_t a, int64_t b) {
        const bool null = operand_nulls != nullptr && operand_nulls[i] != 0;
        int64_t result = 0;
        nulls[i] = overflows(a, b, &result) || null ? 1 : 0;
        data[i] = static_cast<uint64_t>(result);
      });
    };
    if (node.op == Op::kAdd) {
      loop([](int64_t a, int64_t b, int64_t* c) { return __builtin_add_overflow(a, b, c); });
    } else if (node.op == Op::kSubtract) {
      loop([](int64_t a, int64_t b, int64_t* c) { return __builtin_sub_overflow(a, b, c); });
    } else {
      loop([](int64_t a, int64_t b, int64_t* c) { return __builtin_mul_overflow(a, b, c); });
    }
    out.nulls = nulls;
    return;
  }
  const Register& left = as_double(x, left_, count);
  const Register& right = as_double(y, right_, count);
  or_nulls(out, left, right, count);
  uint64_t* data = out.data_space.data();
  const Bits<double> a{left.data, left.step};
  const Bits<double> b{right.data, right.step};
  if (node.op == Op::kAdd) {
    for_each_pair(count, a, b, [data](size_t i, double l, double r) { data[i] = std::bit_cast<uint64_t>(l + r); });
  } else if (node.op == Op::kSubtract) {
    for_each_pair(count, a, b, [data](size_t i, double l, double r) { data[i] = std::bit_cast<uint64_t>(l - r); });
  } else {
    for_each_pair(count, a, b, [data](size_t i, double l, double r) { data[i] = std::bit_cast<uint64_t>(l * r); });
  }
}

// Division by zero is null.
void ColumnEvaluator::divide(Register& out, const Register& x, const Register& y, size_t count) {
  out.data_space.resize(std::max(out.data_space.size(), count));
  out.data = out.data_space.data();
  or_nulls(out, x, y, count);
  const uint8_t* operand_nulls = out.nulls;
  out.null_space.resize(std::max(out.null_space.size(), count));
  uint64_t* data = out.data_space.data();
  uint8_t* nulls = out.null_space.data();
  for_each_pair<Bits<double>>(count, {x.data, x.step}, {y.data, y.step}, [&](size_t i, double a, double b) {
    nulls[i] = b == 0 || (operand_nulls != nullptr && operand_nulls[i] != 0) ? 1 : 0;
    data[i] = std::bit_cast<uint64_t>(a / b);
  });
  out.nulls = nulls;
}

// With null it is false.
void ColumnEvaluator::compare(Register& out, Op op, const Register& x, const Register& y, size_t count) {
  uint8_t* bools = out.bool_space.data();
  if (x.type == Type::kText) {
    compare_loop<Plain<uint32_t>>(op, count, {x.texts, x.step}, {y.texts, y.step}, bools);
  } else if (x.type == Type::kInt && y.type == Type::kInt) {
    compare_loop<Bits<int64_t>>(op, count, {x.data, x.step}, {y.data, y.step}, bools);
  } else {
    const Register& left = as_double(x, left_, count);
    const Register& right = as_double(y, right_, count);
    compare_loop<Bits<double>>(op, count, {left.data, left.step}, {right.data, right.step}, bools);
  }
  for (const uint8_t* nulls : {x.nulls, y.nulls}) {
    for (size_t i = 0; nulls != nullptr && i < count; ++i) {
      bools[i] &= nulls[i] == 0 ? 1 : 0;
    }
  }
}

}  // namespace lambda::cep
