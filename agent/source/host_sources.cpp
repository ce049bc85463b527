#include "agent/source/host_sources.h"

#include "agent/source/cgroup_source.h"
#include "agent/source/cpu_source.h"
#include "agent/source/disk_source.h"
#include "agent/source/filesystem_source.h"
#include "agent/source/load_source.h"
#include "agent/source/memory_source.h"
#include "agent/source/network_source.h"
#include "agent/source/pressure_source.h"
#include "agent/source/processes_source.h"
#include "agent/source/self_source.h"
#include "agent/source/sensors_source.h"
#include "agent/source/sockets_source.h"
#include "agent/source/synthetic_source.h"
#include "agent/source/systemd_source.h"
#include "agent/source/text.h"
#include "agent/source/time_source.h"

namespace lambda::agent {
namespace {

constexpr int64_t kIntervalMsMin = 10;
constexpr int64_t kIntervalMsMax = 3'600'000;

Status check_numbers(const HostSourceOptions& options) {
  const std::pair<const char*, const SourceOptions*> all[] = {{"cpu", &options.cpu},
                                                              {"memory", &options.memory},
                                                              {"load", &options.load},
                                                              {"disk", &options.disk},
                                                              {"filesystem", &options.filesystem},
                                                              {"network", &options.network},
                                                              {"pressure", &options.pressure},
                                                              {"sockets", &options.sockets},
                                                              {"processes", &options.processes},
                                                              {"time", &options.time},
                                                              {"sensors", &options.sensors},
                                                              {"cgroup", &options.cgroup},
                                                              {"systemd", &options.systemd},
                                                              {"self", &options.self},
                                                              {"synthetic", &options.synthetic}};
  for (const auto& [name, source] : all) {
    if (source->interval_ms >= kIntervalMsMin && source->interval_ms <= kIntervalMsMax) continue;
    return fail(ErrorCode::kInvalid, std::string("sources.") + name + ".interval_ms: " +
                                         std::to_string(source->interval_ms) + " is not within 10 to 3600000");
  }
  if (options.processes_top < 1 || options.processes_top > kProcessesTopMax) {
    return fail(ErrorCode::kInvalid, "sources.processes.top: " + std::to_string(options.processes_top) +
                                         " is not within 1 to " + std::to_string(kProcessesTopMax));
  }
  if (options.cgroup_depth < 1 || options.cgroup_depth > kCgroupDepthMax) {
    return fail(ErrorCode::kInvalid, "sources.cgroup.depth: " + std::to_string(options.cgroup_depth) +
                                         " is not within 1 to " + std::to_string(kCgroupDepthMax));
  }
  if (options.synthetic_series < 1 || options.synthetic_series > kSyntheticSeriesMax) {
    return fail(ErrorCode::kInvalid, "sources.synthetic.series: " + std::to_string(options.synthetic_series) +
                                         " is not within 1 to " + std::to_string(kSyntheticSeriesMax));
  }
  if (options.synthetic_shape != "unique" && options.synthetic_shape != "lifelike") {
    return fail(ErrorCode::kInvalid,
                "sources.synthetic.shape: \"" + options.synthetic_shape + "\" is neither unique nor lifelike");
  }
  return {};
}

}  // namespace

Result<std::vector<std::unique_ptr<MeteredSource>>> make_host_sources(HostFiles& files, const Clock& clock,
                                                                      const HostSourceOptions& options,
                                                                      std::vector<SelfMeter> meters,
                                                                      std::vector<std::unique_ptr<Source>> further) {
  if (auto status = check_numbers(options); !status) return tl::unexpected<Error>(status.error());
  auto disks = DeviceFilter::make("sources.disk", options.disk.include, options.disk.exclude);
  if (!disks) return tl::unexpected<Error>(disks.error());
  auto mounts = DeviceFilter::make("sources.filesystem", options.filesystem.include, options.filesystem.exclude);
  if (!mounts) return tl::unexpected<Error>(mounts.error());
  auto types = DeviceFilter::make("sources.filesystem.types", "", options.filesystem_types_exclude);
  if (!types) return tl::unexpected<Error>(types.error());
  auto interfaces = DeviceFilter::make("sources.network", options.network.include, options.network.exclude);
  if (!interfaces) return tl::unexpected<Error>(interfaces.error());

  auto programs = DeviceFilter::make("sources.processes", options.processes.include, options.processes.exclude);
  if (!programs) return tl::unexpected<Error>(programs.error());
  auto chips = DeviceFilter::make("sources.sensors", options.sensors.include, options.sensors.exclude);
  if (!chips) return tl::unexpected<Error>(chips.error());
  auto groups = DeviceFilter::make("sources.cgroup", options.cgroup.include, options.cgroup.exclude);
  if (!groups) return tl::unexpected<Error>(groups.error());

  std::vector<std::unique_ptr<MeteredSource>> sources;
  const auto add = [&](std::unique_ptr<Source> source) {
    sources.push_back(std::make_unique<MeteredSource>(std::move(source), clock));
  };
  const std::string& root = options.root;
  if (options.cpu.enabled) add(std::make_unique<CpuSource>(files, root, options.cpu.interval_ms));
  if (options.memory.enabled) add(std::make_unique<MemorySource>(files, root, options.memory.interval_ms));
  if (options.load.enabled) add(std::make_unique<LoadSource>(files, root, options.load.interval_ms));
  if (options.disk.enabled) {
    add(std::make_unique<DiskSource>(files, root, options.disk.interval_ms, std::move(*disks)));
  }
  if (options.filesystem.enabled) {
    add(std::make_unique<FilesystemSource>(files, root, options.filesystem.interval_ms, std::move(*mounts),
                                           std::move(*types)));
  }
  if (options.network.enabled) {
    add(std::make_unique<NetworkSource>(files, root, options.network.interval_ms, std::move(*interfaces)));
  }
  if (options.pressure.enabled) add(std::make_unique<PressureSource>(files, root, options.pressure.interval_ms));
  if (options.sockets.enabled) add(std::make_unique<SocketsSource>(files, root, options.sockets.interval_ms));
  if (options.processes.enabled) {
    auto process_groups = std::unique_ptr<ProcessGroups>();
    if (!options.process_groups.empty()) {
      auto made = ProcessGroups::make(files, root, options.process_groups);
      if (!made) return tl::unexpected<Error>(made.error());
      process_groups = std::move(*made);
    }
    add(std::make_unique<ProcessesSource>(files, root, options.processes.interval_ms, std::move(*programs),
                                          options.processes_top, std::move(process_groups)));
  }
  if (options.time.enabled) add(std::make_unique<TimeSource>(files, root, options.time.interval_ms));
  if (options.sensors.enabled) {
    add(std::make_unique<SensorsSource>(files, root, options.sensors.interval_ms, std::move(*chips)));
  }
  if (options.cgroup.enabled) {
    add(std::make_unique<CgroupSource>(files, root, options.cgroup.interval_ms, std::move(*groups),
                                       options.cgroup_depth));
  }
  if (options.synthetic.enabled) {
    const auto shape = options.synthetic_shape == "lifelike" ? SyntheticShape::kLifelike : SyntheticShape::kUnique;
    add(std::make_unique<SyntheticSource>(options.synthetic_series, options.synthetic.interval_ms, shape));
  }
  for (auto& source : further) add(std::move(source));
  if (options.self.enabled) {
    auto self = std::make_unique<SelfSource>(files, options.self.interval_ms, std::move(meters));
    for (const auto& source : sources) self->watch(*source);
    add(std::move(self));
  }
  return sources;
}

Result<std::unique_ptr<Source>> make_systemd_source(const HostSourceOptions& options, const MakeServiceManager& make) {
  if (!options.systemd.enabled) return std::unique_ptr<Source>();
  auto filter = DeviceFilter::make("sources.systemd", options.systemd.include, options.systemd.exclude);
  if (!filter) return tl::unexpected<Error>(filter.error());
  const auto shared = std::make_shared<const DeviceFilter>(std::move(*filter));
  const std::string socket =
      options.systemd_socket.empty() ? below(options.root, "run/dbus/system_bus_socket") : options.systemd_socket;
  auto manager = make(socket, [shared](std::string_view unit) { return shared->wants(unit); });
  return std::unique_ptr<Source>(std::make_unique<SystemdSource>(std::move(manager), options.systemd.interval_ms));
}

}  // namespace lambda::agent
