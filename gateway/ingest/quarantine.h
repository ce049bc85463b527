// Examples of what was refused, for the person who must find out why: the first message of each content, as it came.
//
// Bounded in bytes and files, in total and for each device; over a bound nothing is deleted and nothing more is kept,
// which is counted. The same content again is counted as a repeat. A file's name is
//   <device>.<reason>.<first 16 hex digits of the content's SHA-256>.bin
// and it is written without a sync: it is an example, not a record.
//
// Loop thread only.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>

#include "base/env/env.h"

namespace lambda::gateway {

struct QuarantineOptions {
  std::string directory;
  uint64_t bytes_max = 64u << 20;
  uint64_t files_max = 4096;
  uint64_t device_bytes_max = 4u << 20;
  uint64_t device_files_max = 64;
};

struct QuarantineCounters {
  uint64_t kept = 0, repeats = 0, over_bound = 0, write_errors = 0;
};

class Quarantine {
 public:
  // Counts what is there already. A folder that cannot be read counts as empty.
  Quarantine(Env& env, QuarantineOptions options);
  ~Quarantine();

  void keep(std::string_view device, std::string_view reason, std::span<const std::byte> content);

  const QuarantineCounters& counters() const { return counters_; }
  uint64_t bytes() const { return bytes_; }
  uint64_t files() const { return names_.size(); }

 private:
  struct Use {
    uint64_t bytes = 0, files = 0;
  };
  void write(const std::string& name, std::span<const std::byte> content);

  Env& env_;
  QuarantineOptions options_;
  std::set<std::string, std::less<>> names_;  // at most files_max, and those found at the start
  std::map<std::string, Use, std::less<>> devices_;
  uint64_t bytes_ = 0;
  bool folder_made_ = false;
  QuarantineCounters counters_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace lambda::gateway
