#include "agent/config.h"

#include <set>

#include "agent/source/cgroup_source.h"
#include "agent/source/processes_source.h"
#include "agent/source/synthetic_source.h"

namespace lambda::agent {
namespace {

constexpr int64_t kDayMs = 86'400'000;
constexpr uint64_t kTera = uint64_t{1} << 40;

void source_keys(ConfigTable& table, const std::string& name, SourceOptions& source, const char* devices,
                 const char* what) {
  const std::string prefix = "sources." + name + ".";
  table.flag(prefix + "enabled", source.enabled, what);
  table.integer(prefix + "interval_ms", source.interval_ms, 10, 3'600'000, "Time between two collections.");
  if (devices == nullptr) return;
  table.text(prefix + "include", source.include, std::string("Only ") + devices + " that match; a regular expression.");
  table.text(prefix + "exclude", source.exclude, std::string("No ") + devices + " that match.");
}

void all_sources(ConfigTable& table, HostSourceOptions& sources) {
  table.text("sources.root", sources.root, "Where the host's file system is seen.", not_empty());
  source_keys(table, "cpu", sources.cpu, nullptr, "Processor time, in total and for each processor.");
  source_keys(table, "memory", sources.memory, nullptr, "Memory.");
  source_keys(table, "load", sources.load, nullptr, "Load averages.");
  source_keys(table, "disk", sources.disk, "disks", "Disk input and output.");
  source_keys(table, "filesystem", sources.filesystem, "mount points", "Fill of mounted file systems.");
  table.text("sources.filesystem.types_exclude", sources.filesystem_types_exclude, "No file systems of these types.");
  source_keys(table, "network", sources.network, "interfaces", "Network interfaces.");
  source_keys(table, "pressure", sources.pressure, nullptr, "Time lost for want of processor, memory or disk.");
  source_keys(table, "sockets", sources.sockets, nullptr, "Sockets, and connections by state.");
  source_keys(table, "processes", sources.processes, "programs", "Processes, and the programs that use most.");
  table.integer("sources.processes.top", sources.processes_top, 1, kProcessesTopMax,
                "Programs told of for processor time, and as many for memory.");
  source_keys(table, "time", sources.time, nullptr, "How well the clock is kept, and the time since the boot.");
  source_keys(table, "sensors", sources.sensors, "chips and types", "Temperatures, fans, voltages.");
  source_keys(table, "cgroup", sources.cgroup, "control groups", "Use of each service and container.");
  table.integer("sources.cgroup.depth", sources.cgroup_depth, 1, kCgroupDepthMax,
                "1: slices; 2: their services and containers.");
  source_keys(table, "systemd", sources.systemd, "units", "States of systemd's units, where there is a bus.");
  table.text("sources.systemd.socket", sources.systemd_socket,
             "Path of the bus's socket; empty: run/dbus/system_bus_socket below sources.root.");
  source_keys(table, "self", sources.self, nullptr, "The agent about itself.");
  source_keys(table, "synthetic", sources.synthetic, nullptr, "Made-up points, for tests and benchmarks.");
  table.integer("sources.synthetic.series", sources.synthetic_series, 1, kSyntheticSeriesMax, "How many series.");
  table.text("sources.synthetic.shape", sources.synthetic_shape,
             "unique: no value twice; lifelike: counters and readings that wander.", one_of({"unique", "lifelike"}));
}

void process_group_keys(ConfigTable& table, std::vector<ProcessGroupOptions>& groups) {
  table.tables<ProcessGroupOptions>(
      "process_group", groups, kProcessGroupsMax, "Processes that belong together; told of with sources.processes.",
      [](ConfigTable& row, ProcessGroupOptions& group) {
        row.text("name", group.name, "The label group.", not_empty()).required();
        row.text("match", group.match, "Of the process's name or its command line; a regular expression.", not_empty())
            .required();
      });
  table.rule("process_group", [&groups] { return ProcessGroups::check(groups); });
}

void statsd_keys(ConfigTable& table, StatsdOptions& statsd) {
  table.flag("statsd.enabled", statsd.enabled, "Take metrics of StatsD and DogStatsD clients.");
  table.text("statsd.address", statsd.address, "Numeric address to receive UDP at; empty: no UDP.");
  table.integer("statsd.port", statsd.port, 1, 65535, "UDP port.");
  table.text("statsd.socket", statsd.socket, "Path of a Unix datagram socket; empty: none.");
  table.flag("statsd.from_anywhere", statsd.from_anywhere,
             "Allow an address that is not loopback: whoever reaches it may send, nobody is asked who they are.");
  table.integer("statsd.interval_ms", statsd.interval_ms, 100, 3'600'000, "Time between two points of a series.");
  table.integer("statsd.series_max", statsd.series_max, 1, kStatsdSeriesMax,
                "Metrics with different names and tags; lines of further ones are counted and dropped.");
  table.integer("statsd.idle_ms", statsd.idle_ms, 1'000, 86'400'000,
                "A metric without a line for so long is forgotten.");
  table.integer("statsd.buckets_max", statsd.buckets_max, kHistogramBucketsMin, kHistogramBucketsMax,
                "Buckets of a timer's histogram; fewer are coarser, never wrong.");
  table.integer("statsd.text_bytes_max", statsd.text_bytes_max, uint64_t{64} << 10, uint64_t{1} << 30,
                "Of names and tags, and of the ways in which they are written.");
  table.integer("statsd.packet_bytes_max", statsd.packet_bytes_max, 512, 65'535, "Longer packets are dropped.");
  table.integer("statsd.waiting_bytes_max", statsd.waiting_bytes_max, uint64_t{64} << 10, uint64_t{256} << 20,
                "Received and not yet handled; past it the kernel's queue fills.");
  table.integer("statsd.kernel_bytes_max", statsd.kernel_bytes_max, uint64_t{64} << 10, uint64_t{256} << 20,
                "Asked of the kernel for its queue.");
  table.rule("statsd.address", [&statsd]() -> Status {
    if (!statsd.enabled) return {};
    if (statsd.address.empty() && statsd.socket.empty()) {
      return fail(ErrorCode::kInvalid, "and statsd.socket are both empty: nothing could be received");
    }
    const bool loopback = statsd.address.empty() || statsd.address.starts_with("127.") || statsd.address == "::1";
    if (loopback || statsd.from_anywhere) return {};
    return fail(ErrorCode::kInvalid, "is not loopback; set statsd.from_anywhere if whoever reaches it may send");
  });
}

void scrape_keys(ConfigTable& table, std::vector<ScrapeOptions>& targets) {
  const auto describe = [](ConfigTable& row, ScrapeOptions& target) {
    row.text("name", target.name, "The label job of its series; each target has another.", not_empty()).required();
    row.text("url", target.url, "As http://127.0.0.1:9100/metrics.", http_url()).required();
    row.integer("interval_ms", target.interval_ms, 100, 86'400'000, "Time between two scrapes.");
    row.integer("timeout_ms", target.timeout_ms, 0, 3'600'000, "For a whole answer; 0: the interval, at most 10 s.");
    row.text_list("labels", target.labels, 16, "Further labels of all its series: [\"room=hall\"].");
    row.secret("token", target.token, "Shown to the target as a bearer token.");
    row.text("ca", target.ca_file, "https: certificates to trust (PEM); empty: those of the system.");
    row.text("certificate", target.certificate_file, "https: shown to the target (PEM).");
    row.text("key", target.key_file, "https: its key (PEM).");
    row.text("include", target.include, "Only metrics whose names match; a regular expression.");
    row.text("exclude", target.exclude, "No metrics whose names match.");
    row.flag("honor_labels", target.honor_labels, "A sample's own label stands where the target has one of that name.");
    row.flag("honor_timestamps", target.honor_timestamps, "A sample's own time counts, where it has one.");
    row.integer("sample_max", target.sample_max, 1, 100'000, "A page with more wanted samples is refused.");
    row.integer("series_max", target.series_max, 1, 100'000, "Different series; further ones are refused and counted.");
    row.integer("body_bytes_max", target.body_bytes_max, uint64_t{1'024}, uint64_t{64} << 20,
                "A longer page, packed or unpacked, is refused.");
  };
  table.tables<ScrapeOptions>("scrape", targets, kScrapeTargetsMax,
                              "Programs whose pages of metrics are read: Prometheus' text format or OpenMetrics.",
                              describe);
  table.rule("scrape", [&targets]() -> Status {
    std::set<std::string> names;
    for (const ScrapeOptions& target : targets) {
      const auto wrong = [&](const std::string& what) {
        return fail(ErrorCode::kInvalid, "target \"" + target.name + "\": " + what);
      };
      if (!names.insert(target.name).second) return wrong("another target has this name");
      if (target.timeout_ms > target.interval_ms) return wrong("timeout_ms must not be more than interval_ms");
      if (target.certificate_file.empty() != target.key_file.empty()) {
        return wrong("certificate and key go together");
      }
      if (auto labels = scrape_labels(target); !labels) return wrong("labels: " + labels.error().text);
      const std::pair<const char*, const std::string*> patterns[] = {{"include", &target.include},
                                                                     {"exclude", &target.exclude}};
      for (const auto& [key, pattern] : patterns) {
        if (auto filter = DeviceFilter::make(key, *pattern, ""); !filter) return wrong(filter.error().text);
      }
    }
    return {};
  });
}

void uplink_keys(ConfigTable& table, ConnectionOptions& uplink) {
  table.text_list("uplink.gateways", uplink.gateways, 16,
                  "Brokers, tried in order; empty: those of the enrolment bundle.", mqtt_url());
  table.text("uplink.server_name", uplink.server_name, "The name in the broker's certificate; empty: the url's host.");
  table.integer("uplink.backoff_ms", uplink.backoff_ms, 100, 600'000, "First wait after a lost connection, at most.");
  table.integer("uplink.backoff_ms_max", uplink.backoff_ms_max, 100, 3'600'000, "It doubles up to here.");
  table.integer("uplink.outgoing_bytes_max", uplink.outgoing_bytes_max, 1u << 20, 256u << 20,
                "Published and not yet taken by the broker.");
  table.integer("uplink.window_parcels_max", uplink.uplink.window_parcels_max, 2, kWindowParcelsMax,
                "Parcels sent and not yet acked.");
  table.integer("uplink.window_bytes_max", uplink.uplink.window_bytes_max, 64u << 10, 64u << 20, "The same in bytes.");
  table.integer("uplink.answer_timeout_ms", uplink.uplink.answer_timeout_ms, 100, 600'000,
                "Without an answer for so long, the gateway is asked.");
  table.integer("uplink.answer_timeout_ms_max", uplink.uplink.answer_timeout_ms_max, 100, 3'600'000,
                "It doubles up to here.");
  table.rule("uplink.backoff_ms_max", [&uplink]() -> Status {
    if (uplink.backoff_ms_max >= uplink.backoff_ms) return {};
    return fail(ErrorCode::kInvalid, "must not be less than uplink.backoff_ms");
  });
  table.rule("uplink.answer_timeout_ms_max", [&uplink]() -> Status {
    if (uplink.uplink.answer_timeout_ms_max >= uplink.uplink.answer_timeout_ms) return {};
    return fail(ErrorCode::kInvalid, "must not be less than uplink.answer_timeout_ms");
  });
}

void live_keys(ConfigTable& table, LiveOptions& live) {
  table.flag("live.enabled", live.enabled,
             "Points that a gateway wants to see at once are sent ahead of their parcel.");
  table.integer("live.bytes_per_s", live.bytes_per_s, uint64_t{1} << 10, uint64_t{1} << 30,
                "Over it they wait, and the oldest are left to their parcel.");
  table.integer("live.points_waiting_max", live.points_waiting_max, 16, 10'000'000, "Points that wait.");
  table.integer("live.message_bytes_max", live.message_bytes_max, 4096, 256u << 10, "A message's size.");
  table.integer("live.outgoing_bytes_max", live.outgoing_bytes_max, 4096, 64u << 20,
                "With more on its way to the broker, parcels included, they wait.");
  table.integer("live.batch_ms", live.batch_ms, 1, 10'000, "Points of so long share a message.");
  table.integer("live.lease_s_max", live.lease_s_max, 1, 86'400,
                "A gateway that says no more is forgotten after so long at the latest.");
}

}  // namespace

std::unique_ptr<ConfigTable> agent_config_table(AgentConfig& config) {
  auto made = std::make_unique<ConfigTable>("lambda-agent");
  ConfigTable& table = *made;
  table.text("agent.device", config.device, "This device's name, one of its own in the site.", identifier()).required();
  table.text("agent.state", config.state_dir, "Folder for keys, journal and spool.", not_empty());
  table.integer("agent.series_max", config.series_max, 1, 100'000, "Further series are refused and counted.");
  table.integer("memory.bytes_max", config.memory_bytes_max, uint64_t{1} << 20, uint64_t{16} << 30,
                "Room for points in memory; over it the oldest go before their time.");
  table.integer("memory.retention_ms", config.retention_ms, 1'000, 86'400'000,
                "How long points can be asked for here.");
  table.integer("seal.age_ms", config.seal_age_ms, 100, 600'000, "Points are made into a parcel when they are so old.");
  table.integer("seal.parcel_bytes_max", config.parcel_bytes_max, 2048, 1'000'000, "A parcel's size.");
  table.integer("clock.step_ms", config.clock_step_ms, 50, 3'600'000,
                "A clock that disagrees by more was set: a new clock segment begins. Less is followed slowly.");
  table.integer("journal.sync_ms", config.journal.sync_ms, 10, 600'000, "A power cut loses at most this.");
  table.integer("journal.file_bytes", config.journal.file_bytes, uint64_t{4096}, uint64_t{256} << 20,
                "A round begins another file when the present one is larger.");
  table.flag("journal.keep", config.journal.keep, "Keep finished journals as kept-*.lam, for an audit. Not bounded.");
  table.integer("spool.bytes_max", config.spool.bytes_max, uint64_t{256} << 10, kTera,
                "Spool and journals on disk; over it the oldest parcels go, named by gap records.");
  table.integer("spool.age_ms_max", config.spool.age_ms_max, 1'000, 3650 * kDayMs, "Older parcels go the same way.");
  table.integer("spool.file_bytes", config.spool.file_bytes, uint64_t{0}, uint64_t{256} << 20,
                "A spool file's size; 0: a sixteenth of spool.bytes_max, within 64 KB and 16 MB.");
  table.integer("spool.reserve_bytes", config.reserve_bytes, uint64_t{0}, uint64_t{1} << 30,
                "A file that is given up when the disk is full, so that acks can still be noted.");
  uplink_keys(table, config.uplink);
  live_keys(table, config.live);
  http_keys(table, config.http);
  table.flag("doors.enabled", config.doors_enabled, "Points are taken over HTTP: push, remote-write, line protocol.");
  table.integer("doors.points_waiting_max", config.doors.feed.points_waiting_max, uint64_t{1'000}, uint64_t{10'000'000},
                "Points of all requests that wait for the journal; over it requests are refused until there is room.");
  table.integer("doors.past_ms_max", config.doors.feed.past_ms_max, 1'000, 3650 * kDayMs, "Older points are refused.");
  table.integer("doors.future_ms_max", config.doors.feed.future_ms_max, 0, kDayMs,
                "Points further ahead of this clock are refused.");
  table.integer("doors.series_max", config.doors.feed.series_max, 1, 100'000,
                "Series that the doors may bring; known ones go on when it is reached.");
  table.integer("doors.requests_bytes_max", config.doors.requests_bytes_max, uint64_t{0}, uint64_t{4} << 20,
                "Of the memory of requests that were answered well, so that one that comes again is; 0: none.");
  table.flag("doors.synced", config.doors.synced,
             "A good answer waits until the points survive a power cut; else until they survive a killed agent.");
  table.integer("doors.unpacked_bytes_max", config.doors.unpacked_bytes_max, uint64_t{64} << 10, uint64_t{1} << 30,
                "A packed request's size when it is unpacked.");
  all_sources(table, config.sources);
  process_group_keys(table, config.sources.process_groups);
  statsd_keys(table, config.statsd);
  scrape_keys(table, config.scrape);
  log_keys(table, config.log);
  return made;
}

Result<AgentConfig> load_agent_config(Disk& disk, const Environment& environment, const std::string& path) {
  AgentConfig config;
  if (auto status = agent_config_table(config)->load(disk, environment, path); !status) {
    return tl::unexpected(status.error());
  }
  return config;
}

}  // namespace lambda::agent
