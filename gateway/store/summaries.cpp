#include "gateway/store/summaries.h"

#include <utility>

namespace lambda::gateway {
namespace {

std::array<uint64_t, 4> key_of(const BlockRow& row) {
  return {row.segment, row.offset, row.first, row.count};
}

}  // namespace

size_t Summaries::Hash::operator()(const Key& key) const {
  uint64_t hash = 0;
  for (const uint64_t part : key) {
    hash = (hash ^ part) * 0x9e3779b97f4a7c15;
    hash ^= hash >> 29;
  }
  return hash;
}

void Summaries::put(const Key& key, const std::optional<query::RunSummary>& summary) {
  if (young_.size() >= generation_max_) {
    dropped_.fetch_add(old_.size(), std::memory_order_relaxed);
    old_ = std::exchange(young_, {});
  }
  young_.insert_or_assign(key, summary);
}

Summaries::Found Summaries::find(const BlockRow& row) {
  const Key key = key_of(row);
  const std::lock_guard lock(mutex_);
  if (const auto young = young_.find(key); young != young_.end()) {
    hits_.fetch_add(1, std::memory_order_relaxed);
    return {true, young->second};
  }
  const auto old = old_.find(key);
  if (old == old_.end()) {
    return {};
  }
  hits_.fetch_add(1, std::memory_order_relaxed);
  const Found found{true, old->second};
  old_.erase(old);
  put(key, found.summary);
  return found;
}

void Summaries::keep(const BlockRow& row, const std::optional<query::RunSummary>& summary) {
  if (generation_max_ == 0) {
    return;
  }
  const std::lock_guard lock(mutex_);
  put(key_of(row), summary);
}

}  // namespace lambda::gateway
