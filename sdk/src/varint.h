// Numbers of seven bits a byte, the lowest first: in the heads of blocks and in messages. Private to the SDK's sources.
#pragma once

#include <stddef.h>
#include <stdint.h>

// Where size counts, one copy that all call.
#if defined(__OPTIMIZE_SIZE__) && defined(__GNUC__) && !defined(__clang__)
#define LAMBDA_ONE_COPY [[gnu::noinline, gnu::noclone]]
#else
#define LAMBDA_ONE_COPY
#endif

namespace lambda {

inline constexpr int kVarintBytesMax = 10;

// Bytes that `value` took, 0 when they end before it does, -1 when it is more than 64 bits.
LAMBDA_ONE_COPY inline int read_varint(const uint8_t* bytes, size_t size, uint64_t* value) {
  uint64_t read = 0;
  for (int i = 0; static_cast<size_t>(i) != size; ++i) {
    const uint8_t byte = bytes[i];
    if (i == kVarintBytesMax - 1 && byte > 1) return -1;
    read |= static_cast<uint64_t>(byte & 0x7F) << (7 * i);
    if ((byte & 0x80) != 0) continue;
    *value = read;
    return i + 1;
  }
  return 0;
}

LAMBDA_ONE_COPY inline uint8_t* write_varint(uint8_t* out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) *out++ = static_cast<uint8_t>(value | 0x80);
  *out++ = static_cast<uint8_t>(value);
  return out;
}

constexpr uint64_t zigzag(uint64_t n) {
  return (n << 1) ^ (0 - (n >> 63));
}
constexpr uint64_t unzigzag(uint64_t z) {
  return (z >> 1) ^ (0 - (z & 1));
}

}  // namespace lambda
