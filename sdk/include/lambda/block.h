// One compressed run of points of one series: the unit that is held, sent, stored, merged and proven.
// Bytes: proto/block.md. Immutable once sealed. Not thread-safe; distinct blocks may be used from distinct threads.
// Source of the scheme: Pelkonen et al., "Gorilla", VLDB 2015, section 4.1; our differences are in proto/block.md.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <span>

#include "lambda/hash.h"
#include "lambda/point.h"

namespace lambda {

enum class Codec : uint8_t { kXor64 = 1, kDelta64 = 2 };

// What a block says of itself.
struct BlockInfo {
  uint64_t boot = 0;
  uint64_t first_ordinal = 0;
  int64_t t_min = 0;
  int64_t t_max = 0;
  uint32_t ref = 0;
  uint32_t clock = 0;
  uint32_t count = 0;
  Codec codec = Codec::kXor64;
  ValueType type = ValueType::kF64;
  uint8_t scale = 0;
  bool has_boot = false;
  bool unordered = false;
};

enum class BlockError : uint8_t {
  kNone,
  kTooShort,
  kMagic,        // not a block
  kVersion,      // a major version this reader does not know
  kCodec,        // a codec this reader does not know
  kValueType,    // a value type this reader does not know, or that the codec cannot hold
  kReserved,     // a reserved bit is set
  kVarint,       // too long, not the shortest form, or out of range
  kCount,
  kSpan,
  kScale,
  kOrdinal,
  kTick,
  kBits,         // the bits end too early, too late or in set bits
  kTimes,        // points disagree with t_min, t_span or the order flag
  kChecksum,
};
// "checksum", "codec" ...: stable words for logs and metrics.
const char* block_error_name(BlockError error);

struct BlockStatus {
  BlockError error = BlockError::kNone;
  size_t offset = 0;  // of the byte where it was noticed
  bool ok() const { return error == BlockError::kNone; }
};

enum class AppendResult : uint8_t {
  kOk,
  kFull,  // space, 1,024 points, ten minutes or the tick: nothing was written; seal, then append to a new block
};

inline constexpr size_t kPointBytesMax = 19;
inline constexpr size_t kBlockHeaderBytesMax = 64;
// Space for `points` points whatever they are.
constexpr size_t block_bytes_max(size_t points) { return kBlockHeaderBytesMax + 16 + points * kPointBytesMax; }

struct BlockOptions {
  uint64_t boot = 0;
  uint64_t first_ordinal = 0;
  uint32_t ref = 0;
  uint32_t clock = 0;
  ValueType type = ValueType::kF64;
  uint8_t scale = 0;
  bool write_boot = false;  // parcels leave it out, files and stores write it
  uint32_t tick_ms = 1;     // every time difference must be a multiple of it
};

class BlockWriter {
 public:
  // Writes into `space`, which must outlive the writer and hold at least block_bytes_max(1).
  BlockWriter(std::span<uint8_t> space, const BlockOptions& options);

  // Adds a point; times may come in any order. All 64 bits survive.
  [[nodiscard]] AppendResult append(Point point);

  uint32_t count() const;
  const BlockInfo& info() const;

  // Ends the block and returns its bytes, which alias `space`. At least one point must be in it.
  // Afterwards the writer may only be destroyed.
  std::span<const uint8_t> seal();

  // The open block's points may be read at any moment: see BlockReader::over_open().
 private:
  friend class BlockReader;
  // (members are the implementation's)
};

// Walks the points of a block. Treats the bytes as hostile.
class BlockReader {
 public:
  BlockReader() = default;
  // Reads the header and checks the checksum. `bytes` must outlive the reader. A block without a boot of its own is
  // taken to be of `context_boot`.
  BlockStatus open(std::span<const uint8_t> bytes, uint64_t context_boot = 0);
  const BlockInfo& info() const;
  // The next point, or false at the end or on an error; status() tells which.
  bool next(Point* point);
  BlockStatus status() const;
};

// Decodes a whole block into `points` (at least info.count long) after checking it completely.
BlockStatus decode_block(std::span<const uint8_t> bytes, uint64_t context_boot, BlockInfo* info, std::span<Point> points);

// The content root: names the points, not the bytes. Constant memory; feed points in ordinal order.
class ContentRoot {
 public:
  explicit ContentRoot(const HashPort& hash);
  void add(Point point);
  // Root of what was added; at least one point. The object is then as new.
  void finish(uint8_t root[kDigestBytes]);
};

// CRC32C (Castagnoli) of `bytes`, going on from `crc` (0 at the start).
uint32_t crc32c(std::span<const uint8_t> bytes, uint32_t crc = 0);

}  // namespace lambda
