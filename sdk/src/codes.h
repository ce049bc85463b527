// The codes of proto/block.md, one point at a time: what the block writer, the block reader and the series store share.
// Bits are written eight bytes at a time, so memory is always up to date and an open block can be read where it lies.
#pragma once

#include "lambda/block.h"

// On a host the inner steps are worth their copies; where size counts the compiler decides.
#if defined(__OPTIMIZE__) && !defined(__OPTIMIZE_SIZE__)
#define LAMBDA_HOT [[gnu::always_inline]]
#else
#define LAMBDA_HOT
#endif

namespace lambda {

// encode_point() writes at most this far behind where it starts.
inline constexpr size_t kEncodeReach = 17;
inline constexpr size_t kChecksumBytes = 4;

constexpr Codec codec_of(ValueType type) {
  return type == ValueType::kF64 ? Codec::kXor64 : Codec::kDelta64;
}
// f32 is written as the upper half of 64 bits, so that one window serves both; only the length of a window is shorter.
constexpr bool is_xor(Codec codec) {
  return codec == Codec::kXor64 || codec == Codec::kXor32;
}
constexpr unsigned window_length_bits(Codec codec) {
  return codec == Codec::kXor64 ? 6 : 5;
}

inline uint64_t load_u64be(const uint8_t* from) {
  uint64_t value;
  __builtin_memcpy(&value, from, 8);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
  value = __builtin_bswap64(value);
#endif
  return value;
}

inline void store_u64be(uint8_t* to, uint64_t value) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
  value = __builtin_bswap64(value);
#endif
  __builtin_memcpy(to, &value, 8);
}

constexpr uint64_t zigzag(uint64_t n) {
  return (n << 1) ^ (0 - (n >> 63));
}
constexpr uint64_t unzigzag(uint64_t z) {
  return (z >> 1) ^ (0 - (z & 1));
}

class BitSink {
 public:
  BitSink(uint8_t* out, const CodeState& state)
      : out_(out), bits_(static_cast<uint64_t>(state.partial) << 56), fill_(state.fill) {}

  // The low `count` bits of `value`, whose other bits must be zero; 1..56.
  void put(uint64_t value, unsigned count) {
    bits_ |= value << (64 - fill_ - count);
    store_u64be(out_, bits_);
    fill_ += count;
    const unsigned whole = fill_ >> 3;
    out_ += whole;
    bits_ <<= whole * 8;
    fill_ &= 7;
  }
  // As put(), for 1..64.
  void put_long(uint64_t value, unsigned count) {
    if (count <= 56) return put(value, count);
    put(value >> 32, count - 32);
    put(value & 0xFFFFFFFF, 32);
  }
  // A head of at most 40 bits, then up to 64 more.
  void put_two(uint64_t head, unsigned head_count, uint64_t value, unsigned count) {
    if (head_count + count <= 56) return put(head << count | value, head_count + count);
    put(head, head_count);
    put_long(value, count);
  }
  // The byte being filled; what is before it is complete.
  uint8_t* end(CodeState* state) const {
    state->partial = static_cast<uint8_t>(bits_ >> 56);
    state->fill = static_cast<uint8_t>(fill_);
    return out_;
  }

 private:
  uint8_t* out_;
  uint64_t bits_;  // the byte being filled, at the top
  unsigned fill_;
};

// A prefix under construction: at most 40 bits.
struct Head {
  uint64_t bits = 0;
  unsigned count = 0;
  void add(uint64_t value, unsigned width) {
    bits = bits << width | value;
    count += width;
  }
};

inline void add_step_change(Head* head, int32_t change) {
  const auto low = static_cast<uint32_t>(change);
  if (change >= -16 && change < 16) {
    head->add(low & 0x1F, 1 + 5);
  } else if (change >= -256 && change < 256) {
    head->add(0b10u << 9 | (low & 0x1FF), 2 + 9);
  } else if (change >= -8192 && change < 8192) {
    head->add(0b110u << 14 | (low & 0x3FFF), 3 + 14);
  } else {
    head->add(0b111u << 22 | (low & 0x3FFFFF), 3 + 22);
  }
}

