// The index: where each stored point stands in the segments, and what is settled of whom. A cache in SQLite; segments
// are the truth, and everything here can be computed from them again (catch_up.cpp).
//
// One connection, one writer. Changes are gathered in one open transaction, which the same connection sees; commit()
// ends it. A crash loses at most what was not committed, together with the positions (IndexedSegment::indexed_to)
// that would have said it was there.
//
// Where blocks stand is gathered in memory first, up to kGatheredBlocksMax of them, and written as extents: by
// segment, then stream. So writing goes to the end of the table, whatever stream a block is of, and a segment that ends
// takes its rows along. The price: to look for a block is to ask each segment that may have it.
//
// Errors stick: after the first one every call does nothing and returns nothing, ok() is false and error() tells why.
// The owner then opens the index again. Loop thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/crypto/crypto.h"
#include "base/result.h"
#include "gateway/store/extent.h"
#include "gateway/store/runs.h"
#include "gateway/store/store.h"

struct sqlite3;

namespace lambda::gateway {

// Rows. `id`s are given by the owner, never twice.
struct IndexedSegment {
  uint64_t number = 0;
  uint32_t owner = 0;
  uint64_t indexed_to = 0;  // bytes of the file that are in the index
  bool sealed = false;      // it will not grow
  bool dead = false;        // merged or retired; the file is to be deleted
  uint64_t blocks = 0, small_blocks = 0, points = 0;
  int64_t received_min = INT64_MAX, received_max = INT64_MIN;
  int64_t t_min = INT64_MAX, t_max = INT64_MIN;  // of the points, before clock offsets
  // Of `indexed_to`: hellos, and what retention brought here. It outlives the segment, so that to delete that gains
  // nothing of it.
  uint64_t carried_bytes = 0;
};

struct DeviceRow {
  int64_t id = 0;
  std::string name;
  uint64_t points = 0, blocks = 0, chain_breaks = 0;
  int64_t last_received_ms = 0, t_max = 0;
};

struct BootRow {
  int64_t id = 0;
  int64_t device = 0;
  uint64_t boot = 0;
  bool has_hello = false;
  uint64_t previous_boot = 0;
  int64_t started_ms = 0;
  int64_t t_min = INT64_MAX, t_max = INT64_MIN;  // of the points, before clock offsets
  RunSet segments;                               // every one in force that has points of it is among these
  RunSet settled;                                // sequence numbers
};

struct StreamRow {
  int64_t id = 0;
  int64_t boot = 0;  // BootRow::id
  uint32_t ref = 0;
  int64_t series = 0;  // SeriesRow::id; 0: not declared
  Kind kind = Kind::kGauge;
  ValueType type = ValueType::kF64;
  uint8_t scale = 0;
  std::string unit;
};

struct SeriesRow {
  int64_t id = 0;
  int64_t device = 0;
  std::string gid;  // series_gid()
  std::string name;
  std::string canonical;  // canonical_name()
};

// Blocks in memory before they are written: 72 bytes each.
inline constexpr size_t kGatheredBlocksMax = 262'144;
inline constexpr size_t kGatheredParcelsMax = 65'536;  // digests: 120 bytes each

struct ParcelDigests {
  Digest digest{}, previous{};
};

class Index {
 public:
  // `path` is SQLite's; empty: in memory. `made` says that there was none, or an unusable one, which was removed.
  static Result<std::unique_ptr<Index>> open(const std::string& path, bool* made);
  // Removes the database of `path` with all that belongs to it; nothing there is no error.
  static Status remove(const std::string& path);
  static bool present(const std::string& path);
  ~Index();
  Index(const Index&) = delete;
  Index& operator=(const Index&) = delete;

  bool ok() const { return !error_; }
  const Error& error() const { return *error_; }
  bool full() const { return full_; }  // the error is want of space: what is committed is good

  size_t gathered_blocks() const { return gathered_.size(); }
  // Rows changed since the last commit.
  uint64_t uncommitted() const { return uncommitted_; }
  // `durable`: survives a power cut when this returns.
  void commit(bool durable = false);

  int64_t id_max(const char* table);

  std::vector<IndexedSegment> segments();
  void put_segment(const IndexedSegment& segment);
  void drop_segment(uint64_t number);

