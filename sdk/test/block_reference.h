// A second reading of proto/block.md, as naive as can be: bits are characters of a string, numbers are 128 bits wide.
// Slow, and shares no code with the SDK; what both agree on is what the document says.
#pragma once

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <utility>
#include <vector>

#ifndef __SIZEOF_INT128__  // machines of 32 bits
#include <boost/multiprecision/cpp_int.hpp>
#endif

#include "lambda/block.h"

namespace lambda::reference {

#ifdef __SIZEOF_INT128__
using Wide = __int128;
#else
using Wide = boost::multiprecision::int128_t;
#endif
using Bytes = std::vector<uint8_t>;

inline std::string binary(Wide value, int width) {  // two's complement, most significant bit first
  if (value < 0) value += Wide{1} << width;
  std::string bits;
  for (int i = 0; i < width; ++i, value /= 2) bits.insert(bits.begin(), value % 2 != 0 ? '1' : '0');
  return bits;
}

inline Bytes varint(uint64_t value) {
  Bytes out;
  do {
    out.push_back(static_cast<uint8_t>(value % 128 + (value >= 128 ? 128 : 0)));
    value /= 128;
  } while (value > 0);
  return out;
}

inline Bytes zigzag(int64_t value) {
  return varint(value >= 0 ? static_cast<uint64_t>(value) * 2 : static_cast<uint64_t>(-(value + 1)) * 2 + 1);
}

inline uint32_t crc(const Bytes& bytes) {  // bit by bit
  uint32_t crc = 0xFFFFFFFF;
  for (uint8_t byte : bytes) {
    for (int i = 0; i < 8; ++i) {
      const bool bit = ((crc ^ (byte >> i)) & 1) != 0;
      crc = crc >> 1;
      if (bit) crc ^= 0x82F63B78;
    }
  }
  return ~crc;
}

inline void append(Bytes* to, const Bytes& more) {
  to->insert(to->end(), more.begin(), more.end());
}

inline void append_checksum(Bytes* bytes) {
  const uint32_t sum = crc(*bytes);
  for (int i = 0; i < 4; ++i) bytes->push_back(static_cast<uint8_t>(sum >> (8 * i)));
}

inline std::string step_code(Wide change) {
  for (auto [prefix, width] : std::vector<std::pair<std::string, int>>{{"0", 5}, {"10", 9}, {"110", 14}, {"111", 22}}) {
    const Wide half = Wide{1} << (width - 1);
    if (change >= -half && change < half) return prefix + binary(change, width);
  }
  return "does not fit";
}

struct XorWindow {
  size_t begin = 0, end = 0;  // positions in the 64 characters; empty: none
};

inline std::string xor_code(uint64_t now, uint64_t before, XorWindow* window) {
  const std::string x = binary(now ^ before, 64);
  const size_t begin = std::min<size_t>(x.find('1'), 31);
  const size_t end = x.rfind('1') + 1;
  const std::string anew = "1" + binary(static_cast<Wide>(begin), 5) + binary(static_cast<Wide>(end - begin - 1), 6) +
                           x.substr(begin, end - begin);
  if (window->end > window->begin && window->begin <= begin && window->end >= end) {
    const std::string again = "0" + x.substr(window->begin, window->end - window->begin);
    if (again.size() <= anew.size()) return again;
  }
  *window = {begin, end};
  return anew;
}

inline std::string delta_code(uint64_t now, uint64_t before) {
  const auto d = static_cast<int64_t>(now - before);
  const Wide z = (d >= 0 ? Wide{d} * 2 : -Wide{d} * 2 - 1) - 1;
  for (auto [prefix, width] : std::vector<std::pair<std::string, int>>{
           {"0", 4}, {"10", 8}, {"110", 12}, {"1110", 20}, {"11110", 32}, {"11111", 64}}) {
    if (z < Wide{1} << width) return prefix + binary(z, width);
  }
  return "does not fit";
}

struct Extent {
  int64_t t_min, t_max;
  bool unordered;
};

inline Extent extent(const std::vector<Point>& points) {
  Extent e{points[0].time_ms, points[0].time_ms, false};
  for (size_t i = 1; i < points.size(); ++i) {
    e.t_min = std::min(e.t_min, points[i].time_ms);
    e.t_max = std::max(e.t_max, points[i].time_ms);
    if (points[i].time_ms <= points[i - 1].time_ms) e.unordered = true;
  }
  return e;
}

// `head_bytes`, if asked for: how many bytes stand before the bits.
inline Bytes encode(const BlockOptions& options, const std::vector<Point>& points, size_t* head_bytes = nullptr) {
  const Extent e = extent(points);
  const bool is_xor = options.type == ValueType::kF64;
  Bytes out{0xB1, static_cast<uint8_t>(is_xor ? 1 : 2)};
  out.push_back(static_cast<uint8_t>(static_cast<int>(options.type) + (options.write_boot ? 16 : 0) +
                                     (e.unordered ? 32 : 0) + (options.clock > 0 ? 64 : 0)));
  if (options.write_boot) {
    for (int i = 0; i < 8; ++i) out.push_back(static_cast<uint8_t>(options.boot >> (8 * i)));
  }
  if (options.clock > 0) append(&out, varint(options.clock));
  if (options.type == ValueType::kDec) out.push_back(options.scale);
  append(&out, varint(options.ref));
  append(&out, varint(options.first_ordinal));
  append(&out, varint(points.size()));
  append(&out, zigzag(e.t_min));
  append(&out, varint(static_cast<uint64_t>(Wide{e.t_max} - e.t_min)));
  append(&out, varint(options.tick_ms));
  if (e.unordered) append(&out, varint(static_cast<uint64_t>(points[0].time_ms - e.t_min) / options.tick_ms));
  if (is_xor) {
    for (int i = 0; i < 8; ++i) out.push_back(static_cast<uint8_t>(points[0].bits >> (8 * i)));
  } else {
    append(&out, zigzag(static_cast<int64_t>(points[0].bits)));
  }
  if (head_bytes != nullptr) *head_bytes = out.size();
  std::string bits;
  XorWindow window;
  Wide step = 0;
  for (size_t i = 1; i < points.size(); ++i) {
    const Wide now = (Wide{points[i].time_ms} - points[i - 1].time_ms) / options.tick_ms;
    const bool same = points[i].bits == points[i - 1].bits;
    if (now == step) {
      bits += same ? "0" : "10";
    } else {
      bits += "11" + step_code(now - step) + (same ? "0" : "1");
    }
    step = now;
    if (same) continue;
    bits +=
        is_xor ? xor_code(points[i].bits, points[i - 1].bits, &window) : delta_code(points[i].bits, points[i - 1].bits);
  }
  while (bits.size() % 8 != 0) bits += '0';
  for (size_t i = 0; i < bits.size(); i += 8)
    out.push_back(static_cast<uint8_t>(std::stoi(bits.substr(i, 8), nullptr, 2)));
  append_checksum(&out);
  return out;
}

// Decodes the bits of a block made by encode(), given what its head says; nothing is checked.
inline std::vector<Point> decode_bits(const BlockOptions& options, Point first, size_t count, const std::string& bits) {
  std::vector<Point> points{first};
  size_t at = 0;
  const auto flag = [&] { return bits.at(at++) == '1'; };
  const auto number = [&](int width) {
    uint64_t value = 0;
    for (int i = 0; i < width; ++i) value = value * 2 + (flag() ? 1 : 0);
    return value;
  };
  int64_t step = 0;
  int lead = 0, length = 0;
  while (points.size() < count) {
    Point next = points.back();
    bool changed = flag();
    if (changed && flag()) {
      const int width = !flag() ? 5 : !flag() ? 9 : !flag() ? 14 : 22;
      int64_t change = static_cast<int64_t>(number(width));
      if (change >= int64_t{1} << (width - 1)) change -= int64_t{1} << width;
      step += change;
      changed = flag();
    }
    next.time_ms += step * options.tick_ms;
    if (changed && options.type == ValueType::kF64) {
      if (flag()) {
        lead = static_cast<int>(number(5));
        length = static_cast<int>(number(6)) + 1;
      }
      next.bits ^= number(length) << (64 - lead - length);
    } else if (changed) {
      const int width = !flag() ? 4 : !flag() ? 8 : !flag() ? 12 : !flag() ? 20 : !flag() ? 32 : 64;
      const Wide z = Wide{number(width)} + 1;
      const auto half = static_cast<uint64_t>(z / 2);
      next.bits += z % 2 == 0 ? half : uint64_t{0} - half - 1;
    }
    points.push_back(next);
  }
  return points;
}

// Points of every kind that breaks codecs: runs, jumps, patterns of floats, extremes, times that jitter and go back.
class Inputs {
 public:
  explicit Inputs(uint64_t seed) : random_(seed) {}

