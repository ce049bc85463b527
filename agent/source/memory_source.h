// /proc/meminfo: every line as node_memory_<name>_bytes, or without _bytes where the kernel gives no unit.
#pragma once

#include <string>

#include "agent/source/device_table.h"
#include "agent/source/source.h"
#include "base/env/host_files.h"

namespace lambda::agent {

class MemorySource final : public Source {
 public:
  MemorySource(HostFiles& files, const std::string& root, int64_t interval_ms);
  std::string_view name() const override { return "memory"; }
  int64_t interval_ms() const override { return interval_ms_; }
  Status collect(Sink& sink, int64_t time_ms) override;

 private:
  struct Entry {
    SeriesSlot slot;
    std::string series;  // its name
    bool bytes = false;
  };
  DeviceTable<Entry>::Device* make_entry(std::string_view key, bool bytes);
  bool entry(Sink& sink, std::string_view line);

  HostFiles& files_;
  const std::string path_;
  const int64_t interval_ms_;
  DeviceTable<Entry> entries_;
};

}  // namespace lambda::agent
