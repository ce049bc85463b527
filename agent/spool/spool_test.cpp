#include "agent/spool/spool.h"

#include "agent/spool/test_spool.h"

namespace lambda::agent {
namespace {

TEST(Spool, AParcelComesBackByteForByteAfterARestart) {
  World world(1);
  std::vector<uint8_t> first;
  {
    Start start(world, {}, 11);
    start.parcel(2);
    world.loop.run_for(100);
    ASSERT_EQ(start.parcels, 1u);
    const auto up = start.spool.read(11, 1);
    first.assign(up.begin(), up.end());
  }
  world.loop.clear();
  world.disk.power_cut();
  Start again(world, {}, 12);
  world.loop.run_for(100);
  ASSERT_NE(again.spool.state().find(11), nullptr);
  const auto up = again.spool.read(11, 1);
  EXPECT_EQ(std::vector<uint8_t>(up.begin(), up.end()), first);
  EXPECT_EQ(again.spool.state().find(11)->next_seq, 2u);
  EXPECT_TRUE(again.spool.state().find(11)->series->at(2).covered > 0);
  EXPECT_EQ(again.spool.parcels_left(), 1u);
}

TEST(Spool, AFileGoesWhenAllInItIsSettledAndNotBefore) {
  World world(2);
  SpoolOptions options;
  options.file_bytes = 1500;
  Start start(world, options, 11);
  while (start.spool.state().files().size() < 3) {
    start.parcel(2);
    world.loop.run_for(10);
  }
  const uint64_t oldest = start.spool.state().files().front().number;
  const FileRun run = start.spool.state().files().front().runs.front();
  start.spool.settled(11, run.first_seq, run.last_seq - 1);
  world.loop.run_for(5000);
  EXPECT_EQ(start.spool.state().files().front().number, oldest);
  start.spool.settled(11, run.last_seq, run.last_seq);
  world.loop.run_for(5000);
  EXPECT_GT(start.spool.state().files().front().number, oldest);
}

TEST(Spool, OverItsBoundTheOldestGoesAndGapsNameExactlyWhatIsMissing) {
  World world(3);
  SpoolOptions options;
  options.bytes_max = 30'000;
  options.file_bytes = 3'000;
  Start start(world, options, 11);
  for (int i = 0; i < 200; ++i) {
    start.parcel(3);
    world.loop.run_for(50);
    start.spool.enforce(0);
    world.loop.run_for(50);
    EXPECT_LE(start.spool.bytes(), options.bytes_max);
  }
  EXPECT_GT(start.spool.counters().files_dropped, 10u);
  EXPECT_GT(start.spool.counters().points_dropped_bytes, 0u);
  Ordinals stored, gaps;
  drain(start.spool, stored, gaps);
  expect_covered(start.made, stored, gaps, "at the bound");
  for (const auto& [place, runs] : gaps) {
    for (const auto& [first, last] : runs.runs()) {
      for (uint64_t at = first; at <= last; ++at)
        ASSERT_FALSE(stored[place].contains(at)) << "a gap over what is there";
    }
  }
}

TEST(Spool, OldParcelsGoByAge) {
  World world(4);
  SpoolOptions options;
  options.age_ms_max = 60'000;
  options.file_bytes = 1'500;
  Start start(world, options, 11);
  for (int i = 0; i < 10; ++i) {
    start.parcel(3);
    world.loop.run_for(50);
  }
  start.spool.enforce(0);
  world.loop.run_for(100);
  EXPECT_EQ(start.spool.counters().files_dropped, 0u);
  world.loop.run_for(70'000);
  start.spool.enforce(0);
  world.loop.run_for(100);
  EXPECT_GT(start.spool.counters().points_dropped_age, 0u);
  const auto gaps = start.spool.state().find(11)->pending.all();
  ASSERT_FALSE(gaps.empty());
  EXPECT_EQ(gaps[0].reason, GapReason::kSpoolAge);
}

TEST(Spool, ARefusedParcelIsGivenUpAndItsPointsAreNamedOnce) {
  World world(5);
  Start start(world, {}, 11);
  start.parcel(1);
  world.loop.run_for(50);
  start.spool.refused(11, 1);
  world.loop.run_for(50);
  EXPECT_EQ(start.spool.parcels_left(), 0u);
  ASSERT_EQ(start.spool.state().find(11)->pending.size(), 1u);
  start.name_gaps(11);
  world.loop.run_for(50);
  EXPECT_TRUE(start.spool.state().find(11)->pending.empty());
  start.spool.refused(11, 2);  // the parcel that names the gap
  world.loop.run_for(50);
  EXPECT_TRUE(start.spool.state().find(11)->pending.empty()) << "else it would go round for ever";
}

TEST(Spool, ABadParcelInAnOlderFileIsNamedByWhatTheOthersLeaveOut) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    World world(seed);
    SpoolOptions options;
    options.file_bytes = 3'000;
    Start start(world, options, 11);
    while (start.spool.state().files().size() < 3) {
      start.parcel(3);
      world.loop.run_for(10);
    }
    const std::string path = "d/" + std::string("spool-000000000000000") + (seed % 2 == 0 ? "1" : "2") + ".lam";
    auto& bytes = world.disk.files.at(path).bytes;
    bytes[bytes.size() / 2 + world.random.below(bytes.size() / 2)] ^= 0x10;
    Ordinals stored, gaps;
    const auto indices = world.random.below(2);
    if (indices == 0) {
      drain(start.spool, stored, gaps);
    } else {
      world.loop.run_for(100);
      world.loop.clear();
      SpoolOptions same = options;
      Start again(world, same, 12);
      world.loop.run_for(100);
      drain(again.spool, stored, gaps);
    }
    expect_covered(start.made, stored, gaps, "seed " + std::to_string(seed));
  }
}

TEST(Spool, CutAtAnyByteItStartsAndKeepsEveryWholeParcel) {
  World world(7);
  Ordinals made;
  {
    Start start(world, {}, 11);
    for (int i = 0; i < 3; ++i) {
      start.parcel(2);
      world.loop.run_for(50);
    }
    made = start.made;
  }
  world.loop.clear();
  const std::string path = "d/spool-0000000000000001.lam";
  const std::string whole = world.disk.files.at(path).bytes;
  uint64_t most = 0;
  for (size_t size = 0; size <= whole.size(); ++size) {
    world.disk.files.clear();
    world.disk.files[path] = {whole.substr(0, size), size, true};
    Start again(world, {}, 12);
    ASSERT_TRUE(again.opened.has_value()) << size;
    world.loop.run_for(50);
    ASSERT_TRUE(again.spool.ready()) << size;
    ASSERT_GE(again.spool.parcels_left(), most) << size;
    most = again.spool.parcels_left();
    world.loop.clear();
  }
  EXPECT_EQ(most, 3u);
}

TEST(Spool, AHigherVersionIsLeftAloneAndTheStartGoesOn) {
  World world(8);
  std::string newer(32, '\0');
  newer.replace(0, 5, "LREC\x02");
  newer[5] = 'P';
  world.disk.files["d/spool-0000000000000009.lam"] = {newer + std::string(100, 'x'), 132, true};
  Start start(world, {}, 11);
  start.parcel(1);
  world.loop.run_for(50);
  EXPECT_EQ(start.parcels, 1u);
  EXPECT_EQ(world.disk.files.count("d/spool-0000000000000009.lam"), 1u);
  EXPECT_EQ(world.disk.files.count("d/spool-000000000000000a.lam"), 1u);
}

TEST(Spool, AStartReadsTheNewestFileAndNoOther) {
  World world(9);
  SpoolOptions options;
  options.file_bytes = 3'000;
  {
    Start start(world, options, 11);
    while (start.spool.state().files().size() < 50) {
      start.parcel(3);
      world.loop.run_for(10);
    }
  }
  world.loop.clear();
  std::string newest;
  for (const auto& [path, file] : world.disk.files) newest = path;
  world.disk.bytes_read.clear();
  Start again(world, options, 12);
  world.loop.run_for(100);
  EXPECT_TRUE(again.spool.ready());
  EXPECT_GT(again.spool.parcels_left(), 100u);
  for (const auto& [path, bytes] : world.disk.bytes_read) EXPECT_EQ(path, newest);
  // The drain reads the oldest first, and then one file after the other.
  uint64_t seq = 0;
  size_t bytes = 0;
  ASSERT_TRUE(again.spool.next(11, 0, UINT64_MAX, &seq, &bytes));
  EXPECT_EQ(world.disk.bytes_read.size(), 2u);
}

// A killed start, a start whose first sync fails, and a power cut.
TEST(Spool, WhatAStartFoundAndCannotSyncIsOfferedOnlyAfterItWasWrittenAgain) {
  for (const bool drops : {false, true}) {
    World world(10);
    Ordinals made;
    {
      Start start(world, {}, 11);
      world.loop.run_for(50);
      const uint64_t appends = world.disk.appends;
      start.parcel(2);
      while (world.disk.appends == appends) world.loop.step(world.clock.now_us);  // written, and not synced
      const auto facts = parse_parcel(*parcel_in_up(start.last_up));
      for (const auto& run : facts->runs) note(made, 11, run);
    }
    world.loop.clear();
    world.disk.kill();
    world.disk.failed_sync_drops = drops;
    world.disk.faults.insert(FakeDisk::Fault::kSync);
    {
      Start start(world, {}, 12);
      world.loop.run_for(2'500);
      uint64_t seq = 0;
      size_t bytes = 0;
      EXPECT_FALSE(start.spool.next(11, 0, UINT64_MAX, &seq, &bytes)) << "it may vanish";
      EXPECT_FALSE(start.spool.started());
      EXPECT_GT(start.spool.counters().sync_errors, 2u);
      world.disk.faults.clear();
      world.loop.run_for(1'000);
      EXPECT_TRUE(start.spool.started());
      Ordinals stored, gaps;
      drain(start.spool, stored, gaps);
      expect_covered(made, stored, gaps, "after the sync");
      EXPECT_EQ(stored.empty(), drops);
      world.loop.run_for(5);  // nothing more was synced than what next() offered
    }
    world.loop.clear();
    world.disk.power_cut();
    Start start(world, {}, 13);
    world.loop.run_for(50);
    Ordinals stored, gaps;
    drain(start.spool, stored, gaps);
    expect_covered(made, stored, gaps, "after the power cut");
    EXPECT_EQ(stored.empty(), drops);
    EXPECT_EQ(world.disk.files.count("d/spool-0000000000000001.lam.again"), 0u);
  }
}

TEST(Spool, AFoundFileThatCanNeitherBeMeasuredNorSyncedIsNotEmptied) {
  World world(11);
  {
    Start start(world, {}, 11);
    start.parcel(2);
    world.loop.run_for(50);
  }
  world.loop.clear();
  world.disk.kill();
  const std::string path = "d/spool-0000000000000001.lam";
  const std::string before = world.disk.files.at(path).bytes;
  using Fault = FakeDisk::Fault;
  world.disk.faults = {Fault::kSize, Fault::kSync};
  world.disk.good_sizes = 1;  // its checkpoint can be read
  Start start(world, {}, 12);
  world.loop.run_for(2'500);
  EXPECT_FALSE(start.spool.started());
  world.disk.faults.erase(Fault::kSync);
  world.loop.run_for(2'500);
  EXPECT_FALSE(start.spool.started());
  EXPECT_EQ(world.disk.files[path].bytes, before);
  world.disk.faults.clear();
  world.loop.run_for(2'500);
  EXPECT_TRUE(start.spool.started());
  // Nothing is known of it, so it is set aside, whole.
  EXPECT_EQ(world.disk.files[path + ".bad"].bytes, before);
}

// Parcels, acks, refusals, bounds and faults in any order; a kill or a power cut at any step; several starts.
// Else the parcel would bring the boot back without its signed hello, and no gateway would ever take it.
TEST(SpoolState, ABootOfWhichAParcelIsBeingMadeIsNotForgotten) {
  SpoolState state(10);
  state.find_or_add(5).packing = true;
  state.find_or_add(6);
  state.forget_finished();
  ASSERT_NE(state.find(5), nullptr);
  EXPECT_EQ(state.find(6), nullptr);
  state.find(5)->packing = false;
  state.forget_finished();
  EXPECT_EQ(state.find(5), nullptr);
}

TEST(Spool, NoCrashForgetsAParcelThatWasOffered) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    World world(seed);
    Ordinals made, acked;
    SpoolOptions options;
    options.file_bytes = 2'000;
    options.bytes_max = 40'000;
    for (uint64_t boot = 1; boot <= 4; ++boot) {
      Start start(world, options, boot);
      ASSERT_TRUE(start.opened.has_value());
      const uint64_t steps = 5 + world.random.below(50);
      for (uint64_t i = 0; i < steps; ++i) {
        start.parcel(1 + world.random.below(3));
        const auto& boots = start.spool.state().boots();
        const uint64_t some = boots[world.random.below(boots.size())]->id;
        uint64_t seq = 0;
        size_t bytes = 0;
        if (world.random.below(2) == 0 && start.spool.next(some, world.random.below(5), UINT64_MAX, &seq, &bytes)) {
          const auto up = start.spool.read(some, seq);
          ASSERT_FALSE(up.empty());
          if (world.random.below(4) == 0) {
            start.spool.refused(some, seq);
          } else {
            const auto facts = parse_parcel(*parcel_in_up(up));
            for (const auto& run : facts->runs) note(acked, some, run);
            for (const Gap& gap : facts->gaps) note(acked, some, gap.run);
            start.spool.settled(some, seq, seq);
          }
        }
        if (world.random.below(5) == 0) start.name_gaps(some);
        if (world.random.below(5) == 0) start.spool.enforce(0);
        world.disk.faults.clear();
        if (world.random.below(6) == 0) {
          world.disk.faults.insert(static_cast<FakeDisk::Fault>(1 + world.random.below(6)));
        }
        if (world.random.below(3) == 0) {
          world.loop.run_for(static_cast<int64_t>(world.random.below(3000)));
        } else {
          for (uint64_t k = world.random.below(12); k > 0; --k) world.loop.step(world.clock.now_us);
        }
      }
      for (const auto& [place, runs] : start.made) {
        for (const auto& [first, last] : runs.runs()) made[place].add(first, last);
      }
      start.spool.~Spool();
      world.loop.clear();
      world.disk.faults.clear();
      world.random.below(2) == 0 ? world.disk.power_cut() : world.disk.kill();
      new (&start.spool) Spool(world.env, Start::with_dir(options));
      ASSERT_TRUE(start.spool.open().has_value());
      start.spool.start();
      world.loop.run_for(100);
      Ordinals stored = acked, gaps;
      drain(start.spool, stored, gaps);
      expect_covered(made, stored, gaps, "seed " + std::to_string(seed) + " boot " + std::to_string(boot));
      if (HasFatalFailure()) return;
      world.loop.clear();
    }
  }
}

}  // namespace
}  // namespace lambda::agent
