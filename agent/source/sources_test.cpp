// Every collector against files in memory: names, labels, exact values, devices that come and go, garbage.
#include <gtest/gtest.h>

#include <random>

#include "agent/source/cpu_source.h"
#include "agent/source/disk_source.h"
#include "agent/source/filesystem_source.h"
#include "agent/source/host_sources.h"
#include "agent/source/load_source.h"
#include "agent/source/memory_source.h"
#include "agent/source/network_source.h"
#include "agent/source/self_source.h"
#include "agent/source/synthetic_source.h"
#include "agent/source/test_world.h"
#include "lambda/block.h"

namespace lambda::agent {
namespace {

struct World {
  MemoryFiles files;
  MemorySink sink;
  Status collect(Source& source) {
    sink.next();
    return source.collect(sink, 0);
  }
  // The value of a series in the last collection, or -1.
  int64_t at(const std::string& key) const {
    const auto found = sink.last.find(key);
    return found == sink.last.end() ? -1 : static_cast<int64_t>(found->second);
  }
};

DeviceFilter filter(const std::string& include, const std::string& exclude) {
  auto made = DeviceFilter::make("test", include, exclude);
  EXPECT_TRUE(made.has_value());
  return std::move(*made);
}

constexpr const char* kStat =
    "cpu  6043 10 3958 321281 400 1 77 13 5 6\n"
    "cpu0 2596 4 1444 161851 9 0 16 2 5 0\n"
    "cpu7 3446 6 2514 159429 390 1 60 10 0 6\n"
    "intr 314780 0 0 14 0\nctxt 689853\nbtime 1795252364\nprocesses 13372\nprocs_running 3\nprocs_blocked 2\n"
    "softirq 224985 0 23487\n";

TEST(CpuSource, TellsTotalAndEachProcessorInHundredthsOfSeconds) {
  World world;
  world.files.files["/proc/stat"] = kStat;
  CpuSource source(world.files, "/", 1000);
  ASSERT_TRUE(world.collect(source).has_value());
  EXPECT_EQ(world.at("lambda_cpu_seconds_total{mode=\"user\"}"), 6043);
  EXPECT_EQ(world.at("lambda_cpu_guest_seconds_total{mode=\"nice\"}"), 6);
  EXPECT_EQ(world.at("node_cpu_seconds_total{cpu=\"0\",mode=\"idle\"}"), 161851);
  EXPECT_EQ(world.at("node_cpu_seconds_total{cpu=\"7\",mode=\"steal\"}"), 10);
  EXPECT_EQ(world.at("node_cpu_guest_seconds_total{cpu=\"0\",mode=\"user\"}"), 5);
  EXPECT_EQ(world.at("node_cpu_seconds_total{cpu=\"1\",mode=\"idle\"}"), -1);
  EXPECT_EQ(world.at("node_intr_total{}"), 314780);
  EXPECT_EQ(world.at("node_context_switches_total{}"), 689853);
  EXPECT_EQ(world.at("node_boot_time_seconds{}"), 1795252364);
  EXPECT_EQ(world.at("node_forks_total{}"), 13372);
  EXPECT_EQ(world.at("node_procs_running{}"), 3);
  EXPECT_EQ(world.at("node_procs_blocked{}"), 2);
  EXPECT_EQ(world.sink.last.size(), 3u * 10 + 6);
  EXPECT_TRUE(world.sink.doubled.empty());
  const SeriesSpec* spec = world.sink.spec("node_cpu_seconds_total{cpu=\"0\",mode=\"idle\"}");
  ASSERT_NE(spec, nullptr);
  EXPECT_EQ(spec->type, ValueType::kDec);
  EXPECT_EQ(spec->scale, 2);
  EXPECT_EQ(spec->kind, Kind::kCounter);
}

TEST(CpuSource, AsksForEachSeriesOnceAndNeverAgain) {
  World world;
  world.files.files["/proc/stat"] = kStat;
  CpuSource source(world.files, "/", 1000);
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(world.collect(source).has_value());
  EXPECT_EQ(world.sink.asked, world.sink.specs.size());
  EXPECT_EQ(world.files.reads, 100u);
}

TEST(CpuSource, HidesSmallStepsBackAndFollowsAProcessorThatStartsAnew) {
  World world;
  CpuSource source(world.files, "/", 1000);
  const std::string idle = "node_cpu_seconds_total{cpu=\"0\",mode=\"idle\"}";
  const std::string iowait = "node_cpu_seconds_total{cpu=\"0\",mode=\"iowait\"}";
  world.files.files["/proc/stat"] = "cpu0 10 0 10 5000 90 0 0 0\n";
  ASSERT_TRUE(world.collect(source).has_value());
  world.files.files["/proc/stat"] = "cpu0 11 0 10 4999 80 0 0 0\n";
  ASSERT_TRUE(world.collect(source).has_value());
  EXPECT_EQ(world.at(idle), 5000);
  EXPECT_EQ(world.at(iowait), 90);
  world.files.files["/proc/stat"] = "cpu0 1 0 2 30 4 0 0 0\n";
  ASSERT_TRUE(world.collect(source).has_value());
  EXPECT_EQ(world.at(idle), 30);
  EXPECT_EQ(world.at(iowait), 4);
}

TEST(CpuSource, SkipsABrokenLineAndNamesIt) {
  World world;
  world.files.files["/proc/stat"] = "cpu 1 2 3 4 5\ncpu0 1 2 x 4 5\ncpu99999999 1 2 3 4 5\nctxt -4\nprocesses 9\n";
  CpuSource source(world.files, "/", 1000);
  const auto status = world.collect(source);
  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().text, "/proc/stat:2: no counts of \"cpu0\" (and 2 more); skipped");
  EXPECT_EQ(world.at("node_forks_total{}"), 9);
  EXPECT_EQ(world.sink.last.size(), 6u);
}

TEST(Sources, AMissingFileIsAClearErrorAndTheNextCollectionWorks) {
  World world;
  CpuSource source(world.files, "/host/", 1000);
  const auto status = world.collect(source);
  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().code, ErrorCode::kNotFound);
  EXPECT_NE(status.error().text.find("/host/proc/stat"), std::string::npos);
  world.files.files["/host/proc/stat"] = kStat;
  EXPECT_TRUE(world.collect(source).has_value());
}

