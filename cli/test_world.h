// Runs `lambda` itself, in tests.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdio>
#include <string>

namespace lambda::cli {

struct Ran {
  int status = -1;
  std::string out;
};

// Through the shell; standard error is dropped unless `arguments` redirect it.
inline Ran run(const std::string& arguments) {
  Ran ran;
  FILE* pipe = ::popen(("timeout 60 " LAMBDA_PROGRAM " " + arguments + " 2>/dev/null").c_str(), "r");
  EXPECT_NE(pipe, nullptr);
  if (pipe == nullptr) {
    return ran;
  }
  char buffer[4096];
  for (size_t n = 0; (n = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) {
    ran.out.append(buffer, n);
  }
  const int status = ::pclose(pipe);
  ran.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return ran;
}

}  // namespace lambda::cli
