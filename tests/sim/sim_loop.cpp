#include "tests/sim/sim_loop.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

namespace lambda::sim {

uint64_t SimRandom::next() {
  uint64_t z = (state_ += 0x9E3779B97F4A7C15);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
  return z ^ (z >> 31);
}

void SimRandom::fill(std::span<std::byte> into) {
  while (!into.empty()) {
    const uint64_t value = next();
    const size_t count = std::min(into.size(), sizeof value);
    std::memcpy(into.data(), &value, count);
    into = into.subspan(count);
  }
}

void Scheduler::at(int64_t time_us, Task task) {
  queue_.push({std::max(time_us, now_us_), random_.next(), ++sequence_, std::make_shared<Task>(std::move(task))});
}

void Scheduler::run_until(int64_t time_us) {
  while (!queue_.empty() && queue_.top().time_us <= time_us) {
    const auto task = queue_.top().task;
    now_us_ = queue_.top().time_us;
    queue_.pop();
    ++events_;
    (*task)();
  }
  now_us_ = std::max(now_us_, time_us);
}

void Scheduler::note(std::string_view what, uint64_t value) {
  const auto mix = [this](uint64_t word) {
    hash_ = (hash_ ^ word) * 0x100000001B3;
    hash_ ^= hash_ >> 29;
  };
  mix(static_cast<uint64_t>(now_us_));
  for (const char c : what) mix(static_cast<unsigned char>(c));
  mix(value);
}

EventLoop::TimerId SimLoop::add(int64_t time_us, Task task) {
  const TimerId id = ++last_;
  tasks_->emplace(id, std::move(task));
  scheduler_.at(time_us, [id, tasks = tasks_] {
    const auto found = tasks->find(id);
    if (found == tasks->end()) return;
    const Task ready = std::move(found->second);
    tasks->erase(found);
    ready();
  });
  return id;
}

void SimLoop::post(Task task) {
  // Strictly later than the post before, so that they keep their order; a little later than now, so that other programs
  // get in between.
  last_post_us_ = std::max(last_post_us_ + 1, scheduler_.now_us() + scheduler_.random().between(1, 60));
  add(last_post_us_, std::move(task));
}

EventLoop::TimerId SimLoop::after(int64_t delay_ms, Task task) {
  const int64_t delay_us = std::clamp<int64_t>(delay_ms, 0, int64_t{1} << 42) * 1000;
  return add(scheduler_.now_us() + delay_us + scheduler_.random().between(1, 200), std::move(task));
}

void SimLog::write(LogLevel level, std::string_view event, Fields fields) {
  scheduler_.note(event, static_cast<uint64_t>(level));
  if (event == "spool_parcel_missing" || event == "spool_parcel_disagrees" || event == "spool_index_wrong") {
    impossible_.push_back(name_ + " logged " + std::string(event));
  }
  if (!verbose_) return;
  std::string line;
  for (const auto& field : fields) {
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
  std::fprintf(stderr, "%12.6f %s: %.*s%s\n", static_cast<double>(scheduler_.now_us()) / 1e6, name_.c_str(),
               static_cast<int>(event.size()), event.data(), line.c_str());
}

}  // namespace lambda::sim
