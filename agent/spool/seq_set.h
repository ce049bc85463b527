// A set of sequence numbers that are mostly consecutive: which parcels of a boot are settled or given up.
// Memory follows the number of holes, which the uplink's window bounds.
#pragma once

#include <cstdint>
#include <map>

namespace lambda::agent {

class SeqSet {
 public:
  void add(uint64_t first, uint64_t last) {
    if (last < first) return;
    auto next = runs_.upper_bound(first);
    if (next != runs_.begin()) {
      auto before = std::prev(next);
      if (before->second >= last) return;
      if (before->second + 1 >= first) {
        first = before->first;
        count_ -= before->second - before->first + 1;
        next = runs_.erase(before);
      }
    }
    while (next != runs_.end() && next->first <= last + 1) {
      last = last < next->second ? next->second : last;
      count_ -= next->second - next->first + 1;
      next = runs_.erase(next);
    }
    runs_.emplace(first, last);
    count_ += last - first + 1;
  }
  void add(uint64_t seq) { add(seq, seq); }

  bool contains(uint64_t seq) const { return next_missing(seq) != seq; }

  // The first number from `from` on that is not in the set.
  uint64_t next_missing(uint64_t from) const {
    auto next = runs_.upper_bound(from);
    if (next == runs_.begin()) return from;
    const auto before = std::prev(next);
    return before->second >= from ? before->second + 1 : from;
  }

  bool contains_all(uint64_t first, uint64_t last) const { return next_missing(first) > last; }
  uint64_t count() const { return count_; }
  const std::map<uint64_t, uint64_t>& runs() const { return runs_; }  // first -> last, disjoint and not adjacent

 private:
  std::map<uint64_t, uint64_t> runs_;
  uint64_t count_ = 0;
};

}  // namespace lambda::agent
