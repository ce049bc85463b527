// What /proc/<pid>/stat says of a process, of the fields that are told of.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "agent/source/text.h"

namespace lambda::agent {

struct ProcessStat {
  std::string_view name;  // may hold anything; lies in the text
  char state = 0;         // 'R', 'S' ...
  int64_t ticks = 0;      // of the processor, for itself and for it in the kernel
  int64_t threads = 0;
  int64_t started = 0;  // in ticks since the boot
  int64_t pages = 0;    // resident
};

// Nothing if it is not of the form of proc(5), or with numbers that cannot be: sums and bytes stay within an int64.
inline std::optional<ProcessStat> read_process_stat(std::string_view text) {
  constexpr int64_t kSaneMax = int64_t{1} << 40;
  // pid (name) state ppid ...: the name may hold anything, so the last ')' ends it.
  const size_t begin = text.find('('), end = text.rfind(')');
  if (begin == std::string_view::npos || end == std::string_view::npos || end <= begin) return std::nullopt;
  std::string_view rest = text.substr(end + 1), line;
  take_line(rest, line);
  const std::string_view state = take_field(line);
  std::array<std::optional<int64_t>, 24 - 3> fields{};  // fields[n - 4] is field n of proc(5)
  for (auto& field : fields) field = to_number(take_field(line));
  const auto user = fields[14 - 4], system = fields[15 - 4], threads = fields[20 - 4], started = fields[22 - 4],
             pages = fields[24 - 4];
  for (const auto& value : {user, system, threads, started, pages}) {
    if (!value || *value < 0 || *value > kSaneMax) return std::nullopt;
  }
  if (state.size() != 1) return std::nullopt;
  return ProcessStat{text.substr(begin + 1, end - begin - 1), state[0], *user + *system, *threads, *started, *pages};
}

}  // namespace lambda::agent
