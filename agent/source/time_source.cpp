#include "agent/source/time_source.h"

#include <bit>

#include "agent/source/kernel_file.h"
#include "agent/source/text.h"

namespace lambda::agent {
namespace {

struct Field {
  const char* name;
  uint8_t scale;
  const char* unit;
  int64_t ClockDiscipline::*value;
};
constexpr Field kFields[] = {
    {"node_timex_offset_seconds", 9, "seconds", &ClockDiscipline::offset_ns},
    {"node_timex_maxerror_seconds", 6, "seconds", &ClockDiscipline::error_max_us},
    {"node_timex_estimated_error_seconds", 6, "seconds", &ClockDiscipline::error_us},
    {"node_timex_status", 0, "", &ClockDiscipline::status},
    {"node_timex_loop_time_constant", 0, "", &ClockDiscipline::loop_constant},
    {"node_timex_tick_seconds", 6, "seconds", &ClockDiscipline::tick_us},
    {"node_timex_tai_offset_seconds", 0, "seconds", &ClockDiscipline::tai_offset_s},
};

}  // namespace

TimeSource::TimeSource(HostFiles& files, const std::string& root, int64_t interval_ms)
    : files_(files), path_(below(root, "proc/uptime")), interval_ms_(interval_ms) {
  static_assert(std::tuple_size_v<decltype(slots_)> == std::size(kFields) + 2);
}

Status TimeSource::collect(Sink& sink, int64_t) {
  Complaints complaints;
  const auto uptime = files_.read(path_);
  if (uptime) {
    std::string_view text = *uptime;
    const auto hundredths = to_hundredths(take_field(text));
    if (!hundredths) complaints.add(path_, 1, "expected seconds with two decimals");
    if (hundredths) {
      put(sink, uptime_slot_, static_cast<uint64_t>(*hundredths),
          [] { return SeriesSpec{"lambda_uptime_seconds", {}, Kind::kGauge, ValueType::kDec, 2, "seconds"}; });
    }
  }
  const auto clock = files_.clock_discipline();
  if (!clock) return tl::unexpected<Error>(clock.error());
  for (size_t i = 0; i < std::size(kFields); ++i) {
    const Field& field = kFields[i];
    put(sink, slots_[i], static_cast<uint64_t>((*clock).*field.value), [&] {
      const ValueType type = field.scale > 0 ? ValueType::kDec : ValueType::kI64;
      return SeriesSpec{field.name, {}, Kind::kGauge, type, field.scale, field.unit};
    });
  }
  constexpr double kFrequencyUnit = 1e-6 / 65536;
  put(sink, slots_[std::size(kFields)],
      std::bit_cast<uint64_t>(1 + static_cast<double>(clock->frequency) * kFrequencyUnit),
      [] { return SeriesSpec{"node_timex_frequency_adjustment_ratio", {}, Kind::kGauge, ValueType::kF64, 0, ""}; });
  put(sink, slots_[std::size(kFields) + 1], clock->synchronised ? 1 : 0,
      [] { return SeriesSpec{"node_timex_sync_status", {}, Kind::kGauge, ValueType::kI64, 0, ""}; });
  if (!uptime) return tl::unexpected<Error>(uptime.error());
  return complaints.status();
}

}  // namespace lambda::agent
