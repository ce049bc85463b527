#include "base/os/threads.h"

#include <dirent.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <thread>

namespace lambda {
namespace {

constexpr int64_t kOtherThreadsMsMax = 1'000;

bool is_alone() {
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir("/proc/self/task"), &::closedir);
  if (!folder) return false;
  size_t threads = 0;
  while (const dirent* entry = ::readdir(folder.get())) threads += entry->d_name[0] != '.' ? 1 : 0;
  return threads == 1;
}

}  // namespace

bool wait_for_other_threads(int64_t ms_max) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(ms_max);
  while (!is_alone()) {
    if (std::chrono::steady_clock::now() >= end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

void end_process(int status) {
  if (wait_for_other_threads(kOtherThreadsMsMax)) std::exit(status);
  std::fflush(nullptr);
  ::_exit(status);
}

}  // namespace lambda