TEST(MemorySource, TellsEveryLineInBytesUnderNodeExportersName) {
  World world;
  world.files.files["/proc/meminfo"] =
      "MemTotal:       24684084 kB\nActive(anon):       1568 kB\nHugePages_Total:       7\n";
  MemorySource source(world.files, "/", 1000);
  ASSERT_TRUE(world.collect(source).has_value());
  EXPECT_EQ(world.at("node_memory_MemTotal_bytes{}"), 24684084LL * 1024);
  EXPECT_EQ(world.at("node_memory_Active_anon_bytes{}"), 1568 * 1024);
  EXPECT_EQ(world.at("node_memory_HugePages_Total{}"), 7);
  EXPECT_EQ(world.sink.last.size(), 3u);
}

TEST(LoadSource, TellsExactHundredths) {
  World world;
  world.files.files["/proc/loadavg"] = "0.04 12.50 100.02 1/93 13373\n";
  LoadSource source(world.files, "/", 1000);
  ASSERT_TRUE(world.collect(source).has_value());
  EXPECT_EQ(world.at("node_load1{}"), 4);
  EXPECT_EQ(world.at("node_load5{}"), 1250);
  EXPECT_EQ(world.at("node_load15{}"), 10002);
  world.files.files["/proc/loadavg"] = "0.04 nan 1.2\n";
  EXPECT_FALSE(world.collect(source).has_value());
  EXPECT_EQ(world.sink.last.size(), 1u);
}

