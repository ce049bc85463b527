// A real gateway with its own broker, as a child of the benchmark, and devices enrolled at its site.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/env/env.h"
#include "bench/path/device.h"

namespace lambda::bench {

// User and system time of a process, in microseconds; 0 when it is gone.
int64_t process_cpu_us(int64_t pid);
// Resident memory, in bytes.
uint64_t process_rss_bytes(int64_t pid);

uint16_t free_port();
// Whether the program there answers 200 on /readyz.
bool answers_ready(uint16_t port);

class SiteProcess {
 public:
  // Starts `program` (lambda-gateway) on fresh folders inside `folder` and waits until its site exists.
  SiteProcess(Env& env, std::string program, std::string folder);
  ~SiteProcess();

  // Waits until the gateway says that it is ready. Ends the program when it is not within 20 s.
  void wait_until_ready();
  DeviceIdentity enrol(const std::string& device);
  // The gateway reads the registry anew by itself.
  const std::string& url() const { return url_; }
  int64_t gateway_pid() const { return pid_; }
  int64_t broker_pid() const;

 private:
  Env& env_;
  std::string folder_, url_;
  uint16_t http_port_ = 0;
  int64_t pid_ = 0;
};

}  // namespace lambda::bench
