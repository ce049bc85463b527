// The loop that reads the codes of proto/block.md, for each codec. Private to those who instantiate it: everybody has
// the codecs of block_reader.cpp; those of codec_*.cpp are linked by who names them.
#pragma once

#include "codes.h"
#include "lambda/block.h"

namespace lambda {

#ifdef LAMBDA_WIDE_CODES

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
struct CodeWindow {
  const uint8_t* bytes;
  size_t size;
  uint64_t bit;  // where the code starts
  uint64_t word;
  unsigned used;
  size_t end() const { return static_cast<size_t>(bit) + used; }
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
  // 1..64; the word is not moved on: they are the last of a code.
  uint64_t take_last(unsigned count) {
    const uint64_t value = count + used <= 57 ? top(word, count) : bits_at(bytes, size, bit + used, count);
    used += count;
    return value;
  }
  bool flag() { return take(1) != 0; }
};
LAMBDA_HOT inline CodeWindow window_at(const uint8_t* bytes, size_t size, uint64_t bit) {
  return {bytes, size, bit, peek(bytes, size, bit), 0};
}

inline int32_t take_step_change(CodeWindow* window) {
  if (!window->flag()) return window->take_signed(5);
  if (!window->flag()) return window->take_signed(9);
  if (!window->flag()) return window->take_signed(14);
  return window->take_signed(22);
}

// 1..64, as '0' u4 | '10' u8 ...: what proto/block.md calls `changed` of delta64. False: no such number.
inline bool take_delta(CodeWindow* window, uint64_t* delta) {
  uint64_t z;
  if (!window->flag()) {
    z = window->take(4);
  } else if (!window->flag()) {
    z = window->take(8);
  } else if (!window->flag()) {
    z = window->take(12);
  } else {
    z = window->take_last(!window->flag() ? 20 : !window->flag() ? 32 : 64);
    if (z == UINT64_MAX) return false;
  }
  *delta = unzigzag(z + 1);
  return true;
}

#else

// The bits of a code, a word at a time, as small processors have them.
struct CodeWindow {
  const uint8_t* bytes;
  size_t size;
  size_t bit;  // of those that are not taken yet
  size_t end() const { return bit; }

