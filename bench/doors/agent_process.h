// A real agent as a child of the benchmark: enrolled at a site that was made for it, without a gateway, so that its
// parcels fill the spool beside what is measured.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>

namespace lambda::bench {

class AgentProcess {
 public:
  // `binaries` has lambda-agent, lambda-gateway and lambda; everything is written into `folder`. Ends the program when
  // something is missing.
  AgentProcess(const std::string& binaries, const std::string& folder);
  ~AgentProcess();
  AgentProcess(const AgentProcess&) = delete;
  AgentProcess& operator=(const AgentProcess&) = delete;

  uint16_t port() const { return port_; }
  double cpu_seconds() const;
  double resident_mb() const;
  // name{labels} -> value
  std::map<std::string, double> metrics() const;

 private:
  uint16_t port_ = 0;
  pid_t pid_ = 0;
};

// A connection that is kept; answers are read whole. Ends the program when the other side cannot be reached.
class HttpLine {
 public:
  explicit HttpLine(uint16_t port);
  ~HttpLine();
  HttpLine(const HttpLine&) = delete;
  HttpLine& operator=(const HttpLine&) = delete;

  // Sends a whole request and returns the status; `body` may be null.
  int ask(const std::string& request, std::string* body = nullptr);

 private:
  int fd_ = -1;
  std::string rest_;
};

}  // namespace lambda::bench
