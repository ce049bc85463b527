// How long an agent takes to start with a large backlog: ten gigabytes of parcels in its spool. The spool is written by
// the agent's own spool and packer; then the real program is started on it, beside a start with nothing behind it.
//
//   bench_start [GIGABYTES]
//
// Last line: JSON. Exit status 1 when a "must" is missed: serving within two seconds, within the memory it may have.
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "agent/spool/packer.h"
#include "agent/spool/spool.h"
#include "agent/uplink/enrolment.h"
#include "base/os/disk.h"
#include "base/os/log.h"
#include "base/os/loop.h"
#include "base/os/network.h"
#include "base/os/processes.h"
#include "base/os/random.h"
#include "bench/path/site_process.h"

extern char** environ;

namespace lambda::bench {
namespace {

constexpr double kStartMsMust = 2'000;
constexpr double kRssMbMust = 16;
constexpr uint32_t kSeries = 28;  // blocks of noise in a parcel of 256 KB
constexpr char kDevice[] = "bench-start";

// The same noise again and again, at ordinals and times that go on.
class Noise final : public agent::BlockFeed {
 public:
  Noise(Random& random, agent::SeriesTable& series) : series_(series), blocks_(kSeries) {
    for (auto& block : blocks_) {
      for (auto& value : block.values) value = random.u64();
    }
  }

  void begin_parcel(uint64_t number) {
    next_ = 0;
    for (uint32_t i = 0; i < kSeries; ++i) encode(i, number);
  }

  bool peek(agent::BlockHead* head) override {
    if (next_ == kSeries) return false;
    const Block& block = blocks_[next_];
    head->info = block.info;
    head->bytes = static_cast<uint32_t>(block.sealed.size());
    std::copy(std::begin(block.root), std::end(block.root), head->root);
    head->data = block.sealed.data();
    return true;
  }
  void take() override { ++next_; }
  bool copy(const agent::BlockHead& head, std::span<uint8_t> out) override {
    std::copy_n(head.data, head.bytes, out.begin());
    return true;
  }

 private:
  struct Block {
    uint64_t values[kBlockPointsMax];
    std::vector<uint8_t> space = std::vector<uint8_t>(block_bytes_max(kBlockPointsMax));
    std::span<const uint8_t> sealed;  // within `space`
    BlockInfo info;
    uint8_t root[kDigestBytes];
  };

  void encode(uint32_t index, uint64_t number) {
    Block& block = blocks_[index];
    BlockOptions options;
    options.ref = index + 1;
    options.first_ordinal = number * kBlockPointsMax;
    BlockWriter writer(block.space, options);
    ContentRoot root(host_hash());
    for (uint32_t i = 0; i < kBlockPointsMax; ++i) {
      const Point point{static_cast<int64_t>(1'700'000'000'000 + (number * kBlockPointsMax + i) * 100),
                        block.values[i]};
      LAMBDA_ASSERT(writer.append(point) == AppendResult::kOk);
      // The root is real for the first parcel only: nothing here checks it, and hashing would take most of the time.
      if (number == 0) root.add(point);
    }
    if (number == 0) root.finish(block.root);
    block.info = writer.info();
    block.sealed = writer.seal();
    series_.at(index + 1).next_ordinal = (number + 1) * kBlockPointsMax;
  }

