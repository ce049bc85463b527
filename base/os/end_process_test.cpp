#include "base/os/end_process.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <future>
#include <thread>

namespace lambda {
namespace {

#ifndef __SANITIZE_THREAD__  // which has an exit handler of its own
TEST(EndProcessDeathTest, WhatWasPrintedIsWrittenAndNoExitHandlerRunsUnderAThread) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        std::atexit([] { std::fputs("a handler ran\n", stderr); });
        std::thread([] { std::promise<void>().get_future().wait(); }).detach();
        static char buffer[64];
        std::setvbuf(stderr, buffer, _IOFBF, sizeof buffer);
        std::fputs("the last word\n", stderr);
        end_process(3);
      },
      testing::ExitedWithCode(3), "^the last word\n$");
}
#endif

}  // namespace
}  // namespace lambda
