// What an instant vector is while it is computed for all steps of a query at once: one column a series, one cell a
// step.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "query/series_source.h"

namespace lambda::query {

struct Column {
  Labels labels;
  std::vector<double> values;    // one a step
  std::vector<uint8_t> present;  // one a step: whether there is a value
  bool drops_name = false;       // the metric's name falls at the end: see NameRemoval
};
using Columns = std::vector<Column>;

// Counts what a query holds or has read, in samples and cells; it never goes down, so it bounds work as well as memory.
class SampleBudget {
 public:
  explicit SampleBudget(uint64_t samples_max) : samples_max_(samples_max) {}
  uint64_t left() const { return samples_max_ - used_; }
  // kFull past `samples_max`.
  Status charge(uint64_t samples) {
    if (samples > left()) {
      return fail(ErrorCode::kFull, "the query touches more than " + std::to_string(samples_max_) + " samples");
    }
    used_ += samples;
    return {};
  }

 private:
  uint64_t samples_max_;
  uint64_t used_ = 0;
};

// Joins columns that have come to have equal labels; the order of the others stays. kInvalid when two of them have a
// value at the same step.
Status merge_equal(Columns& columns);

}  // namespace lambda::query
