// A disk that keeps what a disk promises, and nothing more: unsynced bytes are lost or torn at a power cut, names that
// were not synced come or go, space ends, a sync fails and the next one lies.
//
// SimMedia is the disk in the machine and survives its programs; SimDisk is one program's access to it.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "base/env/disk.h"
#include "tests/sim/sim_loop.h"

namespace lambda::sim {

struct DiskFaults {
  uint64_t capacity_bytes = uint64_t{1} << 40;
  double sync_fails = 0;    // probability for each sync
  double append_fails = 0;  // probability for each append: a part is written, then kIo
  int64_t append_us_max = 300;
  int64_t sync_us_max = 8'000;
};

class SimMedia {
 public:
  struct File {
    std::string data;
    size_t synced = 0;                  // this much survives a power cut
    std::optional<std::string> before;  // what a truncation that was not synced yet may turn back into
    bool lying = false;                 // a sync failed: its pages count as clean and will never be written
  };

  explicit SimMedia(SimRandom random) : random_(random) {}

  // Runs `then` when the disk comes to its `calls`-th call from now for a path with `of` in it, from inside it: faults
  // that meet what a program does, wherever in time that is.
  void after_calls(uint64_t calls, std::string of, std::function<void()> then) {
    calls_left_ = calls;
    calls_of_ = std::move(of);
    then_ = std::move(then);
  }
  void count_call(std::string_view path) {
    if (calls_left_ == 0 || path.find(calls_of_) == std::string_view::npos) return;
    if (--calls_left_ == 0) std::exchange(then_, nullptr)();
  }
  // Power goes: what was not promised is decided now.
  void power_cut();

  std::map<std::string, std::shared_ptr<File>> files;
  std::map<std::string, std::shared_ptr<File>> synced_names;
  std::set<std::string> folders;
  DiskFaults faults;
  uint64_t used_bytes() const;
  SimRandom& random() { return random_; }

 private:
  SimRandom random_;
  std::string calls_of_;
  uint64_t calls_left_ = 0;
  std::function<void()> then_;
};

class SimDisk final : public Disk {
 public:
  SimDisk(Scheduler& scheduler, SimMedia& media, SimLoop& loop) : scheduler_(scheduler), media_(media), loop_(loop) {}

  ~SimDisk() override { *alive_ = false; }

  // The program dies now: of what it asked for, some is done, the next perhaps in part, the rest not. Afterwards
  // nothing it does has an effect.
  void die();

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

 private:
  enum class Kind { kAppend, kSync, kClose, kSyncDir };
  struct Call {
    Kind kind;
    FileId file = 0;
    std::string bytes;
    std::string dir;
    Done done;
  };
  struct Open {
    std::string path;
    std::shared_ptr<SimMedia::File> file;
    Status broken;
  };

  void ask(Call call);
  Status perform(const Call& call);
  Status append_now(Open& open, const std::string& bytes);
  Status sync_now(Open& open);
  Result<SimMedia::File*> find(const std::string& path);

  Scheduler& scheduler_;
  SimMedia& media_;
  SimLoop& loop_;
  std::deque<Call> calls_;
  std::map<FileId, Open> open_;
  FileId last_ = 0;
  int64_t busy_until_us_ = 0;
  bool dead_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace lambda::sim
