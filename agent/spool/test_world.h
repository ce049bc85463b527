// A world for the agent's tests: time that stands still until told, a loop that runs step by step, and a disk in memory
// that forgets what was not synced, tears, fills up and fails on demand. Everything follows from one seed.
#pragma once

#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "base/env/env.h"

namespace lambda::agent::test {

class FakeClock final : public Clock {
 public:
  int64_t utc_ms() const override { return utc_offset_ms + now_us / 1000; }
  int64_t mono_us() const override { return now_us; }
  int64_t now_us = 1'000'000;
  int64_t utc_offset_ms = 1'700'000'000'000;
};

class FakeLoop final : public EventLoop {
 public:
  explicit FakeLoop(FakeClock& clock) : clock_(clock) {}
  void post(Task task) override { posted_.push_back(std::move(task)); }
  TimerId after(int64_t delay_ms, Task task) override {
    timers_.emplace(std::pair(clock_.now_us + delay_ms * 1000, ++last_), std::move(task));
    return last_;
  }
  void cancel(TimerId timer) override {
    std::erase_if(timers_, [&](const auto& entry) { return entry.first.second == timer; });
  }
  // Runs one task, moving time on to the next timer if nothing is posted. False: nothing to do before `until_us`.
  bool step(int64_t until_us) {
    if (posted_.empty()) {
      if (timers_.empty() || timers_.begin()->first.first > until_us) return false;
      clock_.now_us = std::max(clock_.now_us, timers_.begin()->first.first);
      posted_.push_back(std::move(timers_.begin()->second));
      timers_.erase(timers_.begin());
    }
    Task task = std::move(posted_.front());
    posted_.pop_front();
    task();
    steps++;
    return true;
  }
  void run_for(int64_t ms) {
    const int64_t until = clock_.now_us + ms * 1000;
    while (step(until)) {
    }
    clock_.now_us = std::max(clock_.now_us, until);
  }
  void clear() {
    posted_.clear();
    timers_.clear();
  }
  uint64_t steps = 0;

 private:
  FakeClock& clock_;
  std::deque<Task> posted_;
  std::map<std::pair<int64_t, TimerId>, Task> timers_;
  TimerId last_ = 0;
};

class FakeRandom final : public Random {
 public:
  explicit FakeRandom(uint64_t seed) : engine(seed) {}
  void fill(std::span<std::byte> into) override {
    for (std::byte& byte : into) byte = static_cast<std::byte>(engine());
  }
  std::mt19937_64 engine;
};

class FakeLog final : public Log {
 public:
  void write(LogLevel level, std::string_view event, Fields fields) override {
    events[std::string(event)]++;
    if (!echo) return;
    std::string line(event);
    for (const LogField& field : fields) {
      line += " " + std::string(field.name) + "=";
      std::visit(
          [&](const auto& value) {
            if constexpr (std::is_same_v<std::decay_t<decltype(value)>, std::string>) {
              line += value;
            } else {
              line += std::to_string(value);
            }
          },
          field.value);
    }
    std::fprintf(stderr, "[%d] %s\n", static_cast<int>(level), line.c_str());
  }
  bool echo = false;
  std::map<std::string, uint64_t> events;
};

// One flat folder tree. Appends and syncs happen in a task of their own, and their answers come in another.
class FakeDisk final : public Disk {
 public:
  struct File {
    std::string bytes;
    size_t synced = 0;
    bool name_synced = false;
    bool lying = false;  // a sync failed: the pages count as clean, and later syncs are a success about nothing
  };
  enum class Fault { kNone, kAppend, kAppendPart, kAppendWhole, kSync, kSyncDir, kOpen, kSize };

  FakeDisk(FakeLoop& loop, FakeRandom& random) : loop_(loop), random_(random) {}

