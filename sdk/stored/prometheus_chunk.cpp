#include "lambda/prometheus_chunk.h"

#include "codes.h"
#include "expect.h"

namespace lambda {
namespace {

// Widths of a change of the time step, shortest first; what fits none takes 64 bits.
constexpr unsigned kStepBits[] = {14, 17, 20};
constexpr size_t kCountBytes = 2;

// The ranges are from -(2^(n-1) - 1) to 2^(n-1): one more on the upper side, not on the lower.
constexpr bool in_step_range(int64_t change, unsigned bits) {
  const int64_t half = int64_t{1} << (bits - 1);
  return change > -half && change <= half;
}

class Bits {
 public:
  explicit Bits(std::span<const uint8_t> bytes) : bytes_(bytes) {}
  bool good() const { return good_; }

  uint64_t take(unsigned count) {
    uint64_t value = 0;
    while (count > 0) {
      if (at_ >= bytes_.size() * 8) {
        good_ = false;
        return 0;
      }
      const unsigned left = 8 - static_cast<unsigned>(at_ % 8);
      const unsigned some = count < left ? count : left;
      const unsigned byte = bytes_[at_ / 8] >> (left - some) & ((1u << some) - 1);
      value = value << some | byte;
      at_ += some;
      count -= some;
    }
    return value;
  }

  uint64_t varint() {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && good_; shift += 7) {
      const uint64_t byte = take(8);
      if (shift == 63 && byte > 1) break;
      value |= (byte & 0x7F) << shift;
      if ((byte & 0x80) == 0) return value;
    }
    good_ = false;
    return 0;
  }

 private:
  std::span<const uint8_t> bytes_;
  size_t at_ = 0;
  bool good_ = true;
};

class Sink {
 public:
  explicit Sink(uint8_t* out) : sink_(out, CodeState()), out_(out) {}
  void put(uint64_t value, unsigned count) { sink_.put_long(value, count); }
  void varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) put((value & 0x7F) | 0x80, 8);
    put(value, 8);
  }
  size_t finish() {
    CodeState state;
    const uint8_t* const end = sink_.end(&state);
    return static_cast<size_t>(end - out_) + (state.fill > 0 ? 1 : 0);
  }

 private:
  BitSink sink_;
  uint8_t* out_;
};

struct Window {
  bool known = false;
  unsigned lead = 0;
  unsigned trail = 0;
};

// The window is used again whenever it covers, also where a new one would cost less: that is the format.
void put_value(Sink* sink, uint64_t x, Window* window) {
  if (x == 0) return sink->put(0, 1);
  auto lead = static_cast<unsigned>(__builtin_clzll(x));
  const auto trail = static_cast<unsigned>(__builtin_ctzll(x));
  if (lead > 31) lead = 31;
  if (window->known && lead >= window->lead && trail >= window->trail) {
    sink->put(0b10, 2);
    return sink->put(x >> window->trail, 64 - window->lead - window->trail);
  }
  *window = {true, lead, trail};
  const unsigned bits = 64 - lead - trail;
  sink->put(0b11, 2);
  sink->put(lead, 5);
  sink->put(bits & 63, 6);  // 64 is written as 0
  sink->put(x >> trail, bits);
}

void put_step_change(Sink* sink, int64_t change) {
  if (change == 0) return sink->put(0, 1);
  unsigned prefix = 0b10;
  unsigned length = 2;
  for (const unsigned bits : kStepBits) {
    if (in_step_range(change, bits)) {
      sink->put(prefix, length);
      return sink->put(static_cast<uint64_t>(change) & (~uint64_t{0} >> (64 - bits)), bits);
    }
    prefix = prefix << 1 | 0b10;
    ++length;
  }
  sink->put(0b1111, 4);
  sink->put(static_cast<uint64_t>(change), 64);
}

int64_t take_step_change(Bits* in) {
  if (in->take(1) == 0) return 0;
  for (const unsigned bits : kStepBits) {
    if (in->take(1) != 0) continue;
    auto change = static_cast<int64_t>(in->take(bits));
    if (change > int64_t{1} << (bits - 1)) change -= int64_t{1} << bits;
    return change;
  }
  return static_cast<int64_t>(in->take(64));
}

bool take_value(Bits* in, uint64_t* value, Window* window) {
  if (in->take(1) == 0) return true;
  if (in->take(1) != 0) {
    const auto lead = static_cast<unsigned>(in->take(5));
    auto bits = static_cast<unsigned>(in->take(6));
    if (bits == 0) bits = 64;
    if (lead + bits > 64) return false;
    *window = {true, lead, 64 - lead - bits};
  }
  if (!window->known) return false;
  *value ^= in->take(64 - window->lead - window->trail) << window->trail;
  return true;
}

}  // namespace

size_t write_prometheus_chunk(std::span<const Point> points, std::span<uint8_t> space) {
  LAMBDA_EXPECT(!points.empty() && points.size() <= kPrometheusPointsMax);
  LAMBDA_EXPECT(space.size() >= prometheus_chunk_bytes_max(points.size()));
  space[0] = static_cast<uint8_t>(points.size() >> 8);
  space[1] = static_cast<uint8_t>(points.size());
  Sink sink(space.data() + kCountBytes);
  Window window;
  uint64_t step = 0;  // times may wrap, as they do there
  for (size_t i = 0; i < points.size(); ++i) {
    const auto time = static_cast<uint64_t>(points[i].time_ms);
    if (i == 0) {
      sink.varint(zigzag(time));
      sink.put(points[0].bits, 64);
      continue;
    }
    const uint64_t now = time - static_cast<uint64_t>(points[i - 1].time_ms);
    if (i == 1) {
      sink.varint(now);
    } else {
      put_step_change(&sink, static_cast<int64_t>(now - step));
    }
    step = now;
    put_value(&sink, points[i].bits ^ points[i - 1].bits, &window);
  }
  return kCountBytes + sink.finish();
}

size_t prometheus_chunk_count(std::span<const uint8_t> chunk) {
  return chunk.size() < kCountBytes ? 0 : static_cast<size_t>(chunk[0]) << 8 | chunk[1];
}

bool read_prometheus_chunk(std::span<const uint8_t> chunk, std::span<Point> points) {
  const size_t count = prometheus_chunk_count(chunk);
  if (count == 0 || count > points.size()) return false;
  Bits in(chunk.subspan(kCountBytes));
  Window window;
  uint64_t time = unzigzag(in.varint());
  uint64_t value = in.take(64);
  uint64_t step = 0;
  for (size_t i = 0; i < count; ++i) {
    if (i > 0) {
      step = i == 1 ? in.varint() : step + static_cast<uint64_t>(take_step_change(&in));
      time += step;
      if (!take_value(&in, &value, &window)) return false;
    }
    if (!in.good()) return false;
    points[i] = {static_cast<int64_t>(time), value};
  }
  return true;
}

}  // namespace lambda
