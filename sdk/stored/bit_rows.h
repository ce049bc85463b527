// Integers of one width, packed. 128 of them lie in rows of 16 bytes, so that a processor with vectors takes a row at a
// time: proto/block.md, "Packed". Fewer lie one behind the other. What is inlined here is compiled with its callers,
// once for each kind of processor; bit_rows.cpp has code of its own for each width.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <type_traits>
#include <utility>

#define LAMBDA_INLINE [[gnu::always_inline]] inline
// What is compiled a second time for x86 with vectors of 32 bytes; taken where has_avx2() says so.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(LAMBDA_PORTABLE)
#define LAMBDA_AVX2 __attribute__((target("avx2,bmi,bmi2,lzcnt")))
// The same with "fma" beside it.
#define LAMBDA_AVX2_FMA __attribute__((target("avx2,bmi,bmi2,lzcnt,fma")))
#endif

namespace lambda::packed {

#ifdef LAMBDA_AVX2
// All processors with bmi2 have bmi and lzcnt.
LAMBDA_INLINE bool has_avx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2");
}
#endif

inline constexpr size_t kMini = 128;

constexpr uint64_t low_bits(unsigned width) {
  return width == 0 ? 0 : ~uint64_t{0} >> (64 - width);
}

// Bytes of `count` integers of `width` bits.
constexpr size_t packed_bytes(size_t count, unsigned width) {
  return count == kMini ? size_t{16} * width : (count * width + 7) / 8;
}

// Four integers at once; a processor with shorter vectors takes them in parts.
typedef uint64_t Four __attribute__((vector_size(32)));
LAMBDA_INLINE void load_four(const void* from, Four* four) {
  __builtin_memcpy(four, from, sizeof *four);
}
LAMBDA_INLINE void store_four(const Four& four, void* to) {
  __builtin_memcpy(to, &four, sizeof four);
}

// A row as a vector, which compilers turn into what the processor has.
template <class Word>
struct Row {
  static constexpr size_t kLanes = 16 / sizeof(Word);
  typedef Word Vector __attribute__((vector_size(16)));
  Word lane[kLanes];
};

// The integers of place kPlace in each lane. All that depends on the width is known when this is compiled.
template <class Word, unsigned kWidth, unsigned kPlace>
LAMBDA_INLINE void unpack_place(const uint8_t* in, Word* words) {
  constexpr unsigned kBits = 8 * sizeof(Word);
  constexpr unsigned kRow = kPlace * kWidth / kBits;
  constexpr int kSkip = static_cast<int>(kPlace * kWidth % kBits);
  typename Row<Word>::Vector value;
  __builtin_memcpy(&value, in + size_t{16} * kRow, 16);
  value >>= kSkip;
  if constexpr (kSkip + kWidth > kBits) {
    typename Row<Word>::Vector high;
    __builtin_memcpy(&high, in + size_t{16} * (kRow + 1), 16);
    value |= high << (static_cast<int>(kBits) - kSkip);
  }
  if constexpr (kWidth < kBits) value &= static_cast<Word>(low_bits(kWidth));
  __builtin_memcpy(words + kPlace * Row<Word>::kLanes, &value, 16);
}

template <class Word, unsigned kWidth, unsigned... kPlace>
LAMBDA_INLINE void unpack_places(const uint8_t* in, Word* words, std::integer_sequence<unsigned, kPlace...>) {
  (unpack_place<Word, kWidth, kPlace>(in, words), ...);
}

// 128 integers of kWidth bits, at most 32, from 16 * kWidth bytes, and `more` added to each.
template <unsigned kWidth>
LAMBDA_INLINE void unpack_rows(const uint8_t* in, uint64_t more, uint64_t* out) {
  if constexpr (kWidth == 0) {
    const Four four = {more, more, more, more};
    for (size_t i = 0; i < kMini; i += 4) store_four(four, out + i);
  } else {
    using Word = std::conditional_t<kWidth <= 16, uint16_t, uint32_t>;
    alignas(32) Word words[kMini];
    unpack_places<Word, kWidth>(in, words, std::make_integer_sequence<unsigned, 8 * sizeof(Word)>());
    for (size_t i = 0; i < kMini; ++i) out[i] = words[i] + more;
  }
}

