#include "gateway/ingest/ingest.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

#include "gateway/store/test_world.h"
#include "proto/lambda.pb.h"

namespace lambda::gateway {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// A device's side: what it signs is what it says, unless a test changes it afterwards.
struct Scripted {
  explicit Scripted(std::string id, char secret = '1')
      : device(std::move(id)), key(SigningKey::from_hex(std::string(64, secret)).value()) {}

  std::string block(uint32_t ref, uint64_t first, const std::vector<uint64_t>& values,
                    int64_t start_ms = 1'700'000'000'000) {
    std::vector<uint8_t> space(block_bytes_max(values.size()));
    BlockOptions options;
    options.ref = ref;
    options.first_ordinal = first;
    options.type = ValueType::kI64;
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
      EXPECT_TRUE(decode_block(view, parcel.boot(), &info, points).ok());
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

TEST_F(IngestTest, AParcelIsStoredThenAcked) {
  send(press, Scripted::up(press.parcel(1, {press.block(1, 0, {5, 6, 7})})), false);
  EXPECT_TRUE(downs.empty()) << "nothing may be said before the store has decided";
  world.loop.run();
  v1::Down down = answer();
  ASSERT_TRUE(down.has_ack());
  EXPECT_EQ(down.ack().boot(), press.boot);
  EXPECT_EQ(down.ack().contiguous_seq(), 1u);
  EXPECT_EQ(down.ack().incarnation(), ingest->incarnation());
  EXPECT_EQ(down.ack().nonce(), 0u);
  EXPECT_EQ(down_topics.back(), "lambda/v1/hall/press-7/down");
  EXPECT_EQ(world.store->counters().points_stored, 3u);
}

TEST_F(IngestTest, ParcelsOfOneBatchAreAckedByOneMessage) {
  for (uint64_t seq = 1; seq <= 20; ++seq)
    send(press, Scripted::up(press.parcel(seq, {press.block(1, seq * 2, {1, 2})})), false);
  world.loop.run();
  EXPECT_LE(downs.size(), 2u);
  EXPECT_EQ(downs.back().ack().contiguous_seq(), 20u);
}

TEST_F(IngestTest, TheAnswerToAParcelCoversItHoweverManyHolesThereAre) {
  // Every second parcel: more ranges than an ack has room for.
  std::set<uint64_t> acked;
  const auto take_answers = [&] {
    for (const auto& down : downs) {
      ASSERT_LE(down.ack().ranges_size(), 64);
      for (const auto& range : down.ack().ranges()) {
        for (uint64_t seq = range.first(); seq <= range.last(); ++seq) acked.insert(seq);
      }
    }
    downs.clear();
  };
  for (uint64_t seq = 2; seq <= 300; seq += 2) {
    send(press, Scripted::up(press.parcel(seq, {press.block(1, seq * 2, {1, 2})})));
    take_answers();
    ASSERT_TRUE(acked.count(seq)) << seq;
  }
  // And many of one batch.
  for (uint64_t seq = 302; seq <= 600; seq += 2) {
    send(press, Scripted::up(press.parcel(seq, {press.block(1, seq * 2, {1, 2})})), false);
  }
  world.loop.run();
  take_answers();
  EXPECT_EQ(acked.size(), 300u);
  EXPECT_EQ(*acked.rbegin(), 600u);
}

TEST_F(IngestTest, AParcelThatComesAgainIsAckedAgainAndCountsOnce) {
  const std::string message = Scripted::up(press.parcel(1, {press.block(1, 0, {5, 6, 7})}));
  send(press, message);
  answer();
  restart();
  send(press, message);
  EXPECT_EQ(answer().ack().contiguous_seq(), 1u);
  EXPECT_EQ(world.store->counters().points_stored, 3u);
}

TEST_F(IngestTest, AHelloIsAnsweredAfterEverythingBeforeIt) {
  send(press, Scripted::up(press.parcel(1, {press.block(1, 0, {1})})), false);
  send(press, Scripted::up(press.hello(99)), false);
  world.loop.run();
  bool answered = false;
  for (const auto& down : downs) {
    if (down.ack().nonce() != 99) continue;
    answered = true;
    EXPECT_EQ(down.ack().contiguous_seq(), 1u);
  }
  EXPECT_TRUE(answered);
  const DeviceSeen* seen = ingest->seen("press-7");
  ASSERT_NE(seen, nullptr);
  EXPECT_EQ(seen->backlog_parcels, 7u);
  EXPECT_TRUE(seen->clock_offset_known);
  EXPECT_EQ(seen->clock_offset_ms, world.clock.utc_ms() - 1'700'000'000'500);
}

TEST_F(IngestTest, AnUnknownDeviceIsNotAnsweredAndItsSessionEnds) {
  Scripted stranger("stranger");
  send(stranger, Scripted::up(stranger.parcel(1, {stranger.block(1, 0, {1})})));
  EXPECT_TRUE(downs.empty());
  EXPECT_EQ(ended, std::vector<std::string>{"stranger"});
  EXPECT_EQ(ingest->counters().unknown_device, 1u);
  EXPECT_EQ(world.store->counters().points_stored, 0u);
}

TEST_F(IngestTest, ADeviceEnrolledAMomentAgoIsLookedForBeforeItIsThrownOut) {
  Scripted late("press-8", '2');
  enrolled_late = [&] { enrol(late); };
  send(late, Scripted::up(late.parcel(1, {late.block(1, 0, {1})})));
  EXPECT_TRUE(answer().has_ack());
  EXPECT_TRUE(ended.empty());
  EXPECT_EQ(strangers, 1);
}

TEST_F(IngestTest, ARevokedDeviceIsRefusedFromTheNextMessageOn) {
  send(press, Scripted::up(press.parcel(1, {press.block(1, 0, {1})})));
  answer();
  add_line(Registry::revoke_line("press-7", 1, false));
  send(press, Scripted::up(press.parcel(2, {press.block(1, 1, {2})})));
  send(press, Scripted::up(press.hello(5)));
  EXPECT_TRUE(downs.empty());
  EXPECT_EQ(ingest->counters().revoked_device, 2u);
  EXPECT_EQ(world.store->counters().points_stored, 1u);
  EXPECT_EQ(ended.front(), "press-7");
}

TEST_F(IngestTest, ADeviceRevokedBetweenArrivalAndDecisionGetsNoAck) {
  send(press, Scripted::up(press.parcel(1, {press.block(1, 0, {1})})), false);
  add_line(Registry::revoke_line("press-7", 1, false));
  world.loop.run();
  EXPECT_TRUE(downs.empty());
}

TEST_F(IngestTest, TheRegistryIsLookedAtForEveryMessage) {
  send(press, Scripted::up(press.hello(5)));
  send(press, "garbage");
  EXPECT_EQ(registry_looks, 2);
}

TEST_F(IngestTest, AnotherDevicesNameInAParcelIsRefusedForGood) {
  Scripted other("press-8", '2');
  enrol(other);
  // Signed rightly by press-7's key, in press-8's name, on press-7's topic; and the reverse.
  Scripted liar("press-8", '1');
  send(press, Scripted::up(liar.parcel(1, {liar.block(1, 0, {1})})));
  EXPECT_EQ(answer().nack().permanent().code(), v1::WRONG_SENDER);
  send(other, Scripted::up(press.parcel(1, {press.block(1, 0, {1})})));
  EXPECT_EQ(answer().nack().permanent().code(), v1::WRONG_SENDER);
  v1::Parcel elsewhere = press.parcel(1, {press.block(1, 0, {1})});
  elsewhere.set_site("mill");
  press.sign(elsewhere);
  send(press, Scripted::up(elsewhere));
  EXPECT_EQ(answer().nack().permanent().code(), v1::WRONG_SENDER);
  EXPECT_EQ(world.store->counters().points_stored, 0u);
}

// Whatever field is changed after signing, the parcel is refused.
TEST_F(IngestTest, EveryFieldOfAParcelIsSigned) {
  const v1::Parcel honest = [&] {
    v1::Parcel parcel = press.parcel(3, {press.block(1, 0, {1, 2, 3})});
    parcel.set_floor_seq(2);
    parcel.set_previous(std::string(32, 'p'));
    parcel.mutable_declarations(0)->set_unit("bar");
    v1::Label* label = parcel.mutable_declarations(0)->add_labels();
    label->set_name("line");
    label->set_value("a");
    v1::Gap* gap = parcel.add_gaps();
    gap->set_ref(1);
    gap->set_first_ordinal(100);
    gap->set_count(5);
    gap->set_reason(v1::MEMORY);
    v1::ClockSegment* clock = parcel.add_clocks();
    clock->set_segment(1);
    press.sign(parcel);
    return parcel;
  }();
  using Change = std::function<void(v1::Parcel&)>;
  const std::vector<std::pair<const char*, Change>> changes = {
      {"boot", [](v1::Parcel& p) { p.set_boot(78); }},
      {"seq", [](v1::Parcel& p) { p.set_seq(4); }},
      {"created_ms", [](v1::Parcel& p) { p.set_created_ms(5); }},
      {"floor_seq", [](v1::Parcel& p) { p.set_floor_seq(3); }},
      {"previous", [](v1::Parcel& p) { p.set_previous(std::string(32, 'q')); }},
      {"previous gone", [](v1::Parcel& p) { p.clear_previous(); }},
      {"declaration gone", [](v1::Parcel& p) { p.clear_declarations(); }},
      {"declared ref", [](v1::Parcel& p) { p.mutable_declarations(0)->set_ref(2); }},
      {"declared name", [](v1::Parcel& p) { p.mutable_declarations(0)->set_name("other"); }},
      {"declared unit", [](v1::Parcel& p) { p.mutable_declarations(0)->set_unit("psi"); }},
      {"declared kind", [](v1::Parcel& p) { p.mutable_declarations(0)->set_kind(v1::COUNTER); }},
      {"label", [](v1::Parcel& p) { p.mutable_declarations(0)->mutable_labels(0)->set_value("b"); }},
      {"block's values",
       [&](v1::Parcel& p) {
         p.set_blocks(0, press.block(1, 0, {1, 2, 4}));
       }},
      {"block's ordinal",
       [&](v1::Parcel& p) {
         p.set_blocks(0, press.block(1, 1, {1, 2, 3}));
       }},
      {"block's times",
       [&](v1::Parcel& p) {
         p.set_blocks(0, press.block(1, 0, {1, 2, 3}, 1'700'000'000'001));
       }},
      {"another block", [&](v1::Parcel& p) { p.add_blocks(press.block(1, 3, {1})); }},
      {"block gone", [](v1::Parcel& p) { p.clear_blocks(); }},
      {"gap", [](v1::Parcel& p) { p.mutable_gaps(0)->set_count(6); }},
      {"gap's reason", [](v1::Parcel& p) { p.mutable_gaps(0)->set_reason(v1::REFUSED); }},
      {"gap gone", [](v1::Parcel& p) { p.clear_gaps(); }},
      {"clock", [](v1::Parcel& p) { p.mutable_clocks(0)->set_offset_ms(9); }},
      {"clock gone", [](v1::Parcel& p) { p.clear_clocks(); }},
      {"key_spec", [](v1::Parcel& p) { p.set_key_spec(2); }},
      {"signature's bit", [](v1::Parcel& p) { (*p.mutable_signature())[40] ^= 1; }},
      {"signature's end", [](v1::Parcel& p) { p.mutable_signature()->resize(63); }},
      {"signature gone", [](v1::Parcel& p) { p.clear_signature(); }},
  };
  for (const auto& [what, change] : changes) {
    v1::Parcel altered = honest;
    change(altered);
    send(press, Scripted::up(altered));
    EXPECT_EQ(answer().nack().permanent().code(), v1::SIGNATURE) << what;
  }
  EXPECT_EQ(world.store->counters().points_stored, 0u);
  send(press, Scripted::up(honest));
  EXPECT_TRUE(answer().has_ack()) << "and untouched it is taken";
}

TEST_F(IngestTest, APoisonParcelIsRefusedForGoodWithTheBlockAndByteAndDoesNotStopTheNext) {
  v1::Parcel poison = press.parcel(1, {press.block(1, 0, {1}), press.block(1, 1, {2})});
  std::string* block = poison.mutable_blocks(1);
  (*block)[block->size() - 6] ^= 1;  // a payload byte: the content's signature stays good
  send(press, Scripted::up(poison));
  v1::Down refused = answer();
  EXPECT_EQ(refused.nack().seq(), 1u);
  EXPECT_EQ(refused.nack().permanent().code(), v1::MALFORMED);
  EXPECT_NE(refused.nack().permanent().text().find("blocks[1]: checksum at byte"), std::string::npos)
      << refused.nack().permanent().text();
  send(press, Scripted::up(press.parcel(2, {press.block(1, 0, {1, 2})})));
  EXPECT_TRUE(answer().has_ack());
  EXPECT_EQ(ingest->quarantine().files(), 1u);
}

TEST_F(IngestTest, ANewerVersionOrCodecIsKeptByTheDeviceUntilWeAreNewer) {
  v1::Parcel newer = press.parcel(1, {press.block(1, 0, {1})});
  newer.set_version(2);
  send(press, Scripted::up(newer));
  v1::Down down = answer();
  EXPECT_EQ(down.nack().retry_after().reason(), "version");
  EXPECT_GE(down.nack().retry_after().delay_ms(), 1000u);

  // A whole block of a codec nobody knows yet.
  v1::Parcel codec = press.parcel(1, {press.block(1, 0, {1})});
  std::string* block = codec.mutable_blocks(0);
  (*block)[1] = 9;
  const std::span<const uint8_t> body(reinterpret_cast<const uint8_t*>(block->data()), block->size() - 4);
  const uint32_t crc = crc32c(body);
  for (size_t i = 0; i < 4; ++i) (*block)[block->size() - 4 + i] = static_cast<char>(crc >> (8 * i));
  send(press, Scripted::up(codec));
  EXPECT_EQ(answer().nack().retry_after().reason().substr(0, 7), "version");
}

TEST_F(IngestTest, DeclarationsAreCheckedFieldByField) {
  using Change = std::function<void(v1::Declaration&)>;
  auto label = [](v1::Declaration& d, const std::string& name, const std::string& value) {
    v1::Label* l = d.add_labels();
    l->set_name(name);
    l->set_value(value);
  };
  const std::vector<std::pair<const char*, Change>> changes = {
      {"empty name", [](v1::Declaration& d) { d.set_name(""); }},
      {"name with a space", [](v1::Declaration& d) { d.set_name("a b"); }},
      {"name too long", [](v1::Declaration& d) { d.set_name(std::string(201, 'a')); }},
      {"no kind", [](v1::Declaration& d) { d.clear_kind(); }},
      {"no type", [](v1::Declaration& d) { d.clear_type(); }},
      {"scale of an i64", [](v1::Declaration& d) { d.set_scale(1); }},
      {"instance", [&](v1::Declaration& d) { label(d, "instance", "x"); }},
      {"site", [&](v1::Declaration& d) { label(d, "site", "x"); }},
      {"__name__", [&](v1::Declaration& d) { label(d, "__name__", "x"); }},
      {"label name", [&](v1::Declaration& d) { label(d, "1a", "x"); }},
      {"label value too long", [&](v1::Declaration& d) { label(d, "a", std::string(1025, 'x')); }},
      {"not sorted",
       [&](v1::Declaration& d) {
         label(d, "b", "x");
         label(d, "a", "x");
       }},
      {"twice",
       [&](v1::Declaration& d) {
         label(d, "a", "x");
         label(d, "a", "y");
       }},
      {"33 labels",
       [&](v1::Declaration& d) {
         for (int i = 0; i < 33; ++i) label(d, "l" + std::to_string(100 + i), "x");
       }},
  };
  for (const auto& [what, change] : changes) {
    v1::Parcel parcel = press.parcel(1, {press.block(1, 0, {1})});
    change(*parcel.mutable_declarations(0));
    press.sign(parcel);
    send(press, Scripted::up(parcel));
    EXPECT_EQ(answer().nack().permanent().code(), v1::MALFORMED) << what;
  }
}

TEST_F(IngestTest, UndeclaredRefsAreAskedFor) {
  send(press, Scripted::up(press.parcel(1, {press.block(1, 0, {1})}, false)));
  v1::Down down = answer();
  ASSERT_TRUE(down.nack().has_declare());
  ASSERT_EQ(down.nack().declare().refs_size(), 1);
  EXPECT_EQ(down.nack().declare().refs(0), 1u);
}

TEST_F(IngestTest, OtherContentForStoredOrdinalsIsAConflictWithAnExampleKept) {
  send(press, Scripted::up(press.parcel(1, {press.block(1, 0, {1, 2})})));
  answer();
  send(press, Scripted::up(press.parcel(2, {press.block(1, 0, {1, 3})})));
  EXPECT_EQ(answer().nack().permanent().code(), v1::CONFLICT);
  EXPECT_EQ(ingest->quarantine().files(), 1u);
  EXPECT_EQ(world.store->counters().points_stored, 2u);
}

TEST_F(IngestTest, AParcelOverTheSizeIsRefusedByName) {
  options.limits.message_bytes_max = 4096;
  restart();
  v1::Parcel parcel = press.parcel(9, {press.block(1, 0, {1})});
  parcel.mutable_declarations(0)->set_unit(std::string(5000, 'u'));
  send(press, Scripted::up(parcel));
  v1::Down down = answer();
  EXPECT_EQ(down.nack().permanent().code(), v1::TOO_LARGE);
  EXPECT_EQ(down.nack().seq(), 9u);
}

TEST_F(IngestTest, OverItsRateADeviceIsToldWhenToComeAgainAndThenComes) {
  options.limits.device_messages_per_s = 5;
  restart();
  for (uint64_t seq = 1; seq <= 11; ++seq)
    send(press, Scripted::up(press.parcel(seq, {press.block(1, seq, {1})})), false);
  ASSERT_EQ(downs.size(), 1u) << "ten at once are allowed";
  EXPECT_EQ(downs[0].nack().retry_after().reason(), "rate");
  EXPECT_EQ(downs[0].nack().seq(), 11u);
  world.clock.us += int64_t{downs[0].nack().retry_after().delay_ms()} * 1000;
  downs.clear();
  send(press, Scripted::up(press.parcel(11, {press.block(1, 11, {1})})));
  EXPECT_EQ(downs.back().ack().contiguous_seq(), 11u);
}

TEST_F(IngestTest, RatesComeBeforeSignaturesAndRefusalsHaveARateOfTheirOwn) {
  options.limits.device_messages_per_s = 1;
  options.limits.device_nacks_per_s = 2;
  restart();
  v1::Parcel bad = press.parcel(1, {press.block(1, 0, {1})});
  bad.set_signature(std::string(64, 'x'));
  const std::string message = Scripted::up(bad);
  for (int i = 0; i < 1000; ++i) send(press, message, false);
  EXPECT_EQ(ingest->counters().signature, 2u) << "only what has a token is verified";
  EXPECT_EQ(ingest->counters().rate, 998u);
  EXPECT_EQ(downs.size(), 4u);
  EXPECT_EQ(ingest->counters().nacks_unsent, 996u);
}

TEST_F(IngestTest, WaitingMemoryIsBoundedForADeviceAndInTotal) {
  const std::string first = Scripted::up(press.parcel(1, {press.block(1, 0, std::vector<uint64_t>(500, 3))}));
  options.limits.device_waiting_bytes_max = 5 * first.size();  // two parcels, each with its copy
  options.limits.waiting_bytes_max = 7 * first.size();
  Scripted other("press-8", '2');
  enrol(other);
  restart();
  for (uint64_t seq = 1; seq <= 3; ++seq) {
    send(press, Scripted::up(press.parcel(seq, {press.block(1, seq * 500, std::vector<uint64_t>(500, 3))})), false);
  }
  ASSERT_EQ(downs.size(), 1u);
  EXPECT_EQ(downs[0].nack().retry_after().reason(), "busy");
  EXPECT_EQ(downs[0].nack().seq(), 3u);
  for (uint64_t seq = 1; seq <= 2; ++seq) {
    send(other, Scripted::up(other.parcel(seq, {other.block(1, seq * 500, std::vector<uint64_t>(500, 3))})), false);
  }
  EXPECT_EQ(ingest->counters().waiting, 2u);
  EXPECT_LE(ingest->waiting_bytes(), options.limits.waiting_bytes_max);
  world.loop.run();
  EXPECT_EQ(ingest->waiting_bytes(), 0u);
  EXPECT_EQ(ingest->waiting_messages(), 0u);
}

TEST_F(IngestTest, AcksWaitMergedWhileTheBrokerIsAway) {
  publish_error = fail(ErrorCode::kUnavailable, "away");
  for (uint64_t seq = 1; seq <= 3; ++seq) send(press, Scripted::up(press.parcel(seq, {press.block(1, seq, {1})})));
  EXPECT_TRUE(downs.empty());
  const uint64_t tries = ingest->counters().acks_delayed;
  for (int i = 0; i < 50; ++i) world.loop.step(true);
  EXPECT_EQ(ingest->counters().acks_delayed, tries) << "no timer turns while there is nobody to tell";
  publish_error = {};
  ingest->connected();
  EXPECT_EQ(answer().ack().contiguous_seq(), 3u);
}

TEST_F(IngestTest, AcksAreTriedAgainWhenTheBrokerTakesNoMore) {
  publish_error = fail(ErrorCode::kFull, "full");
  send(press, Scripted::up(press.parcel(1, {press.block(1, 0, {1})})));
  EXPECT_TRUE(downs.empty());
  publish_error = {};
  world.loop.run(true);
  EXPECT_EQ(downs.back().ack().contiguous_seq(), 1u);
}

TEST_F(IngestTest, HellosWithAWrongSignatureAreNotAnswered) {
  v1::Hello hello = press.hello(5);
  hello.set_boot(78);
  send(press, Scripted::up(hello));
  v1::Hello cut = press.hello(5);
  cut.clear_signature();
  send(press, Scripted::up(cut));
  EXPECT_TRUE(downs.empty());
  EXPECT_EQ(ingest->counters().hello_signature, 2u);
}

TEST_F(IngestTest, NothingIsMadeOfForeignTopics) {
  for (const char* topic :
       {"", "lambda", "lambda/v1/hall/press-7", "lambda/v1/mill/press-7/up", "lambda/v1/hallx/press-7/up",
        "lambda/v1/hall/PRESS/up", "lambda/v1/hall//up", "lambda/v1/hall/press-7/up/more",
        "lambda/v1/hall/press-7/down", "lambda/v2/hall/press-7/up"}) {
    ingest->message(topic, bytes_of("x"));
  }
  EXPECT_EQ(ingest->counters().foreign_topic, 10u);
  EXPECT_TRUE(downs.empty());
}

TEST_F(IngestTest, TheStateTopicTellsWhoIsConnected) {
  ingest->message("lambda/v1/hall/press-7/state", bytes_of("online"));
  EXPECT_TRUE(ingest->seen("press-7")->online);
  ingest->message("lambda/v1/hall/press-7/state", bytes_of("offline"));
  EXPECT_FALSE(ingest->seen("press-7")->online);
  ingest->message("lambda/v1/hall/nobody/state", bytes_of("online"));
  EXPECT_EQ(ingest->seen("nobody"), nullptr);
  EXPECT_TRUE(ended.empty());
}

// Every truncation and random changes of honest messages: an answer or a count, never a crash, never a stored point
// that was not signed.
TEST_F(IngestTest, HostileBytesAreRefusedAtEveryLength) {
  const std::string honest = Scripted::up(press.parcel(1, {press.block(1, 0, {1, 2, 3})}));
  for (size_t size = 0; size < honest.size(); ++size) {
    send(press, honest.substr(0, size));
    world.clock.us += 1'000'000;
  }
  EXPECT_EQ(world.store->counters().points_stored, 0u);
  const uint32_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  for (int round = 0; round < 3000; ++round) {
    std::string changed = honest;
    for (uint32_t n = 1 + random() % 4; n > 0; --n)
      changed[random() % changed.size()] ^= static_cast<char>(1 + random() % 255);
    send(press, changed);
    world.clock.us += 1'000'000;
  }
  // A change may fall on a byte nobody reads (an unknown field's), then it is the honest parcel still.
  EXPECT_TRUE(world.store->counters().points_stored == 0u || world.store->counters().points_stored == 3u);
  for (const auto& down : downs) EXPECT_TRUE(down.has_nack() || world.store->counters().points_stored == 3u);
}

struct QuarantineTest : ::testing::Test {
  void keep(const std::string& device, const std::string& content) {
    quarantine->keep(device, "malformed", bytes_of(content));
    world.loop.run();
  }
  void open() { quarantine = std::make_unique<Quarantine>(world.env, options); }
  TestWorld world;
  QuarantineOptions options{"/q", 1000, 6, 500, 4};
  std::unique_ptr<Quarantine> quarantine;
};

TEST_F(QuarantineTest, KeepsTheFirstExampleOfEachContentWordForWord) {
  open();
  keep("a", "poison");
  keep("a", "poison");
  keep("b", "poison");
  EXPECT_EQ(quarantine->counters().kept, 2u);
  EXPECT_EQ(quarantine->counters().repeats, 1u);
  size_t found = 0;
  for (const auto& [path, file] : world.disk.files) found += file.bytes == "poison";
  EXPECT_EQ(found, 2u);
}

TEST_F(QuarantineTest, AFloodStaysWithinEveryBound) {
  open();
  for (int i = 0; i < 1000; ++i) keep("flooder", "garbage " + std::to_string(i));
  EXPECT_EQ(quarantine->files(), 4u) << "device_files_max";
  EXPECT_EQ(quarantine->counters().over_bound, 996u);
  keep("big", std::string(501, 'x'));
  EXPECT_EQ(quarantine->files(), 4u) << "device_bytes_max";
  keep("b", std::string(400, 'b'));
  keep("c", std::string(400, 'c'));
  keep("d", std::string(400, 'd'));
  EXPECT_LE(quarantine->bytes(), 1000u) << "bytes_max";
  for (int i = 0; i < 20; ++i) keep("e" + std::to_string(i), "x");
  EXPECT_EQ(quarantine->files(), 6u) << "files_max";
}

TEST_F(QuarantineTest, TheBoundsHoldAcrossRestarts) {
  open();
  for (int i = 0; i < 4; ++i) keep("flooder", "garbage " + std::to_string(i));
  const uint64_t bytes = quarantine->bytes();
  open();
  EXPECT_EQ(quarantine->files(), 4u);
  EXPECT_EQ(quarantine->bytes(), bytes);
  keep("flooder", "garbage 1");
  EXPECT_EQ(quarantine->counters().repeats, 1u);
  keep("flooder", "garbage 9");
  EXPECT_EQ(quarantine->counters().over_bound, 1u);
}

TEST(TokenBucket, GivesItsRateAndItsBurst) {
  TokenBucket bucket(10, 20, 0);
  int taken = 0;
  for (int64_t us = 0; us < 10'000'000; us += 1000) taken += bucket.take(1, us);
  EXPECT_NEAR(taken, 20 + 100, 1);
}

TEST(TokenBucket, LetsAMessageLargerThanTheBurstThroughAsADebt) {
  TokenBucket bucket(10, 20, 0);
  EXPECT_TRUE(bucket.take(100, 0));
  EXPECT_FALSE(bucket.take(1, 7'900'000));
  EXPECT_TRUE(bucket.take(1, 8'200'000));
}

TEST(TokenBucket, SaysWhenToComeAgain) {
  TokenBucket bucket(10, 20, 0);
  EXPECT_TRUE(bucket.take(20, 0));
  const int64_t wait_ms = bucket.wait_ms(5, 0);
  EXPECT_FALSE(bucket.take(5, (wait_ms - 10) * 1000));
  EXPECT_TRUE(bucket.take(5, wait_ms * 1000));
}

}  // namespace
}  // namespace lambda::gateway
