// The functions of PromQL that go value by value or window by window. Definitions: Prometheus' documentation, "Query
// functions"; rate() and its kin extrapolate to the edges of the window as Prometheus does.
#pragma once

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
};

// Nothing: the series has no value at this step.
using WindowFunction = std::optional<double> (*)(const Window&);
struct WindowFunctionEntry {
  std::string_view name;
  WindowFunction compute;
  bool keeps_name = false;     // the result is still the metric itself
  bool counts_resets = false;  // wants Window::resets, and then looks at few other samples
};
const WindowFunctionEntry* find_window_function(std::string_view name);

// `parameters` are the scalars behind the vector.
using ValueFunction = double (*)(double value, std::span<const double> parameters);
ValueFunction find_value_function(std::string_view name);

// Of values in any order, which it sorts; NaN counts as the smallest.
double quantile(double q, std::span<double> values);

// A sum that loses nothing to rounding on the way (Neumaier, ZAMM 54, 1974).
class ExactSum {
 public:
  void add(double value);
  double total() const;

 private:
  double sum_ = 0;
  double lost_ = 0;
};
// The mean, also of values whose sum is beyond the range of a double.
class Mean {
 public:
  void add(double value);
  double total() const;

 private:
  ExactSum sum_;
  double running_ = 0;  // mean by increments: used when the sum overflowed
  uint64_t count_ = 0;
};
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