  Result<FileId> open_append(const std::string& path) override {
    if (faults.contains(Fault::kOpen)) return fail(ErrorCode::kFull, path + ": planted");
    files[path];
    open_[++last_] = path;
    return last_;
  }
  void close(FileId file) override {
    task([this, file] { open_.erase(file); });
  }
  void append(FileId id, std::span<const std::byte> bytes, Done done) override {
    task([this, id, bytes, done = std::move(done)] {
      appends++;
      const auto found = open_.find(id);
      Status status;
      if (found == open_.end() || !files.contains(found->second) || broken_.contains(id)) {
        status = fail(ErrorCode::kIo, "not open, or broken");
      } else {
        File& file = files[found->second];
        size_t count = bytes.size();
        const bool full = used() + count > bytes_max;
        if (full) status = fail(ErrorCode::kFull, "no space left");
        for (const Fault fault : {Fault::kAppend, Fault::kAppendPart, Fault::kAppendWhole}) {
          if (!faults.contains(fault)) continue;
          status = fail(ErrorCode::kIo, "planted");
          if (fault == Fault::kAppend) count = 0;
          if (fault == Fault::kAppendPart) count = random_.below(count + 1);
        }
        if (full) count = bytes_max > used() ? random_.below(std::min<uint64_t>(count, bytes_max - used()) + 1) : 0;
        file.bytes.append(reinterpret_cast<const char*>(bytes.data()), count);
      }
      if (!status) broken_.insert(id);
      answer(done, status);
    });
  }
  void sync(FileId id, Done done) override {
    task([this, id, done = std::move(done)] {
      syncs++;
      const auto found = open_.find(id);
      Status status;
      if (faults.contains(Fault::kSync)) {
        status = fail(ErrorCode::kIo, "planted");
        if (found != open_.end() && files.contains(found->second)) {
          File& file = files[found->second];
          file.lying = true;
          if (failed_sync_drops) std::fill(file.bytes.begin() + static_cast<long>(file.synced), file.bytes.end(), '\0');
        }
      } else if (found == open_.end() || broken_.contains(id)) {
        status = fail(ErrorCode::kIo, "not open, or broken");
      } else if (files.contains(found->second) && !files[found->second].lying) {
        files[found->second].synced = files[found->second].bytes.size();
      }
      if (!status) broken_.insert(id);
      answer(done, status);
    });
  }
  void sync_dir(const std::string&, Done done) override {
    task([this, done = std::move(done)] {
      Status status;
      if (faults.contains(Fault::kSyncDir)) {
        status = fail(ErrorCode::kIo, "planted");
      } else {
        for (auto& [path, file] : files) file.name_synced = true;
        removed.clear();
        replaced.clear();
      }
      answer(done, status);
    });
  }
  Result<size_t> read(const std::string& path, uint64_t offset, std::span<std::byte> into) override {
    const auto found = files.find(path);
    if (found == files.end()) return fail(ErrorCode::kNotFound, path + ": none");
    const std::string& bytes = found->second.bytes;
    if (offset >= bytes.size()) return size_t{0};
    const size_t count = std::min<size_t>(into.size(), bytes.size() - offset);
    std::memcpy(into.data(), bytes.data() + offset, count);
    bytes_read[path] += count;
    return count;
  }
  Result<uint64_t> size(const std::string& path) override {
    const auto found = files.find(path);
    if (found == files.end()) return fail(ErrorCode::kNotFound, path + ": none");
    if (faults.contains(Fault::kSize) && --good_sizes < 0) return fail(ErrorCode::kIo, path + ": planted");
    return uint64_t{found->second.bytes.size()};
  }
  Result<std::vector<DirEntry>> list(const std::string& dir) override {
    std::vector<DirEntry> out;
    for (const auto& [path, file] : files) {
      if (path.starts_with(dir + "/") && path.find('/', dir.size() + 1) == std::string::npos) {
        out.push_back({path.substr(dir.size() + 1), file.bytes.size(), 0});
      }
    }
    return out;
  }
  Status make_dirs(const std::string&) override { return {}; }
  Status remove(const std::string& path) override {
    const auto found = files.find(path);
    if (found == files.end()) return fail(ErrorCode::kNotFound, path + ": none");
    removed[path] = found->second;
    files.erase(found);
    return {};
  }
  Status rename(const std::string& from, const std::string& to) override {
    const auto found = files.find(from);
    if (found == files.end()) return fail(ErrorCode::kNotFound, from + ": none");
    File file = std::move(found->second);
    files.erase(found);
    file.name_synced = false;
    if (const auto before = files.find(to); before != files.end() && before->second.name_synced) {
      replaced[to] = before->second;
    }
    files[to] = std::move(file);
    return {};
  }
  Status truncate(const std::string& path, uint64_t bytes) override {
    File& file = files[path];
    file.bytes.resize(std::min<size_t>(file.bytes.size(), bytes));
    file.synced = std::min(file.synced, file.bytes.size());
    if (file.bytes.size() <= file.synced) file.lying = false;
    return {};
  }
  Status replace(const std::string& path, std::span<const std::byte> bytes) override {
    files[path] = {std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()), bytes.size(), true};
    return {};
  }
  Result<uint64_t> free_bytes(const std::string&) override { return bytes_max > used() ? bytes_max - used() : 0; }