TEST(DiskSource, TellsBytesAndSecondsAndWhatOldKernelsLack) {
  World world;
  world.files.files["/proc/diskstats"] =
      " 254 0 vda 73451 12549 3038602 9381 37729 10768 7328896 13093 4 8256 22952 5799 31 1236688 409 2119 68\n"
      "   8 0 sda 1 2 3 4 5 6 7 8 9 10 11\n"
      "   7 0 loop0 1 2 3 4 5 6 7 8 9 10 11\n"
      " 254 1 vda1 1 2 3 4 5 6 7 8 9 10 11\n";
  DiskSource source(world.files, "/", 1000, filter("", HostSourceOptions().disk.exclude));
  ASSERT_TRUE(world.collect(source).has_value());
  EXPECT_EQ(world.at("node_disk_reads_completed_total{device=\"vda\"}"), 73451);
  EXPECT_EQ(world.at("node_disk_read_bytes_total{device=\"vda\"}"), 3038602LL * 512);
  EXPECT_EQ(world.at("node_disk_write_time_seconds_total{device=\"vda\"}"), 13093);
  EXPECT_EQ(world.at("node_disk_io_now{device=\"vda\"}"), 4);
  EXPECT_EQ(world.at("node_disk_discarded_sectors_total{device=\"vda\"}"), 1236688);
  EXPECT_EQ(world.at("node_disk_flush_requests_time_seconds_total{device=\"vda\"}"), 68);
  EXPECT_EQ(world.at("node_disk_io_time_weighted_seconds_total{device=\"sda\"}"), 11);
  EXPECT_EQ(world.sink.last.size(), 17u + 11u);
  EXPECT_EQ(world.sink.spec("node_disk_io_time_seconds_total{device=\"vda\"}")->scale, 3);
  EXPECT_EQ(world.sink.spec("node_disk_io_now{device=\"vda\"}")->kind, Kind::kGauge);
}

TEST(DiskSource, ABrokenLineLeavesNoHalfDevice) {
  World world;
  world.files.files["/proc/diskstats"] = " 8 0 sda 1 2 3 4 5 6 7 8 9 10 oops\n 8 16 sdb 1 2 3 4 5 6 7 8 9 10 11\n";
  DiskSource source(world.files, "/", 1000, DeviceFilter());
  const auto status = world.collect(source);
  ASSERT_FALSE(status.has_value());
  EXPECT_NE(status.error().text.find("/proc/diskstats:1:"), std::string::npos);
  EXPECT_EQ(world.sink.last.size(), 11u);
}

std::string net_dev(const std::vector<std::string>& lines) {
  std::string text = "Inter-|   Receive\n face |bytes\n";
  for (const auto& line : lines) text += line + "\n";
  return text;
}

TEST(NetworkSource, TellsBothDirections) {
  World world;
  world.files.files["/proc/net/dev"] =
      net_dev({"    lo:    3193      29    0    0    0     0          0         0     3193"
               "      29    0    0    0     0       0          0",
               "eth0:505725505 8284 1 2 3 4 5 6 345342 4854 7 8 9 10 11 12"});
  NetworkSource source(world.files, "/", 1000, DeviceFilter());
  ASSERT_TRUE(world.collect(source).has_value());
  EXPECT_EQ(world.at("node_network_receive_bytes_total{device=\"eth0\"}"), 505725505);
  EXPECT_EQ(world.at("node_network_receive_multicast_total{device=\"eth0\"}"), 6);
  EXPECT_EQ(world.at("node_network_transmit_bytes_total{device=\"eth0\"}"), 345342);
  EXPECT_EQ(world.at("node_network_transmit_compressed_total{device=\"eth0\"}"), 12);
  EXPECT_EQ(world.at("node_network_transmit_packets_total{device=\"lo\"}"), 29);
  EXPECT_EQ(world.sink.last.size(), 32u);
}

TEST(NetworkSource, DevicesComeGoReturnAndChangeOrderUnderTheSameSeries) {
  World world;
  NetworkSource source(world.files, "/", 1000, filter("", "^veth"));
  const auto line = [](const std::string& name, int n) {
    std::string text = name + ":";
    for (int i = 0; i < 16; ++i) text += " " + std::to_string(n);
    return text;
  };
  std::mt19937 random(7);
  std::vector<std::string> names = {"a", "b", "c", "veth0", "d", "e"};
  for (int round = 0; round < 2000; ++round) {
    std::shuffle(names.begin(), names.end(), random);
    const size_t present = random() % (names.size() + 1);
    std::vector<std::string> lines;
    size_t wanted = 0;
    for (size_t i = 0; i < present; ++i) {
      lines.push_back(line(names[i], round * 10 + names[i][0]));
      wanted += names[i] == "veth0" ? 0 : 1;
    }
    world.files.files["/proc/net/dev"] = net_dev(lines);
    ASSERT_TRUE(world.collect(source).has_value());
    ASSERT_EQ(world.sink.last.size(), wanted * 16);
    for (size_t i = 0; i < present; ++i) {
      if (names[i] == "veth0") continue;
      ASSERT_EQ(world.at("node_network_receive_drop_total{device=\"" + names[i] + "\"}"), round * 10 + names[i][0]);
    }
  }
  EXPECT_EQ(world.sink.specs.size(), 5u * 16);
}

