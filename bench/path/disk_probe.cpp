#include "bench/path/disk_probe.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>

namespace lambda::bench {

DiskProbe::DiskProbe(const std::string& folder) : path_(folder + "/disk-probe") {
  fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
  if (fd_ < 0) {
    std::perror("bench_path: disk probe");
    std::exit(1);
  }
  thread_ = std::thread([this] { run(); });
}

DiskProbe::~DiskProbe() {
  stop();
  ::close(fd_);
  ::unlink(path_.c_str());
}

std::vector<int64_t> DiskProbe::stop() {
  stopped_ = true;
  if (thread_.joinable()) thread_.join();
  return std::move(took_us_);
}

void DiskProbe::run() {
  using Clock = std::chrono::steady_clock;
  const std::array<char, 512> bytes{};
  while (!stopped_) {
    const auto begin = Clock::now();
    if (::write(fd_, bytes.data(), bytes.size()) < 0 || ::fdatasync(fd_) != 0) {
      std::perror("bench_path: disk probe");
      std::exit(1);
    }
    const auto took = Clock::now() - begin;
    took_us_.push_back(std::chrono::duration_cast<std::chrono::microseconds>(took).count());
    std::this_thread::sleep_until(begin + std::chrono::milliseconds(25));
  }
}

}  // namespace lambda::bench
