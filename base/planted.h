// Bugs planted on purpose, to show that the tests would notice them: tests/sim builds agent and gateway once more with
// LAMBDA_PLANTED_BUGS, runs with one bug switched on, and wants to see a red test. In every other build planted() is
// false at compile time and nothing of it is left.
//
//   if (!planted("store_no_sync")) disk.sync(file, done);
#pragma once

namespace lambda {

#ifdef LAMBDA_PLANTED_BUGS
bool planted(const char* name);  // defined by the simulator
#else
constexpr bool planted(const char*) {
  return false;
}
#endif

}  // namespace lambda
