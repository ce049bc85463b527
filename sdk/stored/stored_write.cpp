// Writing blocks in any codec, and choosing among them.
#include "codes.h"
#include "expect.h"
#include "lambda/codecs.h"
#include "stored_head.h"
#include "wide_codes.h"

namespace lambda {
namespace {

using packed::Columns;
using packed::Four;
using packed::load_four;
using packed::store_four;

uint64_t gcd(uint64_t a, uint64_t b) {
  while (b != 0) {
    const uint64_t rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}

uint64_t distance(int64_t a, int64_t b) {
  return a < b ? static_cast<uint64_t>(b) - static_cast<uint64_t>(a)
               : static_cast<uint64_t>(a) - static_cast<uint64_t>(b);
}

// The extent of a run of points as far as it was looked at.
struct Extent {
  int64_t t_min;
  int64_t t_max;
  uint64_t tick = 0;  // divides every distance; 0: all points have one time

  explicit Extent(int64_t first) : t_min(first), t_max(first) {}
  // Distances that repeat, as most do, are divided once.
  void add(int64_t time, int64_t last) {
    t_min = time < t_min ? time : t_min;
    t_max = time > t_max ? time : t_max;
    const uint64_t step = distance(time, last);
    if (step == last_step_) return;
    last_step_ = step;
    if (tick != 1) tick = gcd(step, tick);
  }
  // Of a time that cannot change the tick, as that is 1.
  void add(int64_t time) {
    t_min = time < t_min ? time : t_min;
    t_max = time > t_max ? time : t_max;
  }
  bool fits(int64_t span_ms_max) const {
    const uint64_t span = distance(t_min, t_max);
    if (span > static_cast<uint64_t>(span_ms_max)) return false;
    return span <= kSpanTicksMax || (tick <= UINT32_MAX && span / tick <= kSpanTicksMax);
  }

 private:
  uint64_t last_step_ = 0;
};

// Whether times do not rise, and whether their steps differ.
struct Order {
  bool falls, is_uneven;
};

// Points apart, times from the first one on, modulo 2^64. A step that does not rise has its highest bit set, or has it
// when one is taken off.
LAMBDA_INLINE Order take_apart_any(std::span<const Point> points, Columns* columns) {
  static_assert(sizeof(Point) == 16, "nothing in it but the time and the bits");
  constexpr size_t kAhead = 64;  // points that memory is asked for
  const auto first = static_cast<uint64_t>(points[0].time_ms);
  const size_t count = points.size();
  const uint64_t step = count > 1 ? static_cast<uint64_t>(points[1].time_ms) - first : 1;
  uint64_t falling = 0, uneven = 0;
  columns->count = count;
  columns->ticks[0] = 0;
  columns->bits[0] = points[0].bits;
  Four falling_four = {}, uneven_four = {}, last = {};
  size_t i = 1;
  for (; i + 4 <= count; i += 4) {
    __builtin_prefetch(&points[i] + kAhead);
    Four a, b;
    load_four(&points[i], &a);
    load_four(&points[i + 2], &b);
    const Four times = __builtin_shufflevector(a, b, 0, 2, 4, 6) - first;
    store_four(times, columns->ticks + i);
    store_four(__builtin_shufflevector(a, b, 1, 3, 5, 7), columns->bits + i);
    const Four steps = times - __builtin_shufflevector(last, times, 3, 4, 5, 6);
    falling_four |= steps - 1;
    uneven_four |= steps ^ step;
    last = times;
  }
  for (; i < count; ++i) {
    columns->ticks[i] = static_cast<uint64_t>(points[i].time_ms) - first;
    columns->bits[i] = points[i].bits;
    const uint64_t next = columns->ticks[i] - columns->ticks[i - 1];
    falling |= next - 1;
    uneven |= next ^ step;
  }
  for (size_t k = 0; k < 4; ++k) {
    falling |= falling_four[k];
    uneven |= uneven_four[k];
  }
  return {falling >> 63 != 0, uneven != 0};
}

Order take_apart_anywhere(std::span<const Point> points, Columns* columns) {
  return take_apart_any(points, columns);
}
#ifdef LAMBDA_AVX2
LAMBDA_AVX2 Order take_apart_avx2(std::span<const Point> points, Columns* columns) {
  return take_apart_any(points, columns);
}
#endif

Order take_apart(std::span<const Point> points, Columns* columns) {
#ifdef LAMBDA_AVX2
  if (packed::has_avx2()) return take_apart_avx2(points, columns);
#endif
  return take_apart_anywhere(points, columns);
}

// What a head says of points. They are taken apart into `columns`, with times in milliseconds from the first one on.
BlockInfo info_of(const BlockOptions& options, std::span<const Point> points, Columns* columns) {
  LAMBDA_EXPECT(!points.empty() && points.size() <= kBlockPointsMax);
  LAMBDA_EXPECT(options.first_ordinal <= (uint64_t{1} << 63) - kBlockPointsMax && options.scale <= kScaleMax);
  BlockInfo info;
  const Order order = take_apart(points, columns);
  Extent extent(points[0].time_ms);
  extent.add(points.back().time_ms);
  if (!order.falls && !order.is_uneven) {
    extent.tick = points.size() > 1 ? columns->ticks[1] : 0;
    columns->is_even = points.size() > 1;
  } else {
    size_t looked_at = 1;
    for (; looked_at < points.size() && extent.tick != 1; ++looked_at) {
      extent.add(points[looked_at].time_ms, points[looked_at - 1].time_ms);
    }
    if (order.falls) {
      for (size_t i = looked_at; i < points.size(); ++i) extent.add(points[i].time_ms);
    }
  }
  LAMBDA_EXPECT(extent.fits(kLongSpanMsMax));
  info.boot = options.boot;
  info.first_ordinal = options.first_ordinal;
  info.t_min = extent.t_min;
  info.t_max = extent.t_max;
  info.ref = options.ref;
  info.clock = options.clock;
  info.count = static_cast<uint32_t>(points.size());
  info.tick_ms = extent.tick == 0 ? 1 : static_cast<uint32_t>(extent.tick);
  info.type = options.type;
  info.scale = options.type == ValueType::kDec ? options.scale : 0;
  info.has_boot = options.write_boot;
  info.unordered = order.falls;
  return info;
}

int32_t ticks_between(int64_t from, int64_t to, uint32_t tick_ms) {
  const auto ticks = static_cast<int32_t>(distance(from, to) / tick_ms);
  return to < from ? -ticks : ticks;
}

#ifdef LAMBDA_WIDE_CODES
template <Codec codec>
[[gnu::always_inline]] inline uint8_t* write_codes_wide(uint32_t tick_ms, std::span<const Point> points, uint8_t* out) {
  constexpr Codec kCodes = codec == Codec::kSlope64 ? Codec::kDelta64 : codec;  // slopes are deltas of differences
  CodeState state;
  if (codec != Codec::kSlope64) state.last_bits = codec == Codec::kXor32 ? points[0].bits << 32 : points[0].bits;
  WideSink sink{out, 0, 0};
  int64_t last_distance = 0;
  int32_t step = 0;
  for (size_t i = 1; i < points.size(); ++i) {
    uint64_t bits = points[i].bits;
    if (codec == Codec::kXor32) bits <<= 32;
    if (codec == Codec::kSlope64) bits -= points[i - 1].bits;
    const int64_t distance = points[i].time_ms - points[i - 1].time_ms;
    if (distance != last_distance) {
      last_distance = distance;
      step = static_cast<int32_t>(tick_ms == 1 ? distance : distance / static_cast<int64_t>(tick_ms));
    }
    put_point<kCodes>(&sink, &state, step, bits);
  }
  return sink.fill > 0 ? sink.out + 1 : sink.out;
}

template <Codec codec>
uint8_t* write_codes_anywhere(uint32_t tick_ms, std::span<const Point> points, uint8_t* out) {
  return write_codes_wide<codec>(tick_ms, points, out);
}
#ifdef LAMBDA_BMI
template <Codec codec>
LAMBDA_BMI uint8_t* write_codes_bmi(uint32_t tick_ms, std::span<const Point> points, uint8_t* out) {
  return write_codes_wide<codec>(tick_ms, points, out);
}
#endif

template <Codec codec>
uint8_t* write_codes(const BlockInfo& info, std::span<const Point> points, uint8_t* out) {
#ifdef LAMBDA_BMI
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2")) {
    return write_codes_bmi<codec>(info.tick_ms, points, out);
  }
#endif
  return write_codes_anywhere<codec>(info.tick_ms, points, out);
}
#else
template <Codec codec>
uint8_t* write_codes(const BlockInfo& info, std::span<const Point> points, uint8_t* out) {
  constexpr Codec kCodes = codec == Codec::kSlope64 ? Codec::kDelta64 : codec;  // slopes are deltas of differences
  CodeState state;
  if (codec != Codec::kSlope64) state.last_bits = codec == Codec::kXor32 ? points[0].bits << 32 : points[0].bits;
  for (size_t i = 1; i < points.size(); ++i) {
    uint64_t bits = points[i].bits;
    if (codec == Codec::kXor32) bits <<= 32;
    if (codec == Codec::kSlope64) bits -= points[i - 1].bits;
    out =
        encode_point<kCodes>(&state, ticks_between(points[i - 1].time_ms, points[i].time_ms, info.tick_ms), bits, out);
  }
  return state.fill > 0 ? out + 1 : out;
}
#endif

uint8_t* write_runs(const BlockInfo& info, std::span<const Point> points, uint8_t* out) {
  CodeState state;
  uint64_t value = 0;
  kRuns64Coding.start(points[0].bits, &state, &value);
  for (size_t i = 1; i < points.size(); ++i) {
    const int32_t step = ticks_between(points[i - 1].time_ms, points[i].time_ms, info.tick_ms);
    out = kRuns64Coding.encode(&state, &value, step, points[i].bits, out);
  }
  return has_partial_byte(Codec::kRuns64, state) ? out + 1 : out;
}

std::span<const uint8_t> finish(uint8_t* begin, uint8_t* end) {
  const auto body = static_cast<size_t>(end - begin);
  const uint32_t crc = crc32c({begin, body});
  for (size_t i = 0; i < kChecksumBytes; ++i) end[i] = static_cast<uint8_t>(crc >> (8 * i));
  return {begin, body + kChecksumBytes};
}

std::span<const uint8_t> write_stream(BlockInfo info, Codec codec, const Aggregates* aggregates,
                                      std::span<const Point> points, uint8_t* space) {
  LAMBDA_EXPECT(codec != Codec::kPacked && holds<true>(codec, info.type));
  info.codec = codec;
  uint8_t* const bits = space + write_stored_head(info, points[0], aggregates, space);
  switch (codec) {
    case Codec::kXor64:
      return finish(space, write_codes<Codec::kXor64>(info, points, bits));
    case Codec::kXor32:
      return finish(space, write_codes<Codec::kXor32>(info, points, bits));
    case Codec::kSlope64:
      return finish(space, write_codes<Codec::kSlope64>(info, points, bits));
    case Codec::kRuns64:
      return finish(space, write_runs(info, points, bits));
    case Codec::kDelta64:
    case Codec::kPacked:
      break;
  }
  return finish(space, write_codes<Codec::kDelta64>(info, points, bits));
}

// Divides multiples of a number: by what is its inverse among the integers modulo 2^64, once its twos are shifted out.
struct ExactDivision {
  int twos;
  uint64_t inverse;