  uint64_t used() const {
    uint64_t bytes = 0;
    for (const auto& [path, file] : files) bytes += file.bytes.size();
    return bytes;
  }

  // What a power cut leaves: synced bytes, some of the others, whatever of names that no folder sync covered.
  void power_cut() {
    for (auto& [path, file] : removed) {
      if (random_.below(2) == 0 && file.name_synced && !files.contains(path)) files[path] = file;
    }
    removed.clear();
    for (auto entry = files.begin(); entry != files.end();) {
      const auto before = replaced.find(entry->first);
      if (entry->second.name_synced || random_.below(2) == 0) {
        ++entry;
      } else if (before != replaced.end()) {
        (entry++)->second = before->second;
      } else {
        entry = files.erase(entry);
      }
    }
    replaced.clear();
    for (auto& [path, file] : files) {
      const size_t loose = file.bytes.size() - file.synced;
      switch (random_.below(4)) {
        case 0:
          file.bytes.resize(file.synced);
          break;
        case 1:
          file.bytes.resize(file.synced + random_.below(loose + 1));
          break;
        case 2:  // pages reached the disk in another order: a hole of zeros
          if (loose > 0) {
            const size_t at = file.synced + random_.below(loose), end = at + random_.below(file.bytes.size() - at + 1);
            std::fill(file.bytes.begin() + static_cast<long>(at), file.bytes.begin() + static_cast<long>(end), '\0');
          }
          break;
        default:
          break;
      }
      file.synced = file.bytes.size();
      file.name_synced = true;
      file.lying = false;
    }
    open_.clear();
  }
  // kill -9: all that was written is there.
  void kill() { open_.clear(); }

  std::map<std::string, File> files;
  std::map<std::string, File> removed;   // since the last folder sync
  std::map<std::string, File> replaced;  // by a rename, since the last folder sync
  bool failed_sync_drops = false;        // what a sync could not write reads as zeros at once
  int64_t good_sizes = 0;                // answers of size() before Fault::kSize begins
  std::set<Fault> faults;
  uint64_t bytes_max = UINT64_MAX;
  uint64_t appends = 0, syncs = 0;
  std::map<std::string, uint64_t> bytes_read;

 private:
  void task(std::function<void()> work) { loop_.post(std::move(work)); }
  void answer(const Done& done, Status status) {
    if (done) loop_.post([done, status = std::move(status)] { done(status); });
  }

  FakeLoop& loop_;
  FakeRandom& random_;
  std::map<FileId, std::string> open_;
  std::set<FileId> broken_;  // take nothing more after an error
  FileId last_ = 0;
};

class NoNetwork final : public Network {
 public:
  std::unique_ptr<MessageBus> bus(BusOptions, MessageBus::Handlers) override { return nullptr; }
  Result<std::unique_ptr<HttpServer>> listen_http(HttpOptions, HttpServer::Handler) override {
    return fail(ErrorCode::kUnsupported, "no network");
  }
};

class NoProcesses final : public Processes {
 public:
  Result<std::unique_ptr<ChildProcess>> spawn(const std::vector<std::string>&, std::function<void(int)>) override {
    return fail(ErrorCode::kUnavailable, "no processes");
  }
};

struct World {
  explicit World(uint64_t seed) : loop(clock), random(seed), disk(loop, random) {}
  FakeClock clock;
  FakeLoop loop;
  FakeRandom random;
  FakeDisk disk;
  FakeLog log;
  NoNetwork network;
  NoProcesses processes;
  Env env{clock, loop, disk, network, random, processes, log};
};

}  // namespace lambda::agent::test
