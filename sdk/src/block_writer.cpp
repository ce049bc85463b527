// The bits are written behind room for the longest head; what the head says is known only at the end, when it is put
// directly before them.
#include "codes.h"
#include "expect.h"
#include "lambda/block.h"
#include "lambda/codecs.h"
#include "wide_codes.h"

namespace lambda {
namespace {

constexpr uint8_t kMagicAndVersion = 0xB1;
constexpr uint8_t kShapeBoot = 1 << 4;
constexpr uint8_t kShapeUnordered = 1 << 5;
constexpr uint8_t kShapeClock = 1 << 6;

uint8_t* put_u64(uint8_t* out, uint64_t value) {
  store_u64le(out, value);
  return out + 8;
}

uint8_t* put_u32(uint8_t* out, uint64_t value) {
  store_u32le(out, static_cast<uint32_t>(value));
  return out + 4;
}

}  // namespace

template <bool kBoots>
size_t write_head(const BlockInfo& info, const Point& first, uint8_t* out) {
  uint8_t* const begin = out;
  const bool has_boot = kBoots && info.has_boot;
  *out++ = kMagicAndVersion;
  *out++ = static_cast<uint8_t>(info.codec);
  *out++ = static_cast<uint8_t>(static_cast<uint8_t>(info.type) | (has_boot ? kShapeBoot : 0) |
                                (info.unordered ? kShapeUnordered : 0) | (info.clock != 0 ? kShapeClock : 0));
  if (has_boot) out = put_u64(out, info.boot);
  if (info.clock != 0) out = write_varint(out, info.clock);
  if (info.type == ValueType::kDec) *out++ = info.scale;
  out = write_varint(out, info.ref);
  out = write_varint(out, info.first_ordinal);
  out = write_varint(out, info.count);
  out = write_varint(out, zigzag(static_cast<uint64_t>(info.t_min)));
  const auto t_min = static_cast<uint32_t>(info.t_min);  // nothing is further from it than 32 bits reach
  out = write_varint(out, static_cast<uint32_t>(info.t_max) - t_min);
  out = write_varint(out, info.tick_ms);
  if (info.unordered) out = write_varint(out, (static_cast<uint32_t>(first.time_ms) - t_min) / info.tick_ms);
  out = info.codec == Codec::kXor64                     ? put_u64(out, first.bits)
        : kFurtherCodecs && info.codec == Codec::kXor32 ? put_u32(out, first.bits)
                                                        : write_varint(out, zigzag(first.bits));
  return static_cast<size_t>(out - begin);
}

template size_t write_head<false>(const BlockInfo& info, const Point& first, uint8_t* out);

void write_checksum(uint32_t crc, uint8_t* out) {
  store_u32le(out, crc);
}

BlockWriter::BlockWriter(std::span<uint8_t> space, const BlockOptions& options)
    : coding_(options.coding),
      space_(space.data()),
      space_bytes_(space.size() > UINT32_MAX ? UINT32_MAX : static_cast<uint32_t>(space.size())),
      position_(kBlockHeaderBytesMax) {
  LAMBDA_EXPECT(space.size() >= block_bytes_max(1));
  LAMBDA_EXPECT(options.tick_ms >= 1 && options.tick_ms <= kTickMsMax);
  LAMBDA_EXPECT(options.first_ordinal <= (uint64_t{1} << 63) - kBlockPointsMax);
  LAMBDA_EXPECT(options.scale <= kScaleMax);
  LAMBDA_EXPECT(options.coding != nullptr ? options.coding->holds(options.type)
                                          : options.type == ValueType::kF64 || options.type == ValueType::kI64 ||
                                                options.type == ValueType::kDec || options.type == ValueType::kState);
  info_.boot = options.boot;
  info_.first_ordinal = options.first_ordinal;
  info_.ref = options.ref;
  info_.clock = options.clock;
  info_.tick_ms = options.tick_ms;
  info_.codec = coding_ != nullptr ? coding_->codec : codec_of(options.type);
  info_.type = options.type;
  info_.scale = options.type == ValueType::kDec ? options.scale : 0;
  info_.has_boot = options.write_boot;
}

AppendResult BlockWriter::append(Point point) {
  if (info_.count == 0) {
    first_ = point;
    info_.t_min = point.time_ms;
    info_.t_max = point.time_ms;
    info_.count = 1;
    code_.last_time = point.time_ms;
    code_.last_bits = point.bits;
    if (coding_ != nullptr) coding_->start(point.bits, &code_, &value_);
    return AppendResult::kOk;
  }
  Step step;
  const Reach reach{info_.t_min, info_.t_max, info_.count, info_.tick_ms};
  if (!step_to(reach, code_.last_time, point.time_ms, &step)) return AppendResult::kFull;
  // Behind the reach, a byte being filled and the checksum must still fit: the reach covers both, as a code takes at
  // most kCodeBytesMax of it.
  static_assert(kCodeBytesMax + 1 + kChecksumBytes <= kEncodeReach + 1);
  if (position_ + kEncodeReach + 1 > space_bytes_) return AppendResult::kFull;
  uint8_t* const out = space_ + position_;
  uint8_t* const end = coding_ != nullptr ? coding_->encode(&code_, &value_, step.ticks, point.bits, out)
                       : info_.codec == Codec::kXor64
                           ? encode_point_here<Codec::kXor64>(&code_, step.ticks, point.bits, out)
                           : encode_point_here<Codec::kDelta64>(&code_, step.ticks, point.bits, out);
  position_ += static_cast<uint32_t>(end - out);
  code_.last_time = point.time_ms;
  info_.t_min = step.t_min;
  info_.t_max = step.t_max;
  info_.unordered |= step.ticks <= 0;
  ++info_.count;
  return AppendResult::kOk;
}

std::span<const uint8_t> BlockWriter::seal() {
  LAMBDA_EXPECT(info_.count > 0);
  uint8_t head[kBlockHeaderBytesMax];
  const size_t head_bytes = write_head<true>(info_, first_, head);
  uint8_t* const begin = space_ + kBlockHeaderBytesMax - head_bytes;
  __builtin_memcpy(begin, head, head_bytes);
  uint8_t* const end = space_ + position_ + (has_partial_byte(info_.codec, code_) ? 1 : 0);
  const auto body_bytes = static_cast<size_t>(end - begin);
  write_checksum(crc32c({begin, body_bytes}), end);
  return {begin, body_bytes + kChecksumBytes};
}

}  // namespace lambda
