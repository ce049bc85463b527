// Other coders, measured in the same run as ours. Each is there only if this build has it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "lambda/point.h"

namespace lambda::bench {

// Writes a run of points and reads it back. Nothing here is ours.
class Anchor {
 public:
  virtual ~Anchor() = default;
  virtual const char* name() const = 0;
  virtual void encode(std::span<const Point> points, std::string* to) = 0;
  // The points must be those that were encoded, their times from the first one on.
  virtual void decode(const std::string& from, size_t count, std::vector<Point>* points) = 0;
};

std::unique_ptr<Anchor> beringei();  // null: built without -DLAMBDA_BERINGEI=PATH
std::unique_ptr<Anchor> zstd();      // null: built without libzstd

}  // namespace lambda::bench
