// The uplink: which parcel goes when, until a gateway has it. A state machine without I/O, the same on a
// microcontroller and on a server. The conversation it holds: proto/parcel.md.
//
// Invariants
// - A parcel is released (Shelf::settled) only by an Ack of at least the wanted policy that covers it.
// - At most `window_parcels_max` parcels and `window_bytes_max` bytes are in flight. (A parcel of more than half of
//   the bytes counts as half: it still goes.)
// - Nothing of a boot is sent before its hello of this connection was answered, nor while a question about it is open.
// - Every question is asked again until it is answered: nothing waits for ever, also while connected.
// - Neither lane starves: a place is kept for the backlog, a quarter of the window for what is fresh, and a parcel that
//   must wait after a NACK holds up no other.
// - The backlog takes no more of the window than keeps answers quick: see backlog_share.h.
// - Same inputs, same outputs: time and randomness are handed in. Time that goes back counts as none passed.
//
// Not thread-safe. Calls made into Shelf and Port from inside a call of ours must not call us back.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <span>
#include <type_traits>

#include "lambda/backlog_share.h"
#include "lambda/messages.h"

namespace lambda {

struct ParcelKey {
  uint64_t boot = 0;
  uint64_t seq = 0;
  friend bool operator==(const ParcelKey&, const ParcelKey&) = default;
};

enum class Lane : uint8_t { kFresh, kBacklog };
// LAMBDA_ONE_LANE, for all that is compiled into an image: every shelf has its parcels on the fresh lane, as a device's
// has, and what shares the window between two lanes is left out.
#ifdef LAMBDA_ONE_LANE
inline constexpr size_t kUplinkLanes = 1;
#else
inline constexpr size_t kUplinkLanes = 2;
#endif
using UplinkShare = std::conditional_t<kUplinkLanes == 1, NoBacklogShare, BacklogShare>;

// What the owner of the parcels gives the machine: the spool on a host, a few kilobytes of RAM on a device.
class Shelf {
 public:
  // The first parcel of the lane after `after` (from the start when after.seq is 0) that is neither settled nor
  // refused. Fresh: parcels made since this program's start (those of an older boot too: declarations, gaps), in order;
  // backlog: all older ones, in order. `after` need not exist any more: {boot, 2^64 - 1} asks for the first of the next
  // boot, and a boot that is gone is as good as the start. False: none.
  virtual bool next(Lane lane, ParcelKey after, ParcelKey* key, size_t* bytes) = 0;
  // The Up message of a parcel, for sending again byte for byte. Empty: it is gone or unreadable; the machine skips it.
  // Valid until the next call into the Shelf.
  virtual std::span<const uint8_t> read(ParcelKey key) = 0;

  // Boots that need a Hello: the present one (best at index 0), and those with parcels. False: no more.
  virtual bool boot(size_t index, uint64_t* boot) = 0;
  // The Up message of a Hello with this nonce. Valid until the next call into the Shelf. Empty: there is no such boot.
  virtual std::span<const uint8_t> hello(uint64_t boot, uint64_t nonce) = 0;

