// base/planted.h for the SDK, which includes nothing of the project: bugs that the simulator plants into what a device
// does with its flash. In every other build planted() is false at compile time and nothing of it is left.
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
