// Randomness of the kernel (getrandom), good for keys. Any thread.
#pragma once

#include "base/env/env.h"

namespace lambda {

class OsRandom final : public Random {
 public:
  void fill(std::span<std::byte> into) override;
};

}  // namespace lambda
