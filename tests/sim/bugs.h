// The bugs that can be planted (base/planted.h), and what each takes away.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace lambda::sim {

struct Bug {
  const char* name;
  const char* what;
};
std::span<const Bug> bugs();

// Switches one on; empty: none. False: there is none of that name.
bool plant(std::string_view name);
// Its name.
const std::string& planted_bug();
// How often the code asked for the planted bug: a bug whose hook is gone shows nothing.
uint64_t planted_bug_was_met();
void planted_bug_was_met_elsewhere(uint64_t times);  // in another process

}  // namespace lambda::sim
