#include "query/computing.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <numbers>
#include <utility>

#include "query/aggregate.h"
#include "query/combine.h"
#include "query/labels.h"

namespace lambda::query {

size_t step_count(const QueryTimes& times) {
  return static_cast<size_t>((times.end_ms - times.start_ms) / times.step_ms) + 1;
}

int64_t step_time(const QueryTimes& times, size_t step) {
  return times.start_ms + static_cast<int64_t>(step) * times.step_ms;
}

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

Status Computing::still_wanted() const {
  if (cancelled_ && cancelled_()) {
    return fail(ErrorCode::kUnavailable, "the query was cancelled");
  }
  return {};
}

// --- numbers ---

Result<Computing::Scalars> Computing::number_each_step(const std::function<double(size_t)>& number) {
  if (auto charged = budget_.charge(steps()); !charged) {
    return tl::unexpected(charged.error());
  }
  Scalars out(steps());
  for (size_t step = 0; step < out.size(); ++step) {
    out[step] = number(step);
  }
  return out;
}

Result<Computing::Scalars> Computing::scalar(const Expression& at) {
  const Expression& inner = without_parentheses(at);
  if (const auto* number = std::get_if<NumberLiteral>(&inner.node)) {
    return number_each_step([&](size_t) { return number->value; });
  }
  if (const auto* negation = std::get_if<Negation>(&inner.node)) {
    auto values = scalar(*negation->inner);
    for (size_t step = 0; values && step < values->size(); ++step) {
      (*values)[step] = -(*values)[step];
    }
    return values;
  }
  if (const auto* node = std::get_if<Binary>(&inner.node)) {
    return scalar_binary(*node);
  }
  return scalar_call(std::get<Call>(inner.node));
}

Result<Computing::Scalars> Computing::scalar_binary(const Binary& node) {
  auto left = scalar(*node.left);
  if (!left) {
    return left;
  }
  const auto right = scalar(*node.right);
  if (!right) {
    return right;
  }
  for (size_t step = 0; step < left->size(); ++step) {
    (*left)[step] = compute(node.op, (*left)[step], (*right)[step]);
  }
  return left;
}

Result<Computing::Scalars> Computing::scalar_call(const Call& call) {
  if (call.function == "time") {
    return number_each_step([&](size_t step) { return static_cast<double>(step_time(times_, step)) / 1000; });
  }
  if (call.function == "pi") {
    return number_each_step([](size_t) { return std::numbers::pi; });
  }
  LAMBDA_ASSERT(call.function == "scalar");
  const auto columns = vector(*call.arguments[0]);
  if (!columns) {
    return tl::unexpected(columns.error());
  }
  return number_each_step([&](size_t step) {  // the only value of the step, else NaN
    double only = std::numeric_limits<double>::quiet_NaN();
    size_t count = 0;
    for (const Column& column : *columns) {
      if (column.present[step] != 0) {
        only = ++count == 1 ? column.values[step] : std::numeric_limits<double>::quiet_NaN();
      }
    }
    return only;
  });
}

// --- vectors ---

Result<Columns> Computing::vector(const Expression& at) {
  const Expression& inner = without_parentheses(at);
  if (const auto* selector = std::get_if<VectorSelector>(&inner.node)) {
    return select_newest(inner, *selector);
  }
  if (const auto* node = std::get_if<Call>(&inner.node)) {
    return call(*node);
  }
  if (const auto* node = std::get_if<Aggregation>(&inner.node)) {
    return aggregation(*node);
  }
  if (const auto* node = std::get_if<Negation>(&inner.node)) {
    return negated(*node);
  }
  return binary(std::get<Binary>(inner.node));
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

Result<Columns> Computing::negated(const Negation& node) {
  auto columns = vector(*node.inner);
  if (!columns) {
    return columns;
  }
  for (Column& column : *columns) {
    column.labels = without_metric_name(std::move(column.labels));
    std::ranges::transform(column.values, column.values.begin(), std::negate<>());
  }
  if (auto merged = merge_equal(*columns); !merged) {
    return tl::unexpected(merged.error());
  }
  return columns;
}

Result<Columns> Computing::binary(const Binary& node) {
  if (node.left->type == ExpressionType::kScalar || node.right->type == ExpressionType::kScalar) {
    const bool scalar_left = node.left->type == ExpressionType::kScalar;
    const auto number = scalar(scalar_left ? *node.left : *node.right);
    if (!number) {
      return tl::unexpected(number.error());
    }
    auto columns = vector(scalar_left ? *node.right : *node.left);
    if (!columns) {
      return columns;
    }
    return combine_with_scalar(node, std::move(*columns), *number, scalar_left);
  }
  const auto left = vector(*node.left);
  if (!left) {
    return left;
  }
  const auto right = vector(*node.right);
  if (!right) {
    return right;
  }
  if (auto wanted = still_wanted(); !wanted) {
    return tl::unexpected(wanted.error());
  }
  return combine(node, *left, *right, steps(), budget_);
}

Result<Columns> Computing::aggregation(const Aggregation& node) {
  Scalars parameter;
  if (node.parameter) {
    auto values = scalar(*node.parameter);
    if (!values) {
      return tl::unexpected(values.error());
    }
    parameter = std::move(*values);
  }
  const auto columns = vector(*node.inner);
  if (!columns) {
    return columns;
  }
  if (auto wanted = still_wanted(); !wanted) {
    return tl::unexpected(wanted.error());
  }
  return aggregate(node, *columns, parameter, steps(), budget_);
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

}  // namespace lambda::query
