#include "agent/spool/gap_set.h"

#include <algorithm>

namespace lambda::agent {

void GapSet::insert(uint32_t ref, uint64_t first, uint64_t end, GapReason reason) {
  if (first >= end) return;
  auto next = gaps_.lower_bound({ref, first});
  if (next != gaps_.end() && next->first == Key{ref, end} && next->second.reason == reason) {
    end = next->second.end;
    next = gaps_.erase(next);
  }
  if (next != gaps_.begin()) {
    auto before = std::prev(next);
    if (before->first.first == ref && before->second.end == first && before->second.reason == reason) {
      before->second.end = end;
      return;
    }
  }
  gaps_.emplace(Key{ref, first}, Tail{end, reason});
}

void GapSet::add(const Gap& gap) {
  const uint32_t ref = gap.run.ref;
  uint64_t at = gap.run.first;
  const uint64_t end = gap.run.first + gap.run.count;
  while (at < end) {
    auto next = gaps_.upper_bound({ref, at});
    if (next != gaps_.begin()) {
      const auto before = std::prev(next);
      if (before->first.first == ref && before->second.end > at) {
        at = before->second.end;
        continue;
      }
    }
    const uint64_t stop = next != gaps_.end() && next->first.first == ref ? std::min(end, next->first.second) : end;
    insert(ref, at, stop, gap.reason);
    at = stop;
  }
}

void GapSet::subtract(const Run& run) {
  const uint64_t end = run.first + run.count;
  auto at = gaps_.upper_bound({run.ref, run.first});
  if (at != gaps_.begin()) --at;
  while (at != gaps_.end() && at->first < Key{run.ref, end}) {
    const auto [ref, first] = at->first;
    const Tail tail = at->second;
    if (ref != run.ref || tail.end <= run.first) {
      ++at;
      continue;
    }
    at = gaps_.erase(at);
    if (first < run.first) gaps_.emplace(Key{ref, first}, Tail{run.first, tail.reason});
    if (tail.end > end) gaps_.emplace(Key{ref, end}, Tail{tail.end, tail.reason});
  }
}

bool GapSet::contains(uint32_t ref, uint64_t ordinal, GapReason reason) const {
  const auto next = gaps_.upper_bound({ref, ordinal});
  if (next == gaps_.begin()) return false;
  const auto before = std::prev(next);
  return before->first.first == ref && before->second.end > ordinal && before->second.reason == reason;
}

bool GapSet::touches(const Run& run) const {
  const auto next = gaps_.lower_bound({run.ref, run.first + run.count});
  if (next == gaps_.begin()) return false;
  const auto before = std::prev(next);
  return before->first.first == run.ref && before->second.end > run.first;
}

std::vector<Gap> GapSet::all() const {
  std::vector<Gap> out;
  out.reserve(gaps_.size());
  for (const auto& [key, tail] : gaps_) out.push_back({{key.first, key.second, tail.end - key.second}, tail.reason});
  return out;
}

}  // namespace lambda::agent
