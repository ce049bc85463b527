// A node in a world without a gateway: what it makes is in its spool, whatever happens to it in between.
#include "agent/node.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "agent/spool/journal_replay.h"
#include "agent/test_node.h"

namespace lambda::agent {
namespace {

using test::config_for;
using test::crash;
using test::drain;
using test::FakeDisk;
using test::Found;
using test::Place;
using test::World;

// Values tell their series and time, so a point cannot pass for another.
class Ticker final : public Source {
 public:
  explicit Ticker(uint32_t series) : refs_(series) {}
  std::string_view name() const override { return "ticker"; }
  int64_t interval_ms() const override { return 1'000; }
  Status collect(Sink& sink, int64_t time_ms) override {
    for (uint32_t i = 0; i < refs_.size(); ++i) {
      if (refs_[i] == 0) {
        SeriesSpec spec;
        spec.name = "tick_" + std::to_string(i);
        spec.type = ValueType::kI64;
        auto ref = sink.series(spec);
        if (!ref) continue;
        refs_[i] = *ref;
      }
      sink.append_i64(refs_[i], time_ms * 16 + i);
    }
    return {};
  }

 private:
  std::vector<SeriesRef> refs_;
};

std::unique_ptr<Node> start(World& world, AgentConfig config, uint32_t series = 4) {
  std::vector<std::unique_ptr<Source>> sources;
  sources.push_back(std::make_unique<Ticker>(series));
  auto key = SigningKey::from_hex(std::string(63, '0') + "1");
  auto node = std::make_unique<Node>(world.env, std::move(config), std::move(*key), std::move(sources));
  const Status status = node->start();
  EXPECT_TRUE(status.has_value()) << status.error().text;
  return node;
}

TEST(Node, WhatItMadeIsInTheSpoolAfterACleanEnd) {
  World world(1);
  auto node = start(world, config_for("site"));
  world.loop.run_for(33'000);
  const uint64_t made = node->status().points_made;
  const uint64_t boot = node->boot();
  stop(world, node);
  EXPECT_EQ(made, 4u * 33);
  const Found found = drain(world);
  EXPECT_EQ(found.points.size(), made);
  EXPECT_EQ(found.twice, 0u);
  const Point first = found.points.at({boot, 1, 0});
  EXPECT_EQ(first.time_ms % 1000, 0) << "moments are aligned";
  EXPECT_EQ(first.bits, static_cast<uint64_t>(first.time_ms * 16));
  for (const auto& [path, file] : world.disk.files) EXPECT_FALSE(path.starts_with("d/journal-")) << path;
}

TEST(Node, AKilledStartLosesNothingAndTheNextOneTellsItUnderTheOldBoot) {
  World world(2);
  auto node = start(world, config_for("site"));
  world.loop.run_for(7'500);
  const uint64_t made = node->status().points_made, boot = node->boot();
  crash(world, node, false);
  node = start(world, config_for("site"));
  world.loop.run_for(100);
  EXPECT_NE(node->boot(), boot);
  EXPECT_GT(node->status().points_recovered, 0u);
  stop(world, node);
  const Found found = drain(world);
  uint64_t of_old = 0;
  for (const auto& [place, point] : found.points) of_old += std::get<0>(place) == boot;
  EXPECT_EQ(of_old, made);
  EXPECT_EQ(found.twice, 0u);
}

TEST(Node, BeforeEnrolmentPointsWaitInTheJournalAndAreToldAfterwards) {
  World world(4);
  auto node = start(world, config_for(""));
  world.loop.run_for(61'000);
  const uint64_t made = node->status().points_made;
  EXPECT_FALSE(node->status().enrolled);
  EXPECT_TRUE(node->status().ready);
  stop(world, node);
  EXPECT_TRUE(drain(world).points.empty());
  node = start(world, config_for("site"));
  world.loop.run_for(500);
  stop(world, node);
  EXPECT_EQ(drain(world).points.size(), made);
}

TEST(Node, BeforeEnrolmentTheJournalsKeepTheirBound) {
  World world(5);
  AgentConfig config = config_for("");
  config.spool.bytes_max = 20'000;
  auto node = start(world, config, 16);
  world.loop.run_for(3'600'000);
  EXPECT_LE(node->status().journal_bytes, config.spool.bytes_max + config.journal.file_bytes * 2);
  EXPECT_GT(node->status().points_dropped_journal, 0u);
  const uint64_t made = node->status().points_made;
  const uint64_t boot = node->boot();
  stop(world, node);
  node = start(world, config_for("site"));
  world.loop.run_for(500);
  stop(world, node);
  const Found found = drain(world);
  uint64_t told = 0;
  for (const auto& [place, point] : found.points) told += std::get<0>(place) == boot;
  for (const auto& [place, reason] : found.gaps) told += std::get<0>(place) == boot;
  EXPECT_EQ(told, made) << "what was dropped is named";
}

TEST(Node, BeforeEnrolmentWhatIsDroppedOfEarlierBootsIsCounted) {
  World world(6);
  AgentConfig config = config_for("");
  config.spool.bytes_max = 40'000;
  auto node = start(world, config, 16);
  world.loop.run_for(60'000);
  const uint64_t made = node->status().points_made;
  ASSERT_EQ(node->status().points_dropped_journal, 0u);
  stop(world, node);
  config.spool.bytes_max = 512;  // none of it fits any more
  node = start(world, config, 16);
  world.loop.run_for(2'500);
  EXPECT_EQ(node->status().points_dropped_journal, made);
  stop(world, node);
}

TEST(Node, ANewBootBeginsInTheSameProcessWithoutLosingAPoint) {
  World world(6);
  auto node = start(world, config_for("site"));
  uint64_t boots = 1;
  for (int i = 0; i < 6; ++i) {
    world.loop.run_for(3'300);
    const uint64_t before = node->boot();
    node->begin_new_boot();
    world.loop.run_for(1'200);
    boots += node->boot() != before;
  }
  EXPECT_GE(boots, 4u);
  const uint64_t made = node->status().points_made;
  EXPECT_EQ(node->status().points_unmade, 0u);
  EXPECT_EQ(made, 4u * 27);
  stop(world, node);
  const Found found = drain(world);
  EXPECT_EQ(found.points.size(), made);
}

TEST(Node, AClockThatIsSetBeginsASegmentAndLosesNothing) {
  World world(7);
  auto node = start(world, config_for("site"));
  world.loop.run_for(10'500);
  world.clock.utc_offset_ms += 3'600'000;
  world.loop.run_for(10'000);
  world.clock.utc_offset_ms -= 7'200'000;
  world.loop.run_for(10'000);
  EXPECT_EQ(node->status().clock_steps, 2u);
  const uint64_t made = node->status().points_made;
  EXPECT_GE(made, 4u * 28);
  stop(world, node);
  const Found found = drain(world);
  EXPECT_EQ(found.points.size(), made);
  EXPECT_EQ(found.twice, 0u);
}

TEST(Node, ASlowClockIsFollowedWithoutAStep) {
  World world(8);
  auto node = start(world, config_for("site"));
  for (int i = 0; i < 300; ++i) {
    world.loop.run_for(1'000);
    if (i % 2 == 0) world.clock.utc_offset_ms -= 1;
  }
  EXPECT_EQ(node->status().clock_steps, 0u);
  EXPECT_EQ(node->status().moments_missed, 0u);
  stop(world, node);
}

TEST(Node, SeriesOverTheCapAreRefusedAndCounted) {
  World world(9);
  AgentConfig config = config_for("site");
  config.series_max = 3;
  auto node = start(world, config, 5);
  world.loop.run_for(2'500);
  EXPECT_EQ(node->status().series, 3u);
  EXPECT_EQ(node->status().series_refused, 4u) << "two series, asked again at each of two collections";
  EXPECT_EQ(node->status().points_made, 6u);
  stop(world, node);
}

TEST(Node, AFullDiskMakesNoPointsAndGoesOnWhenThereIsRoom) {
  World world(10);
  auto node = start(world, config_for("site"));
  world.loop.run_for(20'000);
  world.disk.bytes_max = world.disk.used() + 2'000;
  world.loop.run_for(120'000);
  EXPECT_GT(node->status().points_unmade, 0u);
  world.disk.bytes_max = UINT64_MAX;
  world.loop.run_for(20'000);
  const uint64_t unmade = node->status().points_unmade;
  world.loop.run_for(20'000);
  EXPECT_EQ(node->status().points_unmade, unmade);
  const uint64_t made = node->status().points_made;
  stop(world, node);
  const Found found = drain(world);
  EXPECT_EQ(found.points.size(), made);
}

TEST(Node, OverTheSpoolsBoundGapsNameWhatIsMissing) {
  World world(11);
  AgentConfig config = config_for("site");
  config.spool.bytes_max = 64u << 10;
  config.spool.file_bytes = 4u << 10;
  auto node = start(world, config, 16);
  world.loop.run_for(3'600'000);
  const uint64_t made = node->status().points_made;
  EXPECT_GT(node->status().points_dropped_bytes, 0u);
  EXPECT_LE(node->status().backlog_bytes, config.spool.bytes_max);
  stop(world, node);
  Found found = drain(world);
  for (const auto& [place, reason] : found.gaps) {
    EXPECT_FALSE(found.points.contains(place));
    EXPECT_EQ(reason, GapReason::kSpoolBytes);
  }
  EXPECT_LE(found.points.size() + found.gaps.size(), made);
  EXPECT_GE(found.points.size() + found.gaps.size() + 16 * 40, made) << "the last drop is named in the next parcel";
}

// Starts without a gateway, each killed before it made a parcel.
struct ShortStarts {
  std::vector<uint64_t> boots;
  std::map<uint64_t, uint64_t> made;
  uint64_t boots_max = 0, waiting = 0, disk_bytes_max = 0, dropped = 0;

  void run(World& world, const AgentConfig& config, int count, uint32_t series) {
    for (int i = 0; i < count; ++i) {
      auto node = start(world, config, series);
      world.loop.run_for(3'000 + static_cast<int64_t>(world.random.below(1'500)));
      const NodeStatus status = node->status();
      made[status.boot] = status.points_made;
      boots_max = std::max(boots_max, status.boots);
      waiting = status.boots_waiting;
      dropped += status.points_dropped_journal;
      disk_bytes_max = std::max(disk_bytes_max, world.disk.used());
      const auto listing = list_journals(world.disk, "d");
      for (const JournalFile& file : listing->files) {
        if (file.head.boot == status.boot) {
          EXPECT_EQ(file.head.previous_boot, boots.empty() ? 0 : boots.back());
        }
      }
      boots.push_back(status.boot);
      crash(world, node, false);
    }
  }
  // The gateway is back: starts that end in order, until nothing waits any more.
  Found settle(World& world, const AgentConfig& config, uint32_t series) {
    Found found;
    for (int i = 0; i < 100; ++i) {
      auto node = start(world, config, series);
      world.loop.run_for(config.seal_age_ms + 1'000);  // gaps of old boots are named by then
      made[node->boot()] = node->status().points_made;
      waiting = node->status().boots_waiting;
      dropped += node->status().points_dropped_journal;
      EXPECT_LE(node->status().boots, config.old_boots_max + 2);
      stop(world, node);
      found = drain(world, true, std::move(found));
      if (waiting == 0) return found;
    }
    ADD_FAILURE() << waiting << " boots still wait";
    return found;
  }
};

TEST(Node, ManyStartsWithoutAGatewayAreReadAFewAtATimeAndNothingIsLostOrDoubled) {
  World world(12);
  AgentConfig config = config_for("site");
  config.old_boots_max = 4;
  ShortStarts starts;
  starts.run(world, config, 40, 4);
  EXPECT_LE(starts.boots_max, config.old_boots_max + 2) << "those in hand, the present one, and the one before it";
  EXPECT_EQ(starts.waiting, 39u - config.old_boots_max);
  const Found found = starts.settle(world, config, 4);
  EXPECT_EQ(found.twice, 0u);
  EXPECT_TRUE(found.gaps.empty());
  std::map<uint64_t, uint64_t> told;
  for (const auto& [place, point] : found.points) told[std::get<0>(place)]++;
  EXPECT_EQ(told, starts.made);
}

TEST(Node, JournalsThatWaitKeepTheSpoolsBoundAndWhatIsGivenUpIsCounted) {
  World world(13);
  AgentConfig config = config_for("site");
  config.old_boots_max = 3;
  config.reserve_bytes = 0;
  config.spool.bytes_max = 96u << 10;
  config.spool.file_bytes = 8u << 10;
  ShortStarts starts;
  starts.run(world, config, 120, 16);
  EXPECT_GT(starts.dropped, 0u);
  EXPECT_LE(starts.disk_bytes_max, config.spool.bytes_max + 16'384) << "one second's look, and the present boot";
  const Found found = starts.settle(world, config, 16);
  EXPECT_EQ(found.twice, 0u);
  uint64_t made = 0;
  for (const auto& [boot, points] : starts.made) made += points;
  EXPECT_EQ(found.points.size() + found.gaps.size() + starts.dropped, made);
}

// Kills, power cuts and faults at random moments, several starts in a row: every point that was called made before a
// kill is told; before a power cut all but the last second; nothing twice, nothing that was never measured.
TEST(Node, NoCrashLosesOrDoublesAPoint) {
  for (uint64_t seed = 1; seed <= 120; ++seed) {
    World world(seed);
    std::map<uint64_t, uint64_t> least;  // by boot: points that must be told
    for (int round = 0; round < 5; ++round) {
      auto node = start(world, config_for("site"));
      const uint64_t boot = node->boot();
      const uint64_t steps = world.random.below(40);
      for (uint64_t i = 0; i < steps; ++i) {
        world.disk.faults.clear();
        if (world.random.below(6) == 0) {
          world.disk.faults.insert(static_cast<FakeDisk::Fault>(1 + world.random.below(6)));
        }
        world.loop.run_for(static_cast<int64_t>(world.random.below(1'500)));
        for (uint64_t k = world.random.below(10); k > 0; --k) world.loop.step(world.clock.now_us + 1'000'000);
      }
      const bool power = world.random.below(2) == 0;
      if (power && world.disk.faults.empty()) {
        // Let what is written be synced; what comes in the last second does not count.
        const uint64_t made = node->status().points_made;
        world.loop.run_for(1'500);
        world.loop.run_for(1'500);
        if (node->boot() == boot) least[boot] = made;
      } else if (!power) {
        least[boot] = node->status().points_made;
      }
      crash(world, node, power);
    }
    auto node = start(world, config_for("site"));
    world.loop.run_for(3'000);
    stop(world, node);
    const Found found = drain(world);
    EXPECT_EQ(found.twice, 0u) << "seed " << seed;
    std::map<uint64_t, uint64_t> told;
    for (const auto& [place, point] : found.points) {
      told[std::get<0>(place)]++;
      ASSERT_EQ(point.bits, static_cast<uint64_t>(point.time_ms * 16 + std::get<1>(place) - 1)) << "seed " << seed;
    }
    for (const auto& [boot, points] : least) ASSERT_GE(told[boot], points) << "seed " << seed << " boot " << boot;
  }
}

}  // namespace
}  // namespace lambda::agent
