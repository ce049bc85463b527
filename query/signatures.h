// Every function and aggregation PromQL has, with its types: what the parser checks a call against. Those that this
// program cannot compute are here too, so that they are refused by name and not as spelling mistakes.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include "query/expression.h"

namespace lambda::query {

struct Signature {
  std::string_view name;
  // One letter an argument: s scalar, v instant vector, m range vector, t string. Those behind '?' may be left out;
  // '*' behind the last: any number of it, none too.
  std::string_view arguments;
  char result;
};

const Signature* find_function(std::string_view name);  // null: there is none
size_t arguments_min(const Signature& signature);
size_t arguments_max(const Signature& signature);  // SIZE_MAX: no bound
ExpressionType argument_type(const Signature& signature, size_t index);
ExpressionType result_type(const Signature& signature);

bool is_aggregation(std::string_view lower_case_word);
// The type of the parameter before the vector: topk(5, x), count_values("v", x).
std::optional<ExpressionType> aggregation_parameter(std::string_view operation);

}  // namespace lambda::query
