#include "query/evaluator.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "query/computing.h"
#include "query/labels.h"
#include "query/support.h"

namespace lambda::query {
namespace {

// Asks the source for every selector of the tree.
class Selecting {
 public:
  Selecting(const QueryLimits& limits, SeriesSource& source, Selections& selections)
      : limits_(limits), source_(source), selections_(selections) {}

  Status visit(const Expression& expression, const QueryTimes& times) {
    if (const auto* vector = std::get_if<VectorSelector>(&expression.node)) {
      return select(expression, vector->matchers, vector->shift, limits_.lookback_ms, times);
    }
    if (const auto* matrix = std::get_if<MatrixSelector>(&expression.node)) {
      return select(expression, matrix->matchers, matrix->shift, matrix->range_ms, times);
    }
    std::optional<QueryTimes> inside = times;
    if (const auto* subquery = std::get_if<Subquery>(&expression.node)) {
      inside = inner_times(*subquery, times);
    }
    for (const Expression* child : children(expression)) {
      if (!inside) {
        break;
      }
      if (auto done = visit(*child, *inside); !done) {
        return done;
      }
    }
    return {};
  }

 private:
  Status select(const Expression& at, const std::vector<Matcher>& matchers, const TimeShift& shift, int64_t back_ms,
                const QueryTimes& times) {
    const int64_t from_ms = shifted(shift, times.start_ms) - back_ms + 1;  // (t - back, t] in whole ms
    const int64_t to_ms = shifted(shift, step_time(times, step_count(times) - 1));
    auto selection = source_.select(matchers, from_ms, to_ms, limits_.series_max);
    if (!selection) {
      return tl::unexpected(selection.error());
    }
    selections_.emplace(&at, std::move(*selection));
    return {};
  }

  const QueryLimits& limits_;
  SeriesSource& source_;
  Selections& selections_;
};

// start() and end() mean those of the query, also inside subqueries.
void replace_anchors(Expression& expression, const QueryTimes& times) {
  TimeShift* shift = nullptr;
  if (auto* vector = std::get_if<VectorSelector>(&expression.node)) shift = &vector->shift;
  if (auto* matrix = std::get_if<MatrixSelector>(&expression.node)) shift = &matrix->shift;
  if (auto* subquery = std::get_if<Subquery>(&expression.node)) shift = &subquery->shift;
  if (shift != nullptr && (shift->anchor == TimeShift::Anchor::kStart || shift->anchor == TimeShift::Anchor::kEnd)) {
    shift->anchor_ms = shift->anchor == TimeShift::Anchor::kStart ? times.start_ms : times.end_ms;
    shift->anchor = TimeShift::Anchor::kTime;
  }
  for (Expression* child : children(expression)) {
    replace_anchors(*child, times);
  }
}

// Whether the order of the result is part of the answer.
bool gives_order(const Expression& expression) {
  const Expression& inner = without_parentheses(expression);
  if (const auto* call = std::get_if<Call>(&inner.node)) {
    return call->function.starts_with("sort");
  }
  const auto* aggregation = std::get_if<Aggregation>(&inner.node);
  return aggregation != nullptr && (aggregation->operation == "topk" || aggregation->operation == "bottomk");
}

}  // namespace

struct Evaluation::State {
  ExpressionPtr expression;
  QueryTimes times;
  QueryLimits limits;
  Selections selections;
  NameRemoval names;
};

namespace {

Status remove_names(Columns& columns) {
  for (Column& column : columns) {
    if (column.drops_name) {
      column.labels = without_metric_name(std::move(column.labels));
    }
  }
  return merge_equal(columns);
}

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
      if (auto removed = remove_names(*columns); !removed) {
        return tl::unexpected(removed.error());
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
  if (times.range || !gives_order(expression)) {
    std::ranges::sort(result.series, {}, &ResultSeries::labels);
  }
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
                                       SeriesSource& source, NameRemoval names) {
  LAMBDA_ASSERT(times.step_ms > 0 && times.start_ms <= times.end_ms);
  LAMBDA_ASSERT(times.range || times.start_ms == times.end_ms);
  if (times.range && expression->type != ExpressionType::kScalar && expression->type != ExpressionType::kVector) {
    return fail(ErrorCode::kInvalid,
                "a range query takes a scalar or an instant vector, not " + std::string(type_name(expression->type)));
  }
  if (const std::string part = unsupported_part(*expression); !part.empty()) {
    return fail(ErrorCode::kUnsupported, part + " is not supported yet");
  }
  auto state = std::make_unique<State>(State{std::move(expression), times, limits, {}, names});
  replace_anchors(*state->expression, times);
  Selecting selecting(state->limits, source, state->selections);
  if (auto done = selecting.visit(*state->expression, times); !done) {
    return tl::unexpected(done.error());
  }
  return Evaluation(std::move(state));
}

Result<QueryResult> Evaluation::run(const std::function<bool()>& cancelled) {
  Running running{state_->limits,
                  state_->selections,
                  cancelled,
                  state_->names,
                  state_->times,
                  SampleBudget(state_->limits.samples_max),
                  {}};
  Computing computing(state_->times, running);
  auto result = answer(computing, *state_->expression, state_->times);
  if (result) {
    Notes& notes = running.notes;
    for (const auto& [at, selection] : state_->selections) {
      for (const std::string& warning : selection.warnings) {
        Notes::add(notes.warnings, warning);
      }
    }
    result->warnings = Notes::shown(notes.warnings, "warning");
    result->infos = Notes::shown(notes.infos, "info");
  }
  return result;
}

}  // namespace lambda::query
