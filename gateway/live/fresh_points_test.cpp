// Two lanes into one stream: each point once, whatever came first, late, twice or never.
#include "gateway/live/fresh_points.h"

#include <gtest/gtest.h>

#include <random>

#include "gateway/live/live_overlay.h"
#include "gateway/live/test_world.h"

namespace lambda::gateway {
namespace {

struct FreshPointsTest : ::testing::Test {
  FreshPointsTest() {
    options.site = "hall";
    world.open();
    make();
  }
  void make() { fresh = std::make_unique<FreshPoints>(world.env, options, *world.store); }
  void restart() {
    fresh.reset();
    world.close();
    world.open();
    make();
    taker = Taker();
  }
  void subscribe(const std::string& name = "m1") { ASSERT_TRUE(fresh->add({named(name)}, taker).has_value()); }
  void live(const TestDevice& from, const std::vector<TestBlock>& blocks, const std::vector<uint32_t>& declare = {1}) {
    LiveMessage message;
    const Decoded decoded = decode_live(bytes_of(live_text(from.boot, blocks, declare)), &message);
    ASSERT_EQ(decoded.verdict, DecodeVerdict::kOk) << decoded.text;
    fresh->live(from.name, message);
  }
  // As ingest does.
  Decision store(StoreRequest request) {
    const std::string from = request.device, message = request.message;
    const uint64_t boot = request.boot;
    std::optional<Decision> answer;
    world.store->put(std::move(request), [&](const Decision& decision) {
      answer = decision;
      if (decision.verdict == Verdict::kStored || decision.verdict == Verdict::kDuplicate) {
        fresh->stored(from, boot, message, decision);
      }
    });
    run();
    return answer.value_or(Decision{});
  }
  void run() {
    for (int i = 0; i < 100'000 && world.loop.step(false); ++i) {
    }
  }
  void pass(int64_t ms) {
    const int64_t until = world.clock.us + ms * 1000;
    bool over = false;
    world.loop.after(ms, [&] { over = true; });
    while (!over && world.loop.step(true)) {
    }
    world.clock.us = std::max(world.clock.us, until);
  }
  std::vector<query::Sample> seen(const std::string& name = "m1", int64_t from = INT64_MIN, int64_t to = INT64_MAX) {
    LiveOverlay overlay(*world.store, *fresh, world.clock, {});
    auto matchers = named(name);
    matchers.push_back({"instance", query::MatchOp::kEqual, device.name});
    auto selection = overlay.select(matchers, from, to, 100);
    EXPECT_TRUE(selection.has_value());
    EXPECT_LE(selection->series.size(), 1u);
    if (selection->series.empty()) return {};
    return *selection->series[0].cursor->read(1'000'000);
  }

