// A set of ordinals (or sequence numbers) as merged intervals: what is stored of a stream, what is settled of a boot.
// Not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lambda::gateway {

// The ordinals first, first + 1 ... end - 1.
struct OrdinalRun {
  uint64_t first = 0;
  uint64_t end = 0;
  uint64_t count() const { return end - first; }
  friend bool operator==(const OrdinalRun&, const OrdinalRun&) = default;
};

// Invariant: runs are not empty, ascend, and neither overlap nor touch.
class RunSet {
 public:
  // Adds [first, end); returns how many of these were not in the set before. An empty run adds nothing.
  uint64_t add(uint64_t first, uint64_t end);
  void add_all(const RunSet& other);

  bool contains(uint64_t first, uint64_t end) const;  // all of it
  bool intersects(uint64_t first, uint64_t end) const;
  // The parts of [first, end) that are in the set, and those that are not.
  std::vector<OrdinalRun> covered(uint64_t first, uint64_t end) const;
  std::vector<OrdinalRun> missing(uint64_t first, uint64_t end) const;

  const std::vector<OrdinalRun>& runs() const { return runs_; }
  bool empty() const { return runs_.empty(); }
  uint64_t total() const;
  size_t memory_bytes() const { return runs_.capacity() * sizeof(OrdinalRun); }
  void clear() { runs_.clear(); }

  // LEB128: distance from the end before, length, again and again. decode: nothing when the bytes are not of that form.
  std::string encode() const;
  static std::optional<RunSet> decode(std::string_view bytes);

 private:
  std::vector<OrdinalRun>::const_iterator at_or_after(uint64_t ordinal) const;  // first run with end > ordinal

  std::vector<OrdinalRun> runs_;
};

}  // namespace lambda::gateway
