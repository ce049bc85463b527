#include "query/support.h"

namespace lambda::query {
namespace {

// The node itself, not what is below it.
std::string unsupported_node(const Expression& expression) {
  if (const auto* call = std::get_if<Call>(&expression.node)) {
    return "function " + call->function;
  }
  if (const auto* aggregation = std::get_if<Aggregation>(&expression.node)) {
    return "aggregation " + aggregation->operation;
  }
  if (const auto* binary = std::get_if<Binary>(&expression.node)) {
    return "operator " + std::string(symbol(binary->op));
  }
  if (std::holds_alternative<Negation>(expression.node)) {
    return "operator -";
  }
  if (std::holds_alternative<Subquery>(expression.node)) {
    return "a subquery";
  }
  return {};
}

}  // namespace

std::vector<const Expression*> children(const Expression& expression) {
  std::vector<const Expression*> out;
  if (const auto* subquery = std::get_if<Subquery>(&expression.node)) {
    out = {subquery->inner.get()};
  } else if (const auto* call = std::get_if<Call>(&expression.node)) {
    for (const ExpressionPtr& argument : call->arguments) {
      out.push_back(argument.get());
    }
  } else if (const auto* aggregation = std::get_if<Aggregation>(&expression.node)) {
    if (aggregation->parameter) {
      out.push_back(aggregation->parameter.get());
    }
    out.push_back(aggregation->inner.get());
  } else if (const auto* negation = std::get_if<Negation>(&expression.node)) {
    out = {negation->inner.get()};
  } else if (const auto* parentheses = std::get_if<Parentheses>(&expression.node)) {
    out = {parentheses->inner.get()};
  } else if (const auto* binary = std::get_if<Binary>(&expression.node)) {
    out = {binary->left.get(), binary->right.get()};
  }
  return out;
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
