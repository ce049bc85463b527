// Series that end: their places are taken by others, and no point ever goes to another series than its own.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "agent/source/device_table.h"
#include "agent/test_node.h"

namespace lambda::agent {
namespace {

using test::config_for;
using test::crash;
using test::drain;
using test::Found;
using test::World;

constexpr int64_t kIntervalMs = 10'000;
constexpr int64_t kLifeMs = 60'000;
constexpr uint32_t kSeriesEach = 3;

// Containers that start one after the other, live for a minute, and some of which come back after an hour. It keeps
// what it once asked for for ever, as no collector should. Values tell their container, so that a point cannot pass for
// another's.
class Containers final : public Source {
 public:
  struct Ledger {
    uint64_t made = 0, refused = 0, starts = 0;
  };
  Containers(Ledger& ledger, int64_t each_ms) : ledger_(ledger), each_ms_(each_ms) {}
  std::string_view name() const override { return "containers"; }
  int64_t interval_ms() const override { return kIntervalMs; }
  Status collect(Sink& sink, int64_t time_ms) override {
    if (began_ms_ == 0) began_ms_ = time_ms;
    const int64_t age = time_ms - began_ms_;
    for (int64_t number = age / each_ms_; number >= 0 && number * each_ms_ > age - kLifeMs; --number) {
      ledger_.starts += age - number * each_ms_ < kIntervalMs ? 1 : 0;
      tell(sink, number, time_ms);
      if (number % 5 == 0 && number >= 3'600'000 / each_ms_) tell(sink, number - 3'600'000 / each_ms_, time_ms);
    }
    return {};
  }

 private:
  void tell(Sink& sink, int64_t number, int64_t time_ms) {
    auto& slots = slots_[number];
    for (uint32_t i = 0; i < kSeriesEach; ++i) {
      const auto value = static_cast<uint64_t>(time_ms - began_ms_) * 100'000 + static_cast<uint64_t>(number) * 10 + i;
      const bool taken = put(sink, slots[i], value, [&] {
        return SeriesSpec{"container_bytes",
                          {{"id", std::to_string(number * 10 + i)}},
                          number % 2 == 0 ? Kind::kGauge : Kind::kCounter,
                          ValueType::kI64,
                          0,
                          ""};
      });
      ++(taken ? ledger_.made : ledger_.refused);
    }
  }

