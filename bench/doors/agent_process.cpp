#include "bench/doors/agent_process.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>
#include <vector>

extern char** environ;

namespace lambda::bench {
namespace {

pid_t child_of_atexit = 0;  // it must not outlive an early exit

[[noreturn]] void give_up(const std::string& why) {
  std::fprintf(stderr, "bench_doors: %s\n", why.c_str());
  std::exit(1);
}

int connect_to(uint16_t port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0) {
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
  }
  close(fd);
  return -1;
}

uint16_t free_port() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof at;
  if (bind(fd, reinterpret_cast<sockaddr*>(&at), size) != 0) give_up("no free port");
  getsockname(fd, reinterpret_cast<sockaddr*>(&at), &size);
  close(fd);
  return ntohs(at.sin_port);
}

pid_t start(const std::vector<std::string>& words, const std::string& log) {
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 1, log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  posix_spawn_file_actions_adddup2(&actions, 1, 2);
  pid_t pid = 0;
  if (posix_spawn(&pid, arguments[0], &actions, nullptr, arguments.data(), environ) != 0) {
    give_up(words[0] + " cannot be started");
  }
  posix_spawn_file_actions_destroy(&actions);
  static const int kRegistered = std::atexit([] {
    if (child_of_atexit > 0) kill(child_of_atexit, SIGTERM);
  });
  (void)kRegistered;
  return child_of_atexit = pid;
}

bool run(const std::vector<std::string>& words, const std::string& log) {
  int status = 0;
  const pid_t pid = start(words, log);
  const bool ended = waitpid(pid, &status, 0) == pid;
  child_of_atexit = 0;
  return ended && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

void end(pid_t pid) {
  kill(pid, SIGTERM);
  waitpid(pid, nullptr, 0);
  child_of_atexit = 0;
}

void write_file(const std::string& path, const std::string& text) {
  std::ofstream file(path);
  file << text;
  if (!file.flush()) give_up("cannot write " + path);
}

template <class Condition>
void wait_until(const char* what, Condition condition) {
  for (int i = 0; i < 300; ++i) {
    if (condition()) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  give_up(std::string(what) + ": not within 30 s");
}

constexpr const char* kGet = " HTTP/1.1\r\nHost: bench\r\n\r\n";

}  // namespace

AgentProcess::AgentProcess(const std::string& binaries, const std::string& folder) : port_(free_port()) {
  const std::string site = folder + "/site", log = folder + "/log", agent = folder + "/agent.toml";
  const std::string gateway = folder + "/gateway.toml", request = folder + "/request", bundle = folder + "/bundle";
  const std::string broker_port = std::to_string(free_port());
  write_file(gateway, "[gateway]\nid = \"bench\"\n[site]\nname = \"bench\"\ndirectory = \"" + site +
                          "\"\n[store]\ndirectory = \"" + folder + "/store\"\n[broker]\nport = " + broker_port +
                          "\n[http]\nport = " + std::to_string(free_port()) + "\n");
  std::string sources;
  for (const char* source : {"cpu", "memory", "load", "disk", "filesystem", "network", "pressure", "sockets",
                             "processes", "time", "sensors", "cgroup", "self"}) {
    sources += std::string("[sources.") + source + "]\nenabled = false\n";
  }
  write_file(agent, "[agent]\ndevice = \"press-7\"\nstate = \"" + folder +
                        "/agent\"\nseries_max = 20000\n[doors]\nseries_max = 16000\n[http]\nport = " +
                        std::to_string(port_) + "\nbody_bytes_max = 16000000\n" + sources);
  if (!run({binaries + "/lambda-agent", "--config", agent, "--request", request}, log))
    give_up("no request; see " + log);
  const pid_t maker = start({binaries + "/lambda-gateway", "--config", gateway}, log);  // it makes the site
  wait_until("the site", [&] {
    child_of_atexit = maker;
    return std::filesystem::exists(site + "/server.crt") &&
           run({binaries + "/lambda", "enroll", request, "--site", site, "--out", bundle}, log);
  });
  end(maker);
  if (!run({binaries + "/lambda-agent", "--config", agent, "--install", bundle}, log))
    give_up("not enrolled; see " + log);
  pid_ = start({binaries + "/lambda-agent", "--config", agent}, log);
  wait_until("the agent", [&] {
    const int fd = connect_to(port_);
    if (fd < 0) return false;
    close(fd);
    return HttpLine(port_).ask("GET /readyz" + std::string(kGet)) == 200;
  });
}

AgentProcess::~AgentProcess() {
  end(pid_);
}

double AgentProcess::cpu_seconds() const {
  double ns = 0;
  for (const auto& thread : std::filesystem::directory_iterator("/proc/" + std::to_string(pid_) + "/task")) {
    std::ifstream file(thread.path() / "schedstat");
    double one = 0;
    file >> one;
    ns += one;
  }
  return ns / 1e9;
}

double AgentProcess::resident_mb() const {
  std::ifstream file("/proc/" + std::to_string(pid_) + "/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("VmHWM:")) return std::stod(line.substr(6)) / 1024;
  }
  return 0;
}

std::map<std::string, double> AgentProcess::metrics() const {
  std::string body;
  if (HttpLine(port_).ask("GET /metrics" + std::string(kGet), &body) != 200) give_up("no metrics");
  std::map<std::string, double> out;
  std::istringstream lines(body);
  for (std::string line; std::getline(lines, line);) {
    const size_t space = line.rfind(' ');
    if (line.empty() || line[0] == '#' || space == std::string::npos) continue;
    out[line.substr(0, space)] = std::strtod(line.c_str() + space, nullptr);
  }
  return out;
}

HttpLine::HttpLine(uint16_t port) : fd_(connect_to(port)) {
  if (fd_ < 0) give_up("the agent cannot be reached");
}

HttpLine::~HttpLine() {
  close(fd_);
}

int HttpLine::ask(const std::string& request, std::string* body) {
  for (size_t sent = 0; sent < request.size();) {
    const ssize_t now = send(fd_, request.data() + sent, request.size() - sent, MSG_NOSIGNAL);
    if (now <= 0) return 0;
    sent += static_cast<size_t>(now);
  }
  size_t head = std::string::npos, length = 0;
  while (true) {
    if (head == std::string::npos) {
      head = rest_.find("\r\n\r\n");
      if (head != std::string::npos) {
        const size_t at = rest_.find("Content-Length: ");
        length = at < head ? std::strtoul(rest_.c_str() + at + 16, nullptr, 10) : 0;
      }
    }
    if (head != std::string::npos && rest_.size() >= head + 4 + length) break;
    char piece[16384];
    const ssize_t got = recv(fd_, piece, sizeof piece, 0);
    if (got <= 0) return 0;
    rest_.append(piece, static_cast<size_t>(got));
  }
  const int status = std::atoi(rest_.c_str() + 9);
  if (body != nullptr) *body = rest_.substr(head + 4, length);
  rest_.erase(0, head + 4 + length);
  return status;
}

}  // namespace lambda::bench
