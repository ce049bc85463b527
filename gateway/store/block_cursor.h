// The samples of one series out of the blocks that hold them, wherever these stand: each point once, and of points of
// one time the later boot's, then that of the higher ordinal.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/env/disk.h"
#include "gateway/store/index.h"
#include "gateway/store/summaries.h"
#include "lambda/parcel.h"
#include "query/series_source.h"

namespace lambda::gateway {

// A file that cursors may be reading. It is deleted only when nobody but the store holds it.
struct SegmentFile {
  uint64_t number = 0;
  std::string path;
};
using SegmentPin = std::shared_ptr<const SegmentFile>;

// Written by cursors on any thread.
struct ReadCounters {
  std::atomic<uint64_t> damaged_blocks{0};
  std::atomic<uint64_t> held_blocks{0};  // by cursors that are there
};

struct BlockRef {
  SegmentPin segment;
  BlockRow row;
  uint64_t boot = 0;
  uint32_t ref = 0;       // of the series in the boot
  uint32_t rank = 0;      // of the boot: the later one wins
  int64_t offset_ms = 0;  // what the boot's clock lacked
};

// What the boots of a device have to do with points that are not stored yet.
struct BootPlace {
  uint32_t rank = 0;
  std::map<uint32_t, ClockView> clocks;
};
using BootPlaces = std::map<uint64_t, BootPlace>;  // by the boot's id

// Each boot's place among its device's, by BootRow::id: after its previous one; else by start, then by the boot's
// number. One whose hello has not come is the latest if it has points, and the first if nothing of it is here but what
// retention left. Chains of hostile hellos that run in a circle are cut where they would.
std::map<int64_t, uint32_t> boot_ranks(const std::vector<BootRow>& boots);

// `time_ms` + `by_ms`, held within what a time can be.
int64_t shifted_time(int64_t time_ms, int64_t by_ms);

// Reads `blocks` when it is read, on any thread; `disk` must outlive it. A block that cannot be read is left out, with
// a warning that names the file and the byte. `boots`: of the device; points that have just come are placed by it.
std::unique_ptr<query::SeriesCursor> block_cursor(Disk& disk, std::vector<BlockRef> blocks,
                                                  std::shared_ptr<const BootPlaces> boots, int64_t from_ms,
                                                  int64_t to_ms, std::shared_ptr<ReadCounters> counters,
                                                  std::shared_ptr<Summaries> summaries);

// The whole block that `row` stands in. From any thread, as the two below.
Status read_block_bytes(Disk& disk, const std::string& path, const BlockRow& row, std::vector<uint8_t>* bytes);
// Whether it could be decoded and is the one that `row` means; kCorrupt names the file and the byte.
Status check_block(const std::string& path, const BlockRow& row, uint64_t boot, const BlockInfo& info,
                   const BlockStatus& status);
// The points of the whole block that `row` stands in; kCorrupt names the file and the byte. From any thread.
Result<std::vector<Point>> read_points(Disk& disk, const std::string& path, const BlockRow& row, uint64_t boot,
                                       BlockInfo* info);

}  // namespace lambda::gateway
