#include "gateway/store/retired_set.h"

namespace lambda::gateway {

void RetiredSet::add(const RetiredRecord& record) {
  for (const RetiredRun& run : record.runs) add_run(record.device, run.boot, run.ref, run.run);
  for (const RetiredGap& gap : record.gaps) add_gap(record.device, gap.boot, gap.gap);
}

void RetiredSet::add_run(const std::string& device, uint64_t boot, uint32_t ref, const OrdinalRun& run) {
  runs_[{device, boot, ref}].add(run.first, run.end);
}

void RetiredSet::add_gap(const std::string& device, uint64_t boot, const GapView& gap) {
  gaps_[{device, boot, gap.ref, gap.reason}].add(gap.first_ordinal, gap.first_ordinal + gap.count);
}

uint64_t RetiredSet::append_to(std::vector<std::byte>& out) const {
  std::map<std::string, RetiredRecord> records;
  for (const auto& [key, set] : runs_) {
    const auto& [device, boot, ref] = key;
    for (const OrdinalRun& run : set.runs()) records[device].runs.push_back({boot, ref, run});
  }
  for (const auto& [key, set] : gaps_) {
    const auto& [device, boot, ref, reason] = key;
    for (const OrdinalRun& run : set.runs()) {
      records[device].gaps.push_back({boot, {ref, run.first, run.count(), reason}});
    }
  }
  uint64_t count = 0;
  for (auto& [device, record] : records) {
    record.device = device;
    count += append_retired(out, record);
  }
  return count;
}

void RetiredSet::clear() {
  runs_.clear();
  gaps_.clear();
}

}  // namespace lambda::gateway
