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

// The first two are what everybody writes and reads. xor32, slope64 and runs64 are linked by who names them:
// lambda/codecs.h. packed is for hosts: lambda/stored_block.h.
enum class Codec : uint8_t { kXor64 = 1, kDelta64 = 2, kXor32 = 4, kSlope64 = 5, kPacked = 6, kRuns64 = 7 };

// LAMBDA_TWO_CODECS, for all that is compiled into an image: there are no codecs but the first two, and a configuration
// that names another is not valid. For images that would name none: having the choice takes flash too.
#ifdef LAMBDA_TWO_CODECS
inline constexpr bool kFurtherCodecs = false;
#else
inline constexpr bool kFurtherCodecs = true;
#endif

// Further codecs, none of which is linked unless it is named. The objects outlive whoever is given them.
struct BlockCoding;
using BlockCodings = std::span<const BlockCoding* const>;

struct CodeWindow;

// What a block says of itself.
struct BlockInfo {
  uint64_t boot = 0;
  uint64_t first_ordinal = 0;
  int64_t t_min = 0;
  int64_t t_max = 0;
  uint32_t ref = 0;
  uint32_t clock = 0;
  uint32_t count = 0;
  uint32_t tick_ms = 1;
  Codec codec = Codec::kXor64;
  ValueType type = ValueType::kF64;
  uint8_t scale = 0;
  bool has_boot = false;
  bool unordered = false;
};

enum class BlockError : uint8_t {
  kNone,
  kTooShort,
  kMagic,      // not a block
  kVersion,    // a major version this reader does not know
  kCodec,      // a codec this reader does not know
  kValueType,  // a value type this reader does not know, or that the codec cannot hold
  kReserved,   // a reserved bit is set
  kVarint,     // too long, not the shortest form, or out of range
  kCount,
  kSpan,
  kScale,
  kOrdinal,
  kTick,
  kBits,   // the bits end too early, too late or in set bits
  kTimes,  // points disagree with t_min, t_span or the order flag
  kChecksum,
  kAggregates,  // the head's aggregates are not those of the points
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

// The worst point: 2 bits of form, 3 + 22 of step, 1 + 1 + 5 + 6 + 64 of value (proto/block.md). A code of runs64 may
// be a byte longer, but stands for two points then.
inline constexpr size_t kPointBytesMax = 13;
inline constexpr size_t kBlockHeaderBytesMax = 64;  // everything before the bits, first value included
inline constexpr uint32_t kTickMsMax = 600'000;
// Space for `points` points whatever they are; the bits are written eight bytes at a time, hence some to spare.
constexpr size_t block_bytes_max(size_t points) {
  return kBlockHeaderBytesMax + 16 + points * kPointBytesMax;
}

struct BlockOptions {
  uint64_t boot = 0;
  uint64_t first_ordinal = 0;
  uint32_t ref = 0;
  uint32_t clock = 0;
  ValueType type = ValueType::kF64;
  uint8_t scale = 0;
  bool write_boot = false;              // parcels leave it out, files and stores write it
  uint32_t tick_ms = 1;                 // every time difference must be a multiple of it; 1..kTickMsMax
  const BlockCoding* coding = nullptr;  // of the type; null: xor64 or delta64
};

// Where a run of codes stands: what the next point is written, or read, against. proto/block.md, "Codes".
struct CodeState {
  int64_t last_time = 0;
  uint64_t last_bits = 0;
  int32_t step = 0;         // last time difference, in ticks
  uint8_t window_lead = 0;  // xor64: leading zeros and; runs64: both hold how many points have come since the last code
  uint8_t window_bits = 0;  // length of the window; 0: there is none yet
  uint8_t fill = 0;         // bits of `partial` that are taken, 0..7
  uint8_t partial = 0;      // the byte being filled, from its most significant bit
};

class BlockWriter {
 public:
  // Writes into `space`, which must outlive the writer and hold at least block_bytes_max(1).
  BlockWriter(std::span<uint8_t> space, const BlockOptions& options);

  // Adds a point; times may come in any order. All 64 bits survive.
  [[nodiscard]] AppendResult append(Point point);

  uint32_t count() const { return info_.count; }
  const BlockInfo& info() const { return info_; }  // t_min and t_max mean something once there is a point
  // What seal() would return now is at most this long.
  size_t bytes() const { return position_ + 5; }
  // For who appends to many blocks in turn: asks memory for the bytes that the next point goes to, a few blocks before
  // it is this one's turn.
  void fetch() const { __builtin_prefetch(space_ + position_, 1); }