TEST(NetworkSource, AnInterfaceThatStandsTwiceGivesOnePoint) {
  World world;
  const std::string line = "a: 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1";
  world.files.files["/proc/net/dev"] = net_dev({line, line});
  NetworkSource source(world.files, "/", 1000, DeviceFilter());
  ASSERT_TRUE(world.collect(source).has_value());
  EXPECT_TRUE(world.sink.doubled.empty());
}

TEST(NetworkSource, UnderAnotherRootTheHostsOwnNetworkIsRead) {
  World world;
  world.files.files["/host/proc/1/net/dev"] = net_dev({"a: 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1"});
  NetworkSource source(world.files, "/host", 1000, DeviceFilter());
  EXPECT_TRUE(world.collect(source).has_value());
  EXPECT_EQ(world.sink.last.size(), 16u);
}

TEST(DeviceTable, ForgetsDevicesThatStayAwayAndStopsAtItsCap) {
  DeviceTable<int> table;
  table.begin();
  for (size_t i = 0; i < kDevicesMax; ++i) ASSERT_NE(table.add(std::to_string(i), true), nullptr);
  EXPECT_EQ(table.add("one more", true), nullptr);
  EXPECT_EQ(table.refused(), 1u);
  for (uint32_t round = 0; round <= kDeviceIdleCollectionsMax; ++round) {
    table.begin();
    table.find("17")->seen = true;
    table.end();
  }
  EXPECT_EQ(table.size(), 1u);
}

TEST(DeviceTable, AtItsCapTheOneThatStayedAwayForLongestGivesItsPlace) {
  DeviceTable<int> table;
  table.begin();
  for (size_t i = 0; i < kDevicesMax; ++i) table.add(std::to_string(i), true)->seen = true;
  table.end();
  for (const std::vector<std::string>& away : {std::vector<std::string>{"7"}, {"7", "9"}}) {
    table.begin();
    for (size_t i = 0; i < kDevicesMax; ++i) {
      const std::string key = std::to_string(i);
      table.find(key)->seen = std::find(away.begin(), away.end(), key) == away.end();
    }
    table.end();
  }
  table.begin();
  for (const char* key : {"new", "newer"}) ASSERT_NE(table.add(key, true), nullptr);
  EXPECT_EQ(table.add("newest", true), nullptr);
  EXPECT_EQ(table.find("7"), nullptr);
  EXPECT_EQ(table.find("9"), nullptr);
  EXPECT_EQ(table.size(), kDevicesMax);
}

TEST(Sources, InAnotherEpochOfTheSinkSeriesAreAskedForAnew) {
  World world;
  SeriesSlot slot;
  const auto spec = [] { return SeriesSpec{"x", {}, Kind::kGauge, ValueType::kI64, 0, ""}; };
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(put(world.sink, slot, 1, spec));
  EXPECT_EQ(world.sink.asked, 1u);
  world.sink.epoch_now = 2;
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(put(world.sink, slot, 1, spec));
  EXPECT_EQ(world.sink.asked, 2u);
}

TEST(Sources, ARefusedSeriesIsAskedForAgainNowAndThen) {
  World world;
  world.files.files["/proc/loadavg"] = "0.04 12.50 100.02 1/93 13373\n";
  LoadSource source(world.files, "/", 1000);
  world.sink.refuse = true;
  for (int i = 0; i < 50; ++i) EXPECT_TRUE(world.collect(source).has_value());
  EXPECT_EQ(world.sink.asked, 3u);
  world.sink.refuse = false;
  for (uint32_t i = 0; i < kRefusedCollections; ++i) EXPECT_TRUE(world.collect(source).has_value());
  EXPECT_EQ(world.sink.last.size(), 3u);
}

