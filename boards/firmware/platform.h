// What lwIP and mbedTLS call by name, tied to the one board and the one clock there are.
#pragma once

#include "boards/firmware/board.h"
#include "boards/firmware/device_clock.h"

namespace lambda::boards {

// Before anything of lwIP or mbedTLS is used; both must outlive the program.
void start_platform(const Board& board, const DeviceClock& clock);

// How often lwIP's TLS layer met what it does not expect (an error of mbedTLS that it has no answer to). It goes on
// after that, with an error of its own; the session is not to be trusted any more, the device is.
uint32_t tls_surprises();

// Says why, then starts the device anew.
[[noreturn]] void restart_because(const char* reason);

}  // namespace lambda::boards
