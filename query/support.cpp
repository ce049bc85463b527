#include "query/support.h"

#include <algorithm>
#include <iterator>

#include "query/aggregate.h"
#include "query/functions.h"

namespace lambda::query {
namespace {

// The node itself, not what is below it.
std::string unsupported_node(const Expression& expression) {
  if (const auto* call = std::get_if<Call>(&expression.node)) {
    static constexpr std::string_view kOthers[] = {"absent", "pi", "scalar", "time", "vector"};  // in evaluator.cpp
    const bool known = find_window_function(call->function) != nullptr ||
                       find_value_function(call->function) != nullptr ||
                       std::ranges::find(kOthers, call->function) != std::end(kOthers);
    return known ? "" : "function " + call->function;
  }
  if (const auto* aggregation = std::get_if<Aggregation>(&expression.node)) {
    return can_aggregate(aggregation->operation) ? "" : "aggregation " + aggregation->operation;
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
