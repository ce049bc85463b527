// Functions over instant vectors: see computing.h.
#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <utility>

#include "query/buckets.h"
#include "query/calendar.h"
#include "query/computing.h"
#include "query/labels.h"
#include "query/matcher.h"
#include "query/number.h"
#include "query/order.h"
#include "query/support.h"

namespace lambda::query {
namespace {

// Of what label_replace() and label_join() make: nested they could double it with each level.
constexpr size_t kLabelBytesMax = 65'536;

constexpr std::array kSorts =
    std::to_array<std::string_view>({"sort", "sort_by_label", "sort_by_label_desc", "sort_desc"});
constexpr std::array kHistograms =
    std::to_array<std::string_view>({"histogram_fraction", "histogram_quantile", "histogram_quantiles"});
constexpr std::array kOthers = std::to_array<std::string_view>(
    {"absent", "absent_over_time", "end", "label_join", "label_replace", "max_of", "min_of", "pi", "range", "scalar",
     "start", "step", "time", "timestamp", "vector"});

template <class List>
bool is_in(const List& list, std::string_view name) {
  return std::ranges::find(list, name) != list.end();
}

const std::string& text_argument(const Call& node, size_t index) {
  return std::get<StringLiteral>(without_parentheses(*node.arguments[index]).node).value;
}

// With one decimal at least: 1 is 1.0.
std::string quantile_label(double quantile) {
  std::string text = format_number(quantile);
  return std::isfinite(quantile) && text.find_first_of(".e") == std::string::npos ? text + ".0" : text;
}

Status set_label_of(Column& column, const std::string& name, const std::string& value, SampleBudget& budget) {
  if (value.size() > kLabelBytesMax) {
    return fail(ErrorCode::kFull,
                "label " + quoted(name) + " would be longer than " + std::to_string(kLabelBytesMax) + " bytes");
  }
  if (auto charged = budget.charge(value.size() / sizeof(Sample)); !charged) {
    return charged;
  }
  set_label(column.labels, name, value);
  if (name == kMetricName) {
    column.drops_name = false;  // what is set on purpose stays
  }
  return {};
}

}  // namespace

bool can_call(std::string_view function) {
  return find_window_function(function) != nullptr || find_value_function(function) != nullptr ||
         find_calendar_function(function) != nullptr || is_in(kSorts, function) || is_in(kHistograms, function) ||
         is_in(kOthers, function);
}

Labels labels_of_absent(const std::vector<Matcher>& matchers) {
  Labels labels;
  for (const Matcher& matcher : matchers) {
    const auto same_label = [&](const Matcher& other) { return other.label == matcher.label; };
    if (matcher.op == MatchOp::kEqual && matcher.label != kMetricName &&
        std::ranges::count_if(matchers, same_label) == 1) {
      set_label(labels, matcher.label, matcher.value);
    }
  }
  return labels;
}

Result<Columns> Computing::call(const Expression& at, const Call& node) {
  if (const WindowFunctionEntry* function = find_window_function(node.function)) {
    return call_window(*function, node);
  }
  if (const ValueFunction compute = find_value_function(node.function)) {
    return call_value(compute, node);
  }
  if (find_calendar_function(node.function) != nullptr) {
    return calendar(node);
  }
  if (is_in(kSorts, node.function)) {
    return sorted(at, node);
  }
  if (is_in(kHistograms, node.function)) {
    return histogram(node);
  }
  if (node.function == "absent") return absent(node);
  if (node.function == "absent_over_time") return absent_over_time(node);
  if (node.function == "label_join") return label_join(node);
  if (node.function == "label_replace") return label_replace(node);
  if (node.function == "timestamp") return timestamp(node);
  LAMBDA_ASSERT(node.function == "vector");
  auto values = scalar(*node.arguments[0]);
  if (!values) {
    return tl::unexpected(values.error());
  }
  return single({}, std::move(*values));
}

Result<Columns> Computing::call_value(ValueFunction compute, const Call& node) {
  auto columns = vector(*node.arguments[0]);
  if (!columns) {
    return columns;
  }
  const auto parameters = scalars(node, 1, node.arguments.size());
  if (!parameters) {
    return tl::unexpected(parameters.error());
  }
  std::vector<double> at_step(parameters->size());
  const bool clamps = node.function == "clamp";
  for (Column& column : *columns) {
    drop_name(column);
    for (size_t step = 0; step < steps(); ++step) {
      for (size_t i = 0; i < parameters->size(); ++i) {
        at_step[i] = (*parameters)[i][step];
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

// 1 where nothing is; with the labels the selector says such a series would have.
Result<Columns> Computing::absent(const Call& node) {
  const auto columns = vector(*node.arguments[0]);
  if (!columns) {
    return columns;
  }
  if (auto charged = running_.budget.charge(steps()); !charged) {
    return tl::unexpected(charged.error());
  }
  Column out{{}, std::vector<double>(steps(), 1), std::vector<uint8_t>(steps(), 1)};
  for (const Column& column : *columns) {
    for (size_t step = 0; step < steps(); ++step) {
      out.present[step] = column.present[step] != 0 ? 0 : out.present[step];
    }
  }
  if (const auto* selector = std::get_if<VectorSelector>(&without_parentheses(*node.arguments[0]).node)) {
    out.labels = labels_of_absent(selector->matchers);
  }
  Columns made;
  made.push_back(std::move(out));
  return made;
}

Result<Columns> Computing::calendar(const Call& node) {
  const CalendarFunction compute = find_calendar_function(node.function);
  if (node.arguments.empty()) {
    auto values =
        number_each_step([&](size_t step) { return compute(static_cast<double>(step_time(times_, step)) / 1000); });
    if (!values) {
      return tl::unexpected(values.error());
    }
    return single({}, std::move(*values));
  }
  auto columns = vector(*node.arguments[0]);
  if (!columns) {
    return columns;
  }
  for (Column& column : *columns) {
    drop_name(column);
    std::ranges::transform(column.values, column.values.begin(), compute);
  }
  if (auto merged = merge_equal(*columns); !merged) {
    return tl::unexpected(merged.error());
  }
  return columns;
}

// When the samples of a selector were taken; of anything else, the time of the step.
Result<Columns> Computing::timestamp(const Call& node) {
  const Expression& inner = without_parentheses(*node.arguments[0]);
  const auto* selector = std::get_if<VectorSelector>(&inner.node);
  auto columns = selector != nullptr ? select_newest(inner, *selector, true) : vector(inner);
  if (!columns) {
    return columns;
  }
  for (Column& column : *columns) {
    drop_name(column);
    for (size_t step = 0; selector == nullptr && step < steps(); ++step) {
      column.values[step] = static_cast<double>(step_time(times_, step)) / 1000;
    }
  }
  if (auto merged = merge_equal(*columns); !merged) {
    return tl::unexpected(merged.error());
  }
  return columns;
}

Result<Columns> Computing::label_replace(const Call& node) {
  const std::string& target = text_argument(node, 1);
  const std::string& source = text_argument(node, 3);
  const auto rewriting = Rewriting::compile(text_argument(node, 4), text_argument(node, 2));
  if (!rewriting) {
    return fail(ErrorCode::kInvalid, "invalid regular expression in label_replace(): " + text_argument(node, 4));
  }
  if (!is_label_name(target)) {
    return fail(ErrorCode::kInvalid, "invalid destination label name in label_replace(): " + target);
  }
  auto columns = vector(*node.arguments[0]);
  if (!columns) {
    return columns;
  }
  for (Column& column : *columns) {
    if (const auto value = rewriting->apply(label_value(column.labels, source), kLabelBytesMax)) {
      if (auto set = set_label_of(column, target, *value, running_.budget); !set) {
        return tl::unexpected(set.error());
      }
    }
  }
  if (auto merged = merge_equal(*columns); !merged) {
    return tl::unexpected(merged.error());
  }
  return columns;
}

Result<Columns> Computing::label_join(const Call& node) {
  const std::string& target = text_argument(node, 1);
  if (!is_label_name(target)) {
    return fail(ErrorCode::kInvalid, "invalid destination label name in label_join(): " + target);
  }
  for (size_t i = 3; i < node.arguments.size(); ++i) {
    if (!is_label_name(text_argument(node, i))) {
      return fail(ErrorCode::kInvalid, "invalid source label name in label_join(): " + text_argument(node, i));
    }
  }
  auto columns = vector(*node.arguments[0]);
  if (!columns) {
    return columns;
  }
  for (Column& column : *columns) {
    std::string joined;
    for (size_t i = 3; i < node.arguments.size() && joined.size() <= kLabelBytesMax; ++i) {
      joined += i == 3 ? "" : text_argument(node, 2);
      joined += label_value(column.labels, text_argument(node, i));
    }
    if (auto set = set_label_of(column, target, joined, running_.budget); !set) {
      return tl::unexpected(set.error());
    }
  }
  if (auto merged = merge_equal(*columns); !merged) {
    return tl::unexpected(merged.error());
  }
  return columns;
}

Result<Columns> Computing::sorted(const Expression& at, const Call& node) {
  auto columns = vector(*node.arguments[0]);
  if (!columns) {
    return columns;
  }
  if (running_.query_times.range) {
    running_.notes.warn("sort is ineffective for range queries since results are always ordered by labels", at);
    return columns;
  }
  const bool descending = node.function.ends_with("_desc");
  if (node.function == "sort" || node.function == "sort_desc") {
    sort_by_value(*columns, descending);
    return columns;
  }
  std::vector<std::string> names;
  for (size_t i = 1; i < node.arguments.size(); ++i) {
    names.push_back(text_argument(node, i));
  }
  sort_by_label(*columns, names, descending);
  return columns;
}

// histogram_quantile(q, v), histogram_fraction(lower, upper, v), histogram_quantiles(v, "label", q...).
Result<Columns> Computing::histogram(const Call& node) {
  const bool many = node.function == "histogram_quantiles";
  const bool fraction = node.function == "histogram_fraction";
  const size_t vector_at = many ? 0 : node.arguments.size() - 1;
  const auto numbers = many ? scalars(node, 2, node.arguments.size()) : scalars(node, 0, vector_at);
  if (!numbers) {
    return tl::unexpected(numbers.error());
  }
  const Expression& argument = *node.arguments[vector_at];
  const auto columns = vector(argument);
  if (!columns) {
    return columns;
  }
  for (size_t i = 0; !fraction && i < numbers->size(); ++i) {
    for (const double quantile : (*numbers)[i]) {
      running_.notes.check_quantile(quantile, *node.arguments[many ? i + 2 : 0]);
    }
  }
  const std::vector<Histogram> histograms = histograms_of(*columns, argument, running_.notes);
  const size_t results = fraction ? 1 : numbers->size();
  Columns out;
  std::vector<Bucket> buckets;
  for (const Histogram& histogram : histograms) {
    if (auto charged = running_.budget.charge(results * steps()); !charged) {
      return tl::unexpected(charged.error());
    }
    for (size_t i = 0; i < results; ++i) {
      Column column{histogram.labels, Scalars(steps()), std::vector<uint8_t>(steps()), histogram.drops_name};
      std::optional<Mended> worst;
      for (size_t step = 0; step < steps(); ++step) {
        histogram.buckets_at(step, buckets);
        if (buckets.empty()) {
          continue;
        }
        std::optional<Mended> mended;
        column.values[step] = fraction ? bucket_fraction((*numbers)[0][step], (*numbers)[1][step], buckets)
                                       : bucket_quantile((*numbers)[i][step], buckets, mended);
        column.present[step] = 1;
        worst = !worst || (mended && mended->difference_max > worst->difference_max) ? mended : worst;
      }
      if (worst) {
        running_.notes.inform(mended_text(*worst) + for_metric(label_value(column.labels, kMetricName)), argument);
      }
      drop_name(column);
      if (many) {  // the label of a step is that of the first one: a quantile that moves has no name of its own
        set_label(column.labels, text_argument(node, 1), quantile_label((*numbers)[i].front()));
      }
      out.push_back(std::move(column));
    }
  }
  if (auto merged = merge_equal(out); !merged) {
    return tl::unexpected(merged.error());
  }
  return out;
}

}  // namespace lambda::query
