// What lwIP and mbedTLS call by name, tied to the one board and the one clock there are.
#pragma once

#include "boards/firmware/board.h"
#include "boards/firmware/device_clock.h"

namespace lambda::boards {

// Before anything of lwIP or mbedTLS is used; both must outlive the program.
void start_platform(const Board& board, const DeviceClock& clock);

// Says why, then starts the device anew.
[[noreturn]] void restart_because(const char* reason);

}  // namespace lambda::boards
