#include "base/os/workers.h"

#include <sys/resource.h>
#include <unistd.h>

#include <utility>

namespace lambda {

Workers::Workers(size_t threads, int nice) {
  for (size_t i = 0; i < threads; ++i) threads_.emplace_back([this, nice] { work(nice); });
}

Workers::~Workers() {
  finish();
}

void Workers::run(std::function<void()> task) {
  {
    std::lock_guard lock(mutex_);
    if (!ending_) {
      tasks_.push_back(std::move(task));
      wake_.notify_one();
      return;
    }
  }
  task();
}

void Workers::finish() {
  {
    std::lock_guard lock(mutex_);
    ending_ = true;
  }
  wake_.notify_all();
  for (auto& thread : threads_) thread.join();
  threads_.clear();
}

void Workers::work(int nice) {
  // On Linux a thread has a niceness of its own. Where it cannot be set the work is done all the same.
  if (nice > 0) (void)::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), ::getpriority(PRIO_PROCESS, 0) + nice);
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [&] { return ending_ || !tasks_.empty(); });
    if (tasks_.empty()) return;
    auto task = std::move(tasks_.front());
    tasks_.pop_front();
    lock.unlock();
    task();
    task = nullptr;  // what it holds goes while nobody is locked out
    lock.lock();
  }
}

}  // namespace lambda
