// Rule text to statements: the whole grammar, by hand (recursive descent; expressions by precedence climbing).
#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include "cep/language/ast.h"
#include "cep/language/diagnostic.h"

namespace lambda::cep {

inline constexpr size_t kRuleTextBytesMax = 16 << 20;
inline constexpr int kNestingMax = 100;  // of parentheses, so that no text overflows the stack

struct Parsed {
  std::vector<ast::Statement> statements;  // those without an error
  std::vector<Diagnostic> errors;          // at most one a statement
};

// After an error it goes on behind the next ';'.
Parsed parse_rules(std::string_view text);
// The same, statement by statement, as they are read: thousands of rules need not be there as trees all at once. The
// errors go to the end of `errors`.
void parse_rules(std::string_view text, const std::function<void(ast::Statement&&)>& take,
                 std::vector<Diagnostic>& errors);

// A word of the grammar cannot be a name unless it stands between quotes; types and functions can.
bool is_reserved(std::string_view word);

}  // namespace lambda::cep
