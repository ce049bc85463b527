#pragma once
#include <cstdint>
namespace facebook::gorilla {
struct TimeValuePair {
  int64_t unixTime = 0;
  double value = 0;
};
}  // namespace facebook::gorilla
