// What leaves on the live lane, read as a gateway would.
#include "agent/live/live_lane.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "agent/spool/test_world.h"
#include "proto/lambda.pb.h"

namespace lambda::agent {
namespace {

using test::World;
using Identity = std::tuple<uint64_t, uint32_t, uint64_t>;  // boot, ref, ordinal

struct LiveLaneTest : ::testing::Test {
  LiveLaneTest() { begin_boot(77); }

  void begin_boot(uint64_t id, const std::vector<bool>& gone = {}) {
    boot = id;
    table = std::make_shared<SeriesTable>(table->next_boot(gone));
    open.clear();
    if (lane != nullptr) lane->begin_boot(boot, table);
  }
  void make() {
    lane =
        std::make_unique<LiveLane>(world.env, options, "press-7", "hall",
                                   LivePorts{[this](std::span<const uint8_t> message) -> Status {
                                               if (refuses) return fail(ErrorCode::kFull, "full");
                                               take(message);
                                               return {};
                                             },
                                             [this] { return outgoing; },
                                             [this](SeriesRef ref, std::span<uint8_t> out) { return copy(ref, out); }});
    lane->begin_boot(boot, table);
    lane->connected();
    world.loop.run_for(1);
  }
  SeriesRef series(const std::string& name) {
    SeriesSpec spec;
    spec.name = name;
    spec.type = ValueType::kI64;
    return *table->find_or_add(spec);
  }
  // As the node does: into the table, the open block, then the lane.
  void made(std::vector<SeriesRef> refs) {
    Row row;
    row.time_ms = world.clock.utc_ms();
    for (const SeriesRef ref : refs) {
      row.points.push_back({ref, ++value});
      const uint64_t ordinal = table->at(ref).next_ordinal++;
      open[ref].push_back({ordinal, {row.time_ms, value}});
      all[{boot, ref, ordinal}] = {row.time_ms, value};
    }
    if (lane->listening()) lane->row(row);
  }
  void seal() { open.clear(); }
  size_t copy(SeriesRef ref, std::span<uint8_t> out) {
    const auto found = open.find(ref);
    if (found == open.end() || found->second.empty()) return 0;
    BlockOptions block;
    block.boot = boot;
    block.ref = ref;
    block.type = ValueType::kI64;
    block.first_ordinal = found->second.front().first;
    std::vector<uint8_t> space(block_bytes_max(kBlockPointsMax));
    BlockWriter writer(space, block);
    for (const auto& [ordinal, point] : found->second) EXPECT_EQ(writer.append(point), AppendResult::kOk);
    const auto sealed = writer.seal();
    std::copy(sealed.begin(), sealed.end(), out.begin());
    return sealed.size();
  }
  void take(std::span<const uint8_t> message) {
    v1::Live live;
    ASSERT_TRUE(live.ParseFromArray(message.data(), static_cast<int>(message.size())));
    EXPECT_LE(message.size(), options.message_bytes_max);
    ++messages;
    bytes += message.size();
    EXPECT_EQ(live.version(), 1u);
    versions.insert(live.interest_version());
    for (const auto& declaration : live.declarations()) declared[{live.boot(), declaration.ref()}] = declaration.name();
    std::vector<Point> points(kBlockPointsMax);
    for (const auto& block : live.blocks()) {
      BlockInfo info;
      const auto status =
          decode_block({reinterpret_cast<const uint8_t*>(block.data()), block.size()}, live.boot(), &info, points);
      ASSERT_TRUE(status.ok());
      EXPECT_TRUE(declared.count({live.boot(), info.ref})) << "a series is declared before its first block";
      for (uint32_t i = 0; i < info.count; ++i) {
        const Identity identity{live.boot(), info.ref, info.first_ordinal + i};
        ++copies[identity];
        EXPECT_EQ(all.at(identity), points[i]);
      }
    }
  }
  void want(std::vector<std::string> selectors, uint64_t version = 1, uint32_t lease_s = 30,
            const std::string& gateway = "fog-1", uint64_t incarnation = 5) {
    v1::Interest interest;
    interest.set_version(1);
    interest.set_gateway(gateway);
    interest.set_incarnation(incarnation);
    interest.set_interest_version(version);
    interest.set_lease_s(lease_s);
    for (auto& selector : selectors) interest.add_selectors(std::move(selector));
    const std::string text = interest.SerializeAsString();
    lane->interest({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
    world.loop.run_for(1);
  }
  uint64_t sent_of(SeriesRef ref) const {
    uint64_t count = 0;
    for (const auto& [identity, times] : copies) count += std::get<1>(identity) == ref;
    return count;
  }

  World world{1};
  LiveOptions options;
  uint64_t boot = 0, outgoing = 0, value = 0, messages = 0, bytes = 0;
  bool refuses = false;
  std::shared_ptr<SeriesTable> table = std::make_shared<SeriesTable>();
  std::map<SeriesRef, std::vector<std::pair<uint64_t, Point>>> open;
  std::map<Identity, Point> all;
  std::map<Identity, int> copies;
  std::map<std::pair<uint64_t, uint32_t>, std::string> declared;
  std::set<uint64_t> versions;
  std::unique_ptr<LiveLane> lane;
};

TEST_F(LiveLaneTest, ARefThatAnotherSeriesTookInANewBootIsThatSeries) {
  make();
  const SeriesRef a = series("a"), b = series("b");
  want({"{__name__=~\"b|c\"}"});
  made({a, b});
  world.loop.run_for(1'000);
  EXPECT_EQ(sent_of(a), 0u);
  begin_boot(78, {false, true, false});
  world.loop.run_for(1'000);  // all series are asked about, with a hole where `a` was
  made({b});
  const SeriesRef c = series("c");
  ASSERT_EQ(c, a);
  made({b, c});
  world.loop.run_for(1'000);
  EXPECT_EQ((declared[{78, c}]), "c");
  EXPECT_EQ((copies.count({78, c, 0})), 1u);
  EXPECT_EQ((copies.count({78, b, 1})), 1u);
}

TEST_F(LiveLaneTest, WithoutAnInterestNothingIsSent) {
  make();
  const SeriesRef a = series("a");
  for (int i = 0; i < 100; ++i) made({a});
  world.loop.run_for(10'000);
  EXPECT_EQ(messages, 0u);
  EXPECT_FALSE(lane->listening());
  want({}, 1, 0);  // a gateway that only says that it is there
  made({a});
  world.loop.run_for(10'000);
  EXPECT_EQ(messages, 0u);
  EXPECT_FALSE(lane->listening());
}

TEST_F(LiveLaneTest, WhatMatchesIsSentAtOnceEachPointOnceBehindAllOfItsOpenBlock) {
  make();
  const SeriesRef a = series("a"), b = series("b");
  for (int i = 0; i < 5; ++i) {
    made({a, b});
    world.loop.run_for(1'000);
  }
  want({"a{instance=\"press-7\",site=\"hall\"}"});
  EXPECT_EQ(sent_of(a), 5u) << "what is in no parcel yet comes before the next point is made";
  for (int i = 0; i < 20; ++i) {
    made({a, b});
    if (i == 10) seal();
    world.loop.run_for(options.batch_ms + 1);
    EXPECT_EQ(sent_of(a), 6u + static_cast<uint64_t>(i));
    world.loop.run_for(950);
  }
  EXPECT_EQ(sent_of(b), 0u);
  for (const auto& [identity, times] : copies) EXPECT_EQ(times, 1);
  EXPECT_EQ(declared.size(), 1u);
}

TEST_F(LiveLaneTest, PointsOfOneMomentShareAMessage) {
  make();
  std::vector<SeriesRef> refs;
  for (int i = 0; i < 100; ++i) refs.push_back(series("m" + std::to_string(i)));
  want({"{__name__=~\"m.*\"}"});
  made(refs);
  world.loop.run_for(1'000);
  messages = 0;
  made(refs);
  world.loop.run_for(1'000);
  EXPECT_EQ(messages, 1u);
}

TEST_F(LiveLaneTest, TheLeaseEndsAndARenewalLengthensIt) {
  make();
  const SeriesRef a = series("a");
  want({"a"}, 1, 10);
  world.loop.run_for(8'000);
  want({"a"}, 1, 10);
  world.loop.run_for(8'000);
  made({a});
  world.loop.run_for(100);
  EXPECT_EQ(sent_of(a), 1u) << "renewed 8 s ago";
  world.loop.run_for(3'000);
  for (int i = 0; i < 10; ++i) made({a});
  world.loop.run_for(1'000);
  EXPECT_EQ(sent_of(a), 1u);
  EXPECT_FALSE(lane->listening()) << "rows cost nothing any more";
  // The clock of the day has no say in it.
  want({"a"}, 1, 10);
  world.clock.utc_offset_ms -= 3'600'000;
  made({a});
  world.loop.run_for(100);
  EXPECT_EQ(sent_of(a), 12u) << "all that was missed is in the open block";
  world.clock.utc_offset_ms += 7'200'000;
  world.loop.run_for(10'000);
  made({a});
  world.loop.run_for(100);
  EXPECT_EQ(sent_of(a), 12u);
}

TEST_F(LiveLaneTest, AnEmptyInterestEndsItAtOnce) {
  make();
  const SeriesRef a = series("a");
  want({"a"});
  made({a});
  world.loop.run_for(100);
  want({}, 2, 0);
  made({a});
  world.loop.run_for(1'000);
  EXPECT_EQ(sent_of(a), 1u);
}

TEST_F(LiveLaneTest, AnOlderVersionOfTheSameStartChangesNothingAndAnotherStartDoes) {
  make();
  const SeriesRef a = series("a"), b = series("b");
  want({"a"}, 7);
  want({"b"}, 6);
  made({a, b});
  world.loop.run_for(100);
  EXPECT_EQ(sent_of(a), 1u);
  EXPECT_EQ(sent_of(b), 0u);
  want({"b"}, 1, 30, "fog-1", 6);
  made({a, b});
  world.loop.run_for(100);
  EXPECT_EQ(sent_of(a), 1u);
  EXPECT_EQ(sent_of(b), 2u);
}

TEST_F(LiveLaneTest, TwoGatewaysGetWhatEitherWantsAndOneLeaseDoesNotEndTheOther) {
  make();
  const SeriesRef a = series("a"), b = series("b"), c = series("c");
  want({"a", "c"}, 1, 10, "fog-1");
  want({"b", "c"}, 1, 60, "fog-2");
  made({a, b, c});
  world.loop.run_for(100);
  EXPECT_EQ(copies.size(), 3u);
  world.loop.run_for(20'000);
  made({a, b, c});
  world.loop.run_for(100);
  EXPECT_EQ(sent_of(a), 1u);
  EXPECT_EQ(sent_of(b), 2u);
  EXPECT_EQ(sent_of(c), 2u);
  for (const auto& [identity, times] : copies) EXPECT_EQ(times, 1);
}

TEST_F(LiveLaneTest, OfMoreGatewaysThanThereIsRoomForThoseWhoseLeaseEndsFirstGiveWay) {
  make();
  const SeriesRef a = series("a"), b = series("b");
  want({"a"}, 1, 5, "fog-0");
  for (size_t i = 1; i < kInterestsMax; ++i) want({"none"}, 1, 100, "fog-" + std::to_string(i));
  want({"b"}, 1, 100, "fog-99");
  made({a, b});
  world.loop.run_for(100);
  EXPECT_EQ(sent_of(a), 0u);
  EXPECT_EQ(sent_of(b), 1u);
  EXPECT_EQ(lane->interests(), kInterestsMax);
}

TEST_F(LiveLaneTest, AfterTheConnectionComesBackAllIsDeclaredAgainAndNothingLacks) {
  make();
  const SeriesRef a = series("a");
  want({"a"});
  made({a});
  world.loop.run_for(100);
  lane->disconnected();
  declared.clear();
  for (int i = 0; i < 5; ++i) made({a});
  world.loop.run_for(1'000);
  EXPECT_EQ(sent_of(a), 1u);
  lane->connected();
  world.loop.run_for(100);
  EXPECT_EQ(sent_of(a), 6u);
  EXPECT_EQ(declared.size(), 1u);
}

TEST_F(LiveLaneTest, ANewBootIsDeclaredAndCountsFromTheBeginning) {
  make();
  const SeriesRef a = series("a");
  want({"a"});
  made({a});
  world.loop.run_for(100);
  begin_boot(78);
  made({a});
  world.loop.run_for(100);
  EXPECT_TRUE(copies.count({78, a, 0}));
  EXPECT_TRUE(declared.count({78, a}));
}

TEST_F(LiveLaneTest, OverTheRateTheOldestAreLeftToTheirParcelAndTheNewestGo) {
  options.bytes_per_s = 2'000;
  options.points_waiting_max = 50;
  make();
  std::vector<SeriesRef> refs;
  for (int i = 0; i < 20; ++i) refs.push_back(series("m" + std::to_string(i)));
  want({"{__name__=~\"m.*\"}"});
  for (int i = 0; i < 600; ++i) {
    made(refs);
    if (i % 60 == 59) {
      seal();
      want({"{__name__=~\"m.*\"}"});
    }
    world.loop.run_for(100);
    EXPECT_LE(lane->points_waiting(), options.points_waiting_max);
  }
  EXPECT_LT(bytes, 60u * options.bytes_per_s + options.bytes_per_s + options.message_bytes_max);
  EXPECT_GT(bytes, 30u * options.bytes_per_s);
  EXPECT_GT(lane->counters().points_dropped, 0u);
  uint64_t newest = 0;
  for (const auto& [identity, times] : copies) newest = std::max(newest, std::get<2>(identity));
  EXPECT_GT(newest, 590u) << "behind by less than a second";
}

TEST_F(LiveLaneTest, WhileTheConnectionIsBusyWithParcelsItWaits) {
  make();
  const SeriesRef a = series("a");
  want({"a"});
  outgoing = options.outgoing_bytes_max + 1;
  for (int i = 0; i < 10; ++i) made({a});
  world.loop.run_for(1'000);
  EXPECT_EQ(messages, 0u);
  EXPECT_GT(lane->counters().waits, 0u);
  outgoing = 0;
  world.loop.run_for(100);
  EXPECT_EQ(sent_of(a), 10u);
}

TEST_F(LiveLaneTest, WhatTheBusRefusesIsDroppedAndDeclaredAgain) {
  make();
  const SeriesRef a = series("a");
  want({"a"});
  refuses = true;
  made({a});
  world.loop.run_for(1'000);
  refuses = false;
  made({a});
  world.loop.run_for(100);
  EXPECT_TRUE(copies.count({boot, a, 1}));
  EXPECT_EQ(declared.size(), 1u);
}

TEST_F(LiveLaneTest, ASelectorThatCannotBeReadIsCountedAndTheOthersCount) {
  make();
  const SeriesRef a = series("a");
  want({"a{", "{x=~\"(\"}", "rate(a[1m])", "", "a"});
  made({a});
  world.loop.run_for(100);
  EXPECT_EQ(sent_of(a), 1u);
  EXPECT_EQ(lane->counters().selectors_refused, 4u);
}

TEST_F(LiveLaneTest, HostileInterestsChangeNothing) {
  make();
  const SeriesRef a = series("a");
  want({"a"});
  v1::Interest newer;
  newer.set_version(2);
  newer.set_gateway("fog-1");
  newer.set_lease_s(0);
  for (const std::string& text : {newer.SerializeAsString(), std::string("\x0a\xff\xff"), std::string()}) {
    lane->interest({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  }
  made({a});
  world.loop.run_for(100);
  EXPECT_EQ(sent_of(a), 1u);
}

}  // namespace
}  // namespace lambda::agent
