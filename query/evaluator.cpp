#include "query/evaluator.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "query/computing.h"
#include "query/support.h"

namespace lambda::query {
namespace {

// Asks the source for every selector of the tree.
class Selecting {
 public:
  Selecting(const QueryTimes& times, const QueryLimits& limits, SeriesSource& source, Selections& selections)
      : times_(times), limits_(limits), source_(source), selections_(selections) {}

  Status visit(const Expression& expression) {
    if (const auto* vector = std::get_if<VectorSelector>(&expression.node)) {
      return select(expression, vector->matchers, vector->shift, limits_.lookback_ms);
    }
    if (const auto* matrix = std::get_if<MatrixSelector>(&expression.node)) {
      return select(expression, matrix->matchers, matrix->shift, matrix->range_ms);
    }
    for (const Expression* child : children(expression)) {
      if (auto done = visit(*child); !done) {
        return done;
      }
    }
    return {};
  }

 private:
  Status select(const Expression& at, const std::vector<Matcher>& matchers, const TimeShift& shift, int64_t back_ms) {
    const int64_t from_ms = shifted(shift, times_, times_.start_ms) - back_ms + 1;  // (t - back, t] in whole ms
    const int64_t to_ms = shifted(shift, times_, step_time(times_, step_count(times_) - 1));
    auto selection = source_.select(matchers, from_ms, to_ms, limits_.series_max);
    if (!selection) {
      return tl::unexpected(selection.error());
    }
    selections_.emplace(&at, std::move(*selection));
    return {};
  }

  const QueryTimes& times_;
  const QueryLimits& limits_;
  SeriesSource& source_;
  Selections& selections_;
};

}  // namespace

struct Evaluation::State {
  ExpressionPtr expression;
  QueryTimes times;
  QueryLimits limits;
  Selections selections;
};

namespace {

std::vector<ResultSeries> points_of(Columns columns, const QueryTimes& times) {
  std::vector<ResultSeries> out;
  for (Column& column : columns) {
    ResultSeries series{std::move(column.labels), {}};
    for (size_t step = 0; step < column.values.size(); ++step) {
      if (column.present[step] != 0) {
        series.samples.push_back({step_time(times, step), column.values[step]});
      }
    }
    if (!series.samples.empty()) {
      out.push_back(std::move(series));
    }
    column = {};
  }
  return out;
}

Result<QueryResult> answer(Computing& computing, const Expression& expression, const QueryTimes& times) {
  QueryResult result;
  result.type = expression.type;
  switch (expression.type) {
    case ExpressionType::kString:
      result.string = std::get<StringLiteral>(without_parentheses(expression).node).value;
      result.scalar.time_ms = times.start_ms;
      return result;
    case ExpressionType::kScalar: {
      const auto values = computing.scalar(expression);
      if (!values) {
        return tl::unexpected(values.error());
      }
      result.scalar = {times.start_ms, values->front()};
      if (times.range) {
        result.series.push_back({});
        for (size_t step = 0; step < values->size(); ++step) {
          result.series[0].samples.push_back({step_time(times, step), (*values)[step]});
        }
      }
      break;
    }
    case ExpressionType::kVector: {
      auto columns = computing.vector(expression);
      if (!columns) {
        return tl::unexpected(columns.error());
      }
      result.series = points_of(std::move(*columns), times);
      break;
    }
    case ExpressionType::kMatrix: {
      auto series = computing.matrix(expression);
      if (!series) {
        return tl::unexpected(series.error());
      }
      result.series = std::move(*series);
      break;
    }
  }
  std::ranges::sort(result.series, {}, &ResultSeries::labels);
  if (times.range) {
    result.type = ExpressionType::kMatrix;
  }
  return result;
}

}  // namespace

Evaluation::Evaluation(std::unique_ptr<State> state) : state_(std::move(state)) {}
Evaluation::~Evaluation() = default;
Evaluation::Evaluation(Evaluation&&) noexcept = default;
Evaluation& Evaluation::operator=(Evaluation&&) noexcept = default;

Result<Evaluation> Evaluation::prepare(ExpressionPtr expression, const QueryTimes& times, const QueryLimits& limits,
                                       SeriesSource& source) {
  LAMBDA_ASSERT(times.step_ms > 0 && times.start_ms <= times.end_ms);
  LAMBDA_ASSERT(times.range || times.start_ms == times.end_ms);
  if (times.range && expression->type != ExpressionType::kScalar && expression->type != ExpressionType::kVector) {
    return fail(ErrorCode::kInvalid,
                "a range query takes a scalar or an instant vector, not " + std::string(type_name(expression->type)));
  }
  if (const std::string part = unsupported_part(*expression); !part.empty()) {
    return fail(ErrorCode::kUnsupported, part + " is not supported yet");
  }
  auto state = std::make_unique<State>(State{std::move(expression), times, limits, {}});
  if (auto done = Selecting(state->times, state->limits, source, state->selections).visit(*state->expression); !done) {
    return tl::unexpected(done.error());
  }
  return Evaluation(std::move(state));
}

Result<QueryResult> Evaluation::run(const std::function<bool()>& cancelled) {
  Computing computing(state_->times, state_->limits, state_->selections, cancelled);
  auto result = answer(computing, *state_->expression, state_->times);
  if (result) {
    result->warnings = computing.warnings();
    for (const auto& [at, selection] : state_->selections) {
      std::ranges::copy(selection.warnings, std::back_inserter(result->warnings));
    }
    std::ranges::sort(result->warnings);
    result->warnings.erase(std::unique(result->warnings.begin(), result->warnings.end()), result->warnings.end());
  }
  return result;
}

}  // namespace lambda::query
