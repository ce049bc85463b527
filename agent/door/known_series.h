// Which series a client's own spelling of one stands for: what came once need not be taken apart again. Exact: the
// bytes themselves are kept, so nothing that a client sends can stand for another series.
//
// Bound: `bytes_max` of RAM; past it all is forgotten and learnt anew, and counted. Loop thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "agent/source/source.h"

namespace lambda::agent {

class KnownSeries {
 public:
  explicit KnownSeries(uint64_t bytes_max) : bytes_max_(bytes_max) {}

  // Null: not known. Until the next put().
  const SeriesRef* find(std::string_view spelling) const {
    const auto found = refs_.find(spelling);
    return found == refs_.end() ? nullptr : &found->second;
  }
  void put(std::string_view spelling, SeriesRef ref) {
    const uint64_t bytes = spelling.size() + kEntryBytes;
    if (bytes > bytes_max_) return;
    if (bytes_ + bytes > bytes_max_) {
      clear();
      ++forgotten_;
    }
    if (refs_.emplace(spelling, ref).second) bytes_ += bytes;
  }
  // Their refs may be of other series from now on.
  void clear() {
    refs_.clear();
    bytes_ = 0;
  }
  uint64_t bytes() const { return bytes_; }
  uint64_t forgotten() const { return forgotten_; }  // times that the bound was reached

 private:
  static constexpr uint64_t kEntryBytes = 80;  // node, bucket and allocation
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };

  const uint64_t bytes_max_;
  std::unordered_map<std::string, SeriesRef, Hash, std::equal_to<>> refs_;
  uint64_t bytes_ = 0, forgotten_ = 0;
};

}  // namespace lambda::agent
