// Reads blocks that may have been made by anybody: nothing is believed before it is checked, and what cannot be checked
// at once (that the times fill t_min to t_max) is checked with the last point.
#include <new>

#include "expect.h"
#include "lambda/block.h"
#include "lambda/codecs.h"
#include "read_codes.h"
#include "read_head.h"

namespace lambda {

const char* block_error_name(BlockError error) {
  switch (error) {
    case BlockError::kNone:
      return "none";
    case BlockError::kTooShort:
      return "too_short";
    case BlockError::kMagic:
      return "magic";
    case BlockError::kVersion:
      return "version";
    case BlockError::kCodec:
      return "codec";
    case BlockError::kValueType:
      return "value_type";
    case BlockError::kReserved:
      return "reserved";
    case BlockError::kVarint:
      return "varint";
    case BlockError::kCount:
      return "count";
    case BlockError::kSpan:
      return "span";
    case BlockError::kScale:
      return "scale";
    case BlockError::kOrdinal:
      return "ordinal";
    case BlockError::kTick:
      return "tick";
    case BlockError::kBits:
      return "bits";
    case BlockError::kTimes:
      return "times";
    case BlockError::kChecksum:
      return "checksum";
    case BlockError::kAggregates:
      return "aggregates";
  }
  return "unknown";
}

namespace {

// In ticks: from t_min to t_max, and to the first point.
struct Extent {
  int32_t span;
  int32_t first;
};

LAMBDA_ONE_COPY Extent read_own_head(OwnCursor* in, BlockInfo* info, uint64_t context_boot) {
  Extent extent;
  // The first byte is above 127, which makes one number of it and the codec.
  uint32_t version_and_codec;
  in->u32(&version_and_codec);
  info->codec = static_cast<Codec>(version_and_codec >> 7);
  read_shape<false>(in, info, context_boot);
  read_identity(in, info);
  read_times(in, info, &extent.span, &extent.first);
  return extent;
}

}  // namespace

bool has_its_checksum(std::span<const uint8_t> bytes) {
  if (bytes.size() < kBlockBytesMin) return false;
  const size_t body = bytes.size() - kChecksumBytes;
  return crc32c(bytes.first(body)) == read_checksum(bytes.data() + body);
}

void read_own_info(std::span<const uint8_t> bytes, uint64_t context_boot, BlockInfo* info) {
  OwnCursor in(bytes.data(), bytes.data() + bytes.size());
  new (info) BlockInfo;
  read_own_head(&in, info, context_boot);
}

BlockReader::BlockReader() = default;  // once, not wherever one is

BlockStatus BlockReader::refuse(BlockError error, size_t offset) {
  status_ = {error, offset};
  return status_;
}

BlockStatus BlockReader::open(std::span<const uint8_t> bytes, uint64_t context_boot, BlockCodings codings) {
  new (this) BlockReader();
  if (bytes.empty()) return refuse(BlockError::kTooShort, 0);
  if (bytes[0] >> 4 != 0xB) return refuse(BlockError::kMagic, 0);
  if ((bytes[0] & 0x0F) != 1) return refuse(BlockError::kVersion, 0);
  if (bytes.size() < kBlockBytesMin) return refuse(BlockError::kTooShort, bytes.size());
  // Before anything else is looked at: what a flipped bit did should be called by its name.
  const size_t body = bytes.size() - kChecksumBytes;
  if (crc32c(bytes.first(body)) != read_checksum(bytes.data() + body)) return refuse(BlockError::kChecksum, body);

  Cursor in(bytes.data() + 1, body - 1);
  read_codec_and_shape(&in, &info_, context_boot, codings, &coding_);
  read_identity(&in, &info_);
  read_times(&in, &info_, &span_, &now_);
  read_first_value(&in, info_.codec, &code_.last_bits);
  if (in.error() != BlockError::kNone) return refuse(in.error(), in.position() + 1);
  begin(bytes, in.position() + 1);
  return status_;
}

void BlockReader::open_own(std::span<const uint8_t> bytes, uint64_t context_boot, BlockCodings codings) {
  OwnCursor in(bytes.data(), bytes.data() + bytes.size());
  const Extent extent = read_own_head(&in, &info_, context_boot);
  read_first_value(&in, info_.codec, &code_.last_bits);
  coding_ = find_coding(codings, info_.codec);
  span_ = extent.span;
  now_ = extent.first;
  begin(bytes, static_cast<size_t>(in.at() - bytes.data()));
}

// The head has been read; `head_bytes` of it.
void BlockReader::begin(std::span<const uint8_t> bytes, size_t head_bytes) {
  if (kFurtherCodecs && coding_ != nullptr) coding_->start(code_.last_bits, &code_, &value_);
  bytes_ = bytes.data();
  size_ = bytes.size();
  bit_ = head_bytes * 8;
  bit_end_ = (bytes.size() - kChecksumBytes) * 8;
}

BlockReader BlockReader::over_open(const BlockWriter& writer) {
  BlockReader reader;
  reader.info_ = writer.info_;
  if (writer.info_.count == 0) return reader;
  reader.bytes_ = writer.space_;
  reader.size_ = writer.position_ + 1u + kChecksumBytes;  // the room that seal() needs
  reader.bit_ = kBlockHeaderBytesMax * 8;
  reader.bit_end_ = size_t{writer.position_} * 8 + writer.code_.fill;
  reader.code_.last_bits = writer.first_.bits;
  reader.coding_ = writer.coding_;
  reader.is_open_ = true;
  if (reader.coding_ != nullptr) reader.coding_->start(writer.first_.bits, &reader.code_, &reader.value_);
  reader.now_ =
      static_cast<int32_t>(writer.first_.time_ms - writer.info_.t_min) / static_cast<int32_t>(writer.info_.tick_ms);
  reader.span_ =
      static_cast<int32_t>(writer.info_.t_max - writer.info_.t_min) / static_cast<int32_t>(writer.info_.tick_ms);
  return reader;
}

bool BlockReader::check_end() {
  const size_t offset = bit_ >> 3;
  const size_t left = bit_end_ - bit_;  // of the last byte, if the codes end where they should
  if (left >= 8 || (bytes_[offset] & ((1u << left) - 1)) != 0) {
    refuse(BlockError::kBits, offset);
  } else if (seen_ != (kStart | kEnd | (info_.unordered ? kBack : 0))) {
    refuse(BlockError::kTimes, offset);
  }
  return status_.ok();
}

size_t CodecReader::one_of_two(BlockReader* reader, std::span<Point> points) {
#ifdef LAMBDA_WIDE_CODES
  return reader->info_.codec == Codec::kXor64 ? reader->decode<Codec::kXor64>(points)
                                              : reader->decode<Codec::kDelta64>(points);
#else
  return reader->decode_carefully(reader->info_.codec, points.data(), 0, points.size());
#endif
}

size_t BlockReader::next(std::span<Point> points) {
  if (!status_.ok() || taken_ == info_.count) return 0;
  if (points.size() > info_.count - taken_) points = points.first(info_.count - taken_);
  if (points.empty()) return 0;
  size_t made =
      kFurtherCodecs && coding_ != nullptr ? coding_->decode(this, points) : CodecReader::one_of_two(this, points);
  if (taken_ == info_.count && status_.ok() && !check_end()) --made;
  return made;
}

BlockStatus decode_block(std::span<const uint8_t> bytes, uint64_t context_boot, BlockInfo* info,
                         std::span<Point> points, BlockCodings codings) {
  BlockReader reader;
  if (const BlockStatus status = reader.open(bytes, context_boot, codings); !status.ok()) return status;
  *info = reader.info();
  if (points.size() < info->count) return {BlockError::kCount, 0};
  reader.next(points);
  return reader.status();
}

}  // namespace lambda
