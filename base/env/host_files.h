// The small files in which a kernel tells about the machine (/proc, /sys), and the fill of mounted file systems. Made
// to be read every second for years: files stay open, nothing is allocated in the steady state.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace lambda {

// In bytes and inodes, as statvfs has them.
struct FilesystemUsage {
  uint64_t bytes = 0, bytes_free = 0, bytes_available = 0;
  uint64_t inodes = 0, inodes_free = 0;
};

// What the kernel knows about its clock, as adjtimex(2) tells it.
struct ClockDiscipline {
  int64_t offset_ns = 0;     // that it is still correcting
  int64_t frequency = 0;     // in 2^-16 parts of a million
  int64_t error_max_us = 0;  // grows by itself while nobody sets the clock right
  int64_t error_us = 0;
  int64_t status = 0;  // STA_* bits
  int64_t loop_constant = 0, tick_us = 0, tai_offset_s = 0;
  bool synchronised = false;
};

// One thread.
class HostFiles {
 public:
  virtual ~HostFiles() = default;

  // The whole file, read to its end whatever size it claims. The text is valid until the next call of read().
  // kNotFound: there is none; kFull: longer than kHostFileBytesMax; kUnsupported: it is there and this kernel does not
  // fill it; kIo, kDenied: the error names the path.
  virtual Result<std::string_view> read(const std::string& path) = 0;
  // The same of a file that comes and goes: it is not kept open.
  virtual Result<std::string_view> read_once(const std::string& path) { return read(path); }

  // Names in a folder, in no order, without "." and ".."; at most kHostFolderNamesMax, the rest is left out. What
  // `names` held is written over, and its room used again. Errors as of read().
  virtual Status list(const std::string& folder, std::vector<std::string>& names) = 0;
  // Where a path with symbolic links in it ends. Errors as of read().
  virtual Result<std::string> resolve(const std::string& path) = 0;

  virtual Result<ClockDiscipline> clock_discipline() = 0;

  // `may_hang`: the file system is served by another machine or process, whose silence must not stop the caller: the
  // question is asked on a thread of its own. kUnavailable: no answer within kUsageWaitMs; the question stays open and
  // later calls for this path return kUnavailable at once until it is answered.
  virtual Result<FilesystemUsage> usage(const std::string& mount_point, bool may_hang) = 0;

  virtual uint64_t page_bytes() const = 0;
};

inline constexpr uint64_t kHostFileBytesMax = 4u << 20;
inline constexpr size_t kHostFolderNamesMax = 32'768;
inline constexpr int64_t kUsageWaitMs = 50;
inline constexpr uint32_t kUsageThreadsMax = 8;    // hung questions at once; past it: kUnavailable
inline constexpr uint32_t kHostFilesOpenMax = 64;  // kept open; further ones are opened and closed at each read

}  // namespace lambda
