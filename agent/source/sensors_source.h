// Temperatures, fans and the like, from /sys/class: node_thermal_zone_temp, node_cooling_device_*, node_hwmon_*.
//
// Which there are is looked for once in kSensorsWalkCollections. Of hwmon: temp, in, fan, curr, power and energy with
// the kernel's _input, temp's _max and _crit, power's _average, names of chips and sensors. At most kSensorsMax files
// are read; reading a sensor may take a chip some milliseconds.
#pragma once

#include <string>
#include <vector>

#include "agent/source/device_filter.h"
#include "agent/source/device_table.h"
#include "agent/source/kernel_file.h"
#include "agent/source/source.h"
#include "base/env/host_files.h"

namespace lambda::agent {

inline constexpr size_t kSensorsMax = 512;
inline constexpr uint32_t kSensorsWalkCollections = 30;

class SensorsSource final : public Source {
 public:
  // `filter` is over chips ("platform_coretemp_0") and types of zones and cooling devices ("x86_pkg_temp").
  SensorsSource(HostFiles& files, const std::string& root, int64_t interval_ms, DeviceFilter filter);
  std::string_view name() const override { return "sensors"; }
  int64_t interval_ms() const override { return interval_ms_; }
  Status collect(Sink& sink, int64_t time_ms) override;

 private:
  struct Sensor {
    std::string path;  // of the file with the number; empty: the value is always 1
    SeriesSpec spec;
    SeriesSlot slot;
    bool seen = false;
  };

  void walk();
  void walk_thermal(const std::string& folder);
  void walk_chip(const std::string& folder);
  void chip_file(const std::string& folder, const std::string& chip, const std::string& file);
  std::string chip_of(const std::string& folder);
  void note(std::string path, SeriesSpec spec);
  // The first line, without blanks around it; empty if there is none.
  std::string text_of(const std::string& path);

  HostFiles& files_;
  const std::string thermal_, hwmon_;
  const int64_t interval_ms_;
  const DeviceFilter filter_;
  std::vector<Sensor> sensors_;
  uint32_t until_walk_ = 0;
};

}  // namespace lambda::agent
