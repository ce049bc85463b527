// lambda-agent: builds the real world and runs one node in it.
#include <malloc.h>

#include <csignal>
#include <cstdio>
#include <memory>
#include <string>

#include "agent/config.h"
#include "agent/node.h"
#include "agent/source/statsd_source.h"
#include "agent/uplink/enrolment.h"
#include "base/os/datagrams.h"
#include "base/os/disk.h"
#include "base/os/end_process.h"
#include "base/os/environment.h"
#include "base/os/host_files.h"
#include "base/os/log.h"
#include "base/os/loop.h"
#include "base/os/network.h"
#include "base/os/processes.h"
#include "base/os/random.h"
#include "base/os/resident.h"
#include "base/os/service_manager.h"
#include "base/os/workers.h"

namespace lambda::agent {
namespace {

// The start, connecting and packing leave pages mapped that rarely run. The first seconds are looked at closely: a
// machine with many services starts them all at once.
constexpr int64_t kReturnMemoryMs = 10'000;
constexpr int64_t kReturnMemoryFirstMs = 1'000;
constexpr int64_t kServicesAnswerMsMax = 5'000;
constexpr int kQueryNice = 5;  // collecting goes first when the processor is short

struct Arguments {
  std::string config, request, install;
  bool check = false, test = false;
};

// Exit statuses: 0 ended as asked, 1 could not (the reason is on standard error), 2 wrong use.
int usage(FILE* to, int status) {
  std::fputs(
      "usage: lambda-agent --config FILE                   collect, journal, send\n"
      "       lambda-agent --config FILE --check-config    say what is wrong with FILE\n"
      "       lambda-agent --config FILE --test            one collection, printed\n"
      "       lambda-agent --config FILE --request OUT     ask to become a member of a site (makes the keys)\n"
      "       lambda-agent --config FILE --install BUNDLE  become one; then restart the agent or send it SIGHUP\n"
      "       lambda-agent --help | --version\n\n"
      "SIGTERM ends it with everything in the spool; SIGHUP reads the configuration and the enrolment again.\n",
      to);
  return status;
}

int help() {
  usage(stdout, 0);
  AgentConfig config;
  std::fputs("\nConfiguration (TOML):\n\n", stdout);
  std::fputs(agent_config_table(config)->help().c_str(), stdout);
  return 0;
}

int told(const Error& error) {
  std::fprintf(stderr, "lambda-agent: %s\n", error.text.c_str());
  return 1;
}

// Writes the points of one collection to standard output.
class PrintingSink final : public Sink {
 public:
  Result<SeriesRef> series(const SeriesSpec& spec) override { return table_.find_or_add(spec); }
  void append(SeriesRef ref, uint64_t bits) override {
    const DeclarationView series = table_.declaration(ref, labels_);
    std::string line(series.name);
    for (size_t i = 0; i < labels_.size(); ++i) {
      line += (i == 0 ? "{" : ",") + std::string(labels_[i].name) + "=\"" + std::string(labels_[i].value) + "\"";
    }
    if (!labels_.empty()) line += "}";
    std::printf("%s %.17g\n", line.c_str(), point_value(series.type, series.scale, bits));
  }