  agent::SeriesTable& series_;
  std::vector<Block> blocks_;
  uint32_t next_ = 0;
};

void write_backlog(const std::string& state, uint64_t bytes) {
  OsLoop loop;
  OsClock clock;
  OsDisk disk(loop);
  OsRandom random;
  LogOptions log_options;
  log_options.level = LogLevel::kWarn;
  const auto log = make_log(log_options, clock);
  OsNetwork network(loop, *log);
  OsProcesses processes(loop);
  Env env{clock, loop, disk, network, random, processes, *log};
  LAMBDA_ASSERT(disk.make_dirs(state).has_value());
  auto identity = agent::load_or_make_identity(disk, random, state);
  LAMBDA_ASSERT(identity.has_value());
  agent::SpoolOptions options;
  options.dir = state;
  options.bytes_max = 2 * bytes + (1u << 30);
  agent::Spool spool(env, options);
  LAMBDA_ASSERT(spool.open().has_value());
  spool.start();
  auto series = std::make_shared<agent::SeriesTable>();
  for (uint32_t i = 0; i < kSeries; ++i) {
    agent::SeriesSpec spec;
    spec.name = "bench_noise_" + std::to_string(i);
    LAMBDA_ASSERT(series->find_or_add(spec).has_value());
  }
  agent::PackerOptions packer_options{"bench", kDevice, 256u << 10};
  agent::Packer packer(packer_options, identity->key);
  const uint64_t boot_id = random.u64();
  const int64_t started_ms = clock.utc_ms();
  agent::Boot& boot = spool.begin_boot(boot_id, 0, started_ms, series,
                                       agent::sign_hello(identity->key, packer_options, boot_id, 0, started_ms));
  Noise noise(random, *series);
  uint64_t number = 0, written = 0, told = 0;
  std::function<void()> next = [&] {
    if (written >= bytes) {
      spool.flush([&](Status) { loop.stop(); });
      return;
    }
    noise.begin_parcel(number++);
    agent::PackInput input;
    input.blocks = &noise;
    agent::Packed packed;
    std::vector<agent::BlockHead> too_large;
    LAMBDA_ASSERT(packer.pack(boot, clock.utc_ms(), input, &packed, &too_large) && too_large.empty());
    written += packed.up.size();
    if (written >> 30 != told)
      std::fprintf(stderr, "bench_start: %llu GB written\n", static_cast<unsigned long long>(told = written >> 30));
    spool.append(packed.up, packed.digest, [&](Status status) {
      if (!status) std::fprintf(stderr, "bench_start: %s\n", status.error().text.c_str());
      LAMBDA_ASSERT(status.has_value());
      next();
    });
  };
  loop.post(next);
  loop.run();
}

struct Start {
  double ms = 0, rss_mb = 0;
};

Start measure(const std::string& program, const std::string& state, uint64_t bytes_max) {
  const std::string config = state + ".toml", log = state + ".log";
  const uint16_t port = free_port();
  std::ofstream(config) << "[agent]\ndevice = \"" << kDevice << "\"\nstate = \"" << state
                        << "\"\n[spool]\nbytes_max = " << bytes_max << "\n[http]\nport = " << port << "\n";
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 2, log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  const char* arguments[] = {program.c_str(), "--config", config.c_str(), nullptr};
  pid_t pid = 0;
  OsClock clock;
  const int64_t begun_us = clock.mono_us();
  LAMBDA_ASSERT(::posix_spawn(&pid, program.c_str(), &actions, nullptr, const_cast<char**>(arguments), environ) == 0);
  Start start;
  while (!answers_ready(port)) {
    if (clock.mono_us() - begun_us > 60'000'000) break;
    ::usleep(5'000);
  }
  start.ms = static_cast<double>(clock.mono_us() - begun_us) / 1000;
  ::usleep(3'000'000);
  start.rss_mb = static_cast<double>(process_rss_bytes(pid)) / (1 << 20);
  ::kill(pid, SIGTERM);
  ::waitpid(pid, nullptr, 0);
  posix_spawn_file_actions_destroy(&actions);
  return start;
}

int run(const char* self, double gigabytes) {
  const std::string program =
      std::filesystem::canonical(std::filesystem::path(self)).parent_path().string() + "/lambda-agent";
  std::string folder = std::filesystem::temp_directory_path() / "lambda-bench-start-XXXXXX";
  LAMBDA_ASSERT(::mkdtemp(folder.data()) != nullptr);
  const auto bytes = static_cast<uint64_t>(gigabytes * (1u << 30));
  const uint64_t bytes_max = 2 * bytes + (1u << 30);
  const Start empty = measure(program, folder + "/empty", bytes_max);
  write_backlog(folder + "/full", bytes);
  const Start full = measure(program, folder + "/full", bytes_max);
  std::filesystem::remove_all(folder);
  const bool good = full.ms <= kStartMsMust && full.rss_mb <= kRssMbMust;
  std::printf("start   with %.1f GB of backlog: serving after %.0f ms, resident %.1f MB; with none: %.0f ms, %.1f MB\n",
              gigabytes, full.ms, full.rss_mb, empty.ms, empty.rss_mb);
  std::printf(
      "{\"backlog_gb\":%.1f,\"start_ms\":%.0f,\"rss_mb\":%.1f,\"empty_start_ms\":%.0f,\"empty_rss_mb\":%.1f,\"must\":%"
      "s}\n",
      gigabytes, full.ms, full.rss_mb, empty.ms, empty.rss_mb, good ? "true" : "false");
  return good ? 0 : 1;
}

}  // namespace
}  // namespace lambda::bench

int main(int count, char** arguments) {
  return lambda::bench::run(arguments[0], count > 1 ? std::atof(arguments[1]) : 10);
}
