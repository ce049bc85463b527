// The agent about itself: its processor time and memory, the costs of its sources, and the numbers its owner adds.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "agent/source/device_table.h"
#include "agent/source/host_sources.h"
#include "agent/source/source.h"
#include "base/env/host_files.h"

namespace lambda::agent {

class SelfSource final : public Source {
 public:
  SelfSource(HostFiles& files, int64_t interval_ms, std::vector<SelfMeter> meters);
  std::string_view name() const override { return "self"; }
  int64_t interval_ms() const override { return interval_ms_; }
  Status collect(Sink& sink, int64_t time_ms) override;

  // Adds the series of a source's costs. `source` must live as long as this.
  void watch(const MeteredSource& source);
  // "/proc/self/stat" unless a test says otherwise.
  void set_path(std::string path) { path_ = std::move(path); }

 private:
  struct Meter {
    SelfMeter meter;
    SeriesSlot slot;
  };
  bool process(Sink& sink, std::string_view text);

  HostFiles& files_;
  std::string path_ = "/proc/self/stat";
  const int64_t interval_ms_;
  const uint64_t page_bytes_;
  std::vector<Meter> meters_;
  std::array<SeriesSlot, 3> slots_;
};

}  // namespace lambda::agent
