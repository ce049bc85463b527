#include "base/os/workers.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <set>

namespace lambda {
namespace {

TEST(Workers, FinishReturnsWhenEverythingHandedInHasRun) {
  std::atomic<int> ran{0};
  Workers workers(3);
  for (int i = 0; i < 1000; ++i) workers.run([&] { ran++; });
  workers.finish();
  EXPECT_EQ(ran, 1000);
}

TEST(Workers, TasksRunOnOtherThreadsAndAtOnceWithEachOther) {
  Workers workers(2);
  std::mutex mutex;
  std::condition_variable met;
  std::set<std::thread::id> threads;
  auto meet = [&] {  // ends only if the other runs too
    std::unique_lock lock(mutex);
    threads.insert(std::this_thread::get_id());
    met.notify_all();
    met.wait(lock, [&] { return threads.size() == 2; });
  };
  workers.run(meet);
  workers.run(meet);
  workers.finish();
  EXPECT_EQ(threads.size(), 2u);
  EXPECT_FALSE(threads.contains(std::this_thread::get_id()));
}

TEST(Workers, GiveWayToTheThreadThatMadeThemWhenTold) {
  const int before = ::getpriority(PRIO_PROCESS, 0);
  int in_worker = -100;
  Workers workers(1, 1);
  workers.run([&] { in_worker = ::getpriority(PRIO_PROCESS, 0); });
  workers.finish();
  EXPECT_EQ(in_worker, std::min(before + 1, 19));
  EXPECT_EQ(::getpriority(PRIO_PROCESS, 0), before);
}

TEST(Workers, AfterFinishATaskRunsInsideTheCall) {
  Workers workers(1);
  workers.finish();
  bool ran = false;
  workers.run([&] { ran = true; });
  EXPECT_TRUE(ran);
}

}  // namespace
}  // namespace lambda
