// Time and order. All hosted code takes both from here; nothing else may ask the operating system.
// One loop per program, one thread runs it; every callback of every interface in base/env runs on that thread.
#pragma once

#include <cstdint>
#include <functional>

namespace lambda {

class Clock {
 public:
  virtual ~Clock() = default;
  // Milliseconds UTC. May jump both ways.
  virtual int64_t utc_ms() const = 0;
  // Microseconds since some start. Never goes back.
  virtual int64_t mono_us() const = 0;
  int64_t mono_ms() const { return mono_us() / 1000; }
};

class EventLoop {
 public:
  using Task = std::function<void()>;
  using TimerId = uint64_t;  // 0 is never a timer

  virtual ~EventLoop() = default;
  // Runs `task` later, never inside this call, in the order of posting. Callable from any thread.
  virtual void post(Task task) = 0;
  // Runs `task` once, `delay_ms` of monotonic time from now or a little later. Loop thread only.
  virtual TimerId after(int64_t delay_ms, Task task) = 0;
  // Forgets a timer; one that ran already, or 0, is no error. Loop thread only.
  virtual void cancel(TimerId timer) = 0;
};

}  // namespace lambda
