#include "query/functions.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

namespace lambda::query {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

double seconds(int64_t from_ms, int64_t to_ms) {
  return static_cast<double>(to_ms - from_ms) / 1000;
}

// The change over the window as if samples lay at its edges: outwards by the time to the edge when a further sample
// could have been there (within 1.1 mean distances), else by half a distance; a counter not below zero.
std::optional<double> extrapolated_change(const Window& window, bool counter) {
  const auto samples = window.samples;
  if (samples.size() < 2) {
    return std::nullopt;
  }
  const Sample& first = samples.front();
  const Sample& last = samples.back();
  double change = last.value - first.value;
  for (size_t i = 0; counter && i < window.resets.size(); ++i) {  // it began again from zero
    change += samples[window.resets[i] - window.first - 1].value;
  }
  const double sampled = seconds(first.time_ms, last.time_ms);
  const double distance = sampled / static_cast<double>(samples.size() - 1);
  double before = seconds(window.start_ms, first.time_ms);
  double behind = seconds(last.time_ms, window.end_ms);
  if (before >= distance * 1.1) {
    before = distance / 2;
  }
  if (counter && change > 0 && first.value >= 0) {
    before = std::min(before, sampled * (first.value / change));
  }
  if (behind >= distance * 1.1) {
    behind = distance / 2;
  }
  return change * ((sampled + before + behind) / sampled);
}

std::optional<double> increase(const Window& window) {
  return extrapolated_change(window, true);
}
std::optional<double> delta(const Window& window) {
  return extrapolated_change(window, false);
}
std::optional<double> rate(const Window& window) {
  const auto change = extrapolated_change(window, true);
  return change ? std::optional(*change / seconds(window.start_ms, window.end_ms)) : std::nullopt;
}

std::optional<double> idelta(const Window& window) {
  const auto samples = window.samples;
  if (samples.size() < 2) {
    return std::nullopt;
  }
  return samples.back().value - samples[samples.size() - 2].value;
}

std::optional<double> irate(const Window& window) {
  const auto samples = window.samples;
  if (samples.size() < 2) {
    return std::nullopt;
  }
  const Sample& before = samples[samples.size() - 2];
  const Sample& last = samples.back();
  const double change = last.value < before.value ? last.value : last.value - before.value;
  return change / seconds(before.time_ms, last.time_ms);
}

// Adds all values to `folded`; nothing for an empty window.
template <class Fold, class Finish>
std::optional<double> fold(const Window& window, Fold folded, Finish finish) {
  if (window.samples.empty()) {
    return std::nullopt;
  }
  for (const Sample& sample : window.samples) {
    folded.add(sample.value);
  }
  return finish(folded);
}

struct Extreme {
  bool highest;
  double found = kNan;
  void add(double value) {
    if (std::isnan(found) || (highest ? value > found : value < found)) {
      found = value;
    }
  }
};

ExactSum sum_of(const Window& w) {
  ExactSum sum;
  for (const RunSummary& run : w.runs) {
    sum.add(run.sum, run.sum_lost);
  }
  for (const Sample& sample : w.samples) {
    sum.add(sample.value);
  }
  return sum;
}
double count_of(const Window& w) {
  uint64_t count = w.samples.size();
  for (const RunSummary& run : w.runs) {
    count += run.count;
  }
  return static_cast<double>(count);
}

std::optional<double> sum_over_time(const Window& w) {
  return w.empty() ? std::nullopt : std::optional(sum_of(w).total());
}
std::optional<double> avg_over_time(const Window& w) {
  if (w.empty()) {
    return std::nullopt;
  }
  if (const double sum = sum_of(w).total(); std::isfinite(sum)) {
    return sum / count_of(w);
  }
  RunningMean running;
  for (const RunSummary& run : w.runs) {
    running.add(run.sum / static_cast<double>(run.count), static_cast<double>(run.count));
  }
  for (const Sample& sample : w.samples) {
    running.add(sample.value);
  }
  return running.total();
}
std::optional<double> extreme_over_time(const Window& w, bool highest) {
  if (w.empty()) {
    return std::nullopt;
  }
  Extreme extreme{highest};
  for (const RunSummary& run : w.runs) {
    extreme.add(highest ? run.max : run.min);
  }
  for (const Sample& sample : w.samples) {
    extreme.add(sample.value);
  }
  return extreme.found;
}
std::optional<double> min_over_time(const Window& w) {
  return extreme_over_time(w, false);
}
std::optional<double> max_over_time(const Window& w) {
  return extreme_over_time(w, true);
}
std::optional<double> stdvar_over_time(const Window& w) {
  return fold(w, Variance(), [](const auto& f) { return f.total(); });
}
std::optional<double> stddev_over_time(const Window& w) {
  return fold(w, Variance(), [](const auto& f) { return std::sqrt(f.total()); });
}
std::optional<double> count_over_time(const Window& w) {
  return w.empty() ? std::nullopt : std::optional(count_of(w));
}
std::optional<double> present_over_time(const Window& w) {
  return w.empty() ? std::nullopt : std::optional(1.0);
}
std::optional<double> first_over_time(const Window& w) {
  if (w.empty()) {
    return std::nullopt;
  }
  const bool run_first = w.samples.empty() || (!w.runs.empty() && w.runs.front().t_min < w.samples.front().time_ms);
  return run_first ? w.runs.front().first : w.samples.front().value;
}
std::optional<double> last_over_time(const Window& w) {
  if (w.empty()) {
    return std::nullopt;
  }
  const bool run_last = w.samples.empty() || (!w.runs.empty() && w.runs.back().t_max > w.samples.back().time_ms);
  return run_last ? w.runs.back().last : w.samples.back().value;
}
std::optional<double> quantile_over_time(const Window& w) {
  if (w.samples.empty()) {
    return std::nullopt;
  }
  std::vector<double> values;
  values.reserve(w.samples.size());
  for (const Sample& sample : w.samples) {
    values.push_back(sample.value);
  }
  return quantile(w.parameters[0], values);
}

// The median distance from the median.
std::optional<double> mad_over_time(const Window& w) {
  if (w.samples.empty()) {
    return std::nullopt;
  }
  std::vector<double> values;
  values.reserve(w.samples.size());
  for (const Sample& sample : w.samples) {
    if (std::isnan(sample.value)) {
      return kNan;
    }
    values.push_back(sample.value);
  }
  const double median = quantile(0.5, values);
  for (double& value : values) {
    value = std::fabs(value - median);
  }
  return quantile(0.5, values);
}

std::optional<double> ts_of_first_over_time(const Window& w) {
  return w.samples.empty() ? std::nullopt : std::optional(seconds(0, w.samples.front().time_ms));
}
std::optional<double> ts_of_last_over_time(const Window& w) {
  return w.samples.empty() ? std::nullopt : std::optional(seconds(0, w.samples.back().time_ms));
}
// When the extreme was last reached.
std::optional<double> time_of_extreme(const Window& w, bool highest) {
  if (w.samples.empty()) {
    return std::nullopt;
  }
  const Sample* found = &w.samples.front();
  for (const Sample& sample : w.samples) {
    if (std::isnan(found->value) || (highest ? sample.value >= found->value : sample.value <= found->value)) {
      found = &sample;
    }
  }
  return seconds(0, found->time_ms);
}
std::optional<double> ts_of_max_over_time(const Window& w) {
  return time_of_extreme(w, true);
}
std::optional<double> ts_of_min_over_time(const Window& w) {
  return time_of_extreme(w, false);
}

// Holt's linear method (Int. J. Forecasting 20, 2004, a reprint of 1957): a level and a trend, each an exponential
// mean.
std::optional<double> double_exponential_smoothing(const Window& w) {
  if (w.samples.size() < 2) {
    return std::nullopt;
  }
  const double level_weight = w.parameters[0];
  const double trend_weight = w.parameters[1];
  double level = w.samples[0].value;
  double trend = w.samples[1].value - level;
  for (size_t i = 1; i < w.samples.size(); ++i) {
    const double next = level_weight * w.samples[i].value + (1 - level_weight) * (level + trend);
    if (i + 1 < w.samples.size()) {
      trend = trend_weight * (next - level) + (1 - trend_weight) * trend;
    }
    level = next;
  }
  return level;
}

template <class Differs>
std::optional<double> count_pairs(const Window& window, Differs differs) {
  if (window.samples.empty()) {
    return std::nullopt;
  }
  double count = 0;
  for (size_t i = 1; i < window.samples.size(); ++i) {
    count += differs(window.samples[i - 1].value, window.samples[i].value) ? 1 : 0;
  }
  return count;
}
std::optional<double> changes(const Window& window) {
  return count_pairs(window, [](double a, double b) { return a != b && !(std::isnan(a) && std::isnan(b)); });
}
std::optional<double> resets(const Window& window) {
  return count_pairs(window, [](double a, double b) { return b < a; });
}

struct Line {
  double slope;      // per second
  double intercept;  // at `origin_ms`
};
// Least squares; nothing below two samples.
std::optional<Line> fit_line(const Window& window, int64_t origin_ms) {
  if (window.samples.size() < 2) {
    return std::nullopt;
  }
  const double first = window.samples.front().value;
  if (std::ranges::all_of(window.samples, [&](const Sample& s) { return s.value == first; })) {
    return std::isinf(first) ? Line{kNan, kNan} : Line{0, first};
  }
  ExactSum x, y, xy, xx;
  for (const Sample& sample : window.samples) {
    const double at = seconds(origin_ms, sample.time_ms);
    x.add(at);
    y.add(sample.value);
    xy.add(at * sample.value);
    xx.add(at * at);
  }
  const auto n = static_cast<double>(window.samples.size());
  const double covariance = xy.total() - x.total() * y.total() / n;
  const double variance = xx.total() - x.total() * x.total() / n;
  const double slope = covariance / variance;
  return Line{slope, y.total() / n - slope * x.total() / n};
}
std::optional<double> deriv(const Window& window) {
  const auto line = fit_line(window, window.samples.empty() ? 0 : window.samples.front().time_ms);
  return line ? std::optional(line->slope) : std::nullopt;
}
std::optional<double> predict_linear(const Window& window) {
  const auto line = fit_line(window, window.time_ms);
  return line ? std::optional(line->slope * window.parameters[0] + line->intercept) : std::nullopt;
}

constexpr std::array kWindowFunctions = std::to_array<WindowFunctionEntry>({
    {"avg_over_time", avg_over_time, false, false, true},
    {"changes", changes},
    {"count_over_time", count_over_time, false, false, true},
    {"delta", delta},
    {"deriv", deriv},
    {"double_exponential_smoothing", double_exponential_smoothing},
    {"first_over_time", first_over_time, true, false, true},
    {"idelta", idelta},
    {"increase", increase, false, true},
    {"irate", irate},
    {"last_over_time", last_over_time, true, false, true},
    {"mad_over_time", mad_over_time},
    {"max_over_time", max_over_time, false, false, true},
    {"min_over_time", min_over_time, false, false, true},
    {"predict_linear", predict_linear},
    {"present_over_time", present_over_time, false, false, true},
    {"quantile_over_time", quantile_over_time},
    {"rate", rate, false, true},
    {"resets", resets},
    {"stddev_over_time", stddev_over_time},
    {"stdvar_over_time", stdvar_over_time},
    {"sum_over_time", sum_over_time, false, false, true},
    {"ts_of_first_over_time", ts_of_first_over_time},
    {"ts_of_last_over_time", ts_of_last_over_time},
    {"ts_of_max_over_time", ts_of_max_over_time},
    {"ts_of_min_over_time", ts_of_min_over_time},
});

using Parameters = std::span<const double>;

double clamp(double value, double lowest, double highest) {
  return std::isnan(value) || std::isnan(lowest) || std::isnan(highest) ? kNan
                                                                        : std::max(lowest, std::min(highest, value));
}
double round_to(double value, Parameters p) {
  // By the inverse, so that 0.1 and the like come out as one writes them; halves go up.
  const double inverse = 1 / (p.empty() ? 1 : p[0]);
  return std::floor(value * inverse + 0.5) / inverse;
}
double sign(double value) {
  return std::isnan(value) || value == 0 ? value : std::copysign(1.0, value);
}

struct ValueFunctionEntry {
  std::string_view name;
  ValueFunction compute;
};
constexpr std::array kValueFunctions = std::to_array<ValueFunctionEntry>({
    {"abs", [](double v, Parameters) { return std::fabs(v); }},
    {"acos", [](double v, Parameters) { return std::acos(v); }},
    {"acosh", [](double v, Parameters) { return std::acosh(v); }},
    {"asin", [](double v, Parameters) { return std::asin(v); }},
    {"asinh", [](double v, Parameters) { return std::asinh(v); }},
    {"atan", [](double v, Parameters) { return std::atan(v); }},
    {"atanh", [](double v, Parameters) { return std::atanh(v); }},
    {"ceil", [](double v, Parameters) { return std::ceil(v); }},
    {"clamp", [](double v, Parameters p) { return clamp(v, p[0], p[1]); }},
    {"clamp_max", [](double v, Parameters p) { return clamp(v, -kInfinity, p[0]); }},
    {"clamp_min", [](double v, Parameters p) { return clamp(v, p[0], kInfinity); }},
    {"cos", [](double v, Parameters) { return std::cos(v); }},
    {"cosh", [](double v, Parameters) { return std::cosh(v); }},
    {"deg", [](double v, Parameters) { return v * 180 / std::numbers::pi; }},
    {"exp", [](double v, Parameters) { return std::exp(v); }},
    {"floor", [](double v, Parameters) { return std::floor(v); }},
    {"ln", [](double v, Parameters) { return std::log(v); }},
    {"log10", [](double v, Parameters) { return std::log10(v); }},
    {"log2", [](double v, Parameters) { return std::log2(v); }},
    {"rad", [](double v, Parameters) { return v * std::numbers::pi / 180; }},
    {"round", round_to},
    {"sgn", [](double v, Parameters) { return sign(v); }},
    {"sin", [](double v, Parameters) { return std::sin(v); }},
    {"sinh", [](double v, Parameters) { return std::sinh(v); }},
    {"sqrt", [](double v, Parameters) { return std::sqrt(v); }},
    {"tan", [](double v, Parameters) { return std::tan(v); }},
    {"tanh", [](double v, Parameters) { return std::tanh(v); }},
});

}  // namespace

