#include "agent/source/exponential_histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <random>

namespace lambda::agent {
namespace {

// The buckets that hold something, by index, at a scale no finer than the histogram's.
std::map<int64_t, double> at_scale(const ExponentialHistogram& histogram, int scale) {
  std::map<int64_t, double> out;
  for (size_t i = 0; i < histogram.buckets().size(); ++i) {
    if (histogram.buckets()[i] == 0) continue;
    out[(histogram.first() + static_cast<int64_t>(i)) >> (histogram.scale() - scale)] += histogram.buckets()[i];
  }
  return out;
}

TEST(ExponentialHistogram, AValueLiesAboveTheLowerAndAtMostAtTheUpperBoundOfItsBucket) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<double> exponent(-300, 300);
  for (int round = 0; round < 20'000; ++round) {
    const double value = std::exp2(exponent(random));
    for (int scale = -8; scale <= kHistogramScaleMax; ++scale) {
      const int64_t index = ExponentialHistogram::index_of(value, scale);
      ASSERT_LT(ExponentialHistogram::upper_bound(index - 1, scale), value);
      ASSERT_LE(value, ExponentialHistogram::upper_bound(index, scale));
    }
  }
}

TEST(ExponentialHistogram, ABoundIsInTheBucketBelowIt) {
  for (int64_t index = -900; index <= 900; ++index) {
    const double bound = ExponentialHistogram::upper_bound(index, kHistogramScaleMax);
    ASSERT_EQ(ExponentialHistogram::index_of(bound, kHistogramScaleMax), index);
    ASSERT_EQ(ExponentialHistogram::index_of(std::nextafter(bound, 1e300), kHistogramScaleMax), index + 1);
  }
  EXPECT_EQ(ExponentialHistogram::upper_bound(-1, 3), 1.0);
  EXPECT_EQ(ExponentialHistogram::upper_bound(7, 3), 2.0);
  EXPECT_EQ(ExponentialHistogram::upper_bound(0, 0), 2.0);
}

TEST(ExponentialHistogram, CountsSumsAndKeepsTheEnds) {
  ExponentialHistogram histogram;
  EXPECT_EQ(histogram.quantile(0.5), 0);
  histogram.add(3, 1);
  histogram.add(-2, 1);
  histogram.add(0, 1);
  histogram.add(10, 4);
  EXPECT_EQ(histogram.count(), 7);
  EXPECT_EQ(histogram.sum(), 41);
  EXPECT_EQ(histogram.min(), -2);
  EXPECT_EQ(histogram.max(), 10);
  EXPECT_EQ(histogram.not_positive(), 2);
  EXPECT_EQ(histogram.quantile(0.1), -2);
  EXPECT_NEAR(histogram.quantile(0.9), 10, 0.45);
  EXPECT_EQ(histogram.quantile(1), 10);
}

TEST(ExponentialHistogram, NeverHasMoreBucketsThanAllowedAndLosesNoCount) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<double> exponent(-300, 300);
  for (const uint32_t most : {kHistogramBucketsMin, 20u, kHistogramBucketsMax}) {
    ExponentialHistogram histogram(most);
    std::vector<double> values;
    for (int i = 0; i < 2'000; ++i) {
      values.push_back(std::exp2(exponent(random) * std::min(1.0, i / 1000.0)));
      histogram.add(values.back(), 1);
      ASSERT_LE(histogram.buckets().size(), most);
    }
    std::map<int64_t, double> naive;
    for (const double value : values) naive[ExponentialHistogram::index_of(value, histogram.scale())] += 1;
    EXPECT_EQ(at_scale(histogram, histogram.scale()), naive);
  }
}

TEST(ExponentialHistogram, MergedIsTheSameAsHavingSeenAllValues) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  for (int round = 0; round < 300; ++round) {
    ExponentialHistogram all(40), left(40), right(40);
    const double wide = 1 + static_cast<double>(random() % 100);
    std::normal_distribution<double> exponent(static_cast<double>(random() % 20), wide / 10);
    for (uint64_t i = random() % 300; i > 0; --i) {
      const double value = random() % 20 == 0 ? 0 : std::exp2(exponent(random));
      all.add(value, 1);
      (random() % 2 == 0 ? left : right).add(value, 1);
    }
    left.merge(right);
    ASSERT_EQ(left.count(), all.count());
    ASSERT_EQ(left.min(), all.min());
    ASSERT_EQ(left.max(), all.max());
    ASSERT_EQ(left.not_positive(), all.not_positive());
    ASSERT_LE(left.buckets().size(), 40u);
    const int scale = std::min(left.scale(), all.scale());
    ASSERT_EQ(at_scale(left, scale), at_scale(all, scale));
  }
}

TEST(ExponentialHistogram, AQuantileIsWithinAStepOfTheTrueOne) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  std::lognormal_distribution<double> latency(1.5, 0.8);  // two decades: all of it at scale 3
  ExponentialHistogram histogram;
  std::vector<double> values;
  for (int i = 0; i < 5'000; ++i) {
    values.push_back(latency(random));
    histogram.add(values.back(), 1);
  }
  ASSERT_EQ(histogram.scale(), kHistogramScaleMax);
  std::sort(values.begin(), values.end());
  for (const double q : {0.01, 0.5, 0.9, 0.99, 0.999}) {
    const double truth = values[static_cast<size_t>(std::ceil(q * 5'000)) - 1];
    EXPECT_NEAR(histogram.quantile(q) / truth, 1, 0.045) << q;
  }
  EXPECT_EQ(histogram.quantile(1), values.back());
}

TEST(ExponentialHistogram, ClearedItIsFineAgain) {
  ExponentialHistogram histogram(8);
  histogram.add(1e-9, 1);
  histogram.add(1e9, 1);
  EXPECT_LT(histogram.scale(), 0);
  histogram.clear();
  EXPECT_EQ(histogram.count(), 0);
  histogram.add(5, 2);
  EXPECT_EQ(histogram.scale(), kHistogramScaleMax);
  EXPECT_EQ(histogram.quantile(0.5), 5);
}

}  // namespace
}  // namespace lambda::agent
