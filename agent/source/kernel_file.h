// What every source of this folder is made of: one kernel file, walked line by line, and the first thing that was
// wrong.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "agent/source/source.h"
#include "base/env/host_files.h"

namespace lambda::agent {

// "/" and "proc/stat" -> "/proc/stat"; "/host" and "proc/stat" -> "/host/proc/stat".
inline std::string below(const std::string& root, std::string_view path) {
  std::string joined = root;
  while (!joined.empty() && joined.back() == '/') joined.pop_back();
  joined += '/';
  while (!path.empty() && path.front() == '/') path.remove_prefix(1);
  joined += path;
  return joined;
}

// A file of /proc/net, which is that of the reading process, in a container the container's: elsewhere than at "/" the
// host's first process is asked.
inline std::string net_path(const std::string& root, std::string_view file) {
  const bool own = root == "/" || root.empty();
  return below(root, (own ? "proc/net/" : "proc/1/net/") + std::string(file));
}

// Collects the complaints of one collection: the first one is told, the rest are its number.
class Complaints {
 public:
  // `text` must name what was expected.
  void add(const std::string& path, uint32_t line, std::string_view text) {
    if (count_++ == 0) first_ = path + ":" + std::to_string(line) + ": " + std::string(text);
  }
  Status status() const {
    if (count_ == 0) return {};
    return fail(ErrorCode::kInvalid,
                first_ + (count_ > 1 ? " (and " + std::to_string(count_ - 1) + " more)" : "") + "; skipped");
  }

 private:
  uint32_t count_ = 0;
  std::string first_;
};

}  // namespace lambda::agent