TEST(FilesystemSource, TellsTheFillOfEachWantedMount) {
  World world;
  world.files.files["/host/proc/1/mounts"] =
      "proc /proc proc rw 0 0\n"
      "/dev/vda / ext4 rw,discard 0 0\n"
      "/dev/vdb1 /srv/the\\040data xfs noatime,ro 0 0\n"
      "fog:/x /mnt/share nfs4 rw 0 0\n"
      "/dev/vda / ext4 rw,discard 0 0\n"
      "/dev/vda /var/lib/docker/volumes ext4 rw 0 0\n";
  world.files.usages["/host/"] = {1000, 500, 400, 90, 80};
  world.files.usages["/host/srv/the data"] = {2000, 1, 0, 5, 4};
  const HostSourceOptions options;
  FilesystemSource source(world.files, "/host", 1000, filter("", options.filesystem.exclude),
                          filter("", options.filesystem_types_exclude));
  ASSERT_TRUE(world.collect(source).has_value());
  const std::string root = "{device=\"/dev/vda\",fstype=\"ext4\",mountpoint=\"/\"}";
  const std::string data = "{device=\"/dev/vdb1\",fstype=\"xfs\",mountpoint=\"/srv/the data\"}";
  const std::string share = "{device=\"fog:/x\",fstype=\"nfs4\",mountpoint=\"/mnt/share\"}";
  EXPECT_EQ(world.at("node_filesystem_size_bytes" + root), 1000);
  EXPECT_EQ(world.at("node_filesystem_free_bytes" + root), 500);
  EXPECT_EQ(world.at("node_filesystem_avail_bytes" + root), 400);
  EXPECT_EQ(world.at("node_filesystem_files" + root), 90);
  EXPECT_EQ(world.at("node_filesystem_files_free" + root), 80);
  EXPECT_EQ(world.at("node_filesystem_readonly" + root), 0);
  EXPECT_EQ(world.at("node_filesystem_device_error" + root), 0);
  EXPECT_EQ(world.at("node_filesystem_readonly" + data), 1);
  EXPECT_EQ(world.at("node_filesystem_device_error" + share), 1);
  EXPECT_EQ(world.at("node_filesystem_size_bytes" + share), -1);
  EXPECT_EQ(world.sink.last.size(), 7u + 7u + 1u);
  EXPECT_EQ(world.files.hanging_asked, std::set<std::string>{"/host/mnt/share"});
  EXPECT_TRUE(world.sink.doubled.empty());
}

TEST(SelfSource, TellsTheProcessAndItsMeters) {
  World world;
  world.files.files["/proc/self/stat"] =
      "42 (a ) b) S 1 42 42 0 -1 4194560 1200 0 3 0 517 83 0 0 20 0 5 0 99 23068672 "
      "2048 18446744073709551615 1 1\n";
  SelfMeter meter{{"lambda_agent_points_total", {}, Kind::kCounter, ValueType::kI64, 0, ""}, [] { return 77u; }};
  SelfSource source(world.files, 1000, {meter});
  ASSERT_TRUE(world.collect(source).has_value());
  EXPECT_EQ(world.at("lambda_agent_cpu_seconds_total{}"), 600);
  EXPECT_EQ(world.at("lambda_agent_resident_memory_bytes{}"), 2048 * 4096);
  EXPECT_EQ(world.at("lambda_agent_threads{}"), 5);
  EXPECT_EQ(world.at("lambda_agent_points_total{}"), 77);
}

TEST(SyntheticSource, NeverTellsTheSameValueTwice) {
  SyntheticSource source(300, 100);
  std::set<uint64_t> values;
  MemorySink sink;
  for (int64_t tick = 0; tick < 50; ++tick) {
    sink.next();
    ASSERT_TRUE(source.collect(sink, 1'700'000'000'000 + tick * 100).has_value());
    for (const auto& [key, bits] : sink.last) values.insert(bits);
  }
  EXPECT_EQ(values.size(), 300u * 50);
  EXPECT_EQ(sink.asked, 300u);
}

