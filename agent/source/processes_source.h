// /proc/<pid>/stat of every process: how many there are and in which states (node_processes_*), and of the programs
// that use most processor time or memory, what they use (lambda_process_*{process}).
//
// A program is all processes of one name, as the kernel has it (15 bytes). Its processor time counts from its
// processes' first collection on and never goes down. Told are the `top` by processor time since the collection before
// and the `top` by resident memory, of those that used any; a program that is not among them has no point then. At most
// kProcessNamesMax different names are told of in a life of the source: further ones are counted
// (lambda_process_names_refused_total).
#pragma once

#include <array>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "agent/source/device_filter.h"
#include "agent/source/device_table.h"
#include "agent/source/process_groups.h"
#include "agent/source/source.h"
#include "base/env/host_files.h"

namespace lambda::agent {

inline constexpr size_t kProcessNamesMax = 200;
inline constexpr size_t kProgramsMax = 4'096;  // different names known at a time; processes of further ones count only
inline constexpr uint32_t kProcessesTopMax = 50;

class ProcessesSource final : public Source {
 public:
  // `filter` chooses programs to tell of; counts are of all processes. `groups` may be null.
  ProcessesSource(HostFiles& files, const std::string& root, int64_t interval_ms, DeviceFilter filter, uint32_t top,
                  std::unique_ptr<ProcessGroups> groups = nullptr);
  std::string_view name() const override { return "processes"; }
  int64_t interval_ms() const override { return interval_ms_; }
  Status collect(Sink& sink, int64_t time_ms) override;

 private:
  static constexpr size_t kFields = 3;  // processor time, memory, processes
  struct Program {
    std::string label;
    bool wanted = true;
    bool told = false;  // once: has its series, or was refused them
    std::array<SeriesSlot, kFields> slots;
    int64_t ticks = 0;                                        // since it is known
    int64_t ticks_now = 0, pages_now = 0, processes_now = 0;  // of this collection
    uint32_t idle = 0;
  };
  struct Process {
    int64_t started = 0;  // ticks since boot: a pid is used again
    int64_t ticks = 0;
    uint32_t round = 0;
  };

  bool process(int64_t pid, std::string_view text);
  Program* program(std::string_view name);
  void forget();
  void tell_counts(Sink& sink);
  void tell_limit(Sink& sink, SeriesSlot& slot, const std::string& path, const char* name);
  void tell_top(Sink& sink);
  void tell(Sink& sink, Program& program);

  HostFiles& files_;
  const std::string folder_, process_limit_path_, thread_limit_path_;
  const int64_t interval_ms_;
  const uint64_t page_bytes_;
  const DeviceFilter filter_;
  const uint32_t top_;
  const std::unique_ptr<ProcessGroups> groups_;

  std::vector<std::string> names_;
  std::unordered_map<int64_t, Process> processes_;
  std::unordered_map<std::string, Program> programs_;
  std::vector<Program*> order_;
  uint32_t round_ = 0;
  size_t names_told_ = 0;
  uint64_t names_refused_ = 0;
  std::array<int64_t, 128> states_{};  // of this collection, by the kernel's letter
  int64_t threads_ = 0;
  std::array<SeriesSlot, 128> state_slots_;
  SeriesSlot count_slot_, threads_slot_, process_limit_slot_, thread_limit_slot_, refused_slot_;
};

}  // namespace lambda::agent
