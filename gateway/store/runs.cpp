#include "gateway/store/runs.h"

#include <algorithm>

#include "gateway/store/varint.h"

namespace lambda::gateway {

std::vector<OrdinalRun>::const_iterator RunSet::at_or_after(uint64_t ordinal) const {
  // Nearly every question is about the newest run.
  if (!runs_.empty() && runs_.back().first <= ordinal)
    return runs_.back().end > ordinal ? runs_.end() - 1 : runs_.end();
  return std::upper_bound(runs_.begin(), runs_.end(), ordinal,
                          [](uint64_t value, const OrdinalRun& run) { return value < run.end; });
}

uint64_t RunSet::add(uint64_t first, uint64_t end) {
  if (first >= end) return 0;
  if (!runs_.empty() && runs_.back().end == first) {
    runs_.back().end = end;
    return end - first;
  }
  // Everything that overlaps or touches [first, end) becomes one run.
  const auto from = std::lower_bound(runs_.begin(), runs_.end(), first,
                                     [](const OrdinalRun& run, uint64_t value) { return run.end < value; });
  uint64_t known = 0;
  OrdinalRun merged{first, end};
  auto to = from;
  for (; to != runs_.end() && to->first <= end; ++to) {
    const uint64_t low = std::max(first, to->first);
    const uint64_t high = std::min(end, to->end);
    if (high > low) known += high - low;
    merged.first = std::min(merged.first, to->first);
    merged.end = std::max(merged.end, to->end);
  }
  if (from == to) {
    runs_.insert(from, merged);
  } else {
    *from = merged;
    runs_.erase(from + 1, to);
  }
  return (end - first) - known;
}

void RunSet::add_all(const RunSet& other) {
  for (const OrdinalRun& run : other.runs_) add(run.first, run.end);
}

bool RunSet::contains(uint64_t first, uint64_t end) const {
  if (first >= end) return true;
  const auto run = at_or_after(first);
  return run != runs_.end() && run->first <= first && run->end >= end;
}

bool RunSet::intersects(uint64_t first, uint64_t end) const {
  if (first >= end) return false;
  const auto run = at_or_after(first);
  return run != runs_.end() && run->first < end;
}

std::vector<OrdinalRun> RunSet::covered(uint64_t first, uint64_t end) const {
  std::vector<OrdinalRun> parts;
  for (auto run = at_or_after(first); run != runs_.end() && run->first < end; ++run) {
    parts.push_back({std::max(first, run->first), std::min(end, run->end)});
  }
  return parts;
}

std::vector<OrdinalRun> RunSet::missing(uint64_t first, uint64_t end) const {
  std::vector<OrdinalRun> parts;
  for (const OrdinalRun& part : covered(first, end)) {
    if (part.first > first) parts.push_back({first, part.first});
    first = part.end;
  }
  if (first < end) parts.push_back({first, end});
  return parts;
}

uint64_t RunSet::total() const {
  uint64_t sum = 0;
  for (const OrdinalRun& run : runs_) sum += run.count();
  return sum;
}

std::string RunSet::encode() const {
  std::string out;
  uint64_t at = 0;
  for (const OrdinalRun& run : runs_) {
    put_varint(out, run.first - at);
    put_varint(out, run.count());
    at = run.end;
  }
  return out;
}

std::optional<RunSet> RunSet::decode(std::string_view bytes) {
  RunSet set;
  uint64_t at = 0;
  while (!bytes.empty()) {
    uint64_t distance = 0;
    uint64_t count = 0;
    if (!get_varint(bytes, &distance) || !get_varint(bytes, &count) || count == 0) return std::nullopt;
    if (distance == 0 && !set.runs_.empty()) return std::nullopt;
    if (distance > UINT64_MAX - at || count > UINT64_MAX - at - distance) return std::nullopt;
    set.runs_.push_back({at + distance, at + distance + count});
    at += distance + count;
  }
  return set;
}

}  // namespace lambda::gateway
