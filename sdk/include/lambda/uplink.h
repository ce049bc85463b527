// The uplink: which parcel goes when, until a gateway has it. A state machine without I/O, the same on a
// microcontroller and on a server. The conversation it holds: proto/parcel.md.
//
// Invariants
// - A parcel is released (Shelf::settled) only by an Ack of at least the wanted policy that covers it.
// - At most `window_parcels_max` parcels and `window_bytes_max` bytes are in flight.
// - Every question is asked again until it is answered: nothing waits for ever, also while connected.
// - Same inputs, same outputs: time and randomness are handed in.
//
// Not thread-safe. Calls made into Shelf and Port from inside a call of ours must not call us back.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <span>

#include "lambda/messages.h"

namespace lambda {

struct ParcelKey {
  uint64_t boot = 0;
  uint64_t seq = 0;
  friend bool operator==(const ParcelKey&, const ParcelKey&) = default;
};

enum class Lane : uint8_t { kFresh, kBacklog };

// What the owner of the parcels gives the machine: the spool on a host, a few kilobytes of RAM on a device.
class Shelf {
 public:
  // The first parcel of the lane after `after` (from the start when after.seq is 0) that is neither settled nor refused.
  // Fresh: parcels made since this program's start, newest work first served in order; backlog: all older ones, in
  // order. False: none.
  virtual bool next(Lane lane, ParcelKey after, ParcelKey* key, size_t* bytes) = 0;
  // The Up message of a parcel, for sending again byte for byte. Empty: it is gone or unreadable; the machine skips it.
  // Valid until the next call into the Shelf.
  virtual std::span<const uint8_t> read(ParcelKey key) = 0;

  // Boots that need a Hello: those with parcels, and the present one; index from 0. False: no more.
  virtual bool boot(size_t index, uint64_t* boot) = 0;
  // The Up message of a Hello with this nonce. Valid until the next call into the Shelf.
  virtual std::span<const uint8_t> hello(uint64_t boot, uint64_t nonce) = 0;

  virtual void settled(ParcelKey key) = 0;                        // free it
  virtual void settled_through(uint64_t boot, uint64_t seq) = 0;  // free all up to seq
  virtual void refused(ParcelKey key, RefusalCode code) = 0;      // give it up, name the gap
  virtual void declare(uint64_t boot, std::span<const uint32_t> refs) = 0;  // make a parcel with these declarations
  virtual void new_boot() = 0;
  virtual void gateway_time(int64_t utc_ms) = 0;                  // as the last answer said

 protected:
  ~Shelf() = default;
};

struct UplinkPort {
  void* context;
  // Publishes to this device's `up` topic. False: not now (the transport is full); the machine tries again later.
  bool (*publish_up)(void* context, std::span<const uint8_t> message);
  uint64_t (*random)(void* context);
};

struct UplinkOptions {
  Policy policy = Policy::kLocal;
  uint32_t window_parcels_max = 32;         // at most kWindowParcelsMax
  uint32_t window_bytes_max = 4u << 20;
  uint32_t answer_timeout_ms = 5'000;       // first question; doubles up to answer_timeout_ms_max, full jitter
  uint32_t answer_timeout_ms_max = 60'000;
};

inline constexpr size_t kWindowParcelsMax = 64;
inline constexpr size_t kUplinkBootsMax = 8;  // hellos under way at once; the others wait their turn

struct UplinkCounters {
  uint64_t parcels_sent, parcels_resent, hellos_sent, acks, nacks_retry, nacks_permanent, nacks_declare, nacks_new_boot,
      answers_malformed, answers_foreign, timeouts;
};

class Uplink {
 public:
  Uplink(Shelf& shelf, UplinkPort port, const UplinkOptions& options);

  void connected(int64_t now_ms);      // subscribed and able to publish; `now_ms` is monotonic in every call
  void disconnected(int64_t now_ms);
  // A message that came on `down` or on interest/all. Malformed ones are counted and dropped.
  void down(std::span<const uint8_t> message, int64_t now_ms);
  void interest(std::span<const uint8_t> message, int64_t now_ms);
  // Something new is on the shelf, or time has passed. Does all work that is due; returns the monotonic time at which
  // it wants to be called again.
  int64_t tick(int64_t now_ms);

  bool answered() const;               // a gateway has answered since the connection was made
  size_t in_flight_parcels() const;
  size_t in_flight_bytes() const;
  const UplinkCounters& counters() const;
};

}  // namespace lambda
