// Runs of ordinals that a boot has lost and must name in its next parcel. Runs that meet and have the same reason are
// one: dropping file after file leaves one run for each series.
#pragma once

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "lambda/parcel.h"

namespace lambda::agent {

struct Run {
  uint32_t ref = 0;
  uint64_t first = 0;
  uint64_t count = 0;
  friend bool operator==(const Run&, const Run&) = default;
};

struct Gap {
  Run run;
  GapReason reason = GapReason::kCorrupt;
  friend bool operator==(const Gap&, const Gap&) = default;
};

class GapSet {
 public:
  // What is there already keeps its reason.
  void add(const Gap& gap);
  void subtract(const Run& run);
  bool contains(uint32_t ref, uint64_t ordinal, GapReason reason) const;
  bool touches(const Run& run) const;  // holds any of these ordinals
  bool empty() const { return gaps_.empty(); }
  size_t size() const { return gaps_.size(); }
  std::vector<Gap> all() const;  // by ref, then ordinal
  void clear() { gaps_.clear(); }

 private:
  struct Tail {
    uint64_t end;
    GapReason reason;
  };
  using Key = std::pair<uint32_t, uint64_t>;  // ref, first ordinal
  void insert(uint32_t ref, uint64_t first, uint64_t end, GapReason reason);

  std::map<Key, Tail> gaps_;
};

}  // namespace lambda::agent
