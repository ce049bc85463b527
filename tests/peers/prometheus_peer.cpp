#include "tests/peers/prometheus_peer.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <thread>
#include <utility>

#include "base/os/http_client.h"
#include "query/labels.h"
#include "query/number.h"

extern char** environ;

namespace lambda::peers {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr auto kReadyWithin = std::chrono::seconds(60);
constexpr auto kEndWithin = std::chrono::seconds(10);
constexpr auto kLookEvery = milliseconds(20);

uint16_t free_port() {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  const bool good = bind(fd, reinterpret_cast<sockaddr*>(&address), length) == 0 &&
                    getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) == 0;
  close(fd);
  return good ? ntohs(address.sin_port) : 0;
}

// With its output at the end of `log`; -1 when it cannot be started.
pid_t start_program(std::vector<std::string> arguments, const std::string& log) {
  std::vector<char*> argv;
  for (std::string& argument : arguments) {
    argv.push_back(argument.data());
  }
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 1, log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  posix_spawn_file_actions_adddup2(&actions, 1, 2);
  pid_t pid = -1;
  const int error = posix_spawnp(&pid, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  return error == 0 ? pid : -1;
}

// "x{a=\"b\"} 1.5 1700000000.250", one metric after the other.
void write_openmetrics(const std::string& file, const std::vector<query::ResultSeries>& series) {
  std::vector<const query::ResultSeries*> order;
  for (const query::ResultSeries& one : series) {
    order.push_back(&one);
  }
  std::ranges::stable_sort(order, {}, [](const auto* one) { return query::label_value(one->labels, "__name__"); });
  std::ofstream out(file, std::ios::binary);
  std::string text;
  for (const query::ResultSeries* one : order) {
    const std::string name = query::to_string(one->labels);
    for (const query::Sample& sample : one->samples) {
      text = name + ' ';
      query::append_number(text, sample.value);
      text += ' ';
      query::append_seconds(text, sample.time_ms);
      out << text << '\n';
    }
  }
  out << "# EOF\n";
}

}  // namespace

bool prometheus_installed() {
  return access("/usr/bin/prometheus", X_OK) == 0 && access("/usr/bin/promtool", X_OK) == 0;
}

PrometheusPeer::PrometheusPeer(std::string folder) : folder_(std::move(folder)) {}

PrometheusPeer::~PrometheusPeer() {
  if (pid_ <= 0) {
    return;
  }
  kill(pid_, SIGTERM);
  const auto patience = steady_clock::now() + kEndWithin;
  while (waitpid(pid_, nullptr, WNOHANG) == 0) {
    if (steady_clock::now() > patience) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
      return;
    }
    std::this_thread::sleep_for(kLookEvery);
  }
}

Status PrometheusPeer::make_blocks(const std::vector<query::ResultSeries>& series) {
  const std::string text = folder_ + "/series.txt";
  write_openmetrics(text, series);
  const pid_t pid = start_program({"promtool", "tsdb", "create-blocks-from", "openmetrics", "--quiet",
                                   "--max-block-duration=48h", text, folder_ + "/data"},
                                  folder_ + "/log");
  int status = -1;
  if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0) {
    return fail(ErrorCode::kUnavailable, "promtool did not make blocks of " + text);
  }
  std::filesystem::remove(text);
  return {};
}

Status PrometheusPeer::start(const std::vector<query::ResultSeries>& series) {
  if (auto made = make_blocks(series); !made) {
    return made;
  }
  std::ofstream(folder_ + "/prometheus.yml") << "global: {evaluation_interval: 1m}\n";
  const std::string address = "127.0.0.1:" + std::to_string(free_port());
  url_ = "http://" + address;
  pid_ = start_program(
      {"prometheus", "--config.file=" + folder_ + "/prometheus.yml", "--storage.tsdb.path=" + folder_ + "/data",
       "--storage.tsdb.retention.time=100y", "--web.listen-address=" + address, "--log.level=warn"},
      folder_ + "/log");
  const auto patience = steady_clock::now() + kReadyWithin;
  while (pid_ > 0 && steady_clock::now() < patience) {
    const auto ready = ask("/-/ready", {});
    if (ready && ready->status == 200) {
      return {};
    }
    if (waitpid(pid_, nullptr, WNOHANG) != 0) {
      pid_ = -1;
      break;
    }
    std::this_thread::sleep_for(kLookEvery);
  }
  return fail(ErrorCode::kUnavailable, "prometheus did not become ready on " + url_);
}

double PrometheusPeer::cpu_ms() const {
  std::ifstream in("/proc/" + std::to_string(pid_) + "/stat");
  std::string text((std::istreambuf_iterator<char>(in)), {});
  const size_t behind_name = text.rfind(')');
  if (behind_name == std::string::npos) {
    return 0;
  }
  std::istringstream fields(text.substr(behind_name + 1));
  std::string skipped;
  for (int i = 0; i < 11; ++i) {  // state to cmajflt
    fields >> skipped;
  }
  double user = 0;
  double system = 0;
  fields >> user >> system;
  return (user + system) * 1000 / static_cast<double>(sysconf(_SC_CLK_TCK));
}

Result<HttpResponse> PrometheusPeer::ask(const std::string& path,
                                         std::multimap<std::string, std::string> parameters) const {
  HttpCall call;
  call.url = url_ + path;
  call.parameters = std::move(parameters);
  call.post = !call.parameters.empty();
  return call_http(call);
}

}  // namespace lambda::peers
