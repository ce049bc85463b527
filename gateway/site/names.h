// The ids of sites, devices and gateways: [a-z0-9-]{1,64}. They are parts of topics, file names and certificates, so
// nothing else may ever get into them.
#pragma once

#include <string_view>

namespace lambda::gateway {

inline constexpr bool valid_id(std::string_view id) {
  if (id.empty() || id.size() > 64) return false;
  for (char c : id) {
    if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-')) return false;
  }
  return true;
}

}  // namespace lambda::gateway
