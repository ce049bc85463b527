// What surrounds this process: the environment's variables, and a terminal or none.
#pragma once

#include <optional>
#include <string>

namespace lambda {

std::optional<std::string> os_environment(const std::string& name);
// Whether somebody reads standard output as it comes.
bool output_is_terminal();
struct TerminalSize {
  unsigned columns = 80, lines = 24;
};
// Of the terminal at standard output, now; 80 x 24 when there is none, or it does not say.
TerminalSize terminal_size();

}  // namespace lambda
