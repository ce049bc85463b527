// TCP of the operating system in place of lwIP's, behind lwIP's altcp interface: mqtt.c and altcp_tls stand on it as
// they stand on altcp_tcp.c on a board. Connections to loopback and beyond, non-blocking; callbacks only from
// poll_sockets(), never from inside a call.
#pragma once

#include <stdint.h>

namespace lambda::boards {

// Waits until a socket has something, at most so long, and hands it on.
void poll_sockets(int wait_ms_max);

}  // namespace lambda::boards
