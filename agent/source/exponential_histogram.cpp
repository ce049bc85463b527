#include "agent/source/exponential_histogram.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "base/result.h"

namespace lambda::agent {
namespace {

constexpr int64_t kPerDoubling = 1 << kHistogramScaleMax;

// 2^(k/8), the nearest double of each.
constexpr std::array<double, kPerDoubling> kSteps = {
    1.0,
    1.0905077326652577,
    1.1892071150027210,
    1.2968395546510096,
    1.4142135623730951,
    1.5422108254079407,
    1.6817928305074290,
    1.8340080864093424,
};

}  // namespace

ExponentialHistogram::ExponentialHistogram(uint32_t buckets_max) : buckets_max_(buckets_max) {
  LAMBDA_ASSERT(buckets_max >= kHistogramBucketsMin && buckets_max <= kHistogramBucketsMax);
}

int64_t ExponentialHistogram::index_of(double value, int scale) {
  // Bounds are told by comparing with the same doubles that upper_bound() gives, never by a logarithm: a value that is
  // a bound falls below it on every machine.
  int exponent = 0;
  const double fraction = 2 * std::frexp(value, &exponent);  // [1, 2)
  int64_t index = int64_t{exponent - 1} * kPerDoubling - 1;
  for (const double step : kSteps) index += fraction > step ? 1 : 0;
  return index >> (kHistogramScaleMax - scale);
}

double ExponentialHistogram::upper_bound(int64_t index, int scale) {
  const int64_t fine = (index + 1) * (int64_t{1} << (kHistogramScaleMax - scale));
  const auto step = static_cast<size_t>(fine & (kPerDoubling - 1));
  return std::ldexp(kSteps[step], static_cast<int>(fine >> kHistogramScaleMax));
}

void ExponentialHistogram::add(double value, double weight) {
  min_ = count_ == 0 ? value : std::min(min_, value);
  max_ = count_ == 0 ? value : std::max(max_, value);
  count_ += weight;
  sum_ += value * weight;
  if (value <= 0) {
    not_positive_ += weight;
    return;
  }
  int64_t index = index_of(value, scale_);
  if (buckets_.empty() || index < first_ || index >= first_ + static_cast<int64_t>(buckets_.size())) {
    cover(index, index);
    index = index_of(value, scale_);
  }
  buckets_[static_cast<size_t>(index - first_)] += weight;
}

// Makes room for the indices [from, to] of the present scale, which may become coarser by it.
void ExponentialHistogram::cover(int64_t from, int64_t to) {
  if (!buckets_.empty()) {
    from = std::min(from, first_);
    to = std::max(to, first_ + static_cast<int64_t>(buckets_.size()) - 1);
  }
  int scale = scale_;
  while (to - from >= static_cast<int64_t>(buckets_max_)) {
    from >>= 1;
    to >>= 1;
    --scale;
  }
  coarsen(scale);
  if (buckets_.empty()) first_ = from;
  if (from < first_) buckets_.insert(buckets_.begin(), static_cast<size_t>(first_ - from), 0.0);
  first_ = from;
  buckets_.resize(std::max(buckets_.size(), static_cast<size_t>(to - from + 1)));
}

void ExponentialHistogram::coarsen(int to) {
  const int steps = scale_ - to;
  if (steps <= 0) return;
  scale_ = to;
  if (buckets_.empty()) return;
  const int64_t first = first_ >> steps;
  const int64_t last = (first_ + static_cast<int64_t>(buckets_.size()) - 1) >> steps;
  for (size_t i = 0; i < buckets_.size(); ++i) {
    const auto joined = static_cast<size_t>(((first_ + static_cast<int64_t>(i)) >> steps) - first);
    // Never ahead of i: what stands there was taken already, or is this one.
    const double count = std::exchange(buckets_[i], 0.0);
    buckets_[joined] += count;
  }
  buckets_.resize(static_cast<size_t>(last - first + 1));
  first_ = first;
}

void ExponentialHistogram::merge(const ExponentialHistogram& other) {
  if (other.count_ == 0) return;
  min_ = count_ == 0 ? other.min_ : std::min(min_, other.min_);
  max_ = count_ == 0 ? other.max_ : std::max(max_, other.max_);
  count_ += other.count_;
  sum_ += other.sum_;
  not_positive_ += other.not_positive_;
  if (other.buckets_.empty()) return;
  coarsen(std::min(scale_, other.scale_));
  int steps = other.scale_ - scale_;
  const int64_t last = other.first_ + static_cast<int64_t>(other.buckets_.size()) - 1;
  cover(other.first_ >> steps, last >> steps);
  steps = other.scale_ - scale_;
  for (size_t i = 0; i < other.buckets_.size(); ++i) {
    const int64_t index = (other.first_ + static_cast<int64_t>(i)) >> steps;
    buckets_[static_cast<size_t>(index - first_)] += other.buckets_[i];
  }
}

void ExponentialHistogram::clear() {
  scale_ = kHistogramScaleMax;
  buckets_.clear();
  count_ = sum_ = min_ = max_ = not_positive_ = 0;
}

double ExponentialHistogram::quantile(double q) const {
  if (q >= 1) return max_;
  const double rank = q * count_;
  double below = not_positive_;
  if (below >= rank && not_positive_ > 0) return std::min(min_, 0.0);
  for (size_t i = 0; i < buckets_.size(); ++i) {
    below += buckets_[i];
    if (below < rank || buckets_[i] == 0) continue;
    const int64_t index = first_ + static_cast<int64_t>(i);
    // The middle by ratio: as far from the one end as from the other.
    const double middle = std::sqrt(upper_bound(index - 1, scale_)) * std::sqrt(upper_bound(index, scale_));
    return std::clamp(middle, min_, max_);
  }
  return max_;
}

}  // namespace lambda::agent
