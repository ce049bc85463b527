// Whose metrics were refused most often, in bounded memory: the names that matter in a flood of any length.
//
// Source: Metwally, Agrawal, El Abbadi, "Efficient computation of frequent and top-k elements in data streams", ICDT
// 2005 (Space-Saving). A name that stands for more than 1 / kNamesMax of all refusals is always among those told. Its
// count is never too small, and too large by `over` at most. Not thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lambda::agent {

class Offenders {
 public:
  static constexpr size_t kNamesMax = 64;
  static constexpr size_t kToldMax = 10;

  struct Offender {
    std::string name;
    uint64_t count = 0;
    uint64_t over = 0;  // so many of these may be of others
    size_t hash = 0;
  };

  void add(std::string_view name);
  uint64_t total() const { return total_; }
  // The worst kToldMax, the worst first.
  std::vector<Offender> worst() const;
  // "a 12, b 7"; empty: none.
  std::string text() const;

 private:
  std::vector<Offender> names_;
  uint64_t total_ = 0;
};

}  // namespace lambda::agent