  uint64_t below(uint64_t n) { return random_() % n; }

  BlockOptions options() {
    BlockOptions o;
    const ValueType types[] = {ValueType::kF64, ValueType::kF64, ValueType::kI64, ValueType::kDec, ValueType::kState};
    o.type = types[below(5)];
    o.scale = static_cast<uint8_t>(o.type == ValueType::kDec ? below(kScaleMax + 1) : 0);
    o.boot = random_();
    o.write_boot = below(2) == 0;
    o.ref = static_cast<uint32_t>(random_() >> (32 + below(32)));
    o.clock = below(3) == 0 ? static_cast<uint32_t>(random_() >> (32 + below(32))) : 0;
    o.first_ordinal = below(8) == 0 ? (uint64_t{1} << 63) - kBlockPointsMax : random_() >> (1 + below(63));
    if (o.first_ordinal > (uint64_t{1} << 63) - kBlockPointsMax) o.first_ordinal = 0;
    const uint32_t ticks[] = {1, 1, 1, 10, 100, 1000, 7, 60'000, 600'000};
    o.tick_ms = ticks[below(9)];
    return o;
  }

  // Up to `count` points that fit one block.
  std::vector<Point> points(const BlockOptions& options, size_t count) {
    const int64_t bases[] = {0, 1'700'000'000'000, -5, INT64_MIN, INT64_MAX - kBlockSpanMsMax, INT64_MIN + 1};
    const int64_t base = bases[below(6)];
    const int64_t span = kBlockSpanMsMax / options.tick_ms;
    const uint64_t way = below(5);
    const uint64_t kind = below(6);
    const int64_t even = 1 + static_cast<int64_t>(below(static_cast<uint64_t>(1 + span / 600)));
    std::vector<Point> points;
    int64_t at = way == 3 ? static_cast<int64_t>(below(static_cast<uint64_t>(span + 1))) : 0;
    uint64_t bits = value(kind, 0);
    while (points.size() < count) {
      if (at < 0 || at > span) break;
      points.push_back({base + at * static_cast<int64_t>(options.tick_ms), bits});
      if (way == 0) at += even;                                                         // steady
      if (way == 1) at += even + (below(4) == 0 ? static_cast<int64_t>(below(3)) : 0);  // jitter
      if (way == 2) at += static_cast<int64_t>(below(static_cast<uint64_t>(span) / 20 + 2));
      if (way == 3) at = static_cast<int64_t>(below(static_cast<uint64_t>(span + 1)));  // anything, twice too
      if (way == 4) at += static_cast<int64_t>(below(40)) - 15;
      bits = value(kind, bits);
    }
    return points;
  }

