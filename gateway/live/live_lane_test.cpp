// Live messages of honest, strange and hostile devices.
#include "gateway/live/live_lane.h"

#include <gtest/gtest.h>

#include "gateway/live/test_world.h"

namespace lambda::gateway {
namespace {

struct LiveLaneTest : ::testing::Test {
  LiveLaneTest() {
    world.open();
    options.fresh.site = "hall";
    enroll("press-7");
    make();
  }
  void enroll(const std::string& name) {
    Enrolled enrolled;
    enrolled.device = name;
    enrolled.fingerprint = std::string(64, '0');
    enrolled.serial = "01";
    append(Registry::enroll_line(enrolled, false));
  }
  void append(const std::string& line) {
    lines += line;
    ASSERT_TRUE(world.disk.replace("/site/registry.jsonl", bytes_of(lines)).has_value());
    ASSERT_TRUE(registry.refresh().has_value());
  }
  void make() {
    LivePort port;
    port.publish = [this](std::string_view message) {
      v1::Interest interest;
      EXPECT_TRUE(interest.ParseFromArray(message.data(), static_cast<int>(message.size())));
      interests.push_back(interest);
      return Status();
    };
    port.end_session = [this](const std::string& device) { ended.push_back(device); };
    lane = std::make_unique<LiveLane>(world.env, options, Answerer{"fog-1", 77}, *world.store, registry, port);
    lane->connected();
  }
  void say(const std::string& device, const std::string& text) { lane->message(device, bytes_of(text)); }
  void pass(int64_t ms) {
    bool over = false;
    world.loop.after(ms, [&] { over = true; });
    while (!over && world.loop.step(true)) {
    }
  }

