#include "query/computing.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numbers>
#include <optional>
#include <utility>

#include "query/aggregate.h"
#include "query/combine.h"
#include "query/labels.h"
#include "query/support.h"

namespace lambda::query {

uint64_t step_count(const QueryTimes& times) {
  return static_cast<uint64_t>((times.end_ms - times.start_ms) / times.step_ms) + 1;
}

int64_t step_time(const QueryTimes& times, uint64_t step) {
  return times.start_ms + static_cast<int64_t>(step) * times.step_ms;
}

int64_t shifted(const TimeShift& shift, int64_t time_ms) {
  LAMBDA_ASSERT(shift.anchor == TimeShift::Anchor::kNone || shift.anchor == TimeShift::Anchor::kTime);
  return (shift.anchor == TimeShift::Anchor::kTime ? shift.anchor_ms : time_ms) - shift.offset_ms;
}

Status Computing::still_wanted() const {
  if (running_.cancelled && running_.cancelled()) {
    return fail(ErrorCode::kUnavailable, "the query was cancelled");
  }
  return {};
}

Result<SeriesCursor::Gathered> Computing::read(SelectedSeries& series, const Windows* windows) {
  if (auto wanted = still_wanted(); !wanted) {
    return tl::unexpected(wanted.error());
  }
  Result<SeriesCursor::Gathered> gathered = SeriesCursor::Gathered();
  if (windows != nullptr) {
    gathered = series.cursor->gather(*windows, running_.budget.left());
  } else if (auto samples = series.cursor->read(running_.budget.left())) {
    gathered->samples = std::move(*samples);
  } else {
    gathered = tl::unexpected(samples.error());
  }
  if (!gathered) {
    return gathered;
  }
  for (std::string& warning : series.cursor->warnings()) {
    Notes::add(running_.notes.warnings, std::move(warning));
  }
  series.cursor.reset();
  if (auto charged = running_.budget.charge(gathered->samples.size() + gathered->runs.size()); !charged) {
    return tl::unexpected(charged.error());
  }
  return gathered;
}

void Computing::drop_name(Column& column) const {
  if (running_.names == NameRemoval::kAtOnce) {
    column.labels = without_metric_name(std::move(column.labels));
  } else {
    column.drops_name = true;
  }
}

Result<Columns> Computing::single(Labels labels, Scalars values) {
  Columns out;
  out.push_back({std::move(labels), std::move(values), std::vector<uint8_t>(steps(), 1)});
  return out;
}

// --- numbers ---

Result<Computing::Scalars> Computing::number_each_step(const std::function<double(size_t)>& number) {
  if (auto charged = running_.budget.charge(steps()); !charged) {
    return tl::unexpected(charged.error());
  }
  Scalars out(steps());
  for (size_t step = 0; step < out.size(); ++step) {
    out[step] = number(step);
  }
  return out;
}

Result<std::vector<Computing::Scalars>> Computing::scalars(const Call& node, size_t first, size_t behind) {
  std::vector<Scalars> out;
  for (size_t i = first; i < behind; ++i) {
    auto values = scalar(*node.arguments[i]);
    if (!values) {
      return tl::unexpected(values.error());
    }
    out.push_back(std::move(*values));
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

namespace {

// start(), end(), range() and step(): what the query asks for, in seconds.
std::optional<double> query_number(std::string_view function, const QueryTimes& times) {
  const auto seconds = [](int64_t ms) { return static_cast<double>(ms) / 1000; };
  if (function == "start") return seconds(times.start_ms);
  if (function == "end") return seconds(times.end_ms);
  if (function == "range") return seconds(times.end_ms - times.start_ms);
  if (function == "step") return times.range ? seconds(times.step_ms) : 0;
  return std::nullopt;
}

}  // namespace

// The higher or lower of two numbers; NaN when one of them is.
Result<Computing::Scalars> Computing::scalar_extreme(const Call& node, bool highest) {
  const auto both = scalars(node, 0, 2);
  if (!both) {
    return tl::unexpected(both.error());
  }
  return number_each_step([&](size_t step) {
    const double a = (*both)[0][step];
    const double b = (*both)[1][step];
    return std::isnan(a) || std::isnan(b) ? a + b : highest ? std::max(a, b) : std::min(a, b);
  });
}

Result<Computing::Scalars> Computing::scalar_call(const Call& call) {
  if (call.function == "time") {
    return number_each_step([&](size_t step) { return static_cast<double>(step_time(times_, step)) / 1000; });
  }
  if (call.function == "pi") {
    return number_each_step([](size_t) { return std::numbers::pi; });
  }
  if (const auto number = query_number(call.function, running_.query_times)) {
    return number_each_step([&](size_t) { return *number; });
  }
  if (call.function == "max_of" || call.function == "min_of") {
    return scalar_extreme(call, call.function == "max_of");
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
    return select_newest(inner, *selector, false);
  }
  if (const auto* node = std::get_if<Call>(&inner.node)) {
    return call(inner, *node);
  }
  if (const auto* node = std::get_if<Aggregation>(&inner.node)) {
    return aggregation(*node);
  }
  if (const auto* node = std::get_if<Negation>(&inner.node)) {
    return negated(*node);
  }
  return binary(std::get<Binary>(inner.node));
}

// The newest samples; with `sample_times`, when they were taken, in seconds.
Result<Columns> Computing::select_newest(const Expression& at, const VectorSelector& selector, bool sample_times) {
  Columns columns;
  for (SelectedSeries& series : running_.selections.at(&at).series) {
    const auto read_series = read(series, nullptr);
    if (!read_series) {
      return tl::unexpected(read_series.error());
    }
    if (auto charged = running_.budget.charge(steps()); !charged) {
      return tl::unexpected(charged.error());
    }
    const std::vector<Sample>& samples = read_series->samples;
    Column column{std::move(series.labels), std::vector<double>(steps()), std::vector<uint8_t>(steps())};
    size_t behind = 0;  // samples[behind] is the first one later than the moment looked at
    bool any = false;
    for (size_t step = 0; step < steps(); ++step) {
      const int64_t moment_ms = shifted(selector.shift, step_time(times_, step));
      while (behind < samples.size() && samples[behind].time_ms <= moment_ms) {
        ++behind;
      }
      if (behind == 0) {
        continue;
      }
      const Sample& newest = samples[behind - 1];
      if (newest.time_ms > moment_ms - running_.limits.lookback_ms && !is_stale(newest.value)) {
        column.values[step] = sample_times ? static_cast<double>(newest.time_ms) / 1000 : newest.value;
        column.present[step] = 1;
        any = true;
      }
    }
    if (any) {
      columns.push_back(std::move(column));
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
    drop_name(column);
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
    return combine_with_scalar(node, std::move(*columns), *number, scalar_left, running_.names);
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
  return combine(node, *left, *right, steps(), running_.names, running_.budget);
}

Result<Columns> Computing::aggregation(const Aggregation& node) {
  Scalars parameter;
  if (node.parameter && node.parameter->type == ExpressionType::kScalar) {
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
  if (node.operation == "count_values") {
    return count_values(node, *columns, steps(), running_.budget);
  }
  if (auto checked = check_parameter(node, parameter, running_.notes); !checked) {
    return tl::unexpected(checked.error());
  }
  return aggregate(node, *columns, parameter, steps(), running_.budget);
}

}  // namespace lambda::query
