// Ranges, subqueries and the functions over them: see computing.h.
#include <algorithm>
#include <optional>
#include <span>
#include <utility>

#include "query/computing.h"
#include "query/labels.h"
#include "query/support.h"

namespace lambda::query {
namespace {

// How long a slow query goes on after its time is up: as long as this takes.
constexpr size_t kSamplesBetweenLooks = 1'000'000;
// Between two moments of a subquery such as [5m:], as Prometheus has it by itself.
constexpr int64_t kSubqueryStepMs = 60'000;

int64_t floor_to(int64_t time_ms, int64_t step_ms) {
  const int64_t rest = time_ms % step_ms;
  return time_ms - (rest < 0 ? rest + step_ms : rest);
}

// samples[i] is lower than the one before it: a counter began again.
void find_resets(const std::vector<Sample>& samples, std::vector<size_t>& resets) {
  for (size_t i = 1; i < samples.size(); ++i) {
    if (samples[i].value < samples[i - 1].value) {
      resets.push_back(i);
    }
  }
}

}  // namespace

std::optional<QueryTimes> inner_times(const Subquery& subquery, const QueryTimes& times) {
  QueryTimes inner;
  inner.step_ms = subquery.step_ms == 0 ? kSubqueryStepMs : subquery.step_ms;
  inner.range = true;
  const int64_t first_ms = shifted(subquery.shift, times.start_ms);
  const int64_t last_ms = shifted(subquery.shift, step_time(times, step_count(times) - 1));
  // The window is open on its old side.
  inner.start_ms = floor_to(first_ms - subquery.range_ms, inner.step_ms) + inner.step_ms;
  inner.end_ms = last_ms;
  return inner.start_ms <= inner.end_ms ? std::optional(inner) : std::nullopt;
}

Computing::RangeShape Computing::shape_of(const Expression& at) {
  if (const auto* subquery = std::get_if<Subquery>(&at.node)) {
    return {subquery->shift, subquery->range_ms};
  }
  const auto& selector = std::get<MatrixSelector>(at.node);
  return {selector.shift, selector.range_ms};
}

Windows Computing::windows_of(const RangeShape& shape) const {
  const bool fixed = shape.shift.anchor == TimeShift::Anchor::kTime;  // the same at all steps
  return {shifted(shape.shift, times_.start_ms), times_.step_ms, fixed ? 1 : steps(), shape.range_ms};
}

Status Computing::each_ranged(const Expression& at, bool runs, const std::function<Status(Ranged)>& use) {
  if (std::holds_alternative<MatrixSelector>(at.node)) {
    const Windows windows = windows_of(shape_of(at));
    for (SelectedSeries& series : running_.selections.at(&at).series) {
      auto gathered = read(series, runs ? &windows : nullptr);
      if (!gathered) {
        return tl::unexpected(gathered.error());
      }
      std::erase_if(gathered->samples, [](const Sample& sample) { return is_stale(sample.value); });
      if (gathered->samples.empty() && gathered->runs.empty()) {
        continue;
      }
      Ranged ranged{std::move(series.labels), false, std::move(gathered->samples), std::move(gathered->runs)};
      if (auto done = use(std::move(ranged)); !done) {
        return done;
      }
    }
    return {};
  }
  const auto& subquery = std::get<Subquery>(at.node);
  const auto times = inner_times(subquery, times_);
  if (!times) {
    return {};
  }
  if (auto charged = running_.budget.charge(step_count(*times)); !charged) {
    return charged;
  }
  auto columns = Computing(*times, running_).vector(*subquery.inner);
  if (!columns) {
    return tl::unexpected(columns.error());
  }
  for (Column& column : *columns) {
    Ranged ranged{std::move(column.labels), column.drops_name, {}, {}};
    for (size_t step = 0; step < column.values.size(); ++step) {
      if (column.present[step] != 0) {
        ranged.samples.push_back({step_time(*times, step), column.values[step]});
      }
    }
    column = {};
    if (ranged.samples.empty()) {
      continue;
    }
    if (auto done = use(std::move(ranged)); !done) {
      return done;
    }
  }
  return {};
}

Result<Columns> Computing::call_window(const WindowFunctionEntry& function, const Call& node) {
  const auto range_argument = std::ranges::find(node.arguments, ExpressionType::kMatrix,
                                                [](const ExpressionPtr& argument) { return argument->type; });
  const auto range_at = static_cast<size_t>(range_argument - node.arguments.begin());
  // Scalars stand before the range or behind it, never on both sides.
  const auto parameters =
      range_at > 0 ? scalars(node, 0, range_at) : scalars(node, range_at + 1, node.arguments.size());
  if (!parameters) {
    return tl::unexpected(parameters.error());
  }
  const Expression& range = without_parentheses(**range_argument);
  const RangeShape shape = shape_of(range);
  Columns columns;
  const auto done = each_ranged(range, function.takes_runs, [&](Ranged ranged) -> Status {
    auto column = slide(function, std::move(ranged), shape, *parameters);
    if (!column) {
      return tl::unexpected(column.error());
    }
    if (std::ranges::find(column->present, 1) != column->present.end()) {
      columns.push_back(std::move(*column));
    }
    return {};
  });
  if (!done) {
    return tl::unexpected(done.error());
  }
  if (auto checked = check_window_call(function, node, columns, *parameters); !checked) {
    return tl::unexpected(checked.error());
  }
  for (Column& column : columns) {
    if (!function.keeps_name) {
      drop_name(column);
    }
  }
  if (auto merged = merge_equal(columns); !merged) {
    return tl::unexpected(merged.error());
  }
  return columns;
}

// What is said of a call, or refused, once it is known that it had something to work on.
Status Computing::check_window_call(const WindowFunctionEntry& function, const Call& node, const Columns& columns,
                                    const std::vector<Scalars>& parameters) {
  if (columns.empty()) {
    return {};
  }
  if (function.name == "rate" || function.name == "increase") {
    for (const Column& column : columns) {
      running_.notes.check_counter(label_value(column.labels, kMetricName), *node.arguments[0]);
    }
  }
  if (function.name == "quantile_over_time") {
    for (const double quantile : parameters[0]) {
      running_.notes.check_quantile(quantile, *node.arguments[0]);
    }
  }
  if (function.name == "double_exponential_smoothing") {
    static constexpr std::string_view kNames[] = {"smoothing factor", "trend factor"};
    for (size_t i = 0; i < 2; ++i) {
      for (const double factor : parameters[i]) {
        if (!(factor > 0 && factor < 1)) {
          return fail(ErrorCode::kInvalid,
                      "invalid " + std::string(kNames[i]) + ": it must lie between 0 and 1, both excluded");
        }
      }
    }
  }
  return {};
}

// The function over the window of every step. Windows overlap, so this is where time goes: it asks to be cancelled by
// samples looked at, not only by series.
Result<Column> Computing::slide(const WindowFunctionEntry& function, Ranged ranged, const RangeShape& shape,
                                const std::vector<Scalars>& parameters) {
  if (auto charged = running_.budget.charge(steps()); !charged) {
    return tl::unexpected(charged.error());
  }
  Column column{std::move(ranged.labels), std::vector<double>(steps()), std::vector<uint8_t>(steps()),
                ranged.drops_name};
  const std::vector<Sample>& samples = ranged.samples;
  std::vector<size_t> resets;
  if (function.counts_resets) {
    find_resets(samples, resets);
  }
  std::vector<double> at_step(parameters.size());
  size_t first = 0;         // in the window
  size_t behind = 0;        // it
  size_t first_reset = 0;   // whose sample and the one before are in the window
  size_t behind_reset = 0;  // it
  size_t first_run = 0;     // as a whole in the window
  size_t behind_run = 0;    // it
  size_t looked_at = 0;
  for (size_t step = 0; step < steps(); ++step) {
    const int64_t time_ms = step_time(times_, step);
    const int64_t end_ms = shifted(shape.shift, time_ms);
    while (behind < samples.size() && samples[behind].time_ms <= end_ms) {
      ++behind;
    }
    while (first < behind && samples[first].time_ms <= end_ms - shape.range_ms) {
      ++first;
    }
    while (behind_reset < resets.size() && resets[behind_reset] < behind) {
      ++behind_reset;
    }
    while (first_reset < behind_reset && resets[first_reset] <= first) {
      ++first_reset;
    }
    while (behind_run < ranged.runs.size() && ranged.runs[behind_run].t_max <= end_ms) {
      ++behind_run;
    }
    while (first_run < behind_run && ranged.runs[first_run].t_min <= end_ms - shape.range_ms) {
      ++first_run;
    }
    looked_at += function.counts_resets ? 1 : behind - first;
    if (looked_at > kSamplesBetweenLooks) {
      looked_at = 0;
      if (auto wanted = still_wanted(); !wanted) {
        return tl::unexpected(wanted.error());
      }
    }
    for (size_t i = 0; i < parameters.size(); ++i) {
      at_step[i] = parameters[i][step];
    }
    const Window window{std::span(samples).subspan(first, behind - first),
                        end_ms - shape.range_ms,
                        end_ms,
                        time_ms,
                        at_step,
                        std::span(resets).subspan(first_reset, behind_reset - first_reset),
                        first,
                        std::span(ranged.runs).subspan(first_run, behind_run - first_run)};
    if (const auto value = function.compute(window)) {
      column.values[step] = *value;
      column.present[step] = 1;
    }
  }
  return column;
}

Result<Columns> Computing::absent_over_time(const Call& node) {
  const Expression& range = without_parentheses(*node.arguments[0]);
  const RangeShape shape = shape_of(range);
  const WindowFunctionEntry* present = find_window_function("present_over_time");
  Scalars values(steps(), 1);
  std::vector<uint8_t> missing(steps(), 1);
  const auto done = each_ranged(range, present->takes_runs, [&](Ranged ranged) -> Status {
    const auto column = slide(*present, std::move(ranged), shape, {});
    if (!column) {
      return tl::unexpected(column.error());
    }
    for (size_t step = 0; step < steps(); ++step) {
      missing[step] = column->present[step] != 0 ? 0 : missing[step];
    }
    return {};
  });
  if (!done) {
    return tl::unexpected(done.error());
  }
  const auto* selector = std::get_if<MatrixSelector>(&range.node);
  Columns out;
  out.push_back(
      {selector == nullptr ? Labels() : labels_of_absent(selector->matchers), std::move(values), std::move(missing)});
  return out;
}

Result<std::vector<ResultSeries>> Computing::matrix(const Expression& at) {
  const Expression& inner = without_parentheses(at);
  const RangeShape shape = shape_of(inner);
  const int64_t end_ms = shifted(shape.shift, times_.start_ms);
  std::vector<ResultSeries> out;
  const auto done = each_ranged(inner, false, [&](Ranged ranged) -> Status {
    std::erase_if(ranged.samples, [&](const Sample& sample) {
      return sample.time_ms > end_ms || sample.time_ms <= end_ms - shape.range_ms;
    });
    if (!ranged.samples.empty()) {
      Labels labels = ranged.drops_name ? without_metric_name(std::move(ranged.labels)) : std::move(ranged.labels);
      out.push_back({std::move(labels), std::move(ranged.samples)});
    }
    return {};
  });
  if (!done) {
    return tl::unexpected(done.error());
  }
  return out;
}

}  // namespace lambda::query