 private:
  SeriesTable table_;
  std::vector<LabelView> labels_;
};

std::vector<std::unique_ptr<Source>> sources_of(std::vector<std::unique_ptr<MeteredSource>> metered) {
  std::vector<std::unique_ptr<Source>> out;
  for (auto& source : metered) out.push_back(std::move(source));
  return out;
}

int test(const AgentConfig& config) {
  OsClock clock;
  const auto files = make_host_files();
  auto sources = make_host_sources(*files, clock, config.sources, {});
  if (!sources) return told(sources.error());
  PrintingSink sink;
  int status = 0;
  for (const auto& source : *sources) {
    if (auto collected = source->collect(sink, clock.utc_ms()); !collected) status = told(collected.error());
  }
  return status;
}

int enrol(const AgentConfig& config, const Arguments& arguments, OsLoop& loop) {
  OsDisk disk(loop);
  OsRandom random;
  auto identity = load_or_make_identity(disk, random, config.state_dir);
  if (!identity) return told(identity.error());
  if (!arguments.request.empty()) {
    auto text = make_request(*identity, config.device, random);
    if (!text) return told(text.error());
    if (auto status = disk.replace(arguments.request, std::as_bytes(std::span(*text))); !status) {
      return told(status.error());
    }
    std::printf("%s: have it enrolled by the site: lambda enroll %s\n", arguments.request.c_str(),
                arguments.request.c_str());
    return 0;
  }
  auto bundle = disk.read_all(arguments.install, 1u << 20);
  if (!bundle) return told(bundle.error());
  if (auto status = install_bundle(disk, config.state_dir, config.device, *identity, *bundle); !status) {
    return told({status.error().code, arguments.install + ": " + status.error().text});
  }
  std::printf("%s: installed\n", arguments.install.c_str());
  return 0;
}

// The running program: one node after the other, a new one for each new configuration or enrolment. What the one has
// made is on disk when the next begins.
class Program {
 public:
  Program(std::string file, AgentConfig config, OsLoop& loop)
      : file_(std::move(file)),
        config_(std::move(config)),
        loop_(loop),
        log_(make_log(log_options(config_.log), clock_)),
        disk_(loop),
        network_(loop, *log_),
        processes_(loop) {}

  int run() {
    if (auto status = begin(); !status) {
      log_->error("not_started", {{"why", status.error().text}});
      return 1;
    }
    loop_.on_signal(SIGTERM, [this] { end(); });
    loop_.on_signal(SIGINT, [this] { end(); });
    loop_.on_signal(SIGHUP, [this] { reload(); });
    return_startup_memory();
    return_memory(kReturnMemoryFirstMs, 0);
    loop_.run();
    node_.reset();
    return status_;
  }

 private:
  Status begin() {
    auto identity = load_or_make_identity(disk_, random_, config_.state_dir);
    if (!identity) return tl::unexpected(identity.error());
    AgentConfig config = config_;
    auto enrolment = read_enrolment(disk_, config.state_dir, config.device, *identity);
    if (!enrolment && enrolment.error().code != ErrorCode::kNotFound) return tl::unexpected(enrolment.error());
    if (enrolment) {
      config.uplink.site = enrolment->site;
      config.uplink.ca_file = enrolment->ca_file;
      config.uplink.certificate_file = enrolment->certificate_file;
      config.uplink.key_file = identity->tls_key_file;
      if (config.uplink.gateways.empty()) config.uplink.gateways = enrolment->gateways;
    }
    if (auto status = begin_statsd(config.statsd); !status) return status;
    std::vector<std::unique_ptr<Source>> further;
    if (statsd_ != nullptr) further.push_back(std::make_unique<StatsdSource>(statsd_));
    auto systemd = make_systemd_source(config.sources, [this](std::string socket, auto wants) {
      return make_service_manager(loop_, {std::move(socket), kServicesAnswerMsMax, std::move(wants)});
    });
    if (!systemd) return tl::unexpected(systemd.error());
    if (*systemd != nullptr) further.push_back(std::move(*systemd));
    auto sources = make_host_sources(*files_, clock_, config.sources, {}, std::move(further));
    if (!sources) return tl::unexpected(sources.error());
    node_ = std::make_unique<Node>(env_, std::move(config), std::move(identity->key), sources_of(std::move(*sources)),
                                   [this](std::function<void()> task) { workers_.run(std::move(task)); });
    return node_->start();
  }

  // Goes on with what it has when its settings are the same: nothing that is sent meanwhile is missed.
  Status begin_statsd(const StatsdOptions& options) {
    if (statsd_ != nullptr && options == statsd_->options()) return {};
    statsd_.reset();
    if (!options.enabled) return {};
    auto made = std::make_shared<Statsd>(options, clock_, *log_, random_.u64());
    if (auto status = made->open(datagrams_); !status) return status;
    statsd_ = std::move(made);
    log_->info("statsd_listening", {{"address", options.address},
                                    {"port", uint64_t{statsd_->port()}},
                                    {"socket", options.socket},
                                    {"kernel_bytes", statsd_->datagrams().kernel_bytes_granted}});
    return {};
  }

  void end() {
    if (ending_) return;
    ending_ = true;
    if (!changing_) node_->stop([this] { loop_.stop(); });
  }

