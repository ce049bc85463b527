// The codes of proto/block.md, one point at a time: what the block writer, the block reader and the series store share.
// Bits are written eight bytes at a time, so memory is always up to date and an open block can be read where it lies.
#pragma once

#include "lambda/block.h"
#include "varint.h"

// On a host the inner steps are worth their copies; where size counts the compiler decides.
#if defined(__OPTIMIZE__) && !defined(__OPTIMIZE_SIZE__)
#define LAMBDA_HOT [[gnu::always_inline]]
#if __SIZEOF_POINTER__ == 8 && !defined(LAMBDA_PORTABLE)
#define LAMBDA_WIDE_CODES 1  // wide_codes.h
#if defined(__x86_64__) && defined(__GNUC__)
// Compiled a second time for x86 where shifts and counting zeros are single instructions; taken where
// __builtin_cpu_supports() has avx2 and bmi2, which lzcnt came with.
#define LAMBDA_BMI __attribute__((target("bmi,bmi2,lzcnt")))
#endif
#endif
#else
#define LAMBDA_HOT
#endif
#ifdef LAMBDA_WIDE_CODES
#define LAMBDA_HOT_OR_ONE_COPY LAMBDA_HOT
#else
#define LAMBDA_HOT_OR_ONE_COPY LAMBDA_ONE_COPY
#endif

namespace lambda {

// encode_point() and a coding's encode() write at most this far behind where they start.
inline constexpr size_t kEncodeReach = 18;
// The longest code: of runs64, 1 + 3 + 10 of run, 1 + 3 + 22 of step, 1 + 5 + 64 of value are 110 bits.
inline constexpr size_t kCodeBytesMax = 14;
inline constexpr size_t kChecksumBytes = 4;

// What a series is written in when nothing else is asked for.
constexpr Codec codec_of(ValueType type) {
  return type == ValueType::kF64 ? Codec::kXor64 : type == ValueType::kF32 ? Codec::kXor32 : Codec::kDelta64;
}
// f32 is written as the upper half of 64 bits, so that one window serves both; only the length of a window is shorter.
constexpr bool is_xor(Codec codec) {
  return codec == Codec::kXor64 || (kFurtherCodecs && codec == Codec::kXor32);
}
constexpr unsigned window_length_bits(Codec codec) {
  return !kFurtherCodecs || codec == Codec::kXor64 ? 6 : 5;
}

// runs64: points since the last code, which no bits stand for yet. A window is no part of this codec.
inline uint32_t run_of(const CodeState& state) {
  return state.window_lead | static_cast<uint32_t>(state.window_bits) << 8;
}
// Whether the byte being filled belongs to the block. Behind the last code of runs64 a 0 says that a run follows.
inline bool has_partial_byte(Codec codec, const CodeState& state) {
  return state.fill > 0 || (kFurtherCodecs && codec == Codec::kRuns64 && run_of(state) > 0);
}

inline uint64_t load_u64be(const uint8_t* from) {
  uint64_t value;
  __builtin_memcpy(&value, from, 8);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
  value = __builtin_bswap64(value);
#endif
  return value;
}

inline uint32_t load_u32be(const uint8_t* from) {
  uint32_t value;
  __builtin_memcpy(&value, from, 4);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
  value = __builtin_bswap32(value);
#endif
  return value;
}

inline void store_u64be(uint8_t* to, uint64_t value) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
  value = __builtin_bswap64(value);
#endif
  __builtin_memcpy(to, &value, 8);
}

inline void store_u32be(uint8_t* to, uint32_t value) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
  value = __builtin_bswap32(value);
#endif
  __builtin_memcpy(to, &value, 4);
}

inline void store_u64le(uint8_t* to, uint64_t value) {
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  value = __builtin_bswap64(value);
#endif
  __builtin_memcpy(to, &value, 8);
}

inline uint32_t load_u32le(const uint8_t* from) {
  uint32_t value;
  __builtin_memcpy(&value, from, 4);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  value = __builtin_bswap32(value);
#endif
  return value;
}

