#include "base/os/environment.h"

#include <cstdlib>

namespace lambda {

std::optional<std::string> os_environment(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  if (value == nullptr) return std::nullopt;
  return std::string(value);
}

}  // namespace lambda
