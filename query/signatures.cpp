#include "query/signatures.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include "base/result.h"

namespace lambda::query {
namespace {

// In alphabetic order.
constexpr std::array kFunctions = std::to_array<Signature>({
    {"abs", "v", 'v'},
    {"absent", "v", 'v'},
    {"absent_over_time", "m", 'v'},
    {"acos", "v", 'v'},
    {"acosh", "v", 'v'},
    {"asin", "v", 'v'},
    {"asinh", "v", 'v'},
    {"atan", "v", 'v'},
    {"atanh", "v", 'v'},
    {"avg_over_time", "m", 'v'},
    {"ceil", "v", 'v'},
    {"changes", "m", 'v'},
    {"clamp", "vss", 'v'},
    {"clamp_max", "vs", 'v'},
    {"clamp_min", "vs", 'v'},
    {"cos", "v", 'v'},
    {"cosh", "v", 'v'},
    {"count_over_time", "m", 'v'},
    {"day_of_month", "?v", 'v'},
    {"day_of_week", "?v", 'v'},
    {"day_of_year", "?v", 'v'},
    {"days_in_month", "?v", 'v'},
    {"deg", "v", 'v'},
    {"delta", "m", 'v'},
    {"deriv", "m", 'v'},
    {"double_exponential_smoothing", "mss", 'v'},
    {"end", "", 's'},
    {"exp", "v", 'v'},
    {"first_over_time", "m", 'v'},
    {"floor", "v", 'v'},
    {"histogram_avg", "v", 'v'},
    {"histogram_count", "v", 'v'},
    {"histogram_fraction", "ssv", 'v'},
    {"histogram_quantile", "sv", 'v'},
    {"histogram_quantiles", "vtss*", 'v'},
    {"histogram_stddev", "v", 'v'},
    {"histogram_stdvar", "v", 'v'},
    {"histogram_sum", "v", 'v'},
    {"hour", "?v", 'v'},
    {"idelta", "m", 'v'},
    {"increase", "m", 'v'},
    {"info", "v?v", 'v'},
    {"irate", "m", 'v'},
    {"label_join", "vttt*", 'v'},
    {"label_replace", "vtttt", 'v'},
    {"last_over_time", "m", 'v'},
    {"ln", "v", 'v'},
    {"log10", "v", 'v'},
    {"log2", "v", 'v'},
    {"mad_over_time", "m", 'v'},
    {"max_of", "ss", 's'},
    {"max_over_time", "m", 'v'},
    {"min_of", "ss", 's'},
    {"min_over_time", "m", 'v'},
    {"minute", "?v", 'v'},
    {"month", "?v", 'v'},
    {"pi", "", 's'},
    {"predict_linear", "ms", 'v'},
    {"present_over_time", "m", 'v'},
    {"quantile_over_time", "sm", 'v'},
    {"rad", "v", 'v'},
    {"range", "", 's'},
    {"rate", "m", 'v'},
    {"resets", "m", 'v'},
    {"round", "v?s", 'v'},
    {"scalar", "v", 's'},
    {"sgn", "v", 'v'},
    {"sin", "v", 'v'},
    {"sinh", "v", 'v'},
    {"sort", "v", 'v'},
    {"sort_by_label", "vt*", 'v'},
    {"sort_by_label_desc", "vt*", 'v'},
    {"sort_desc", "v", 'v'},
    {"sqrt", "v", 'v'},
    {"start", "", 's'},
    {"stddev_over_time", "m", 'v'},
    {"stdvar_over_time", "m", 'v'},
    {"step", "", 's'},
    {"sum_over_time", "m", 'v'},
    {"tan", "v", 'v'},
    {"tanh", "v", 'v'},
    {"time", "", 's'},
    {"timestamp", "v", 'v'},
    {"ts_of_first_over_time", "m", 'v'},
    {"ts_of_last_over_time", "m", 'v'},
    {"ts_of_max_over_time", "m", 'v'},
    {"ts_of_min_over_time", "m", 'v'},
    {"vector", "s", 'v'},
    {"year", "?v", 'v'},
});
static_assert(std::ranges::is_sorted(kFunctions, {}, &Signature::name));

struct AggregationName {
  std::string_view name;
  char parameter;  // ' ': none
};
constexpr std::array kAggregations = std::to_array<AggregationName>({
    {"avg", ' '},
    {"bottomk", 's'},
    {"count", ' '},
    {"count_values", 't'},
    {"group", ' '},
    {"limit_ratio", 's'},
    {"limitk", 's'},
    {"max", ' '},
    {"min", ' '},
    {"quantile", 's'},
    {"stddev", ' '},
    {"stdvar", ' '},
    {"sum", ' '},
    {"topk", 's'},
});

ExpressionType type_of(char letter) {
  switch (letter) {
    case 's':
      return ExpressionType::kScalar;
    case 't':
      return ExpressionType::kString;
    case 'v':
      return ExpressionType::kVector;
    case 'm':
      return ExpressionType::kMatrix;
    default:
      LAMBDA_ASSERT(false);
  }
  return ExpressionType::kScalar;
}

size_t letters(std::string_view arguments) {
  return static_cast<size_t>(std::ranges::count_if(arguments, [](char c) { return c != '?' && c != '*'; }));
}

}  // namespace

const Signature* find_function(std::string_view name) {
  const auto at = std::ranges::lower_bound(kFunctions, name, {}, &Signature::name);
  return at != kFunctions.end() && at->name == name ? &*at : nullptr;
}

size_t arguments_min(const Signature& signature) {
  const size_t optional = signature.arguments.find('?');
  const std::string_view needed = signature.arguments.substr(0, optional);
  return letters(needed) - (needed.ends_with('*') ? 1 : 0);
}

size_t arguments_max(const Signature& signature) {
  return signature.arguments.ends_with('*') ? SIZE_MAX : letters(signature.arguments);
}

ExpressionType argument_type(const Signature& signature, size_t index) {
  size_t at = 0;
  char last = 's';
  for (const char c : signature.arguments) {
    if (c == '?' || c == '*') {
      continue;
    }
    last = c;
    if (at++ == index) {
      break;
    }
  }
  return type_of(last);
}

ExpressionType result_type(const Signature& signature) {
  return type_of(signature.result);
}

bool is_aggregation(std::string_view lower_case_word) {
  return std::ranges::find(kAggregations, lower_case_word, &AggregationName::name) != kAggregations.end();
}

std::optional<ExpressionType> aggregation_parameter(std::string_view operation) {
  const auto at = std::ranges::find(kAggregations, operation, &AggregationName::name);
  LAMBDA_ASSERT(at != kAggregations.end());
  return at->parameter == ' ' ? std::nullopt : std::optional(type_of(at->parameter));
}

}  // namespace lambda::query
