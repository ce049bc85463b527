// The collectors of a Linux host: cpu, memory, load, disk, filesystem, network, pressure, sockets, processes, time,
// sensors, cgroup, and the agent itself. Names, labels and
// units are those of node_exporter 1.5 wherever it has the metric, so that existing dashboards work; lambda_*
// otherwise.
//
// Values are what the kernel says, bit for bit: counters in i64, seconds as decimals of the kernel's own resolution
// (ticks are hundredths, disk times thousandths), so that they stay exact and small.
// Garbage in a file costs the line it stands in and is told as the collection's error, with file and line.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "agent/source/metered_source.h"
#include "agent/source/process_groups.h"
#include "agent/source/source.h"
#include "base/env/clock.h"
#include "base/env/host_files.h"
#include "base/env/service_manager.h"

namespace lambda::agent {

struct SourceOptions {
  bool enabled = true;
  int64_t interval_ms = 1'000;
  std::string include{}, exclude{};  // regular expressions over devices, mount points or interfaces; see DeviceFilter
};

struct HostSourceOptions {
  std::string root = "/";  // where the host's file system is seen; /proc and /sys are below it
  SourceOptions cpu;
  SourceOptions memory;
  SourceOptions load;
  SourceOptions disk{.exclude = R"(^(ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$)"};
  SourceOptions filesystem{
      .exclude = R"(^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/))"};
  std::string filesystem_types_exclude =
      R"(^(autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|fusectl|hugetlbfs|iso9660|mqueue|nsfs|)"
      R"(overlay|proc|procfs|pstore|rpc_pipefs|securityfs|selinuxfs|squashfs|sysfs|tracefs)$)";
  SourceOptions network;
  SourceOptions pressure;
  SourceOptions sockets{.interval_ms = 10'000};
  SourceOptions processes{.interval_ms = 10'000};   // include and exclude: of programs to tell of, by name
  uint32_t processes_top = 5;                       // programs told of for processor time, and as many for memory
  std::vector<ProcessGroupOptions> process_groups;  // told of with the processes
  SourceOptions time{.interval_ms = 10'000};
  SourceOptions sensors{.interval_ms = 10'000};
  SourceOptions cgroup{.interval_ms = 10'000};
  uint32_t cgroup_depth = 2;
  SourceOptions systemd{.interval_ms = 30'000, .exclude = R"(\.(automount|device|mount|scope|slice)$)"};
  std::string systemd_socket;  // of the bus; empty: run/dbus/system_bus_socket below root
  SourceOptions self;
  SourceOptions synthetic{.enabled = false};  // made-up points, for tests and benchmarks; no devices
  uint32_t synthetic_series = 100;            // 1 to kSyntheticSeriesMax
  std::string synthetic_shape = "unique";     // or "lifelike": see synthetic_source.h
};

// A number the agent knows about itself. `read` runs on the loop thread at each collection of "self".
struct SelfMeter {
  SeriesSpec spec;
  std::function<uint64_t()> read;  // the value's 64 bits, as `spec.type` has them
};

// The enabled sources and the further ones, each in a meter. `files` and `clock` must outlive them. The source "self"
// also tells the costs of the others. kInvalid: an expression or an interval is wrong; the error names the setting.
Result<std::vector<std::unique_ptr<MeteredSource>>> make_host_sources(
    HostFiles& files, const Clock& clock, const HostSourceOptions& options, std::vector<SelfMeter> meters,
    std::vector<std::unique_ptr<Source>> further = {});

// Who asks the service manager at this socket of the units of which `wants` says so, on any thread.
using MakeServiceManager =
    std::function<std::unique_ptr<ServiceManager>(std::string socket, std::function<bool(std::string_view)> wants)>;
// Null: it is not enabled. kInvalid: an expression is wrong; the error names the setting.
Result<std::unique_ptr<Source>> make_systemd_source(const HostSourceOptions& options, const MakeServiceManager& make);

}  // namespace lambda::agent