TEST(SyntheticSource, LifelikeIsTheSameForEachStartAndItsCountersNeverGoDown) {
  SyntheticSource source(8, 1000, SyntheticShape::kLifelike), again(8, 1000, SyntheticShape::kLifelike);
  MemorySink sink, sink_again;
  std::map<std::string, uint64_t> before;
  std::set<int64_t> steps;
  for (int64_t tick = 0; tick < 500; ++tick) {
    sink.next();
    sink_again.next();
    ASSERT_TRUE(source.collect(sink, tick * 1000).has_value());
    ASSERT_TRUE(again.collect(sink_again, tick * 1000 + 7).has_value());
    ASSERT_EQ(sink.last, sink_again.last);
    ASSERT_EQ(sink.last.size(), 8u);
    for (const auto& [key, bits] : sink.last) {
      if (sink.spec(key)->kind != Kind::kCounter || tick == 0) continue;
      ASSERT_GE(static_cast<int64_t>(bits), static_cast<int64_t>(before[key])) << key;
      steps.insert(static_cast<int64_t>(bits - before[key]));
    }
    before = sink.last;
  }
  EXPECT_GT(steps.size(), 200u) << "in uneven steps";
}

// What makes it of use for measuring memory: it costs what real series cost, not next to nothing as a straight line.
TEST(SyntheticSource, LifelikeTakesBytesAsRealSeriesDo) {
  SyntheticSource source(4, 1000, SyntheticShape::kLifelike);
  MemorySink sink;
  std::map<std::string, std::vector<Point>> points;
  for (int64_t tick = 0; tick < 600; ++tick) {
    sink.next();
    ASSERT_TRUE(source.collect(sink, tick * 1000).has_value());
    for (const auto& [key, bits] : sink.last) points[key].push_back({tick * 1000, bits});
  }
  ASSERT_EQ(points.size(), 4u);
  for (const auto& [key, all] : points) {
    std::vector<uint8_t> space(block_bytes_max(all.size()));
    BlockOptions options;
    options.type = sink.spec(key)->type;
    options.scale = sink.spec(key)->scale;
    BlockWriter writer(space, options);
    for (const Point& point : all) ASSERT_EQ(writer.append(point), AppendResult::kOk) << key;
    const double bytes_per_point = static_cast<double>(writer.seal().size()) / static_cast<double>(all.size());
    EXPECT_GE(bytes_per_point, 0.6) << key;
    EXPECT_LE(bytes_per_point, 9) << key;
    if (options.type == ValueType::kF64) {
      EXPECT_GE(bytes_per_point, 4) << key << ": decimals have no short double";
    }
  }
}

TEST(MeteredSource, CountsTimePointsErrorsAndOverruns) {
  World world;
  SetClock clock;
  world.files.files["/proc/loadavg"] = "0.04 12.50 100.02 1/93 13373\n";
  MeteredSource source(std::make_unique<LoadSource>(world.files, "/", 1000), clock);
  clock.step_us = 300;
  ASSERT_TRUE(world.collect(source).has_value());
  clock.step_us = 1'000'001;
  world.files.files.clear();
  ASSERT_FALSE(world.collect(source).has_value());
  EXPECT_EQ(source.cost().collections, 2u);
  EXPECT_EQ(source.cost().microseconds, 300u + 1'000'001u);
  EXPECT_EQ(source.cost().points, 3u);
  EXPECT_EQ(source.cost().errors, 1u);
  EXPECT_EQ(source.cost().overruns, 1u);
}