  // 1..24. Four bytes that do not lie within `size` are zeros: with the checksum behind them all codes do.
  uint32_t take(unsigned count) {
    const size_t at = bit;
    bit += count;
    const size_t byte = at >> 3;
    const uint32_t word = byte + 4 <= size ? load_u32be(bytes + byte) : 0;
    return word << (at & 7) >> (32 - count);
  }
  int32_t take_signed(unsigned count) { return static_cast<int32_t>(take(count) << (32 - count)) >> (32 - count); }
  // 1..64. The odd bits come first, so that the others are moved by a constant.
  uint64_t take_last(unsigned count) {
    const unsigned odd = (count - 1) % 16 + 1;
    uint64_t value = take(odd);
    for (count -= odd; count > 0; count -= 16) value = value << 16 | take(16);
    return value;
  }
  bool flag() { return take(1) != 0; }
  // As many bits as the flags before them say: for each that is set, one width further, at most to the last.
  LAMBDA_ONE_COPY unsigned take_width(const uint8_t* widths, unsigned last) {
    while (last > 0 && flag()) {
      ++widths;
      --last;
    }
    return *widths;
  }
};
inline CodeWindow window_at(const uint8_t* bytes, size_t size, size_t bit) {
  return {bytes, size, bit};
}

inline constexpr uint8_t kStepWidths[] = {5, 9, 14, 22};
inline constexpr uint8_t kDeltaWidths[] = {4, 8, 12, 20, 32, 64};

inline int32_t take_step_change(CodeWindow* window) {
  return window->take_signed(window->take_width(kStepWidths, 3));
}

// 1..64, as '0' u4 | '10' u8 ...: what proto/block.md calls `changed` of delta64. False: no such number.
inline bool take_delta(CodeWindow* window, uint64_t* delta) {
  const uint64_t z = window->take_last(window->take_width(kDeltaWidths, 5));
  if (z == UINT64_MAX) return false;
  *delta = unzigzag(z + 1);
  return true;
}

#endif

// How each codec of codec_*.cpp gives out the next points; see BlockReader::next().
struct CodecReader {
  static size_t xor32(BlockReader* reader, std::span<Point> points);
  static size_t slope64(BlockReader* reader, std::span<Point> points);
  static size_t runs64(BlockReader* reader, std::span<Point> points);
  static size_t one_of_two(BlockReader* reader, std::span<Point> points);  // that everybody has
};
#ifdef LAMBDA_WIDE_CODES
// Where a reader stands and what it found so far.
struct ReadState {
  uint64_t bit;  // of the next code
  uint64_t value;
  int32_t step;
  int32_t now;
  unsigned window_lead;
  unsigned window_bits;
  bool saw_start =
      false;  // of times that do not rise: that one is the block's first, its last, not behind the one before
  bool saw_end = false;
  bool saw_back = false;
};
struct ReadRun {
  const uint8_t* bytes;
  uint64_t bit_last;  // a code that begins up to here lies, with all that is looked at, within what may be read
  int64_t t_min;
  int64_t tick;
  uint32_t span;
};
// From the first bit of a code on: what may be looked at, in bytes, and the longest code, in bits.
inline constexpr size_t kLooksAtBytes = 18;
inline constexpr uint64_t kCodeBitsMax = 104;

inline uint64_t peek_far(const ReadRun& run, uint64_t at) {
  return load_u64be(run.bytes + (at >> 3)) << (at & 7);
}
inline uint64_t bits_far(const ReadRun& run, uint64_t at, unsigned count) {
  if (count <= 57) return peek_far(run, at) >> (64 - count);
  return peek_far(run, at) >> 32 << (count - 32) | peek_far(run, at + 32) >> (96 - count);
}

// Reads points where all is as it nearly always is: far from the end, and nothing is wrong; kRising: times rise. Points
// up to `count`, the first `made` being there; returns how many there are now. If something is not so, that is `made`,
// nothing is done, and the careful reader is asked, who says what is wrong if something is.
template <Codec codec, bool kRising>
LAMBDA_HOT inline size_t read_far(const ReadRun& run, ReadState* state, Point* points, size_t made, size_t count) {
  ReadState at = *state;
  if (at.bit > run.bit_last || (kRising && at.step <= 0 && peek_far(run, at.bit) >> 62 != 0b11)) return made;
  int64_t time = run.t_min + at.now * run.tick;
  int64_t step_ms = at.step * run.tick;
  const size_t before = made;
  for (; made < count && at.bit <= run.bit_last; ++made) {
    CodeWindow window{nullptr, 0, 0, peek_far(run, at.bit), 0};
    bool changed = false;
    if (window.flag()) {
      if (!window.flag()) {
        changed = true;
      } else {
        const int32_t change = take_step_change(&window);
        at.step += change;
        if (change == 0 || (kRising && at.step <= 0)) [[unlikely]]
          return before;
        step_ms = at.step * run.tick;
        changed = window.flag();
      }
    }
    if (changed) {
      if constexpr (is_xor(codec)) {
        if (window.flag()) {
          at.window_lead = static_cast<unsigned>(window.take(5));
          at.window_bits = static_cast<unsigned>(window.take(window_length_bits(codec)) + 1);
        }
        const unsigned width = at.window_bits;
        const unsigned lead = at.window_lead;
        if (width == 0 || lead + width > (codec == Codec::kXor32 ? 32 : 64)) [[unlikely]]
          return before;
        const uint64_t x =
            width + window.used <= 57 ? top(window.word, width) : bits_far(run, at.bit + window.used, width);
        if (x == 0) [[unlikely]]
          return before;
        window.used += width;
        at.value ^= x << (64 - lead - width);
      } else {
        uint64_t z;
        if (!window.flag()) {
          z = window.take(4);
        } else if (!window.flag()) {
          z = window.take(8);
        } else if (!window.flag()) {
          z = window.take(12);
        } else {
          const unsigned width = !window.flag() ? 20 : !window.flag() ? 32 : 64;
          z = bits_far(run, at.bit + window.used, width);
          if (z == UINT64_MAX) [[unlikely]]
            return before;
          window.used += width;
        }
        at.value += unzigzag(z + 1);
      }
    }
    at.bit += window.used;
    at.now += at.step;
    if (static_cast<uint32_t>(at.now) > run.span) [[unlikely]]
      return before;
    if constexpr (!kRising) {
      at.saw_start |= at.now == 0;
      at.saw_end |= static_cast<uint32_t>(at.now) == run.span;
      at.saw_back |= at.step <= 0;
    }
    points[made] = {time += step_ms, at.value};
  }
  *state = at;
  return made;
}

#ifdef LAMBDA_BMI
template <Codec codec, bool kRising>
LAMBDA_BMI size_t read_far_bmi(const ReadRun& run, ReadState* state, Point* points, size_t made, size_t count) {
  return read_far<codec, kRising>(run, state, points, made, count);
}
#endif
template <Codec codec, bool kRising>
size_t read_far_here(const ReadRun& run, ReadState* state, Point* points, size_t made, size_t count) {
#ifdef LAMBDA_BMI
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2")) {
    return read_far_bmi<codec, kRising>(run, state, points, made, count);
  }
#endif
  return read_far<codec, kRising>(run, state, points, made, count);
}

#endif

// The next points, up to `count`, of which `made` are there; one at a time, and every code looked at.
LAMBDA_HOT_OR_ONE_COPY inline size_t BlockReader::decode_carefully(const Codec codec, Point* points, size_t made,
                                                                   const size_t count) {
  for (; made < count; ++made) {
    if (taken_ + made > 0) {
      const BlockError error = take_code(codec);
      if (error != BlockError::kNone) [[unlikely]] {
        refuse(error, bit_ >> 3);
        break;
      }
    }
    points[made] = here();
  }
  taken_ += static_cast<uint32_t>(made);
  return made;
}

