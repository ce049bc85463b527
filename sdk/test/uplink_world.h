// What the uplink's tests stand on: a shelf of named parcels, and answers as a gateway writes them.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "lambda/uplink.h"
#include "proto/lambda.pb.h"

namespace lambda::test {

inline std::span<const uint8_t> bytes_of(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

inline ParcelKey key_of(uint64_t boot, uint64_t seq) {
  return ParcelKey{boot, seq};
}

// A message as these tests send it: the machine does not look inside. "P<boot>/<seq>" and "H<boot>/<nonce>", padded.
struct Sent {
  char kind;
  uint64_t boot;
  uint64_t number;
  friend bool operator==(const Sent&, const Sent&) = default;
};
inline std::string write_sent(const Sent& sent) {
  return sent.kind + std::to_string(sent.boot) + "/" + std::to_string(sent.number) + "/";
}
inline Sent read_sent(std::span<const uint8_t> message) {
  const std::string text(message.begin(), message.end());
  const size_t slash = text.find('/');
  return {text[0], std::stoull(text.substr(1, slash - 1)), std::stoull(text.substr(slash + 1))};
}

class FakeShelf final : public Shelf {
 public:
  struct Parcel {
    uint64_t boot, seq;
    size_t bytes;
    Lane lane;
    bool readable = true;
  };

  // Boots in the order they began; the last one is the present one.
  std::vector<uint64_t> boots;
  std::vector<Parcel> parcels;  // neither settled nor refused, in order
  std::vector<std::pair<ParcelKey, RefusalCode>> refusals;
  std::vector<std::pair<uint64_t, std::vector<uint32_t>>> declares;
  std::vector<ParcelKey> settled_keys;
  size_t new_boots = 0;
  int64_t time_ms = 0;
  uint32_t codecs = 0;
  uint64_t calls = 0;
  bool present_first = true;
  std::function<void(ParcelKey)> on_settled = [](ParcelKey) {};

  void put(uint64_t boot, uint64_t seq, Lane lane = Lane::kFresh, size_t bytes = 100) {
    if (std::find(boots.begin(), boots.end(), boot) == boots.end()) boots.push_back(boot);
    parcels.push_back({boot, seq, bytes, lane});
    std::sort(parcels.begin(), parcels.end(), [&](const Parcel& a, const Parcel& b) {
      return std::pair(order(a.boot), a.seq) < std::pair(order(b.boot), b.seq);
    });
  }
  bool has(uint64_t boot, uint64_t seq) const {
    return std::any_of(parcels.begin(), parcels.end(),
                       [&](const Parcel& one) { return one.boot == boot && one.seq == seq; });
  }

  bool next(Lane lane, ParcelKey after, ParcelKey* key, size_t* bytes) override {
    ++calls;
    for (const Parcel& one : parcels) {
      if (one.lane != lane) continue;
      if (after.seq != 0 && std::pair(order(one.boot), one.seq) <= std::pair(order(after.boot), after.seq)) continue;
      *key = {one.boot, one.seq};
      *bytes = one.bytes;
      return true;
    }
    return false;
  }
  std::span<const uint8_t> read(ParcelKey key) override {
    for (const Parcel& one : parcels) {
      if (key_of(one.boot, one.seq) == key && one.readable) {
        message_ = write_sent({'P', key.boot, key.seq});
        return bytes_of(message_);
      }
    }
    return {};
  }
  bool boot(size_t index, uint64_t* boot) override {
    ++calls;
    std::vector<uint64_t> listed;
    for (const uint64_t one : boots) {
      const bool held =
          std::any_of(parcels.begin(), parcels.end(), [&](const Parcel& parcel) { return parcel.boot == one; });
      if (held || one == boots.back()) listed.push_back(one);
    }
    if (present_first && !listed.empty()) std::rotate(listed.begin(), listed.end() - 1, listed.end());
    if (index >= listed.size()) return false;
    *boot = listed[index];
    return true;
  }
  std::span<const uint8_t> hello(uint64_t boot, uint64_t nonce) override {
    if (std::find(boots.begin(), boots.end(), boot) == boots.end()) return {};
    message_ = write_sent({'H', boot, nonce});
    return bytes_of(message_);
  }
  void settled(ParcelKey key) override {
    on_settled(key);
    settled_keys.push_back(key);
    std::erase_if(parcels, [&](const Parcel& one) { return key_of(one.boot, one.seq) == key; });
  }
  void settled_through(uint64_t boot, uint64_t seq) override {
    for (const Parcel& one : parcels) {
      if (one.boot == boot && one.seq <= seq) {
        on_settled({one.boot, one.seq});
        settled_keys.push_back({one.boot, one.seq});
      }
    }
    std::erase_if(parcels, [&](const Parcel& one) { return one.boot == boot && one.seq <= seq; });
  }
  void refused(ParcelKey key, RefusalCode code) override {
    refusals.emplace_back(key, code);
    std::erase_if(parcels, [&](const Parcel& one) { return key_of(one.boot, one.seq) == key; });
  }
  void declare(uint64_t boot, std::span<const uint32_t> refs) override {
    declares.emplace_back(boot, std::vector<uint32_t>(refs.begin(), refs.end()));
    if (on_declare) on_declare(boot);
  }
  void new_boot() override { ++new_boots; }
  void gateway_time(int64_t utc_ms) override { time_ms = utc_ms; }
  void gateways_take(uint32_t taken) override { codecs = taken; }

  std::function<void(uint64_t)> on_declare;

 private:
  size_t order(uint64_t boot) const {
    return static_cast<size_t>(std::find(boots.begin(), boots.end(), boot) - boots.begin());
  }
  std::string message_;
};

struct AckOf {
  uint64_t boot = 0, contiguous = 0, nonce = 0;
  std::vector<std::pair<uint64_t, uint64_t>> ranges = {};
  v1::Policy policy = v1::LOCAL;
  uint64_t incarnation = 1;
  std::string gateway = "fog-1";
  int64_t gateway_ms = 0;
  uint32_t codecs = 0;

  std::string write() const {
    v1::Down down;
    v1::Ack& ack = *down.mutable_ack();
    ack.set_boot(boot);
    ack.set_contiguous_seq(contiguous);
    for (const auto& [first, last] : ranges) {
      v1::SeqRange& range = *ack.add_ranges();
      range.set_first(first);
      range.set_last(last);
    }
    ack.set_policy(policy);
    ack.set_gateway(gateway);
    ack.set_incarnation(incarnation);
    ack.set_gateway_ms(gateway_ms);
    ack.set_nonce(nonce);
    ack.set_codecs(codecs);
    return down.SerializeAsString();
  }
};

inline v1::Nack nack_of(uint64_t boot, uint64_t seq, uint64_t incarnation = 1) {
  v1::Nack nack;
  nack.set_boot(boot);
  nack.set_seq(seq);
  nack.set_gateway("fog-1");
  nack.set_incarnation(incarnation);
  return nack;
}
inline std::string write(const v1::Nack& nack) {
  v1::Down down;
  *down.mutable_nack() = nack;
  return down.SerializeAsString();
}
inline std::string write_interest(uint64_t incarnation, const std::string& gateway = "fog-1") {
  v1::Interest interest;
  interest.set_version(1);
  interest.set_gateway(gateway);
  interest.set_incarnation(incarnation);
  return interest.SerializeAsString();
}

}  // namespace lambda::test
