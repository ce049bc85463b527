// The world a node is given: everything it may ask for, and nothing else.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/env/clock.h"
#include "base/env/disk.h"
#include "base/env/network.h"
#include "base/log.h"
#include "base/result.h"

namespace lambda {

class Random {
 public:
  virtual ~Random() = default;
  virtual void fill(std::span<std::byte> into) = 0;
  uint64_t u64() {
    uint64_t value = 0;
    fill(std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }
  // Uniform in [0, bound); 0 for a bound of 0.
  uint64_t below(uint64_t bound) { return bound == 0 ? 0 : u64() % bound; }
};

// A child of this process. It is ended with it, however this process ends.
class ChildProcess {
 public:
  virtual ~ChildProcess() = default;  // SIGTERM, then SIGKILL after a second
  virtual int64_t pid() const = 0;
  virtual void signal(int number) = 0;
};

class Processes {
 public:
  virtual ~Processes() = default;
  // `exited` runs on the loop with the exit status, or 128 + the signal. Standard input, output and error are
  // inherited, no other descriptor is.
  virtual Result<std::unique_ptr<ChildProcess>> spawn(const std::vector<std::string>& arguments,
                                                      std::function<void(int)> exited) = 0;
  // A program that must neither see nor outlive what is ours: `input` is its standard input, its output goes nowhere,
  // its environment is PATH and LANG alone, its folder "/". It leads a process group, which signals reach as a whole.
  // The first argument is the program's whole path. kUnavailable: another time it may be possible.
  virtual Result<std::unique_ptr<ChildProcess>> spawn_apart(const std::vector<std::string>& arguments,
                                                            std::string_view input, std::function<void(int)> exited) {
    (void)input, (void)exited;
    return fail(ErrorCode::kUnsupported, arguments.at(0) + ": no programs run here");
  }
};

struct Env {
  Clock& clock;
  EventLoop& loop;
  Disk& disk;
  Network& network;
  Random& random;
  Processes& processes;
  Log& log;
};

}  // namespace lambda
