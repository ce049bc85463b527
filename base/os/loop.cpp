#include "base/os/loop.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

#include "base/result.h"

namespace lambda {
namespace {

int64_t read_clock_us(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return int64_t{now.tv_sec} * 1'000'000 + now.tv_nsec / 1000;
}

sigset_t handled_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGHUP);
  return set;
}

}  // namespace

int64_t OsClock::utc_ms() const {
  return read_clock_us(CLOCK_REALTIME) / 1000;
}
int64_t OsClock::mono_us() const {
  return read_clock_us(CLOCK_MONOTONIC);
}

OsLoop::OsLoop() {
  signal(SIGPIPE, SIG_IGN);
  const sigset_t set = handled_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  wake_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  signal_fd_ = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  LAMBDA_ASSERT(wake_fd_ >= 0 && signal_fd_ >= 0);
}

OsLoop::~OsLoop() {
  close(signal_fd_);
  close(wake_fd_);
}

void OsLoop::post(Task task) {
  bool wake = false;
  {
    std::lock_guard lock(mutex_);
    posted_.push_back(std::move(task));
    if (posted_.size() > waiting_most_.load(std::memory_order_relaxed)) waiting_most_ = posted_.size();
    wake = std::exchange(sleeping_, false);
  }
  if (wake) {
    const uint64_t one = 1;
    [[maybe_unused]] const auto written = write(wake_fd_, &one, sizeof one);  // full means that it is awake already
  }
}

EventLoop::TimerId OsLoop::after(int64_t delay_ms, Task task) {
  const TimerId id = ++timer_last_;
  constexpr int64_t kDelayMsMax = int64_t{1} << 42;  // a century: keeps the sum below from overflowing
  const int64_t due = now_us() + std::clamp<int64_t>(delay_ms, 0, kDelayMsMax) * 1000;
  timers_.emplace(std::pair(due, id), std::move(task));
  timer_due_us_.emplace(id, due);
  return id;
}

void OsLoop::cancel(TimerId timer) {
  const auto found = timer_due_us_.find(timer);
  if (found == timer_due_us_.end()) return;
  timers_.erase({found->second, timer});
  timer_due_us_.erase(found);
}

void OsLoop::on_signal(int number, Task task) {
  signal_tasks_[number] = std::move(task);
}

void OsLoop::run() {
  while (!stop_.exchange(false)) {
    read_signals();
    run_due_timers();
    run_posted();
    if (!stop_) sleep();
  }
}

void OsLoop::stop() {
  stop_ = true;
  post([] {});
}

void OsLoop::run_due_timers() {
  // Timers that tasks set meanwhile wait for the next round, so that a timer of 0 ms cannot starve the rest.
  const int64_t now = now_us();
  const TimerId last = timer_last_;
  while (!timers_.empty()) {
    const auto first = timers_.begin();
    if (first->first.first > now || first->first.second > last) return;
    Task task = std::move(first->second);
    timer_due_us_.erase(first->first.second);
    timers_.erase(first);
    task();
    if (stop_) return;
  }
}

void OsLoop::run_posted() {
  running_.clear();
  {
    std::lock_guard lock(mutex_);
    running_.swap(posted_);
  }
  for (size_t i = 0; i < running_.size(); ++i) {
    if (stop_) {  // the rest stays, in order, before what came meanwhile
      std::lock_guard lock(mutex_);
      posted_.insert(posted_.begin(), std::make_move_iterator(running_.begin() + static_cast<std::ptrdiff_t>(i)),
                     std::make_move_iterator(running_.end()));
      break;
    }
    running_[i]();
    running_[i] = nullptr;
  }
  running_.clear();
}

void OsLoop::sleep() {
  {
    std::lock_guard lock(mutex_);
    if (!posted_.empty()) return;
    sleeping_ = true;
  }
  timespec timeout{};
  timespec* limit = nullptr;
  if (!timers_.empty()) {
    const int64_t wait_us = std::max<int64_t>(0, timers_.begin()->first.first - now_us());
    timeout.tv_sec = wait_us / 1'000'000;
    timeout.tv_nsec = wait_us % 1'000'000 * 1000;
    limit = &timeout;
  }
  pollfd fds[2] = {{wake_fd_, POLLIN, 0}, {signal_fd_, POLLIN, 0}};
  ppoll(fds, 2, limit, nullptr);
  {
    std::lock_guard lock(mutex_);
    sleeping_ = false;
  }
  uint64_t count = 0;
  [[maybe_unused]] const auto got = ::read(wake_fd_, &count, sizeof count);
}

void OsLoop::read_signals() {
  signalfd_siginfo info{};
  while (::read(signal_fd_, &info, sizeof info) == sizeof info) {
    const auto found = signal_tasks_.find(static_cast<int>(info.ssi_signo));
    if (found != signal_tasks_.end()) found->second();
  }
}

}  // namespace lambda
