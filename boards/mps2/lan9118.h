// The SMSC LAN9118 Ethernet controller, polled, as an interface of lwIP. One of them, at kLan9118Base.
#pragma once

#include "boards/firmware/board.h"

namespace lambda::boards {

// Adds the interface as lwIP's default one, up. False: the controller does not answer.
bool lan9118_start(const NetworkAddress& address);
// Hands the frames that have arrived to lwIP. Bounded: at most 16 in one call.
void lan9118_poll();

}  // namespace lambda::boards
