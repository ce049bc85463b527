#include "boards/firmware/sensors.h"

#include <bit>

namespace lambda::boards {
namespace {

constexpr lam_label kAxis[] = {{"axis", "z"}};

constexpr lam_series_spec kSeries[Sensors::kSeriesMax] = {
    {"device_vibration_steps", kAxis, 1, LAM_GAUGE, LAM_I64, 0, nullptr},
    {"device_temperature_celsius", nullptr, 0, LAM_GAUGE, LAM_DEC, 2, "celsius"},
    {"device_supply_volts", nullptr, 0, LAM_GAUGE, LAM_DEC, 3, "volts"},
    {"device_pressure_pascals", nullptr, 0, LAM_GAUGE, LAM_F64, 0, "pascals"},
    {"device_samples_total", nullptr, 0, LAM_COUNTER, LAM_I64, 0, nullptr},
    {"device_door_state", nullptr, 0, LAM_STATE, LAM_STATE64, 0, nullptr},
    {"device_current_amperes", nullptr, 0, LAM_GAUGE, LAM_F32, 0, "amperes"},
};

// Up and down again within 2 x `half`.
constexpr uint32_t triangle(uint32_t n, uint32_t half) {
  const uint32_t phase = n % (2 * half);
  return phase < half ? phase : 2 * half - phase;
}

constexpr uint32_t noise(uint32_t n) {
  n = (n ^ n >> 16) * 0x45D9F3Bu;
  n = (n ^ n >> 16) * 0x45D9F3Bu;
  return n ^ n >> 16;
}

}  // namespace

int32_t read_vibration(uint32_t tick) {
  return static_cast<int32_t>(triangle(tick, 50) * 8 + noise(tick) % 16) - 200;
}

bool Sensors::declare(lam_device* device) {
  for (uint32_t i = 0; i < kSeriesMax; ++i) {
    if (lam_declare(device, &kSeries[i], &refs_[i]) != LAM_OK) return false;
  }
  return true;
}

void Sensors::append(lam_device* device, const Sample& sample, int64_t time_ms) {
  lam_append_at(device, refs_[0], time_ms, static_cast<uint64_t>(int64_t{sample.value}));
  if (sample.tick % kTicksPerSecond != 0) return;
  const uint32_t second = sample.tick / kTicksPerSecond;
  lam_append_at(device, refs_[1], time_ms, 2000 + triangle(second, 300) + noise(second) % 4);
  lam_append_at(device, refs_[2], time_ms, 3280 + noise(second + 1000) % 8);
  const double pressure = 101'325.0 + static_cast<double>(triangle(second, 100)) * 0.25;
  lam_append_at(device, refs_[3], time_ms, std::bit_cast<uint64_t>(pressure));
  lam_append_at(device, refs_[4], time_ms, uint64_t{sample.tick} + 1);
  lam_append_at(device, refs_[5], time_ms, second / 60 % 2);
  const float current = 1.5f + static_cast<float>(triangle(second, 64)) * 0.0625f;
  lam_append_at(device, refs_[6], time_ms, std::bit_cast<uint32_t>(current));
}

}  // namespace lambda::boards
