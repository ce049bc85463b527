// Small messages that nobody waits for: UDP, and datagrams over a Unix socket. The real ones: base/os.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace lambda {

struct DatagramOptions {
  std::string address = "127.0.0.1";      // numeric, IPv4 or IPv6; empty: no UDP
  uint16_t port = 0;                      // 0: any free one, see DatagramReceiver::port()
  std::string socket{};                   // path of a Unix socket; a stale one is replaced; empty: none
  uint32_t packet_bytes_max = 8'192;      // longer packets are dropped whole and counted
  uint64_t waiting_bytes_max = 2u << 20;  // taken from the kernel and not yet handled, with 8 bytes a packet; past it
                                          // the kernel's queue fills
  uint64_t kernel_bytes_max = 4u << 20;   // asked of the kernel for its queue; it grants what it allows
};

struct DatagramCounters {
  uint64_t packets = 0, bytes = 0;    // handed to the handler
  uint64_t packets_too_long = 0;      // over packet_bytes_max
  uint64_t packets_dropped = 0;       // UDP only: by the kernel, because its queue was full. A sender to the Unix
                                      // socket is held up, or refused, by its own kernel call instead
  uint64_t receive_errors = 0;        // calls that failed; receiving goes on
  uint64_t kernel_bytes_granted = 0;  // the kernel's queue for UDP, as it counts
  uint64_t waits_for_handler = 0;     // times that waiting_bytes_max was reached
};

// Receives until it is destroyed; the handler does not run afterwards. Not to be destroyed by its handler.
class DatagramReceiver {
 public:
  virtual ~DatagramReceiver() = default;
  virtual uint16_t port() const = 0;  // of UDP; 0: none
  virtual DatagramCounters counters() const = 0;
};

class Datagrams {
 public:
  // Some packets, in the order they came in on each socket. Runs on the loop thread, for a few milliseconds' worth of
  // packets at a time; the views are valid during the call.
  using Handler = std::function<void(std::span<const std::string_view> packets)>;

  virtual ~Datagrams() = default;
  // The error names the address or path that could not be had.
  virtual Result<std::unique_ptr<DatagramReceiver>> receive(DatagramOptions options, Handler handler) = 0;
};

}  // namespace lambda
