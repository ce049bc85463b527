// What the firmware does with the SDK, seen between the two.
#pragma once

#include "tests/sim/board/words.h"

namespace lambda::sim {

// What its SDK has counted so far.
Counts counts();

}  // namespace lambda::sim
