// The evaluator's inside: one tree computed for all steps of a query at once, over what was selected for it.
// computing.cpp has numbers, selectors and operators; computing_calls.cpp the functions over instant vectors;
// computing_windows.cpp ranges, subqueries and the functions over them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/result.h"
#include "query/columns.h"
#include "query/evaluator.h"
#include "query/expression.h"
#include "query/functions.h"
#include "query/notes.h"

namespace lambda::query {

using Selections = std::unordered_map<const Expression*, Selection>;  // by the selector's node

uint64_t step_count(const QueryTimes& times);  // of a subquery it may be more than a size_t of 32 bits holds
int64_t step_time(const QueryTimes& times, uint64_t step);
// The moment a selector looks at when the query stands at `time_ms`. Never goes down as that goes up.
int64_t shifted(const TimeShift& shift, int64_t time_ms);
// The moments at which a subquery computes its inside: multiples of its step within its ranges at all steps of
// `times`. Nothing when there are none.
std::optional<QueryTimes> inner_times(const Subquery& subquery, const QueryTimes& times);

// The labels that a series would have which a selector does not find: absent().
Labels labels_of_absent(const std::vector<Matcher>& matchers);

// Whether there is a function of that name that can be computed.
bool can_call(std::string_view function);

// What all parts of one query share.
struct Running {
  const QueryLimits& limits;
  Selections& selections;
  const std::function<bool()>& cancelled;
  NameRemoval names;
  const QueryTimes& query_times;  // of the query itself, not of a subquery
  SampleBudget budget;
  Notes notes;
};

// Computes at the steps of `times`; the methods are named after what they return. `start()` and `end()` must have been
// replaced in the tree by the moments they mean.
class Computing {
 public:
  Computing(const QueryTimes& times, Running& running) : times_(times), running_(running) {}

  Result<std::vector<double>> scalar(const Expression& at);
  Result<Columns> vector(const Expression& at);
  Result<std::vector<ResultSeries>> matrix(const Expression& at);

 private:
  using Scalars = std::vector<double>;
  // The samples of one series in all windows of a range.
  struct Ranged {
    Labels labels;
    bool drops_name;
    std::vector<Sample> samples;
    std::vector<RunSummary> runs;  // only where they were asked for
  };
  struct RangeShape {
    TimeShift shift;
    int64_t range_ms;
  };

  Result<Columns> select_newest(const Expression& at, const VectorSelector& selector, bool sample_times);
  Result<Columns> call(const Expression& at, const Call& call);
  Result<Columns> call_value(ValueFunction compute, const Call& call);
  Result<Columns> absent(const Call& call);
  Result<Columns> calendar(const Call& call);
  Result<Columns> timestamp(const Call& call);
  Result<Columns> label_replace(const Call& call);
  Result<Columns> label_join(const Call& call);
  Result<Columns> sorted(const Expression& at, const Call& call);
  Result<Columns> histogram(const Call& call);
  Result<Columns> binary(const Binary& node);
  Result<Columns> aggregation(const Aggregation& node);
  Result<Columns> negated(const Negation& node);
  Result<Scalars> scalar_call(const Call& call);
  Result<Scalars> scalar_binary(const Binary& node);
  Result<Scalars> scalar_extreme(const Call& call, bool highest);
  Result<Scalars> number_each_step(const std::function<double(size_t)>& number);
  Result<std::vector<Scalars>> scalars(const Call& call, size_t first, size_t behind);

  Result<Columns> call_window(const WindowFunctionEntry& function, const Call& call);
  Result<Columns> absent_over_time(const Call& call);
  Result<Column> slide(const WindowFunctionEntry& function, Ranged ranged, const RangeShape& shape,
                       const std::vector<Scalars>& parameters);
  Status check_window_call(const WindowFunctionEntry& function, const Call& call, const Columns& columns,
                           const std::vector<Scalars>& parameters);
  // Gives the series of a range, one after the other, to `use`; with `runs`, summed up where the source can.
  Status each_ranged(const Expression& at, bool runs, const std::function<Status(Ranged)>& use);
  Windows windows_of(const RangeShape& shape) const;
  static RangeShape shape_of(const Expression& at);

  // One column with a value at all steps.
  Result<Columns> single(Labels labels, Scalars values);
  void drop_name(Column& column) const;
  // kUnavailable once the query is cancelled.
  Status still_wanted() const;

  // Reads one series, by read() or, where `windows` is given, by gather(); frees what the cursor held.
  Result<SeriesCursor::Gathered> read(SelectedSeries& series, const Windows* windows);

  size_t steps() const { return static_cast<size_t>(step_count(times_)); }  // within points_max or charged

  const QueryTimes times_;
  Running& running_;
};

}  // namespace lambda::query
