// Decoding is compiled twice from the same text: for any processor, and for x86 with AVX2. Both give the same bits:
// nothing here is reassociated, and neither has fused multiply-add.
#include "aggregate.h"
#include "packed.h"

namespace lambda {
namespace packed {
namespace {

// The order and the extent of times that come in steps.
struct TimeCheck {
  uint32_t low = UINT32_MAX;
  uint32_t high = 0;
  uint64_t last = 0;
  bool begun = false;
  bool unordered = false;
  bool outside = false;

  LAMBDA_INLINE void add(const uint64_t* ticks, size_t n) {
    uint32_t least = low;
    uint32_t greatest = high;
    uint64_t above = 0;
    for (size_t i = 0; i < n; ++i) {
      const auto tick = static_cast<uint32_t>(ticks[i]);
      above |= ticks[i] >> 32;
      least = tick < least ? tick : least;
      greatest = tick > greatest ? tick : greatest;
    }
    Four behinds{};
    size_t at = 1;
    for (; at + 4 <= n; at += 4) {
      Four these, before;
      load_four(ticks + at, &these);
      load_four(ticks + at - 1, &before);
      behinds |= these - before - 1;
    }
    uint64_t behind = behinds[0] | behinds[1] | behinds[2] | behinds[3];
    for (; at < n; ++at) behind |= ticks[at] - ticks[at - 1] - 1;
    low = least;
    high = greatest;
    outside |= above != 0;
    unordered |= (behind >> 63) != 0 || (begun && ticks[0] <= last);
    last = ticks[n - 1];
    begun = true;
  }
  bool fits(uint32_t span, bool order_flag) const {
    return !outside && low == 0 && high == span && unordered == order_flag;
  }
};

// Four times and their values, as points.
LAMBDA_INLINE void write_four(const Four& times, const uint64_t* bits, Point* out) {
  static_assert(sizeof(Point) == 16 && offsetof(Point, time_ms) == 0 && offsetof(Point, bits) == 8);
  Four values;
  load_four(bits, &values);
  store_four(__builtin_shufflevector(times, values, 0, 4, 1, 5), out);
  store_four(__builtin_shufflevector(times, values, 2, 6, 3, 7), out + 2);
}

struct PointSink {
  Point* out;
  // Points whose times rise by one step from `tick` on.
  LAMBDA_INLINE void take_even(const BlockInfo& info, uint64_t tick, uint64_t step, const uint64_t* bits, size_t n) {
    const uint64_t first = static_cast<uint64_t>(info.t_min) + tick * info.tick_ms;
    const uint64_t step_ms = step * info.tick_ms;
    Point* const to = out;
    Four times = {first, first + step_ms, first + 2 * step_ms, first + 3 * step_ms};
    size_t i = 0;
    for (; i + 4 <= n; i += 4, times += 4 * step_ms) write_four(times, bits + i, to + i);
    for (; i < n; ++i) to[i] = {static_cast<int64_t>(first + i * step_ms), bits[i]};
    out += n;
  }
  LAMBDA_INLINE void take(const BlockInfo& info, const uint64_t* ticks, const uint64_t* bits, size_t n) {
    const auto first = static_cast<uint64_t>(info.t_min);
    const uint32_t tick_ms = info.tick_ms;
    Point* const to = out;
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
      Four times;
      load_four(ticks + i, &times);
      times = (times & 0xFFFFFFFF) * tick_ms;  // both are below 2^32
      write_four(times + first, bits + i, to + i);
    }
    for (; i < n; ++i) {
      const uint64_t since = static_cast<uint64_t>(static_cast<uint32_t>(ticks[i])) * tick_ms;
      to[i] = {static_cast<int64_t>(first + since), bits[i]};
    }
    out += n;
  }
};

struct AggregateSink {
  uint64_t from;  // ticks, both included
  uint64_t to;
  Aggregator* aggregator;
  LAMBDA_INLINE void take_even(const BlockInfo& info, uint64_t tick, uint64_t step, const uint64_t* bits, size_t n) {
    uint64_t ticks[kMini];
    for (size_t i = 0; i < n; ++i) ticks[i] = tick + i * step;
    take(info, ticks, bits, n);
  }
  LAMBDA_INLINE void take(const BlockInfo&, const uint64_t* ticks, const uint64_t* bits, size_t n) {
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

template <class Sink>
LAMBDA_INLINE bool decode_even(PackedReader* reader, Sink* sink) {
  alignas(32) uint64_t bits[kMini];
  const uint64_t step = reader->times.slope;
  uint64_t tick = 0;
  size_t left = reader->info.count;
  for (; left >= kMini; left -= kMini, tick += kMini * step) {
    if (!reader->next_values(kMini, bits)) return false;
    sink->take_even(reader->info, tick, step, bits, kMini);
  }
  if (left == 0) return true;
  if (!reader->next_values(left, bits)) return false;
  sink->take_even(reader->info, tick, step, bits, left);
  return true;
}

template <class Sink>
LAMBDA_INLINE bool decode(PackedReader* reader, uint32_t span, Sink* sink, bool* times_wrong) {
  *times_wrong = false;
  if (is_even(*reader, span)) return decode_even(reader, sink);
  alignas(32) uint64_t ticks[kMini];
  alignas(32) uint64_t bits[kMini];
  TimeCheck check;
  size_t left = reader->info.count;
  for (; left >= kMini; left -= kMini) {
    if (!reader->next(kMini, ticks, bits)) return false;
    check.add(ticks, kMini);
    sink->take(reader->info, ticks, bits, kMini);
  }
  if (left > 0) {
    if (!reader->next(left, ticks, bits)) return false;
    check.add(ticks, left);
    sink->take(reader->info, ticks, bits, left);
  }
  *times_wrong = !check.fits(span, reader->info.unordered);
  return !*times_wrong;
}

template <class Sink>
bool decode_anywhere(PackedReader* reader, uint32_t span, Sink* sink, bool* times_wrong) {
  return decode(reader, span, sink, times_wrong);
}

#ifdef LAMBDA_AVX2
template <class Sink>
LAMBDA_AVX2 bool decode_avx2(PackedReader* reader, uint32_t span, Sink* sink, bool* times_wrong) {
  return decode(reader, span, sink, times_wrong);
}
#endif

template <class Sink>
bool decode_here(PackedReader* reader, uint32_t span, Sink* sink, bool* times_wrong) {
#ifdef LAMBDA_AVX2
  if (__builtin_cpu_supports("avx2")) return decode_avx2(reader, span, sink, times_wrong);
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
  column.open(in);
  for (size_t at = 0; at < count && in->good; at += kMini) {
    column.next(in, count - at < kMini ? static_cast<size_t>(count) - at : kMini, reader->entries + at);
  }
  for (size_t i = 0; split && in->good && i < count; ++i) {
    if (reader->entries[i] > low_bits(64 - reader->cut)) return false;
  }
  return in->good;
}

bool read_exceptions(PackedReader* reader, Input* in) {
  const uint8_t exponent = in->u8();
  const uint64_t count = in->varint();
  if (!in->good || exponent > kDecimalMax || count > reader->info.count) return false;
  reader->power = kPowers[exponent];
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

void skip_column(Input* in, size_t count) {
  ColumnReader column;
  column.open(in);
  for (; count > 0 && in->good; count -= count < kMini ? count : kMini) column.skip(in, count < kMini ? count : kMini);
}

}  // namespace

bool PackedReader::open(const BlockInfo& head, const uint8_t* begin, const uint8_t* end) {
  info = head;
  Input in{begin, end};
  times_in = in;
  skip_column(&in, info.count);
  times_in.end = in.at;
  const uint8_t kind = in.u8();
  if (!in.good || kind > static_cast<uint8_t>(ValueForm::kSplit)) return false;
  form = static_cast<ValueForm>(kind);
  const bool is_float = info.type == ValueType::kF64 || info.type == ValueType::kF32;
  if (form == ValueForm::kDecimal && (!is_float || !read_exceptions(this, &in))) return false;
  if ((form == ValueForm::kDictionary || form == ValueForm::kSplit) && !read_entries(this, &in)) return false;
  main_in = in;
  skip_column(&in, info.count);
  main_in.end = in.at;
  if (form == ValueForm::kDecimal || form == ValueForm::kSplit) {
    second_in = in;
    skip_column(&in, info.count);
    second_in.end = in.at;
    second.open(&second_in);
  }
  times.open(&times_in);
  main.open(&main_in);
  stop = in.at;
  return in.good;
}

bool PackedReader::skip(size_t count) {
  times.skip(&times_in, count);
  main.skip(&main_in, count);
  if (form == ValueForm::kDecimal || form == ValueForm::kSplit) second.skip(&second_in, count);
  index += count;
  while (next_exception < exception_count) {
    if (exception_place(exceptions, next_exception) >= index) break;
    ++next_exception;
  }
  return times_in.good && main_in.good && second_in.good;
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
