// Runs programs over many events at once: one loop over columns for each node, instead of all nodes for each event.
// Says exactly what Evaluator says; programs that it has no loops for go there event by event. One thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cep/language/program.h"
#include "cep/stream/batch.h"

namespace lambda::cep {

// Values of a program, one for each of the places that were asked for.
struct ColumnValues {
  Type type = Type::kNull;
  std::vector<uint64_t> data;  // bits of int64_t, double, Symbol or bool
  std::vector<uint8_t> nulls;  // empty: none

  Value at(size_t index) const {
    Value value;
    if (nulls.empty() || nulls[index] == 0) {
      value.type = type;
      value.bits = data[index];
    }
    return value;
  }
};

class ColumnEvaluator {
 public:
  // Programs of more nodes are evaluated event by event.
  static constexpr size_t kNodesMax = 64;

  explicit ColumnEvaluator(Evaluator& by_row) : by_row_(by_row) {}

  // Those of `at` for which the part of the program that ends in `node` is true; an empty program is always true. At
  // most OutputQueue::kLinesMax rows. Valid until the next call, which may take it as its `at`.
  std::span<const uint32_t> select(const Program& program, const Rows& rows, std::span<const uint32_t> at);
  std::span<const uint32_t> select(const Program& program, uint16_t node, const Rows& rows,
                                   std::span<const uint32_t> at);
  void evaluate(const Program& program, const Rows& rows, std::span<const uint32_t> at, ColumnValues& into);

 private:
  // What one node came to. Booleans are 0 or 1 and never null; the others have their type's bits in 8 bytes, TEXT its
  // symbol.
  // Columns of numbers are read as bits, whatever their type.
  using Word __attribute__((may_alias)) = uint64_t;
  struct Register {
    Type type = Type::kNull;
    size_t step = 1;             // 0: one value for all
    const Word* data = nullptr;  // kInt, kDouble
    const uint32_t* texts = nullptr;
    const uint8_t* bools = nullptr;
    const uint8_t* nulls = nullptr;  // null: none; by place too when step is 1
    std::vector<uint64_t> data_space;
    std::vector<uint32_t> text_space;
    std::vector<uint8_t> bool_space;
    std::vector<uint8_t> null_space;
  };

  static bool has_loops(const Program& program, uint16_t node);
  std::span<const uint32_t> select_node(const Program& program, uint16_t node, std::span<const uint32_t> at);
  std::span<const uint32_t> select_by_row(const Program& program, uint16_t node, std::span<const uint32_t> at);
  const Register& run(const Program& program, uint16_t node, std::span<const uint32_t> at);
  void load(Register& out, const ColumnView& column, std::span<const uint32_t> at);
  void constant(Register& out, const Value& value);
  void arithmetic(Register& out, const Node& node, const Register& x, const Register& y, size_t count);
  void divide(Register& out, const Register& x, const Register& y, size_t count);
  void compare(Register& out, Op op, const Register& x, const Register& y, size_t count);
  const Register& as_double(const Register& x, Register& space, size_t count);
  static void or_nulls(Register& out, const Register& x, const Register& y, size_t count);

  Evaluator& by_row_;
  const Rows* rows_ = nullptr;
  std::vector<Register> registers_;
  Register left_;  // converted operands
  Register right_;
  std::vector<uint32_t> selected_;
  std::vector<Value> row_;
};

}  // namespace lambda::cep
