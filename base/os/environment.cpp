#include "base/os/environment.h"

#include <unistd.h>

#include <cstdlib>

namespace lambda {

std::optional<std::string> os_environment(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  if (value == nullptr) return std::nullopt;
  return std::string(value);
}

bool output_is_terminal() {
  return isatty(STDOUT_FILENO) == 1;
}

}  // namespace lambda
