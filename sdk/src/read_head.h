// Reading what stands before a block's payload: from bytes that may have been made by anybody, or from those that this
// program wrote itself. Private to the readers.
#pragma once

#include "codes.h"
#include "lambda/block.h"
#include "lambda/codecs.h"

namespace lambda {

inline constexpr size_t kBlockBytesMin = 14;  // every field in its shortest form

// Reads fields one after another. After an error nothing more is read: values are 0, and the first error and the place
// of it stay.
class Cursor {
 public:
  static constexpr bool kBoots = true;
  Cursor(const uint8_t* bytes, size_t size) : bytes_(bytes), size_(size) {}
  size_t position() const { return position_; }
  BlockError error() const { return error_; }
  BlockError fail(BlockError error) {
    if (error_ == BlockError::kNone) error_ = error;
    return error_;
  }
  // What is not true is the error.
  void need(bool condition, BlockError error) {
    if (!condition) fail(error);
  }

  BlockError u8(uint8_t* value) {
    uint64_t wide;
    little_endian(&wide, 1);
    *value = static_cast<uint8_t>(wide);
    return error_;
  }
  BlockError u64le(uint64_t* value) { return little_endian(value, 8); }
  BlockError u32le(uint64_t* value) { return little_endian(value, 4); }
  LAMBDA_ONE_COPY BlockError varint(uint64_t* value) {
    *value = 0;
    if (error_ != BlockError::kNone) return error_;
    uint64_t read = 0;
    const int size = read_varint(bytes_ + position_, size_ - position_, &read);
    if (size == 0) return fail(BlockError::kTooShort);
    if (size < 0 || (size > 1 && bytes_[position_ + static_cast<size_t>(size) - 1] == 0))
      return fail(BlockError::kVarint);
    position_ += static_cast<size_t>(size);
    *value = read;
    return error_;
  }
  // The place of one that does not fit into its bits is where it begins; of one that is too great by its meaning, where
  // it ends.
  LAMBDA_ONE_COPY BlockError u32(uint32_t* value, uint32_t max = UINT32_MAX, BlockError over = BlockError::kVarint) {
    const size_t begin = position_;
    uint64_t wide;
    varint(&wide);
    *value = static_cast<uint32_t>(wide);
    if (wide <= max) return error_;
    *value = 0;
    if (over == BlockError::kVarint) position_ = begin;
    return fail(over);
  }

 protected:
  LAMBDA_ONE_COPY BlockError little_endian(uint64_t* value, size_t bytes) {
    uint64_t read = 0;
    if (size_ - position_ < bytes) fail(BlockError::kTooShort);
    if (error_ == BlockError::kNone) {
      position_ += bytes;
      for (size_t i = 1; i <= bytes; ++i) read = read << 8 | bytes_[position_ - i];
    }
    *value = read;
    return error_;
  }

  const uint8_t* bytes_;
  size_t size_;
  size_t position_ = 0;
  BlockError error_ = BlockError::kNone;
};

// Reads what this program wrote and still has as it was: the same fields, and nothing is checked but where numbers end.
// A device that takes no blocks from anybody has only this one.
class OwnCursor {
 public:
  static constexpr bool kBoots = false;  // a store's blocks leave their boot out
  OwnCursor(const uint8_t* bytes, const uint8_t* end) : at_(bytes), end_(end) {}
  const uint8_t* at() const { return at_; }
  static BlockError error() { return BlockError::kNone; }
  static void need(bool, BlockError) {}

  // From the shape on, single bytes are below 128: numbers too.
  BlockError u8(uint8_t* value) {
    *value = static_cast<uint8_t>(number());
    return error();
  }
  BlockError u64le(uint64_t* value) {
    *value = load_u64le(at_);
    at_ += 8;
    return error();
  }
  BlockError u32le(uint64_t* value) {
    *value = load_u32le(at_);
    at_ += 4;
    return error();
  }
  BlockError varint(uint64_t* value) {
    *value = number();
    return error();
  }
  BlockError u32(uint32_t* value, uint32_t = 0, BlockError = BlockError::kNone) {
    *value = static_cast<uint32_t>(number());
    return error();
  }

 private:
  LAMBDA_ONE_COPY uint64_t number() {
    uint64_t read = 0;
    const int size = read_varint(at_, static_cast<size_t>(end_ - at_), &read);
    if (size > 0) at_ += size;
    return read;
  }

