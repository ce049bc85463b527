// The codes of proto/block.md for processors with 64-bit words: the same bits as codes.h writes, but of each point all
// at once, and of a whole run without going through memory. A device, where size counts, has none of this.
#pragma once

#include "codes.h"

#if defined(LAMBDA_WIDE_CODES)

namespace lambda {

// Where a run of codes stands, in registers.
struct WideSink {
  uint8_t* out;
  uint64_t bits;  // the byte being filled, at the top
  unsigned fill;  // 0..7

  // The bit 0.
  LAMBDA_HOT void put_zero() {
    store_u64be(out, bits);
    if (++fill < 8) return;
    ++out;
    bits = 0;
    fill = 0;
  }
  // `count` bits, 1..104, from the top of `high` and `low`; what is behind them is zero. At most 16 bytes are written.
  LAMBDA_HOT void put(uint64_t high, uint64_t low, unsigned count) {
    if (count <= 56) {
      bits |= high >> fill;
      store_u64be(out, bits);
      const unsigned end = fill + count;
      bits <<= end / 8 * 8;
      out += end / 8;
      fill = end % 8;
      return;
    }
    const uint64_t first = bits | high >> fill;
    const uint64_t second = high << 1 << (63 - fill) | low >> fill;
    store_u64be(out, first);
    store_u64be(out + 8, second);
    const unsigned end = fill + count;
    const unsigned whole = end >> 3;
    bits = (whole >= 8 ? second : first) << (whole % 8 * 8);
    out += whole;
    fill = end & 7;
  }
};

// How a difference is written: by the bits it has.
struct DeltaCode {
  uint8_t prefix;
  uint8_t prefix_count;
  uint8_t width;
};
struct DeltaCodes {
  DeltaCode of[65];
};
constexpr DeltaCodes make_delta_codes() {
  DeltaCodes codes{};
  for (unsigned bits = 0; bits <= 64; ++bits) {
    codes.of[bits] = bits <= 4    ? DeltaCode{0, 1, 4}
                     : bits <= 8  ? DeltaCode{0b10, 2, 8}
                     : bits <= 12 ? DeltaCode{0b110, 3, 12}
                     : bits <= 20 ? DeltaCode{0b1110, 4, 20}
                     : bits <= 32 ? DeltaCode{0b11110, 5, 32}
                                  : DeltaCode{0b11111, 5, 64};
  }
  return codes;
}
inline constexpr DeltaCodes kDeltaCodes = make_delta_codes();

// As encode_point(); `state` but for its time, its fill and its partial byte.
template <Codec codec>
LAMBDA_HOT inline void put_point(WideSink* sink, CodeState* state, int32_t step, uint64_t bits) {
  const uint64_t last = state->last_bits;
  const int32_t change = step - state->step;
  uint64_t head = 0b10;
  unsigned count = 2;
  if (change != 0) {
    Head with_step{0b11, 2};
    add_step_change(&with_step, change);
    with_step.add(bits != last ? 1 : 0, 1);
    head = with_step.bits;
    count = with_step.count;
    state->step = step;
    if (bits == last) return sink->put(head << (64 - count), 0, count);
  } else if (bits == last) {
    return sink->put_zero();
  }
  state->last_bits = bits;
  uint64_t value;        // from the top
  unsigned value_count;  // bits of it
  if constexpr (is_xor(codec)) {
    constexpr unsigned kLength = window_length_bits(codec);
    const uint64_t x = bits ^ last;
    const auto zeros = static_cast<unsigned>(__builtin_clzll(x));
    const unsigned lead = zeros > 31 ? 31 : zeros;
    const auto trail = static_cast<unsigned>(__builtin_ctzll(x));
    const unsigned own = 64 - lead - trail;
    const unsigned window_lead = state->window_lead;
    const unsigned window_bits = state->window_bits;  // 0, no window, covers nothing: trail < 64 always
    if (lead >= window_lead && trail >= 64 - window_lead - window_bits && window_bits <= 5 + kLength + own) {
      head <<= 1;
      ++count;
      value = x << window_lead;
      value_count = window_bits;
    } else {
      head = head << (6 + kLength) | 1u << (5 + kLength) | lead << kLength | (own - 1);
      count += 6 + kLength;
      value = x << lead;
      value_count = own;
      state->window_lead = static_cast<uint8_t>(lead);
      state->window_bits = static_cast<uint8_t>(own);
    }
  } else {
    const uint64_t z = zigzag(bits - last) - 1;
    const DeltaCode& code = kDeltaCodes.of[64 - static_cast<unsigned>(__builtin_clzll(z | 1))];
    head = head << code.prefix_count | code.prefix;
    count += code.prefix_count;
    value = z << (64 - code.width);
    value_count = code.width;
  }
  sink->put(head << (64 - count) | value >> count, value << (64 - count), count + value_count);
}

// As encode_point(), which has the same reach.
template <Codec codec>
LAMBDA_HOT inline uint8_t* encode_point_wide(CodeState* state, int32_t step, uint64_t bits, uint8_t* out) {
  WideSink sink{out, static_cast<uint64_t>(state->partial) << 56, state->fill};
  put_point<codec>(&sink, state, step, bits);
  state->partial = static_cast<uint8_t>(sink.bits >> 56);
  state->fill = static_cast<uint8_t>(sink.fill);
  return sink.out;
}

}  // namespace lambda

#endif

namespace lambda {

// encode_point() as this processor does it best: the same bits.
template <Codec codec>
LAMBDA_HOT inline uint8_t* encode_point_here(CodeState* state, int32_t step, uint64_t bits, uint8_t* out) {
#ifdef LAMBDA_WIDE_CODES
  return encode_point_wide<codec>(state, step, bits, out);
#else
  return encode_point<codec>(state, step, bits, out);
#endif
}

}  // namespace lambda
