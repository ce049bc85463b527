// What surrounds this process: the environment's variables, and a terminal or none.
#pragma once

#include <optional>
#include <string>

namespace lambda {

std::optional<std::string> os_environment(const std::string& name);
// Whether somebody reads standard output as it comes.
bool output_is_terminal();

}  // namespace lambda