  const uint8_t* at_;
  const uint8_t* end_;
};

// Whether a codec holds values of a type. kStored: of all codecs, not only of those that a device has.
template <bool kStored>
bool holds(Codec codec, ValueType type) {
  if constexpr (kStored) {
    if (codec == Codec::kXor32) return type == ValueType::kF32;
    if (codec == Codec::kSlope64) return type == ValueType::kI64 || type == ValueType::kDec;
    if (codec == Codec::kRuns64) return type >= ValueType::kI64 && type <= ValueType::kState;
    if (codec == Codec::kPacked) return type >= ValueType::kF64 && type <= ValueType::kState;
    if (type == ValueType::kF32) return false;
  }
  return codec_of(type) == codec;
}

// From the shape byte to the scale; info->codec is known, and its coding if it has one.
template <bool kStored, class In>
BlockError read_shape(In* in, BlockInfo* info, uint64_t context_boot, const BlockCoding* coding = nullptr) {
  uint8_t shape;
  in->u8(&shape);
  info->type = static_cast<ValueType>(shape & 0x0F);
  const bool known = info->type >= ValueType::kF64 && info->type <= ValueType::kState;
  const bool fits = coding != nullptr ? coding->holds(info->type) : holds<kStored>(info->codec, info->type);
  in->need(known && fits, BlockError::kValueType);
  in->need((shape & 0x80) == 0, BlockError::kReserved);
  info->has_boot = In::kBoots && (shape & 0x10) != 0;
  info->unordered = (shape & 0x20) != 0;
  info->boot = context_boot;
  if (info->has_boot) in->u64le(&info->boot);
  if ((shape & 0x40) != 0) in->u32(&info->clock);
  if (info->type == ValueType::kDec) {
    in->u8(&info->scale);
    in->need(info->scale <= kScaleMax, BlockError::kScale);
  }
  return in->error();
}

// A block of one of the two codecs that everybody reads, for which `coding` is null, or of one of `codings`.
template <class In>
BlockError read_codec_and_shape(In* in, BlockInfo* info, uint64_t context_boot, BlockCodings codings,
                                const BlockCoding** coding) {
  uint8_t codec;
  in->u8(&codec);
  info->codec = static_cast<Codec>(codec);
  *coding = find_coding(codings, info->codec);
  in->need(*coding != nullptr || info->codec == Codec::kXor64 || info->codec == Codec::kDelta64, BlockError::kCodec);
  return read_shape<false>(in, info, context_boot, *coding);
}

template <class In>
BlockError read_identity(In* in, BlockInfo* info) {
  in->u32(&info->ref);
  in->varint(&info->first_ordinal);
  in->u32(&info->count, kBlockPointsMax, BlockError::kCount);
  in->need(info->count > 0, BlockError::kCount);
  in->need(info->first_ordinal <= (uint64_t{1} << 63) - info->count, BlockError::kOrdinal);
  return in->error();
}

// `first` is the first point's distance from t_min in ticks.
template <class In>
BlockError read_times(In* in, BlockInfo* info, int32_t* span, int32_t* first) {
  uint64_t wide;
  in->varint(&wide);
  info->t_min = static_cast<int64_t>(unzigzag(wide));
  uint32_t span_ms;
  in->u32(&span_ms, kBlockSpanMsMax, BlockError::kSpan);
  in->need(!__builtin_add_overflow(info->t_min, static_cast<int64_t>(span_ms), &info->t_max), BlockError::kSpan);
  in->u32(&info->tick_ms, kTickMsMax, BlockError::kTick);
  const uint32_t tick = info->tick_ms != 0 ? info->tick_ms : 1;
  in->need(info->tick_ms != 0 && span_ms % tick == 0, BlockError::kTick);
  const uint32_t ticks = span_ms / tick;
  *span = static_cast<int32_t>(ticks);
  uint32_t ahead = 0;
  if (info->unordered) in->u32(&ahead, ticks, BlockError::kTimes);
  *first = static_cast<int32_t>(ahead);
  return in->error();
}

template <class In>
BlockError read_first_value(In* in, Codec codec, uint64_t* bits) {
  if (codec == Codec::kXor64) return in->u64le(bits);
  if (kFurtherCodecs && codec == Codec::kXor32) return in->u32le(bits);
  uint64_t wide;
  in->varint(&wide);
  *bits = unzigzag(wide);
  return in->error();
}

}  // namespace lambda
