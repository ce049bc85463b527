// What is left of segments that retention deleted: ordinals that are never taken again, and gaps that explain holes.
// Gathered from the records of several segments and written as few: runs that touch become one, and gaps of one reason
// likewise. 16 bytes of memory for each run, and about 150 for each (device, boot, ref). Not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "gateway/store/record_body.h"
#include "gateway/store/runs.h"

namespace lambda::gateway {

class RetiredSet {
 public:
  void add(const RetiredRecord& record);
  void add_run(const std::string& device, uint64_t boot, uint32_t ref, const OrdinalRun& run);
  void add_gap(const std::string& device, uint64_t boot, const GapView& gap);

  // Appends all of it as Retired records, by device, and returns how many.
  uint64_t append_to(std::vector<std::byte>& out) const;
  void clear();

 private:
  std::map<std::tuple<std::string, uint64_t, uint32_t>, RunSet> runs_;             // device, boot, ref
  std::map<std::tuple<std::string, uint64_t, uint32_t, GapReason>, RunSet> gaps_;  // and why
};

}  // namespace lambda::gateway
