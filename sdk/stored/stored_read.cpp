// Reading blocks of any codec.
#include "expect.h"
#include "read_codes.h"
#include "stored_head.h"

namespace lambda {

// The streaming codecs, by the reader that everybody has.
struct StoredBlockReader {
  static BlockStatus read(std::span<const uint8_t> bytes, const StoredHead& head, std::span<Point> points) {
    const BlockInfo& info = head.info;
    BlockReader reader;
    reader.info_ = info;
    reader.bytes_ = bytes.data();
    reader.size_ = bytes.size();
    reader.bit_ = size_t{head.begin} * 8;
    reader.bit_end_ = size_t{head.end} * 8;
    reader.now_ = head.first_tick;
    reader.span_ = head.span_ticks;
    reader.code_.last_bits = info.codec == Codec::kXor32     ? head.first_bits << 32
                             : info.codec == Codec::kSlope64 ? 0
                                                             : head.first_bits;
    points = points.first(info.count);
    switch (info.codec) {
      case Codec::kXor64:
        reader.decode<Codec::kXor64>(points);
        break;
      case Codec::kXor32:
        reader.decode<Codec::kXor32>(points);
        if (!reader.status_.ok()) break;
        for (Point& point : points) point.bits >>= 32;
        break;
      case Codec::kSlope64: {
        reader.decode<Codec::kDelta64>(points);
        if (!reader.status_.ok()) break;
        uint64_t value = head.first_bits;
        for (Point& point : points) point.bits = value += point.bits;
        break;
      }
      case Codec::kRuns64:
        CodecReader::runs64(&reader, points);
        break;
      case Codec::kDelta64:
      case Codec::kPacked:
        reader.decode<Codec::kDelta64>(points);
        break;
    }
    if (reader.status_.ok()) reader.check_end();
    return reader.status_;
  }
};

namespace {

BlockStatus open_packed(std::span<const uint8_t> bytes, const StoredHead& head, packed::PackedReader* reader) {
  if (!reader->open(head.info, bytes.data() + head.begin, bytes.data() + head.end) ||
      reader->stop != bytes.data() + head.end) {
    return {BlockError::kBits, head.begin};
  }
  return {};
}

BlockStatus read_points(std::span<const uint8_t> bytes, const StoredHead& head, std::span<Point> points) {
  if (head.info.codec != Codec::kPacked) return StoredBlockReader::read(bytes, head, points);
  packed::PackedReader reader;
  if (const BlockStatus status = open_packed(bytes, head, &reader); !status.ok()) return status;
  bool times_wrong = false;
  if (packed::decode_packed(&reader, static_cast<uint32_t>(head.span_ticks), points.data(), &times_wrong)) return {};
  return {times_wrong ? BlockError::kTimes : BlockError::kBits, head.begin};
}

}  // namespace

BlockStatus read_block(std::span<const uint8_t> bytes, uint64_t context_boot, BlockInfo* info, std::span<Point> points,
                       int64_t span_ms_max) {
  StoredHead head;
  BlockStatus status = read_stored_head(bytes, context_boot, span_ms_max, false, &head);
  if (!status.ok()) return status;
  *info = head.info;
  if (points.size() < info->count) return {BlockError::kCount, 0};
  points = points.first(info->count);
  status = read_points(bytes, head, points);
  if (status.ok() && head.aggregates.count > 0 && head.aggregates != aggregates_of(info->type, points)) {
    return {BlockError::kAggregates, head.begin};
  }
  return status;
}

BlockStatus read_block_info(std::span<const uint8_t> bytes, uint64_t context_boot, BlockInfo* info,
                            Aggregates* aggregates, bool trusted, int64_t span_ms_max) {
  StoredHead head;
  const BlockStatus status = read_stored_head(bytes, context_boot, span_ms_max, trusted, &head);
  *info = head.info;
  if (aggregates != nullptr) *aggregates = status.ok() ? head.aggregates : Aggregates();
  return status;
}

BlockStatus read_point(std::span<const uint8_t> bytes, uint64_t context_boot, size_t index, Point* point, bool trusted,
                       int64_t span_ms_max) {
  StoredHead head;
  BlockStatus status = read_stored_head(bytes, context_boot, span_ms_max, trusted, &head);
  if (!status.ok()) return status;
  if (index >= head.info.count) return {BlockError::kCount, 0};
  if (head.info.codec != Codec::kPacked) {
    Point points[kBlockPointsMax];
    status = StoredBlockReader::read(bytes, head, points);
    *point = points[index];
    return status;
  }
  packed::PackedReader reader;
  if (status = open_packed(bytes, head, &reader); !status.ok()) return status;
  for (; index >= packed::kMini; index -= packed::kMini) reader.skip();
  uint64_t ticks[packed::kMini];
  uint64_t bits[packed::kMini];
  const size_t left = head.info.count - reader.index;
  if (!reader.next<false>(left < packed::kMini ? left : packed::kMini, ticks, bits))
    return {BlockError::kBits, head.begin};
  if (ticks[index] > static_cast<uint64_t>(head.span_ticks)) return {BlockError::kTimes, head.begin};
  *point = {head.info.t_min + static_cast<int64_t>(ticks[index] * head.info.tick_ms), bits[index]};
  return {};
}

BlockStatus aggregate_block(std::span<const uint8_t> bytes, uint64_t context_boot, int64_t from_ms, int64_t to_ms,
                            BlockInfo* info, Aggregates* aggregates, int64_t span_ms_max) {
  StoredHead head;
  BlockStatus status = read_stored_head(bytes, context_boot, span_ms_max, false, &head);
  if (!status.ok()) return status;
  *info = head.info;
  packed::PackedReader reader;
  if (info->codec == Codec::kPacked) {
    if (status = open_packed(bytes, head, &reader); !status.ok()) return status;
    bool times_wrong = false;
    if (packed::aggregate_packed(&reader, static_cast<uint32_t>(head.span_ticks), from_ms, to_ms, aggregates,
                                 &times_wrong)) {
      return {};
    }
    return {times_wrong ? BlockError::kTimes : BlockError::kBits, head.begin};
  }
  Point points[kBlockPointsMax];
  if (status = read_points(bytes, head, points); !status.ok()) return status;
  *aggregates = aggregates_within(info->type, {points, info->count}, from_ms, to_ms);
  return {};
}

const char* encoding_name(std::span<const uint8_t> bytes) {
  StoredHead head;
  if (!read_stored_head(bytes, 0, kLongSpanMsMax, true, &head).ok()) return "unknown";
  switch (head.info.codec) {
    case Codec::kXor64:
      return "xor64";
    case Codec::kDelta64:
      return "delta64";
    case Codec::kXor32:
      return "xor32";
    case Codec::kSlope64:
      return "slope64";
    case Codec::kRuns64:
      return "runs64";
    case Codec::kPacked:
      break;
  }
  packed::PackedReader reader;
  return open_packed(bytes, head, &reader).ok() ? packed::packed_name(reader) : "unknown";
}

}  // namespace lambda