// The code of one more point.
LAMBDA_HOT inline BlockError BlockReader::take_code(const Codec codec) {
  CodeWindow window = window_at(bytes_, size_, bit_);
  bool changed = window.flag();
  if (changed && window.flag()) {
    const int32_t change = take_step_change(&window);
    if (change == 0) [[unlikely]]
      return BlockError::kBits;
    code_.step += change;
    changed = window.flag();
  }
  if (changed && !take_value(codec, &window)) [[unlikely]]
    return BlockError::kBits;
  bit_ = window.end();
  if (bit_ > bit_end_) [[unlikely]]
    return BlockError::kBits;
  return step_on() ? BlockError::kNone : BlockError::kTimes;
}

// To the next point's time. False: it is none of the block's.
LAMBDA_HOT inline bool BlockReader::step_on() {
  now_ += code_.step;
  if (code_.step <= 0) seen_ |= kBack;
  return static_cast<uint32_t>(now_) <= static_cast<uint32_t>(span_);
}

LAMBDA_HOT inline Point BlockReader::here() {
  if (now_ == 0) seen_ |= kStart;
  if (now_ == span_) seen_ |= kEnd;
  const uint64_t since =
      uint64_t{static_cast<uint32_t>(now_)} * info_.tick_ms;  // it is within the block, so not below 0
  return {info_.t_min + static_cast<int64_t>(since), code_.last_bits};
}

// A value that is not the one before. False: no code is so.
LAMBDA_HOT inline bool BlockReader::take_value(const Codec codec, CodeWindow* window) {
  if (!is_xor(codec)) {
    uint64_t delta;
    if (!take_delta(window, &delta)) return false;
    code_.last_bits += delta;
    return true;
  }
  if (window->flag()) {
    code_.window_lead = static_cast<uint8_t>(window->take(5));
    code_.window_bits = static_cast<uint8_t>(window->take(window_length_bits(codec)) + 1);
  }
  const unsigned count = code_.window_bits;
  const unsigned lead = code_.window_lead;
  if (count == 0 || lead + count > (kFurtherCodecs && codec == Codec::kXor32 ? 32 : 64)) return false;
  const uint64_t x = window->take_last(count);
  code_.last_bits ^= x << (64 - lead - count);
  return x != 0;
}

template <Codec codec>
size_t BlockReader::decode(std::span<Point> points) {
  size_t made = 0;
#ifdef LAMBDA_WIDE_CODES
  if (taken_ == 0) points[made++] = here();
  constexpr size_t kWorthReadingFar = 8, kWorthCopying = 2;
  ReadRun run{bytes_, 0, info_.t_min, static_cast<int64_t>(info_.tick_ms), static_cast<uint32_t>(span_)};
  const auto read_on = [&](uint64_t begin) {  // the bit of the block at which run.bytes begins
    ReadState state{bit_ - begin, code_.last_bits, code_.step, now_, code_.window_lead, code_.window_bits};
    const size_t all = points.size();
    const size_t now_made = info_.unordered ? read_far_here<codec, false>(run, &state, points.data(), made, all)
                                            : read_far_here<codec, true>(run, &state, points.data(), made, all);
    if (begin + state.bit > bit_end_) return;
    made = now_made;
    bit_ = begin + state.bit;
    code_.last_bits = state.value;
    code_.step = state.step;
    now_ = state.now;
    code_.window_lead = static_cast<uint8_t>(state.window_lead);
    code_.window_bits = static_cast<uint8_t>(state.window_bits);
    if (state.saw_start) seen_ |= kStart;
    if (state.saw_end || now_ == span_) seen_ |= kEnd;
    if (state.saw_back) seen_ |= kBack;
  };
  if (points.size() - made >= kWorthReadingFar && size_ >= kLooksAtBytes && bit_end_ >= kCodeBitsMax) {
    const uint64_t within = (static_cast<uint64_t>(size_) - kLooksAtBytes) * 8;
    const uint64_t whole = bit_end_ - kCodeBitsMax;
    run.bit_last = within < whole ? within : whole;
    read_on(0);
  }
  // The last codes, out of a copy: what is looked at behind the end are zeros.
  const size_t begin = bit_ >> 3;
  const size_t left = ((bit_end_ + 7) >> 3) - begin;
  if (points.size() - made >= kWorthCopying && left > 0 && left <= kLooksAtBytes) {
    uint8_t last[2 * kLooksAtBytes] = {};
    __builtin_memcpy(last, bytes_ + begin, left);
    run.bytes = last;
    run.bit_last = bit_end_ - begin * 8 - 1;
    read_on(uint64_t{begin} * 8);
  }
#endif
  return decode_carefully(codec, points.data(), made, points.size());
}

}  // namespace lambda
