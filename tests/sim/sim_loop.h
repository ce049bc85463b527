// Virtual time: one queue of events for all programs of a simulated world, and for each program a clock and a loop over
// it. Events of one moment come in an order that the seed decides; tasks posted to one loop keep theirs.
//
// Everything that happens is mixed into a hash: two runs of one seed must end with the same one.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <span>
#include <string_view>
#include <vector>

#include "base/env/env.h"

namespace lambda::sim {

// A small generator whose numbers are the same on every machine (SplitMix64).
class SimRandom final : public Random {
 public:
  explicit SimRandom(uint64_t seed) : state_(seed) {}
  void fill(std::span<std::byte> into) override;
  uint64_t next();
  uint64_t below(uint64_t bound) { return bound == 0 ? 0 : next() % bound; }
  int64_t between(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(below(static_cast<uint64_t>(high - low + 1)));
  }
  bool chance(double probability) { return static_cast<double>(next() >> 11) * 0x1p-53 < probability; }

 private:
  uint64_t state_;
};

class Scheduler {
 public:
  using Task = std::function<void()>;
  explicit Scheduler(uint64_t seed) : random_(seed) {}

  int64_t now_us() const { return now_us_; }
  // Runs `task` at that time, or now if it is past. Tasks of one time run in an order of the seed's.
  void at(int64_t time_us, Task task);
  void after(int64_t delay_us, Task task) { at(now_us_ + delay_us, std::move(task)); }
  // Runs events up to that time, which then is the present.
  void run_until(int64_t time_us);

  // Mixes what happened into the hash.
  void note(std::string_view what, uint64_t value = 0);
  uint64_t hash() const { return hash_; }
  uint64_t events() const { return events_; }
  SimRandom& random() { return random_; }

 private:
  struct Event {
    int64_t time_us;
    uint64_t tie;
    uint64_t sequence;
    std::shared_ptr<Task> task;
    bool operator>(const Event& other) const {
      return std::tie(time_us, tie, sequence) > std::tie(other.time_us, other.tie, other.sequence);
    }
  };

  SimRandom random_;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> queue_;
  int64_t now_us_ = 0;
  uint64_t sequence_ = 0;
  uint64_t events_ = 0;
  uint64_t hash_ = 0xCBF29CE484222325;
};

// The clock of one machine: its UTC may be set, its monotonic time is the world's.
class SimClock final : public Clock {
 public:
  explicit SimClock(const Scheduler& scheduler) : scheduler_(scheduler) {}
  int64_t utc_ms() const override { return kStartMs + skew_ms + scheduler_.now_us() / 1000; }
  int64_t mono_us() const override { return 1'000'000 + scheduler_.now_us(); }

  static constexpr int64_t kStartMs = 1'700'000'000'000;
  int64_t skew_ms = 0;

 private:
  const Scheduler& scheduler_;
};

// The loop of one run of one program. After its end nothing that was posted runs.
class SimLoop final : public EventLoop {
 public:
  explicit SimLoop(Scheduler& scheduler) : scheduler_(scheduler) {}
  void post(Task task) override;
  TimerId after(int64_t delay_ms, Task task) override;
  void cancel(TimerId timer) override { tasks_->erase(timer); }
  // The program's death: drops all tasks. Call it after the program's objects are gone.
  void clear() { tasks_->clear(); }

 private:
  TimerId add(int64_t time_us, Task task);

  Scheduler& scheduler_;
  // Shared with the scheduler's events, which find nothing here when the loop was cleared.
  std::shared_ptr<std::map<TimerId, Task>> tasks_ = std::make_shared<std::map<TimerId, Task>>();
  TimerId last_ = 0;
  int64_t last_post_us_ = 0;
};

// Lines go into the hash, and to standard error when `verbose`; those that only a bug writes into `impossible`, too.
class SimLog final : public Log {
 public:
  SimLog(Scheduler& scheduler, std::string name, bool verbose, std::vector<std::string>& impossible)
      : scheduler_(scheduler), name_(std::move(name)), verbose_(verbose), impossible_(impossible) {}
  void write(LogLevel level, std::string_view event, Fields fields) override;

 private:
  Scheduler& scheduler_;
  const std::string name_;
  const bool verbose_;
  std::vector<std::string>& impossible_;
};

}  // namespace lambda::sim
