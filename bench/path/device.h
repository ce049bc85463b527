// One device of the benchmark's fleet: parcels that were built ahead, sent by the real uplink machine over a real
// connection.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/crypto/crypto.h"
#include "base/env/env.h"
#include "lambda/messages.h"
#include "lambda/uplink.h"

namespace lambda::bench {

struct DeviceIdentity {
  std::string site, device;
  SigningKey key;
  std::string ca_file, certificate_file, key_file;
};

struct Parcel {
  std::vector<uint8_t> message;
  Lane lane = Lane::kFresh;
  uint32_t blocks = 0;
  uint64_t points = 0;
  int64_t newest_point_us = 0;  // monotonic time at which its newest point was "measured"; for fresh ones
  int64_t published_us = 0;
  bool released = false;
  bool settled = false;
};

// What the fleet counts together.
struct Tally {
  uint64_t blocks_settled = 0, points_settled = 0, parcels_settled = 0;
  std::vector<int64_t> publish_to_ack_us;  // of every parcel, in the order of the acks
  std::vector<int64_t> fresh_age_us;       // newest point to ack, of fresh parcels with a time
  uint64_t refused = 0;
};

class Device final : private Shelf {
 public:
  Device(Env& env, DeviceIdentity identity, std::string url, Tally& tally);
  ~Device();

  // Forgets everything and begins a boot: new connection, new uplink machine.
  void begin_boot();
  // Appends a parcel of `blocks` blocks of `points_per_block` points, one block for each of the series 0..blocks-1.
  // It is sent when released.
  void build(Lane lane, uint32_t blocks, uint32_t points_per_block);
  // Lets the next `count` parcels go.
  void release(size_t count);
  void release_all() { release(parcels_.size() - released_); }
  void stamp_newest() { parcels_.back().newest_point_us = env_.clock.mono_us(); }

  void connect();
  void disconnect();
  bool answered() const { return uplink_ && uplink_->answered(); }
  size_t unsettled() const;
  size_t waiting() const { return parcels_.size() - released_; }
  const UplinkCounters& counters() const { return uplink_->counters(); }

 private:
  struct Series {
    uint64_t next_ordinal = 0;
    int64_t time_ms = 0;
    int64_t value = 0;
  };

  void turn();
  void settle(Parcel& parcel);
  std::string topic(const char* leaf) const;

  bool next(Lane lane, ParcelKey after, ParcelKey* key, size_t* bytes) override;
  std::span<const uint8_t> read(ParcelKey key) override;
  bool boot(size_t index, uint64_t* boot) override;
  std::span<const uint8_t> hello(uint64_t boot, uint64_t nonce) override;
  void settled(ParcelKey key) override;
  void settled_through(uint64_t boot, uint64_t seq) override;
  void refused(ParcelKey key, RefusalCode code) override;
  void declare(uint64_t boot, std::span<const uint32_t> refs) override;
  void new_boot() override {}
  void gateway_time(int64_t) override {}

  Env& env_;
  DeviceIdentity identity_;
  std::string url_;
  Tally& tally_;
  std::unique_ptr<MessageBus> bus_;
  std::unique_ptr<Uplink> uplink_;
  uint64_t boot_ = 0;
  int64_t started_ms_ = 0;
  std::vector<Parcel> parcels_;
  size_t released_ = 0;
  size_t settled_through_ = 0;  // parcels before this index are settled
  std::vector<Series> series_;
  Digest previous_{};
  std::vector<uint8_t> hello_;
  Signature hello_signature_{};
  EventLoop::TimerId timer_ = 0;
};

}  // namespace lambda::bench
