// Rewrites sealed segments whose blocks are small: parcels become Skeletons, their blocks Merged records of up to 1,024
// consecutive points. proto/segment.md says what that means; this says when it is believed.
//
// What retention left behind in the sources is written once, runs that touch as one.
//
// Invariants
// - Nothing is published before every merged block was read back from the disk, decoded and found equal, point by
// point,
//   to the blocks it was made of, decoded again.
// - A segment with damage is not merged: what cannot be read now might be read by other means later.
// - What failed once is not tried again by this process.
// Memory: about 80 bytes for each block of the sources, whose bytes together are at most segment_bytes_max, and
// retired_set.h for their Retired records.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "gateway/store/retired_set.h"
#include "gateway/store/store_impl.h"

namespace lambda::gateway {

class MergeJob {
 public:
  explicit MergeJob(StoreImpl& store) : store_(store) {}
  ~MergeJob();
  MergeJob(const MergeJob&) = delete;
  MergeJob& operator=(const MergeJob&) = delete;

  // Does a bounded piece. True: call again at once; false: nothing to do, or the disk is at work (it goes on by
  // itself).
  bool slice();
  bool uses(uint64_t segment) const { return sources_.count(segment) != 0; }

 private:
  enum class Stage { kIdle, kGather, kWrite, kVerify, kEnd, kIndex };
  // A run of points as it stands in a source.
  struct Piece {
    uint32_t device = 0;  // place in names_
    uint32_t ref = 0;
    uint64_t boot = 0;
    BlockRow row;  // first, count, clock, times, segment, offset, length
    ValueType type = ValueType::kF64;
    uint8_t scale = 0;
  };
  struct Merged {
    uint64_t record_offset = 0;
    size_t first_piece = 0, end_piece = 0;
    uint64_t first_ordinal = 0;
    uint32_t count = 0;
  };
  bool choose();
  bool begin();
  bool gather();
  void gather_record(uint64_t segment, const RecordView& record);
  void gather_parcel(uint64_t segment, const RecordView& record);
  void add_piece(const std::string& device, uint64_t segment, uint64_t body, const StoredBlock& block,
                 const OrdinalRun& run);
  void sort_pieces();
  bool write();
  bool write_group(size_t from, size_t to);
  size_t group_end(size_t from) const;
  bool verify();
  bool same_points(const Merged& merged);
  void end();
  void flush();
  void synced(const Status& status);
  void abandon(const char* why, const std::string& text);
  void reset();
  Result<std::vector<Point>> points_of(const Piece& piece);
  std::string source_path(uint64_t number) const;

  StoreImpl& store_;
  Stage stage_ = Stage::kIdle;
  bool waiting_ = false;  // for the disk
  std::set<uint64_t> sources_;
  std::set<uint64_t> replaces_;
  std::set<uint64_t>::const_iterator source_;
  uint64_t source_at_ = 0;
  uint64_t number_ = 0;
  FileId file_ = 0;
  uint64_t written_ = 0;  // bytes asked for, with those in buffer_
  uint64_t records_ = 0;
  std::shared_ptr<std::vector<std::byte>> buffer_ = std::make_shared<std::vector<std::byte>>();
  std::vector<std::string> names_;
  std::unordered_map<std::string, uint32_t> name_at_;
  RetiredSet retired_;  // of all sources
  std::vector<Piece> pieces_;
  std::vector<Merged> merged_;
  size_t next_ = 0;
  std::string failure_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace lambda::gateway