template <Codec codec>
LAMBDA_HOT inline void put_xor(BitSink* sink, Head head, uint64_t x, CodeState* state) {
  constexpr unsigned kLength = window_length_bits(codec);
  unsigned lead = static_cast<unsigned>(__builtin_clzll(x));
  if (lead > 31) lead = 31;
  const auto trail = static_cast<unsigned>(__builtin_ctzll(x));
  const unsigned bits = 64 - lead - trail;
  const unsigned window_lead = state->window_lead;
  const unsigned window_bits = state->window_bits;  // 0, no window, covers nothing: trail < 64 - window_lead always
  const unsigned window_trail = 64 - window_lead - window_bits;
  if (lead >= window_lead && trail >= window_trail && window_bits <= 5 + kLength + bits) {
    head.add(0, 1);
    sink->put_two(head.bits, head.count, x >> window_trail, window_bits);
    return;
  }
  head.add(1u << (5 + kLength) | lead << kLength | (bits - 1), 1 + 5 + kLength);
  state->window_lead = static_cast<uint8_t>(lead);
  state->window_bits = static_cast<uint8_t>(bits);
  sink->put_two(head.bits, head.count, x >> trail, bits);
}

LAMBDA_HOT inline void put_delta(BitSink* sink, Head head, uint64_t delta) {
  const uint64_t z = zigzag(delta) - 1;
  if (z < 1u << 4) {
    head.add(z, 1 + 4);
  } else if (z < 1u << 8) {
    head.add(0b10u << 8 | z, 2 + 8);
  } else if (z < 1u << 12) {
    head.add(0b110u << 12 | z, 3 + 12);
  } else if (z < 1u << 20) {
    head.add(0b1110u, 4);
    return sink->put_two(head.bits, head.count, z, 20);
  } else if (z <= 0xFFFFFFFF) {
    head.add(0b11110u, 5);
    return sink->put_two(head.bits, head.count, z, 32);
  } else {
    head.add(0b11111u, 5);
    return sink->put_two(head.bits, head.count, z, 64);
  }
  sink->put(head.bits, head.count);
}

// Writes the code of one more point at `out` (kEncodeReach bytes must be writable) and returns where the byte being
// filled is now. `step` is the time since the last point in ticks; last_time is the caller's.
template <Codec codec>
LAMBDA_HOT inline uint8_t* encode_point(CodeState* state, int32_t step, uint64_t bits, uint8_t* out) {
  BitSink sink(out, *state);
  const int32_t change = step - state->step;
  const uint64_t last = state->last_bits;
  if (change == 0 && bits == last) {
    sink.put(0, 1);
    return sink.end(state);
  }
  Head head;
  if (change == 0) {
    head.add(0b10, 2);
  } else {
    head.add(0b11, 2);
    add_step_change(&head, change);
    state->step = step;
    head.add(bits != last ? 1 : 0, 1);
  }
  if (bits == last) {
    sink.put(head.bits, head.count);
    return sink.end(state);
  }
  state->last_bits = bits;
  if constexpr (is_xor(codec)) {
    put_xor<codec>(&sink, head, bits ^ last, state);
  } else {
    put_delta(&sink, head, bits - last);
  }
  return sink.end(state);
}

// What a block with at least one point has reached, and whether it takes one more at `time_ms`: then `step` is how far
// that is from the last one, in ticks, and what the block reaches afterwards.
struct Reach {
  int64_t t_min;
  int64_t t_max;
  uint32_t count;
  uint32_t tick_ms;
};
struct Step {
  int32_t ticks;
  int64_t t_min;
  int64_t t_max;
};
inline bool step_to(const Reach& reach, int64_t last_time, int64_t time_ms, Step* step) {
  step->t_min = time_ms < reach.t_min ? time_ms : reach.t_min;
  step->t_max = time_ms > reach.t_max ? time_ms : reach.t_max;
  const uint64_t span = static_cast<uint64_t>(step->t_max) - static_cast<uint64_t>(step->t_min);
  if (span > static_cast<uint64_t>(kBlockSpanMsMax) || reach.count >= kBlockPointsMax) return false;
  step->ticks = static_cast<int32_t>(time_ms - last_time);
  if (reach.tick_ms == 1) return true;
  const auto tick = static_cast<int32_t>(reach.tick_ms);
  if (step->ticks % tick != 0) return false;
  step->ticks /= tick;
  return true;
}

// Writes everything of a block that stands before its bits; returns its length, at most kBlockHeaderBytesMax.
size_t write_head(const BlockInfo& info, Point first, uint8_t* out);
void write_checksum(uint32_t crc, uint8_t* out);
// Bytes of `value` as a varint.
size_t varint_bytes(uint64_t value);

// What a block says of itself, from its first bytes (all, or kBlockHeaderBytesMax); the checksum is not looked at.
BlockStatus read_info(std::span<const uint8_t> bytes, uint64_t context_boot, BlockInfo* info);

}  // namespace lambda