  std::vector<DeviceRow> devices();
  void put_device(const DeviceRow& device);

  std::optional<BootRow> boot(int64_t device, uint64_t boot);
  std::vector<BootRow> boots(int64_t device);
  void put_boot(const BootRow& boot);

  std::optional<StreamRow> stream(int64_t boot, uint32_t ref);
  std::vector<StreamRow> streams(int64_t series);
  bool has_streams(int64_t boot);
  std::vector<uint32_t> declared_refs(int64_t boot);
  void put_stream(const StreamRow& stream);
  std::optional<int64_t> series(const std::string& gid);
  std::optional<SeriesRow> series_row(int64_t series);
  void put_series(const SeriesRow& series);
  // Of this device (0: any) and name (empty: any).
  void each_series(int64_t device, const std::string& name, const std::function<bool(const SeriesRow&)>& visit);

  // Each name of a series once, in order, with what its newest declaration says.
  void each_metric(const std::function<void(const std::string& name, Kind kind, const std::string& unit)>& visit);

  std::optional<RunSet> coverage(int64_t stream);
  void put_coverage(int64_t stream, const RunSet& runs);

  // Blocks. `segments`: those to look in; what is found is in their order, by ordinal within each.
  void put_block(const BlockRow& row);
  // Those that have ordinals of [first, end). Stops when `points_max` of these ordinals were found; one that stands in
  // two segments, as while a merged one is being read, is one.
  std::vector<BlockRow> overlapping(int64_t stream, uint64_t first, uint64_t end, std::span<const uint64_t> segments,
                                    uint64_t points_max = UINT64_MAX);
  // Those that may have points in [from, to]; false from `visit` stops.
  void in_time(int64_t stream, int64_t from, int64_t to, std::span<const uint64_t> segments,
               const std::function<bool(const BlockRow&)>& visit);
  // Removes rows of a segment, a bounded number. True: none are left.
  bool drop_extents(uint64_t segment);

  // How many blocks of a device a segment has: what the device loses when it ends.
  void add_held(uint64_t segment, int64_t device, int64_t blocks);
  std::vector<std::pair<int64_t, int64_t>> held(uint64_t segment);  // device, blocks
  void drop_held(uint64_t segment);

  void put_gap(int64_t boot, const GapView& gap);
  bool has_gaps(int64_t boot);
  bool has_gap(int64_t boot, const GapView& gap);  // as it is, or as a part of a longer one
  std::vector<GapView> gaps(int64_t boot);

  std::optional<ParcelDigests> parcel(int64_t boot, uint64_t seq);
  void put_parcel(int64_t boot, uint64_t seq, const ParcelDigests& digests);
  void drop_parcels_below(int64_t boot, uint64_t seq);

  // The statement of the highest seq wins, in whatever order they come.
  void put_clock(int64_t boot, const ClockView& clock, uint64_t seq);
  std::vector<ClockView> clocks(int64_t boot);
  void drop_clocks(int64_t boot);

 private:
  class Query;
  explicit Index(sqlite3* database);
  Status begin(bool fresh);
  void run(const char* sql);
  void refuse(const std::string& doing);
  void changed();
  static BootRow boot_row(Query& query);
  static StreamRow stream_row(Query& query);
  static SeriesRow series_row_of(Query& query);
  void write_parcels();

  // ---- index_blocks.cpp
  static constexpr uint32_t kNone = UINT32_MAX;
  struct Gathered {
    BlockRow row;
    uint32_t before = kNone;  // the one before of the same stream
  };
  void write_gathered();
  void write_extents(std::span<const BlockRow> rows, std::vector<Extent>* extents);
  std::vector<BlockRow> gathered_of(int64_t stream, uint64_t segment) const;

  sqlite3* database_;
  std::vector<std::pair<const char*, void*>> statements_;  // by the text's address
  std::optional<Error> error_;
  bool full_ = false;
  bool open_transaction_ = false;
  uint64_t uncommitted_ = 0;
  std::vector<Gathered> gathered_;
  std::unordered_map<int64_t, uint32_t> newest_of_;                // by stream, its last place in gathered_
  std::map<std::pair<int64_t, uint64_t>, ParcelDigests> parcels_;  // not written yet, by (boot, seq)
};

}  // namespace lambda::gateway
