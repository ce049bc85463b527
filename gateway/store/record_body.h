// What stands in the records of a segment (proto/segment.md, proto/store.proto), read and written. The bytes of a
// record passed its checksum, and are treated as hostile all the same: parsing refuses what does not fit, by name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "gateway/store/runs.h"
#include "gateway/store/store.h"

namespace lambda::gateway {

enum class SegmentRecord : uint8_t {
  kStoredParcel = 1,
  kStoredHello = 2,
  kRetired = 3,
  kSkeleton = 4,
  kMerged = 5,
  kReplaces = 6,
  kEnd = 7,
};

// FileHeader::owner of a segment.
inline constexpr uint32_t kOwnerArrivals = 0;
inline constexpr uint32_t kOwnerMerged = 1;

struct StoredBlock {
  BlockInfo info;
  std::span<const uint8_t> bytes;    // within the record's body
  uint64_t body_offset = 0;          // of `bytes` in it
  std::vector<OrdinalRun> accepted;  // the ordinals that count, within the block; ascending
};

// A StoredParcel, or a Skeleton (then `blocks` is empty).
struct ParcelRecord {
  std::string device;
  uint64_t boot = 0, seq = 0, floor_seq = 0;
  int64_t received_ms = 0;
  Digest digest{}, previous{};
  std::vector<Declared> declarations;
  std::vector<StoredBlock> blocks;
  std::vector<GapView> gaps;
  std::vector<ClockView> clocks;
};

struct RetiredRun {
  uint64_t boot = 0;
  uint32_t ref = 0;
  OrdinalRun run;
};
struct RetiredGap {
  uint64_t boot = 0;
  GapView gap;
};
struct RetiredRecord {
  std::string device;
  std::vector<RetiredRun> runs;
  std::vector<RetiredGap> gaps;
};

struct MergedRecord {
  std::string device;
  StoredBlock block;
};

struct EndRecord {
  uint64_t records = 0;
  uint64_t bytes = 0;  // before the End record
};

// Each is kCorrupt when the body is not what its type says. Views in the results point into `body`.
Result<ParcelRecord> parse_stored_parcel(std::span<const std::byte> body);
Result<ParcelRecord> parse_skeleton(std::span<const std::byte> body);
Result<HelloRecord> parse_stored_hello(std::span<const std::byte> body);
Result<RetiredRecord> parse_retired(std::span<const std::byte> body);
Result<MergedRecord> parse_merged(std::span<const std::byte> body);
Result<std::vector<uint64_t>> parse_replaces(std::span<const std::byte> body);
Result<EndRecord> parse_end(std::span<const std::byte> body);

struct AcceptedRun {
  uint32_t block = 0;  // its place in the parcel
  OrdinalRun run;
};

// Each appends one whole record to `out`.
// Returns where in `out` the parcel message begins. `partial`: only `accepted` counts.
size_t append_stored_parcel(std::vector<std::byte>& out, const StoreRequest& request, bool partial,
                            std::span<const AcceptedRun> accepted);
void append_stored_hello(std::vector<std::byte>& out, const HelloRecord& hello);
// As many records as the bound of a record's size asks for; returns how many.
uint64_t append_retired(std::vector<std::byte>& out, const RetiredRecord& retired);
// The Skeleton of a StoredParcel's body whose blocks have these content roots (in their order).
Status append_skeleton(std::vector<std::byte>& out, std::span<const std::byte> stored_parcel_body,
                       std::span<const Digest> roots);
// Where in `out` the block's bytes begin.
size_t append_merged(std::vector<std::byte>& out, const std::string& device, std::span<const uint8_t> block);
void append_replaces(std::vector<std::byte>& out, std::span<const uint64_t> numbers);
void append_end(std::vector<std::byte>& out, const EndRecord& end);
inline constexpr size_t kEndRecordBytes = 32;

}  // namespace lambda::gateway
