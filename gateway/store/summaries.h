// What was once decoded need not be again for a mean: summaries of stored runs, in memory, within a bound. At the bound
// those that were not asked for lately go (two generations); they are computed again when somebody asks. Nothing here
// is on the disk. Thread-safe: cursors use it on any thread.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <unordered_map>

#include "gateway/store/extent.h"
#include "query/series_source.h"

namespace lambda::gateway {

class Summaries {
 public:
  // About 160 bytes each.
  explicit Summaries(uint64_t summaries_max) : generation_max_(summaries_max / 2) {}

  // Of the accepted run of a block, by its own times. `known` without a summary: it cannot be summed up, do not try.
  struct Found {
    bool known = false;
    std::optional<query::RunSummary> summary;
  };
  Found find(const BlockRow& row);
  void keep(const BlockRow& row, const std::optional<query::RunSummary>& summary);

  uint64_t hits() const { return hits_.load(std::memory_order_relaxed); }
  uint64_t dropped() const { return dropped_.load(std::memory_order_relaxed); }  // at the bound

 private:
  using Key = std::array<uint64_t, 4>;  // segment, offset, first, count
  struct Hash {
    size_t operator()(const Key& key) const;
  };
  using Generation = std::unordered_map<Key, std::optional<query::RunSummary>, Hash>;
  void put(const Key& key, const std::optional<query::RunSummary>& summary);  // under the mutex

  const uint64_t generation_max_;
  std::mutex mutex_;
  Generation young_, old_;
  std::atomic<uint64_t> hits_{0}, dropped_{0};
};

}  // namespace lambda::gateway
