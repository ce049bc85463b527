#include "query/evaluator.h"

#include <algorithm>
#include <iterator>
#include <unordered_map>
#include <utility>

#include "query/columns.h"
#include "query/labels.h"
#include "query/support.h"

namespace lambda::query {
namespace {

using Selections = std::unordered_map<const Expression*, Selection>;

Error cancelled_error() {
  return {ErrorCode::kUnavailable, "the query was cancelled"};
}

size_t step_count(const QueryTimes& times) {
  return static_cast<size_t>((times.end_ms - times.start_ms) / times.step_ms) + 1;
}

int64_t step_time(const QueryTimes& times, size_t step) {
  return times.start_ms + static_cast<int64_t>(step) * times.step_ms;
}

// The moment a selector looks at when the query stands at `time_ms`. Never goes down as that goes up.
int64_t shifted(const TimeShift& shift, const QueryTimes& times, int64_t time_ms) {
  switch (shift.anchor) {
    case TimeShift::Anchor::kNone:
      break;
    case TimeShift::Anchor::kTime:
      time_ms = shift.anchor_ms;
      break;
    case TimeShift::Anchor::kStart:
      time_ms = times.start_ms;
      break;
    case TimeShift::Anchor::kEnd:
      time_ms = times.end_ms;
      break;
  }
  return time_ms - shift.offset_ms;
}

const Expression& without_parentheses(const Expression& expression) {
  const Expression* inner = &expression;
  while (const auto* parentheses = std::get_if<Parentheses>(&inner->node)) {
    inner = parentheses->inner.get();
  }
  return *inner;
}

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

// Computes; the methods are named after what they return.
class Computing {
 public:
  Computing(const QueryTimes& times, const QueryLimits& limits, Selections& selections,
            const std::function<bool()>& cancelled)
      : times_(times), limits_(limits), selections_(selections), cancelled_(cancelled), budget_(limits.samples_max) {}

  Result<std::vector<double>> scalar(const Expression& at);
  Result<Columns> vector(const Expression& at);
  Result<std::vector<ResultSeries>> matrix(const Expression& at);
  // Of what was read so far; may repeat themselves.
  const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  Result<Columns> select_newest(const Expression& at, const VectorSelector& selector);

  template <class T>
  Status read(SelectedSeries& series, T use) {
    if (cancelled_ && cancelled_()) {
      return tl::unexpected(cancelled_error());
    }
    auto samples = series.cursor->read(budget_.left());
    if (!samples) {
      return tl::unexpected(samples.error());
    }
    std::ranges::move(series.cursor->warnings(), std::back_inserter(warnings_));
    series.cursor.reset();
    if (auto charged = budget_.charge(samples->size()); !charged) {
      return charged;
    }
    return use(std::move(*samples));
  }

  size_t steps() const { return step_count(times_); }

  const QueryTimes& times_;
  const QueryLimits& limits_;
  Selections& selections_;
  const std::function<bool()>& cancelled_;
  SampleBudget budget_;
  std::vector<std::string> warnings_;
};

Result<std::vector<double>> Computing::scalar(const Expression& at) {
  const Expression& inner = without_parentheses(at);
  if (const auto* number = std::get_if<NumberLiteral>(&inner.node)) {
    if (auto charged = budget_.charge(steps()); !charged) {
      return tl::unexpected(charged.error());
    }
    return std::vector<double>(steps(), number->value);
  }
  return fail(ErrorCode::kUnsupported, to_string(inner) + " is not supported yet");
}

Result<Columns> Computing::vector(const Expression& at) {
  const Expression& inner = without_parentheses(at);
  if (const auto* selector = std::get_if<VectorSelector>(&inner.node)) {
    return select_newest(inner, *selector);
  }
  return fail(ErrorCode::kUnsupported, to_string(inner) + " is not supported yet");
}

Result<Columns> Computing::select_newest(const Expression& at, const VectorSelector& selector) {
  Columns columns;
  for (SelectedSeries& series : selections_.at(&at).series) {
    const auto done = read(series, [&](std::vector<Sample> samples) -> Status {
      Column column{std::move(series.labels), std::vector<double>(steps()), std::vector<uint8_t>(steps())};
      if (auto charged = budget_.charge(steps()); !charged) {
        return charged;
      }
      size_t behind = 0;  // samples[behind] is the first one later than the moment looked at
      bool any = false;
      for (size_t step = 0; step < steps(); ++step) {
        const int64_t moment_ms = shifted(selector.shift, times_, step_time(times_, step));
        while (behind < samples.size() && samples[behind].time_ms <= moment_ms) {
          ++behind;
        }
        if (behind > 0 && samples[behind - 1].time_ms > moment_ms - limits_.lookback_ms) {
          column.values[step] = samples[behind - 1].value;
          column.present[step] = 1;
          any = true;
        }
      }
      if (any) {
        columns.push_back(std::move(column));
      }
      return {};
    });
    if (!done) {
      return tl::unexpected(done.error());
    }
  }
  return columns;
}

Result<std::vector<ResultSeries>> Computing::matrix(const Expression& at) {
  const Expression& inner = without_parentheses(at);
  std::vector<ResultSeries> out;
  LAMBDA_ASSERT(std::holds_alternative<MatrixSelector>(inner.node));
  for (SelectedSeries& series : selections_.at(&inner).series) {
    const auto done = read(series, [&](std::vector<Sample> samples) -> Status {
      if (!samples.empty()) {
        out.push_back({std::move(series.labels), std::move(samples)});
      }
      return {};
    });
    if (!done) {
      return tl::unexpected(done.error());
    }
  }
  return out;
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
