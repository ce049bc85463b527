// Reads blocks that may have been made by anybody: nothing is believed before it is checked, and what cannot be checked
// at once (that the times fill t_min to t_max) is checked with the last point.
#include "codes.h"
#include "expect.h"
#include "lambda/block.h"

namespace lambda {
namespace {

constexpr size_t kBlockBytesMin = 14;  // every field in its shortest form

// Eight bytes from bit `at`: at least 57 valid bits, at the top. Behind the end come zeros. `size` is at least 8.
inline uint64_t peek(const uint8_t* bytes, size_t size, uint64_t at) {
  const size_t byte = static_cast<size_t>(at >> 3);
  const unsigned skip = static_cast<unsigned>(at & 7);
  if (byte + 8 <= size) [[likely]]
    return load_u64be(bytes + byte) << skip;
  if (byte >= size) return 0;
  return load_u64be(bytes + size - 8) << ((byte + 8 - size) * 8) << skip;
}

inline uint64_t top(uint64_t word, unsigned count) {
  return word >> (64 - count);
}  // 1..64

// `count` bits, 1..64, from bit `at`.
inline uint64_t bits_at(const uint8_t* bytes, size_t size, uint64_t at, unsigned count) {
  if (count <= 57) return top(peek(bytes, size, at), count);
  return top(peek(bytes, size, at), 32) << (count - 32) | top(peek(bytes, size, at + 32), count - 32);
}

// The bits behind the start of a code, and how many are used up.
struct Window {
  uint64_t word;
  unsigned used;
  uint64_t take(unsigned count) {
    const uint64_t value = top(word, count);
    word <<= count;
    used += count;
    return value;
  }
  int32_t take_signed(unsigned count) {
    const auto value = static_cast<int64_t>(word) >> (64 - count);
    word <<= count;
    used += count;
    return static_cast<int32_t>(value);
  }
  bool flag() { return take(1) != 0; }
};

inline int32_t take_step_change(Window* window) {
  if (!window->flag()) return window->take_signed(5);
  if (!window->flag()) return window->take_signed(9);
  if (!window->flag()) return window->take_signed(14);
  return window->take_signed(22);
}

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

BlockError read_shape(Cursor* in, BlockInfo* info, uint64_t context_boot) {
  uint8_t codec;
  if (const BlockError error = in->u8(&codec); error != BlockError::kNone) return error;
  if (codec != static_cast<uint8_t>(Codec::kXor64) && codec != static_cast<uint8_t>(Codec::kDelta64)) {
    return BlockError::kCodec;
  }
  info->codec = static_cast<Codec>(codec);
  uint8_t shape;
  if (const BlockError error = in->u8(&shape); error != BlockError::kNone) return error;
  info->type = static_cast<ValueType>(shape & 0x0F);
  if (info->type != ValueType::kF64 && info->type != ValueType::kI64 && info->type != ValueType::kDec &&
      info->type != ValueType::kState) {
    return BlockError::kValueType;
  }
  if (codec_of(info->type) != info->codec) return BlockError::kValueType;
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

BlockError read_identity(Cursor* in, BlockInfo* info) {
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
BlockError read_times(Cursor* in, BlockInfo* info, int32_t* span, int32_t* first) {
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

BlockError read_first_value(Cursor* in, Codec codec, uint64_t* bits) {
  if (codec == Codec::kXor64) return in->u64le(bits);
  uint64_t wide;
  const BlockError error = in->varint(&wide);
  *bits = unzigzag(wide);
  return error;
}

uint32_t read_checksum(const uint8_t* bytes) {
  uint32_t crc = 0;
  for (size_t i = kChecksumBytes; i-- > 0;) crc = crc << 8 | bytes[i];
  return crc;
}

}  // namespace

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
  }
  return "unknown";
}

BlockStatus read_info(std::span<const uint8_t> bytes, uint64_t context_boot, BlockInfo* info) {
  if (bytes.size() < kBlockBytesMin) return {BlockError::kTooShort, bytes.size()};
  Cursor in(bytes.data() + 1, bytes.size() - 1);
  *info = BlockInfo();
  BlockError error = read_shape(&in, info, context_boot);
  if (error == BlockError::kNone) error = read_identity(&in, info);
  int32_t span;
  int32_t first;
  if (error == BlockError::kNone) error = read_times(&in, info, &span, &first);
  return {error, in.position() + 1};
}

BlockStatus BlockReader::refuse(BlockError error, size_t offset) {
  status_ = {error, offset};
  return status_;
}

BlockStatus BlockReader::open(std::span<const uint8_t> bytes, uint64_t context_boot) {
  *this = BlockReader();
  if (bytes.empty()) return refuse(BlockError::kTooShort, 0);
  if (bytes[0] >> 4 != 0xB) return refuse(BlockError::kMagic, 0);
  if ((bytes[0] & 0x0F) != 1) return refuse(BlockError::kVersion, 0);
  if (bytes.size() < kBlockBytesMin) return refuse(BlockError::kTooShort, bytes.size());
  // Before anything else is looked at: what a flipped bit did should be called by its name.
  const size_t body = bytes.size() - kChecksumBytes;
  if (crc32c(bytes.first(body)) != read_checksum(bytes.data() + body)) return refuse(BlockError::kChecksum, body);

  Cursor in(bytes.data() + 1, body - 1);
  BlockError error = read_shape(&in, &info_, context_boot);
  if (error == BlockError::kNone) error = read_identity(&in, &info_);
  if (error == BlockError::kNone) error = read_times(&in, &info_, &span_, &now_);
  if (error == BlockError::kNone) error = read_first_value(&in, info_.codec, &code_.last_bits);
  if (error != BlockError::kNone) return refuse(error, in.position() + 1);

  bytes_ = bytes.data();
  size_ = bytes.size();
  bit_ = static_cast<uint64_t>(in.position() + 1) * 8;
  bit_end_ = static_cast<uint64_t>(body) * 8;
  low_ = now_;
  high_ = now_;
  return status_;
}

BlockReader BlockReader::over_open(const BlockWriter& writer) {
  BlockReader reader;
  reader.info_ = writer.info_;
  if (writer.info_.count == 0) return reader;
  reader.bytes_ = writer.space_;
  reader.size_ = writer.position_ + 1u;
  reader.bit_ = kBlockHeaderBytesMax * 8;
  reader.bit_end_ = static_cast<uint64_t>(writer.position_) * 8 + writer.code_.fill;
  reader.code_.last_bits = writer.first_.bits;
  reader.now_ =
      static_cast<int32_t>(writer.first_.time_ms - writer.info_.t_min) / static_cast<int32_t>(writer.info_.tick_ms);
  reader.span_ =
      static_cast<int32_t>(writer.info_.t_max - writer.info_.t_min) / static_cast<int32_t>(writer.info_.tick_ms);
  reader.low_ = reader.now_;
  reader.high_ = reader.now_;
  return reader;
}

bool BlockReader::check_end() {
  const size_t offset = static_cast<size_t>(bit_ >> 3);
  const uint64_t left = bit_end_ - bit_;
  if (left >= 8 || (left > 0 && bits_at(bytes_, size_, bit_, static_cast<unsigned>(left)) != 0)) {
    refuse(BlockError::kBits, offset);
  } else if (low_ != 0 || high_ != span_ || unordered_ != info_.unordered) {
    refuse(BlockError::kTimes, offset);
  }
  return status_.ok();
}

template <Codec codec>
size_t BlockReader::decode(std::span<Point> points) {
  const uint8_t* const bytes = bytes_;
  const size_t size = size_;
  const auto tick = static_cast<int64_t>(info_.tick_ms);
  const int64_t t_min = info_.t_min;
  const auto span = static_cast<uint32_t>(span_);
  uint64_t bit = bit_;
  uint64_t value = code_.last_bits;
  int32_t step = code_.step;
  int32_t now = now_;
  int32_t low = low_;
  int32_t high = high_;
  bool unordered = unordered_;
  BlockError error = BlockError::kNone;
  size_t made = 0;

  if (taken_ == 0) points[made++] = {t_min + now * tick, value};
  for (; made < points.size(); ++made) {
    Window window{peek(bytes, size, bit), 0};
    bool changed = false;
    if (window.flag()) {
      if (!window.flag()) {
        changed = true;
      } else {
        const int32_t change = take_step_change(&window);
        if (change == 0) [[unlikely]] {
          error = BlockError::kBits;
          break;
        }
        step += change;
        changed = window.flag();
      }
    }
    if (changed) {
      if constexpr (codec == Codec::kXor64) {
        if (window.flag()) {
          code_.window_lead = static_cast<uint8_t>(window.take(5));
          code_.window_bits = static_cast<uint8_t>(window.take(6) + 1);
        }
        const unsigned count = code_.window_bits;
        const unsigned lead = code_.window_lead;
        if (count == 0 || lead + count > 64) [[unlikely]] {
          error = BlockError::kBits;
          break;
        }
        const uint64_t x =
            count + window.used <= 57 ? top(window.word, count) : bits_at(bytes, size, bit + window.used, count);
        window.used += count;
        if (x == 0) [[unlikely]] {
          error = BlockError::kBits;
          break;
        }
        value ^= x << (64 - lead - count);
      } else {
        uint64_t z;
        if (!window.flag()) {
          z = window.take(4);
        } else if (!window.flag()) {
          z = window.take(8);
        } else if (!window.flag()) {
          z = window.take(12);
        } else {
          const unsigned count = !window.flag() ? 20 : !window.flag() ? 32 : 64;
          z = bits_at(bytes, size, bit + window.used, count);
          window.used += count;
          if (z == UINT64_MAX) [[unlikely]] {
            error = BlockError::kBits;
            break;
          }
        }
        value += unzigzag(z + 1);
      }
    }
    bit += window.used;
    now += step;
    if (bit > bit_end_) [[unlikely]] {
      error = BlockError::kBits;
      break;
    }
    if (static_cast<uint32_t>(now) > span) [[unlikely]] {
      error = BlockError::kTimes;
      break;
    }
    unordered |= step <= 0;
    low = now < low ? now : low;
    high = now > high ? now : high;
    points[made] = {t_min + now * tick, value};
  }

  bit_ = bit;
  code_.last_bits = value;
  code_.step = step;
  now_ = now;
  low_ = low;
  high_ = high;
  unordered_ = unordered;
  taken_ += static_cast<uint32_t>(made);
  if (error != BlockError::kNone) refuse(error, static_cast<size_t>(bit >> 3));
  return made;
}

size_t BlockReader::next(std::span<Point> points) {
  if (!status_.ok() || bytes_ == nullptr || taken_ == info_.count) return 0;
  if (points.size() > info_.count - taken_) points = points.first(info_.count - taken_);
  if (points.empty()) return 0;
  size_t made = info_.codec == Codec::kXor64 ? decode<Codec::kXor64>(points) : decode<Codec::kDelta64>(points);
  if (taken_ == info_.count && status_.ok() && !check_end()) --made;
  return made;
}

BlockStatus decode_block(std::span<const uint8_t> bytes, uint64_t context_boot, BlockInfo* info,
                         std::span<Point> points) {
  BlockReader reader;
  if (const BlockStatus status = reader.open(bytes, context_boot); !status.ok()) return status;
  *info = reader.info();
  if (points.size() < info->count) return {BlockError::kCount, 0};
  reader.next(points);
  return reader.status();
}

}  // namespace lambda
