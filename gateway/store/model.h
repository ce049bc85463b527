// A random life of a store beside a naive set of identities: devices that make, send, send again, repack and
// contradict; a disk that fails, tears and forgets; a process that dies anywhere; merging, retention and a lost index
// in between.
#pragma once

#include <cstdint>
#include <string>

namespace lambda::gateway {

struct ModelOptions {
  uint32_t seed = 1;
  int steps = 400;
  bool retention = false;
  bool disk_faults = true;
  std::string index_directory = "";  // empty: the index is in memory and dies with the process
};

// Empty when every promise held; else which one did not.
std::string run_model(const ModelOptions& options);

}  // namespace lambda::gateway
