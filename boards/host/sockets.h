// The operating system's TCP under lwIP (altcp_stream.h): connections to loopback and beyond.
#pragma once

namespace lambda::boards {

// Waits until a socket has something, at most so long, and hands it on.
void poll_sockets(int wait_ms_max);

}  // namespace lambda::boards
