// lambda-gateway: builds the real world and runs one node in it.
#include <csignal>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>

#include "base/os/disk.h"
#include "base/os/end_process.h"
#include "base/os/environment.h"
#include "base/os/log.h"
#include "base/os/loop.h"
#include "base/os/network.h"
#include "base/os/processes.h"
#include "base/os/random.h"
#include "base/os/resident.h"
#include "base/os/workers.h"
#include "gateway/api/api.h"
#include "gateway/node.h"

namespace lambda::gateway {
namespace {

constexpr size_t kQueryThreads = 2;
constexpr int kQueryNice = 5;  // what is taken in and acked goes first when the processor is short
// A former gateway's broker ends with it, but a moment later.
constexpr int64_t kPortWaitMs = 5'000;
// By then rules are read and the store is found; what that took is given back, as what the loader touched is at once.
constexpr int64_t kReturnMemoryMs = 10'000;

// Exit statuses: 0 ended as asked, 1 could not start (the reason is on standard error), 2 wrong use.
int usage(FILE* to, int status) {
  std::fputs(
      "usage: lambda-gateway --config FILE [--check-config]\n"
      "       lambda-gateway --help | --version\n\n"
      "Takes signed measurements of a site's devices over MQTT, stores them once, answers questions over HTTP.\n"
      "SIGTERM ends it cleanly; SIGHUP reads the configuration again.\n",
      to);
  return status;
}

int help() {
  usage(stdout, 0);
  GatewayConfig config;
  std::fputs("\nConfiguration (TOML):\n\n", stdout);
  std::fputs(gateway_config_table(config)->help().c_str(), stdout);
  return 0;
}

// Lets a reload change level and format under everything that holds the log.
class SwappableLog final : public Log {
 public:
  explicit SwappableLog(std::unique_ptr<Log> log) : log_(std::move(log)) {}
  void write(LogLevel level, std::string_view event, Fields fields) override { current()->write(level, event, fields); }
  void swap(std::unique_ptr<Log> log) { std::atomic_store(&log_, std::shared_ptr<Log>(std::move(log))); }

 private:
  std::shared_ptr<Log> current() const { return std::atomic_load(&log_); }
  std::shared_ptr<Log> log_;
};

// Whether the child broker can begin. Later on it is started again whenever it ends; but one that never could is a
// mistake in the configuration, and is told at once.
Status broker_can_start(Disk& disk, const GatewayConfig& config) {
  if (config.broker_mode != "child") return {};
  if (auto found = disk.size(config.broker_program); !found) {
    return fail(found.error().code, "broker.program: " + found.error().text + "; is mosquitto installed?");
  }
  if (config.broker_port == 0) return {};
  const Status free = can_listen(config.broker_address, config.broker_port, kPortWaitMs);
  return free ? free : fail(free.error().code, "broker: " + free.error().text);
}

int run(const std::string& file, GatewayConfig config, OsLoop& loop) {
  OsClock clock;
  SwappableLog log(make_log(log_options(config.log), clock));
  OsDisk disk(loop);
  OsRandom random;
  OsNetwork network(loop, log);
  OsProcesses processes(loop);
  Env env{clock, loop, disk, network, random, processes, log};

  if (auto can = broker_can_start(disk, config); !can) {
    log.error("not_started", {{"why", can.error().text}});
    return 1;
  }
  network.serve_changes();  // files of rules
  const auto poster = make_beast_poster(loop);
  Workers workers(kQueryThreads, kQueryNice), engine(1);
  NodeHelpers helpers{[&workers](std::function<void()> task) { workers.run(std::move(task)); },
                      [&engine](std::function<void()> task) { engine.run(std::move(task)); }, poster.get()};
  auto node = std::make_unique<Node>(env, std::move(config), std::move(helpers));
  if (auto started = node->start(); !started) {
    log.error("not_started", {{"why", started.error().text}});
    return 1;
  }
  bool stopping = false;
  auto end = [&] {
    if (stopping) return;
    stopping = true;
    node->stop([&] { loop.stop(); });
  };
  loop.on_signal(SIGTERM, end);
  loop.on_signal(SIGINT, end);
  loop.on_signal(SIGHUP, [&] {
    auto next = load_gateway_config(disk, os_environment, file);
    Status taken = next ? node->reload(*next) : Status(tl::unexpected(next.error()));
    if (!taken) {
      log.error("reload_refused", {{"why", taken.error().text}, {"goes_on_with", "the configuration before"}});
      return;
    }
    log.swap(make_log(log_options(next->log), clock));
    log.info("reloaded", {{"file", file}});
  });
  return_startup_memory();
  loop.after(kReturnMemoryMs, [] { return_startup_memory(); });
  loop.run();
  workers.finish();  // queries read the store
  engine.finish();
  node.reset();
  return 0;
}

int main_of(int argc, char** argv) {
  std::string file;
  bool check = false;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--help" || argument == "-h") return help();
    if (argument == "--version") {
      std::printf("lambda-gateway %s\n", kVersion);
      return 0;
    }
    if (argument == "--check-config") {
      check = true;
    } else if (argument == "--config" && i + 1 < argc) {
      file = argv[++i];
    } else if (argument.rfind("--config=", 0) == 0) {
      file = argument.substr(9);
    } else {
      std::fprintf(stderr, "lambda-gateway: %s: unknown argument\n", argument.c_str());
      return usage(stderr, 2);
    }
  }
  if (file.empty()) return usage(stderr, 2);

  OsLoop loop;  // first of all: it sets the signals for every thread
  Result<GatewayConfig> config = [&] {
    OsDisk disk(loop);
    return load_gateway_config(disk, os_environment, file);
  }();
  if (!config) {
    std::fprintf(stderr, "%s\n", config.error().text.c_str());
    return 1;
  }
  if (check) {
    std::printf("%s: good\n", file.c_str());
    return 0;
  }
  return run(file, std::move(*config), loop);
}

}  // namespace
}  // namespace lambda::gateway

int main(int argc, char** argv) {
  lambda::end_process(lambda::gateway::main_of(argc, argv));
}
