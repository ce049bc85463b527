// Deletes the oldest segments, whole, when they are too many or too old. Before a file goes, all of this is synced in
// another one: a Retired record of the ordinals it held, so that they are never taken again, and of the gaps it told;
// Skeletons with the declarations and clock segments that other segments still need; the hello of every boot of which
// anything is known.
//
// What is carried forward is small (a few dozen bytes for each boot's ref, one hello for each boot) and is never
// forgotten. So it does not count against retention_bytes_max: otherwise it would, one day, drive out every point as
// soon as it came. StoreCounters::carried_bytes tells how much it is.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "gateway/store/retired_set.h"
#include "gateway/store/store_impl.h"

namespace lambda::gateway {

class RetentionJob {
 public:
  explicit RetentionJob(StoreImpl& store) : store_(store) {}
  RetentionJob(const RetentionJob&) = delete;
  RetentionJob& operator=(const RetentionJob&) = delete;

  // As MergeJob::slice().
  bool slice();
  bool uses(uint64_t segment) const { return number_ == segment; }

 private:
  enum class Stage { kIdle, kRead, kForget };
  using Key = std::tuple<std::string, uint64_t, uint32_t>;  // device, boot, ref
  bool choose();
  bool read();
  void read_record(const RecordView& record);
  void carry(const RecordView& record, const ParcelRecord& parcel);
  // What is known of a boot beside this segment.
  struct BootFacts {
    int64_t id = 0;         // BootRow::id
    bool outlives = false;  // has points elsewhere, or is its device's latest and may bring more
  };
  BootFacts facts(const std::string& device, uint64_t boot);
  // Streams or gaps: points of it came, or may come, and its rank must stay what it is.
  bool has_left_anything(const BootFacts& boot);
  void write();
  bool forget();
  bool undeclare_dropped();
  void reset();

  StoreImpl& store_;
  Stage stage_ = Stage::kIdle;
  bool waiting_ = false;
  uint64_t number_ = 0;
  uint64_t at_ = 0;
  RetiredSet retired_;                                  // of its blocks, its gaps and the Retired records in it
  std::set<std::pair<std::string, uint64_t>> dropped_;  // (device, boot) whose names and clocks are not carried on
  std::map<std::string, std::map<uint64_t, BootFacts>> facts_;                 // by device, boot
  std::map<std::pair<std::string, uint64_t>, std::vector<std::byte>> hellos_;  // records, by (device, boot)
  // A Skeleton that may have to live on, and what it says that another one may say as well.
  struct Carried {
    std::vector<std::byte> record;
    std::string device;
    uint64_t boot = 0;
    std::vector<uint32_t> refs;    // declared
    std::vector<uint32_t> clocks;  // segments
  };
  void append_carried(std::vector<std::byte>& out, uint64_t* count);
  std::vector<Carried> carried_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace lambda::gateway
