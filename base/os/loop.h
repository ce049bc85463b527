// The real clock and the real event loop: one thread, one queue of tasks, timers on the monotonic clock, signals as
// tasks.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/env/clock.h"

namespace lambda {

class OsClock final : public Clock {
 public:
  int64_t utc_ms() const override;
  int64_t mono_us() const override;
};

// Construct it before any thread is started: it blocks SIGTERM, SIGINT and SIGHUP in the calling thread, and so in all
// later ones, and ignores SIGPIPE for the process. Make at most one per process that uses on_signal().
class OsLoop final : public EventLoop {
 public:
  OsLoop();
  ~OsLoop() override;
  OsLoop(const OsLoop&) = delete;
  OsLoop& operator=(const OsLoop&) = delete;

  void post(Task task) override;
  TimerId after(int64_t delay_ms, Task task) override;
  void cancel(TimerId timer) override;

  // `task` runs on the loop each time SIGTERM, SIGINT or SIGHUP arrives. Before run(), or on the loop thread.
  void on_signal(int number, Task task);

  // Runs tasks until stop(); may be called again afterwards. What was posted and not run stays in the queue.
  void run();
  // Makes run() return after the tasks it is at. Callable from any thread and from tasks.
  void stop();

  // Most tasks that ever waited at once: the queue itself has no bound, its users have.
  uint64_t waiting_most() const { return waiting_most_.load(std::memory_order_relaxed); }

 private:
  void run_due_timers();
  void run_posted();
  void sleep();
  void read_signals();
  int64_t now_us() const { return clock_.mono_us(); }

  OsClock clock_;
  int wake_fd_ = -1;
  int signal_fd_ = -1;

  std::mutex mutex_;
  std::vector<Task> posted_;  // guarded by mutex_
  bool sleeping_ = false;     // guarded by mutex_
  std::atomic<bool> stop_{false};
  std::atomic<uint64_t> waiting_most_{0};

  // Loop thread only.
  std::vector<Task> running_;
  TimerId timer_last_ = 0;
  std::map<std::pair<int64_t, TimerId>, Task> timers_;  // by due time in microseconds
  std::unordered_map<TimerId, int64_t> timer_due_us_;
  std::map<int, Task> signal_tasks_;
};

}  // namespace lambda
