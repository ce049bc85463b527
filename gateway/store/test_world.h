// The world of the store's tests: a loop that runs when told, a disk in memory that forgets what was not synced, and a
// device that makes parcels.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "base/crypto/crypto.h"
#include "base/env/env.h"
#include "gateway/store/store.h"

namespace lambda::gateway {

class TestClock final : public Clock {
 public:
  int64_t utc_ms() const override { return 1'700'000'000'000 + us / 1000; }
  int64_t mono_us() const override { return us; }
  int64_t us = 1'000'000;
};

class TestLoop final : public EventLoop {
 public:
  explicit TestLoop(TestClock& clock) : clock_(clock) {}
  void post(Task task) override { tasks_.push_back(std::move(task)); }
  TimerId after(int64_t delay_ms, Task task) override {
    timers_.emplace(std::pair(clock_.us + delay_ms * 1000, ++last_), std::move(task));
    return last_;
  }
  void cancel(TimerId timer) override {
    std::erase_if(timers_, [&](const auto& entry) { return entry.first.second == timer; });
  }
  // One task; a timer when there is none (time jumps to it). False: nothing is left.
  bool step(bool with_timers = true) {
    if (tasks_.empty() && with_timers && !timers_.empty()) {
      clock_.us = std::max(clock_.us, timers_.begin()->first.first);
      tasks_.push_back(std::move(timers_.begin()->second));
      timers_.erase(timers_.begin());
    }
    if (tasks_.empty()) return false;
    const Task task = std::move(tasks_.front());
    tasks_.pop_front();
    task();
    return true;
  }
  void run(bool with_timers = false) {
    for (int i = 0; i < 1'000'000 && step(with_timers); ++i) {
    }
  }
  void clear() {
    tasks_.clear();
    timers_.clear();
  }

 private:
  TestClock& clock_;
  std::deque<Task> tasks_;
  std::map<std::pair<int64_t, TimerId>, Task> timers_;
  TimerId last_ = 0;
};

// Files in memory, each with what a power cut leaves of it. Appends and syncs take effect when the loop comes to them.
class TestDisk final : public Disk {
 public:
  struct File {
    std::string bytes;
    size_t durable = 0;  // of `bytes`
    bool name_durable = false;
    std::optional<std::string> uncut;  // a truncation that was not synced: a power cut may take it back
  };

  explicit TestDisk(EventLoop& loop) : loop_(loop) {}

  Result<FileId> open_append(const std::string& path) override {
    files.try_emplace(path);
    open_[++last_] = {path, {}};
    return last_;
  }
  void close(FileId file) override {
    loop_.post([this, file] { open_.erase(file); });
  }
  void append(FileId file, std::span<const std::byte> bytes, Done done) override {
    loop_.post([this, file, bytes, done = std::move(done)] {
      Open& open = open_.at(file);
      File& target = files[open.path];
      if (!open.broken) return done(open.broken);
      if (!full_in.empty() && open.path.find(full_in) != std::string::npos) {
        open.broken = fail(ErrorCode::kFull, "no space left (planted)");
        return done(open.broken);
      }
      if (fail_appends > 0 && --fail_appends == 0) {
        const size_t part = bytes.size() / 2;
        target.bytes.append(reinterpret_cast<const char*>(bytes.data()), part);
        open.broken = fail(append_error, "planted");
        return done(open.broken);
      }
      target.bytes.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
      if (!flip_in.empty() && open.path.ends_with(flip_in) && bytes.size() > 200) {
        target.bytes[target.bytes.size() - 100] ^= 0x01;  // a disk that says yes and writes something else
      }
      appended_bytes += bytes.size();
      done({});
    });
  }
  void sync(FileId file, Done done) override {
    loop_.post([this, file, done = std::move(done)] {
      Open& open = open_.at(file);
      if (!open.broken) return answer(sync_turns, done, open.broken);
      ++syncs;
      if (fail_syncs > 0 && --fail_syncs == 0) {
        open.broken = fail(ErrorCode::kIo, "planted");
        return answer(sync_turns, done, open.broken);
      }
      files[open.path].durable = files[open.path].bytes.size();
      files[open.path].uncut.reset();
      answer(sync_turns, done, {});
    });
  }
  void sync_dir(const std::string& dir, Done done) override {
    loop_.post([this, dir, done = std::move(done)] {
      sync_names(dir);
      answer(sync_turns, done, {});
    });
  }

