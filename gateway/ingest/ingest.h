// What a gateway does with a message on `up`: decide, store, answer. The conversation: proto/parcel.md.
//
// Order of the checks, cheapest first, so that a flood costs little:
//   topic, registry, head (who, which seq), size, rates, waiting memory, version, sender,
//   decode every block, signature, store
//
// Invariants
// - An Ack is sent only for what Store::ack_state() says and what the store just decided; a hello's after everything
//   before it from this device was decided (the store decides in order of arrival).
// - The answer to a parcel that is stored covers it, however many holes there are (ack_ranges.h).
// - A device that is unknown or revoked is never answered and never stored; its session is ended.
// - Waiting memory is bounded for each device and in total: past it parcels are answered RetryAfter, not kept.
// - Answers are caused by messages only: nothing here repeats itself, so two sides can not excite each other.
//
// Loop thread only.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/env/env.h"
#include "gateway/ingest/quarantine.h"
#include "gateway/ingest/token_bucket.h"
#include "gateway/ingest/up_message.h"
#include "gateway/site/registry.h"
#include "gateway/store/runs.h"
#include "gateway/store/store.h"

namespace lambda::gateway {

struct IngestLimits {
  uint64_t message_bytes_max = 1u << 20;          // larger: Permanent TOO_LARGE
  double device_bytes_per_s = 32.0 * (1 << 20);   // and twice as much at once
  double device_messages_per_s = 2'000;           // parcels and hellos; over it: RetryAfter
  double device_nacks_per_s = 100;                // over it: silence, the device asks again
  uint64_t device_waiting_bytes_max = 16u << 20;  // on the way to the store: RetryAfter
  uint64_t waiting_bytes_max = 64u << 20;
  // Runs of seqs whose ack could not be sent yet, of all boots together: about 150 bytes each where each is of another
  // boot, 10 MiB in all. At the bound what would be one more run is dropped, and the device asks again.
  uint64_t answers_waiting_max = 65'536;
  uint32_t busy_delay_ms = 200;
  uint32_t full_delay_ms = 10'000;
  uint32_t version_delay_ms = 60'000;
  int64_t ahead_ms_max = 300'000;  // later points are kept and counted
};

struct IngestOptions {
  std::string site, gateway;
  IngestLimits limits;
  QuarantineOptions quarantine;
};

// How ingest reaches the rest of the gateway.
struct IngestPort {
  // To a device's `down`, QoS 1.
  std::function<Status(const std::string& topic, std::string_view message)> publish;
  // Looks whether the registry changed; may be called for each message and limits itself. `stranger`: for a device that
  // is not in it, which may have been enrolled a moment ago.
  std::function<void(bool stranger)> refresh_registry;
  // The device may not be connected.
  std::function<void(const std::string& device)> end_session;
  // A parcel (the message's bytes) is stored, now (kStored) or since before (kDuplicate); comes before its ack. May be
  // empty.
  std::function<void(const std::string& device, uint64_t boot, std::string_view parcel, const Decision& decision)>
      stored;
};

struct IngestCounters {
  uint64_t messages = 0, bytes = 0, parcels = 0, hellos = 0, acks = 0, acks_delayed = 0, acks_dropped = 0, nacks = 0,
           nacks_unsent = 0, points_ahead = 0;
  // Refusals by reason.
  uint64_t foreign_topic = 0, unknown_device = 0, revoked_device = 0, unanswerable = 0, too_large = 0, rate = 0,
           waiting = 0, version = 0, wrong_sender = 0, malformed = 0, signature = 0, conflict = 0, undeclared = 0,
           store_full = 0, store_busy = 0, hello_rate = 0, hello_malformed = 0, hello_signature = 0, hello_not_kept = 0;
};

// What a device last said of itself; in memory only.
struct DeviceSeen {
  bool online = false;       // by its state topic
  int64_t last_seen_ms = 0;  // a message it was entitled to send
  int64_t last_hello_ms = 0;
  uint64_t boot = 0;
  uint64_t backlog_parcels = 0, backlog_bytes = 0;
  int64_t clock_offset_ms = 0;  // the gateway's clock minus the device's; the way there included
  bool clock_offset_known = false;
  uint64_t parcels = 0, refused = 0;
  std::string software;
};

class Ingest {
 public:
  Ingest(Env& env, IngestOptions options, Store& store, const Registry& registry, IngestPort port);
  ~Ingest();

  // A message from the bus: `up` and `state` topics; others are counted.
  void message(std::string_view topic, std::span<const std::byte> payload);
  // The connection to the broker is new: devices announce their state again, and acks that wait are tried again.
  void connected();
  void set_limits(const IngestLimits& limits);

  uint64_t incarnation() const { return answerer_.incarnation; }
  const Answerer& answerer() const { return answerer_; }
  const IngestCounters& counters() const { return counters_; }
  const Quarantine& quarantine() const { return quarantine_; }
  // Null: nothing was heard of it since the start.
  const DeviceSeen* seen(std::string_view device) const;
  uint64_t waiting_bytes() const { return waiting_bytes_; }
  uint64_t waiting_messages() const { return waiting_messages_; }

 private:
  struct Device {
    DeviceSeen seen;
    TokenBucket bytes, messages, nacks;
    uint64_t waiting_bytes = 0;
  };
  struct BootKey {
    std::string device;
    uint64_t boot;
    friend auto operator<=>(const BootKey&, const BootKey&) = default;
  };

  void up(const std::string& device_id, std::span<const std::byte> payload);
  bool admitted(const std::string& device_id, const Enrolled** enrolled);
  Device& device(const std::string& device_id);
  bool within_rates(const std::string& device_id, Device& device, const UpHead& head, size_t bytes);
  void parcel(const std::string& device_id, const Enrolled& enrolled, Device& device, const UpHead& head,
              std::span<const std::byte> payload);
  void hello(const std::string& device_id, const Enrolled& enrolled, Device& device, const UpHead& head,
             std::span<const std::byte> payload);
  void decided(const std::string& device_id, uint64_t boot, uint64_t seq, uint64_t bytes, const Decision& decision,
               std::string_view message);
  void want_ack(const std::string& device_id, uint64_t boot, uint64_t seq);
  void send_acks();
  Status send_ack(const std::string& device_id, uint64_t boot, uint64_t nonce, RunSet* answered);
  void retry_after(const std::string& device_id, const UpHead& head, uint32_t delay_ms, std::string_view reason);
  void refuse(const std::string& device_id, const UpHead& head, RefusalCode code, const std::string& text);
  void nack(const std::string& device_id, const std::string& message);
  std::string down_topic(const std::string& device_id) const;

  Env& env_;
  IngestOptions options_;
  Store& store_;
  const Registry& registry_;
  IngestPort port_;
  Answerer answerer_;
  Quarantine quarantine_;
  ParcelDecoder decoder_;
  std::map<std::string, Device, std::less<>> devices_;  // enrolled ones only: the registry is their bound
  uint64_t waiting_bytes_ = 0, waiting_messages_ = 0;
  std::map<BootKey, RunSet> acks_wanted_;  // seqs that were decided and not acked
  uint64_t acks_wanted_runs_ = 0;          // in all of it
  bool acks_posted_ = false;
  EventLoop::TimerId acks_timer_ = 0;
  IngestCounters counters_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace lambda::gateway
