// NOR flash as QEMU's boards have it: not at all. The memory in place of it can be written like RAM and outlives a
// reset (not the end of QEMU); this port gives it the rules that flash has. A product's board has its controller here.
#pragma once

#include "lambda/flash.h"

namespace lambda::boards {

extern const lam_flash_port kMps2Flash;

}  // namespace lambda::boards
