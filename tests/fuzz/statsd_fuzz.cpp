// Packets of StatsD: any bytes. Each line is counted once, in one way; what is told are valid series with finite
// values; the bounds hold. The input is packets, ended by zero bytes; an interval ends after each eighth.
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>

#include "agent/source/statsd_source.h"
#include "agent/spool/series_table.h"

namespace {

using namespace lambda;
using namespace lambda::agent;

void expect(bool condition) {
  if (!condition) std::abort();
}

class NoLog final : public Log {
 public:
  void write(LogLevel, std::string_view, Fields) override {}
};

class SteppingClock final : public Clock {
 public:
  int64_t utc_ms() const override { return now_us / 1000; }
  int64_t mono_us() const override { return now_us; }
  int64_t now_us = 0;
};

// Takes what an agent's table of series takes.
class CheckingSink final : public Sink {
 public:
  Result<SeriesRef> series(const SeriesSpec& spec) override {
    const auto ref = table_.find_or_add(spec);
    expect(ref.has_value() || ref.error().code == ErrorCode::kFull || expired);
    if (ref) types_[*ref] = spec.type;
    return ref;
  }
  void append(SeriesRef ref, uint64_t bits) override {
    expect(types_.contains(ref));
    if (types_[ref] == ValueType::kF64) expect(std::isfinite(std::bit_cast<double>(bits)));
  }
  bool expired = false;  // a name may come back as another kind then

 private:
  SeriesTable table_{2'000};
  std::map<SeriesRef, ValueType> types_;
};

uint64_t lines_of(std::string_view packet) {
  uint64_t lines = 0;
  while (!packet.empty()) {
    const size_t end = packet.find('\n');
    lines += end == 0 ? 0 : 1;
    packet.remove_prefix(end == std::string_view::npos ? packet.size() : end + 1);
  }
  return lines;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  NoLog log;
  SteppingClock clock;
  StatsdOptions options;
  options.series_max = 20;
  options.buckets_max = 8 + static_cast<uint32_t>(size % 153);
  options.idle_ms = 100'000;
  const auto statsd = std::make_shared<Statsd>(options, clock, log, 7);
  StatsdSource source(statsd);
  CheckingSink sink;
  uint64_t lines = 0;
  for (int packets = 1; !rest.empty(); ++packets) {
    const size_t end = rest.find('\0');
    const std::string packet(rest.substr(0, end));  // its own allocation: a read past its end is seen
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    lines += lines_of(packet);
    const std::string_view view = packet;
    statsd->take({&view, 1});
    if (packets % 8 != 0) continue;
    clock.now_us += 10'000'000;
    expect(source.collect(sink, 0).has_value());
    sink.expired = statsd->counters().series_expired > 0;
  }
  const StatsdCounters& counters = statsd->counters();
  uint64_t counted = counters.lines + counters.lines_left_out + counters.lines_bad_names + counters.lines_conflict +
                     counters.lines_over_max;
  for (const uint64_t refused : counters.lines_refused) counted += refused;
  // A line of one '\r' is as empty as one of nothing, and counts as left out.
  expect(counted == lines);
  expect(statsd->series() <= options.series_max);
  expect(source.collect(sink, 0).has_value());
  return 0;
}
