// Decoding is compiled twice from the same text: for any processor, and for x86 with AVX2 and fused multiply-add. Both
// give the same bits: nothing here is reassociated, and fused is only what gives the same, decimal_bits().
#include "aggregate.h"
#include "packed.h"

namespace lambda {
namespace packed {
namespace {

// The order and the extent of times that come in steps. Of those that rise, as nearly all do, the first and the last
// are the extent.
struct TimeCheck {
  bool order_flag;  // the head says that they do not rise
  uint64_t all = 0;
  uint64_t first = 0;
  uint64_t last = 0;
  uint64_t low = UINT64_MAX;  // of those that do not rise
  uint64_t high = 0;
  bool begun = false;
  bool unordered = false;

  explicit TimeCheck(bool flag) : order_flag(flag) {}
  // `rise`: that each is greater than the one before it is known, and that only the first could be near 2^64.
  LAMBDA_INLINE void add(const uint64_t* ticks, size_t n, bool rise) {
    if (rise && !order_flag) {
      all |= ticks[0] | ticks[n - 1];
      go_on(ticks, n);
      return;
    }
    Four alls{};
    Four behinds{};
    size_t at = 1;
    for (; at + 4 <= n; at += 4) {
      Four these, before;
      load_four(ticks + at, &these);
      load_four(ticks + at - 1, &before);
      alls |= these;
      behinds |= these - before - 1;
    }
    all |= alls[0] | alls[1] | alls[2] | alls[3] | ticks[0];
    uint64_t behind = behinds[0] | behinds[1] | behinds[2] | behinds[3];
    for (; at < n; ++at) {
      all |= ticks[at];
      behind |= ticks[at] - ticks[at - 1] - 1;
    }
    unordered |= (behind >> 63) != 0;
    go_on(ticks, n);
    for (size_t i = 0; order_flag && i < n; ++i) {
      low = ticks[i] < low ? ticks[i] : low;
      high = ticks[i] > high ? ticks[i] : high;
    }
  }
  LAMBDA_INLINE void go_on(const uint64_t* ticks, size_t n) {
    unordered |= begun && ticks[0] <= last;
    if (!begun) first = ticks[0];
    last = ticks[n - 1];
    begun = true;
  }
  bool fits(uint32_t span) const {
    if (all >> 32 != 0 || unordered != order_flag) return false;
    return order_flag ? low == 0 && high == span : first == 0 && last == span;
  }
};

// The values of a block, as the reader gives them.
template <bool kFused>
struct ReadValues {
  LAMBDA_INLINE bool read(PackedReader* reader, size_t n, uint64_t* bits) const {
    return reader->next_values<kFused>(n, bits);
  }
  LAMBDA_INLINE void four(size_t, Four*) {}
  LAMBDA_INLINE uint64_t one(size_t, uint64_t bits) { return bits; }
  void finish(PackedReader*, size_t, Point*) const {}
  bool fine() const { return true; }
};

// Those of a block of decimals, made while the points are written: they go through memory once less. kUlps: the block
// has a second column, which is read to `ulps`, 128 of them. (That is none of the members: compilers keep these in
// registers as long as nothing points to them.)
template <bool kFused, bool kUlps>
class Quotients {
 public:
  Quotients(const PackedReader& reader, uint64_t* ulps) : power_(reader.power), inverse_(reader.inverse), ulps_(ulps) {}
  LAMBDA_INLINE bool read(PackedReader* reader, size_t n, uint64_t* integers) {
    if (kUlps && !reader->second.read(reader->index / kMini, n, ulps_)) return false;
    return reader->next_integers(n, integers);
  }
  // Those of the points from the `at`th on of what was read last.
  LAMBDA_INLINE void four(size_t at, Four* integers) {
    outside_ |= *integers + static_cast<uint64_t>(kDecimalEnd);
    Four quotients;
    for (size_t i = 0; i < 4; ++i) {
      quotients[i] = decimal_bits<kFused>(false, static_cast<int64_t>((*integers)[i]), power_, inverse_);
    }
    *integers = quotients;
    if (!kUlps) return;
    Four ulps;
    load_four(ulps_ + at, &ulps);
    *integers += ulps;
  }
  LAMBDA_INLINE uint64_t one(size_t at, uint64_t integer) {
    outside_[0] |= integer + static_cast<uint64_t>(kDecimalEnd);
    const uint64_t quotient = decimal_bits<kFused>(false, static_cast<int64_t>(integer), power_, inverse_);
    return kUlps ? quotient + ulps_[at] : quotient;
  }
  // To be called with the points that were written.
  LAMBDA_INLINE void finish(PackedReader* reader, size_t n, Point* points) const {
    put_exceptions(reader, n, [&](size_t i, uint64_t exception) { points[i].bits = exception; });
  }
  // False: an integer was too large for its float.
  bool fine() const { return (outside_[0] | outside_[1] | outside_[2] | outside_[3]) >> 52 == 0; }

