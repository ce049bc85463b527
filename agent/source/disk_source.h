// /proc/diskstats: node_disk_*, for each block device that the filter wants.
#pragma once

#include <array>
#include <string>

#include "agent/source/device_filter.h"
#include "agent/source/device_table.h"
#include "agent/source/source.h"
#include "base/env/host_files.h"

namespace lambda::agent {

class DiskSource final : public Source {
 public:
  DiskSource(HostFiles& files, const std::string& root, int64_t interval_ms, DeviceFilter filter);
  std::string_view name() const override { return "disk"; }
  int64_t interval_ms() const override { return interval_ms_; }
  Status collect(Sink& sink, int64_t time_ms) override;

 private:
  static constexpr size_t kFields = 17;
  bool device_line(Sink& sink, std::string_view line);

  HostFiles& files_;
  const std::string path_;
  const int64_t interval_ms_;
  const DeviceFilter filter_;
  DeviceTable<std::array<SeriesSlot, kFields>> devices_;
};

}  // namespace lambda::agent
