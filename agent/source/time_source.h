// How well the machine's clock is kept: node_timex_*, of what adjtimex(2) tells (of the machine, even in a container).
// And how long it has been up: lambda_uptime_seconds. When it was booted stands with the processors.
#pragma once

#include <array>
#include <string>

#include "agent/source/device_table.h"
#include "agent/source/source.h"
#include "base/env/host_files.h"

namespace lambda::agent {

class TimeSource final : public Source {
 public:
  TimeSource(HostFiles& files, const std::string& root, int64_t interval_ms);
  std::string_view name() const override { return "time"; }
  int64_t interval_ms() const override { return interval_ms_; }
  Status collect(Sink& sink, int64_t time_ms) override;

 private:
  HostFiles& files_;
  const std::string path_;
  const int64_t interval_ms_;
  std::array<SeriesSlot, 9> slots_;
  SeriesSlot uptime_slot_;
};

}  // namespace lambda::agent
