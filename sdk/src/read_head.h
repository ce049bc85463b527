// Reading what stands before a block's payload, from bytes that may have been made by anybody. Private to the readers.
#pragma once

#include "codes.h"
#include "lambda/block.h"

namespace lambda {

inline constexpr size_t kBlockBytesMin = 14;  // every field in its shortest form

class Cursor {
 public:
  Cursor(const uint8_t* bytes, size_t size) : bytes_(bytes), size_(size) {}
  size_t position() const { return position_; }

  BlockError u8(uint8_t* value) {
    if (position_ == size_) return BlockError::kTooShort;
    *value = bytes_[position_++];
    return BlockError::kNone;
  }
  BlockError u64le(uint64_t* value) {
    if (size_ - position_ < 8) return BlockError::kTooShort;
    *value = 0;
    for (size_t i = 0; i < 8; ++i) *value |= static_cast<uint64_t>(bytes_[position_ + i]) << (8 * i);
    position_ += 8;
    return BlockError::kNone;
  }
  BlockError varint(uint64_t* value, uint64_t max = UINT64_MAX) {
    *value = 0;
    for (size_t i = 0;; ++i) {
      if (position_ + i == size_) return BlockError::kTooShort;
      const uint8_t byte = bytes_[position_ + i];
      if (i == 9 && byte > 1) return BlockError::kVarint;
      *value |= static_cast<uint64_t>(byte & 0x7F) << (7 * i);
      if ((byte & 0x80) != 0) continue;
      if ((byte == 0 && i > 0) || *value > max) return BlockError::kVarint;
      position_ += i + 1;
      return BlockError::kNone;
    }
  }
  BlockError u32(uint32_t* value) {
    uint64_t wide;
    const BlockError error = varint(&wide, UINT32_MAX);
    *value = static_cast<uint32_t>(wide);
    return error;
  }

 private:
  const uint8_t* bytes_;
  size_t size_;
  size_t position_ = 0;
};

// Whether a codec holds values of a type. kStored: of all codecs, not only of those that a device has.
template <bool kStored>
bool holds(Codec codec, ValueType type) {
  if constexpr (kStored) {
    if (codec == Codec::kXor32) return type == ValueType::kF32;
    if (codec == Codec::kSlope64) return type == ValueType::kI64 || type == ValueType::kDec;
    if (codec == Codec::kPacked) return type >= ValueType::kF64 && type <= ValueType::kState;
    if (type == ValueType::kF32) return false;
  }
  return codec_of(type) == codec;
}

// From the shape byte to the scale; info->codec is known.
template <bool kStored>
BlockError read_shape(Cursor* in, BlockInfo* info, uint64_t context_boot) {
  uint8_t shape;
  if (const BlockError error = in->u8(&shape); error != BlockError::kNone) return error;
  info->type = static_cast<ValueType>(shape & 0x0F);
  if (info->type != ValueType::kF64 && info->type != ValueType::kI64 && info->type != ValueType::kDec &&
      info->type != ValueType::kState && !(kStored && info->type == ValueType::kF32)) {
    return BlockError::kValueType;
  }
  if (!holds<kStored>(info->codec, info->type)) return BlockError::kValueType;
  if ((shape & 0x80) != 0) return BlockError::kReserved;
  info->has_boot = (shape & 0x10) != 0;
  info->unordered = (shape & 0x20) != 0;
  info->boot = context_boot;
  if (info->has_boot) {
    if (const BlockError error = in->u64le(&info->boot); error != BlockError::kNone) return error;
  }
  if ((shape & 0x40) != 0) {
    if (const BlockError error = in->u32(&info->clock); error != BlockError::kNone) return error;
  }
  if (info->type == ValueType::kDec) {
    if (const BlockError error = in->u8(&info->scale); error != BlockError::kNone) return error;
    if (info->scale > kScaleMax) return BlockError::kScale;
  }
  return BlockError::kNone;
}

// A block of one of the two codecs that everybody reads.
inline BlockError read_codec_and_shape(Cursor* in, BlockInfo* info, uint64_t context_boot) {
  uint8_t codec;
  if (const BlockError error = in->u8(&codec); error != BlockError::kNone) return error;
  if (codec != static_cast<uint8_t>(Codec::kXor64) && codec != static_cast<uint8_t>(Codec::kDelta64)) {
    return BlockError::kCodec;
  }
  info->codec = static_cast<Codec>(codec);
  return read_shape<false>(in, info, context_boot);
}

inline BlockError read_identity(Cursor* in, BlockInfo* info) {
  if (const BlockError error = in->u32(&info->ref); error != BlockError::kNone) return error;
  if (const BlockError error = in->varint(&info->first_ordinal); error != BlockError::kNone) return error;
  uint64_t count;
  if (const BlockError error = in->varint(&count); error != BlockError::kNone) return error;
  if (count == 0 || count > kBlockPointsMax) return BlockError::kCount;
  info->count = static_cast<uint32_t>(count);
  if (info->first_ordinal > (uint64_t{1} << 63) - count) return BlockError::kOrdinal;
  return BlockError::kNone;
}

// `first` is the first point's distance from t_min in ticks.
inline BlockError read_times(Cursor* in, BlockInfo* info, int32_t* span, int32_t* first) {
  uint64_t wide;
  if (const BlockError error = in->varint(&wide); error != BlockError::kNone) return error;
  info->t_min = static_cast<int64_t>(unzigzag(wide));
  if (const BlockError error = in->varint(&wide); error != BlockError::kNone) return error;
  if (wide > static_cast<uint64_t>(kBlockSpanMsMax)) return BlockError::kSpan;
  if (info->t_min > INT64_MAX - static_cast<int64_t>(wide)) return BlockError::kSpan;
  info->t_max = info->t_min + static_cast<int64_t>(wide);
  const auto span_ms = static_cast<uint32_t>(wide);
  if (const BlockError error = in->varint(&wide); error != BlockError::kNone) return error;
  if (wide == 0 || wide > kTickMsMax || span_ms % static_cast<uint32_t>(wide) != 0) return BlockError::kTick;
  info->tick_ms = static_cast<uint32_t>(wide);
  *span = static_cast<int32_t>(span_ms / info->tick_ms);
  *first = 0;
  if (info->unordered) {
    if (const BlockError error = in->varint(&wide); error != BlockError::kNone) return error;
    if (wide > static_cast<uint64_t>(*span)) return BlockError::kTimes;
    *first = static_cast<int32_t>(wide);
  }
  return BlockError::kNone;
}

inline BlockError read_first_value(Cursor* in, Codec codec, uint64_t* bits) {
  if (codec == Codec::kXor64) return in->u64le(bits);
  uint64_t wide;
  const BlockError error = in->varint(&wide);
  *bits = unzigzag(wide);
  return error;
}

inline uint32_t read_checksum(const uint8_t* bytes) {
  uint32_t crc = 0;
  for (size_t i = kChecksumBytes; i-- > 0;) crc = crc << 8 | bytes[i];
  return crc;
}

}  // namespace lambda