// The same of more than 32 bits.
LAMBDA_INLINE void unpack_wide_rows(const uint8_t* in, unsigned width, uint64_t more, uint64_t* out) {
  using Vector = Row<uint64_t>::Vector;
  const uint64_t mask = low_bits(width);
  for (unsigned j = 0; j < 64; ++j) {
    const unsigned at = j * width;
    const unsigned row = at / 64;
    const int skip = static_cast<int>(at % 64);
    const unsigned next = row + 1 < width ? row + 1 : row;  // of the last row nothing more is wanted
    Vector low, high;
    __builtin_memcpy(&low, in + size_t{16} * row, 16);
    __builtin_memcpy(&high, in + size_t{16} * next, 16);
    // Two steps, as a shift by all of the word's bits means nothing.
    const Vector value = ((low >> skip | (high << 1) << (63 - skip)) & mask) + more;
    __builtin_memcpy(out + size_t{2} * j, &value, 16);
  }
}

// By width, 0 to 32; for the processor that this runs on.
using UnpackRows = void (*)(const uint8_t* in, uint64_t more, uint64_t* out);
inline constexpr unsigned kUnpackWidthMax = 32;
const UnpackRows* unpack_rows_here();

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
  if (width <= 57 && count > 0 && (count - 1) * width / 8 + 8 <= readable) {
    for (size_t i = 0, bit = 0; i < count; ++i, bit += width) out[i] = load_u64le(in + bit / 8) >> (bit % 8) & mask;
    return;
  }
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

// `rows`: of unpack_rows_here().
LAMBDA_INLINE void unpack(const UnpackRows* rows, const uint8_t* in, size_t readable, size_t count, unsigned width,
                          uint64_t more, uint64_t* out) {
  if (count == kMini && width <= kUnpackWidthMax) {
    rows[width](in, more, out);
  } else if (count == kMini) {
    unpack_wide_rows(in, width, more, out);
  } else {
    unpack_line(in, readable, count, width, out);
    for (size_t i = 0; i < count; ++i) out[i] += more;
  }
}

// The other way. `out` is zero where it is written to; 8 bytes behind the end may be touched, but stay as they are.
LAMBDA_INLINE void pack_line(const uint64_t* in, size_t count, unsigned width, uint8_t* out) {
  for (size_t i = 0; i < count && width > 0; ++i) {
    const size_t begin = i * width;
    const unsigned skip = static_cast<unsigned>(begin % 8);
    uint8_t* const to = out + begin / 8;
    store_u64le(to, load_u64le(to) | in[i] << skip);
    if (skip + width > 64) to[8] = static_cast<uint8_t>(to[8] | in[i] >> (64 - skip));
  }
}

template <class Word>
LAMBDA_INLINE void pack_rows_of(const uint64_t* in, unsigned width, uint8_t* out) {
  constexpr unsigned kBits = 8 * sizeof(Word);
  constexpr size_t kLanes = Row<Word>::kLanes;
  using Vector = typename Row<Word>::Vector;
  alignas(32) Word words[kMini];
  for (size_t i = 0; i < kMini; ++i) words[i] = static_cast<Word>(in[i]);
  Vector word{};
  unsigned fill = 0;
  for (unsigned j = 0; j < kBits; ++j) {
    Vector value;
    __builtin_memcpy(&value, words + j * kLanes, 16);
    word |= value << static_cast<int>(fill);
    fill += width;
    if (fill < kBits) continue;
    __builtin_memcpy(out, &word, 16);
    out += 16;
    fill -= kBits;
    // What is left of the integer; all of it is written when the word was just filled.
    word = fill == 0 ? Vector{} : value >> static_cast<int>(width - fill);
  }
}

LAMBDA_INLINE void pack(const uint64_t* in, size_t count, unsigned width, uint8_t* out) {
  if (count != kMini) return pack_line(in, count, width, out);
  if (width == 0) return;
  if (width <= 16) return pack_rows_of<uint16_t>(in, width, out);
  if (width <= 32) return pack_rows_of<uint32_t>(in, width, out);
  pack_rows_of<uint64_t>(in, width, out);
}

}  // namespace lambda::packed