const WindowFunctionEntry* find_window_function(std::string_view name) {
  const auto at = std::ranges::find(kWindowFunctions, name, &WindowFunctionEntry::name);
  return at == kWindowFunctions.end() ? nullptr : &*at;
}

ValueFunction find_value_function(std::string_view name) {
  const auto at = std::ranges::find(kValueFunctions, name, &ValueFunctionEntry::name);
  return at == kValueFunctions.end() ? nullptr : at->compute;
}

double quantile(double q, std::span<double> values) {
  if (values.empty() || std::isnan(q)) {
    return kNan;
  }
  if (q < 0 || q > 1) {
    return q < 0 ? -kInfinity : kInfinity;
  }
  std::ranges::sort(values, [](double a, double b) { return std::isnan(a) ? !std::isnan(b) : a < b; });
  const double rank = q * static_cast<double>(values.size() - 1);
  const auto lower = static_cast<size_t>(rank);
  const size_t upper = std::min(values.size() - 1, lower + 1);
  const double weight = rank - std::floor(rank);
  return values[lower] * (1 - weight) + values[upper] * weight;
}

// Inf - Inf must not come up by itself: an infinite mean moves only by the other infinity, or NaN, to NaN, and a NaN
// never.
void RunningMean::add(double value, double weight) {
  count_ += weight;
  if (count_ == weight) {
    mean_ = value;
  } else if (std::isinf(mean_)) {
    mean_ = std::isnan(value) || value == -mean_ ? std::numeric_limits<double>::quiet_NaN() : mean_;
  } else if (std::isinf(value) && !std::isnan(mean_)) {
    mean_ = value;
  } else {
    mean_ += value / count_ * weight - mean_ / count_ * weight;
  }
}

void Variance::add(double value) {
  ++count_;
  const double difference = value - mean_;
  mean_ += difference / static_cast<double>(count_);
  squares_ += difference * (value - mean_);
}

}  // namespace lambda::query
