// One run of a world: a gateway, some devices, and for a while everything that can go wrong; then all is healed, and
// the balance must be exact.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace lambda::sim {

struct Outcome {
  std::vector<std::string> violations;
  uint64_t hash = 0;
  uint64_t events = 0;
  uint64_t made = 0;
  uint64_t acked = 0;
};

Outcome run_scenario(uint64_t seed, bool verbose);

}  // namespace lambda::sim