TEST(MeteredSource, DoublesTheIntervalOfASourceThatOverrunsItAndGoesBackWhenItFits) {
  World world;
  SetClock clock;
  world.files.files["/proc/loadavg"] = "0.04 12.50 100.02 1/93 13373\n";
  MeteredSource source(std::make_unique<LoadSource>(world.files, "/", 1000), clock);
  const auto interval_after = [&](int64_t spent_us) {
    clock.step_us = spent_us;
    EXPECT_TRUE(world.collect(source).has_value());
    return source.interval_ms();
  };
  EXPECT_EQ(interval_after(1'000'000), 1'000);
  EXPECT_EQ(interval_after(1'000'001), 2'000);
  EXPECT_EQ(interval_after(1'500'000), 2'000);  // fits; would not fit into half
  EXPECT_EQ(interval_after(600'000), 2'000);    // would, but barely
  for (const int64_t slower : {4'000, 8'000, 16'000, 16'000}) EXPECT_EQ(interval_after(90'000'000), slower);
  EXPECT_EQ(source.cost().overruns, 5u);
  for (const int64_t back : {8'000, 4'000, 2'000, 1'000, 1'000}) EXPECT_EQ(interval_after(500'000), back);
}

TEST(HostSources, NameTheSettingThatIsWrong) {
  MemoryFiles files;
  SetClock clock;
  HostSourceOptions options;
  options.disk.include = "(";
  auto made = make_host_sources(files, clock, options, {});
  ASSERT_FALSE(made.has_value());
  EXPECT_EQ(made.error().text.rfind("sources.disk.include: \"(\"", 0), 0u) << made.error().text;
  options = {};
  options.load.interval_ms = 0;
  made = make_host_sources(files, clock, options, {});
  ASSERT_FALSE(made.has_value());
  EXPECT_EQ(made.error().text.rfind("sources.load.interval_ms: 0", 0), 0u) << made.error().text;
}

// Whatever stands in the files, nothing breaks, no value is negative, no series gets two points, and names stay legal.
TEST(HostSources, SurviveGarbage) {
  const uint32_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const std::map<std::string, std::string> good = {
      {"/proc/stat", kStat},
      {"/proc/meminfo", "MemTotal:       24684084 kB\nActive(anon):       1568 kB\nHugePages_Total:       7\n"},
      {"/proc/loadavg", "0.04 12.50 100.02 1/93 13373\n"},
      {"/proc/diskstats", " 254 0 vda 73451 12549 3038602 9381 37729 10768 7328896 13093 4 8256 22952 5799 31\n"},
      {"/proc/net/dev", net_dev({"eth0:505725505 8284 1 2 3 4 5 6 345342 4854 7 8 9 10 11 12"})},
      {"/proc/1/mounts", "/dev/vda / ext4 rw,discard 0 0\n/dev/vdb1 /srv/the\\040data xfs noatime,ro 0 0\n"},
      {"/proc/self/stat", "42 (a ) b) S 1 42 42 0 -1 4194560 1200 0 3 0 517 83 0 0 20 0 5 0 99 23068672 2048 18 1\n"}};
  MemoryFiles files;
  SetClock clock;
  MemorySink sink;
  auto sources = make_host_sources(files, clock, {}, {});
  ASSERT_TRUE(sources.has_value());
  for (int round = 0; round < 3000; ++round) {
    for (const auto& [path, text] : good) {
      std::string bad = text;
      const uint32_t changes = 1 + random() % 4;
      for (uint32_t i = 0; i < changes && !bad.empty(); ++i) {
        const size_t at = random() % bad.size();
        switch (random() % 5) {
          case 0:
            bad[at] = static_cast<char>(random());
            break;
          case 1:
            bad.resize(at);
            break;
          case 2:
            bad.insert(at, std::to_string(random()) + "99999999999");
            break;
          case 3:
            bad.insert(at, bad.substr(random() % bad.size()));
            break;
          default:
            bad.erase(at, random() % 5);
            break;
        }
      }
      files.files[path] = bad;
    }
    sink.next();
    for (const auto& source : *sources) (void)source->collect(sink, 0);
    ASSERT_TRUE(sink.doubled.empty()) << sink.doubled[0];
    for (const auto& [key, bits] : sink.last) ASSERT_GE(static_cast<int64_t>(bits), 0) << key;
  }
  for (const SeriesSpec& spec : sink.specs) {
    ASSERT_FALSE(spec.name.empty());
    for (const char c : spec.name) ASSERT_TRUE(isalnum(static_cast<unsigned char>(c)) || c == '_') << spec.name;
  }
}

}  // namespace
}  // namespace lambda::agent
