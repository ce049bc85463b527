// A device beside a gateway of the tests: the gateway reads with the protobuf classes, checks every signature and root,
// and keeps every point by its identity.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "lambda/codecs.h"
#include "lambda/lambda.h"
#include "lambda/parcel.h"
#include "port/posix/posix_port.h"
#include "proto/lambda.pb.h"
#include "uplink_world.h"

namespace lambda::test {

struct Identity {
  uint64_t boot;
  uint32_t ref;
  uint64_t ordinal;
  auto operator<=>(const Identity&) const = default;
};

class DeviceGateway {
 public:
  explicit DeviceGateway(std::function<void(const std::string&)> down) : down_(std::move(down)) {}

  enum class Mood { kStores, kSilent, kRetry, kRefuses, kWantsDeclarations };
  Mood mood = Mood::kStores;
  uint64_t incarnation = 1;
  int64_t clock_ms = 0;
  uint32_t codecs = 0;  // as an ack says it; what is not among them it answers as a newer version
  std::map<Codec, size_t> blocks_in;
  size_t blocks_unknown = 0;
  std::map<Identity, Point> points;
  std::set<Identity> gaps;               // every ordinal that was named
  std::map<Identity, uint64_t> thinned;  // how many from there on, of those
  std::map<std::pair<uint64_t, uint32_t>, v1::Declaration> declared;
  std::map<std::pair<uint64_t, uint32_t>, v1::ClockSegment> clocks;
  std::map<uint64_t, std::set<uint64_t>> seqs;
  std::map<std::pair<uint64_t, uint64_t>, std::string> bytes_of_parcel;
  std::vector<v1::Hello> hellos;
  // Whether this ordinal is one of those that stand for twice as many.
  bool is_of_thinned(const Identity& one) const {
    const auto after = thinned.upper_bound(one);
    if (after == thinned.begin()) return false;
    const auto& [gap, count] = *std::prev(after);
    const bool same = gap.boot == one.boot && gap.ref == one.ref;
    return same && one.ordinal >= gap.ordinal + count && one.ordinal < gap.ordinal + 2 * count;
  }
  size_t parcels = 0, undeclared_blocks = 0;
  size_t parcel_bytes_most = 0;

  void up(const std::string& message) {
    v1::Up up;
    ASSERT_TRUE(up.ParseFromString(message));
    if (up.has_hello()) {
      take_hello(up.hello());
    } else {
      parcel_bytes_most = std::max(parcel_bytes_most, message.size());
      take_parcel(up.parcel(), message);
    }
  }

 private:
  static void public_key(uint8_t key[kPublicKeyBytes]) {
    uint8_t secret[kSecretBytes] = {};
    secret[31] = 7;
    ASSERT_TRUE(posix_public_key(secret, key));
  }

  void take_hello(const v1::Hello& hello) {
    uint8_t digest[kDigestBytes], key[kPublicKeyBytes];
    public_key(key);
    hello_digest(posix_hash(), hello.site(), hello.device(), hello.boot(), hello.previous_boot(), hello.started_ms(),
                 digest);
    ASSERT_EQ(hello.signature().size(), 64u);
    EXPECT_TRUE(posix_verify(key, digest, bytes_of(hello.signature()).data()));
    hellos.push_back(hello);
    raise_floor(hello.boot(), hello.floor_seq());
    if (mood != Mood::kSilent) answer(hello.boot(), hello.nonce());
  }

  void take_parcel(const v1::Parcel& parcel, const std::string& message) {
    ++parcels;
    const auto [known, fresh] = bytes_of_parcel.try_emplace({parcel.boot(), parcel.seq()}, message);
    EXPECT_EQ(known->second, message) << "sent again, byte for byte";
    std::vector<std::pair<BlockInfo, std::vector<Point>>> blocks;
    const bool takes = check_signature(parcel, &blocks);
    v1::Nack nack = nack_of(parcel.boot(), parcel.seq(), incarnation);
    if (mood == Mood::kSilent) return;
    if (mood == Mood::kRetry || !takes) {
      nack.mutable_retry_after()->set_delay_ms(1000);
      down_(write(nack));
      return;
    }
    if (mood == Mood::kRefuses) {
      nack.mutable_permanent()->set_code(v1::CONFLICT);
      down_(write(nack));
      return;
    }
    for (const auto& declaration : parcel.declarations()) declared[{parcel.boot(), declaration.ref()}] = declaration;
    for (const auto& [info, decoded] : blocks) {
      if (declared.count({parcel.boot(), info.ref}) == 0) nack.mutable_declare()->add_refs(info.ref);
    }
    if (nack.has_declare()) {
      ++undeclared_blocks;
      down_(write(nack));
      return;
    }
    store(parcel, blocks);
    answer(parcel.boot(), 0);
  }

