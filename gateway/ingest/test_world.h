// A device that says what a test wants, and ingest over a store in memory.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "gateway/ingest/ingest.h"
#include "gateway/store/test_world.h"
#include "lambda/codecs.h"
#include "proto/lambda.pb.h"

namespace lambda::gateway {

inline std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// A device's side: what it signs is what it says, unless a test changes it afterwards.
struct Scripted {
  explicit Scripted(std::string id, char secret = '1')
      : device(std::move(id)), key(SigningKey::from_hex(std::string(64, secret)).value()) {}

  std::string block(uint32_t ref, uint64_t first, const std::vector<uint64_t>& values,
                    int64_t start_ms = 1'700'000'000'000, ValueType type = ValueType::kI64,
                    const BlockCoding* coding = nullptr) {
    std::vector<uint8_t> space(block_bytes_max(values.size()));
    BlockOptions options;
    options.ref = ref;
    options.first_ordinal = first;
    options.type = type;
    options.coding = coding;
    BlockWriter writer(space, options);
    for (size_t i = 0; i < values.size(); ++i) {
      EXPECT_EQ(writer.append({start_ms + 1000 * static_cast<int64_t>(i), values[i]}), AppendResult::kOk);
    }
    auto sealed = writer.seal();
    return {sealed.begin(), sealed.end()};
  }

  v1::Parcel parcel(uint64_t seq, const std::vector<std::string>& blocks, bool declare = true) {
    v1::Parcel parcel;
    parcel.set_version(1);
    parcel.set_site("hall");
    parcel.set_device(device);
    parcel.set_boot(boot);
    parcel.set_seq(seq);
    parcel.set_created_ms(1'700'000'000'000);
    parcel.set_key_spec(1);
    for (const auto& block : blocks) parcel.add_blocks(block);
    if (declare) {
      v1::Declaration* declaration = parcel.add_declarations();
      declaration->set_ref(1);
      declaration->set_name("made_up");
      declaration->set_kind(v1::GAUGE);
      declaration->set_type(v1::I64);
    }
    sign(parcel);
    return parcel;
  }

  // Signs what a reader of the documents would: an own walk over the message.
  void sign(v1::Parcel& parcel) {
    Digest previous{};
    std::copy(parcel.previous().begin(), parcel.previous().end(), previous.begin());
    ParcelHead head{parcel.site(),
                    parcel.device(),
                    parcel.boot(),
                    parcel.seq(),
                    parcel.created_ms(),
                    parcel.floor_seq(),
                    parcel.previous().empty() ? nullptr : previous.data()};
    ParcelDigest digest(host_hash(), head);
    digest.declarations(static_cast<uint32_t>(parcel.declarations_size()));
    for (const auto& d : parcel.declarations()) {
      std::vector<LabelView> labels;
      for (const auto& label : d.labels()) labels.push_back({label.name(), label.value()});
      digest.declaration({d.ref(), d.name(), labels, static_cast<Kind>(d.kind()), static_cast<ValueType>(d.type()),
                          static_cast<uint8_t>(d.scale()), d.unit()});
    }
    digest.blocks(static_cast<uint32_t>(parcel.blocks_size()));
    for (const auto& bytes : parcel.blocks()) {
      std::vector<Point> points(kBlockPointsMax);
      BlockInfo info;
      const std::span<const uint8_t> view(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
      EXPECT_TRUE(decode_block(view, parcel.boot(), &info, points, kAllCodings).ok());
      ContentRoot root(host_hash());
      for (uint32_t i = 0; i < info.count; ++i) root.add(points[i]);
      Digest name;
      root.finish(name.data());
      digest.block(info, name.data());
    }
    digest.gaps(static_cast<uint32_t>(parcel.gaps_size()));
    for (const auto& g : parcel.gaps()) {
      digest.gap({g.ref(), g.first_ordinal(), g.count(), static_cast<GapReason>(g.reason())});
    }
    digest.clocks(static_cast<uint32_t>(parcel.clocks_size()));
    for (const auto& c : parcel.clocks()) digest.clock({c.segment(), c.relative(), c.offset_ms(), c.known()});
    Digest result;
    digest.finish(result.data());
    const Signature signature = key.sign(result);
    parcel.set_signature(std::string(signature.begin(), signature.end()));
  }

  v1::Hello hello(uint64_t nonce) {
    v1::Hello hello;
    hello.set_version(1);
    hello.set_site("hall");
    hello.set_device(device);
    hello.set_boot(boot);
    hello.set_started_ms(1'700'000'000'000);
    hello.set_key_spec(1);
    Digest digest;
    hello_digest(host_hash(), "hall", device, boot, 0, 1'700'000'000'000, digest.data());
    const Signature signature = key.sign(digest);
    hello.set_signature(std::string(signature.begin(), signature.end()));
    hello.set_nonce(nonce);
    hello.set_sent_ms(1'700'000'000'500);
    hello.set_backlog_parcels(7);
    return hello;
  }

  static std::string up(const v1::Parcel& parcel) {
    v1::Up up;
    *up.mutable_parcel() = parcel;
    return up.SerializeAsString();
  }
  static std::string up(const v1::Hello& hello) {
    v1::Up up;
    *up.mutable_hello() = hello;
    return up.SerializeAsString();
  }
  std::string topic() const { return "lambda/v1/hall/" + device + "/up"; }

  std::string device;
  SigningKey key;
  uint64_t boot = 77;
};

struct IngestTest : ::testing::Test {
  void SetUp() override {
    world.open();
    enrol(press);
    restart();
  }

  void enrol(const Scripted& scripted) {
    Enrolled enrolled;
    enrolled.device = scripted.device;
    enrolled.public_key = scripted.key.public_key();
    enrolled.fingerprint = "ab";
    enrolled.serial = "1a";
    add_line(Registry::enroll_line(enrolled, false));
  }
  void add_line(const std::string& line) {
    world.disk.files["/site/registry.jsonl"].bytes += line;
    EXPECT_TRUE(registry.refresh());
  }

  // Ingest as a new process has it, over the same store.
  void restart() {
    IngestPort port;
    port.publish = [this](const std::string& topic, std::string_view message) -> Status {
      if (!publish_error) return publish_error;
      v1::Down down;
      EXPECT_TRUE(down.ParseFromArray(message.data(), static_cast<int>(message.size())));
      down_topics.push_back(topic);
      downs.push_back(down);
      return {};
    };
    port.refresh_registry = [this](bool stranger) {
      ++registry_looks;
      strangers += stranger;
      if (stranger) enrolled_late();
    };
    port.end_session = [this](const std::string& device) { ended.push_back(device); };
    ingest.reset();
    ingest = std::make_unique<Ingest>(world.env, options, *world.store, registry, std::move(port));
  }

  void send(const Scripted& from, const std::string& message, bool run = true) {
    ingest->message(from.topic(), bytes_of(message));
    if (run) world.loop.run();
  }
  // The only answer since the last call.
  v1::Down answer() {
    EXPECT_EQ(downs.size(), 1u);
    v1::Down down = downs.empty() ? v1::Down() : downs.back();
    downs.clear();
    return down;
  }

  TestWorld world;
  Registry registry{world.disk, world.log, "/site"};
  Scripted press{"press-7"};
  IngestOptions options{"hall", "fog-1", {}, {"/quarantine"}};
  std::unique_ptr<Ingest> ingest;
  Status publish_error;
  std::vector<v1::Down> downs;
  std::vector<std::string> down_topics, ended;
  int registry_looks = 0, strangers = 0;
  std::function<void()> enrolled_late = [] {};
};

}  // namespace lambda::gateway
