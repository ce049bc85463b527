// The last requests whose points are all made, so that a client that asks again, because the answer was lost on its
// way, gets the same answer and its points are not made twice. A start takes them over from the one before: they stand
// in the journal beside their points.
//
// Bound: `bytes_max` of RAM; past it the oldest goes, and is counted: sent again it would be refused as out of order,
// or after another start made again. Loop thread only.
#pragma once

#include <cstdint>
#include <cstring>
#include <deque>
#include <unordered_map>
#include <vector>

#include "agent/spool/journal_format.h"

namespace lambda::agent {

class RequestMemory {
 public:
  explicit RequestMemory(uint64_t bytes_max) : notes_max_(bytes_max / kEntryBytes) {}

  // Null: not known. Until the next add().
  const RequestNote* find(const RequestId& id) const {
    const auto found = notes_.find(id);
    return found == notes_.end() ? nullptr : &found->second;
  }
  void add(const RequestNote& note) {
    if (notes_max_ == 0 || !notes_.emplace(note.id, note).second) return;
    order_.push_back(note.id);
    if (order_.size() <= notes_max_) return;
    notes_.erase(order_.front());
    order_.pop_front();
    ++forgotten_;
  }
  // The oldest first.
  std::vector<RequestNote> all() const {
    std::vector<RequestNote> out;
    out.reserve(order_.size());
    for (const RequestId& id : order_) out.push_back(notes_.at(id));
    return out;
  }
  size_t size() const { return order_.size(); }
  uint64_t forgotten() const { return forgotten_; }  // because of the bound

  static constexpr uint64_t kEntryBytes = 96;  // node, bucket, allocation, place in the order

 private:
  struct Hash {
    size_t operator()(const RequestId& id) const {
      size_t hash = 0;
      std::memcpy(&hash, id.data(), sizeof hash);  // an id is a hash already
      return hash;
    }
  };
  const uint64_t notes_max_;
  std::unordered_map<RequestId, RequestNote, Hash> notes_;
  std::deque<RequestId> order_;
  uint64_t forgotten_ = 0;
};

}  // namespace lambda::agent
