#include "base/os/datagrams.h"

#include <arpa/inet.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace lambda {
namespace {

constexpr size_t kPacketsAtOnce = 64;
constexpr size_t kHandlePackets = 4'096;
constexpr size_t kHandleBytes = 64u << 10;  // given to the handler between two other tasks of the loop
constexpr size_t kKeepBytes = 512u << 10;   // of a buffer that a burst made larger

// A socket that is closed when it is no longer held.
class Socket {
 public:
  explicit Socket(int fd = -1) : fd_(fd) {}
  ~Socket() {
    if (fd_ >= 0) ::close(fd_);
  }
  Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Socket& operator=(Socket&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  int fd() const { return fd_; }

 private:
  int fd_;
};

tl::unexpected<Error> os_failure(const std::string& what) {
  const ErrorCode code = errno == EACCES || errno == EPERM ? ErrorCode::kDenied : ErrorCode::kUnavailable;
  return fail(code, what + ": " + std::strerror(errno));
}

void ask_for_queue(int fd, uint64_t bytes) {
  const int wanted = static_cast<int>(std::min<uint64_t>(bytes, 1u << 30));
  // The first needs a privilege and is not held to net.core.rmem_max; without it the kernel grants up to that.
  if (::setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &wanted, sizeof wanted) == 0) return;
  ::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &wanted, sizeof wanted);
}

struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

