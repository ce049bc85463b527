// What the tests of the evaluator share: a question in one line, an answer as one line of text.
#pragma once

#include <string>
#include <string_view>

#include "query/evaluator.h"
#include "query/labels.h"
#include "query/number.h"
#include "query/parser.h"

namespace lambda::query {

inline Result<QueryResult> evaluate(SeriesSource& source, std::string_view text, const QueryTimes& times,
                                    const QueryLimits& limits = {}) {
  auto expression = parse_expression(text);
  if (!expression) {
    return tl::unexpected(expression.error());
  }
  auto evaluation = Evaluation::prepare(std::move(*expression), times, limits, source);
  if (!evaluation) {
    return tl::unexpected(evaluation.error());
  }
  return evaluation->run({});
}

inline QueryTimes at(int64_t time_ms) {
  return {time_ms, time_ms, 1, false};
}
inline QueryTimes every(int64_t start_ms, int64_t end_ms, int64_t step_ms) {
  return {start_ms, end_ms, step_ms, true};
}

// "up{a="b"} 5@1000 6@2000; ..." or "error: ...".
inline std::string text_of(const Result<QueryResult>& result) {
  if (!result) {
    return "error: " + result.error().text;
  }
  if (result->type == ExpressionType::kScalar) {
    return format_number(result->scalar.value);
  }
  if (result->type == ExpressionType::kString) {
    return result->string;
  }
  std::string out;
  for (const ResultSeries& series : result->series) {
    out += (out.empty() ? "" : "; ") + to_string(series.labels);
    for (const Sample& sample : series.samples) {
      out += " " + format_number(sample.value) + "@" + std::to_string(sample.time_ms);
    }
  }
  return out;
}

}  // namespace lambda::query