 private:
  const double power_;
  const double inverse_;
  uint64_t* const ulps_;
  Four outside_{};
};

// Four times and their values, as points. The times come as cross() puts them: then the rest is done within halves of a
// vector, which is what processors are quick at.
LAMBDA_INLINE void cross(Four* four) {
  *four = __builtin_shufflevector(*four, *four, 0, 2, 1, 3);
}
template <class Values>
LAMBDA_INLINE void write_four(const Four& crossed_times, const uint64_t* bits, size_t at, Values* made, Point* out) {
  static_assert(sizeof(Point) == 16 && offsetof(Point, time_ms) == 0 && offsetof(Point, bits) == 8);
  Four values;
  load_four(bits + at, &values);
  made->four(at, &values);
  cross(&values);
  store_four(__builtin_shufflevector(crossed_times, values, 0, 4, 2, 6), out + at);
  store_four(__builtin_shufflevector(crossed_times, values, 1, 5, 3, 7), out + at + 2);
}

struct PointSink {
  static constexpr bool kMakesValues = true;
  Point* out;
  // Points whose times rise by one step from `tick` on.
  template <class Values>
  LAMBDA_INLINE void take_even(PackedReader* reader, uint64_t tick, uint64_t step, const uint64_t* bits, size_t n,
                               Values* values) {
    const BlockInfo& info = reader->info;
    const uint64_t first = static_cast<uint64_t>(info.t_min) + tick * info.tick_ms;
    const uint64_t step_ms = step * info.tick_ms;
    Point* const to = out;
    Four times = {first, first + 2 * step_ms, first + step_ms, first + 3 * step_ms};  // crossed
    size_t i = 0;
    for (; i + 4 <= n; i += 4, times += 4 * step_ms) write_four(times, bits, i, values, to);
    for (; i < n; ++i) to[i] = {static_cast<int64_t>(first + i * step_ms), values->one(i, bits[i])};
    values->finish(reader, n, to);
    out += n;
  }
  template <class Values>
  LAMBDA_INLINE void take(PackedReader* reader, const uint64_t* ticks, const uint64_t* bits, size_t n, Values* values) {
    const auto first = static_cast<uint64_t>(reader->info.t_min);
    const uint32_t tick_ms = reader->info.tick_ms;
    Point* const to = out;
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
      Four times;
      load_four(ticks + i, &times);
      times = (times & 0xFFFFFFFF) * tick_ms;  // both are below 2^32
      times += first;
      cross(&times);
      write_four(times, bits, i, values, to);
    }
    for (; i < n; ++i) {
      const uint64_t since = static_cast<uint64_t>(static_cast<uint32_t>(ticks[i])) * tick_ms;
      to[i] = {static_cast<int64_t>(first + since), values->one(i, bits[i])};
    }
    values->finish(reader, n, to);
    out += n;
  }
};

struct AggregateSink {
  static constexpr bool kMakesValues = false;
  uint64_t from;  // ticks, both included
  uint64_t to;
  Aggregator* aggregator;
  template <class Values>
  LAMBDA_INLINE void take_even(PackedReader* reader, uint64_t tick, uint64_t step, const uint64_t* bits, size_t n,
                               Values* values) {
    uint64_t ticks[kMini];
    for (size_t i = 0; i < n; ++i) ticks[i] = tick + i * step;
    take(reader, ticks, bits, n, values);
  }
  template <class Values>
  LAMBDA_INLINE void take(PackedReader*, const uint64_t* ticks, const uint64_t* bits, size_t n, Values*) {
    uint64_t wanted[kMini];
    for (size_t i = 0; i < n; ++i) wanted[i] = ticks[i] >= from && ticks[i] <= to ? ~uint64_t{0} : 0;
    aggregator->add(bits, wanted, n);
  }
};

// Whether the times are 0, step, 2 x step ... up to the span, as they nearly always are.
bool is_even(const PackedReader& reader, uint32_t span) {
  const ColumnReader& times = reader.times;
  const uint64_t steps = reader.info.count - 1;
  return times.form == ColumnForm::kEven && times.base == 0 && times.slope >= 1 && times.slope <= span &&
         times.slope * steps == span && !reader.info.unordered;
}

template <class Sink, class Values>
LAMBDA_INLINE bool decode_even(PackedReader* reader, Sink* sink, Values* values) {
  alignas(32) uint64_t bits[kMini];
  const uint64_t step = reader->times.slope;
  uint64_t tick = 0;
  size_t left = reader->info.count;
  for (; left >= kMini; left -= kMini, tick += kMini * step) {
    if (!values->read(reader, kMini, bits)) return false;
    sink->take_even(reader, tick, step, bits, kMini, values);
  }
  if (left == 0) return true;
  if (!values->read(reader, left, bits)) return false;
  sink->take_even(reader, tick, step, bits, left, values);
  return true;
}

template <class Sink, class Values>
LAMBDA_INLINE bool decode_timed(PackedReader* reader, TimeCheck* check, Sink* sink, Values* values) {
  alignas(32) uint64_t ticks[kMini];
  alignas(32) uint64_t bits[kMini];
  size_t left = reader->info.count;
  for (size_t piece = 0; left >= kMini; left -= kMini, ++piece) {
    if (!reader->times.read(piece, kMini, ticks) || !values->read(reader, kMini, bits)) return false;
    check->add(ticks, kMini, reader->times.rises(piece));
    sink->take(reader, ticks, bits, kMini, values);
  }
  if (left == 0) return true;
  const size_t rest = reader->index / kMini;
  if (!reader->times.read(rest, left, ticks) || !values->read(reader, left, bits)) return false;
  check->add(ticks, left, reader->times.rises(rest));
  sink->take(reader, ticks, bits, left, values);
  return true;
}

template <class Sink, class Values>
LAMBDA_INLINE bool decode_with(PackedReader* reader, uint32_t span, Sink* sink, Values* values, bool* times_wrong) {
  *times_wrong = false;
  if (is_even(*reader, span)) return decode_even(reader, sink, values) && values->fine();
  TimeCheck check(reader->info.unordered);
  if (!decode_timed(reader, &check, sink, values) || !values->fine()) return false;
  *times_wrong = !check.fits(span);
  return !*times_wrong;
}

template <bool kFused, class Sink>
LAMBDA_INLINE bool decode(PackedReader* reader, uint32_t span, Sink* sink, bool* times_wrong) {
  if constexpr (Sink::kMakesValues) {
    if (reader->form == ValueForm::kDecimal && reader->info.type == ValueType::kF64) {
      if (reader->has_no_ulps()) {
        Quotients<kFused, false> quotients(*reader, nullptr);
        return decode_with(reader, span, sink, &quotients, times_wrong);
      }
      alignas(32) uint64_t ulps[kMini];
      Quotients<kFused, true> quotients(*reader, ulps);
      return decode_with(reader, span, sink, &quotients, times_wrong);
    }
  }
  ReadValues<kFused> values;
  return decode_with(reader, span, sink, &values, times_wrong);
}

template <class Sink>
bool decode_anywhere(PackedReader* reader, uint32_t span, Sink* sink, bool* times_wrong) {
  return decode<false>(reader, span, sink, times_wrong);
}

#ifdef LAMBDA_AVX2_FMA
template <class Sink>
LAMBDA_AVX2_FMA bool decode_avx2(PackedReader* reader, uint32_t span, Sink* sink, bool* times_wrong) {
  return decode<true>(reader, span, sink, times_wrong);
}
#endif

template <class Sink>
bool decode_here(PackedReader* reader, uint32_t span, Sink* sink, bool* times_wrong) {
#ifdef LAMBDA_AVX2_FMA
  if (has_avx2() && __builtin_cpu_supports("fma")) return decode_avx2(reader, span, sink, times_wrong);
#endif
  return decode_anywhere(reader, span, sink, times_wrong);
}

bool read_entries(PackedReader* reader, Input* in) {
  const bool split = reader->form == ValueForm::kSplit;
  if (split) {
    reader->cut = in->u8();
    if (reader->cut < 1 || reader->cut > 63) return false;
  }
  const uint64_t count = in->varint();
  if (!in->good || count < 1 || count > (split ? kHighsMax : kEntriesMax)) return false;
  reader->entry_count = static_cast<size_t>(count);
  ColumnReader column;
  column.open(in, reader->entry_count);
  if (!in->good) return false;
  for (size_t at = 0; at < count; at += kMini) {
    const size_t n = count - at < kMini ? static_cast<size_t>(count) - at : kMini;
    if (!column.read(at / kMini, n, reader->entries + at)) return false;
  }
  for (size_t i = 0; split && i < count; ++i) {
    if (reader->entries[i] > low_bits(64 - reader->cut)) return false;
  }
  return true;
}

bool read_exceptions(PackedReader* reader, Input* in) {
  const uint8_t exponent = in->u8();
  const uint64_t count = in->varint();
  if (!in->good || exponent > kDecimalMax || count > reader->info.count) return false;
  reader->power = kPowers[exponent];
  reader->inverse = 1 / reader->power;
  reader->exception_count = static_cast<size_t>(count);
  reader->exceptions = in->take(static_cast<size_t>(count) * kExceptionBytes);
  size_t last = 0;
  for (size_t i = 0; in->good && i < count; ++i) {
    const size_t place = exception_place(reader->exceptions, i);
    if (place >= reader->info.count || (i > 0 && place <= last)) return false;
    last = place;
  }
  return in->good;
}

}  // namespace

bool PackedReader::open(const BlockInfo& head, const uint8_t* begin, const uint8_t* end) {
  info = head;
  Input in{begin, end};
  times.open(&in, info.count);
  const uint8_t kind = in.u8();
  if (!in.good || kind > static_cast<uint8_t>(ValueForm::kSplit)) return false;
  form = static_cast<ValueForm>(kind);
  const bool is_float = info.type == ValueType::kF64 || info.type == ValueType::kF32;
  if (form == ValueForm::kDecimal && (!is_float || !read_exceptions(this, &in))) return false;
  if ((form == ValueForm::kDictionary || form == ValueForm::kSplit) && !read_entries(this, &in)) return false;
  main.open(&in, info.count);
  if (form == ValueForm::kDecimal || form == ValueForm::kSplit) second.open(&in, info.count);
  stop = in.at;
  return in.good;
}

void PackedReader::skip() {
  index += kMini;
  while (next_exception < exception_count && exception_place(exceptions, next_exception) < index) ++next_exception;
}

bool decode_packed(PackedReader* reader, uint32_t span_ticks, Point* points, bool* times_wrong) {
  PointSink sink{points};
  return decode_here(reader, span_ticks, &sink, times_wrong);
}

bool aggregate_packed(PackedReader* reader, uint32_t span_ticks, int64_t from_ms, int64_t to_ms, Aggregates* aggregates,
                      bool* times_wrong) {
  const BlockInfo& info = reader->info;
  Aggregator aggregator(info.type);
  // The first tick that is not before from_ms, the last that is not behind to_ms.
  AggregateSink sink{0, span_ticks, &aggregator};
  if (from_ms > info.t_min) {
    const uint64_t behind = static_cast<uint64_t>(from_ms) - static_cast<uint64_t>(info.t_min);
    sink.from = (behind - 1) / info.tick_ms + 1;
  }
  if (to_ms < info.t_max) {
    sink.to = (static_cast<uint64_t>(to_ms) - static_cast<uint64_t>(info.t_min)) / info.tick_ms;
    if (to_ms < info.t_min) sink.from = UINT64_MAX;
  }
  if (!decode_here(reader, span_ticks, &sink, times_wrong)) return false;
  *aggregates = aggregator.finish();
  return true;
}

const char* packed_name(const PackedReader& reader) {
  static const char* const kNames[4][4] = {
      {"packed integer even", "packed integer plain", "packed integer delta", "packed integer slope"},
      {"packed decimal even", "packed decimal plain", "packed decimal delta", "packed decimal slope"},
      {"packed dictionary even", "packed dictionary plain", "packed dictionary delta", "packed dictionary slope"},
      {"packed split even", "packed split plain", "packed split delta", "packed split slope"}};
  return kNames[static_cast<size_t>(reader.form)][static_cast<size_t>(reader.main.form)];
}

}  // namespace packed

Aggregates aggregates_within(ValueType type, std::span<const Point> points, int64_t from_ms, int64_t to_ms) {
  packed::Aggregator aggregator(type);
  uint64_t bits[packed::kMini];
  uint64_t wanted[packed::kMini];
  for (size_t at = 0; at < points.size(); at += packed::kMini) {
    const size_t n = points.size() - at < packed::kMini ? points.size() - at : packed::kMini;
    for (size_t i = 0; i < n; ++i) {
      const Point& point = points[at + i];
      bits[i] = point.bits;
      wanted[i] = point.time_ms >= from_ms && point.time_ms <= to_ms ? ~uint64_t{0} : 0;
    }
    aggregator.add(bits, wanted, n);
  }
  return aggregator.finish();
}

Aggregates aggregates_of(ValueType type, std::span<const Point> points) {
  return aggregates_within(type, points, INT64_MIN, INT64_MAX);
}

}  // namespace lambda
