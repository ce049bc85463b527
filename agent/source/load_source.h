// /proc/loadavg: node_load1, node_load5, node_load15, in the hundredths the kernel gives.
#pragma once

#include <array>
#include <string>

#include "agent/source/device_table.h"
#include "agent/source/source.h"
#include "base/env/host_files.h"

namespace lambda::agent {

class LoadSource final : public Source {
 public:
  LoadSource(HostFiles& files, const std::string& root, int64_t interval_ms);
  std::string_view name() const override { return "load"; }
  int64_t interval_ms() const override { return interval_ms_; }
  Status collect(Sink& sink, int64_t time_ms) override;

 private:
  HostFiles& files_;
  const std::string path_;
  const int64_t interval_ms_;
  std::array<SeriesSlot, 3> slots_;
};

}  // namespace lambda::agent