 private:
  uint64_t value(uint64_t kind, uint64_t last) {
    static const uint64_t special[] = {0,
                                       uint64_t{1} << 63,
                                       0x7FF0000000000000,
                                       0xFFF0000000000000,
                                       0x7FF8000000000000,
                                       0x7FF0000000000001,
                                       0xFFFFFFFFFFFFFFFF,
                                       0x7FFFFFFFFFFFFFFF,
                                       1,
                                       0x000FFFFFFFFFFFFF,
                                       0x0010000000000000,
                                       0x7FEFFFFFFFFFFFFF,
                                       0x3FF0000000000000,
                                       0xFFFFFFFF00000000,
                                       0x00000000FFFFFFFF,
                                       0x8000000000000001};
    if (kind == 0) return random_();
    if (kind == 1) return special[below(16)];
    if (kind == 2) return below(10) == 0 ? last + 1 : last;
    if (kind == 3) return last + (random_() >> (1 + below(63))) * (below(2) == 0 ? 1 : ~uint64_t{0});
    if (kind == 4) return last ^ (random_() >> below(64) << below(64));
    const double reading = static_cast<double>(static_cast<int64_t>(below(20'000)) - 10'000) / 100.0;
    uint64_t bits;
    __builtin_memcpy(&bits, &reading, 8);
    return bits;
  }

  std::mt19937_64 random_;
};

}  // namespace lambda::reference
