// One aggregate over the rows of a window or group (38). Values come in the order of (t, arrival).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <unordered_set>
#include <vector>

#include "cep/language/plan.h"
#include "cep/stream/snapshot.h"

namespace lambda::cep {

// The values that p(q, x), distinct(x) and topk(k, x) look at together.
class Samples {
 public:
  static constexpr size_t kExactMax = 1024;      // values; beyond, percentiles come from a sketch
  static constexpr double kSketchError = 0.005;  // relative, of a value other than 0

  void add_number(double x);
  void add_greatest(const Value& value, size_t most, const Symbols& symbols);
  const std::vector<Value>& greatest() const { return greatest_; }
  void add_distinct(const Value& value) { distinct_.insert(value); }
  // Linear between ranks while all values are there, else the sketch's. 0 <= q <= 1; there is a value.
  double percentile(double q) const;
  size_t numbers() const { return count_; }
  size_t distinct() const { return distinct_.size(); }
  size_t bytes() const;

  void save(StateWriter& out) const;
  void load(StateReader& in);

 private:
  struct Hash {
    size_t operator()(const Value& value) const { return hash_value(value); }
  };
  void add_to_sketch(double x);

  size_t count_ = 0;
  std::vector<double> exact_;          // empty once there is a sketch
  std::map<int32_t, uint64_t> below_;  // logarithmic buckets: of what is below 0, by size
  uint64_t zeros_ = 0;
  std::map<int32_t, uint64_t> above_;
  std::unordered_set<Value, Hash> distinct_;
  std::vector<Value> greatest_;  // descending
};

// What one aggregate has seen. Which members mean something depends on its kind.
struct Accumulator {
  uint64_t count = 0;  // rows of count(*), else values that are not null
  Value first;
  Value last;  // min and max: the extreme
  int64_t first_t = 0;
  int64_t last_t = 0;
  int64_t previous_t = 0;
  double x = 0;
  double y = 0;
  double z = 0;
  double w = 0;
  int64_t whole = 0;      // sum of INT; changes; resets
  bool overflow = false;  // of `whole`
  std::unique_ptr<Samples> samples;

  void add(const AggregatePlan& plan, const Value& value, int64_t t, const Symbols& symbols);
  // topk: the k greatest values, descending, equal ones as often as they came.
  Value result(const AggregatePlan& plan, Symbols& symbols) const;
  void save(StateWriter& out) const;
  void load(StateReader& in);
  size_t bytes() const { return sizeof(Accumulator) + (samples ? samples->bytes() : 0); }
};

}  // namespace lambda::cep
