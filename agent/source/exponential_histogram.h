// How often values fell into which range, with ranges that grow by a constant factor: the distance of any quantile from
// the truth is bounded by that factor, over all magnitudes, in bounded room.
//
// At scale s the bucket of index i holds the values in (2^(i / 2^s), 2^((i + 1) / 2^s)]. Scale 3, where each histogram
// begins, has eight buckets to a doubling: a quantile is off by at most 4.5 %. When the values need more buckets than
// `buckets_max`, neighbours are joined and the scale goes down by one. Bounds of a scale are bounds of all finer ones,
// so any two histograms can be merged, exactly, at the coarser scale of the two.
// Values that are not above zero are counted by themselves.
// The scheme: OpenTelemetry, data model of metrics, "ExponentialHistogram"; ours begins no finer than scale 3.
//
// Weights may be fractions: a sampled value stands for several. Not thread-safe.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace lambda::agent {

inline constexpr int kHistogramScaleMax = 3;
inline constexpr uint32_t kHistogramBucketsMin = 8;
inline constexpr uint32_t kHistogramBucketsMax = 160;

class ExponentialHistogram {
 public:
  // `buckets_max` within the two bounds above.
  explicit ExponentialHistogram(uint32_t buckets_max = kHistogramBucketsMax);

  // `value` is finite, `weight` above zero.
  void add(double value, double weight);
  void merge(const ExponentialHistogram& other);
  // Empty and at the finest scale again; the room is kept.
  void clear();

  double count() const { return count_; }
  double sum() const { return sum_; }
  double min() const { return min_; }  // of the values; 0 while empty
  double max() const { return max_; }
  double not_positive() const { return not_positive_; }
  int scale() const { return scale_; }
  int64_t first() const { return first_; }  // index of buckets()[0]
  std::span<const double> buckets() const { return buckets_; }

  // The value that a share `q` of all is not above, within [min, max]; 0 while empty.
  double quantile(double q) const;

  // The index of a value above zero, and the largest value of a bucket.
  static int64_t index_of(double value, int scale);
  static double upper_bound(int64_t index, int scale);

 private:
  void coarsen(int to);
  void cover(int64_t from, int64_t to);

  const uint32_t buckets_max_;
  int scale_ = kHistogramScaleMax;
  int64_t first_ = 0;
  std::vector<double> buckets_;  // neither end is empty
  double count_ = 0, sum_ = 0, min_ = 0, max_ = 0, not_positive_ = 0;
};

}  // namespace lambda::agent
