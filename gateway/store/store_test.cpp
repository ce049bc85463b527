// What a user of the store sees: what is stored, what is refused, what a crash leaves.
#include "gateway/store/store.h"
#include "base/record/record.h"
#include "gateway/store/record_body.h"

#include "gateway/store/test_world.h"

namespace lambda::gateway {
namespace {

TEST(Store, StoresAParcelAndGivesItsPointsBack) {
  TestWorld world;
  world.open();
  TestDevice device;
  const Decision decision = world.put(device.parcel({test_block(1, 0, 120), test_block(2, 0, 60)}, {1, 2}));
  EXPECT_EQ(decision.verdict, Verdict::kStored);
  EXPECT_EQ(decision.points_new, 180u);
  const auto samples = read_series(*world.store, 1);
  ASSERT_EQ(samples.size(), 120u);
  EXPECT_EQ(samples[7].value, 7.0);
  EXPECT_EQ(samples[7].time_ms, 1'700'000'000'700);
  EXPECT_EQ(read_series(*world.store, 2).size(), 60u);
  EXPECT_EQ(world.store->ack_state("press-7", 11).contiguous_seq, 1u);
}

TEST(Store, AnswersOnlyAfterTheSync) {
  TestWorld world;
  world.open();
  TestDevice device;
  bool answered = false;
  const uint64_t syncs = world.disk.syncs;
  world.store->put(device.parcel({test_block(1, 0, 10)}, {1}), [&](const Decision&) {
    answered = true;
    EXPECT_GT(world.disk.syncs, syncs);
  });
  world.loop.run();
  EXPECT_TRUE(answered);
}

TEST(Store, KeepsWhatItAckedThroughAPowerCut) {
  for (uint32_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    TestWorld world;
    world.open();
    TestDevice device;
    ASSERT_EQ(world.put(device.parcel({test_block(1, 0, 100)}, {1})).verdict, Verdict::kStored);
    ASSERT_EQ(world.put(device.parcel({test_block(1, 100, 100)})).verdict, Verdict::kStored);
    world.power_cut(random);
    world.open();
    EXPECT_EQ(read_series(*world.store, 1).size(), 200u);
    EXPECT_EQ(world.store->ack_state("press-7", 11).contiguous_seq, 2u);
  }
}

TEST(Store, CountsEachOrdinalOnceHoweverItIsPacked) {
  TestWorld world;
  world.open();
  TestDevice device;
  world.put(device.parcel({test_block(1, 0, 100)}, {1}));
  const Decision partial = world.put(device.parcel({test_block(1, 50, 100)}));
  EXPECT_EQ(partial.verdict, Verdict::kStored);
  EXPECT_EQ(partial.points_new, 50u);
  EXPECT_EQ(partial.points_duplicate, 50u);
  EXPECT_EQ(world.put(device.parcel({test_block(1, 20, 130)})).verdict, Verdict::kDuplicate);
  EXPECT_EQ(read_series(*world.store, 1).size(), 150u);
  EXPECT_EQ(world.store->ack_state("press-7", 11).contiguous_seq, 3u);
}

TEST(Store, RefusesOtherContentOfAStoredOrdinalAndKeepsNothingOfThatParcel) {
  TestWorld world;
  world.open();
  TestDevice device;
  world.put(device.parcel({test_block(1, 0, 100)}, {1}));
  for (const auto& block :
       {test_block(1, 0, 100, 1'700'000'000'000, 1), test_block(1, 50, 100, 1'700'000'000'000, 1)}) {
    const Decision decision = world.put(device.parcel_of(9, {test_block(1, 200, 10), block}));
    EXPECT_EQ(decision.verdict, Verdict::kConflict);
    EXPECT_NE(decision.text.find("ref 1"), std::string::npos);
  }
  EXPECT_EQ(read_series(*world.store, 1).size(), 100u);
  EXPECT_EQ(world.store->ack_state("press-7", 11).ranges.size(), 0u);
}

TEST(Store, AsksForDeclarationsItLacks) {
  TestWorld world;
  world.open();
  TestDevice device;
  const Decision decision = world.put(device.parcel_of(1, {test_block(1, 0, 5), test_block(4, 0, 5)}, {1}));
  EXPECT_EQ(decision.verdict, Verdict::kUndeclared);
  EXPECT_EQ(decision.refs, std::vector<uint32_t>{4});
  EXPECT_EQ(world.put(device.parcel_of(2, {}, {1, 4})).verdict, Verdict::kStored);
  EXPECT_EQ(world.put(device.parcel_of(1, {test_block(1, 0, 5), test_block(4, 0, 5)}, {1})).verdict, Verdict::kStored);
}

TEST(Store, AParcelSentTwiceAtOnceIsStoredOnceAndBothAreAnsweredAfterTheSync) {
  TestWorld world;
  world.open();
  TestDevice device;
  const StoreRequest request = device.parcel({test_block(1, 0, 100)}, {1});
  std::vector<Verdict> verdicts;
  const auto again = [&] {
    // A request holds views of its own message: a copy must be made anew.
    TestDevice same;
    world.store->put(same.parcel({test_block(1, 0, 100)}, {1}), [&](const Decision& decision) {
      verdicts.push_back(decision.verdict);
      EXPECT_EQ(world.disk.syncs, 1u);
    });
  };
  again();
  again();
  again();
  world.loop.run();
  EXPECT_EQ(verdicts, (std::vector<Verdict>{Verdict::kStored, Verdict::kDuplicate, Verdict::kDuplicate}));
  EXPECT_EQ(world.store->counters().points_stored, 100u);
  EXPECT_EQ(read_series(*world.store, 1).size(), 100u);
}

TEST(Store, ManyParcelsShareOneSync) {
  TestWorld world;
  world.open();
  TestDevice device;
  int stored = 0;
  for (int i = 0; i < 200; ++i) {
    world.store->put(device.parcel({test_block(1, static_cast<uint64_t>(i) * 10, 10)}, {1}),
                     [&](const Decision& decision) { stored += decision.verdict == Verdict::kStored ? 1 : 0; });
  }
  world.loop.run();
  EXPECT_EQ(stored, 200);
  EXPECT_LE(world.disk.syncs, 2u);
  EXPECT_EQ(world.store->ack_state("press-7", 11).contiguous_seq, 200u);
}

TEST(Store, AFailedSyncIsNeverBelievedAndTheParcelIsTakenLater) {
  TestWorld world;
  world.open();
  TestDevice device;
  world.put(device.parcel({test_block(1, 0, 10)}, {1}));
  world.disk.fail_syncs = 1;
  EXPECT_EQ(world.put(device.parcel_of(2, {test_block(1, 10, 10)})).verdict, Verdict::kBusy);
  EXPECT_EQ(read_series(*world.store, 1).size(), 10u);
  EXPECT_EQ(world.store->counters().sync_errors, 1u);
  EXPECT_EQ(world.put(device.parcel_of(2, {test_block(1, 10, 10)})).verdict, Verdict::kStored);
  std::mt19937 random(1);
  world.power_cut(random);
  world.open();
  EXPECT_EQ(read_series(*world.store, 1).size(), 20u);
  EXPECT_EQ(world.store->devices()[0].points, 20u);
}

// The next batch is decided and encoded while the one before is on its way to the disk.
TEST(Store, AFailedBatchTakesNothingAlongThatWasDecidedMeanwhileAndGivesNothingToIt) {
  TestWorld world;
  world.open();
  TestDevice device;
  world.put(device.parcel({test_block(1, 0, 10)}, {1}));
  std::map<std::string, Verdict> verdicts;
  const auto put = [&](const std::string& name, StoreRequest request) {
    world.store->put(std::move(request), [&, name](const Decision& decision) { verdicts[name] = decision.verdict; });
  };
  TestDevice other{.name = "press-8"};
  world.disk.fail_syncs = 1;
  put("fails", device.parcel_of(2, {test_block(1, 10, 10), test_block(2, 0, 10)}, {2}));
  world.disk.sync_turns = 50;
  const uint64_t syncs = world.disk.syncs;
  while (world.disk.syncs == syncs && world.loop.step(false)) {
  }
  ASSERT_TRUE(verdicts.empty()) << "the batch is still on its way";
  put("independent", other.parcel_of(1, {test_block(1, 0, 30)}, {1}));
  put("same points", device.parcel_of(3, {test_block(1, 15, 10)}));
  put("its declaration", device.parcel_of(4, {test_block(2, 10, 10)}));
  put("again", device.parcel_of(2, {test_block(1, 10, 10), test_block(2, 0, 10)}, {2}));
  world.loop.run();
  EXPECT_EQ(verdicts["fails"], Verdict::kBusy);
  EXPECT_EQ(verdicts["independent"], Verdict::kStored);
  EXPECT_EQ(verdicts["same points"], Verdict::kStored);
  EXPECT_EQ(verdicts["its declaration"], Verdict::kUndeclared);
  EXPECT_EQ(verdicts["again"], Verdict::kStored);
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(read_series(*world.store, 1, "press-7").size(), 25u);
    EXPECT_EQ(read_series(*world.store, 2, "press-7").size(), 10u);
    EXPECT_EQ(read_series(*world.store, 1, "press-8").size(), 30u);
    world.kill();
    world.open();
  }
}

// A process that was killed between writing and syncing leaves bytes that only look stored.
TEST(Store, WhatAStartCannotSyncIsWrittenAgainBeforeItIsBelieved) {
  TestWorld world;
  world.open();
  TestDevice device;
  world.put(device.parcel({test_block(1, 0, 10)}, {1}));
  world.store->put(device.parcel_of(2, {test_block(1, 10, 10)}), [](const Decision&) {});
  const uint64_t appended = world.disk.appended_bytes;
  while (world.disk.appended_bytes == appended && world.loop.step(false)) {
  }
  ASSERT_GT(world.disk.appended_bytes, appended);
  world.kill();
  world.disk.fail_syncs = 1;
  world.open();
  EXPECT_EQ(world.disk.fail_syncs, 0);
  EXPECT_TRUE(world.log.has("segment_sync_failed"));
  EXPECT_EQ(read_series(*world.store, 1).size(), 20u);
  for (const auto& [path, file] : world.disk.files) EXPECT_FALSE(path.ends_with(".again")) << path;
  std::mt19937 random(1);
  world.power_cut(random);
  world.open();
  EXPECT_EQ(read_series(*world.store, 1).size(), 20u);
}

TEST(Store, WhatAStartWritesAgainLosesNothingWhenItsLengthCannotBeTold) {
  TestWorld world;
  world.open();
  TestDevice device;
  world.put(device.parcel({test_block(1, 0, 10)}, {1}));
  world.kill();
  world.disk.fail_syncs = 1;
  world.disk.fail_sizes = 1;
  auto opened = Store::open(world.env, world.options);
  ASSERT_TRUE(opened.has_value()) << opened.error().text;
  world.store = std::move(*opened);
  for (int i = 0; i < 10 && !world.store->ready(); ++i) world.loop.run(true);
  ASSERT_TRUE(world.store->ready());
  EXPECT_EQ(world.disk.fail_syncs, 0);
  EXPECT_EQ(world.disk.fail_sizes, 0);
  EXPECT_EQ(read_series(*world.store, 1).size(), 10u);
}

TEST(Store, APointThatStandsInTwoSegmentsCountsOnce) {
  TestWorld world;
  world.open();
  TestDevice device;
  world.put(device.parcel({test_block(1, 0, 10)}, {1}));
  world.kill();
  const std::string path = "/store/" + numbered_name("seg-", 1);
  ASSERT_EQ(world.disk.files.count(path), 1u);
  world.disk.files["/store/" + numbered_name("seg-", 2)] = world.disk.files[path];  // its header is another file's
  world.open();
  EXPECT_TRUE(world.log.has("points_twice"));
  EXPECT_EQ(world.store->devices()[0].points, 10u);
  EXPECT_EQ(read_series(*world.store, 1).size(), 10u);
}

TEST(Store, APointOfAMergedSegmentThatAnotherOneHoldsTooCountsOnce) {
  TestWorld world;
  world.open();
  TestDevice device;
  const StoreRequest parcel = device.parcel({test_block(1, 0, 10)}, {1});
  const std::string_view block = parcel.blocks[0].bytes;
  std::vector<uint8_t> space(1'024);
  BlockOptions options;
  options.boot = device.boot;
  options.ref = 1;
  options.write_boot = true;
  BlockWriter writer(space, options);
  std::vector<Point> points(kBlockPointsMax);
  BlockInfo info;
  ASSERT_TRUE(
      decode_block({reinterpret_cast<const uint8_t*>(block.data()), block.size()}, device.boot, &info, points).ok());
  for (uint32_t i = 0; i < info.count; ++i) ASSERT_EQ(writer.append(points[i]), AppendResult::kOk);
  world.put(parcel);
  world.kill();
  std::vector<std::byte> merged;
  append_file_header(merged, {FileKind::kSegment, 9, 0, kOwnerMerged});
  append_replaces(merged, std::vector<uint64_t>{8});
  append_merged(merged, device.name, writer.seal());
  append_end(merged, {2, merged.size()});
  world.disk.files["/store/" + numbered_name("seg-", 9)].bytes.assign(reinterpret_cast<const char*>(merged.data()),
                                                                      merged.size());
  world.open();
  EXPECT_TRUE(world.log.has("points_twice segment=9"));
  EXPECT_EQ(world.store->devices()[0].points, 10u);
  EXPECT_EQ(world.store->devices()[0].blocks, 1u);
  EXPECT_EQ(read_series(*world.store, 1).size(), 10u);
}

TEST(Store, AFailedAppendLeavesNothingBehind) {
  TestWorld world;
  world.open();
  TestDevice device;
  world.put(device.parcel({test_block(1, 0, 10)}, {1}));
  world.disk.fail_appends = 1;
  world.disk.append_error = ErrorCode::kFull;
  EXPECT_EQ(world.put(device.parcel_of(2, {test_block(1, 10, 10)})).verdict, Verdict::kFull);
  world.clock.us += 1'000'000;
  EXPECT_EQ(world.put(device.parcel_of(2, {test_block(1, 10, 10)})).verdict, Verdict::kStored);
  world.kill();
  world.open();
  EXPECT_EQ(read_series(*world.store, 1).size(), 20u);
  EXPECT_FALSE(world.log.has("points_twice"));
}

TEST(Store, WithholdsAcksBelowTheWatermarkAndResumesAboveTheOther) {
  TestWorld world;
  world.open();
  TestDevice device;
  world.disk.free = world.options.free_bytes_min - 1;
  world.clock.us += 1'000'000;
  EXPECT_EQ(world.put(device.parcel_of(1, {test_block(1, 0, 10)}, {1})).verdict, Verdict::kFull);
  EXPECT_TRUE(world.store->full());
  world.disk.free = world.options.free_bytes_min + 1;
  world.clock.us += 1'000'000;
  EXPECT_EQ(world.put(device.parcel_of(1, {test_block(1, 0, 10)}, {1})).verdict, Verdict::kFull);
  world.disk.free = world.options.free_bytes_resume;
  world.clock.us += 1'000'000;
  EXPECT_EQ(world.put(device.parcel_of(1, {test_block(1, 0, 10)}, {1})).verdict, Verdict::kStored);
  EXPECT_FALSE(world.store->full());
}

TEST(Store, PastTheBoundOfWhatMayWaitParcelsAreBusyNotLost) {
  TestWorld world;
  world.options.batch_parcels_max = 3;
  world.open();
  TestDevice device;
  int stored = 0;
  int busy = 0;
  for (uint64_t i = 0; i < 10; ++i) {
    world.store->put(device.parcel_of(i + 1, {test_block(1, i * 10, 10)}, {1}), [&](const Decision& decision) {
      stored += decision.verdict == Verdict::kStored ? 1 : 0;
      busy += decision.verdict == Verdict::kBusy ? 1 : 0;
    });
  }
  world.loop.run();
  EXPECT_EQ(stored, 3);
  EXPECT_EQ(busy, 7);
  EXPECT_EQ(world.store->counters().parcels_withheld_busy, 7u);
}

TEST(Store, GapsAreShownLessWhatWasStoredAfterAll) {
  TestWorld world;
  world.open();
  TestDevice device;
  world.put(device.parcel({test_block(1, 0, 10)}, {1}, {{1, 10, 20, GapReason::kSpoolBytes}}));
  EXPECT_EQ(world.store->devices()[0].gap_points, 20u);
  EXPECT_EQ(world.put(device.parcel({}, {}, {{1, 10, 20, GapReason::kSpoolBytes}})).verdict, Verdict::kDuplicate);
  EXPECT_EQ(world.put(device.parcel({}, {}, {{1, 5, 10, GapReason::kMemory}})).verdict, Verdict::kStored);
  EXPECT_EQ(world.store->devices()[0].gap_points, 20u);
  world.put(device.parcel({test_block(1, 15, 5)}));
  EXPECT_EQ(world.store->devices()[0].gap_points, 15u);
  world.kill();
  world.open();
  EXPECT_EQ(world.store->devices()[0].gap_points, 15u);
}

TEST(Store, TheAckStateKnowsHolesAndFloors) {
  TestWorld world;
  world.open();
  TestDevice device;
  for (const uint64_t seq : {1, 2, 5, 6, 9}) world.put(device.parcel_of(seq, {test_block(1, seq * 10, 10)}, {1}));
  AckState state = world.store->ack_state("press-7", 11);
  EXPECT_EQ(state.contiguous_seq, 2u);
  EXPECT_EQ(state.ranges, (std::vector<std::pair<uint64_t, uint64_t>>{{5, 6}, {9, 9}}));
  world.store->raise_floor("press-7", 11, 5);
  state = world.store->ack_state("press-7", 11);
  EXPECT_EQ(state.contiguous_seq, 6u);
  EXPECT_EQ(state.ranges, (std::vector<std::pair<uint64_t, uint64_t>>{{9, 9}}));
  EXPECT_EQ(world.store->ack_state("press-7", 12).contiguous_seq, 0u);
  EXPECT_EQ(world.store->ack_state("other", 11).contiguous_seq, 0u);
}

TEST(Store, TheLaterBootWinsAtEqualTimeByHelloWhateverTheNumbersAre) {
  TestWorld world;
  world.open();
  TestDevice first{.boot = 99};
  TestDevice second{.boot = 3};
  const int64_t t0 = 1'700'000'000'000;
  int hellos = 0;
  const auto done = [&](const Status& status) { hellos += status ? 1 : 0; };
  world.store->put_hello(second.hello(99, 500), done);  // its clock was behind: only the chain orders it
  world.store->put_hello(first.hello(0, 1'000), done);
  world.store->put_hello(first.hello(0, 1'000), done);
  world.put(second.parcel({test_block(1, 0, 10, t0, 512)}, {1}));
  world.put(first.parcel({test_block(1, 0, 20, t0)}, {1}));
  EXPECT_EQ(hellos, 3);
  for (int round = 0; round < 2; ++round) {
    const auto samples = read_series(*world.store, 1);
    ASSERT_EQ(samples.size(), 20u);
    EXPECT_EQ(samples[4].value, 4.5);
    EXPECT_EQ(samples[14].value, 14.0);
    world.kill();
    world.open();
  }
}

TEST(Store, SumsUpBlocksSoThatSumsStayWhatTheyAreWhateverOverlaps) {
  TestWorld world;
  world.open();
  TestDevice first{.boot = 1};
  TestDevice second{.boot = 2};
  const int64_t t0 = 1'700'000'000'000;
  world.store->put_hello(first.hello(0, t0), [](const Status&) {});
  world.store->put_hello(second.hello(1, t0 + 1), [](const Status&) {});
  TestBlock odd = test_block(1, 40, 10, t0 + 40'000);
  odd.points[5].bits = std::bit_cast<uint64_t>(std::nan(""));
  world.put(first.parcel({test_block(1, 0, 20, t0), test_block(1, 20, 20, t0 + 20'000), odd}, {1}));
  world.put(second.parcel({test_block(1, 0, 20, t0 + 30'000, 512), test_block(1, 20, 20, t0 + 60'000)}, {1}));
  std::mt19937 random(1);
  uint64_t summed_up = 0;
  for (int round = 0; round < 300; ++round) {
    const auto pick = [&](int64_t below) { return static_cast<int64_t>(random() % static_cast<uint64_t>(below)); };
    const query::Windows windows{t0 + pick(90'000), 1 + pick(40'000), static_cast<uint64_t>(1 + pick(5)),
                                 1 + pick(60'000)};
    const auto last_ms = windows.first_end_ms + windows.step_ms * static_cast<int64_t>(windows.count - 1);
    const auto ask = [&] {
      auto found = world.store->select({{"__name__", query::MatchOp::kEqual, "m1"}},
                                       windows.first_end_ms - windows.range_ms + 1, last_ms, 10);
      EXPECT_TRUE(found.has_value());
      return std::move(*found);
    };
    const query::Selection plain = ask();
    const query::Selection summed = ask();
    ASSERT_EQ(plain.series.size(), summed.series.size());
    if (plain.series.empty()) continue;
    const auto samples = plain.series[0].cursor->read(1'000).value();
    const auto gathered = summed.series[0].cursor->gather(windows, 1'000).value();
    summed_up += gathered.runs.size();
    for (uint64_t i = 0; i < windows.count; ++i) {
      const int64_t end_ms = windows.first_end_ms + static_cast<int64_t>(i) * windows.step_ms;
      const auto within = [&](int64_t time_ms) { return time_ms <= end_ms && time_ms > end_ms - windows.range_ms; };
      double sum = 0, count = 0, gathered_sum = 0, gathered_count = 0;
      const auto add = [&](const query::Sample& sample, double& to, double& counted) {
        if (!within(sample.time_ms)) return;
        counted += 1;
        to += std::isnan(sample.value) ? 1e6 : sample.value;
      };
      for (const auto& sample : samples) add(sample, sum, count);
      for (const auto& sample : gathered.samples) add(sample, gathered_sum, gathered_count);
      for (const auto& run : gathered.runs) {
        ASSERT_EQ(within(run.t_min), within(run.t_max)) << "round " << round;
        if (!within(run.t_min)) continue;
        gathered_count += static_cast<double>(run.count);
        gathered_sum += run.sum;
      }
      ASSERT_EQ(count, gathered_count) << "round " << round;
      ASSERT_DOUBLE_EQ(sum, gathered_sum) << "round " << round;
    }
  }
  EXPECT_GT(summed_up, 50u);
  EXPECT_GT(world.store->counters().summary_hits, 50u);
}

TEST(Store, AtEqualTimeTheHigherOrdinalWins) {
  TestWorld world;
  world.open();
  TestDevice device;
  TestBlock block = test_block(1, 0, 3);
  block.points[2].time_ms = block.points[0].time_ms;
  world.put(device.parcel({block}, {1}));
  const auto samples = read_series(*world.store, 1);
  ASSERT_EQ(samples.size(), 2u);
  EXPECT_EQ(samples[0].value, 2.0);
  EXPECT_EQ(samples[1].value, 1.0);
}

TEST(Store, ClockOffsetsAreAppliedWhenReadingAndMayComeLater) {
  TestWorld world;
  world.open();
  TestDevice device;
  TestBlock block = test_block(1, 0, 10, 5'000);
  block.clock = 2;
  world.put(device.parcel({block}, {1}, {}, {{2, true, 0, false}}));
  EXPECT_TRUE(read_series(*world.store, 1).empty());
  auto selection = world.store->select({{"__name__", query::MatchOp::kEqual, "m1"}}, INT64_MIN, INT64_MAX, 10);
  ASSERT_TRUE(selection.has_value());
  EXPECT_EQ(selection->warnings.size(), 1u);
  const int64_t start = 1'700'000'000'000;
  world.put(device.parcel({}, {}, {}, {{2, true, start, true}}));
  for (int round = 0; round < 2; ++round) {
    const auto samples = read_series(*world.store, 1, "", start + 5'000, start + 5'200);
    ASSERT_EQ(samples.size(), 3u);
    EXPECT_EQ(samples[2].time_ms, start + 5'200);
    world.kill();
    world.open();
  }
}

// Points that have just come, laid over what is stored: each once, and at equal times the winner is who it would be if
// all were stored. The naive reading: all points of all sides in one map by (time), the greatest (boot, ordinal) wins.
TEST(Store, PointsThatHaveJustComeCountOnceWhicheverLaneBroughtThem) {
  const int64_t t0 = 1'700'000'000'000;
  for (uint32_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    TestWorld world;
    world.open();
    std::map<int64_t, std::pair<std::pair<uint64_t, uint64_t>, double>> wanted;  // time -> (rank, ordinal), value
    std::vector<query::FreshPoint> fresh;
    const uint64_t ids[] = {0, 3, 5, 2};          // of boots, in no order
    for (uint64_t boot = 1; boot <= 3; ++boot) {  // of the third nothing is stored, not even its hello
      TestDevice device{.boot = ids[boot]};
      if (boot < 3) world.store->put_hello(device.hello(ids[boot - 1], t0 + 1), [](const Status&) {});
      uint64_t ordinal = 0;
      int64_t time_ms = t0 + static_cast<int64_t>(random() % 50) * 1000;
      for (int block = 0; block < 4; ++block) {
        TestBlock made;
        made.ref = 1;
        made.first = ordinal;
        for (size_t i = 0, count = 1 + random() % 20; i < count; ++i, ++ordinal) {
          time_ms += random() % 9 == 0 ? -3000 : 1000;
          const double value = static_cast<double>(boot * 1000 + ordinal);
          made.points.push_back({time_ms, std::bit_cast<uint64_t>(value)});
          auto& best = wanted[time_ms];
          if (std::pair(boot, ordinal) >= best.first) best = {{boot, ordinal}, value};
          const bool stored = boot < 3 && block < 3;
          const int times = stored ? static_cast<int>(random() % 2) : 1 + static_cast<int>(random() % 2);
          for (int again = 0; again < times; ++again) fresh.push_back({device.boot, 1, 0, ordinal, {time_ms, value}});
        }
        if (boot < 3 && block < 3) {
          ASSERT_EQ(world.put(device.parcel({made}, {1})).verdict, Verdict::kStored);
        }
      }
    }
    std::shuffle(fresh.begin(), fresh.end(), random);
    auto selection =
        world.store->select({{"__name__", query::MatchOp::kEqual, "m1"}}, t0 - 100'000, t0 + 1'000'000, 10);
    ASSERT_TRUE(selection.has_value());
    ASSERT_EQ(selection->series.size(), 1u);
    ASSERT_TRUE(selection->series[0].cursor->add(fresh));
    const auto samples = selection->series[0].cursor->read(10'000);
    ASSERT_TRUE(samples.has_value());
    ASSERT_EQ(samples->size(), wanted.size());
    auto at = wanted.begin();
    for (const query::Sample& sample : *samples) {
      ASSERT_EQ(sample.time_ms, at->first);
      ASSERT_EQ(sample.value, at->second.second) << sample.time_ms - t0;
      ++at;
    }
  }
}

TEST(Store, PointsThatHaveJustComeGetTheOffsetOfTheirClock) {
  TestWorld world;
  world.open();
  TestDevice device;
  ClockView clock;
  clock.segment = 2;
  clock.known = true;
  clock.relative = true;
  clock.offset_ms = 1'700'000'000'000;
  TestBlock block = test_block(1, 0, 10, 5'000);
  block.clock = 2;
  ASSERT_EQ(world.put(device.parcel({block}, {1}, {}, {clock})).verdict, Verdict::kStored);
  auto selection = world.store->select({}, 1'700'000'000'000, 1'700'000'100'000, 10);
  ASSERT_TRUE(selection.has_value());
  ASSERT_EQ(selection->series.size(), 1u);
  std::vector<query::FreshPoint> fresh{{device.boot, 1, 2, 9, {5'900, 9}}, {device.boot, 1, 2, 10, {15'000, 77}}};
  ASSERT_TRUE(selection->series[0].cursor->add(fresh));
  const auto samples = selection->series[0].cursor->read(100);
  ASSERT_TRUE(samples.has_value());
  ASSERT_EQ(samples->size(), 11u);
  EXPECT_EQ(samples->back().time_ms, 1'700'000'015'000);
  EXPECT_EQ(samples->back().value, 77);
}

TEST(Store, WhatQuestionsHoldIsBoundedAndListsHoldNothing) {
  TestWorld world;
  world.options.selected_blocks_max = 10;
  world.options.held_blocks_max = 15;
  world.open();
  TestDevice device;
  for (uint64_t i = 0; i < 8; ++i) {
    world.put(device.parcel({test_block(1, i * 10, 10), test_block(2, i * 10, 10)}, {1, 2}));
  }
  const std::vector<query::Matcher> one = {{"__name__", query::MatchOp::kEqual, "m1"}};
  const auto code = [](const Result<query::Selection>& result) {
    return result ? std::nullopt : std::optional(result.error().code);
  };
  EXPECT_EQ(code(world.store->select({}, INT64_MIN, INT64_MAX, 10)), ErrorCode::kFull) << "16 blocks";
  {
    const auto first = world.store->select(one, INT64_MIN, INT64_MAX, 10);
    ASSERT_TRUE(first.has_value());
    EXPECT_EQ(code(world.store->select(one, INT64_MIN, INT64_MAX, 10)), ErrorCode::kUnavailable);
    const auto listed = world.store->list({}, INT64_MIN, INT64_MAX, 10);
    ASSERT_TRUE(listed.has_value());
    EXPECT_EQ(listed->series.size(), 2u);
  }
  EXPECT_EQ(code(world.store->select(one, INT64_MIN, INT64_MAX, 10)), std::nullopt);
  EXPECT_EQ(world.store->list({}, INT64_MIN, 1'699'999'999'999, 10)->series.size(), 0u);
  EXPECT_EQ(code(world.store->list({}, INT64_MIN, INT64_MAX, 1)), ErrorCode::kFull);
}

TEST(Store, AnotherProcessIsKeptOut) {
  TestWorld world;
  world.open();
  const auto second = Store::open(world.env, world.options);
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code, ErrorCode::kDenied);
}

TEST(Store, AFlippedByteCostsOneRecordAndIsNamed) {
  TestWorld world;
  world.open();
  TestDevice device;
  for (uint64_t i = 0; i < 5; ++i) world.put(device.parcel({test_block(1, i * 10, 10)}, {1}));
  world.close();
  std::string& bytes = world.disk.files.begin()->second.bytes;
  const std::string good = bytes;
  for (size_t at = 0; at < good.size(); at += 7) {
    SCOPED_TRACE("byte " + std::to_string(at));
    bytes = good;
    bytes[at] ^= 0x11;
    world.log.lines.clear();
    world.open();
    EXPECT_GE(read_series(*world.store, 1).size(), at < 400 ? 0u : 40u);
    EXPECT_GE(world.store->devices().empty() ? 40u : world.store->devices()[0].points, 40u);
    EXPECT_GE(world.store->counters().damaged_records + world.store->counters().torn_bytes, 1u);
    EXPECT_TRUE(world.log.has("damaged") || world.log.has("tail_cut"));
    const auto selection = world.store->select({}, INT64_MIN, INT64_MAX, 10);
    ASSERT_TRUE(selection.has_value());
    EXPECT_EQ(selection->warnings.size(), world.store->counters().damaged_records > 0 ? 1u : 0u);
    world.close();
  }
}

}  // namespace
}  // namespace lambda::gateway
