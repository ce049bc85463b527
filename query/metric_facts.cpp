#include "query/metric_facts.h"

#include <algorithm>
#include <array>
#include <utility>

namespace lambda::query {
namespace {

using Help = std::pair<std::string_view, std::string_view>;

// By name.
constexpr auto kOwn = std::to_array<Help>({
    {"lambda_agent_cpu_seconds_total", "Processor time of the agent."},
    {"lambda_agent_resident_memory_bytes", "Memory of the agent that is in RAM."},
    {"lambda_agent_source_errors_total", "Collections of a source that ended with an error."},
    {"lambda_agent_source_overruns_total", "Collections that took longer than their source's interval."},
    {"lambda_agent_source_seconds_total", "Time that collections of a source took."},
    {"lambda_agent_threads", "Threads of the agent."},
    {"lambda_cgroup_cpu_seconds_total", "Processor time of a control group."},
    {"lambda_cgroup_cpu_throttled_seconds_total", "Time that a control group was held back by its limit."},
    {"lambda_cgroup_io_read_bytes_total", "Bytes that a control group read from disks."},
    {"lambda_cgroup_io_reads_total", "Reads of a control group from disks."},
    {"lambda_cgroup_io_writes_total", "Writes of a control group to disks."},
    {"lambda_cgroup_io_written_bytes_total", "Bytes that a control group wrote to disks."},
    {"lambda_cgroup_memory_bytes", "Memory of a control group, its part of the page cache included."},
    {"lambda_cgroup_oom_kills_total", "Processes of a control group that were killed for want of memory."},
    {"lambda_cgroup_processes", "Processes and threads of a control group."},
    {"lambda_cgroups_refused", "Control groups over the bound, of which nothing is told."},
    {"lambda_cpu_guest_seconds_total", "Processor time spent in virtual machines, of all processors, by mode."},
    {"lambda_cpu_seconds_total", "Processor time of all processors, by mode."},
    {"lambda_process_count", "Processes of a program."},
    {"lambda_process_cpu_seconds_total", "Processor time of a program's processes."},
    {"lambda_process_group_count", "Processes of a group."},
    {"lambda_process_group_cpu_seconds_total", "Processor time of a group's processes."},
    {"lambda_process_group_open_files", "Files that a group's processes hold open, as far as the agent may look."},
    {"lambda_process_group_resident_memory_bytes",
     "Memory of a group's processes that is in RAM; shared pages count for each."},
    {"lambda_process_group_threads", "Threads of a group's processes."},
    {"lambda_process_names_refused_total", "Programs over the bound of names, of which nothing is told."},
    {"lambda_process_resident_memory_bytes",
     "Memory of a program's processes that is in RAM; shared pages count for each."},
    {"lambda_systemd_answers_failed_total", "Times that systemd gave no answer."},
    {"lambda_systemd_units_refused", "Units over the bound, of which nothing is told."},
    {"lambda_uptime_seconds", "Time since the machine was started."},
    {"node_boot_time_seconds", "When the machine was started, in seconds since 1970."},
    {"node_context_switches_total", "Switches from one thread to another."},
    {"node_cooling_device_cur_state", "How hard a cooling device works now."},
    {"node_cooling_device_max_state", "How hard a cooling device can work."},
    {"node_cpu_guest_seconds_total", "Processor time spent in virtual machines, by processor and mode."},
    {"node_cpu_seconds_total", "Processor time, by processor and mode."},
    {"node_disk_discard_time_seconds_total", "Time that discards took."},
    {"node_disk_discarded_sectors_total", "Sectors discarded."},
    {"node_disk_discards_completed_total", "Discards done."},
    {"node_disk_discards_merged_total", "Discards that were joined to others."},
    {"node_disk_flush_requests_time_seconds_total", "Time that flushes took."},
    {"node_disk_flush_requests_total", "Flushes done."},
    {"node_disk_io_now", "Requests that a disk is at."},
    {"node_disk_io_time_seconds_total", "Time in which a disk had something to do."},
    {"node_disk_io_time_weighted_seconds_total", "Time of all requests to a disk together."},
    {"node_disk_read_bytes_total", "Bytes read from a disk."},
    {"node_disk_read_time_seconds_total", "Time that reads took."},
    {"node_disk_reads_completed_total", "Reads done."},
    {"node_disk_reads_merged_total", "Reads that were joined to others."},
    {"node_disk_write_time_seconds_total", "Time that writes took."},
    {"node_disk_writes_completed_total", "Writes done."},
    {"node_disk_writes_merged_total", "Writes that were joined to others."},
    {"node_disk_written_bytes_total", "Bytes written to a disk."},
    {"node_filesystem_avail_bytes", "Room that is left for ordinary users."},
    {"node_filesystem_device_error", "1: the file system cannot be asked."},
    {"node_filesystem_files", "Files that a file system has room for."},
    {"node_filesystem_files_free", "Files that a file system has room for still."},
    {"node_filesystem_free_bytes", "Room that is left."},
    {"node_filesystem_readonly", "1: nothing can be written."},
    {"node_filesystem_size_bytes", "Size of a file system."},
    {"node_forks_total", "Processes and threads begun."},
    {"node_intr_total", "Interrupts."},
    {"node_load1", "Threads that run or wait for a disk, averaged over a minute."},
    {"node_load15", "Threads that run or wait for a disk, averaged over fifteen minutes."},
    {"node_load5", "Threads that run or wait for a disk, averaged over five minutes."},
    {"node_pressure_cpu_waiting_seconds_total", "Time in which something waited for a processor."},
    {"node_pressure_io_stalled_seconds_total", "Time in which everything waited for a disk."},
    {"node_pressure_io_waiting_seconds_total", "Time in which something waited for a disk."},
    {"node_pressure_memory_stalled_seconds_total", "Time in which everything waited for memory."},
    {"node_pressure_memory_waiting_seconds_total", "Time in which something waited for memory."},
    {"node_processes_max_processes", "Processes that there may be."},
    {"node_processes_max_threads", "Threads that there may be."},
    {"node_processes_pids", "Processes."},
    {"node_processes_state", "Processes, by the kernel's letter for their state."},
    {"node_processes_threads", "Threads."},
    {"node_procs_blocked", "Processes that wait for a disk."},
    {"node_procs_running", "Processes that run or could."},
    {"node_systemd_system_running", "1: systemd has started everything and nothing failed."},
    {"node_systemd_unit_state", "1: the unit is in this state."},
    {"node_systemd_units", "Units of systemd in this state."},
    {"node_systemd_version", "Version of systemd."},
    {"node_tcp_connection_states", "TCP connections, by state."},
    {"node_thermal_zone_temp", "Temperature of a thermal zone, in degrees Celsius."},
    {"node_timex_estimated_error_seconds", "How wrong the clock is thought to be."},
    {"node_timex_frequency_adjustment_ratio", "How much faster the clock is made to run."},
    {"node_timex_loop_time_constant", "Time constant of the loop that keeps the clock."},
    {"node_timex_maxerror_seconds", "How wrong the clock can be at most."},
    {"node_timex_offset_seconds", "What is still being corrected of the clock."},
    {"node_timex_status", "The kernel's bits about its clock."},
    {"node_timex_sync_status", "1: somebody keeps the clock right."},
    {"node_timex_tai_offset_seconds", "Seconds that atomic time is ahead of UTC."},
    {"node_timex_tick_seconds", "Time between two ticks of the clock."},
    {"scrape_duration_seconds", "Time that a scrape took."},
    {"scrape_samples_post_metric_relabeling", "Samples of a page that include and exclude leave."},
    {"scrape_samples_scraped", "Samples on a page."},
    {"scrape_series_added", "Series on a page that were not on the one before."},
    {"up", "1: the target showed a page that could be taken."},
});

// Families whose names the kernel makes.
constexpr auto kFamilies = std::to_array<Help>({
    {"lambda_agent_statsd_", "What came of StatsD clients' packets and lines."},
    {"lambda_synthetic", "Made-up points, for tests."},
    {"node_hwmon_", "A sensor of the machine."},
    {"node_memory_", "A line of the kernel's /proc/meminfo."},
    {"node_network_receive_", "What a network interface received."},
    {"node_network_transmit_", "What a network interface sent."},
    {"node_sockstat_", "A number of the kernel's about its sockets."},
});

constexpr bool by_name(const Help& a, const Help& b) {
  return a.first < b.first;
}
static_assert(std::is_sorted(kOwn.begin(), kOwn.end(), by_name));

// Cut between two characters.
std::string cut(std::string_view text, size_t bytes_max) {
  if (text.size() <= bytes_max) return std::string(text);
  size_t end = bytes_max;
  while (end > 0 && (static_cast<uint8_t>(text[end]) >> 6) == 2) --end;
  return std::string(text.substr(0, end));
}

}  // namespace

std::string_view own_metric_help(std::string_view name) {
  const auto found = std::lower_bound(kOwn.begin(), kOwn.end(), Help{name, {}}, by_name);
  if (found != kOwn.end() && found->first == name) return found->second;
  for (const auto& [family, help] : kFamilies) {
    if (name.starts_with(family)) return help;
  }
  return {};
}

void MetricBook::note(std::string_view metric, std::string_view type, std::string_view help, std::string_view unit) {
  auto found = facts_.find(metric);
  if (found == facts_.end()) {
    if (facts_.size() >= metrics_max_) {
      left_out_++;
      return;
    }
    found = facts_.emplace(std::string(metric), MetricFacts{}).first;
  }
  MetricFacts& facts = found->second;
  const std::string_view known = type.empty() || type == "untyped" ? "unknown" : type;
  // A page says the same each time: nothing is allocated then.
  if (facts.type != known) facts.type = cut(known, kWordBytesMax);
  if (facts.help != help) facts.help = cut(help, kHelpBytesMax);
  if (facts.unit != unit) facts.unit = cut(unit, kWordBytesMax);
}

bool MetricBook::covers(std::string_view name) const {
  if (facts_.contains(name)) return true;
  for (const std::string_view suffix :
       {"_total", "_bucket", "_count", "_sum", "_created", "_gcount", "_gsum", "_info"}) {
    if (name.ends_with(suffix) && facts_.contains(name.substr(0, name.size() - suffix.size()))) return true;
  }
  return false;
}

void add_declared(MetricFactsByName& facts, std::string_view name, bool counter, std::string_view unit) {
  if (facts.contains(name)) return;
  const std::string_view help = own_metric_help(name);
  const char* type = counter ? "counter" : help.empty() ? "unknown" : "gauge";
  facts.emplace(std::string(name), MetricFacts{type, std::string(help), std::string(unit)});
}

}  // namespace lambda::query
