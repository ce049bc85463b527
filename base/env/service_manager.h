// What the machine's service manager says of its units. Not a part of Env: only who tells of it asks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"

namespace lambda {

struct ServiceUnit {
  std::string name;   // "ssh.service"
  std::string state;  // "active", "activating", "deactivating", "inactive", "failed" ...
  std::string type;   // of a service: "simple", "notify" ...; of a mount: its file system; else empty
};

inline constexpr std::size_t kServiceUnitsMax = 4'096;  // wanted ones of one answer; further ones are counted

struct ServiceStates {
  std::vector<ServiceUnit> units;          // wanted and loaded
  std::vector<std::string> states_of_all;  // of each unit, wanted or not
  std::string system;                      // "running", "degraded" ...
  std::string version;                     // "252.38-1~deb12u1"
  uint64_t units_left_out = 0;             // over kServiceUnitsMax
};

// Loop thread only.
class ServiceManager {
 public:
  using Done = std::function<void(Result<ServiceStates>)>;
  virtual ~ServiceManager() = default;
  // Asks; `done` runs later, from the loop, once, within the time limit that it was made with. kNotFound: there is no
  // service manager here. kUnavailable: it does not answer, or nothing that can be understood; the text says what. Not
  // to be called again before `done` ran. After destruction nothing runs.
  virtual void ask(Done done) = 0;
};

}  // namespace lambda
