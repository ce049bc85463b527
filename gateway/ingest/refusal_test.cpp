// What is refused, by what name, and what that costs.
#include <random>

#include "gateway/ingest/test_world.h"

namespace lambda::gateway {
namespace {

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

}  // namespace
}  // namespace lambda::gateway
