#include "base/os/loop.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <thread>

#include "base/test_support.h"

namespace lambda {
namespace {

TEST(OsLoop, RunsPostedTasksInOrderAndNeverInsideTheCall) {
  OsLoop loop;
  std::vector<int> order;
  loop.post([&] {
    order.push_back(1);
    loop.post([&] {
      order.push_back(3);
      loop.stop();
    });
    order.push_back(2);
  });
  EXPECT_TRUE(order.empty());
  loop.run();
  EXPECT_EQ(order, (std::vector<int>{1, 2, 3}));
}

TEST(OsLoop, RunsTimersByTheirTimeAndEqualOnesByTheirOrder) {
  OsLoop loop;
  std::vector<int> order;
  loop.after(20, [&] {
    order.push_back(3);
    loop.stop();
  });
  loop.after(0, [&] { order.push_back(1); });
  loop.after(0, [&] { order.push_back(2); });
  loop.run();
  EXPECT_EQ(order, (std::vector<int>{1, 2, 3}));
}

TEST(OsLoop, ACancelledTimerDoesNotRun) {
  OsLoop loop;
  bool ran = false;
  const auto timer = loop.after(1, [&] { ran = true; });
  loop.after(0, [&] { loop.cancel(timer); });
  loop.after(30, [&] { loop.stop(); });
  loop.cancel(0);
  loop.run();
  EXPECT_FALSE(ran);
  loop.cancel(timer);  // no error
}

TEST(OsLoop, ATimerThatSetsItselfAgainStarvesNobody) {
  OsLoop loop;
  int rounds = 0;
  std::function<void()> again = [&] {
    ++rounds;
    loop.after(0, again);
  };
  loop.after(0, again);
  loop.post([&] { loop.post([&] { loop.post([&] { loop.stop(); }); }); });
  loop.run();
  EXPECT_LT(rounds, 100);
}

TEST(OsLoop, TakesTasksFromManyThreadsAndKeepsTheOrderOfEach) {
  OsLoop loop;
  constexpr int kThreads = 4, kTasks = 5000;
  std::vector<int> last(kThreads, -1);
  int total = 0;
  bool ordered = true;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kTasks; ++i) {
        loop.post([&, t, i] {
          ordered = ordered && last[t] == i - 1;
          last[t] = i;
          if (++total == kThreads * kTasks) loop.stop();
        });
      }
    });
  }
  loop.run();
  for (auto& thread : threads) thread.join();
  EXPECT_TRUE(ordered);
  EXPECT_EQ(total, kThreads * kTasks);
}

TEST(OsLoop, DeliversSignalsAsTasks) {
  OsLoop loop;
  std::vector<int> got;
  for (const int number : {SIGTERM, SIGHUP}) {
    loop.on_signal(number, [&got, number] { got.push_back(number); });
  }
  loop.post([] { kill(getpid(), SIGHUP); });
  ASSERT_TRUE(run_until(loop, [&] { return got.size() == 1; }));
  kill(getpid(), SIGTERM);
  ASSERT_TRUE(run_until(loop, [&] { return got.size() == 2; }));
  EXPECT_EQ(got, (std::vector<int>{SIGHUP, SIGTERM}));
}

TEST(OsLoop, StopKeepsWhatWasNotRunForTheNextRun) {
  OsLoop loop;
  std::vector<int> order;
  loop.post([&] {
    order.push_back(1);
    loop.stop();
  });
  loop.post([&] { order.push_back(2); });
  loop.run();
  EXPECT_EQ(order, (std::vector<int>{1}));
  loop.post([&] {
    order.push_back(3);
    loop.stop();
  });
  loop.run();
  if (order.size() == 2) loop.run();  // stop()'s own wake-up may end the second run at once
  EXPECT_EQ(order, (std::vector<int>{1, 2, 3}));
}

TEST(OsClock, GoesForward) {
  OsClock clock;
  const int64_t before = clock.mono_us();
  EXPECT_GE(clock.mono_us(), before);
  EXPECT_GT(clock.utc_ms(), 1'700'000'000'000);
}

}  // namespace
}  // namespace lambda
