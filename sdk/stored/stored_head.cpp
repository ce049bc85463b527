#include "stored_head.h"

#include "short_varint.h"

namespace lambda {
namespace {

using packed::put_varint;

constexpr uint8_t kMagicAndVersion = 0xB1;

// A Cursor that takes a field at once where it can; what it cannot take, a Cursor names.
class HeadCursor : public Cursor {
 public:
  using Cursor::Cursor;
  BlockError varint(uint64_t* value) { return take_varint(value) ? BlockError::kNone : Cursor::varint(value); }
  BlockError u32(uint32_t* value, uint32_t max = UINT32_MAX, BlockError over = BlockError::kVarint) {
    const size_t begin = position_;
    uint64_t wide;
    if (take_varint(&wide) && wide <= max) {
      *value = static_cast<uint32_t>(wide);
      return BlockError::kNone;
    }
    position_ = begin;
    return Cursor::u32(value, max, over);
  }
  BlockError u64le(uint64_t* value) {
    if (!has_eight()) return Cursor::u64le(value);
    *value = packed::load_u64le(bytes_ + position_);
    position_ += 8;
    return BlockError::kNone;
  }

 private:
  bool has_eight() const { return error_ == BlockError::kNone && size_ - position_ >= 8; }
  bool take_varint(uint64_t* value) {
    const unsigned bytes = has_eight() ? packed::read_short_varint(packed::load_u64le(bytes_ + position_), value) : 0;
    position_ += bytes;
    return bytes != 0;
  }
};

uint8_t* put_fixed(uint8_t* out, uint64_t value, size_t bytes) {
  for (size_t i = 0; i < bytes; ++i, value >>= 8) *out++ = static_cast<uint8_t>(value);
  return out;
}

constexpr size_t float_bytes(ValueType type) {
  return type == ValueType::kF64 ? 8 : type == ValueType::kF32 ? 4 : 0;
}

uint8_t* put_value(ValueType type, uint64_t bits, uint8_t* out) {
  const size_t bytes = float_bytes(type);
  return bytes > 0 ? put_fixed(out, bits, bytes) : put_varint(out, zigzag(bits));
}

BlockError take_fixed(HeadCursor* in, size_t bytes, uint64_t* value) {
  return bytes == 8 ? in->u64le(value) : in->u32le(value);
}

BlockError take_value(ValueType type, HeadCursor* in, uint64_t* bits) {
  if (const size_t bytes = float_bytes(type); bytes > 0) return take_fixed(in, bytes, bits);
  uint64_t wide;
  const BlockError error = in->varint(&wide);
  *bits = unzigzag(wide);
  return error;
}

// The high half of an integer sum is nearly always the sign of the low half.
uint64_t sign_of(uint64_t low) {
  return 0 - (low >> 63);
}

uint8_t* put_aggregates(ValueType type, const Aggregates& all, uint8_t* out) {
  out = put_varint(out, all.nan_count);
  out = put_value(type, all.first, out);
  out = put_value(type, all.last, out);
  if (all.nan_count < all.count) {
    out = put_value(type, all.min, out);
    out = put_value(type, all.max, out);
  }
  if (float_bytes(type) > 0) return put_fixed(out, all.sum_low, 8);
  out = put_varint(out, zigzag(all.sum_low));
  return put_varint(out, zigzag(static_cast<uint64_t>(all.sum_high) - sign_of(all.sum_low)));
}

BlockError take_aggregates(HeadCursor* in, const BlockInfo& info, Aggregates* all) {
  uint64_t wide;
  BlockError error = in->u32(&all->nan_count, info.count);
  if (error != BlockError::kNone) return error;
  all->count = info.count;
  error = take_value(info.type, in, &all->first);
  if (error == BlockError::kNone) error = take_value(info.type, in, &all->last);
  if (all->nan_count < all->count) {
    if (error == BlockError::kNone) error = take_value(info.type, in, &all->min);
    if (error == BlockError::kNone) error = take_value(info.type, in, &all->max);
  }
  if (error != BlockError::kNone) return error;
  if (float_bytes(info.type) > 0) return take_fixed(in, 8, &all->sum_low);
  if (error = in->varint(&wide); error != BlockError::kNone) return error;
  all->sum_low = unzigzag(wide);
  if (error = in->varint(&wide); error != BlockError::kNone) return error;
  all->sum_high = static_cast<int64_t>(unzigzag(wide) + sign_of(all->sum_low));
  return BlockError::kNone;
}

BlockError take_codec(HeadCursor* in, BlockInfo* info, uint8_t* flags) {
  uint8_t byte;
  if (const BlockError error = in->u8(&byte); error != BlockError::kNone) return error;
  *flags = static_cast<uint8_t>(byte & ~kCodecMask);
  info->codec = static_cast<Codec>(byte & kCodecMask);
  if ((*flags & ~(kCodecAggregates | kCodecLong)) != 0) return BlockError::kCodec;
  switch (info->codec) {
    case Codec::kXor64:
    case Codec::kDelta64:
    case Codec::kXor32:
    case Codec::kSlope64:
    case Codec::kPacked:
    case Codec::kRuns64:
      return BlockError::kNone;
  }
  return BlockError::kCodec;
}

BlockError take_extent(HeadCursor* in, bool is_long, int64_t span_ms_max, BlockInfo* info) {
  uint64_t wide;
  if (const BlockError error = in->varint(&wide); error != BlockError::kNone) return error;
  info->t_min = static_cast<int64_t>(unzigzag(wide));
  if (const BlockError error = in->varint(&wide); error != BlockError::kNone) return error;
  if (wide > static_cast<uint64_t>(span_ms_max) || is_long != (wide > static_cast<uint64_t>(kBlockSpanMsMax))) {
    return BlockError::kSpan;
  }
  if (info->t_min > INT64_MAX - static_cast<int64_t>(wide)) return BlockError::kSpan;
  info->t_max = info->t_min + static_cast<int64_t>(wide);
  return BlockError::kNone;
}

BlockError take_ticks(HeadCursor* in, bool is_long, StoredHead* head) {
  uint64_t tick;
  BlockInfo& info = head->info;
  if (const BlockError error = in->varint(&tick); error != BlockError::kNone) return error;
  const auto span = static_cast<uint64_t>(info.t_max) - static_cast<uint64_t>(info.t_min);
  if (tick == 0 || tick > (is_long ? UINT32_MAX : kTickMsMax) || span % tick != 0) return BlockError::kTick;
  if (span / tick > kSpanTicksMax) return BlockError::kSpan;
  info.tick_ms = static_cast<uint32_t>(tick);
  head->span_ticks = static_cast<int32_t>(span / tick);
  if (!info.unordered || info.codec == Codec::kPacked) return BlockError::kNone;
  uint64_t first;
  if (const BlockError error = in->varint(&first); error != BlockError::kNone) return error;
  if (first > static_cast<uint64_t>(head->span_ticks)) return BlockError::kTimes;
  head->first_tick = static_cast<int32_t>(first);
  return BlockError::kNone;
}

}  // namespace

size_t write_stored_head(const BlockInfo& info, Point first, const Aggregates* aggregates, uint8_t* out) {
  uint8_t* const begin = out;
  const int64_t span = info.t_max - info.t_min;
  *out++ = kMagicAndVersion;
  *out++ = static_cast<uint8_t>(static_cast<uint8_t>(info.codec) | (aggregates != nullptr ? kCodecAggregates : 0) |
                                (span > kBlockSpanMsMax ? kCodecLong : 0));
  *out++ = static_cast<uint8_t>(static_cast<uint8_t>(info.type) | (info.has_boot ? 1 << 4 : 0) |
                                (info.unordered ? 1 << 5 : 0) | (info.clock != 0 ? 1 << 6 : 0));
  if (info.has_boot) out = put_fixed(out, info.boot, 8);
  if (info.clock != 0) out = put_varint(out, info.clock);
  if (info.type == ValueType::kDec) *out++ = info.scale;
  out = put_varint(out, info.ref);
  out = put_varint(out, info.first_ordinal);
  out = put_varint(out, info.count);
  out = put_varint(out, zigzag(static_cast<uint64_t>(info.t_min)));
  out = put_varint(out, static_cast<uint64_t>(span));
  if (aggregates != nullptr) out = put_aggregates(info.type, *aggregates, out);
  out = put_varint(out, info.tick_ms);
  if (info.codec == Codec::kPacked) return static_cast<size_t>(out - begin);
  if (info.unordered) out = put_varint(out, static_cast<uint64_t>(first.time_ms - info.t_min) / info.tick_ms);
  out = put_value(info.type, first.bits, out);
  return static_cast<size_t>(out - begin);
}

BlockStatus read_stored_head(std::span<const uint8_t> bytes, uint64_t context_boot, int64_t span_ms_max, bool trusted,
                             StoredHead* head) {
  if (bytes.empty()) return {BlockError::kTooShort, 0};
  if (bytes[0] >> 4 != 0xB) return {BlockError::kMagic, 0};
  if ((bytes[0] & 0x0F) != 1) return {BlockError::kVersion, 0};
  if (bytes.size() < kBlockBytesMin) return {BlockError::kTooShort, bytes.size()};
  head->end = bytes.size() - kChecksumBytes;
  if (!trusted && crc32c(bytes.first(head->end)) != read_checksum(bytes.data() + head->end)) {
    return {BlockError::kChecksum, head->end};
  }
  HeadCursor in(bytes.data() + 1, head->end - 1);
  uint8_t flags = 0;
  BlockError error = take_codec(&in, &head->info, &flags);
  const bool is_long = (flags & kCodecLong) != 0;
  if (error == BlockError::kNone) error = read_shape<true>(&in, &head->info, context_boot);
  if (error == BlockError::kNone) error = read_identity(&in, &head->info);
  if (error == BlockError::kNone) error = take_extent(&in, is_long, span_ms_max, &head->info);
  if (error == BlockError::kNone && (flags & kCodecAggregates) != 0) {
    error = take_aggregates(&in, head->info, &head->aggregates);
  }
  if (error == BlockError::kNone) error = take_ticks(&in, is_long, head);
  if (error == BlockError::kNone && head->info.codec != Codec::kPacked) {
    error = take_value(head->info.type, &in, &head->first_bits);
  }
  head->begin = in.position() + 1;
  return {error, error == BlockError::kNone ? 0 : head->begin};
}

}  // namespace lambda
