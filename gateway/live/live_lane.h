// The gateway's half of the live lane: says what is wanted at once (interest_table.h), takes what devices send for it,
// and gives it to questions (live_overlay.h) and consumers (fresh_points.h). Design: docs/decisions/0009-live-lane.md.
//
// Live messages are not signed: a device is believed as far as its topic, which the broker gives to the owner of its
// certificate only. They are shown and computed on, never stored. A device that is unknown or revoked is not heard.
//
// Order of the checks, cheapest first: enabled, registry, size, rates, decoding. What is refused is counted; a device
// is not answered, for the block brings what counts. Loop thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/env/env.h"
#include "gateway/ingest/token_bucket.h"
#include "gateway/ingest/up_message.h"
#include "gateway/live/fresh_points.h"
#include "gateway/live/interest_table.h"
#include "gateway/live/live_overlay.h"
#include "gateway/site/registry.h"
#include "gateway/store/store.h"

namespace lambda::gateway {

struct LiveOptions {
  bool enabled = true;
  InterestOptions interest;
  FreshOptions fresh;
  uint64_t message_bytes_max = 256u << 10;
  double device_bytes_per_s = 1u << 20;  // and twice as much at once
  double device_messages_per_s = 200;    // the same
  friend bool operator==(const LiveOptions&, const LiveOptions&) = default;
};

struct LivePort {
  // An Interest message, retained, QoS 1.
  std::function<Status(std::string_view message)> publish;
  // As IngestPort has them.
  std::function<void(bool stranger)> refresh_registry;
  std::function<void(const std::string& device)> end_session;
};

struct LiveCounters {
  uint64_t messages = 0, bytes = 0;
  // Messages that were not taken, by reason.
  uint64_t disabled = 0, unknown_device = 0, revoked_device = 0, too_large = 0, rate = 0, version = 0, malformed = 0,
           not_ready = 0;
};

class LiveLane {
 public:
  // `answerer` names this start of the gateway. `store` and `registry` must outlive it.
  LiveLane(Env& env, LiveOptions options, Answerer answerer, Store& store, const Registry& registry, LivePort port);

  // Points of series that meet any of `selectors` are handed to `consumer` from now on, each once; and agents are asked
  // for them at once. Errors as FreshPoints::add() and InterestTable::hold(): nothing was added.
  Result<uint64_t> subscribe(const std::vector<std::vector<query::Matcher>>& selectors, FreshConsumer& consumer);
  void unsubscribe(uint64_t subscription);

  // A message on `live` of this device.
  void message(const std::string& device, std::span<const std::byte> payload);
  // IngestPort::stored.
  void stored(const std::string& device, uint64_t boot, std::string_view parcel, const Decision& decision) {
    fresh_.stored(device, boot, parcel, decision);
  }
  void connected() { interest_.connected(); }
  void disconnected() { interest_.disconnected(); }

  // What questions are asked of.
  LiveOverlay& overlay() { return overlay_; }

  const LiveOptions& options() const { return options_; }
  const LiveCounters& counters() const { return counters_; }
  const InterestTable& interest() const { return interest_; }
  const FreshPoints& fresh() const { return fresh_; }
  const OverlayCounters& overlay_counters() const { return overlay_.counters(); }

 private:
  struct Rates {
    TokenBucket bytes, messages;
  };
  bool admitted(const std::string& device);
  bool within_rates(const std::string& device, size_t bytes);

  Env& env_;
  const LiveOptions options_;
  const Answerer answerer_;
  Store& store_;
  const Registry& registry_;
  const LivePort port_;
  FreshPoints fresh_;
  InterestTable interest_;
  LiveOverlay overlay_;
  std::map<std::string, Rates> rates_;                 // of enrolled devices: the registry is their bound
  std::map<uint64_t, std::vector<std::string>> held_;  // selectors, by subscription
  LiveCounters counters_;
};

}  // namespace lambda::gateway
