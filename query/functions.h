// The functions of PromQL that go value by value or window by window. Definitions: Prometheus' documentation, "Query
// functions"; rate() and its kin extrapolate to the edges of the window as Prometheus does.
#pragma once

#include <cmath>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "query/series_source.h"

namespace lambda::query {

// The samples of one series in (start_ms, end_ms], in order of time.
struct Window {
  std::span<const Sample> samples;
  int64_t start_ms;
  int64_t end_ms;
  int64_t time_ms;                     // of the step; end_ms unless an offset or @ moved the window
  std::span<const double> parameters;  // of those that take scalars
  // Where a sample is lower than the one before it, both in the window; only for those that ask. samples[i - first].
  std::span<const size_t> resets;
  size_t first;
  // Beside the samples: runs that lie in the window as wholes; only for those that take them.
  std::span<const RunSummary> runs = {};
  bool empty() const { return samples.empty() && runs.empty(); }
};

// Nothing: the series has no value at this step.
using WindowFunction = std::optional<double> (*)(const Window&);
struct WindowFunctionEntry {
  std::string_view name;
  WindowFunction compute;
  bool keeps_name = false;     // the result is still the metric itself
  bool counts_resets = false;  // wants Window::resets, and then looks at few other samples
  bool takes_runs = false;     // can do with Window::runs in place of samples
};
const WindowFunctionEntry* find_window_function(std::string_view name);

// `parameters` are the scalars behind the vector.
using ValueFunction = double (*)(double value, std::span<const double> parameters);
ValueFunction find_value_function(std::string_view name);

// Of values in any order, which it sorts; NaN counts as the smallest.
double quantile(double q, std::span<double> values);

// A sum that loses nothing to rounding on the way: what each addition loses is known exactly (Knuth, TAOCP 2, 4.2.2)
// and summed beside it. Without branches, because windows of thousands of samples go through it.
class ExactSum {
 public:
  void add(double value) {
    const double next = sum_ + value;
    const double taken = next - sum_;
    lost_ += (sum_ - (next - taken)) + (value - taken);
    sum_ = next;
  }
  // Values that were added up before: their sum, and what rounding took from it.
  void add(double sum, double lost) {
    add(sum);
    lost_ += lost;
  }
  // Once a sum is infinite or NaN it stays that, and what was lost means nothing.
  double total() const { return std::isfinite(sum_) ? sum_ + lost_ : sum_; }
  double rounded() const { return sum_; }
  double lost() const { return lost_; }

 private:
  double sum_ = 0;
  double lost_ = 0;
};
// The mean by increments, for values whose sum is beyond the range of a double.
class RunningMean {
 public:
  // `weight` values, at least 1, whose mean is `value`.
  void add(double value, double weight = 1);
  double total() const { return mean_; }

 private:
  double mean_ = 0;
  double count_ = 0;
};
// Of at least one element; `value_of(element)` is a number.
template <class Elements, class ValueOf>
double mean(const Elements& elements, ValueOf value_of) {
  ExactSum sum;
  for (const auto& element : elements) {
    sum.add(value_of(element));
  }
  if (const double total = sum.total(); std::isfinite(total)) {
    return total / static_cast<double>(elements.size());
  }
  RunningMean running;
  for (const auto& element : elements) {
    running.add(value_of(element));
  }
  return running.total();
}
// Population variance (Welford, Technometrics 4, 1962).
class Variance {
 public:
  void add(double value);
  double total() const { return count_ == 0 ? 0 : squares_ / static_cast<double>(count_); }

 private:
  double mean_ = 0;
  double squares_ = 0;
  uint64_t count_ = 0;
};

}  // namespace lambda::query
