// Everything a program may do to a disk. The real one is in base/os, the lying one in tests/sim.
// Paths are absolute or relative to the working directory and are passed as the caller wrote them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace lambda {

using FileId = uint64_t;

struct DirEntry {
  std::string name;
  uint64_t bytes = 0;
  int64_t modified_ms = 0;
};

class Disk {
 public:
  using Done = std::function<void(Status)>;

  virtual ~Disk() = default;

  // Opens for appending, creating it if it is missing. The name survives a crash only after sync_dir().
  virtual Result<FileId> open_append(const std::string& path) = 0;
  // Closes after everything asked for before is done. Callbacks of those still run.
  virtual void close(FileId file) = 0;

  // Appends at the end. `bytes` must stay valid until `done`, which runs from the event loop, never from inside this
  // call. Calls on one file take effect in the order they were made. The bytes survive the death of this process once
  // `done` said so, and a power cut only after a later sync() succeeded. On error nothing, or a part, was written, and
  // the file takes nothing more: every later append and sync of this FileId fails with the same error. Close it,
  // truncate(path) to what is known to be good, and open it again (after kFull), or begin another file (after kIo).
  virtual void append(FileId file, std::span<const std::byte> bytes, Done done) = 0;
  // Makes all earlier appends to `file` survive a power cut. After an error nothing that was appended since the last
  // success may be believed, and a second sync proves nothing: truncate, and begin another file.
  virtual void sync(FileId file, Done done) = 0;
  // Makes creations, renames and removals inside `dir` survive a power cut.
  virtual void sync_dir(const std::string& dir, Done done) = 0;

  // The calls below act at once; use them at start-up, for small files and for bounded reads.
  // Reads up to `into.size()` bytes; returns how many were there (0: end of file).
  virtual Result<size_t> read(const std::string& path, uint64_t offset, std::span<std::byte> into) = 0;
  virtual Result<uint64_t> size(const std::string& path) = 0;
  virtual Result<std::vector<DirEntry>> list(const std::string& dir) = 0;  // sorted by name; all files, or an error
  virtual Status make_dirs(const std::string& dir) = 0;
  virtual Status remove(const std::string& path) = 0;  // kNotFound when there is none
  virtual Status rename(const std::string& from, const std::string& to) = 0;
  virtual Status truncate(const std::string& path, uint64_t bytes) = 0;
  // Replaces `path` as a whole: temporary file, sync, rename, sync of the folder. Old or new, never a mix.
  virtual Status replace(const std::string& path, std::span<const std::byte> bytes) = 0;
  virtual Result<uint64_t> free_bytes(const std::string& dir) = 0;
  // Takes `path`, which is made when it is missing, for one holder, until the returned object or the process is gone.
  // kDenied: another has it, also in this process. A world of one process may leave it as it is here: always granted.
  virtual Result<std::shared_ptr<void>> lock(const std::string& path);

  // Reads a whole file of at most `bytes_max`; kFull when it is longer.
  Result<std::string> read_all(const std::string& path, uint64_t bytes_max);
};

}  // namespace lambda
