// Debian's Prometheus as a child of a test or a benchmark: the same series put into it, the same questions asked of it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/env/network.h"
#include "base/result.h"
#include "query/evaluator.h"

namespace lambda::peers {

// Whether the programs `prometheus` and `promtool` are there.
bool prometheus_installed();

class PrometheusPeer {
 public:
  // `folder` must be empty; it is not removed. Names of metrics must be plain.
  explicit PrometheusPeer(std::string folder);
  ~PrometheusPeer();  // ends the child, by its pid
  PrometheusPeer(const PrometheusPeer&) = delete;
  PrometheusPeer& operator=(const PrometheusPeer&) = delete;

  // Writes the series as blocks, starts Prometheus over them on a free loopback port, and waits until it is ready.
  // kUnavailable says what went wrong; what the programs said is in `folder`/log.
  Status start(const std::vector<query::ResultSeries>& series);

  // An answer of any status is a success.
  Result<HttpResponse> ask(const std::string& path, std::multimap<std::string, std::string> parameters) const;
  const std::string& url() const { return url_; }
  // What the processor did for the child so far, to about ten milliseconds; 0 when it cannot be known.
  double cpu_ms() const;

 private:
  Status make_blocks(const std::vector<query::ResultSeries>& series);

  std::string folder_, url_;
  pid_t pid_ = -1;
};

}  // namespace lambda::peers
