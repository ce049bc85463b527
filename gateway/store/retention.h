// Deletes the oldest segments, whole, when they are too many or too old. Before a file goes, a Retired record says
// which ordinals it held, so that they are never taken again; declarations, hellos and clock segments that other
// segments still need are carried forward as Skeletons; all of that is synced first.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

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
  bool outlives(const std::string& device, uint64_t boot);
  void write();
  bool forget();
  void reset();

  StoreImpl& store_;
  Stage stage_ = Stage::kIdle;
  bool waiting_ = false;
  uint64_t number_ = 0;
  uint64_t at_ = 0;
  std::map<Key, RunSet> held_;     // ordinals of its blocks
  std::map<Key, RunSet> retired_;  // and of the Retired records in it
  std::map<std::pair<std::string, uint64_t>, bool> outlives_;
  // A record that may have to live on, and what it says that another one may say as well.
  struct Carried {
    std::vector<std::byte> record;
    std::string device;
    uint64_t boot = 0;
    std::vector<uint32_t> refs;    // declared
    std::vector<uint32_t> clocks;  // segments
    bool always = false;           // hellos and gaps
  };
  void append_carried(std::vector<std::byte>& out, uint64_t* count);
  std::vector<Carried> carried_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace lambda::gateway
