// What the tests of the real world share: a folder that goes away, and a loop that runs until something happened.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>

#include "base/os/loop.h"

namespace lambda {

class TestFolder {
 public:
  TestFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "lambda-test-XXXXXX").string();
    path_ = mkdtemp(pattern.data());
  }
  ~TestFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TestFolder(const TestFolder&) = delete;
  TestFolder& operator=(const TestFolder&) = delete;
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Runs the loop until `done` holds; a test that waits in vain fails after `limit_ms`.
inline bool run_until(OsLoop& loop, const std::function<bool()>& done, int64_t limit_ms = 20'000) {
  bool over = false;
  const auto limit = loop.after(limit_ms, [&] {
    over = true;
    loop.stop();
  });
  std::function<void()> look = [&] {
    if (done()) {
      loop.stop();
    } else if (!over) {
      loop.after(1, look);
    }
  };
  loop.post(look);
  loop.run();
  loop.cancel(limit);
  return done();
}

}  // namespace lambda
