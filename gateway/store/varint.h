// LEB128 numbers of what the index keeps as blobs. Pure functions: any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace lambda::gateway {

inline void put_varint(std::string& out, uint64_t value) {
  while (value >= 0x80) {
    out.push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out.push_back(static_cast<char>(value));
}

// Takes a number off the front of `in`; false when there is none, or one above 64 bits.
inline bool get_varint(std::string_view& in, uint64_t* value) {
  *value = 0;
  for (unsigned shift = 0; shift < 64 && !in.empty(); shift += 7) {
    const auto byte = static_cast<uint8_t>(in.front());
    in.remove_prefix(1);
    if (shift == 63 && byte > 1) return false;
    *value |= uint64_t{byte & 0x7Fu} << shift;
    if ((byte & 0x80) == 0) return true;
  }
  return false;
}

// Small numbers of either sign as small numbers without one. Differences may wrap: adding them again wraps back.
inline uint64_t zigzag(uint64_t difference) {
  return difference << 1 ^ (0 - (difference >> 63));
}
inline uint64_t unzigzag(uint64_t value) {
  return value >> 1 ^ (0 - (value & 1));
}

}  // namespace lambda::gateway