  // False: a block is of a codec that this gateway does not take.
  bool check_signature(const v1::Parcel& parcel, std::vector<std::pair<BlockInfo, std::vector<Point>>>* blocks) {
    bool takes = true;
    ParcelDigest digest(posix_hash(),
                        {parcel.site(), parcel.device(), parcel.boot(), parcel.seq(), parcel.created_ms(),
                         parcel.floor_seq(), parcel.previous().empty() ? nullptr : bytes_of(parcel.previous()).data()});
    digest.declarations(static_cast<uint32_t>(parcel.declarations_size()));
    for (const auto& one : parcel.declarations()) {
      std::vector<LabelView> labels;
      for (const auto& label : one.labels()) labels.push_back({label.name(), label.value()});
      digest.declaration({one.ref(), one.name(), labels, static_cast<Kind>(one.kind()),
                          static_cast<ValueType>(one.type()), static_cast<uint8_t>(one.scale()), one.unit()});
    }
    digest.blocks(static_cast<uint32_t>(parcel.blocks_size()));
    for (const auto& one : parcel.blocks()) {
      BlockInfo info;
      std::vector<Point> decoded(kBlockPointsMax);
      EXPECT_TRUE(decode_block(bytes_of(one), parcel.boot(), &info, decoded, kAllCodings).ok());
      const bool known = ((codecs | kCodecsOfEverybody) & codec_bit(info.codec)) != 0;
      takes = takes && known;
      blocks_unknown += known ? 0 : 1;
      ++blocks_in[info.codec];
      decoded.resize(info.count);
      ContentRoot content(posix_hash());
      for (const Point& point : decoded) content.add(point);
      uint8_t root[kDigestBytes];
      content.finish(root);
      digest.block(info, root);
      blocks->emplace_back(info, decoded);
    }
    digest.gaps(static_cast<uint32_t>(parcel.gaps_size()));
    for (const auto& gap : parcel.gaps()) {
      digest.gap({gap.ref(), gap.first_ordinal(), gap.count(), static_cast<GapReason>(gap.reason())});
      const bool known = gap.reason() != v1::THINNED || (codecs & kTakesThinned) != 0;
      takes = takes && known;
      blocks_unknown += known ? 0 : 1;
    }
    digest.clocks(static_cast<uint32_t>(parcel.clocks_size()));
    for (const auto& one : parcel.clocks()) {
      digest.clock({one.segment(), one.relative(), one.offset_ms(), one.known()});
    }
    uint8_t out[kDigestBytes], key[kPublicKeyBytes];
    digest.finish(out);
    public_key(key);
    EXPECT_EQ(parcel.signature().size(), 64u);
    EXPECT_TRUE(posix_verify(key, out, bytes_of(parcel.signature()).data()));
    return takes;
  }

  void store(const v1::Parcel& parcel, const std::vector<std::pair<BlockInfo, std::vector<Point>>>& blocks) {
    for (const auto& [info, decoded] : blocks) {
      for (uint32_t i = 0; i < info.count; ++i) {
        const auto [at, fresh] = points.try_emplace({parcel.boot(), info.ref, info.first_ordinal + i}, decoded[i]);
        EXPECT_EQ(at->second, decoded[i]) << "the same identity with other content";
      }
    }
    for (const auto& gap : parcel.gaps()) {
      const Identity first{parcel.boot(), gap.ref(), gap.first_ordinal()};
      for (uint64_t i = 0; i < gap.count(); ++i) gaps.insert({first.boot, first.ref, first.ordinal + i});
      if (gap.reason() == v1::THINNED) thinned.emplace(first, gap.count());
    }
    for (const auto& clock : parcel.clocks()) clocks[{parcel.boot(), clock.segment()}] = clock;
    seqs[parcel.boot()].insert(parcel.seq());
    raise_floor(parcel.boot(), parcel.floor_seq());
  }

  void answer(uint64_t boot, uint64_t nonce) {
    AckOf ack{.boot = boot, .nonce = nonce, .incarnation = incarnation, .gateway_ms = clock_ms, .codecs = codecs};
    // What the device gave up does not come: without this the holes would outgrow the ranges of an ack.
    ack.contiguous = floors_[boot] > 0 ? floors_[boot] - 1 : 0;
    for (const uint64_t seq : seqs[boot]) {
      if (seq <= ack.contiguous) continue;
      if (seq == ack.contiguous + 1) {
        ack.contiguous = seq;
      } else {
        ack.ranges.emplace_back(seq, seq);
      }
    }
    EXPECT_LE(ack.ranges.size(), kAckRangesMax);
    down_(ack.write());
  }
  void raise_floor(uint64_t boot, uint64_t floor) { floors_[boot] = std::max(floors_[boot], floor); }

  std::map<uint64_t, uint64_t> floors_;

