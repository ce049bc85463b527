// A few threads for work that would stop the loop: evaluating queries. They may give way to the rest of the program.
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
  // `nice`: how much later than others they get the processor when it is short, 0 to 19 (setpriority).
  explicit Workers(size_t threads, int nice = 0);
  ~Workers();  // as finish()
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  // Runs `task` once, on one of the threads; after finish() inside this call. Any thread.
  void run(std::function<void()> task);
  // Returns when all that was handed in has run. What the tasks use may be destroyed then.
  void finish();

 private:
  void work(int nice);

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> tasks_;  // guarded by mutex_
  bool ending_ = false;                      // guarded by mutex_
  std::vector<std::thread> threads_;
};

}  // namespace lambda
