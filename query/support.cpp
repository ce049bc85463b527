#include "query/support.h"

#include "query/aggregate.h"
#include "query/computing.h"

namespace lambda::query {
namespace {

// The node itself, not what is below it.
std::string unsupported_node(const Expression& expression) {
  if (const auto* call = std::get_if<Call>(&expression.node)) {
    return can_call(call->function) ? "" : "function " + call->function;
  }
  if (const auto* aggregation = std::get_if<Aggregation>(&expression.node)) {
    return can_aggregate(aggregation->operation) ? "" : "aggregation " + aggregation->operation;
  }
  return {};
}

}  // namespace

std::vector<Expression*> children(Expression& expression) {
  std::vector<Expression*> out;
  if (auto* subquery = std::get_if<Subquery>(&expression.node)) {
    out = {subquery->inner.get()};
  } else if (auto* call = std::get_if<Call>(&expression.node)) {
    for (const ExpressionPtr& argument : call->arguments) {
      out.push_back(argument.get());
    }
  } else if (auto* aggregation = std::get_if<Aggregation>(&expression.node)) {
    if (aggregation->parameter) {
      out.push_back(aggregation->parameter.get());
    }
    out.push_back(aggregation->inner.get());
  } else if (auto* negation = std::get_if<Negation>(&expression.node)) {
    out = {negation->inner.get()};
  } else if (auto* parentheses = std::get_if<Parentheses>(&expression.node)) {
    out = {parentheses->inner.get()};
  } else if (auto* binary = std::get_if<Binary>(&expression.node)) {
    out = {binary->left.get(), binary->right.get()};
  }
  return out;
}

std::vector<const Expression*> children(const Expression& expression) {
  const auto found = children(const_cast<Expression&>(expression));  // which is not changed here
  return {found.begin(), found.end()};
}

const Expression& without_parentheses(const Expression& expression) {
  const Expression* inner = &expression;
  while (const auto* parentheses = std::get_if<Parentheses>(&inner->node)) {
    inner = parentheses->inner.get();
  }
  return *inner;
}

std::string unsupported_part(const Expression& expression) {
  if (std::string part = unsupported_node(expression); !part.empty()) {
    return part;
  }
  for (const Expression* child : children(expression)) {
    if (std::string part = unsupported_part(*child); !part.empty()) {
      return part;
    }
  }
  return {};
}

}  // namespace lambda::query