  Result<size_t> read(const std::string& path, uint64_t offset, std::span<std::byte> into) override {
    const auto found = files.find(path);
    if (found == files.end()) return fail(ErrorCode::kNotFound, path + ": no such file");
    const std::string& bytes = found->second.bytes;
    if (offset >= bytes.size()) return size_t{0};
    const size_t count = std::min(into.size(), bytes.size() - static_cast<size_t>(offset));
    std::copy_n(reinterpret_cast<const std::byte*>(bytes.data()) + offset, count, into.data());
    return count;
  }
  Result<uint64_t> size(const std::string& path) override {
    if (before_read) before_read(path);
    if (fail_sizes > 0 && --fail_sizes == 0) return fail(ErrorCode::kIo, path + ": planted");
    const auto found = files.find(path);
    if (found == files.end()) return fail(ErrorCode::kNotFound, path + ": no such file");
    return uint64_t{found->second.bytes.size()};
  }
  Result<std::vector<DirEntry>> list(const std::string& dir) override {
    if (fail_lists > 0 && --fail_lists == 0) return fail(ErrorCode::kIo, dir + ": planted");
    std::vector<DirEntry> entries;
    for (const auto& [path, file] : files) {
      if (path.starts_with(dir + "/") && path.find('/', dir.size() + 1) == std::string::npos) {
        entries.push_back({path.substr(dir.size() + 1), file.bytes.size(), 0});
      }
    }
    return entries;
  }
  Status make_dirs(const std::string&) override { return {}; }
  Status remove(const std::string& path) override {
    if (files.erase(path) == 0) return fail(ErrorCode::kNotFound, path + ": no such file");
    return {};
  }
  Status rename(const std::string& from, const std::string& to) override {
    const auto found = files.find(from);
    if (found == files.end()) return fail(ErrorCode::kNotFound, from + ": no such file");
    files[to] = std::move(found->second);
    files.erase(from);
    return {};
  }
  Status truncate(const std::string& path, uint64_t bytes) override {
    const auto found = files.find(path);
    if (found == files.end()) return fail(ErrorCode::kNotFound, path + ": no such file");
    if (!found->second.uncut) found->second.uncut = found->second.bytes;
    found->second.bytes.resize(bytes);
    if (found->second.durable > bytes) found->second.durable = bytes;
    return {};
  }
  Status replace(const std::string& path, std::span<const std::byte> bytes) override {
    files[path] = {std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()), bytes.size(), true, {}};
    return {};
  }
  Result<uint64_t> free_bytes(const std::string&) override { return free; }
  Result<std::shared_ptr<void>> lock(const std::string& path) override {
    if (auto held = locks_[path].lock()) return fail(ErrorCode::kDenied, path + ": another process has it");
    auto lock = std::make_shared<int>(0);
    locks_[path] = lock;
    return std::shared_ptr<void>(lock);
  }

  // Of what was not synced, a random part stays: none, some of the bytes, or all; a file whose name was not synced may
  // be gone.
  void power_cut(std::mt19937& random) {
    for (auto at = files.begin(); at != files.end();) {
      File& file = at->second;
      if (!file.name_durable && random() % 2 == 0) {
        at = files.erase(at);
        continue;
      }
      const size_t loose = file.bytes.size() - file.durable;
      const size_t kept = loose == 0 ? 0 : random() % 3 == 0 ? 0 : random() % (loose + 1);
      file.bytes.resize(file.durable + kept);
      if (file.uncut && random() % 2 == 0) {
        file.bytes = *file.uncut;
        file.durable = file.bytes.size();
      }
      file.uncut.reset();
      if (kept > 4 && file.bytes.size() == file.durable + kept && random() % 3 == 0)
        file.bytes[file.durable + random() % kept] ^= 0x40;  // a torn sector
      file.durable = file.bytes.size();
      file.name_durable = true;
      ++at;
    }
    open_.clear();
  }

  std::map<std::string, File> files;
  uint64_t free = uint64_t{1} << 40;
  uint64_t syncs = 0, appended_bytes = 0;
  int fail_appends = 0;  // n: the n-th from now fails
  int fail_syncs = 0;
  int fail_sizes = 0;
  int fail_lists = 0;
  int sync_turns = 0;  // of the loop between a sync and its answer: what comes meanwhile meets a disk at work
  ErrorCode append_error = ErrorCode::kIo;
  std::string full_in;                                       // a part of files' paths: nothing can be appended there
  std::function<void(const std::string& path)> before_read;  // of a whole file
  std::string flip_in;  // the end of a file's name: what is appended there is altered

 private:
  struct Open {
    std::string path;
    Status broken;
  };
  void answer(int turns, const Done& done, const Status& status) {
    if (turns == 0) return done(status);
    loop_.post([this, turns, done, status] { answer(turns - 1, done, status); });
  }
  void sync_names(const std::string& dir) {
    for (auto& [path, file] : files) {
      if (path.starts_with(dir + "/")) file.name_durable = true;
    }
  }

