// The C API: checks its arguments and hands on to Device; reading points as doubles.
#include <bit>
#include <limits>

#include "device.h"
#include "lambda/lambda.h"
#include "point_value.h"

namespace {

using lambda::Device;
using lambda::Point;
using lambda::StoreResult;

static_assert(sizeof(lam_hash_state) == 256 && alignof(lam_hash_state) == 8, "as the C side declares it");

Device& of(lam_device* device) {
  return *reinterpret_cast<Device*>(device);
}
const Device& of(const lam_device* device) {
  return *reinterpret_cast<const Device*>(device);
}

// Numbers are in the order of these integers, but for NaN. The compiler's own comparison of doubles takes a small core
// three hundred bytes.
LAMBDA_ONE_COPY int64_t order_of(double value) {
  const auto bits = std::bit_cast<int64_t>(value);
  return bits < 0 ? INT64_MIN - bits : bits;
}
bool is_number(double value) {
  return (std::bit_cast<uint64_t>(value) & INT64_MAX) <=
         std::bit_cast<uint64_t>(std::numeric_limits<double>::infinity());
}

double value_of(const lam_series_spec& spec, uint64_t bits) {
  return lambda::point_value(static_cast<lambda::ValueType>(spec.type), lambda::power_of_ten(spec.scale), bits);
}

struct Range {
  const lam_series_spec* spec;
  lam_point* points;
  size_t points_max;
  size_t count;
  bool more;

  static void visit(void* context, uint64_t, uint64_t ordinal, Point point) {
    Range& range = *static_cast<Range*>(context);
    if (range.count == range.points_max) {
      range.more = true;
      return;
    }
    range.points[range.count++] = {point.time_ms, ordinal, value_of(*range.spec, point.bits)};
  }
};

struct Summary {
  const lam_series_spec* spec;
  lam_summary* out;

  static void visit(void* context, uint64_t, uint64_t ordinal, Point point) {
    const Summary& summary = *static_cast<Summary*>(context);
    const double value = value_of(*summary.spec, point.bits);
    if (!is_number(value)) return;
    lam_summary& out = *summary.out;
    const lam_point here{point.time_ms, ordinal, value};
    if (out.count == 0) {
      out.min = out.max = value;
      out.first = here;
    }
    const int64_t order = order_of(value);
    if (order < order_of(out.min)) out.min = value;
    if (order > order_of(out.max)) out.max = value;
    out.sum = lambda::add(out.sum, value);
    out.last = here;
    ++out.count;
  }
};

}  // namespace

extern "C" {

size_t lam_memory_min(const lam_config* config) {
  return config != nullptr ? Device::memory_min(*config) : 0;
}

lam_status lam_init(void* memory, size_t size, const lam_config* config, const lam_port* port, lam_device** device) {
  if (memory == nullptr || reinterpret_cast<uintptr_t>(memory) % 8 != 0 || config == nullptr || port == nullptr ||
      device == nullptr || port->mono_ms == nullptr || port->random == nullptr || port->sha256_start == nullptr ||
      port->sha256_update == nullptr || port->sha256_finish == nullptr || port->sign == nullptr ||
      port->publish == nullptr) {
    return LAM_E_INVALID;
  }
  Device* made = nullptr;
  const lam_status status = Device::make(memory, size, *config, *port, &made);
  if (status == LAM_OK) *device = reinterpret_cast<lam_device*>(made);
  return status;
}

uint64_t lam_boot(const lam_device* device) {
  return of(device).boot();
}
int64_t lam_now_ms(lam_device* device) {
  return of(device).now_ms();
}

lam_status lam_declare(lam_device* device, const lam_series_spec* spec, lam_series* series) {
  if (spec == nullptr || series == nullptr) return LAM_E_INVALID;
  return of(device).declare(spec, series);
}

lam_status lam_append_f64(lam_device* device, lam_series series, double value) {
  return of(device).append(series, LAM_F64, std::bit_cast<uint64_t>(value));
}
lam_status lam_append_f32(lam_device* device, lam_series series, float value) {
  return of(device).append(series, LAM_F32, std::bit_cast<uint32_t>(value));
}
lam_status lam_append_i64(lam_device* device, lam_series series, int64_t value) {
  return of(device).append(series, LAM_I64, static_cast<uint64_t>(value));
}
lam_status lam_append_dec(lam_device* device, lam_series series, int64_t n) {
  return of(device).append(series, LAM_DEC, static_cast<uint64_t>(n));
}
lam_status lam_append_state(lam_device* device, lam_series series, int64_t state) {
  return of(device).append(series, LAM_STATE64, static_cast<uint64_t>(state));
}
lam_status lam_append_at(lam_device* device, lam_series series, int64_t time_ms, uint64_t bits) {
  return of(device).append_at(series, time_ms, bits);
}

uint32_t lam_poll(lam_device* device) {
  return of(device).poll();
}
void lam_flush(lam_device* device) {
  of(device).flush();
}
void lam_connected(lam_device* device) {
  of(device).connected();
}
void lam_disconnected(lam_device* device) {
  of(device).disconnected();
}
void lam_incoming(lam_device* device, lam_topic topic, const uint8_t* bytes, size_t size) {
  of(device).incoming(topic, {bytes, size});
}

lam_status lam_last(const lam_device* device, lam_series series, lam_point* point) {
  const lam_series_spec* spec = of(device).spec(series);
  if (spec == nullptr || point == nullptr) return LAM_E_INVALID;
  Point found;
  if (!of(device).store().last(series, &point->ordinal, &found)) return LAM_E_NO_DATA;
  point->time_ms = found.time_ms;
  point->value = value_of(*spec, found.bits);
  return LAM_OK;
}

lam_status lam_range(const lam_device* device, lam_series series, int64_t from_ms, int64_t to_ms, lam_point* points,
                     size_t points_max, size_t* count) {
  const lam_series_spec* spec = of(device).spec(series);
  if (spec == nullptr || count == nullptr || (points == nullptr && points_max > 0)) return LAM_E_INVALID;
  Range range{spec, points, points_max, 0, false};
  of(device).store().read(series, from_ms, to_ms, Range::visit, &range);
  *count = range.count;
  return range.more ? LAM_E_FULL : range.count == 0 ? LAM_E_NO_DATA : LAM_OK;
}

lam_status lam_summarise(const lam_device* device, lam_series series, int64_t from_ms, int64_t to_ms,
                         lam_summary* summary) {
  const lam_series_spec* spec = of(device).spec(series);
  if (spec == nullptr || summary == nullptr) return LAM_E_INVALID;
  *summary = lam_summary{};
  Summary running{spec, summary};
  of(device).store().read(series, from_ms, to_ms, Summary::visit, &running);
  if (summary->count == 0) {
    summary->min = summary->max = summary->mean = std::numeric_limits<double>::quiet_NaN();
    return LAM_E_NO_DATA;
  }
  summary->mean = lambda::divide(summary->sum, summary->count);
  return LAM_OK;
}

void lam_get_counters(const lam_device* device, lam_counters* counters) {
  of(device).counters(counters);
}

}  // extern "C"
