// What is taken, and how it is answered.
#include <set>
#include <tuple>

#include "gateway/ingest/test_world.h"

namespace lambda::gateway {
namespace {

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

TEST_F(IngestTest, BlocksOfEveryCodecThatDevicesHaveAreStoredAndEveryAckSaysWhichTheseAre) {
  const std::tuple<const BlockCoding*, ValueType, v1::ValueType> all[] = {
      {&kXor32Coding, ValueType::kF32, v1::F32},
      {&kSlope64Coding, ValueType::kI64, v1::I64},
      {&kRuns64Coding, ValueType::kState, v1::STATE64}};
  uint64_t seq = 0;
  for (const auto& [coding, type, declared] : all) {
    ++seq;
    const auto ref = static_cast<uint32_t>(seq);
    const std::string block = press.block(ref, 0, {1, 1, 1, 7}, 1'700'000'000'000, type, coding);
    ASSERT_EQ(static_cast<Codec>(block[1]), coding->codec);
    v1::Parcel parcel = press.parcel(seq, {block});
    parcel.mutable_declarations(0)->set_ref(ref);
    parcel.mutable_declarations(0)->set_name("made_up_" + std::to_string(ref));
    parcel.mutable_declarations(0)->set_type(declared);
    press.sign(parcel);
    send(press, Scripted::up(parcel));
    const v1::Down down = answer();
    ASSERT_TRUE(down.has_ack()) << down.nack().retry_after().reason() << down.nack().permanent().text();
    EXPECT_EQ(down.ack().contiguous_seq(), seq);
    EXPECT_EQ(down.ack().codecs(), kCodecsOfDevices);
    EXPECT_EQ(world.store->counters().points_stored, seq * 4);
  }
  // The same points in the codec of everybody are the same points: counted once.
  send(press, Scripted::up(press.parcel(9, {press.block(2, 0, {1, 1, 1, 7})}, false)));
  EXPECT_TRUE(answer().has_ack());
  EXPECT_EQ(world.store->counters().points_stored, 12u);
  send(press, Scripted::up(press.parcel(10, {press.block(2, 0, {1, 1, 1, 8})}, false)));
  EXPECT_EQ(answer().nack().permanent().code(), v1::CONFLICT);
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

TEST_F(IngestTest, AcksThatWaitAreBoundedInAllAndWhatLengthensARunIsNeverDropped) {
  options.limits.answers_waiting_max = 4;
  Scripted other("press-8", '2');
  enrol(other);
  restart();
  publish_error = fail(ErrorCode::kUnavailable, "away");
  const auto come = [&](Scripted& from, uint64_t seq) {
    send(from, Scripted::up(from.parcel(seq, {from.block(1, seq, {1})})));
    return ingest->counters().acks_dropped;
  };
  EXPECT_EQ(come(press, 2), 0u);
  EXPECT_EQ(come(press, 4), 0u);
  EXPECT_EQ(come(press, 6), 0u);
  EXPECT_EQ(come(other, 2), 0u);
  EXPECT_EQ(come(other, 20), 1u) << "the fifth run, whoever it is of";
  EXPECT_EQ(come(press, 20), 2u);
  EXPECT_EQ(come(press, 7), 2u);
  EXPECT_EQ(come(press, 3), 2u) << "two runs become one";
  EXPECT_EQ(come(other, 40), 2u) << "so that there is room again";
  EXPECT_EQ(come(other, 60), 3u);
  publish_error = {};
  ingest->connected();
  EXPECT_EQ(downs.size(), 2u);
  publish_error = fail(ErrorCode::kUnavailable, "away");
  for (const uint64_t seq : {100u, 102u, 104u, 106u}) EXPECT_EQ(come(press, seq), 3u) << "all room is free again";
  EXPECT_EQ(come(press, 108), 4u);
}

TEST_F(IngestTest, AcksAreTriedAgainWhenTheBrokerTakesNoMore) {
  publish_error = fail(ErrorCode::kFull, "full");
  send(press, Scripted::up(press.parcel(1, {press.block(1, 0, {1})})));
  EXPECT_TRUE(downs.empty());
  publish_error = {};
  world.loop.run(true);
  EXPECT_EQ(downs.back().ack().contiguous_seq(), 1u);
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

}  // namespace
}  // namespace lambda::gateway