  std::function<void(const std::string&)> down_;
};

// A device with a wire to the gateway. What was said goes over it when carry() is called.
struct DeviceWorld {
  explicit DeviceWorld(
      size_t extra_bytes = 16'384, std::function<void(lam_config*)> change = [](lam_config*) {}) {
    config.site = "plant-1";
    config.device = "press-7";
    config.software = "test 1";
    config.series_max = 4;
    change(&config);
    const size_t size = lam_memory_min(&config) + extra_bytes;
    memory.resize((size + 7) / 8);
    port.context = this;
    port.mono_ms = [](void* context) { return of(context).mono; };
    port.utc_ms = [](void* context, int64_t* utc) {
      *utc = of(context).mono + of(context).utc_offset;
      return of(context).has_utc;
    };
    port.random = [](void* context) { return uint64_t{of(context).random()}; };
    port.sha256_start = posix_hash().start;
    port.sha256_update = posix_hash().update;
    port.sha256_finish = posix_hash().finish;
    port.sign = [](void* context, const uint8_t* digest, uint8_t* signature) {
      uint8_t secret[kSecretBytes] = {};
      secret[31] = 7;
      return of(context).signs && posix_sign(secret, digest, signature);
    };
    port.publish = [](void* context, lam_topic topic, const uint8_t* bytes, size_t bytes_size) {
      EXPECT_EQ(topic, LAM_UP);
      if (!of(context).linked) return false;
      if (bytes_size > 0 && bytes[0] == 0x1A) {  // Up.answer
        if (!of(context).takes_answers) return false;
        of(context).answers.emplace_back(reinterpret_cast<const char*>(bytes), bytes_size);
        return true;
      }
      of(context).outgoing.emplace_back(reinterpret_cast<const char*>(bytes), bytes_size);
      return true;
    };
    start(size);
  }
  void start(size_t size) { ASSERT_EQ(lam_init(memory.data(), size, &config, &port, &device), LAM_OK); }
  static DeviceWorld& of(void* context) { return *static_cast<DeviceWorld*>(context); }

  void connect() {
    linked = true;
    lam_connected(device);
    poll();
  }
  void disconnect() {
    linked = false;
    outgoing.clear();
    incoming.clear();
    lam_disconnected(device);
  }
  uint32_t poll() {
    const uint32_t wait = lam_poll(device);
    EXPECT_GE(wait, 1u);
    carry();
    return wait;
  }
  // Both directions until nothing more is said.
  void carry() {
    while (linked && (!outgoing.empty() || !incoming.empty())) {
      if (!outgoing.empty()) {
        const std::string message = outgoing.front();
        outgoing.pop_front();
        if (!lose()) gateway.up(message);
      } else {
        const std::string message = incoming.front();
        incoming.pop_front();
        if (!lose()) lam_incoming(device, LAM_DOWN, bytes_of(message).data(), message.size());
        lam_poll(device);
      }
    }
  }
  bool lose() { return lost > 0 && random() % 100 < lost; }
  void pass(int64_t ms) {
    const int64_t end = mono + ms;
    while (mono < end) {
      const int64_t wait = poll();
      mono = std::min(end, mono + wait);
    }
    poll();
  }
  void append(lam_series series, int64_t value) {
    if (lam_append_i64(device, series, value) == LAM_OK) {
      made[{lam_boot(device), series, next[{lam_boot(device), series}]++}] = value;
    }
  }
  lam_counters counters() const {
    lam_counters counted;
    lam_get_counters(device, &counted);
    return counted;
  }
  void expect_balance() const {
    const lam_counters c = counters();
    EXPECT_EQ(c.points_made, made.size());
    EXPECT_EQ(c.points_made, c.points_settled + c.points_refused + c.points_dropped + c.points_waiting);
  }
  // Every point made is at the gateway with its value, or named as a gap; nothing else is there.
  void expect_all_accounted() const {
    size_t stored = 0;
    for (const auto& [identity, value] : made) {
      const auto found = gateway.points.find(identity);
      if (found != gateway.points.end()) {
        ++stored;
        EXPECT_EQ(static_cast<int64_t>(found->second.bits), value);
      } else {
        EXPECT_EQ(gateway.gaps.count(identity), 1u)
            << "silently lost: ref " << identity.ref << " ordinal " << identity.ordinal;
      }
    }
    EXPECT_EQ(stored, gateway.points.size());
    for (const Identity& gap : gateway.gaps) EXPECT_EQ(made.count(gap), 1u) << "a gap of what never was";
  }

  lam_config config{};
  lam_port port{};
  std::vector<uint64_t> memory;
  lam_device* device = nullptr;
  int64_t mono = 5'000, utc_offset = 1'700'000'000'000;
  bool has_utc = true, linked = false, signs = true;
  unsigned lost = 0;  // per cent, in both directions
  std::mt19937_64 random{11};
  std::deque<std::string> outgoing, incoming, answers;
  bool takes_answers = true;
  std::map<Identity, int64_t> made;
  std::map<std::pair<uint64_t, uint32_t>, uint64_t> next;
  DeviceGateway gateway{[this](const std::string& message) { incoming.push_back(message); }};
};

}  // namespace lambda::test
