#include "base/os/network.h"

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>
#include <utility>

namespace lambda {
namespace {

constexpr std::chrono::milliseconds kPortLook{100};

Status try_listen(const std::string& address, uint16_t port) {
  const std::string what = address + " port " + std::to_string(port) + ": ";
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int error = getaddrinfo(address.c_str(), std::to_string(port).c_str(), &hints, &found); error != 0) {
    return fail(ErrorCode::kInvalid, what + gai_strerror(error));
  }
  const int yes = 1;
  const int socket = ::socket(found->ai_family, found->ai_socktype | SOCK_CLOEXEC, 0);
  // Two may bind with this option, but one may listen; without it an ended server's last connections would count.
  const bool good = socket >= 0 && setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) == 0 &&
                    bind(socket, found->ai_addr, found->ai_addrlen) == 0 && listen(socket, 1) == 0;
  const int error = errno;
  if (socket >= 0) ::close(socket);
  freeaddrinfo(found);
  if (good) return {};
  const ErrorCode code = error == EADDRINUSE ? ErrorCode::kUnavailable
                         : error == EACCES   ? ErrorCode::kDenied
                                             : ErrorCode::kInvalid;
  return fail(code, what + std::strerror(error));
}

}  // namespace

std::unique_ptr<MessageBus> OsNetwork::bus(BusOptions options, MessageBus::Handlers handlers) {
  return make_paho_bus(loop_, log_, std::move(options), std::move(handlers));
}

Result<std::unique_ptr<HttpServer>> OsNetwork::listen_http(HttpOptions options, HttpServer::Handler handler) {
  return make_beast_server(loop_, log_, std::move(options), std::move(handler));
}

std::unique_ptr<HttpFetcher> OsNetwork::http_fetcher() {
  return make_beast_fetcher(loop_);
}

Status can_listen(const std::string& address, uint16_t port, int64_t wait_ms) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(wait_ms);
  Status free = try_listen(address, port);
  while (!free && free.error().code == ErrorCode::kUnavailable && std::chrono::steady_clock::now() < until) {
    std::this_thread::sleep_for(kPortLook);
    free = try_listen(address, port);
  }
  return free;
}

}  // namespace lambda
