// /proc/stat: processor time in total and for each processor, boot time, context switches, interrupts, forks,
// processes.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "agent/source/device_table.h"
#include "agent/source/source.h"
#include "base/env/host_files.h"

namespace lambda::agent {

class Complaints;

class CpuSource final : public Source {
 public:
  CpuSource(HostFiles& files, const std::string& root, int64_t interval_ms);
  std::string_view name() const override { return "cpu"; }
  int64_t interval_ms() const override { return interval_ms_; }
  Status collect(Sink& sink, int64_t time_ms) override;

 private:
  static constexpr size_t kModes = 10;  // the last two are guest times
  struct Processor {
    std::array<int64_t, kModes> ticks{};  // last ones told
    std::array<SeriesSlot, kModes> slots;
    uint64_t round = 0;  // of the last collection it was seen in
  };
  struct SingleSlot {
    SeriesSlot slot;
    uint64_t round = 0;
  };

  bool cpu_line(Sink& sink, std::string_view name, std::string_view rest);
  static void settle(Processor& processor, const std::array<int64_t, kModes>& ticks, size_t modes);
  bool single(Sink& sink, std::string_view name, std::string_view rest);

  HostFiles& files_;
  const std::string path_;
  const int64_t interval_ms_;
  Processor total_;
  std::vector<Processor> processors_;  // by number
  std::array<SingleSlot, 6> singles_;
  uint64_t round_ = 0;
};

}  // namespace lambda::agent
