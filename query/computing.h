// The evaluator's inside: one tree computed for all steps of a query at once, over what was selected for it.
// computing.cpp has numbers, selectors and operators, computing_calls.cpp the functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/result.h"
#include "query/columns.h"
#include "query/evaluator.h"
#include "query/expression.h"
#include "query/functions.h"

namespace lambda::query {

using Selections = std::unordered_map<const Expression*, Selection>;  // by the selector's node

size_t step_count(const QueryTimes& times);
int64_t step_time(const QueryTimes& times, size_t step);
// The moment a selector looks at when the query stands at `time_ms`. Never goes down as that goes up.
int64_t shifted(const TimeShift& shift, const QueryTimes& times, int64_t time_ms);
const Expression& without_parentheses(const Expression& expression);

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
  using Scalars = std::vector<double>;

  Result<Columns> select_newest(const Expression& at, const VectorSelector& selector);
  Result<Columns> call(const Call& call);
  Result<Columns> call_window(const WindowFunctionEntry& function, const Call& call);
  Result<Columns> call_value(ValueFunction compute, const Call& call);
  Result<Columns> absent(const Call& call);
  Result<Columns> binary(const Binary& node);
  Result<Columns> aggregation(const Aggregation& node);
  Result<Columns> negated(const Negation& node);
  Result<Scalars> scalar_call(const Call& call);
  Result<Scalars> scalar_binary(const Binary& node);
  Result<Column> slide(const WindowFunctionEntry& function, Labels labels, const std::vector<Sample>& samples,
                       const MatrixSelector& selector, const Scalars& parameter);
  Result<Scalars> number_each_step(const std::function<double(size_t)>& number);

  // kUnavailable once the query is cancelled.
  Status still_wanted() const;

  // Reads one series and gives its samples to `use`; frees what the cursor held.
  template <class T>
  Status read(SelectedSeries& series, T use) {
    if (auto wanted = still_wanted(); !wanted) {
      return wanted;
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

}  // namespace lambda::query