  // Ends the block and returns its bytes, which alias `space`. At least one point must be in it.
  // Afterwards the writer may only be destroyed.
  std::span<const uint8_t> seal();

  // The open block's points may be read at any moment: see BlockReader::over_open().
 private:
  friend class BlockReader;

  BlockInfo info_;
  CodeState code_;
  uint64_t value_ = 0;  // slope64: the last value
  const BlockCoding* coding_;
  uint8_t* space_;
  uint32_t space_bytes_;
  uint32_t position_;  // in `space`, of the byte being filled
  Point first_{};
};

// Walks the points of a block. Treats the bytes as hostile.
class BlockReader {
 public:
  BlockReader();
  // Reads the header and checks the checksum. `bytes` must outlive the reader. A block without a boot of its own is
  // taken to be of `context_boot`. Codecs but xor64 and delta64 are refused if they are not among `codings`.
  BlockStatus open(std::span<const uint8_t> bytes, uint64_t context_boot = 0, BlockCodings codings = {});
  // Reads the points that are in an open block now. The writer is not disturbed: it may go on appending while the
  // points are read, but not seal.
  static BlockReader over_open(const BlockWriter& writer);

  const BlockInfo& info() const { return info_; }
  // The next point, or false at the end or on an error; status() tells which. That the points agree with t_min, t_max
  // and the order flag as a whole is known only at the end: who cannot take points back uses decode_block().
  bool next(Point* point) { return next(std::span<Point>(point, 1)) == 1; }
  // The next points, as many as there are and fit. Zero: as above.
  size_t next(std::span<Point> points);
  BlockStatus status() const { return status_; }

 private:
  friend struct StoredBlockReader;
  friend struct CodecReader;
  friend class SeriesStore;

  // open() of a reader that is new and a block that this program wrote, without its boot, and that is as it was: of the
  // head nothing is looked at, nor is the checksum.
  void open_own(std::span<const uint8_t> bytes, uint64_t context_boot, BlockCodings codings);
  void begin(std::span<const uint8_t> bytes, size_t head_bytes);
  bool step_on();
  Point here();
  template <Codec codec>
  size_t decode(std::span<Point> points);
  size_t decode_carefully(Codec codec, Point* points, size_t made, size_t count);
  BlockError take_code(Codec codec);
  bool take_value(Codec codec, CodeWindow* window);
  bool check_end();
  BlockStatus refuse(BlockError error, size_t offset);

  static constexpr uint8_t kStart = 1;  // one was at t_min
  static constexpr uint8_t kEnd = 2;    // one was at t_max
  static constexpr uint8_t kBack = 4;   // a step was not positive

  BlockInfo info_;
  BlockStatus status_;
  CodeState code_;
  uint64_t value_ = 0;                   // slope64: the last value
  const BlockCoding* coding_ = nullptr;  // null: xor64 or delta64
  const uint8_t* bytes_ = nullptr;
  size_t size_ = 0;       // bytes that may be read
  size_t bit_ = 0;        // position of the next code, in bits from bytes_
  size_t bit_end_ = 0;    // of the payload
  uint32_t taken_ = 0;    // points given out
  int32_t now_ = 0;       // ticks from t_min to the last point
  int32_t span_ = 0;      // ticks from t_min to t_max
  uint32_t run_ = 0;      // runs64: points to come that need no code
  bool is_open_ = false;  // of a block whose writer goes on
  bool in_run_ = false;   // runs64: a change follows them
  uint8_t seen_ = 0;      // of the points so far, see below
};

// Decodes a whole block into `points` (at least info.count long) after checking it completely.
// On an error `points` may hold anything. kCount when `points` is too short.
BlockStatus decode_block(std::span<const uint8_t> bytes, uint64_t context_boot, BlockInfo* info,
                         std::span<Point> points, BlockCodings codings = {});

// The content root: names the points, not the bytes. Constant memory; feed at most 1,024 points in ordinal order.
class ContentRoot {
 public:
  explicit ContentRoot(const HashPort& hash);
  void add(Point point);
  // Root of what was added; at least one point. The object is then as new.
  void finish(uint8_t root[kDigestBytes]);

 private:
  void end_leaf();
  void join(const uint8_t* left, const uint8_t* right, uint8_t* root);

  const HashPort* hash_;
  HashState state_;  // of the leaf being filled
  uint32_t points_ = 0;
  uint32_t leaves_ = 0;
  uint8_t roots_[5][kDigestBytes];  // 1,024 points are 16 leaves
};

// CRC32C (Castagnoli) of `bytes`, going on from `crc` (0 at the start).
uint32_t crc32c(std::span<const uint8_t> bytes, uint32_t crc = 0);

}  // namespace lambda
