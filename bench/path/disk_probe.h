// The yardstick of a phase: how long the disk itself took for a small append and fdatasync, in the same seconds and on
// the same file system. What an ack waits for cannot be shorter than that.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

namespace lambda::bench {

class DiskProbe {
 public:
  // Begins to write a file in `folder`, 512 bytes and a sync every 25 ms, from a thread of its own. Ends the program
  // when that fails.
  explicit DiskProbe(const std::string& folder);
  ~DiskProbe();
  DiskProbe(const DiskProbe&) = delete;
  DiskProbe& operator=(const DiskProbe&) = delete;

  // Ends the probe. Microseconds of each append and sync.
  std::vector<int64_t> stop();

 private:
  void run();

  std::string path_;
  int fd_ = -1;
  std::atomic<bool> stopped_ = false;
  std::vector<int64_t> took_us_;
  std::thread thread_;
};

}  // namespace lambda::bench
