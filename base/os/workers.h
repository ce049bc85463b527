// A few threads for work that would stop the loop: evaluating queries.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace lambda {

// The queue has no bound of its own: who hands work in has one (HttpApiOptions::queries_max).
class Workers {
 public:
  explicit Workers(size_t threads);
  ~Workers();  // as finish()
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  // Runs `task` once, on one of the threads; after finish() inside this call. Any thread.
  void run(std::function<void()> task);
  // Returns when all that was handed in has run. What the tasks use may be destroyed then.
  void finish();

 private:
  void work();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> tasks_;  // guarded by mutex_
  bool ending_ = false;                      // guarded by mutex_
  std::vector<std::thread> threads_;
};

}  // namespace lambda
