// The world of the gateway's unit tests: a real disk in a folder of its own, a clock that is set by hand, a log that
// remembers, and neither network nor child processes.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/env/env.h"
#include "base/os/disk.h"
#include "base/os/loop.h"
#include "base/os/random.h"

namespace lambda::gateway::test {

class HandClock final : public Clock {
 public:
  int64_t utc_ms() const override { return utc; }
  int64_t mono_us() const override { return mono; }
  void advance_ms(int64_t by) {
    utc += by;
    mono += by * 1000;
  }
  int64_t utc = 1'760'000'000'000;
  int64_t mono = 1'000'000;
};

struct Logged {
  LogLevel level;
  std::string event;
  std::map<std::string, std::string> fields;
};

class MemoryLog final : public Log {
 public:
  void write(LogLevel level, std::string_view event, Fields fields) override {
    Logged entry{level, std::string(event), {}};
    for (const auto& field : fields) {
      entry.fields[std::string(field.name)] = std::visit(
          [](const auto& v) -> std::string {
            if constexpr (std::is_same_v<std::decay_t<decltype(v)>, std::string>) {
              return v;
            } else {
              return std::to_string(v);
            }
          },
          field.value);
    }
    entries.push_back(std::move(entry));
  }
  size_t count(std::string_view event) const {
    size_t n = 0;
    for (const auto& entry : entries) n += entry.event == event;
    return n;
  }
  std::vector<Logged> entries;
};

class NoNetwork final : public Network {
 public:
  std::unique_ptr<MessageBus> bus(BusOptions, MessageBus::Handlers) override { return nullptr; }
  Result<std::unique_ptr<HttpServer>> listen_http(HttpOptions, HttpServer::Handler) override {
    return fail(ErrorCode::kUnavailable, "no network in this test");
  }
};

class NoProcesses final : public Processes {
 public:
  Result<std::unique_ptr<ChildProcess>> spawn(const std::vector<std::string>&, std::function<void(int)>) override {
    return fail(ErrorCode::kUnavailable, "no processes in this test");
  }
};

class World {
 public:
  World() {
    std::string pattern = (std::filesystem::temp_directory_path() / "lambda-gateway-XXXXXX").string();
    LAMBDA_ASSERT(mkdtemp(pattern.data()) != nullptr);
    dir = pattern;
  }
  ~World() {
    std::error_code ignored;
    std::filesystem::remove_all(dir, ignored);
  }

  std::string path(const std::string& name) const { return dir + "/" + name; }
  std::string read(const std::string& name) const {
    std::ifstream in(path(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(path(name), std::ios::binary) << text;
  }
  void append(const std::string& name, const std::string& text) const {
    std::ofstream(path(name), std::ios::binary | std::ios::app) << text;
  }
  // Runs the loop until `done`; a test whose condition never comes is ended by ctest's time limit.
  void run_until(const std::function<bool()>& done) {
    std::function<void()> look = [&] {
      if (done()) {
        loop.stop();
      } else {
        loop.after(1, look);
      }
    };
    loop.post(look);
    loop.run();
  }

  std::string dir;
  HandClock clock;
  MemoryLog log;
  OsLoop loop;
  OsDisk disk{loop};
  OsRandom random;
  NoNetwork network;
  NoProcesses processes;
  Env env{clock, loop, disk, network, random, processes, log};
};

}  // namespace lambda::gateway::test
