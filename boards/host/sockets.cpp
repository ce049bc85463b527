#include "boards/host/sockets.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "boards/host/altcp_stream.h"

namespace lambda::boards {
namespace {

class Socket;
constexpr size_t kSocketsMax = 4;
Socket* g_sockets[kSocketsMax];

class Socket final : public Stream {
 public:
  // `place` is its own among g_sockets.
  Socket(int file, Socket** place) : file_(file), place_(place) { *place_ = this; }
  ~Socket() override {
    *place_ = nullptr;
    close(file_);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  Dial dial() override {
    pollfd writable = {file_, POLLOUT, 0};
    if (poll(&writable, 1, 0) <= 0) return Dial::kPending;
    int error = 0;
    socklen_t size = sizeof error;
    sockaddr_in peer;
    socklen_t peer_size = sizeof peer;
    getsockopt(file_, SOL_SOCKET, SO_ERROR, &error, &size);
    const bool up = error == 0 && getpeername(file_, reinterpret_cast<sockaddr*>(&peer), &peer_size) == 0;
    dialing_ = false;
    return up ? Dial::kUp : Dial::kFailed;
  }

  size_t send(std::span<const uint8_t> bytes) override {
    size_t done = 0;
    while (done < bytes.size()) {
      const ssize_t sent = ::send(file_, bytes.data() + done, bytes.size() - done, MSG_NOSIGNAL);
      if (sent <= 0) break;
      done += static_cast<size_t>(sent);
    }
    full_ = done < bytes.size();
    return done;
  }

  Got receive(std::span<uint8_t> into, size_t* count) override {
    const ssize_t got = recv(file_, into.data(), into.size(), 0);
    if (got < 0) return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? Got::kNothing : Got::kBroken;
    if (got == 0) {
      ended_ = true;
      return Got::kEnd;
    }
    *count = static_cast<size_t>(got);
    return Got::kBytes;
  }

  pollfd wanted() const {
    const int events = (ended_ ? 0 : POLLIN) | (dialing_ || full_ ? POLLOUT : 0);
    return {file_, static_cast<short>(events), 0};
  }

 private:
  const int file_;
  Socket** const place_;
  bool dialing_ = true;
  bool full_ = false;
  bool ended_ = false;
};

}  // namespace

std::unique_ptr<Stream> open_stream(const ip_addr_t& address, uint16_t port) {
  Socket** place = nullptr;
  for (Socket*& one : g_sockets) {
    if (one == nullptr) place = &one;
  }
  const int file = place != nullptr ? socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0) : -1;
  if (file < 0) return nullptr;
  const int on = 1;
  setsockopt(file, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  sockaddr_in to = {};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = ip_addr_get_ip4_u32(&address);
  // A refusal that comes at once is told by the next dial(), like one that comes later.
  if (connect(file, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0 && errno != EINPROGRESS) {
    shutdown(file, SHUT_RDWR);
  }
  return std::make_unique<Socket>(file, place);
}

int64_t stream_clock_ms() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

void poll_sockets(int wait_ms_max) {
  pollfd files[kSocketsMax];
  nfds_t count = 0;
  for (const Socket* one : g_sockets) {
    if (one != nullptr) files[count++] = one->wanted();
  }
  if (poll(files, count, streams_are_due() ? 0 : wait_ms_max) < 0) return;
  serve_streams();
}

}  // namespace lambda::boards
