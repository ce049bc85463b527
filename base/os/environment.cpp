#include "base/os/environment.h"

#include <sys/ioctl.h>
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

TerminalSize terminal_size() {
  winsize found{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &found) != 0 || found.ws_col == 0 || found.ws_row == 0) return {};
  return {found.ws_col, found.ws_row};
}

}  // namespace lambda
