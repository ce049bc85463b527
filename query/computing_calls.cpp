// Calls of functions: see computing.h.
#include <algorithm>
#include <span>
#include <utility>

#include "query/computing.h"
#include "query/labels.h"

namespace lambda::query {
namespace {

// How long a slow query goes on after its time is up: as long as this takes.
constexpr size_t kSamplesBetweenLooks = 1'000'000;

}  // namespace

Result<Columns> Computing::call(const Call& node) {
  if (const WindowFunctionEntry* function = find_window_function(node.function)) {
    return call_window(*function, node);
  }
  if (const ValueFunction compute = find_value_function(node.function)) {
    return call_value(compute, node);
  }
  if (node.function == "absent") {
    return absent(node);
  }
  LAMBDA_ASSERT(node.function == "vector");
  auto values = scalar(*node.arguments[0]);
  if (!values) {
    return tl::unexpected(values.error());
  }
  Columns out;
  out.push_back({{}, std::move(*values), std::vector<uint8_t>(steps(), 1)});
  return out;
}

Result<Columns> Computing::call_value(ValueFunction compute, const Call& node) {
  auto columns = vector(*node.arguments[0]);
  if (!columns) {
    return columns;
  }
  std::vector<Scalars> parameters;
  for (size_t i = 1; i < node.arguments.size(); ++i) {
    auto values = scalar(*node.arguments[i]);
    if (!values) {
      return tl::unexpected(values.error());
    }
    parameters.push_back(std::move(*values));
  }
  std::vector<double> at_step(parameters.size());
  const bool clamps = node.function == "clamp";
  for (Column& column : *columns) {
    column.labels = without_metric_name(std::move(column.labels));
    for (size_t step = 0; step < steps(); ++step) {
      for (size_t i = 0; i < parameters.size(); ++i) {
        at_step[i] = parameters[i][step];
      }
      if (clamps && at_step[0] > at_step[1]) {  // nothing lies between them
        column.present[step] = 0;
      } else {
        column.values[step] = compute(column.values[step], at_step);
      }
    }
  }
  if (auto merged = merge_equal(*columns); !merged) {
    return tl::unexpected(merged.error());
  }
  return columns;
}

Result<Columns> Computing::call_window(const WindowFunctionEntry& function, const Call& node) {
  Scalars parameter;
  const MatrixSelector* selector = nullptr;
  const Expression* selected = nullptr;
  for (const ExpressionPtr& argument : node.arguments) {
    const Expression& inner = without_parentheses(*argument);
    if (argument->type == ExpressionType::kMatrix) {
      selected = &inner;
      selector = &std::get<MatrixSelector>(inner.node);
      continue;
    }
    auto values = scalar(inner);
    if (!values) {
      return tl::unexpected(values.error());
    }
    parameter = std::move(*values);
  }
  Columns columns;
  for (SelectedSeries& series : selections_.at(selected).series) {
    const auto done = read(series, [&](const std::vector<Sample>& samples) -> Status {
      Labels labels = function.keeps_name ? std::move(series.labels) : without_metric_name(std::move(series.labels));
      auto column = slide(function, std::move(labels), samples, *selector, parameter);
      if (!column) {
        return tl::unexpected(column.error());
      }
      columns.push_back(std::move(*column));
      return {};
    });
    if (!done) {
      return tl::unexpected(done.error());
    }
  }
  if (auto merged = merge_equal(columns); !merged) {
    return tl::unexpected(merged.error());
  }
  return columns;
}

// The function over the window of every step. Windows overlap, so this is where time goes: it asks to be cancelled by
// samples looked at, not only by series.
Result<Column> Computing::slide(const WindowFunctionEntry& function, Labels labels, const std::vector<Sample>& samples,
                                const MatrixSelector& selector, const Scalars& parameter) {
  if (auto charged = budget_.charge(steps()); !charged) {
    return tl::unexpected(charged.error());
  }
  Column column{std::move(labels), std::vector<double>(steps()), std::vector<uint8_t>(steps())};
  size_t first = 0;   // in the window
  size_t behind = 0;  // it
  size_t looked_at = 0;
  for (size_t step = 0; step < steps(); ++step) {
    const int64_t time_ms = step_time(times_, step);
    const int64_t end_ms = shifted(selector.shift, times_, time_ms);
    while (behind < samples.size() && samples[behind].time_ms <= end_ms) {
      ++behind;
    }
    while (first < behind && samples[first].time_ms <= end_ms - selector.range_ms) {
      ++first;
    }
    looked_at += behind - first;
    if (looked_at > kSamplesBetweenLooks) {
      looked_at = 0;
      if (auto wanted = still_wanted(); !wanted) {
        return tl::unexpected(wanted.error());
      }
    }
    const Window window{std::span(samples).subspan(first, behind - first), end_ms - selector.range_ms, end_ms, time_ms,
                        parameter.empty() ? 0 : parameter[step]};
    if (const auto value = function.compute(window)) {
      column.values[step] = *value;
      column.present[step] = 1;
    }
  }
  return column;
}

// 1 where nothing is; with the labels the selector says such a series would have.
Result<Columns> Computing::absent(const Call& node) {
  const auto columns = vector(*node.arguments[0]);
  if (!columns) {
    return columns;
  }
  if (auto charged = budget_.charge(steps()); !charged) {
    return tl::unexpected(charged.error());
  }
  Column out{{}, std::vector<double>(steps(), 1), std::vector<uint8_t>(steps())};
  for (size_t step = 0; step < steps(); ++step) {
    out.present[step] =
        std::ranges::none_of(*columns, [step](const Column& column) { return column.present[step] != 0; }) ? 1 : 0;
  }
  if (const auto* selector = std::get_if<VectorSelector>(&without_parentheses(*node.arguments[0]).node)) {
    for (const Matcher& matcher : selector->matchers) {
      const auto same_label = [&](const Matcher& other) { return other.label == matcher.label; };
      if (matcher.op == MatchOp::kEqual && matcher.label != kMetricName &&
          std::ranges::count_if(selector->matchers, same_label) == 1) {
        set_label(out.labels, matcher.label, matcher.value);
      }
    }
  }
  Columns made;
  made.push_back(std::move(out));
  return made;
}

}  // namespace lambda::query