  virtual void settled(ParcelKey key) = 0;  // free it
  // Free all up to `seq`. It may be beyond the last parcel made (a restored copy): number the next ones above it.
  virtual void settled_through(uint64_t boot, uint64_t seq) = 0;
  // Free all from the range's first to its last. Here each is asked for and freed by itself.
  virtual void settled_between(uint64_t boot, const SeqRange& range) {
    if (range.first < 2) return;  // what begins at the start was settled through
    for (size_t i = 0; i < kUplinkLanes; ++i) {
      ParcelKey after{boot, range.first - 1};
      ParcelKey key;
      size_t bytes = 0;
      while (next(static_cast<Lane>(i), after, &key, &bytes) && key.boot == boot && key.seq > after.seq &&
             key.seq <= range.last) {
        settled(key);
        after = key;
      }
    }
  }
  virtual void refused(ParcelKey key, RefusalCode code) = 0;  // give it up, name the gap
  // Make a parcel with these declarations, of this boot, on the fresh lane. The refused parcel is sent again after
  // half a second, so that this one goes first, and asked about again (less and less often) if it did not help.
  virtual void declare(uint64_t boot, std::span<const uint32_t> refs) = 0;
  virtual void new_boot() = 0;
  virtual void gateway_time(int64_t utc_ms) = 0;  // as the last answer said
  // The codecs (codec_bit() of lambda/codecs.h) that every gateway takes which has answered lately: said with each ack.
  // Before the first one nothing is known but kCodecsOfEverybody. Who writes no others need not listen.
  virtual void gateways_take(uint32_t codecs) { (void)codecs; }

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
  uint32_t window_parcels_max = 32;  // 2 to kWindowParcelsMax (to half of the table on a device)
  uint32_t window_bytes_max = 4u << 20;
  uint32_t answer_timeout_ms = 5'000;  // first question; doubles up to answer_timeout_ms_max, with jitter
  uint32_t answer_timeout_ms_max = 60'000;
};

inline constexpr size_t kWindowParcelsMax = 64;
inline constexpr size_t kUplinkBootsMax = 8;  // boots spoken of at once; the others wait their turn
inline constexpr size_t kUplinkGatewaysMax =
    8;  // gateways whose restarts are noticed; further ones are left to timeouts

struct UplinkCounters {
  EventCount parcels_sent, parcels_resent, hellos_sent, acks, nacks_retry, nacks_permanent, nacks_declare,
      nacks_new_boot, answers_malformed, answers_foreign, timeouts;
  EventCount retries_forgotten;  // parcels waiting after a NACK that made room for others; they come up again
};

// A parcel the machine has in hand. Members are the machine's.
struct UplinkParcel {
  enum class State : uint8_t {
    kFree,
    kInFlight,  // sent `ms` ago, not answered
    kResend,    // was in flight and did not arrive: goes again, and keeps its place in the window until then
    kWaiting,   // after a NACK: its wait has been over for `ms`, or is not when that is negative
  };
  ParcelKey key;
  int32_t ms = 0;
  uint32_t weight = 0;  // bytes it takes in the window
  State state = State::kFree;
  Lane lane = Lane::kFresh;
  uint8_t tries = 0;
  bool again = false;  // it was sent before: its answer tells no time
};

// The machine over a table given by the caller: half of it bounds the window, the rest is for parcels that wait after a
// NACK. Devices give 8 places, hosts use Uplink below.
class UplinkMachine {
 public:
  // Options out of range count as the nearest that are not.
  UplinkMachine(Shelf& shelf, UplinkPort port, const UplinkOptions& options, std::span<UplinkParcel> table)
      : UplinkMachine(bounded(options, table), shelf, port, table) {}
  UplinkMachine(const UplinkMachine&) = delete;
  UplinkMachine& operator=(const UplinkMachine&) = delete;

  void connected(int64_t now_ms);  // subscribed and able to publish; `now_ms` is monotonic in every call
  void disconnected(int64_t now_ms);
  // A message that came on `down` or on interest/all. Malformed ones are counted and dropped. Call tick() afterwards.
  void down(std::span<const uint8_t> message, int64_t now_ms);
  void interest(std::span<const uint8_t> message, int64_t now_ms);
  // Something new is on the shelf, or time has passed. Does all work that is due; returns the monotonic time at which
  // it wants to be called again (always later than `now_ms`).
  int64_t tick(int64_t now_ms);

  bool answered() const { return answered_; }  // a gateway has answered since the connection was made
  size_t in_flight_parcels() const { return parcels_[0] + (kUplinkLanes > 1 ? parcels_[kUplinkLanes - 1] : 0); }
  size_t in_flight_bytes() const { return bytes_[0] + (kUplinkLanes > 1 ? bytes_[kUplinkLanes - 1] : 0); }
  const UplinkShare& backlog_share() const { return share_; }
  const UplinkCounters& counters() const { return counters_; }

 private:
  friend class Device;  // device.cpp: it has looked at its configuration

  // The same with options and a table that were looked at.
  UplinkMachine(const UplinkOptions& options, Shelf& shelf, UplinkPort port, std::span<UplinkParcel> table);
  static UplinkOptions bounded(const UplinkOptions& options, std::span<UplinkParcel> table);

  struct Boot {
    enum class State : uint8_t { kFree, kToAsk, kAsked, kReady };
    uint64_t boot = 0;
    uint64_t nonce = 0;        // of the open, or the last, question
    uint64_t settled_seq = 0;  // as the shelf was told
    uint32_t left_ms = 0;      // kToAsk: until it is asked; kAsked: until it is asked again
    uint32_t wait_ms = 0;      // how long a parcel in flight may stay without an answer
    State state = State::kFree;
    uint8_t tries = 0;   // questions since something settled
    bool fresh = false;  // has, or may have, parcels on the fresh lane: keeps its place
    bool told_new_boot = false;
  };
  struct Gateway {
    uint64_t incarnation = 0;  // 0: a free place
    uint64_t incarnation_before = 0;
    uint32_t forgotten_ms = 0;  // until its place may be another's
    uint32_t name_hash = 0;
    uint32_t codecs = 0;  // it takes; 0: it has not answered
  };
  struct Candidate {
    ParcelKey key;
    uint32_t weight = 0;
  };

