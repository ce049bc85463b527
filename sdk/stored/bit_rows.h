// Integers of one width, packed. 128 of them lie in rows of 16 bytes, so that a processor with vectors takes a row at a
// time: proto/block.md, "Packed". Fewer lie one behind the other. Everything here is inlined into its callers, which
// are compiled once for each kind of processor.
#pragma once

#include <stddef.h>
#include <stdint.h>

#define LAMBDA_INLINE [[gnu::always_inline]] inline

namespace lambda::packed {

inline constexpr size_t kMini = 128;

constexpr uint64_t low_bits(unsigned width) {
  return width == 0 ? 0 : ~uint64_t{0} >> (64 - width);
}

// Bytes of `count` integers of `width` bits.
constexpr size_t packed_bytes(size_t count, unsigned width) {
  return count == kMini ? size_t{16} * width : (count * width + 7) / 8;
}

// A row as a vector, which compilers turn into what the processor has.
template <class Word>
struct Row {
  static constexpr size_t kLanes = 16 / sizeof(Word);
  typedef Word Vector __attribute__((vector_size(16)));
  Word lane[kLanes];
};

template <class Word>
LAMBDA_INLINE void unpack_rows_of(const uint8_t* in, unsigned width, uint64_t* out) {
  constexpr unsigned kBits = 8 * sizeof(Word);
  constexpr size_t kLanes = Row<Word>::kLanes;
  using Vector = typename Row<Word>::Vector;
  const Word mask = static_cast<Word>(low_bits(width));
  alignas(16) Word words[kMini];
  for (unsigned j = 0; j < kBits; ++j) {
    const unsigned at = j * width;
    const unsigned row = at / kBits;
    const int skip = static_cast<int>(at % kBits);
    const unsigned next = row + 1 < width ? row + 1 : row;  // of the last row nothing more is wanted
    Vector low, high;
    __builtin_memcpy(&low, in + size_t{16} * row, 16);
    __builtin_memcpy(&high, in + size_t{16} * next, 16);
    // Two steps, as a shift by all of the word's bits means nothing.
    const Vector value = (low >> skip | (high << 1) << (static_cast<int>(kBits) - 1 - skip)) & mask;
    __builtin_memcpy(words + j * kLanes, &value, 16);
  }
  for (size_t i = 0; i < kMini; ++i) out[i] = words[i];
}

// 128 integers from 16 * width bytes.
LAMBDA_INLINE void unpack_rows(const uint8_t* in, unsigned width, uint64_t* out) {
  if (width == 0) {
    for (size_t i = 0; i < kMini; ++i) out[i] = 0;
  } else if (width <= 16) {
    unpack_rows_of<uint16_t>(in, width, out);
  } else if (width <= 32) {
    unpack_rows_of<uint32_t>(in, width, out);
  } else {
    unpack_rows_of<uint64_t>(in, width, out);
  }
}

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "hosts are little-endian, as the format is");
LAMBDA_INLINE uint64_t load_u64le(const uint8_t* from) {
  uint64_t value;
  __builtin_memcpy(&value, from, 8);
  return value;
}
LAMBDA_INLINE void store_u64le(uint8_t* to, uint64_t value) {
  __builtin_memcpy(to, &value, 8);
}

// `count` integers that lie one behind the other, lowest bits first. `readable` bytes from `in` may be read, at least
// those of the integers.
LAMBDA_INLINE void unpack_line(const uint8_t* in, size_t readable, size_t count, unsigned width, uint64_t* out) {
  const uint64_t mask = low_bits(width);
  size_t i = 0;
  if (width <= 57) {
    for (; i < count && i * width / 8 + 8 <= readable; ++i) {
      out[i] = load_u64le(in + i * width / 8) >> (i * width % 8) & mask;
    }
  }
  for (; i < count; ++i) {
    uint64_t value = 0;
    const size_t begin = i * width;
    for (size_t byte = begin / 8, shift = 0; byte * 8 < begin + width; ++byte) {
      const unsigned skip = byte * 8 < begin ? static_cast<unsigned>(begin % 8) : 0;
      value |= static_cast<uint64_t>(in[byte] >> skip) << shift;
      shift += 8 - skip;
      if (shift >= 64) break;
    }
    out[i] = value & mask;
  }
}

LAMBDA_INLINE void unpack(const uint8_t* in, size_t readable, size_t count, unsigned width, uint64_t* out) {
  if (count == kMini) {
    unpack_rows(in, width, out);
  } else {
    unpack_line(in, readable, count, width, out);
  }
}

// The other way. `out` is zero where it is written to; 8 bytes behind the end may be touched, but stay as they are.
inline void pack_line(const uint64_t* in, size_t count, unsigned width, uint8_t* out) {
  for (size_t i = 0; i < count && width > 0; ++i) {
    const size_t begin = i * width;
    const unsigned skip = static_cast<unsigned>(begin % 8);
    uint8_t* const to = out + begin / 8;
    store_u64le(to, load_u64le(to) | in[i] << skip);
    if (skip + width > 64) to[8] = static_cast<uint8_t>(to[8] | in[i] >> (64 - skip));
  }
}

template <class Word>
inline void pack_rows_of(const uint64_t* in, unsigned width, uint8_t* out) {
  constexpr unsigned kBits = 8 * sizeof(Word);
  constexpr size_t kLanes = Row<Word>::kLanes;
  Row<Word> word{};
  unsigned fill = 0;
  for (unsigned j = 0; j < kBits; ++j) {
    Row<Word> value;
    for (size_t l = 0; l < kLanes; ++l) value.lane[l] = static_cast<Word>(in[j * kLanes + l]);
    for (size_t l = 0; l < kLanes; ++l) word.lane[l] = static_cast<Word>(word.lane[l] | value.lane[l] << fill);
    fill += width;
    if (fill < kBits) continue;
    __builtin_memcpy(out, &word, 16);
    out += 16;
    fill -= kBits;
    for (size_t l = 0; l < kLanes; ++l) {
      word.lane[l] = fill == 0 ? Word{0} : static_cast<Word>(value.lane[l] >> (width - fill));
    }
  }
}

inline void pack(const uint64_t* in, size_t count, unsigned width, uint8_t* out) {
  if (count != kMini) return pack_line(in, count, width, out);
  if (width == 0) return;
  if (width <= 16) return pack_rows_of<uint16_t>(in, width, out);
  if (width <= 32) return pack_rows_of<uint32_t>(in, width, out);
  pack_rows_of<uint64_t>(in, width, out);
}

}  // namespace lambda::packed