Result<Address> numeric_address(const std::string& text, uint16_t port) {
  Address out;
  auto* v4 = reinterpret_cast<sockaddr_in*>(&out.storage);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&out.storage);
  if (::inet_pton(AF_INET, text.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    out.size = sizeof *v4;
  } else if (::inet_pton(AF_INET6, text.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    out.size = sizeof *v6;
  } else {
    return fail(ErrorCode::kInvalid, "\"" + text + "\" is no numeric IPv4 or IPv6 address");
  }
  return out;
}

Result<Socket> open_udp(const DatagramOptions& options, uint16_t* port) {
  const auto address = numeric_address(options.address, options.port);
  if (!address) return tl::unexpected(address.error());
  const std::string name = "udp " + options.address + " port " + std::to_string(options.port);
  Socket made(::socket(address->storage.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (made.fd() < 0) return os_failure(name);
  ask_for_queue(made.fd(), options.kernel_bytes_max);
  if (::bind(made.fd(), address->get(), address->size) != 0) return os_failure(name);
  Address bound;
  bound.size = sizeof bound.storage;
  if (::getsockname(made.fd(), reinterpret_cast<sockaddr*>(&bound.storage), &bound.size) != 0) return os_failure(name);
  *port = ntohs(bound.storage.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(&bound.storage)->sin6_port
                                                    : reinterpret_cast<sockaddr_in*>(&bound.storage)->sin_port);
  return made;
}

// A socket that an earlier process left behind refuses connections. One that somebody reads, or a file of another
// kind, is not ours to replace.
Status remove_stale(const std::string& path, const sockaddr_un& address) {
  struct stat found {};
  if (::lstat(path.c_str(), &found) != 0) return {};
  if (!S_ISSOCK(found.st_mode)) return fail(ErrorCode::kInvalid, path + ": is there already and is no socket");
  const Socket probe(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (::connect(probe.fd(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
    return fail(ErrorCode::kUnavailable, path + ": another process receives there");
  }
  if (errno != ECONNREFUSED) return os_failure(path);
  if (::unlink(path.c_str()) != 0) return os_failure(path);
  return {};
}

Result<Socket> open_unix(const DatagramOptions& options) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (options.socket.size() >= sizeof address.sun_path) {
    return fail(ErrorCode::kInvalid, options.socket + ": longer than the " +
                                         std::to_string(sizeof address.sun_path - 1) + " bytes of a socket's path");
  }
  std::memcpy(address.sun_path, options.socket.data(), options.socket.size());
  if (auto status = remove_stale(options.socket, address); !status) return tl::unexpected(status.error());
  Socket made(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (made.fd() < 0) return os_failure(options.socket);
  ask_for_queue(made.fd(), options.kernel_bytes_max);
  if (::bind(made.fd(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return os_failure(options.socket);
  }
  // Who may send is who may enter the folder.
  if (::chmod(options.socket.c_str(), 0666) != 0) return os_failure(options.socket);
  return made;
}

// Packets back to back, and where each ends.
struct Batch {
  std::string bytes;
  std::vector<size_t> ends;
  void clear() {
    bytes.clear();
    ends.clear();
    if (bytes.capacity() > kKeepBytes || ends.capacity() * sizeof ends[0] > kKeepBytes) {
      bytes.shrink_to_fit();
      ends.shrink_to_fit();
    }
  }
};

// Shared by the thread that receives, the loop, and tasks on their way to it.
struct Exchange {
  std::mutex mutex;
  std::condition_variable room;
  Batch filling;        // guarded by mutex
  bool posted = false;  // guarded by mutex: a task is on its way to the loop
  bool ended = false;   // guarded by mutex

  std::atomic<uint64_t> packets_too_long{0}, receive_errors{0}, waits{0};
};

// Where recvmmsg puts packets before they are put back to back.
class Landing {
 public:
  explicit Landing(size_t packet_bytes_max) : room_(packet_bytes_max + 1), space_(room_ * kPacketsAtOnce) {
    for (size_t i = 0; i < kPacketsAtOnce; ++i) {
      parts_[i] = {space_.data() + i * room_, room_};
      messages_[i].msg_hdr = {};
      messages_[i].msg_hdr.msg_iov = &parts_[i];
      messages_[i].msg_hdr.msg_iovlen = 1;
    }
  }
  int receive(int fd) { return ::recvmmsg(fd, messages_.data(), kPacketsAtOnce, MSG_DONTWAIT, nullptr); }
  // One byte more than allowed was asked for: who fills it was too long.
  bool too_long(size_t i) const { return messages_[i].msg_len >= room_; }
  std::string_view packet(size_t i) const { return {space_.data() + i * room_, messages_[i].msg_len}; }

 private:
  const size_t room_;
  std::vector<char> space_;
  std::array<iovec, kPacketsAtOnce> parts_{};
  std::array<mmsghdr, kPacketsAtOnce> messages_{};
};

class OsDatagramReceiver final : public DatagramReceiver {
 public:
  OsDatagramReceiver(EventLoop& loop, DatagramOptions options, Datagrams::Handler handler, Socket udp, uint16_t port,
                     Socket local)
      : loop_(loop),
        options_(std::move(options)),
        handler_(std::move(handler)),
        udp_(std::move(udp)),
        local_(std::move(local)),
        wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
        port_(port) {
    LAMBDA_ASSERT(wake_.fd() >= 0);
    thread_ = std::thread([this] { receive(); });
  }

  ~OsDatagramReceiver() override {
    {
      const std::lock_guard lock(exchange_->mutex);
      exchange_->ended = true;
    }
    exchange_->room.notify_one();
    const uint64_t one = 1;
    [[maybe_unused]] const auto written = ::write(wake_.fd(), &one, sizeof one);
    thread_.join();
    if (local_.fd() >= 0) ::unlink(options_.socket.c_str());
  }

  uint16_t port() const override { return port_; }

  DatagramCounters counters() const override {
    DatagramCounters out = handled_;
    out.packets_too_long = exchange_->packets_too_long;
    out.receive_errors = exchange_->receive_errors;
    out.waits_for_handler = exchange_->waits;
    std::array<uint32_t, SK_MEMINFO_VARS> memory{};
    socklen_t size = sizeof memory;
    if (udp_.fd() >= 0 && ::getsockopt(udp_.fd(), SOL_SOCKET, SO_MEMINFO, memory.data(), &size) == 0) {
      out.packets_dropped = memory[SK_MEMINFO_DROPS];
      out.kernel_bytes_granted = memory[SK_MEMINFO_RCVBUF];
    }
    return out;
  }

 private:
  // ---- The thread

  void receive() {
    Landing landing(options_.packet_bytes_max);
    for (;;) {
      std::array<pollfd, 3> waited{{{wake_.fd(), POLLIN, 0}, {udp_.fd(), POLLIN, 0}, {local_.fd(), POLLIN, 0}}};
      if (::poll(waited.data(), waited.size(), -1) < 0) {
        if (errno != EINTR) exchange_->receive_errors++;
        continue;
      }
      if (waited[0].revents != 0) return;
      for (size_t i = 1; i < waited.size(); ++i) {
        if (waited[i].revents != 0 && !empty(waited[i].fd, landing)) return;
      }
    }
  }

  // Takes what is there now, one call's worth. False: the end.
  bool empty(int fd, Landing& landing) {
    const int got = landing.receive(fd);
    if (got < 0) {
      if (errno != EAGAIN && errno != EINTR) exchange_->receive_errors++;
      return true;
    }
    std::unique_lock lock(exchange_->mutex);
    // An empty packet takes room, too: where it ends.
    const auto full = [this] {
      const Batch& filling = exchange_->filling;
      return filling.bytes.size() + filling.ends.size() * sizeof filling.ends[0] >= options_.waiting_bytes_max;
    };
    if (full()) {
      exchange_->waits++;
      exchange_->room.wait(lock, [&] { return exchange_->ended || !full(); });
    }
    if (exchange_->ended) return false;
    for (int i = 0; i < got; ++i) {
      const auto index = static_cast<size_t>(i);
      if (landing.too_long(index)) {
        exchange_->packets_too_long++;
        continue;
      }
      exchange_->filling.bytes += landing.packet(index);
      exchange_->filling.ends.push_back(exchange_->filling.bytes.size());
    }
    if (!exchange_->posted && !exchange_->filling.ends.empty()) {
      exchange_->posted = true;
      post();
    }
    return true;
  }

  // ---- The loop

  void post() {
    loop_.post([this, living = std::weak_ptr<bool>(alive_)] {
      if (!living.expired()) handle();
    });
  }

  void handle() {
    if (next_ == handling_.ends.size()) {
      handling_.clear();
      next_ = 0;
      const std::lock_guard lock(exchange_->mutex);
      std::swap(handling_, exchange_->filling);
      exchange_->room.notify_one();
    }
    packets_.clear();
    size_t from = next_ == 0 ? 0 : handling_.ends[next_ - 1];
    const size_t stop = from + kHandleBytes;
    for (; next_ < handling_.ends.size() && from < stop && packets_.size() < kHandlePackets; ++next_) {
      packets_.emplace_back(handling_.bytes.data() + from, handling_.ends[next_] - from);
      from = handling_.ends[next_];
      handled_.bytes += packets_.back().size();
    }
    handled_.packets += packets_.size();
    {
      // More is known to wait, or the next packet posts again.
      const std::lock_guard lock(exchange_->mutex);
      exchange_->posted = next_ < handling_.ends.size() || !exchange_->filling.ends.empty();
      if (exchange_->posted) post();
    }
    handler_(packets_);
  }

  EventLoop& loop_;
  const DatagramOptions options_;
  const Datagrams::Handler handler_;
  const Socket udp_, local_, wake_;
  const uint16_t port_;
  const std::shared_ptr<Exchange> exchange_ = std::make_shared<Exchange>();
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);

  // Loop thread only.
  Batch handling_;
  size_t next_ = 0;  // of handling_.ends: the first that was not given to the handler
  std::vector<std::string_view> packets_;
  DatagramCounters handled_;

  std::thread thread_;
};

}  // namespace

Result<std::unique_ptr<DatagramReceiver>> OsDatagrams::receive(DatagramOptions options, Handler handler) {
  uint16_t port = 0;
  Socket udp, local;
  if (!options.address.empty()) {
    auto opened = open_udp(options, &port);
    if (!opened) return tl::unexpected(opened.error());
    udp = std::move(*opened);
  }
  if (!options.socket.empty()) {
    auto opened = open_unix(options);
    if (!opened) return tl::unexpected(opened.error());
    local = std::move(*opened);
  }
  return std::make_unique<OsDatagramReceiver>(loop_, std::move(options), std::move(handler), std::move(udp), port,
                                              std::move(local));
}

}  // namespace lambda