inline uint64_t load_u64le(const uint8_t* from) {
  uint64_t value;
  __builtin_memcpy(&value, from, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  value = __builtin_bswap64(value);
#endif
  return value;
}

inline void store_u32le(uint8_t* to, uint32_t value) {
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  value = __builtin_bswap32(value);
#endif
  __builtin_memcpy(to, &value, 4);
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

// Codes in words of the width that small processors have, which shift 64 bits in a dozen steps. 1..24 bits.
inline uint8_t* put_short(CodeState* state, uint32_t bits, unsigned count, uint8_t* out) {
  const unsigned fill = state->fill + count;
  uint32_t word = static_cast<uint32_t>(state->partial) << 24 | bits << (32 - fill);
  store_u32be(out, word);
  word <<= fill & ~7u;
  state->partial = static_cast<uint8_t>(word >> 24);
  state->fill = static_cast<uint8_t>(fill & 7);
  return out + (fill >> 3);
}

// The `count` bits from the top of `value` on, 1..64; what is below them does not matter.
LAMBDA_ONE_COPY inline uint8_t* put_long(CodeState* state, uint64_t value, unsigned count, uint8_t* out) {
  for (; count > 16; count -= 16, value <<= 16) out = put_short(state, static_cast<uint32_t>(value >> 48), 16, out);
  return put_short(state, static_cast<uint32_t>(value >> 48) >> (16 - count), count, out);
}

// The change of the step, behind so many set bits, and whether the value changes too.
template <unsigned head_bits>
inline uint8_t* put_step(CodeState* state, int32_t change, uint32_t changed, uint8_t* out) {
  constexpr uint32_t head = (1u << head_bits) - 1;
  const uint32_t bits = static_cast<uint32_t>(change) << 1 | changed;
  if (change >= -16 && change < 16) return put_short(state, head << 7 | (bits & 0x3F), head_bits + 1 + 5 + 1, out);
  if (change >= -256 && change < 256) {
    return put_short(state, (head << 2 | 0b10u) << 10 | (bits & 0x3FF), head_bits + 2 + 9 + 1, out);
  }
  if (change >= -8192 && change < 8192) {
    return put_short(state, (head << 3 | 0b110u) << 15 | (bits & 0x7FFF), head_bits + 3 + 14 + 1, out);
  }
  out = put_short(state, head << 3 | 0b111u, head_bits + 3, out);
  return put_short(state, bits & 0x7FFFFF, 22 + 1, out);
}

// A changed integer, behind the `head_bits` bits of `head`.
inline uint8_t* put_near(CodeState* state, uint32_t head, unsigned head_bits, uint64_t delta, uint8_t* out) {
  const uint64_t wide = zigzag(delta) - 1;
  const auto z = static_cast<uint32_t>(wide);
  if (wide >> 32 != 0) {
    out = put_short(state, head << 5 | 0b11111u, head_bits + 5, out);
    return put_long(state, wide, 64, out);
  }
  if (z < 1u << 4) {
    return put_short(state, head << 5 | z, head_bits + 1 + 4, out);
  }
  if (z < 1u << 8) {
    return put_short(state, (head << 2 | 0b10u) << 8 | z, head_bits + 2 + 8, out);
  }
  if (z < 1u << 12) {
    return put_short(state, (head << 3 | 0b110u) << 12 | z, head_bits + 3 + 12, out);
  }
  if (z < 1u << 20) {
    out = put_short(state, head << 4 | 0b1110u, head_bits + 4, out);
    return put_short(state, z, 20, out);
  }
  out = put_short(state, head << 5 | 0b11110u, head_bits + 5, out);
  return put_long(state, wide << 32, 32, out);
}

// encode_point() of delta64.
inline uint8_t* encode_near(CodeState* state, int32_t step, uint64_t bits, uint8_t* out) {
  const uint64_t delta = bits - state->last_bits;
  const int32_t change = step - state->step;
  const uint32_t changed = delta != 0 ? 1 : 0;
  uint32_t head = 0b10;
  unsigned head_bits = 2;
  if (change != 0) {
    state->step = step;
    out = put_step<2>(state, change, changed, out);
    head = head_bits = 0;
  } else if (changed == 0) {
    return put_short(state, 0, 1, out);
  }
  if (changed == 0) return out;
  state->last_bits = bits;
  return put_near(state, head, head_bits, delta, out);
}

// encode_point() of xor64 and xor32; `length_bits` is that of a window.
inline uint8_t* encode_xor(CodeState* state, int32_t step, uint64_t bits, unsigned length_bits, uint8_t* out) {
  const uint64_t x = bits ^ state->last_bits;
  const int32_t change = step - state->step;
  const uint32_t changed = x != 0 ? 1 : 0;
  if (change != 0) {
    state->step = step;
    out = put_step<2>(state, change, changed, out);
  } else {
    out = put_short(state, changed << 1, 1 + changed, out);
  }
  if (changed == 0) return out;
  state->last_bits = bits;
  unsigned lead = static_cast<unsigned>(__builtin_clzll(x));
  if (lead > 31) lead = 31;
  const unsigned trail =
      63 - static_cast<unsigned>(__builtin_clzll(x & (0 - x)));  // many a core counts only from above
  unsigned count = 64 - lead - trail;
  const unsigned window_bits = state->window_bits;  // 0, no window, covers nothing: trail < 64 - window_lead always
  const unsigned window_trail = 64 - state->window_lead - window_bits;
  if (lead >= state->window_lead && trail >= window_trail && window_bits <= 5 + length_bits + count) {
    lead = state->window_lead;
    count = window_bits;
    out = put_short(state, 0, 1, out);
  } else {
    state->window_lead = static_cast<uint8_t>(lead);
    state->window_bits = static_cast<uint8_t>(count);
    out = put_short(state, (1u << 5 | lead) << length_bits | (count - 1), 1 + 5 + length_bits, out);
  }
  return put_long(state, x << lead, count, out);
}

// Writes the code of one more point at `out` (kEncodeReach bytes must be writable) and returns where the byte being
// filled is now. `step` is the time since the last point in ticks; last_time is the caller's.
template <Codec codec>
inline uint8_t* encode_point(CodeState* state, int32_t step, uint64_t bits, uint8_t* out) {
  if constexpr (is_xor(codec)) {
    return encode_xor(state, step, bits, window_length_bits(codec), out);
  } else {
    return encode_near(state, step, bits, out);
  }
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

// Writes everything of a block that stands before its bits; returns its length, at most kBlockHeaderBytesMax. A store's
// blocks have no boot of their own.
template <bool kBoots>
size_t write_head(const BlockInfo& info, const Point& first, uint8_t* out);
void write_checksum(uint32_t crc, uint8_t* out);
inline uint32_t read_checksum(const uint8_t* bytes) {
  return load_u32le(bytes);
}
// Whether these bytes may be a block, and are as they were written.
bool has_its_checksum(std::span<const uint8_t> bytes);

// What a block that this program wrote, without its boot, says of itself, from its first bytes (all, or
// kBlockHeaderBytesMax). The checksum is not looked at, nor anything else: of a block that is not as it was written the
// info is anything.
void read_own_info(std::span<const uint8_t> bytes, uint64_t context_boot, BlockInfo* info);

}  // namespace lambda
