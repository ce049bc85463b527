// The environment's variables of this process.
#pragma once

#include <optional>
#include <string>

namespace lambda {

std::optional<std::string> os_environment(const std::string& name);

}  // namespace lambda
