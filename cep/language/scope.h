// Expressions of the tree to programs: names through a Scope, types checked, constants folded, equal parts shared.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cep/language/ast.h"
#include "cep/language/diagnostic.h"
#include "cep/language/program.h"
#include "cep/language/value.h"

namespace lambda::cep {

using Diagnostics = std::vector<Diagnostic>;

// What a name or call stands for.
struct Resolved {
  enum class Kind : uint8_t { kSlot, kExpression, kUnknown, kError } kind = Kind::kError;
  Frame frame = Frame::kEvent;
  uint32_t slot = 0;
  Type type = Type::kNull;
  const ast::Expr* expression = nullptr;  // kExpression: to be read in its place (a SELECT item's name)

  static Resolved at(Frame frame, uint32_t slot, Type type) { return {Kind::kSlot, frame, slot, type, nullptr}; }
  static Resolved as(const ast::Expr* expression) { return {Kind::kExpression, {}, 0, {}, expression}; }
  static Resolved unknown() { return {Kind::kUnknown, {}, 0, {}, nullptr}; }
  static Resolved error() { return {}; }
};

// Where names are looked up: the columns of a stream, of a window's group, of a pattern. Errors go to `errors` with
// kError as the answer.
class Scope {
 public:
  virtual ~Scope() = default;
  virtual Resolved column(const ast::Expr& expr, Diagnostics& errors) = 0;
  // Aggregates and the like. kUnknown: not one of this scope's functions.
  virtual Resolved call(const ast::Expr& expr, Diagnostics& errors) = 0;
  // Names of functions that call() knows, for suggestions.
  virtual std::vector<std::string> functions() const { return {}; }
};

// Errors are added to `errors`; the program is then empty. Texts are interned in `symbols`.
Program bind_expression(const ast::Expr& expr, Scope& scope, Symbols& symbols, Diagnostics& errors);
// As above, and the result must be BOOL. `what` for the error: "WHERE".
Program bind_condition(const ast::Expr& expr, const char* what, Scope& scope, Symbols& symbols, Diagnostics& errors);

}  // namespace lambda::cep