  EventLoop& loop_;
  std::map<FileId, Open> open_;
  FileId last_ = 0;
  std::map<std::string, std::weak_ptr<void>> locks_;
};

class TestRandom final : public Random {
 public:
  explicit TestRandom(uint32_t seed) : engine_(seed) {}
  void fill(std::span<std::byte> into) override {
    for (std::byte& byte : into) byte = static_cast<std::byte>(engine_());
  }

 private:
  std::mt19937 engine_;
};

class TestLog final : public Log {
 public:
  void write(LogLevel, std::string_view event, Fields fields) override {
    std::string line(event);
    for (const LogField& field : fields) {
      line += ' ' + std::string(field.name) + '=';
      if (const auto* text = std::get_if<std::string>(&field.value)) line += *text;
      if (const auto* number = std::get_if<uint64_t>(&field.value)) line += std::to_string(*number);
      if (const auto* number = std::get_if<int64_t>(&field.value)) line += std::to_string(*number);
    }
    lines.push_back(line);
  }
  bool has(std::string_view word) const {
    return std::any_of(lines.begin(), lines.end(),
                       [&](const std::string& line) { return line.find(word) != std::string::npos; });
  }
  std::vector<std::string> lines;
};

class NoNetwork final : public Network {
 public:
  std::unique_ptr<MessageBus> bus(BusOptions, MessageBus::Handlers) override { return nullptr; }
  Result<std::unique_ptr<HttpServer>> listen_http(HttpOptions, HttpServer::Handler) override {
    return fail(ErrorCode::kUnavailable, "no network here");
  }
};

class NoProcesses final : public Processes {
 public:
  Result<std::unique_ptr<ChildProcess>> spawn(const std::vector<std::string>&, std::function<void(int)>) override {
    return fail(ErrorCode::kUnavailable, "no processes here");
  }
};

struct TestWorld {
  TestClock clock;
  TestLoop loop{clock};
  TestDisk disk{loop};
  NoNetwork network;
  TestRandom random{1};
  NoProcesses processes;
  TestLog log;
  Env env{clock, loop, disk, network, random, processes, log};
  StoreOptions options = [] {
    StoreOptions o;
    o.directory = "/store";
    o.site = "hall";
    o.index_in_memory = true;
    return o;
  }();
  std::unique_ptr<Store> store;

  // Opens and runs until it is ready.
  void open() {
    auto opened = Store::open(env, options);
    ASSERT_TRUE(opened.has_value()) << opened.error().text;
    store = std::move(*opened);
    loop.run();
    ASSERT_TRUE(store->ready());
  }
  void close() {
    store.reset();
    loop.run();
    loop.clear();
  }
  void kill() {  // kill -9: what was written stays, callbacks never come
    loop.clear();
    store.reset();
    loop.clear();
  }
  void power_cut(std::mt19937& engine) {
    loop.clear();
    store.reset();
    loop.clear();
    disk.power_cut(engine);
  }
  Decision put(StoreRequest request) {
    std::optional<Decision> answer;
    store->put(std::move(request), [&](const Decision& decision) { answer = decision; });
    EXPECT_FALSE(answer.has_value()) << "answered inside put()";
    loop.run();
    if (!answer) ADD_FAILURE() << "never answered";
    return answer.value_or(Decision{});
  }
};

// Points of a block to be.
struct TestBlock {
  uint32_t ref = 0;
  uint64_t first = 0;
  std::vector<Point> points;
  uint32_t clock = 0;
  ValueType type = ValueType::kF64;
  uint8_t scale = 0;
};

// Points whose value says which ordinal they are; `salt` makes another content of the same ordinals.
TestBlock test_block(uint32_t ref, uint64_t first, uint32_t count, int64_t t0 = 1'700'000'000'000, uint64_t salt = 0);

struct TestDevice {
  std::string name = "press-7";
  uint64_t boot = 11;
  uint64_t seq = 0;
  Digest previous{};

  // The next parcel: declares `declare` as series m<ref>.
  StoreRequest parcel(const std::vector<TestBlock>& blocks, const std::vector<uint32_t>& declare = {},
                      const std::vector<GapView>& gaps = {}, const std::vector<ClockView>& clocks = {});
  StoreRequest parcel_of(uint64_t number, const std::vector<TestBlock>& blocks,
                         const std::vector<uint32_t>& declare = {}, const std::vector<GapView>& gaps = {},
                         const std::vector<ClockView>& clocks = {});
  HelloRecord hello(uint64_t previous_boot, int64_t started_ms) const;
};

// The samples of the only series that matches name m<ref>; of all devices when `device` is empty.
std::vector<query::Sample> read_series(Store& store, uint32_t ref, const std::string& device = "",
                                       int64_t from = INT64_MIN, int64_t to = INT64_MAX);

}  // namespace lambda::gateway
