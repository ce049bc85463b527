// Child processes.
#pragma once

#include "base/env/env.h"

namespace lambda {

// Spawn from a thread that lives as long as the process, as the loop thread does: the kernel kills a child when the
// thread that made it ends. Children start with no signal blocked.
class OsProcesses final : public Processes {
 public:
  explicit OsProcesses(EventLoop& loop) : loop_(loop) {}
  Result<std::unique_ptr<ChildProcess>> spawn(const std::vector<std::string>& arguments,
                                              std::function<void(int)> exited) override;
  Result<std::unique_ptr<ChildProcess>> spawn_apart(const std::vector<std::string>& arguments, std::string_view input,
                                                    std::function<void(int)> exited) override;

 private:
  EventLoop& loop_;
};

}  // namespace lambda
