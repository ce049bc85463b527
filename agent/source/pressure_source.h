// /proc/pressure/{cpu,io,memory}: node_pressure_*, the time that tasks stood still for want of each. Kernels without it
// have no series.
#pragma once

#include <array>
#include <string>

#include "agent/source/device_table.h"
#include "agent/source/source.h"
#include "base/env/host_files.h"

namespace lambda::agent {

class PressureSource final : public Source {
 public:
  PressureSource(HostFiles& files, const std::string& root, int64_t interval_ms);
  std::string_view name() const override { return "pressure"; }
  int64_t interval_ms() const override { return interval_ms_; }
  Status collect(Sink& sink, int64_t time_ms) override;

 private:
  struct Resource {
    std::string path;
    const char* waiting;  // some tasks stood still
    const char* stalled;  // all did; null: has no meaning (a processor is always used by someone)
    SeriesSlot waiting_slot, stalled_slot;
  };
  bool line(Sink& sink, Resource& resource, std::string_view text);

  HostFiles& files_;
  const int64_t interval_ms_;
  std::array<Resource, 3> resources_;
};

}  // namespace lambda::agent