  TestWorld world;
  LiveOptions options;
  std::string lines;
  Registry registry{world.disk, world.log, "/site"};
  std::vector<v1::Interest> interests;
  std::vector<std::string> ended;
  std::unique_ptr<LiveLane> lane;
};

TEST_F(LiveLaneTest, AQuestionAsksAgentsAndTheirAnswerShowsInTheNextOne) {
  lane->overlay().begin_question();
  const int64_t now = world.clock.utc_ms();
  ASSERT_TRUE(lane->overlay().select(named("m1"), now - 60'000, now, 10).has_value());
  lane->overlay().end_question();
  pass(500);
  ASSERT_EQ(interests.size(), 2u);
  EXPECT_EQ(interests[1].selectors(0), "m1");
  EXPECT_EQ(interests[1].gateway(), "fog-1");
  EXPECT_EQ(interests[1].incarnation(), 77u);
  say("press-7", live_text(11, {test_block(1, 0, 3)}, {1}));
  auto second = lane->overlay().select(named("m1"), INT64_MIN, INT64_MAX, 10);
  ASSERT_EQ(second->series.size(), 1u);
  EXPECT_EQ(second->series[0].labels, (query::Labels{{"__name__", "m1"}, {"instance", "press-7"}, {"site", "hall"}}));
  EXPECT_EQ(second->series[0].cursor->read(10)->size(), 3u);
}

TEST_F(LiveLaneTest, ASubscriptionHoldsItsSelectorsAndGetsWhatComes) {
  Taker taker;
  const auto subscribed = lane->subscribe({named("m1"), named("m2")}, taker);
  ASSERT_TRUE(subscribed.has_value());
  pass(300'000);
  EXPECT_EQ(interests.back().selectors_size(), 2);
  say("press-7", live_text(11, {test_block(1, 0, 3), test_block(2, 0, 1), test_block(3, 0, 1)}, {1, 2, 3}));
  EXPECT_EQ(taker.copies.size(), 4u);
  EXPECT_EQ(taker.runs, 2u);
  lane->unsubscribe(*subscribed);
  pass(1'000);
  EXPECT_EQ(interests.back().selectors_size(), 0);
}

TEST_F(LiveLaneTest, ASubscriptionWithoutAPlaceForItsSelectorsIsNone) {
  options.interest.selectors_max = 1;
  make();
  Taker taker;
  EXPECT_EQ(lane->subscribe({named("m1"), named("m2")}, taker).error().code, ErrorCode::kFull);
  EXPECT_EQ(lane->interest().selectors(), 1u) << "until it expires";
  pass(1'000);
  EXPECT_EQ(lane->interest().selectors(), 0u);
  say("press-7", live_text(11, {test_block(1, 0, 3)}, {1}));
  EXPECT_TRUE(taker.copies.empty());
}

TEST_F(LiveLaneTest, StrangersAndRevokedDevicesAreNotHeardAndTheirSessionsEnd) {
  enroll("press-8");
  append(Registry::revoke_line("press-8", 1, false));
  const std::string text = live_text(11, {test_block(1, 0, 3)}, {1});
  say("press-8", text);
  say("nobody", text);
  EXPECT_EQ(ended, (std::vector<std::string>{"press-8", "nobody"}));
  EXPECT_EQ(lane->counters().revoked_device, 1u);
  EXPECT_EQ(lane->counters().unknown_device, 1u);
  EXPECT_EQ(lane->fresh().points(), 0u);
}

TEST_F(LiveLaneTest, AFloodIsCutToItsRateAndOthersAreHeard) {
  options.device_messages_per_s = 10;
  enroll("press-8");
  make();
  const std::string text = live_text(11, {test_block(1, 0, 3)}, {1});
  for (int i = 0; i < 1'000; ++i) say("press-7", text);
  EXPECT_EQ(lane->counters().rate, 980u);
  say("press-8", text);
  EXPECT_EQ(lane->fresh().points(), 6u);
  pass(1'000);
  say("press-7", live_text(11, {test_block(1, 3, 3)}, {1}));
  EXPECT_EQ(lane->fresh().points(), 9u);
}

TEST_F(LiveLaneTest, MessagesThatAreNoneTooLargeOrOfANewerVersionAreCountedAndHarmNothing) {
  const std::string good = live_text(11, {test_block(1, 0, 3)}, {1});
  for (size_t cut = 1; cut < good.size(); ++cut) say("press-7", good.substr(0, cut));
  for (size_t at = 0; at < good.size(); ++at) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 0x10);
    say("press-7", bad);
    pass(20);
  }
  EXPECT_GT(lane->counters().malformed, good.size() / 2);
  EXPECT_EQ(lane->counters().rate, 0u);
  say("press-7", std::string(options.message_bytes_max + 1, 'x'));
  EXPECT_EQ(lane->counters().too_large, 1u);
  v1::Live newer;
  newer.set_version(2);
  newer.set_boot(3);
  const uint64_t before = lane->counters().version;
  say("press-7", newer.SerializeAsString());
  EXPECT_EQ(lane->counters().version, before + 1);
}

TEST_F(LiveLaneTest, AMessageThatUnfoldsToTooManyPointsIsRefused) {
  TestBlock flat;
  flat.ref = 1;
  for (int i = 0; i < 1024; ++i) flat.points.push_back({1'700'000'000'000 + i, 0});
  std::vector<TestBlock> blocks;
  for (uint64_t i = 0; i < 65; ++i) {
    flat.first = i * 1024;
    blocks.push_back(flat);
  }
  const std::string text = live_text(11, blocks, {1});
  EXPECT_LT(text.size(), options.message_bytes_max);
  say("press-7", text);
  EXPECT_EQ(lane->counters().malformed, 1u);
  EXPECT_EQ(lane->fresh().points(), 0u);
}

TEST_F(LiveLaneTest, SwitchedOffItOnlyAnnouncesTheGateway) {
  options.enabled = false;
  interests.clear();
  make();
  lane->overlay().begin_question();
  const int64_t now = world.clock.utc_ms();
  ASSERT_TRUE(lane->overlay().select(named("m1"), now - 60'000, now, 10).has_value());
  say("press-7", live_text(11, {test_block(1, 0, 3)}, {1}));
  pass(60'000);
  ASSERT_EQ(interests.size(), 1u);
  EXPECT_EQ(interests[0].lease_s(), 0u);
  EXPECT_EQ(lane->counters().disabled, 1u);
  EXPECT_EQ(lane->fresh().points(), 0u);
}

}  // namespace
}  // namespace lambda::gateway