  // A second after the start, a second after a gateway first answered, and then every ten.
  void return_memory(int64_t in_ms, int64_t waited_ms) {
    loop_.after(in_ms, [this, waited_ms = waited_ms + in_ms] {
      const bool answered = node_ != nullptr && node_->status().answered;
      const bool news = answered && !answered_;
      answered_ = answered_ || answered;
      const bool first = waited_ms == kReturnMemoryFirstMs, last = waited_ms >= kReturnMemoryMs;
      if (first || last || news) return_startup_memory();
      return_memory(answered_ || last ? kReturnMemoryMs : kReturnMemoryFirstMs, last ? 0 : waited_ms);
    });
  }

  // A configuration that is wrong changes nothing.
  void reload() {
    if (ending_ || changing_) return;
    auto next = load_agent_config(disk_, os_environment, file_);
    if (!next) {
      log_->error("reload_refused", {{"why", next.error().text}});
      return;
    }
    changing_ = true;
    node_->stop([this, config = std::move(*next)]() mutable {
      changing_ = false;
      node_.reset();
      if (ending_) return loop_.stop();
      std::swap(config_, config);
      if (auto status = begin(); !status) {
        log_->error("reload_failed", {{"why", status.error().text}, {"goes_on_with", "the configuration before"}});
        config_ = config;
        if (auto before = begin(); !before) {
          log_->error("not_started", {{"why", before.error().text}});
          status_ = 1;
          return loop_.stop();
        }
      }
      log_->info("reloaded", {{"file", file_}});
    });
  }

  const std::string file_;
  AgentConfig config_;
  OsLoop& loop_;
  OsClock clock_;
  std::unique_ptr<Log> log_;
  OsDisk disk_;
  OsRandom random_;
  OsNetwork network_;
  OsProcesses processes_;
  OsDatagrams datagrams_{loop_};
  std::shared_ptr<Statsd> statsd_;  // outlives nodes
  const std::unique_ptr<HostFiles> files_ = make_host_files();
  Env env_{clock_, loop_, disk_, network_, random_, processes_, *log_};
  Workers workers_{1, kQueryNice};  // evaluates questions; outlives nodes, since its tasks may
  std::unique_ptr<Node> node_;
  bool ending_ = false, changing_ = false;
  bool answered_ = false;  // by a gateway, once
  int status_ = 0;
};

int main_of(int argc, char** argv) {
  Arguments arguments;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--help" || argument == "-h") return help();
    if (argument == "--version") {
      std::printf("lambda-agent %s\n", kVersion);
      return 0;
    }
    if (argument == "--check-config") {
      arguments.check = true;
    } else if (argument == "--test") {
      arguments.test = true;
    } else if (argument == "--config" && i + 1 < argc) {
      arguments.config = argv[++i];
    } else if (argument == "--request" && i + 1 < argc) {
      arguments.request = argv[++i];
    } else if (argument == "--install" && i + 1 < argc) {
      arguments.install = argv[++i];
    } else {
      std::fprintf(stderr, "lambda-agent: %s: unknown argument\n", argument.c_str());
      return usage(stderr, 2);
    }
  }
  if (arguments.config.empty()) return usage(stderr, 2);

  // Small and steady: one heap for the few threads, and freed memory goes back.
  mallopt(M_ARENA_MAX, 1);
  mallopt(M_TRIM_THRESHOLD, 128 << 10);
  mallopt(M_MMAP_THRESHOLD, 128 << 10);
  return_startup_memory();  // what the dynamic loader touched
  OsLoop loop;              // before any thread: it sets the signals for all of them
  Result<AgentConfig> config = [&] {
    OsDisk disk(loop);
    return load_agent_config(disk, os_environment, arguments.config);
  }();
  if (!config) {
    std::fprintf(stderr, "%s\n", config.error().text.c_str());
    return 1;
  }
  if (arguments.check) {
    std::printf("%s: good\n", arguments.config.c_str());
    return 0;
  }
  if (arguments.test) return test(*config);
  if (!arguments.request.empty() || !arguments.install.empty()) return enrol(*config, arguments, loop);
  return Program(arguments.config, std::move(*config), loop).run();
}

}  // namespace
}  // namespace lambda::agent

int main(int argc, char** argv) {
  lambda::end_process(lambda::agent::main_of(argc, argv));
}