  TestWorld world;
  FreshOptions options;
  TestDevice device;
  Taker taker;
  std::unique_ptr<FreshPoints> fresh;
};

TEST_F(FreshPointsTest, WhatCameLiveIsHandedOutAtOnceAndNotAgainWithItsBlock) {
  subscribe();
  live(device, {test_block(1, 0, 5)});
  EXPECT_EQ(taker.copies.size(), 5u);
  EXPECT_EQ(store(device.parcel({test_block(1, 0, 8)}, {1})).verdict, Verdict::kStored);
  EXPECT_EQ(taker.copies.size(), 8u) << "the block fills what live missed";
  EXPECT_EQ(taker.twice(), 0u);
  EXPECT_EQ((taker.lanes[{"press-7", 11, 1, 4}]), Lane::kLive);
  EXPECT_EQ((taker.lanes[{"press-7", 11, 1, 5}]), Lane::kBlock);
  EXPECT_EQ((taker.values[{"press-7", 11, 1, 7}]), 7.0);
  EXPECT_EQ(fresh->counters().points_confirmed, 5u);
  EXPECT_EQ(fresh->points(), 0u) << "what blocks cover leaves";
}

TEST_F(FreshPointsTest, ALiveMessageThatComesTwiceOrBehindItsBlockBringsNothing) {
  subscribe();
  live(device, {test_block(1, 0, 5)});
  live(device, {test_block(1, 0, 5)});
  live(device, {test_block(1, 3, 4)});
  EXPECT_EQ(taker.copies.size(), 7u);
  store(device.parcel({test_block(1, 0, 10)}, {1}));
  live(device, {test_block(1, 5, 5)});
  EXPECT_EQ(taker.copies.size(), 10u);
  EXPECT_EQ(taker.twice(), 0u);
  EXPECT_EQ(fresh->points(), 0u);
  EXPECT_EQ(fresh->counters().points_again, 5u + 2u + 5u);
}

TEST_F(FreshPointsTest, PointsOfALiveMessageAscendAndAHoleIsFilledByTheBlock) {
  subscribe();
  live(device, {test_block(1, 0, 3)});
  live(device, {test_block(1, 6, 2)});
  store(device.parcel({test_block(1, 0, 10)}, {1}));
  EXPECT_EQ(taker.order, (std::vector<uint64_t>{0, 1, 2, 6, 7, 3, 4, 5, 8, 9}));
}

TEST_F(FreshPointsTest, WhoSubscribesGetsBlocksOfSeriesThatNeverCameLive) {
  store(device.parcel({test_block(1, 0, 3)}, {1}));  // declared long before
  subscribe();
  store(device.parcel({test_block(1, 3, 3), test_block(2, 0, 4)}, {2}));
  EXPECT_EQ(taker.copies.size(), 3u) << "from now on, and of the series asked for";
  EXPECT_EQ(taker.lanes.begin()->second, Lane::kBlock);
}

TEST_F(FreshPointsTest, OfAParcelThatIsStoredInPartOnlyTheNewPointsAreHandedOut) {
  store(device.parcel({test_block(1, 0, 6)}, {1}));
  restart();
  subscribe();
  const Decision decision = store(device.parcel({test_block(1, 4, 6)}, {1}));
  EXPECT_EQ(decision.points_new, 4u);
  EXPECT_EQ(taker.copies.size(), 4u);
  EXPECT_EQ((taker.copies.begin()->first), (Identity{"press-7", 11, 1, 6}));
}

TEST_F(FreshPointsTest, AfterARestartTheLiveLaneBringsNothingThatIsStored) {
  store(device.parcel({test_block(1, 0, 6)}, {1}));
  restart();
  subscribe();
  live(device, {test_block(1, 0, 9)}, {});
  EXPECT_EQ(taker.copies.size(), 3u) << "its series is known from the store";
  EXPECT_EQ(fresh->counters().points_again, 6u);
}

TEST_F(FreshPointsTest, AfterARestartWhatOnlyTheLiveLaneHadBroughtComesOnceMoreWithItsBlock) {
  subscribe();
  live(device, {test_block(1, 0, 4)});
  EXPECT_EQ(taker.copies.size(), 4u);
  restart();
  subscribe();
  store(device.parcel({test_block(1, 0, 4)}, {1}));
  EXPECT_EQ(taker.copies.size(), 4u) << "as fresh_points.h says";
}

TEST_F(FreshPointsTest, AConsumerThatLeftGetsNothingAndAnotherInItsPlaceOnlyItsOwn) {
  const uint64_t first = fresh->add({named("m1")}, taker).value();
  live(device, {test_block(1, 0, 1), test_block(2, 0, 1)}, {1, 2});
  fresh->remove(first);
  live(device, {test_block(1, 1, 1), test_block(2, 1, 1)});
  EXPECT_EQ(taker.copies.size(), 1u);
  Taker other;
  ASSERT_TRUE(fresh->add({named("m2")}, other).has_value());
  live(device, {test_block(1, 2, 1), test_block(2, 2, 1)});
  EXPECT_EQ(taker.copies.size(), 1u);
  EXPECT_EQ(other.copies.size(), 1u);
  for (size_t i = 1; i < FreshPoints::kConsumersMax; ++i) ASSERT_TRUE(fresh->add({named("m3")}, other).has_value());
  EXPECT_EQ(fresh->add({named("m3")}, other).error().code, ErrorCode::kFull);
}

TEST_F(FreshPointsTest, ABlockThatSaysSomethingElseHoldsAndIsCounted) {
  live(device, {test_block(1, 0, 3, 1'700'000'000'000, 5)});
  store(device.parcel({test_block(1, 0, 3)}, {1}));
  EXPECT_EQ(fresh->counters().points_differ, 3u);
  const auto samples = seen();
  ASSERT_EQ(samples.size(), 3u);
  EXPECT_EQ(samples[2].value, 2.0);
}

TEST_F(FreshPointsTest, WhatIsNotDeclaredAnywhereOrOfAnotherTypeIsCountedAndDropped) {
  live(device, {test_block(1, 0, 3)}, {});
  EXPECT_EQ(fresh->counters().points_undeclared, 3u);
  TestBlock wrong = test_block(1, 0, 2);
  wrong.type = ValueType::kI64;
  live(device, {wrong}, {1});
  EXPECT_EQ(fresh->counters().points_mistyped, 2u);
  EXPECT_EQ(fresh->points(), 0u);
}

TEST_F(FreshPointsTest, QuestionsSeeLivePointsBehindTheStoredOnesAndEachOnce) {
  store(device.parcel({test_block(1, 0, 5)}, {1}));
  live(device, {test_block(1, 3, 6)});
  const auto samples = seen();
  ASSERT_EQ(samples.size(), 9u);
  for (size_t i = 0; i < samples.size(); ++i) {
    EXPECT_EQ(samples[i].time_ms, 1'700'000'000'000 + static_cast<int64_t>(i) * 100);
    EXPECT_EQ(samples[i].value, static_cast<double>(i));
  }
  EXPECT_EQ(seen("m1", 1'700'000'000'600, 1'700'000'000'700).size(), 2u);
  live(device, {test_block(7, 0, 2)}, {7});
  EXPECT_EQ(seen("m7").size(), 2u) << "a series that is not stored yet";
}

TEST_F(FreshPointsTest, AtOneTimeTheLivePointWins) {
  store(device.parcel({test_block(1, 0, 3)}, {1}));
  TestDevice later = device;
  later.boot = 12;
  live(later, {test_block(1, 0, 3, 1'700'000'000'100, 512)});  // its ordinal 0 is at the time of the other's ordinal 1
  const auto samples = seen();
  ASSERT_EQ(samples.size(), 4u);
  EXPECT_EQ(samples[0].value, 0.0);
  EXPECT_EQ(samples[1].value, 0.5);
  EXPECT_EQ(samples[2].value, 1.5);
  EXPECT_EQ(samples[3].value, 2.5);
}

// The later boot holds, though its points are stored and the other's are live: what counts is who came after whom.
TEST_F(FreshPointsTest, ALivePointOfAnEarlierBootDoesNotHideAStoredOneOfALater) {
  TestDevice later = device;
  later.boot = 12;
  world.store->put_hello(device.hello(0, 1), [](const Status&) {});
  world.store->put_hello(later.hello(11, 2), [](const Status&) {});
  world.loop.run();
  store(later.parcel({test_block(1, 0, 3, 1'700'000'000'000, 512)}, {1}));
  live(device, {test_block(1, 0, 5)}, {1});
  const auto samples = seen();
  ASSERT_EQ(samples.size(), 5u);
  EXPECT_EQ(samples[0].value, 0.5);
  EXPECT_EQ(samples[2].value, 2.5);
  EXPECT_EQ(samples[3].value, 3.0);
}

TEST_F(FreshPointsTest, WhatTheLiveSideCannotAnswerIsAWarningAndListsHaveBothSides) {
  store(device.parcel({test_block(1, 0, 5)}, {1}));
  live(device, {test_block(1, 5, 2), test_block(7, 0, 2)}, {7});
  LiveOverlay overlay(*world.store, *fresh, world.clock, {});
  auto narrow = overlay.select({}, INT64_MIN, INT64_MAX, 1);
  ASSERT_TRUE(narrow.has_value());
  ASSERT_EQ(narrow->series.size(), 1u);
  EXPECT_EQ(narrow->series[0].cursor->read(100)->size(), 5u);
  ASSERT_EQ(narrow->warnings.size(), 1u);
  EXPECT_NE(narrow->warnings[0].find("left out"), std::string::npos);
  const auto listed = overlay.list({}, INT64_MIN, INT64_MAX, 10);
  ASSERT_TRUE(listed.has_value());
  EXPECT_EQ(listed->series.size(), 2u);
  EXPECT_TRUE(listed->warnings.empty());
}

TEST_F(FreshPointsTest, OnlyQuestionsAboutThePresentAreWanted) {
  std::vector<std::string> wanted;
  LiveOverlay overlay(*world.store, *fresh, world.clock,
                      [&](const auto& matchers) { wanted.push_back(query::to_string(matchers)); });
  const int64_t now = world.clock.utc_ms();
  ASSERT_TRUE(overlay.select(named("m1"), now - 1'000, now, 10).has_value());
  EXPECT_TRUE(wanted.empty()) << "a list of series is no question";
  overlay.begin_question();
  ASSERT_TRUE(overlay.select(named("m1"), now - 1'000, now, 10).has_value());
  ASSERT_TRUE(overlay.select(named("m2"), now - 7'200'000, now - 3'600'000, 10).has_value());
  overlay.end_question();
  ASSERT_TRUE(overlay.select(named("m3"), now - 1'000, now, 10).has_value());
  EXPECT_EQ(wanted, std::vector<std::string>{"m1"});
}

TEST_F(FreshPointsTest, TimesThatCountFromTheBootAreCorrectedOrCalledSo) {
  struct Times final : FreshConsumer {
    void take(const FreshRun& run) override {
      first_ms = run.points[0].time_ms;
      offset_ms = run.offset_ms;
      timeless = run.timeless;
    }
    int64_t first_ms = 0, offset_ms = 0;
    bool timeless = false;
  } times;
  ASSERT_TRUE(fresh->add({named("m1")}, times).has_value());
  store(device.parcel({test_block(1, 0, 2, 5'000)}, {1}, {}, {{0, true, 0, false}}));
  EXPECT_TRUE(times.timeless);
  EXPECT_EQ(times.first_ms, 5'000);
  store(device.parcel({test_block(1, 2, 2, 5'000)}, {}, {}, {{0, true, 1'700'000'000'000, true}}));
  EXPECT_FALSE(times.timeless);
  EXPECT_EQ(times.offset_ms, 1'700'000'000'000);
  EXPECT_EQ(times.first_ms, 1'700'000'005'200);
  restart();
  ASSERT_TRUE(fresh->add({named("m1")}, times).has_value());
  store(device.parcel({test_block(1, 4, 2, 5'000)}));
  EXPECT_EQ(times.first_ms, 1'700'000'005'400) << "known across a start";
}

TEST_F(FreshPointsTest, ADeviceWhoseClockIsAheadHarmsNobodyElse) {
  options.points_max = 1'000;
  options.keep_ms = 60'000;
  make();
  subscribe();
  TestDevice ahead{.name = "ahead", .boot = 5};
  for (uint64_t i = 0; i < 50; ++i) {
    live(ahead, {test_block(1, i * 100, 100, 2'700'000'000'000)});
    live(device, {test_block(1, i, 1)});
  }
  EXPECT_LE(fresh->points(), 1'000u);
  EXPECT_GT(fresh->counters().points_ahead, 0u);
  EXPECT_GT(fresh->counters().points_evicted, 0u);
  EXPECT_TRUE(fresh->incomplete());
  auto matchers = named("m1");
  matchers.push_back({"instance", query::MatchOp::kEqual, "press-7"});
  const auto kept = fresh->read(*query::MatcherSet::compile(matchers), INT64_MIN, INT64_MAX, 10);
  ASSERT_EQ(kept->size(), 1u);
  EXPECT_EQ((*kept)[0].points.size(), 50u) << "the device that has most gives up its own";
  // It goes by when they came, not by what they say.
  pass(80'000);
  EXPECT_EQ(fresh->points(), 0u);
  EXPECT_GT(fresh->counters().points_expired, 0u);
  EXPECT_EQ(taker.twice(), 0u);
  EXPECT_EQ(taker.copies.size(), 5'050u);
}

TEST_F(FreshPointsTest, AFloodOfStreamsTakesOnlyTheFloodersPlaces) {
  options.streams_max = 100;
  make();
  subscribe();
  live(device, {test_block(1, 0, 3)});
  TestDevice flooder{.name = "flooder"};
  for (uint64_t i = 0; i < 1'000; ++i) {
    flooder.boot = 100 + i;
    live(flooder, {test_block(1, 0, 1)});
  }
  EXPECT_EQ(fresh->streams(), 100u);
  EXPECT_EQ(fresh->counters().streams_forgotten, 901u);
  store(device.parcel({test_block(1, 0, 3)}, {1}));
  EXPECT_EQ(taker.twice(), 0u) << "what the honest device sent was not forgotten";
}

TEST_F(FreshPointsTest, OrdinalsWithHolesAreBoundedInAStream) {
  options.runs_max = 16;
  make();
  for (uint64_t i = 0; i < 100; ++i) live(device, {test_block(1, i * 2, 1)});
  EXPECT_EQ(fresh->counters().runs_forgotten, 2 * 84u);
}

TEST_F(FreshPointsTest, StreamsOfWhichTheStoreKnowsAllAreLetGoWhenTheyAreIdle) {
  live(device, {test_block(1, 0, 3)});
  TestDevice lost{.name = "lost", .boot = 3};
  live(lost, {test_block(1, 0, 3)});
  store(device.parcel({test_block(1, 0, 3)}, {1}));
  pass(options.keep_ms + 30'000);
  EXPECT_EQ(fresh->streams(), 1u) << "what is not stored is remembered";
  subscribe();
  store(lost.parcel({test_block(1, 0, 4)}, {1}));
  ASSERT_EQ(taker.copies.size(), 1u) << "its points were handed out as they came, long ago";
  EXPECT_EQ(std::get<3>(taker.copies.begin()->first), 3u);
}

// Against the plain reading: a set of what was handed out.
TEST_F(FreshPointsTest, AnyOrderOfBothLanesHandsOutEachPointOnceAndAllThatIsStored) {
  const auto seed = static_cast<uint32_t>(std::random_device()());
  RecordProperty("seed", static_cast<int>(seed));
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  for (int round = 0; round < 40; ++round) {
    restart();
    subscribe();
    device.name = "press-" + std::to_string(round);
    device.seq = 0;
    uint64_t stored = 0;
    const uint64_t all = 20 + random() % 60;
    while (stored < all) {
      if (random() % 3 != 0) {
        const uint64_t first = random() % all;
        live(device, {test_block(1, first, static_cast<uint32_t>(1 + random() % std::min<uint64_t>(8, all - first)))});
        continue;
      }
      const uint64_t again = stored == 0 ? 0 : random() % std::min<uint64_t>(stored, 3);
      const auto count = static_cast<uint32_t>(1 + random() % std::min<uint64_t>(10, all - stored) + again);
      ASSERT_EQ(store(device.parcel({test_block(1, stored - again, count)}, {1})).verdict, Verdict::kStored);
      stored = stored - again + count;
    }
    EXPECT_EQ(taker.twice(), 0u);
    EXPECT_EQ(taker.copies.size(), all);
    EXPECT_EQ(fresh->points(), 0u);
    for (const auto& [identity, value] : taker.values) EXPECT_EQ(value, static_cast<double>(std::get<3>(identity)));
    EXPECT_EQ(seen().size(), all);
  }
}

}  // namespace
}  // namespace lambda::gateway
