#include "agent/offenders.h"

#include <algorithm>
#include <functional>

namespace lambda::agent {

void Offenders::add(std::string_view name) {
  ++total_;
  const size_t hash = std::hash<std::string_view>()(name);
  const auto found = std::find_if(names_.begin(), names_.end(), [&](const Offender& offender) {
    return offender.hash == hash && offender.name == name;
  });
  if (found != names_.end()) {
    ++found->count;
  } else if (names_.size() < kNamesMax) {
    names_.push_back({std::string(name), 1, 0, hash});
  } else {
    // Whoever has the least gives way; what is not known of the new one is at most what that one had.
    const auto least =
        std::min_element(names_.begin(), names_.end(), [](const auto& a, const auto& b) { return a.count < b.count; });
    *least = {std::string(name), least->count + 1, least->count, hash};
  }
}

std::vector<Offenders::Offender> Offenders::worst() const {
  std::vector<Offender> all = names_;
  std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.count > b.count; });
  if (all.size() > kToldMax) all.resize(kToldMax);
  return all;
}

std::string Offenders::text() const {
  std::string out;
  for (const Offender& offender : worst()) {
    if (!out.empty()) out += ", ";
    out += offender.name + " " + std::to_string(offender.count);
  }
  return out;
}

}  // namespace lambda::agent
