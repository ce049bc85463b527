// Walking an expression, and what of it this program can compute.
#pragma once

#include <string>
#include <vector>

#include "query/expression.h"

namespace lambda::query {

// The expressions directly below, left to right.
std::vector<Expression*> children(Expression& expression);
std::vector<const Expression*> children(const Expression& expression);
// Inside of parentheses.
const Expression& without_parentheses(const Expression& expression);

// Empty when the evaluator can compute all of it; else the first part that it cannot, by name: "function deriv".
std::string unsupported_part(const Expression& expression);

}  // namespace lambda::query
