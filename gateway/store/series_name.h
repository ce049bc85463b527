// How a series is called in the index. Pure functions: any thread.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace lambda::gateway {

// The series' name in the world, 16 bytes: the first of SHA-256 over the device's name, a zero byte and
// canonical_name().
std::string series_gid(const std::string& device, const std::string& canonical);
// up{job="node"}: the name and its labels, sorted and escaped; and back.
std::string canonical_name(const std::string& name, const std::vector<std::pair<std::string, std::string>>& labels);
bool parse_canonical(const std::string& canonical, std::string* name,
                     std::vector<std::pair<std::string, std::string>>* labels);

}  // namespace lambda::gateway
