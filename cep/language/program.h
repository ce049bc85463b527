// An expression that is ready to run: nodes in an order where each one's operands come before it, every node with its
// type, reading typed slots of up to four frames. The one form from which a single event is evaluated (here) and
// column kernels are chosen.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "cep/language/value.h"

namespace lambda::cep {

// Whose slots a kLoad reads.
enum class Frame : uint8_t {
  kEvent,  // the event's columns, in the order of its stream
  kTable,  // the joined table row's columns
  kGroup,  // a window's keys, aggregates, window_start, window_end (in this order)
  kRun,    // what a pattern's run has captured
};
inline constexpr size_t kFrames = 4;

// Frames that a program does not read may be null.
struct Frames {
  const Value* at[kFrames] = {};
  const Value*& operator[](Frame frame) { return at[static_cast<size_t>(frame)]; }
};

enum class Op : uint8_t {
  kLoad,      // frame a, slot immediate
  kConstant,  // constants[immediate]
  kNegate,
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kModulo,
  kToDouble,  // INT to DOUBLE
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kAnd,
  kOr,
  kNot,
  kLike,
  kIsNull,
  kAbs,
  kCoalesce,
  kLeast,
  kGreatest,
  kLower,
  kUpper,
};

struct Node {
  Op op = Op::kConstant;
  Type type = Type::kNull;  // of the result; kNull only for the literal NULL
  uint16_t a = 0;           // operands: indices of earlier nodes
  uint16_t b = 0;
  uint32_t immediate = 0;
};

inline constexpr size_t kProgramNodesMax = 4096;

// The last node is the result. Empty: there is no expression.
struct Program {
  std::vector<Node> nodes;
  std::vector<Value> constants;  // TEXT: symbols of the engine's table

  bool empty() const { return nodes.empty(); }
  Type type() const { return nodes.empty() ? Type::kNull : nodes.back().type; }
};

// Runs programs for one event. Semantics: division by zero, overflow of INT and arithmetic with null are null; a
// comparison with null is false; in AND, OR and NOT null counts as false; least and greatest skip null. One thread.
class Evaluator {
 public:
  // `symbols` must outlive this; lower() and upper() add to it.
  explicit Evaluator(Symbols& symbols) : symbols_(symbols) {}

  Value value(const Program& program, const Frames& frames) {
    return value(program, static_cast<uint16_t>(program.nodes.size() - 1), frames);
  }
  // Of the part of the program that ends in `node`.
  Value value(const Program& program, uint16_t node, const Frames& frames);
  // An empty program is true.
  bool is_true(const Program& program, const Frames& frames) {
    return program.empty() || value(program, frames).is_true();
  }
  Symbols& symbols() { return symbols_; }

 private:
  Value step(const Node& node, const Program& program, const Frames& frames, const Value* registers);

  Symbols& symbols_;
  std::vector<Value> registers_;
};

// `%` is any text, `_` one character (of UTF-8).
bool like(std::string_view text, std::string_view pattern);

}  // namespace lambda::cep
