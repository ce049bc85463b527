#include "bench/path/site_process.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

#include "gateway/site/registry.h"
#include "gateway/site/site.h"

extern char** environ;

namespace lambda::bench {
namespace {

pid_t gateway_of_atexit = 0;  // the child must not outlive an early exit

[[noreturn]] void give_up(const std::string& why) {
  std::fprintf(stderr, "bench_path: %s\n", why.c_str());
  std::exit(1);
}

template <class T>
T need(Result<T> result, const char* what) {
  if (!result) give_up(std::string(what) + ": " + result.error().text);
  return std::move(*result);
}

int connect_loopback(uint16_t port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    ::close(fd);
    return -1;
  }
  return fd;
}

void write_file(const std::string& path, const std::string& text, bool append = false) {
  std::ofstream file(path, append ? std::ios::app : std::ios::trunc);
  file << text;
  if (!file.flush()) give_up("cannot write " + path);
}

// Fields of /proc/<pid>/stat behind the name, which may hold spaces: [0] is the state.
std::vector<std::string> stat_fields(int64_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text((std::istreambuf_iterator<char>(file)), {});
  const auto close = text.rfind(')');
  if (close == std::string::npos) return {};
  std::istringstream words(text.substr(close + 1));
  return {std::istream_iterator<std::string>(words), {}};
}

}  // namespace

uint16_t free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (::bind(fd, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    give_up("no free port");
  }
  ::close(fd);
  return ntohs(address.sin_port);
}

bool answers_ready(uint16_t port) {
  const int fd = connect_loopback(port);
  if (fd < 0) return false;
  const std::string request = "GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
  char answer[64] = {};
  const bool said = ::write(fd, request.data(), request.size()) > 0 && ::read(fd, answer, sizeof answer - 1) > 0;
  ::close(fd);
  return said && std::string_view(answer).find(" 200 ") != std::string_view::npos;
}

int64_t process_cpu_us(int64_t pid) {
  const auto fields = stat_fields(pid);
  if (fields.size() < 13) return 0;
  return (std::stoll(fields[11]) + std::stoll(fields[12])) * (1'000'000 / ::sysconf(_SC_CLK_TCK));
}

uint64_t process_rss_bytes(int64_t pid) {
  const auto fields = stat_fields(pid);
  if (fields.size() < 22) return 0;
  return std::stoull(fields[21]) * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
}

SiteProcess::SiteProcess(Env& env, std::string program, std::string folder) : env_(env), folder_(std::move(folder)) {
  const uint16_t broker_port = free_port();
  http_port_ = free_port();
  url_ = "mqtts://localhost:" + std::to_string(broker_port);
  std::filesystem::create_directories(folder_ + "/devices");
  write_file(folder_ + "/gateway.toml", "[gateway]\nid = \"bench-gateway\"\n[site]\nname = \"bench\"\ndirectory = \"" +
                                            folder_ + "/site\"\n[store]\ndirectory = \"" + folder_ +
                                            "/store\"\n[broker]\nport = " + std::to_string(broker_port) +
                                            "\n[http]\nport = " + std::to_string(http_port_) + "\n");
  const std::string config = folder_ + "/gateway.toml", log = folder_ + "/gateway.log";
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 1, log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  posix_spawn_file_actions_adddup2(&actions, 1, 2);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);  // our own loop blocks SIGTERM
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  const char* arguments[] = {program.c_str(), "--config", config.c_str(), nullptr};
  pid_t pid = 0;
  if (::posix_spawn(&pid, program.c_str(), &actions, &attributes, const_cast<char**>(arguments), environ) != 0) {
    give_up("cannot start " + program);
  }
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  pid_ = gateway_of_atexit = pid;
  std::atexit([] {
    if (gateway_of_atexit > 0) ::kill(gateway_of_atexit, SIGTERM);
  });
  wait_until_ready();
}

SiteProcess::~SiteProcess() {
  gateway_of_atexit = 0;
  ::kill(static_cast<pid_t>(pid_), SIGTERM);
  for (int i = 0; i < 100; ++i) {
    if (::waitpid(static_cast<pid_t>(pid_), nullptr, WNOHANG) != 0) return;
    ::usleep(100'000);
  }
  ::kill(static_cast<pid_t>(pid_), SIGKILL);
  ::waitpid(static_cast<pid_t>(pid_), nullptr, 0);
}

void SiteProcess::wait_until_ready() {
  for (int i = 0; i < 200; ++i) {
    if (answers_ready(http_port_)) return;
    ::usleep(100'000);
  }
  give_up("the gateway is not ready after 20 s; see " + folder_ + "/gateway.log");
}

DeviceIdentity SiteProcess::enrol(const std::string& device) {
  const auto site = need(gateway::Site::open(env_, folder_ + "/site"), "open the site");
  DeviceIdentity identity{site.site(), device, SigningKey::make(env_.random), {}, {}, {}};
  const std::string base = folder_ + "/devices/" + device;
  const auto key_pem = need(make_tls_key(env_.random), "make a key");
  const auto request = need(make_certificate_request(key_pem, device, env_.random), "make a request");
  const auto certificate = need(site.issue(device, request, 30), "issue a certificate");
  identity.ca_file = site.gateway_credentials().ca_file;
  identity.certificate_file = base + ".crt";
  identity.key_file = base + ".key";
  write_file(identity.certificate_file, certificate.pem);
  write_file(identity.key_file, key_pem);
  gateway::Enrolled enrolled;
  enrolled.device = device;
  enrolled.public_key = identity.key.public_key();
  enrolled.fingerprint = certificate.facts.fingerprint_hex;
  enrolled.serial = certificate.facts.serial_hex;
  enrolled.enrolled_ms = env_.clock.utc_ms();
  write_file(folder_ + "/site/registry.jsonl", gateway::Registry::enroll_line(enrolled, false), true);
  return identity;
}

int64_t SiteProcess::broker_pid() const {
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const auto fields = stat_fields(std::stoll(name));
    if (fields.size() > 1 && std::stoll(fields[1]) == pid_) return std::stoll(name);
  }
  return 0;
}

}  // namespace lambda::bench
