// The loop that reads the codes of proto/block.md, for each codec. Private to those who instantiate it: a device has
// the codecs of block_reader.cpp, hosts those of stored_block.cpp as well.
#pragma once

#include "codes.h"
#include "lambda/block.h"

namespace lambda {

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
      if constexpr (is_xor(codec)) {
        if (window.flag()) {
          code_.window_lead = static_cast<uint8_t>(window.take(5));
          code_.window_bits = static_cast<uint8_t>(window.take(window_length_bits(codec)) + 1);
        }
        const unsigned count = code_.window_bits;
        const unsigned lead = code_.window_lead;
        if (count == 0 || lead + count > (codec == Codec::kXor32 ? 32 : 64)) [[unlikely]] {
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

}  // namespace lambda
