// What is scraped, as the configuration has it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "agent/source/source.h"
#include "base/result.h"

namespace lambda::agent {

inline constexpr size_t kScrapeTargetsMax = 32;
inline constexpr int64_t kScrapeTimeoutMsMax = 10'000;  // when none is set

struct ScrapeOptions {
  std::string name;  // the label `job` of all its series; one of its own
  std::string url;
  int64_t interval_ms = 10'000;
  int64_t timeout_ms = 0;           // 0: the interval, at most kScrapeTimeoutMsMax
  std::vector<std::string> labels;  // "name=value": further labels of all its series
  std::string token, ca_file, certificate_file, key_file;
  std::string include, exclude;  // of metric names; see DeviceFilter
  bool honor_labels = false;     // a sample's own label stands where the target has one of that name
  bool honor_timestamps = true;
  uint32_t sample_max = 5'000;  // of one page: a page with more is refused as a whole
  uint32_t series_max = 5'000;  // of the target, in this process: further ones are refused and counted
  uint64_t body_bytes_max = 4u << 20;

  int64_t timeout() const {
    if (timeout_ms != 0) return timeout_ms;
    return interval_ms < kScrapeTimeoutMsMax ? interval_ms : kScrapeTimeoutMsMax;
  }
};

// The labels of a target, `job` first. kInvalid: one is not "name=value", or its name is not allowed.
Result<LabelList> scrape_labels(const ScrapeOptions& options);

}  // namespace lambda::agent