  // Time.
  void advance(int64_t now_ms);
  void pass(uint32_t ms);
  uint32_t wait_for(uint8_t tries);
  uint32_t random_to(uint32_t most);
  uint32_t wake_ms();

  // Boots and questions.
  Boot* find_boot(uint64_t boot);
  Boot* claim_boot(bool fresh, uint64_t boot);
  void release_boot(Boot* slot);
  bool on_shelf(uint64_t boot);
  void refresh_boots();
  void ask(Boot* slot, uint32_t delay_ms);
  void say_hellos();
  void check_timeouts();
  Gateway* find_gateway(std::string_view name);
  void hear(std::string_view gateway, uint64_t incarnation, const Boot* except);
  void ask_again_all(const Boot* except);

  // Answers.
  void take_ack(const AckView& ack, Boot* slot);
  void tell_codecs(const AckView& ack);
  bool settle(const AckView& ack, Boot* slot);
  void end_question(const AckView& ack, Boot* slot);
  void take_nack(const NackView& nack, Boot* slot);
  void hold(UplinkParcel* parcel, uint32_t delay_ms);

  // Sending.
  void rewind_if(const bool (&lanes)[kUplinkLanes]);
  void send_due();
  void send_held(Lane lane);
  void send_new();
  bool peek(Lane lane, Candidate* next);
  bool room(Lane lane, uint32_t weight, const Candidate* backlog) const;
  void transmit(UplinkParcel* parcel);
  // Those of a boot in the table, one after another; null: no more.
  UplinkParcel* next_of(UplinkParcel* after, uint64_t boot) const;
  Boot* ready_boot(const UplinkParcel& parcel);
  UplinkParcel* find_parcel(ParcelKey key);
  UplinkParcel* new_parcel();
  void set_state(UplinkParcel* parcel, UplinkParcel::State state);
  void count(const UplinkParcel& parcel, int by);
  void free_parcel(UplinkParcel* parcel) { set_state(parcel, UplinkParcel::State::kFree); }
  bool publish(std::span<const uint8_t> message);
  void rewind(Lane lane);

  // What is small stands first: a small core reaches members near the start with shorter instructions.
  Shelf& shelf_;
  bool exhausted_[kUplinkLanes] = {};    // the shelf had nothing behind the cursor
  bool passed_over_[kUplinkLanes] = {};  // boots that could not be sent yet lie before the cursor
  bool connected_ = false;
  bool answered_ = false;
  bool blocked_ = false;  // the transport took no more in this tick
  bool boots_stale_ = false;
  bool boots_waiting_ = false;  // there are more boots on the shelf than places for them
  const UplinkPort port_;
  UplinkOptions options_;
  size_t used_ = 0;                      // places of the table that are not free
  uint32_t parcels_[kUplinkLanes] = {};  // in flight, by lane
  uint32_t bytes_[kUplinkLanes] = {};
  // No point in time is kept but the last call's, only how long things still take: so 32 bits do for ever.
  uint32_t rescan_ms_ = 0;    // until the lanes are gone through again
  uint32_t forget_ms_ = 0;    // until a waiting parcel may be forgotten
  uint32_t new_boot_ms_ = 0;  // until the shelf may be told to begin a new boot
  const std::span<UplinkParcel> table_;
  UplinkCounters counters_{};
  int64_t last_now_ms_ = 0;
  ParcelKey cursor_[kUplinkLanes];  // everything before is in the table, settled, or left to the next rescan
  int64_t clock_ms_ = 0;            // the share's: time that passed
  UplinkShare share_;
  Boot boots_[kUplinkBootsMax];
  Gateway gateways_[kUplinkGatewaysMax];
};

namespace internal {
struct UplinkTable {
  UplinkParcel table[2 * kWindowParcelsMax];
};
}  // namespace internal

// With a table of its own, for hosts: about 6 KB.
class Uplink : private internal::UplinkTable, public UplinkMachine {
 public:
  Uplink(Shelf& shelf, UplinkPort port, const UplinkOptions& options) : UplinkMachine(shelf, port, options, table) {}
};

}  // namespace lambda
