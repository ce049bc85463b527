// The real disk. Appends, syncs and closes are done in order by one worker thread, which joins neighbouring appends to
// one write and neighbouring syncs to one sync; everything else is done at once by the caller's thread.
#pragma once

#include <memory>
#include <string>

#include "base/env/clock.h"
#include "base/env/disk.h"

namespace lambda {

struct OsDiskOptions {
  // Asked for and not done yet. Over it an append fails with kFull, from the loop, as if the disk were full.
  uint64_t waiting_bytes_max = 256u << 20;
  uint64_t waiting_calls_max = 1u << 20;
};

// The loop must outlive the disk; the destructor does everything that was asked for, but the callbacks of that come
// only if the loop still runs. Use it from the loop thread (or before the loop runs).
class OsDisk final : public Disk {
 public:
  explicit OsDisk(EventLoop& loop, OsDiskOptions options = {});
  ~OsDisk() override;

  Result<FileId> open_append(const std::string& path) override;
  void close(FileId file) override;
  void append(FileId file, std::span<const std::byte> bytes, Done done) override;
  void sync(FileId file, Done done) override;
  void sync_dir(const std::string& dir, Done done) override;

  Result<size_t> read(const std::string& path, uint64_t offset, std::span<std::byte> into) override;
  Result<uint64_t> size(const std::string& path) override;
  Result<std::vector<DirEntry>> list(const std::string& dir) override;
  Status make_dirs(const std::string& dir) override;
  Status remove(const std::string& path) override;
  Status rename(const std::string& from, const std::string& to) override;
  Status truncate(const std::string& path, uint64_t bytes) override;
  Status replace(const std::string& path, std::span<const std::byte> bytes) override;
  Result<uint64_t> free_bytes(const std::string& dir) override;
  Result<std::shared_ptr<void>> lock(const std::string& path) override;

  // How often waiting_bytes_max or waiting_calls_max refused an append.
  uint64_t refused_count() const;

 private:
  class Worker;
  std::unique_ptr<Worker> worker_;
};

}  // namespace lambda