  explicit ExactDivision(uint32_t divisor) : twos(__builtin_ctz(divisor)), inverse(divisor >> twos) {
    const uint64_t odd = inverse;  // its own inverse in the lowest three bits; each round doubles how many are right
    for (int round = 0; round < 5; ++round) inverse *= 2 - odd * inverse;
  }
  uint64_t operator()(uint64_t multiple) const { return (multiple >> twos) * inverse; }
};

// Empty: packing does not pay.
std::span<const uint8_t> write_packed(BlockInfo info, const Aggregates* aggregates, std::span<const Point> points,
                                      Columns* columns, std::span<uint8_t> space) {
  constexpr size_t kTouchedBehind = 32;  // bytes that the encoder may clear behind what it writes
  info.codec = Codec::kPacked;
  const auto before = static_cast<uint64_t>(points[0].time_ms) - static_cast<uint64_t>(info.t_min);
  if (!columns->is_even && (info.tick_ms != 1 || before != 0)) {
    const ExactDivision by_tick(info.tick_ms);
    for (size_t i = 0; i < points.size(); ++i) columns->ticks[i] = by_tick(columns->ticks[i] + before);
  }
  const size_t head = write_stored_head(info, points[0], aggregates, space.data());
  if (space.size() < head + kTouchedBehind + kChecksumBytes) return {};
  const size_t payload = packed::encode_packed(info.type, columns, space.data() + head,
                                               space.size() - head - kTouchedBehind - kChecksumBytes);
  if (payload == 0) return {};
  return finish(space.data(), space.data() + head + payload);
}

bool gives_back(std::span<const uint8_t> block, std::span<const Point> points) {
  Point decoded[kBlockPointsMax];
  BlockInfo info;
  if (!read_block(block, 0, &info, decoded, kLongSpanMsMax).ok() || info.count != points.size()) return false;
  static_assert(sizeof(Point) == 16, "nothing in it but the time and the bits");
  return __builtin_memcmp(decoded, points.data(), points.size_bytes()) == 0;
}

// Whether xor64 is to need more than `bytes`, going by a quarter of the points, eight here and eight there: of each
// change of the time step the shortest, and of each value its own bits and what tells of its window. That takes two
// bits at least; with what a window is too wide it has never been seen to take less than five.
bool xor64_is_to_need_more(size_t bytes, const Columns& columns) {
  constexpr size_t kStepChange = 7;  // '11' instead of '10', then '0', five bits and a flag
  constexpr size_t kWindow = 5;
  constexpr size_t kLookAt = 8, kApart = 32;
  const uint64_t* const ticks = columns.ticks;
  const uint64_t* const values = columns.bits;
  size_t bits = 0;
  size_t looked_at = 0;
  for (size_t begin = 2; begin + kLookAt <= columns.count; begin += kApart, looked_at += kLookAt) {
    for (size_t i = begin; i < begin + kLookAt; ++i) {
      bits += !columns.is_even && ticks[i] - ticks[i - 1] != ticks[i - 1] - ticks[i - 2] ? kStepChange : 0;
      const uint64_t x = values[i] ^ values[i - 1];
      const auto zeros = static_cast<size_t>(__builtin_clzll(x | 1));
      const size_t lead = zeros < 31 ? zeros : 31;
      const auto trail = static_cast<size_t>(__builtin_ctzll(x | uint64_t{1} << 63));
      bits += x == 0 ? 1 : kWindow + 64 - lead - trail;
    }
  }
  return bits * columns.count > bytes * 8 * looked_at;
}

}  // namespace

size_t points_that_fit(std::span<const Point> points, int64_t span_ms_max) {
  if (points.empty()) return 0;
  Extent extent(points[0].time_ms);
  size_t count = 1;
  for (; count < points.size() && count < kBlockPointsMax; ++count) {
    extent.add(points[count].time_ms, points[count - 1].time_ms);
    if (!extent.fits(span_ms_max)) break;
  }
  return count;
}

std::span<const uint8_t> write_block(const StoredOptions& options, Codec codec, std::span<const Point> points,
                                     std::span<uint8_t> space) {
  LAMBDA_EXPECT(space.size() >= stored_bytes_max(points.size()));
  Columns columns;
  const BlockInfo info = info_of(options.block, points, &columns);
  const Aggregates all = options.aggregates ? aggregates_of(info.type, points) : Aggregates();
  return write_stream(info, codec, options.aggregates ? &all : nullptr, points, space.data());
}

std::span<const uint8_t> pack_block(const StoredOptions& options, std::span<const Point> points,
                                    std::span<uint8_t> space) {
  // A streaming codec takes a bit a point at least, and that of floats hardly ever less than packing does when that is
  // good at all.
  constexpr size_t kWorthIntegers = 2, kWorthFloats = 12;
  LAMBDA_EXPECT(space.size() >= stored_bytes_max(points.size()));
  Columns columns;
  const BlockInfo info = info_of(options.block, points, &columns);
  const Aggregates all = options.aggregates ? aggregates_of(info.type, points) : Aggregates();
  const Aggregates* const aggregates = options.aggregates ? &all : nullptr;
  const bool is_float = info.type == ValueType::kF64 || info.type == ValueType::kF32;
  const size_t worth = is_float ? kWorthFloats : kWorthIntegers;
  std::span<const uint8_t> best = write_packed(info, aggregates, points, &columns, space);
  if (!best.empty() && !gives_back(best, points)) best = {};
  if (best.empty() || points.size() < packed::kMini || best.size() * 8 > points.size() * worth) {
    uint8_t other_space[stored_bytes_max(kBlockPointsMax)];
    for (const Codec codec : {Codec::kXor64, Codec::kXor32, Codec::kDelta64, Codec::kSlope64, Codec::kRuns64}) {
      if (!holds<true>(codec, info.type)) continue;
      if (codec == Codec::kRuns64 && info.type != ValueType::kState) continue;  // hardly ever the smallest
      if (codec == Codec::kXor64 && !best.empty() && xor64_is_to_need_more(best.size(), columns)) continue;
      const auto other = write_stream(info, codec, aggregates, points, other_space);
      if ((!best.empty() && other.size() >= best.size()) || !gives_back(other, points)) continue;
      __builtin_memcpy(space.data(), other.data(), other.size());
      best = {space.data(), other.size()};
    }
  }
  LAMBDA_EXPECT(!best.empty());  // the streaming codecs hold everything
  return best;
}

}  // namespace lambda
