// Pressure, sockets, clock, processes, sensors and control groups, of files in memory: names, labels, exact values,
// what comes and goes, garbage.
#include <gtest/gtest.h>

#include <bit>

#include "agent/source/cgroup_source.h"
#include "agent/source/pressure_source.h"
#include "agent/source/processes_source.h"
#include "agent/source/sensors_source.h"
#include "agent/source/sockets_source.h"
#include "agent/source/test_world.h"
#include "agent/source/time_source.h"

namespace lambda::agent {
namespace {

struct World {
  MemoryFiles files;
  MemorySink sink;
  Status collect(Source& source) {
    sink.next();
    auto status = source.collect(sink, 0);
    EXPECT_TRUE(sink.doubled.empty()) << sink.doubled.front();
    return status;
  }
  // The value of a series in the last collection, or -1.
  int64_t at(const std::string& key) const {
    const auto found = sink.last.find(key);
    return found == sink.last.end() ? -1 : static_cast<int64_t>(found->second);
  }
  size_t told(const std::string& name) const {
    size_t count = 0;
    for (const auto& [key, bits] : sink.last) count += key.starts_with(name + "{") ? 1 : 0;
    return count;
  }
};

DeviceFilter filter(const std::string& include = "", const std::string& exclude = "") {
  auto made = DeviceFilter::make("test", include, exclude);
  EXPECT_TRUE(made.has_value());
  return std::move(*made);
}

TEST(PressureSource, TellsWaitingAndStalledTimeInMicroseconds) {
  World world;
  world.files.files["/proc/pressure/cpu"] =
      "some avg10=98.41 avg60=98.77 avg300=92.70 total=19077290669\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";
  world.files.files["/proc/pressure/io"] =
      "some avg10=0.00 avg60=0.00 avg300=0.00 total=5\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=4\n";
  PressureSource source(world.files, "/", 1000);
  ASSERT_TRUE(world.collect(source).has_value());
  EXPECT_EQ(world.at("node_pressure_cpu_waiting_seconds_total{}"), 19077290669);
  EXPECT_EQ(world.at("node_pressure_io_waiting_seconds_total{}"), 5);
  EXPECT_EQ(world.at("node_pressure_io_stalled_seconds_total{}"), 4);
  EXPECT_EQ(world.sink.last.size(), 3u);
  EXPECT_EQ(world.sink.spec("node_pressure_io_stalled_seconds_total{}")->scale, 6);
}

TEST(PressureSource, AKernelWithoutItHasNoSeriesAndNoError) {
  World world;
  PressureSource source(world.files, "/", 1000);
  EXPECT_TRUE(world.collect(source).has_value());
  EXPECT_TRUE(world.sink.last.empty());
}

TEST(PressureSource, GarbageCostsItsLine) {
  World world;
  world.files.files["/proc/pressure/io"] = "some avg10=0.00\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=4\n";
  PressureSource source(world.files, "/", 1000);
  const auto status = world.collect(source);
  ASSERT_FALSE(status.has_value());
  EXPECT_TRUE(status.error().text.starts_with("/proc/pressure/io:1: expected")) << status.error().text;
  EXPECT_EQ(world.at("node_pressure_io_stalled_seconds_total{}"), 4);
}

constexpr const char* kConnections =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0\n"
    "   1: 0100007F:1F90 0100007F:C350 01 00000010:00000020 00:00000000 00000000     0        0 2 1 0 20 4 30 10 -1\n"
    "   2: 0100007F:C350 0100007F:1F90 01 00000000:0000000A 00:00000000 00000000     0        0 3 1 0 20 4 30 10 -1\n";

TEST(SocketsSource, TellsCountsOfSocketsAndConnectionsByState) {
  World world;
  world.files.files["/proc/net/sockstat"] =
      "sockets: used 12\nTCP: inuse 3 orphan 0 tw 683 alloc 4 mem 91\nFRAG: inuse 0 memory 0\n";
  world.files.files["/proc/net/sockstat6"] = "TCP6: inuse 2\n";
  world.files.files["/proc/net/tcp"] = kConnections;
  SocketsSource source(world.files, "/", 1000);
  ASSERT_TRUE(world.collect(source).has_value());
  EXPECT_EQ(world.at("node_sockstat_sockets_used{}"), 12);
  EXPECT_EQ(world.at("node_sockstat_TCP_tw{}"), 683);
  EXPECT_EQ(world.at("node_sockstat_TCP_mem{}"), 91);
  EXPECT_EQ(world.at("node_sockstat_TCP_mem_bytes{}"), 91 * 4096);
  EXPECT_EQ(world.at("node_sockstat_TCP6_inuse{}"), 2);
  EXPECT_EQ(world.at("node_sockstat_FRAG_memory{}"), 0);
  EXPECT_EQ(world.at("node_tcp_connection_states{state=\"listen\"}"), 1);
  EXPECT_EQ(world.at("node_tcp_connection_states{state=\"established\"}"), 2);
  EXPECT_EQ(world.at("node_tcp_connection_states{state=\"rx_queued_bytes\"}"), 42);
  EXPECT_EQ(world.at("node_tcp_connection_states{state=\"tx_queued_bytes\"}"), 16);
  EXPECT_EQ(world.told("node_tcp_connection_states"), 4u);
}

TEST(SocketsSource, AStateThatEmptiesGoesOnWithZero) {
  World world;
  world.files.files["/proc/net/tcp"] = kConnections;
  SocketsSource source(world.files, "/", 1000);
  ASSERT_TRUE(world.collect(source).has_value());
  world.files.files["/proc/net/tcp"] = "heading\n";
  ASSERT_TRUE(world.collect(source).has_value());
  EXPECT_EQ(world.at("node_tcp_connection_states{state=\"established\"}"), 0);
  EXPECT_EQ(world.told("node_tcp_connection_states"), 4u);
}

TEST(SocketsSource, AsksTheHostsFirstProcessWhenItLooksFromAContainer) {
  World world;
  world.files.files["/host/proc/1/net/sockstat"] = "sockets: used 7\n";
  SocketsSource source(world.files, "/host", 1000);
  ASSERT_TRUE(world.collect(source).has_value());
  EXPECT_EQ(world.at("node_sockstat_sockets_used{}"), 7);
}

TEST(SocketsSource, GarbageCostsItsLine) {
  World world;
  world.files.files["/proc/net/sockstat"] = "sockets used 12\nTCP: inuse x\nUDP: inuse 3 mem\n";
  world.files.files["/proc/net/tcp"] = "heading\nhere is nothing\n   0: a b 0A 00:00\n   1: a b 0A 00000000\n";
  SocketsSource source(world.files, "/", 1000);
  const auto status = world.collect(source);
  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().text,
            "/proc/net/sockstat:1: expected \"<protocol>: <name> <count> ...\" (and 4 more); skipped");
  EXPECT_EQ(world.at("node_sockstat_UDP_inuse{}"), 3);
  EXPECT_EQ(world.at("node_tcp_connection_states{state=\"listen\"}"), 1);
}

TEST(TimeSource, TellsTheClocksOffsetAndWhetherItIsKept) {
  World world;
  world.files.files["/proc/uptime"] = "38820.51 61234.00\n";
  world.files.discipline = {-1'500, -65'536 * 3, 500'000, 12, 0x2001, 7, 10'000, 37, true};
  TimeSource source(world.files, "/", 1000);
  ASSERT_TRUE(world.collect(source).has_value());
  EXPECT_EQ(world.at("lambda_uptime_seconds{}"), 3882051);
  EXPECT_EQ(world.at("node_timex_offset_seconds{}"), -1'500);
  EXPECT_EQ(world.sink.spec("node_timex_offset_seconds{}")->scale, 9);
  EXPECT_EQ(world.at("node_timex_maxerror_seconds{}"), 500'000);
  EXPECT_EQ(world.at("node_timex_estimated_error_seconds{}"), 12);
  EXPECT_EQ(world.at("node_timex_status{}"), 0x2001);
  EXPECT_EQ(world.at("node_timex_tick_seconds{}"), 10'000);
  EXPECT_EQ(world.at("node_timex_tai_offset_seconds{}"), 37);
  EXPECT_EQ(world.at("node_timex_sync_status{}"), 1);
  EXPECT_DOUBLE_EQ(std::bit_cast<double>(world.sink.last["node_timex_frequency_adjustment_ratio{}"]), 1 - 3e-6);
  world.files.discipline.synchronised = false;
  ASSERT_TRUE(world.collect(source).has_value());
  EXPECT_EQ(world.at("node_timex_sync_status{}"), 0);
}

// A line of /proc/<pid>/stat.
std::string stat_of(const std::string& name, char state, int64_t ticks, int64_t pages, int64_t started = 100,
                    int64_t threads = 1) {
  return "7 (" + name + ") " + state + " 1 1 1 0 -1 4194560 1 2 3 4 " + std::to_string(ticks) + " 0 0 0 20 0 " +
         std::to_string(threads) + " 0 " + std::to_string(started) + " 9999 " + std::to_string(pages) +
         " 18446744073709551615\n";
}

TEST(ProcessesSource, CountsProcessesThreadsAndStates) {
  World world;
  world.files.files["/proc/1/stat"] = stat_of("init", 'S', 10, 5);
  world.files.files["/proc/20/stat"] = stat_of("a (b) c", 'R', 10, 5, 100, 7);
  world.files.files["/proc/21/stat"] = stat_of("kworker/0:1", 'I', 0, 0);
  world.files.files["/proc/stat"] = "cpu 1 2 3\n";
  world.files.files["/proc/sys/kernel/pid_max"] = "32768\n";
  world.files.files["/proc/sys/kernel/threads-max"] = "192730\n";
  ProcessesSource source(world.files, "/", 1000, filter(), 5);
  ASSERT_TRUE(world.collect(source).has_value());
  EXPECT_EQ(world.at("node_processes_pids{}"), 3);
  EXPECT_EQ(world.at("node_processes_threads{}"), 9);
  EXPECT_EQ(world.at("node_processes_state{state=\"S\"}"), 1);
  EXPECT_EQ(world.at("node_processes_state{state=\"R\"}"), 1);
  EXPECT_EQ(world.at("node_processes_state{state=\"I\"}"), 1);
  EXPECT_EQ(world.at("node_processes_max_processes{}"), 32768);
  EXPECT_EQ(world.at("node_processes_max_threads{}"), 192730);
  EXPECT_EQ(world.at("lambda_process_resident_memory_bytes{process=\"a (b) c\"}"), 5 * 4096);
  world.files.files.erase("/proc/20/stat");
  ASSERT_TRUE(world.collect(source).has_value());
  EXPECT_EQ(world.at("node_processes_state{state=\"R\"}"), 0);
  EXPECT_EQ(world.at("node_processes_pids{}"), 2);
}

TEST(ProcessesSource, AProgramsTimeIsThatOfAllItsProcessesAndNeverGoesDown) {
  World world;
  world.files.files["/proc/10/stat"] = stat_of("web", 'S', 1'000, 10);
  world.files.files["/proc/11/stat"] = stat_of("web", 'S', 500, 20);
  ProcessesSource source(world.files, "/", 1000, filter(), 5);
  const std::string time = "lambda_process_cpu_seconds_total{process=\"web\"}";
  ASSERT_TRUE(world.collect(source).has_value());
  EXPECT_EQ(world.at(time), 0);  // what was used before we came is nobody's
  EXPECT_EQ(world.at("lambda_process_resident_memory_bytes{process=\"web\"}"), 30 * 4096);
  EXPECT_EQ(world.at("lambda_process_count{process=\"web\"}"), 2);
  world.files.files["/proc/10/stat"] = stat_of("web", 'S', 1'010, 10);
  world.files.files["/proc/11/stat"] = stat_of("web", 'S', 503, 20);
  ASSERT_TRUE(world.collect(source).has_value());
  EXPECT_EQ(world.at(time), 13);
  // One ends; another begins under the same pid and has used 4 by now.
  world.files.files.erase("/proc/10/stat");
  world.files.files["/proc/11/stat"] = stat_of("web", 'S', 4, 20, 900);
  ASSERT_TRUE(world.collect(source).has_value());
  EXPECT_EQ(world.at(time), 17);
  world.files.files["/proc/12/stat"] = stat_of("web", 'R', 2, 1, 950);
  ASSERT_TRUE(world.collect(source).has_value());
  EXPECT_EQ(world.at(time), 19);
  EXPECT_EQ(world.at("lambda_process_count{process=\"web\"}"), 2);
}

TEST(ProcessesSource, TellsThoseThatUseMostOfEitherAndOnlyThoseAskedFor) {
  World world;
  for (int i = 0; i < 20; ++i) {
    world.files.files["/proc/" + std::to_string(100 + i) + "/stat"] =
        stat_of("p" + std::to_string(i), 'S', 0, 1'000 - i);
  }
  world.files.files["/proc/300/stat"] = stat_of("hidden", 'S', 0, 9'999);
  ProcessesSource source(world.files, "/", 1000, filter("", "^hidden$"), 2);
  ASSERT_TRUE(world.collect(source).has_value());
  world.files.files["/proc/115/stat"] = stat_of("p15", 'R', 50, 1);
  world.files.files["/proc/116/stat"] = stat_of("p16", 'R', 40, 1);
  world.files.files["/proc/117/stat"] = stat_of("p17", 'R', 30, 1);
  world.files.files["/proc/300/stat"] = stat_of("hidden", 'R', 90, 9'999);
  ASSERT_TRUE(world.collect(source).has_value());
  EXPECT_EQ(world.at("lambda_process_cpu_seconds_total{process=\"p15\"}"), 50);
  EXPECT_EQ(world.at("lambda_process_cpu_seconds_total{process=\"p16\"}"), 40);
  EXPECT_EQ(world.at("lambda_process_resident_memory_bytes{process=\"p0\"}"), 1'000 * 4096);
  EXPECT_EQ(world.at("lambda_process_resident_memory_bytes{process=\"p1\"}"), 999 * 4096);
  EXPECT_EQ(world.told("lambda_process_count"), 4u);
  for (auto& [path, text] : world.files.files) text = stat_of("idle", 'S', 0, 0);
  ASSERT_TRUE(world.collect(source).has_value());
  EXPECT_EQ(world.told("lambda_process_count"), 0u);  // a kernel's thread that does nothing is no news
  EXPECT_EQ(world.at("node_processes_pids{}"), 21);
}

TEST(ProcessesSource, ToldNamesHaveABound) {
  World world;
  ProcessesSource source(world.files, "/", 1000, filter(), 5);
  ASSERT_FALSE(world.collect(source).has_value());  // no /proc
  for (int i = 0; i < 400; ++i) {
    world.files.files.clear();
    world.files.files["/proc/9/stat"] = stat_of("n" + std::to_string(i), 'S', 1, 1, i);
    ASSERT_TRUE(world.collect(source).has_value());
    EXPECT_EQ(world.told("lambda_process_count"), i < int{kProcessNamesMax} ? 1u : 0u);
  }
  EXPECT_EQ(world.at("lambda_process_names_refused_total{}"), 400 - int64_t{kProcessNamesMax});
}

TEST(ProcessesSource, GarbageCostsItsProcess) {
  World world;
  world.files.files["/proc/1/stat"] = stat_of("init", 'S', 10, 5);
  world.files.files["/proc/2/stat"] = "2 (x) S 1 2 3\n";
  world.files.files["/proc/3/stat"] = "3 )x( S 1 2 3\n";
  world.files.files["/proc/4/stat"] = "";
  world.files.files["/proc/5/stat"] = stat_of("\xff\n", 'S', -3, 5);
  world.files.files["/proc/6/stat"] = stat_of("\xff\n", 'S', 3, 5);
  ProcessesSource source(world.files, "/", 1000, filter(), 5);
  const auto status = world.collect(source);
  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().text, "/proc/2/stat:1: expected the 24 fields of proc(5) (and 3 more); skipped");
  EXPECT_EQ(world.at("node_processes_pids{}"), 2);
  EXPECT_EQ(world.at("lambda_process_count{process=\"??\"}"), 1);
}

TEST(SensorsSource, TellsZonesCoolingDevicesAndChipsAsNodeExporterNamesThem) {
  World world;
  auto& files = world.files.files;
  files["/sys/class/thermal/thermal_zone0/type"] = "x86_pkg_temp\n";
  files["/sys/class/thermal/thermal_zone0/temp"] = "41000\n";
  files["/sys/class/thermal/cooling_device2/type"] = "Processor\n";
  files["/sys/class/thermal/cooling_device2/cur_state"] = "0\n";
  files["/sys/class/thermal/cooling_device2/max_state"] = "10\n";
  files["/sys/class/hwmon/hwmon0/name"] = "coretemp\n";
  files["/sys/class/hwmon/hwmon0/temp1_input"] = "-5250\n";
  files["/sys/class/hwmon/hwmon0/temp1_crit"] = "100000\n";
  files["/sys/class/hwmon/hwmon0/temp1_label"] = "Package id 0\n";
  files["/sys/class/hwmon/hwmon0/fan2_input"] = "1200\n";
  files["/sys/class/hwmon/hwmon0/in3_input"] = "1250\n";
  files["/sys/class/hwmon/hwmon0/power1_average"] = "15500000\n";
  files["/sys/class/hwmon/hwmon0/update_interval"] = "1000\n";
  world.files.links["/sys/class/hwmon/hwmon0/device"] = "/sys/devices/platform/coretemp.0";
  files["/sys/class/hwmon/hwmon1/name"] = "Acpi-Tz\n";
  files["/sys/class/hwmon/hwmon1/temp1_input"] = "not yet\n";
  SensorsSource source(world.files, "/", 1000, filter());
  const auto status = world.collect(source);
  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().text, "/sys/class/hwmon/hwmon1/temp1_input:1: expected a number; skipped");
  EXPECT_EQ(world.at("node_thermal_zone_temp{type=\"x86_pkg_temp\",zone=\"0\"}"), 41000);
  EXPECT_EQ(world.at("node_cooling_device_cur_state{name=\"2\",type=\"Processor\"}"), 0);
  EXPECT_EQ(world.at("node_cooling_device_max_state{name=\"2\",type=\"Processor\"}"), 10);
  const std::string first = "{chip=\"platform_coretemp_0\",sensor=";
  EXPECT_EQ(static_cast<int64_t>(world.sink.last["node_hwmon_temp_celsius" + first + "\"temp1\"}"]), -5250);
  EXPECT_EQ(world.at("node_hwmon_temp_crit_celsius" + first + "\"temp1\"}"), 100000);
  EXPECT_EQ(world.at("node_hwmon_fan_rpm" + first + "\"fan2\"}"), 1200);
  EXPECT_EQ(world.at("node_hwmon_in_volts" + first + "\"in3\"}"), 1250);
  EXPECT_EQ(world.at("node_hwmon_power_average_watt" + first + "\"power1\"}"), 15500000);
  EXPECT_EQ(world.at("node_hwmon_sensor_label{chip=\"platform_coretemp_0\",label=\"Package id 0\",sensor=\"temp1\"}"),
            1);
  EXPECT_EQ(world.at("node_hwmon_chip_names{chip=\"platform_coretemp_0\",chip_name=\"coretemp\"}"), 1);
  EXPECT_EQ(world.at("node_hwmon_chip_names{chip=\"acpi_tz\",chip_name=\"acpi_tz\"}"), 1);
  EXPECT_EQ(world.sink.last.size(), 11u);
}

TEST(SensorsSource, FindsWhatIsPluggedInLaterAndLeavesWhatIsNotWanted) {
  World world;
  auto& files = world.files.files;
  files["/sys/class/thermal/thermal_zone0/type"] = "hidden\n";
  files["/sys/class/thermal/thermal_zone0/temp"] = "1\n";
  SensorsSource source(world.files, "/", 1000, filter("", "^hidden$"));
  ASSERT_TRUE(world.collect(source).has_value());
  EXPECT_TRUE(world.sink.last.empty());
  files["/sys/class/thermal/thermal_zone1/type"] = "late\n";
  files["/sys/class/thermal/thermal_zone1/temp"] = "2\n";
  for (uint32_t i = 0; i < kSensorsWalkCollections; ++i) ASSERT_TRUE(world.collect(source).has_value());
  EXPECT_EQ(world.at("node_thermal_zone_temp{type=\"late\",zone=\"1\"}"), 2);
  EXPECT_EQ(world.sink.last.size(), 1u);
  files.erase("/sys/class/thermal/thermal_zone1/temp");
  ASSERT_TRUE(world.collect(source).has_value());
  EXPECT_TRUE(world.sink.last.empty());
}

void add_group(MemoryFiles& files, const std::string& path, int64_t usage_us) {
  const std::string folder = "/sys/fs/cgroup" + path;
  files.files[folder + "/cgroup.controllers"] = "cpu io memory pids\n";
  files.files[folder + "/cpu.stat"] =
      "usage_usec " + std::to_string(usage_us) + "\nuser_usec 1\nsystem_usec 2\nnr_throttled 3\nthrottled_usec 44\n";
}

TEST(CgroupSource, TellsWhatGroupsUseDownToTheDepth) {
  World world;
  add_group(world.files, "", 9'999);
  add_group(world.files, "/system.slice", 500);
  add_group(world.files, "/system.slice/ssh.service", 77);
  add_group(world.files, "/system.slice/ssh.service/deep", 7);
  const std::string ssh = "/sys/fs/cgroup/system.slice/ssh.service";
  world.files.files[ssh + "/memory.current"] = "4096\n";
  world.files.files[ssh + "/memory.events"] = "low 0\nhigh 0\nmax 0\noom 1\noom_kill 2\n";
  world.files.files[ssh + "/pids.current"] = "3\n";
  world.files.files[ssh + "/io.stat"] =
      "8:0 rbytes=100 wbytes=20 rios=3 wios=4 dbytes=0 dios=0\n8:16 rbytes=1 wbytes=2 rios=3 wios=4\n";
  CgroupSource source(world.files, "/", 1000, filter(), 2);
  ASSERT_TRUE(world.collect(source).has_value());
  const std::string of = "{cgroup=\"/system.slice/ssh.service\"}";
  EXPECT_EQ(world.at("lambda_cgroup_cpu_seconds_total" + of), 77);
  EXPECT_EQ(world.at("lambda_cgroup_cpu_throttled_seconds_total" + of), 44);
  EXPECT_EQ(world.at("lambda_cgroup_memory_bytes" + of), 4096);
  EXPECT_EQ(world.at("lambda_cgroup_oom_kills_total" + of), 2);
  EXPECT_EQ(world.at("lambda_cgroup_processes" + of), 3);
  EXPECT_EQ(world.at("lambda_cgroup_io_read_bytes_total" + of), 101);
  EXPECT_EQ(world.at("lambda_cgroup_io_written_bytes_total" + of), 22);
  EXPECT_EQ(world.at("lambda_cgroup_io_reads_total" + of), 6);
  EXPECT_EQ(world.at("lambda_cgroup_io_writes_total" + of), 8);
  EXPECT_EQ(world.at("lambda_cgroup_cpu_seconds_total{cgroup=\"/system.slice\"}"), 500);
  EXPECT_EQ(world.told("lambda_cgroup_cpu_seconds_total"), 2u);
  EXPECT_EQ(world.at("lambda_cgroups_refused{}"), 0);
}

TEST(CgroupSource, OnlyThoseAskedForAndAtMostItsBound) {
  World world;
  add_group(world.files, "", 0);
  for (int i = 0; i < 400; ++i) add_group(world.files, "/job-" + std::to_string(i), i);
  add_group(world.files, "/other", 1);
  CgroupSource source(world.files, "/", 1000, filter("^/job-"), 2);
  ASSERT_TRUE(world.collect(source).has_value());
  EXPECT_EQ(world.told("lambda_cgroup_cpu_seconds_total"), kCgroupsMax);
  EXPECT_EQ(world.at("lambda_cgroups_refused{}"), 400 - int64_t{kCgroupsMax});
  EXPECT_EQ(world.at("lambda_cgroup_cpu_seconds_total{cgroup=\"/other\"}"), -1);
}

TEST(CgroupSource, GroupsComeAndGo) {
  World world;
  add_group(world.files, "", 0);
  add_group(world.files, "/a", 1);
  CgroupSource source(world.files, "/", 1000, filter(), 1);
  ASSERT_TRUE(world.collect(source).has_value());
  std::erase_if(world.files.files, [](auto& file) { return file.first.starts_with("/sys/fs/cgroup/a/"); });
  add_group(world.files, "/b", 2);
  ASSERT_TRUE(world.collect(source).has_value());
  EXPECT_EQ(world.told("lambda_cgroup_cpu_seconds_total"), 0u);
  for (uint32_t i = 0; i < kCgroupWalkCollections; ++i) ASSERT_TRUE(world.collect(source).has_value());
  EXPECT_EQ(world.at("lambda_cgroup_cpu_seconds_total{cgroup=\"/b\"}"), 2);
}

TEST(CgroupSource, AMachineWithTheFirstVersionHasNoSeries) {
  World world;
  world.files.files["/sys/fs/cgroup/cpu/cpu.shares"] = "1024\n";
  CgroupSource source(world.files, "/", 1000, filter(), 2);
  EXPECT_TRUE(world.collect(source).has_value());
  EXPECT_TRUE(world.sink.last.empty());
}

}  // namespace
}  // namespace lambda::agent