  Ledger& ledger_;
  const int64_t each_ms_;
  int64_t began_ms_ = 0;
  std::map<int64_t, std::array<SeriesSlot, kSeriesEach>> slots_;
};

AgentConfig many_starts(const std::string& site) {
  AgentConfig config = config_for(site);
  config.seal_age_ms = 60'000;
  config.series_max = 600;
  config.memory_bytes_max = 4u << 20;
  config.journal.file_bytes = 64u << 10;
  config.spool.file_bytes = 256u << 10;
  config.old_boots_max = 1'000;  // no gateway is there to take them
  return config;
}

std::unique_ptr<Node> start(World& world, AgentConfig config, Containers::Ledger& ledger, int64_t each_ms) {
  std::vector<std::unique_ptr<Source>> sources;
  sources.push_back(std::make_unique<Containers>(ledger, each_ms));
  auto key = SigningKey::from_hex(std::string(63, '0') + "1");
  auto node = std::make_unique<Node>(world.env, std::move(config), std::move(*key), std::move(sources));
  const Status status = node->start();
  EXPECT_TRUE(status.has_value()) << status.error().text;
  return node;
}

void expect_each_point_with_its_own_series(const Found& found) {
  for (const auto& [place, point] : found.points) {
    ASSERT_EQ(found.label(place, "id"), std::to_string(point.bits % 100'000))
        << "boot " << std::get<0>(place) << " ref " << std::get<1>(place);
  }
}

TEST(NodeSeries, ThousandsOfStartsFindPlacesAndEachPointIsOfItsOwnSeries) {
  World world(1);
  Containers::Ledger ledger;
  auto node = start(world, many_starts("site"), ledger, 10'000);
  uint64_t series_most = 0;
  for (int i = 0; i < 3'000; ++i) {
    world.loop.run_for(10'000);
    series_most = std::max(series_most, node->status().series);
  }
  const NodeStatus status = node->status();
  EXPECT_GE(ledger.starts, 2'999u);
  EXPECT_EQ(ledger.refused, 0u);
  EXPECT_EQ(status.series_refused, 0u);
  EXPECT_EQ(status.points_unmade, 0u);
  EXPECT_EQ(status.points_made, ledger.made);
  EXPECT_LE(series_most, 600u);
  EXPECT_GT(status.series_forgotten, 2'999u * kSeriesEach - 600u);
  test::stop(world, node);
  const Found found = drain(world);
  EXPECT_EQ(found.points.size(), ledger.made);
  EXPECT_EQ(found.twice, 0u);
  EXPECT_TRUE(found.gaps.empty());
  expect_each_point_with_its_own_series(found);
}

TEST(NodeSeries, WhatEndedCanBeAskedForUntilItsRetentionIsOver) {
  World world(2);
  Containers::Ledger ledger;
  const AgentConfig config = many_starts("site");
  auto node = start(world, config, ledger, 10'000);
  uint64_t forgotten = 0, boots = 0, boot = 0;
  for (int i = 0; i < 7'200; ++i) {
    world.loop.run_for(1'000);
    const NodeStatus status = node->status();
    boots += std::exchange(boot, status.boot) != status.boot ? 1 : 0;
    if (status.series_forgotten == forgotten) continue;
    // In retention: the starts of the last ten minutes, those that still live, and the ones that came back.
    const auto held = static_cast<uint64_t>((config.retention_ms + kLifeMs) / 10'000) * kSeriesEach;
    EXPECT_GE(status.series, held);
    forgotten = status.series_forgotten;
  }
  EXPECT_GE(boots, 5u);
  EXPECT_LE(boots, 2u + 7'200'000u / static_cast<uint64_t>(config.retention_ms / 2));
  test::stop(world, node);
}

TEST(NodeSeries, BeforeEnrolmentPlacesAreFoundAsWellAndTheJournalsTellItAllAfterwards) {
  World world(3);
  Containers::Ledger ledger;
  auto node = start(world, many_starts(""), ledger, 10'000);
  world.loop.run_for(4'000'000);
  EXPECT_EQ(ledger.refused, 0u);
  EXPECT_GT(node->status().series_forgotten, 600u);
  const uint64_t made = ledger.made;
  EXPECT_EQ(node->status().points_made, made);
  test::stop(world, node);
  Containers::Ledger none;
  node = start(world, many_starts("site"), none, 1'000'000'000);
  world.loop.run_for(5'000);
  test::stop(world, node);
  const Found found = drain(world);
  EXPECT_EQ(found.points.size(), made + none.made);
  EXPECT_EQ(found.twice, 0u);
  EXPECT_TRUE(found.gaps.empty());
}

// A boot costs RAM until a gateway has it, so a long outage ends the forgetting, not the agent.
TEST(NodeSeries, WhileTooManyBootsWaitForAGatewayNewSeriesAreRefusedAndThatIsSaidOnce) {
  World world(4);
  Containers::Ledger ledger;
  AgentConfig config = many_starts("site");
  config.old_boots_max = 2;
  auto node = start(world, config, ledger, 10'000);
  world.loop.run_for(7'200'000);
  EXPECT_EQ(node->status().boots, 3u) << "two that wait, and the present one";
  EXPECT_EQ(node->status().series, 600u);
  EXPECT_GT(node->status().series_refused, 0u);
  EXPECT_EQ(world.log.events["series_not_forgotten"], 1u);
  EXPECT_EQ(node->status().points_made, ledger.made) << "the others go on";
  test::stop(world, node);
  const Found found = drain(world);
  EXPECT_EQ(found.points.size(), ledger.made);
  expect_each_point_with_its_own_series(found);
}

// Killed and cut at any moment, also while a boot is being changed: what was made before a kill is told, each point
// with its own series, from the spool or from a journal in which refs had been taken by other series.
TEST(NodeSeries, NoCrashGivesAPointToAnotherSeries) {
  uint64_t retaken = 0;
  for (uint64_t seed = 1; seed <= 12; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    World world(seed);
    Found found;
    uint64_t least = 0, forgotten = 0;
    for (int round = 0; round < 3; ++round) {
      Containers::Ledger ledger;
      AgentConfig config = many_starts("site");
      config.series_max = 300;
      auto node = start(world, config, ledger, 10'000);
      world.loop.run_for(1'500'000 + static_cast<int64_t>(world.random.below(600'000)));
      // Mostly near a change of boots.
      const uint64_t boot = node->boot();
      for (int i = 0; i < 400 && node->boot() == boot && seed % 3 > 0; ++i) world.loop.run_for(1'000);
      for (uint64_t k = world.random.below(60); k > 0; --k) world.loop.step(world.clock.now_us + 1'000'000);
      EXPECT_EQ(ledger.refused, 0u);
      forgotten += node->status().series_forgotten;
      least += node->status().points_made;
      crash(world, node, false);
    }
    Containers::Ledger none;
    auto node = start(world, many_starts("site"), none, 1'000'000'000);
    world.loop.run_for(5'000);
    test::stop(world, node);
    found = drain(world);
    EXPECT_GE(found.points.size(), least);
    EXPECT_EQ(found.twice, 0u);
    EXPECT_TRUE(found.gaps.empty());
    EXPECT_GT(forgotten, 300u);
    expect_each_point_with_its_own_series(found);
    std::map<uint32_t, std::set<std::string>> of_ref;
    for (const auto& [place, point] : found.points) of_ref[std::get<1>(place)].insert(found.label(place, "id"));
    for (const auto& [ref, ids] : of_ref) retaken += ids.size() > 3 ? 1 : 0;
  }
  EXPECT_GT(retaken, 0u) << "else this has shown nothing";
}

}  // namespace
}  // namespace lambda::agent
