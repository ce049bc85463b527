// Somebody else's connections in place of lwIP's TCP, behind lwIP's altcp interface: mqtt.c and altcp_tls stand on them
// as they stand on altcp_tcp.c on a board. Nothing here waits; callbacks come from serve_streams() only, never from
// inside a call, but for altcp_abort(), which tells err() as lwIP does. Whose connections they are is told at link time
// by open_stream() and stream_clock_ms().
#pragma once

#include <lwip/ip_addr.h>
#include <stddef.h>
#include <stdint.h>

#include <memory>
#include <span>

namespace lambda::boards {

class Stream {
 public:
  enum class Dial : uint8_t { kPending, kUp, kFailed };
  enum class Got : uint8_t { kBytes, kNothing, kEnd, kBroken };

  virtual ~Stream() = default;
  // How connecting went. After kUp it is not asked again.
  virtual Dial dial() = 0;
  // Takes what there is room for now; returns how many bytes. A broken one takes none, and receive() says so.
  virtual size_t send(std::span<const uint8_t> bytes) = 0;
  // kBytes: the first `*count` of `into`. After kEnd it is not asked again.
  virtual Got receive(std::span<uint8_t> into, size_t* count) = 0;
  // Whether receive() has something now that no wait for an event would tell of.
  virtual bool has_more() const { return false; }
};

// Begins to connect. Null: there is no room for another one.
std::unique_ptr<Stream> open_stream(const ip_addr_t& address, uint16_t port);
// Any monotonic clock.
int64_t stream_clock_ms();

// Hands on what came, sends what waits, and tells lwIP's timers.
void serve_streams();
// True: there is something to do for serve_streams() already, without any event.
bool streams_are_due();

}  // namespace lambda::boards
