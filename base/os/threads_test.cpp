#include "base/os/threads.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <future>
#include <thread>

namespace lambda {
namespace {

#ifndef __SANITIZE_THREAD__  // which has a thread of its own
TEST(Threads, AThreadThatNobodyJoinsIsWaitedFor) {
  std::promise<void> go;
  std::thread([waits = go.get_future()] { waits.wait(); }).detach();
  EXPECT_FALSE(wait_for_other_threads(20));
  go.set_value();
  EXPECT_TRUE(wait_for_other_threads(60'000));
}
#endif

void say_that_handlers_ran() {
  std::fputs("handlers ran\n", stderr);
}

TEST(ThreadsDeathTest, ExitHandlersRunOnlyWhenNoOtherThreadIsLeft) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
#ifndef __SANITIZE_THREAD__
  EXPECT_EXIT(
      {
        std::atexit(say_that_handlers_ran);
        end_process(3);
      },
      testing::ExitedWithCode(3), "^handlers ran\n$");
#endif
  EXPECT_EXIT(
      {
        std::atexit(say_that_handlers_ran);
        std::thread([] { std::promise<void>().get_future().wait(); }).detach();
        std::fputs("said\n", stdout);
        std::fflush(stdout);
        end_process(3);
      },
      testing::ExitedWithCode(3), "^$");
}

}  // namespace
}  // namespace lambda
