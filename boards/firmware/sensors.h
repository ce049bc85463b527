// Sensors that need no hardware: one at 100 Hz, six at 1 Hz, one of each type the SDK knows. Their values follow from
// the tick alone, so that whoever reads them later can tell whether they arrived as they were made
// (tests/device/sensors.py has the same formulas). A product replaces this file.
#pragma once

#include <stdint.h>

#include "boards/firmware/sample_ring.h"
#include "lambda/lambda.h"

namespace lambda::boards {

inline constexpr uint32_t kTicksPerSecond = 100;

// What the sampling interrupt reads, at each tick: a vibration, in steps of a 12 bit converter.
int32_t read_vibration(uint32_t tick);

class Sensors {
 public:
  static constexpr uint32_t kSeriesMax = 7;
  // For the door, the counter of samples and the current.
  static constexpr const lam_codec* kCodecs[] = {&lam_codec_runs64, &lam_codec_slope64, &lam_codec_xor32};

  // False: the device would not take them.
  bool declare(lam_device* device);
  // Appends what belongs to the sample, at `time_ms` of lam_now_ms()'s clock.
  void append(lam_device* device, const Sample& sample, int64_t time_ms);

 private:
  lam_series refs_[kSeriesMax] = {};
};

}  // namespace lambda::boards
