// Merging and retention, and what is left of an index that went bad.
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/record/record.h"
#include "gateway/store/inspect.h"
#include "gateway/store/record_body.h"
#include "gateway/store/test_world.h"

namespace lambda::gateway {
namespace {

struct BackgroundWorld : TestWorld {
  BackgroundWorld() { options.segment_bytes_max = 8'000; }
  void fill(uint64_t from, uint64_t to) {
    for (uint64_t i = from; i < to; ++i) {
      ASSERT_EQ(put(device.parcel({test_block(1, i * 10, 10), test_block(2, i * 10, 10)}, {1, 2})).verdict,
                Verdict::kStored);
    }
  }
  void merge() {
    for (int i = 0; i < 100; ++i) {
      while (store->merge_slice()) {
      }
      loop.run();
    }
  }
  void retain() {
    for (int i = 0; i < 100; ++i) {
      while (store->retention_slice()) {
      }
      loop.run();
    }
  }
  // Of segment records of a type, in all files.
  struct Records {
    size_t count = 0;
    uint64_t bytes = 0;
  };
  Records records(SegmentRecord type) {
    Records found;
    for (const auto& [path, file] : disk.files) {
      if (!path.ends_with(".lam")) continue;
      (void)scan_records(disk, path, 0, [&](const RecordView& record) {
        if (record.type != static_cast<uint8_t>(type)) return true;
        found.count++;
        found.bytes += record.body.size();
        return true;
      });
    }
    return found;
  }
  // Blocks of merged records that are written in a codec.
  size_t merged_in(Codec codec) {
    size_t found = 0;
    for (const auto& [path, file] : disk.files) {
      if (!path.ends_with(".lam")) continue;
      (void)scan_records(disk, path, 0, [&](const RecordView& record) {
        if (record.type != static_cast<uint8_t>(SegmentRecord::kMerged)) return true;
        const auto merged = parse_merged(record.body);
        EXPECT_TRUE(merged) << path;
        found += merged && merged->block.info.codec == codec ? 1 : 0;
        return true;
      });
    }
    return found;
  }
  void restart() {
    kill();
    open();
  }
  TestDevice device;
};

TEST(StoreMerge, SmallBlocksBecomeFewAndTheirPointsStayTheSame) {
  BackgroundWorld world;
  world.open();
  world.fill(0, 200);
  const auto before = read_series(*world.store, 1);
  const uint64_t blocks = world.store->devices()[0].blocks;
  world.merge();
  EXPECT_GT(world.store->counters().merged_blocks, 0u);
  EXPECT_EQ(world.store->counters().merge_mismatches, 0u);
  EXPECT_LT(world.store->devices()[0].blocks, blocks / 4);
  EXPECT_EQ(world.store->devices()[0].points, 4'000u);
  EXPECT_GT(world.merged_in(Codec::kPacked), 0u) << "merged blocks are packed where that is smaller";
  for (int round = 0; round < 2; ++round) {
    const auto after = read_series(*world.store, 1);
    ASSERT_EQ(after.size(), before.size());
    for (size_t i = 0; i < after.size(); ++i) {
      ASSERT_EQ(after[i].time_ms, before[i].time_ms);
      ASSERT_EQ(after[i].value, before[i].value);
    }
    EXPECT_EQ(world.store->ack_state("press-7", 11).contiguous_seq, 200u);
    EXPECT_EQ(world.put(world.device.parcel_of(7, {test_block(1, 60, 10)})).verdict, Verdict::kDuplicate);
    world.kill();  // the index is computed again, from merged segments
    world.open();
  }
  world.close();
  const auto report = check_store(world.disk, world.options.directory);
  EXPECT_TRUE(report->ok());
  EXPECT_EQ(report->points, 4'000u);
}

TEST(StoreMerge, IsNotBelievedWhenTheDiskGivesBackSomethingElse) {
  BackgroundWorld world;
  world.open();
  world.fill(0, 100);
  uint64_t last = 0;
  for (const auto& [path, file] : world.disk.files)
    last = std::max<uint64_t>(last, std::stoull(path.substr(path.size() - 20, 16), nullptr, 16));
  char name[32];
  std::snprintf(name, sizeof name, "%016llx.lam", static_cast<unsigned long long>(last + 1));
  world.disk.flip_in = name;
  const size_t files = world.disk.files.size();
  world.merge();
  EXPECT_EQ(world.store->counters().merge_mismatches, 1u);
  EXPECT_TRUE(world.log.has("merge_mismatch"));
  EXPECT_EQ(world.disk.files.count("/store/seg-" + std::string(name)), 0u);
  EXPECT_LE(world.disk.files.size(), files);
  EXPECT_EQ(read_series(*world.store, 1).size(), 1'000u);
  const uint64_t appended = world.disk.appended_bytes;
  world.disk.flip_in.clear();
  for (int i = 0; i < 50; ++i) EXPECT_FALSE(world.store->merge_slice());
  world.loop.run();
  EXPECT_EQ(world.disk.appended_bytes, appended) << "the same merge is tried again";
}

TEST(StoreMerge, ACursorThatWasMadeBeforeReadsOn) {
  BackgroundWorld world;
  world.open();
  world.fill(0, 200);
  auto selection = world.store->select({{"__name__", query::MatchOp::kEqual, "m1"}}, INT64_MIN, INT64_MAX, 10);
  ASSERT_TRUE(selection.has_value());
  const std::string first = world.disk.files.begin()->first;
  world.merge();
  EXPECT_GT(world.store->counters().merged_blocks, 0u);
  EXPECT_EQ(world.disk.files.count(first), 1u) << "a file that is being read was deleted";
  const auto samples = selection->series[0].cursor->read(100'000);
  ASSERT_TRUE(samples.has_value());
  EXPECT_EQ(samples->size(), 2'000u);
  EXPECT_TRUE(selection->series[0].cursor->warnings().empty());
  *selection = query::Selection{};
  world.merge();
  EXPECT_EQ(world.disk.files.count(first), 0u);
}

TEST(StoreRead, ADamagedBlockIsToldAndTheOthersAreAnswered) {
  BackgroundWorld world;
  world.open();
  world.fill(0, 10);
  auto& bytes = world.disk.files.begin()->second.bytes;
  const size_t block = bytes.find("\xB1\x01", bytes.size() / 2);
  ASSERT_NE(block, std::string::npos);
  bytes[block + 12] ^= 0x08;
  auto selection = world.store->select({{"__name__", query::MatchOp::kRegex, "m[12]"}}, INT64_MIN, INT64_MAX, 10);
  ASSERT_TRUE(selection.has_value());
  size_t samples = 0;
  size_t warnings = 0;
  for (auto& series : selection->series) {
    samples += series.cursor->read(1'000)->size();
    warnings += series.cursor->warnings().size();
  }
  EXPECT_EQ(samples, 190u);
  EXPECT_EQ(warnings, 1u);
  EXPECT_EQ(world.store->counters().damaged_records, 1u);
}

TEST(StoreRetention, TheOldestSegmentsGoAndTheirOrdinalsAreNeverTakenAgain) {
  BackgroundWorld world;
  world.options.retention_bytes_max = 20'000;
  world.options.merge_interval_ms = 0;
  world.open();
  world.fill(0, 200);
  world.retain();
  const uint64_t retired = world.store->counters().retired_points;
  EXPECT_GT(retired, 0u);
  EXPECT_LE(world.store->counters().segment_bytes, 28'000u);
  const size_t left = read_series(*world.store, 1).size();
  EXPECT_EQ(left, 2'000u - retired / 2);
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(world.put(world.device.parcel_of(1'000, {test_block(1, 0, 30)})).verdict, Verdict::kDuplicate);
    // Names outlive the segment they came in.
    EXPECT_EQ(read_series(*world.store, 1).size(), left + static_cast<size_t>(round) * 10);
    EXPECT_EQ(world.store->devices()[0].points, 4'000u + static_cast<size_t>(round) * 10);
    EXPECT_EQ(world
                  .put(world.device.parcel_of(900 + static_cast<uint64_t>(round),
                                              {test_block(1, 5'000 + static_cast<uint64_t>(round) * 10, 10)}))
                  .verdict,
              Verdict::kStored);
    world.kill();
    world.open();
  }
}

TEST(StoreRetention, OldSegmentsGoByAgeAlsoTheOneBeingWritten) {
  BackgroundWorld world;
  world.options.retention_age_ms_max = 60'000;
  world.options.merge_interval_ms = 0;
  world.open();
  world.fill(0, 20);
  world.retain();
  EXPECT_EQ(world.store->counters().retired_points, 0u);
  world.clock.us += 120'000'000;
  world.retain();
  EXPECT_EQ(world.store->counters().retired_points, 400u);
  EXPECT_TRUE(read_series(*world.store, 1).empty());
  StoreRequest late = world.device.parcel({test_block(1, 1'000, 10)});
  late.received_ms = world.clock.utc_ms();
  EXPECT_EQ(world.put(std::move(late)).verdict, Verdict::kStored);
  EXPECT_EQ(read_series(*world.store, 1).size(), 10u);
}

TEST(StoreRetention, AGapOfABootOfWhichNothingElseIsHereIsKept) {
  BackgroundWorld world;
  world.options.retention_age_ms_max = 60'000;
  world.options.merge_interval_ms = 0;
  world.open();
  TestDevice older{.boot = 5};
  ASSERT_EQ(world.put(older.parcel({}, {1}, {{1, 0, 20, GapReason::kCorrupt}})).verdict, Verdict::kStored);
  world.fill(0, 20);
  for (int round = 0; round < 2; ++round) {
    world.clock.us += 120'000'000;
    world.retain();
    EXPECT_EQ(world.store->counters().retired_points, 400u + static_cast<uint64_t>(round) * 10);
    EXPECT_EQ(world.store->devices()[0].gap_points, 20u);
    StoreRequest fresh = world.device.parcel({test_block(1, 1'000 + static_cast<uint64_t>(round) * 10, 10)}, {1});
    fresh.received_ms = world.clock.utc_ms();
    EXPECT_EQ(world.put(std::move(fresh)).verdict, Verdict::kStored);
  }
  // The rest of that boot comes out of a backlog: it stands behind a hole that is explained, once.
  EXPECT_EQ(world.put(older.parcel({}, {}, {{1, 0, 20, GapReason::kCorrupt}})).verdict, Verdict::kDuplicate);
  world.kill();
  world.open();
  EXPECT_EQ(world.store->devices()[0].gap_points, 20u);
}

// Whatever parcels told them, and however often they were carried on.
TEST(StoreRetention, GapsOfAPastBootAreKeptAsFewRunsAndNotAsTheirParcels) {
  BackgroundWorld world;
  world.options.retention_age_ms_max = 60'000;
  world.options.merge_interval_ms = 0;
  world.open();
  TestDevice older{.boot = 5};
  for (uint64_t round = 0; round < 20; ++round) {
    const auto at = world.clock.utc_ms();
    for (uint64_t i = 0; i < 5; ++i) {
      const uint64_t lost = (round * 5 + i) * 20;
      StoreRequest told = older.parcel({test_block(1, lost + 10, 10)}, {1},
                                       {{1, lost, 10, GapReason::kMemory}, {2, lost, 20, GapReason::kCorrupt}});
      told.received_ms = at;
      ASSERT_EQ(world.put(std::move(told)).verdict, Verdict::kStored);
    }
    StoreRequest fresh = world.device.parcel({test_block(1, round * 10, 10)}, {1});
    fresh.received_ms = at;
    ASSERT_EQ(world.put(std::move(fresh)).verdict, Verdict::kStored);
    world.clock.us += 120'000'000;
    world.retain();
    if (round % 7 == 3) world.restart();
  }
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(world.store->devices()[0].gap_points, 20u * 5 * 30);
    EXPECT_EQ(world.put(older.parcel_of(3, {}, {}, {{2, 40, 20, GapReason::kCorrupt}})).verdict, Verdict::kDuplicate);
    world.restart();
  }
  // A hundred holes of ref 1 remain a hundred; all of ref 2 is one.
  EXPECT_LE(world.records(SegmentRecord::kRetired).bytes, 100 * 2 * 25 + 200);
  EXPECT_LE(world.records(SegmentRecord::kSkeleton).count, 10u);  // names; one in each file that was begun
  world.close();
  const auto report = check_store(world.disk, world.options.directory);
  ASSERT_TRUE(report.has_value());
  EXPECT_TRUE(report->ok());
  EXPECT_EQ(report->gap_points, 20u * 5 * 30);
}

TEST(StoreRetention, WhatIsCarriedOnDoesNotDriveOutPointsHoweverMuchItIs) {
  BackgroundWorld world;
  world.options.retention_bytes_max = 3'000;
  world.options.merge_interval_ms = 0;
  world.open();
  for (uint64_t boot = 20; boot < 220; ++boot) {
    TestDevice past{.boot = boot};
    ASSERT_EQ(world.put(past.parcel({test_block(1, 0, 10)}, {1}, {{1, 10, 5, GapReason::kMemory}})).verdict,
              Verdict::kStored);
    if (boot % 20 == 0) world.retain();
  }
  world.retain();
  for (int round = 0; round < 2; ++round) {
    EXPECT_GT(world.store->counters().carried_bytes, 5'000u);
    world.fill(10 + static_cast<uint64_t>(round), 11 + static_cast<uint64_t>(round));
    const uint64_t retired = world.store->counters().retired_segments;
    world.retain();
    EXPECT_LE(world.store->counters().retired_segments, retired + 1);
    EXPECT_FALSE(read_series(*world.store, 2).empty());
    world.restart();
  }
}

TEST(StoreRetention, ABootThatIsKnownByItsPastAloneIsNotTakenForThePresentOne) {
  BackgroundWorld world;
  world.options.retention_age_ms_max = 60'000;
  world.options.merge_interval_ms = 0;
  world.open();
  const auto hello = [&](const TestDevice& from, uint64_t previous, int64_t started_ms) {
    HelloRecord record = from.hello(previous, started_ms);
    record.received_ms = world.clock.utc_ms();
    bool kept = false;
    world.store->put_hello(record, [&](const Status& status) { kept = status.has_value(); });
    world.loop.run();
    ASSERT_TRUE(kept);
  };
  const auto put = [&](StoreRequest request) {
    request.received_ms = world.clock.utc_ms();
    return world.put(std::move(request)).verdict;
  };
  const auto age = [&] {
    world.clock.us += 120'000'000;
    world.retain();
  };
  TestDevice past{.boot = 99};
  hello(past, 0, 1'000);
  ASSERT_EQ(put(past.parcel({test_block(1, 0, 10)}, {1}, {{1, 10, 5, GapReason::kMemory}})), Verdict::kStored);
  hello(world.device, 50, 2'000);  // one between them was never heard of
  ASSERT_EQ(put(world.device.parcel({test_block(1, 0, 10)}, {1})), Verdict::kStored);
  for (int round = 0; round < 3; ++round) {
    age();
    // What the present boot brings is found by the name that it declared before.
    const auto first = 1'000 + static_cast<uint64_t>(round) * 10;
    ASSERT_EQ(put(world.device.parcel({test_block(1, first, 10)})), Verdict::kStored) << "round " << round;
    world.restart();
    EXPECT_EQ(read_series(*world.store, 1).size(), 10u);
  }
  // Points of both boots at the same times: those of the present one win.
  ASSERT_EQ(put(past.parcel({test_block(1, 2'000, 10, 1'800'000'000'000, 1)}, {1})), Verdict::kStored);
  ASSERT_EQ(put(world.device.parcel({test_block(1, 2'000, 10, 1'800'000'000'000)})), Verdict::kStored);
  const auto expected = read_series(*world.store, 1, "", 1'800'000'000'000);
  world.restart();
  const auto again = read_series(*world.store, 1, "", 1'800'000'000'000);
  ASSERT_EQ(again.size(), 10u);
  for (size_t i = 0; i < 10; ++i) {
    EXPECT_EQ(again[i].value, expected[i].value);
    EXPECT_EQ(again[i].value, 2'000 + static_cast<double>(i));
  }
}

// A backlog of a boot whose names went with its points: they are asked for, and not believed to be known still.
TEST(StoreRetention, NamesThatWereDeletedAreAskedForAgain) {
  BackgroundWorld world;
  world.options.retention_age_ms_max = 60'000;
  world.options.merge_interval_ms = 0;
  world.open();
  const auto put = [&](StoreRequest request) {
    request.received_ms = world.clock.utc_ms();
    return world.put(std::move(request)).verdict;
  };
  TestDevice past{.boot = 5};
  ASSERT_EQ(put(past.parcel({test_block(1, 0, 10)}, {1})), Verdict::kStored);
  world.clock.us += 120'000'000;
  ASSERT_EQ(put(world.device.parcel({test_block(1, 0, 10)}, {1})), Verdict::kStored);
  world.clock.us += 10'000'000;
  world.retain();
  world.clock.us += 120'000'000;
  world.retain();
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(put(past.parcel({test_block(1, 100 + static_cast<uint64_t>(round) * 10, 10)})), Verdict::kUndeclared);
    ASSERT_EQ(put(past.parcel({test_block(1, 100 + static_cast<uint64_t>(round) * 10, 10)}, {1})), Verdict::kStored);
    ASSERT_EQ(put(world.device.parcel({test_block(1, 100 + static_cast<uint64_t>(round) * 10, 10)})), Verdict::kStored);
    EXPECT_EQ(read_series(*world.store, 1).size(), 10u);
    world.restart();
    EXPECT_EQ(read_series(*world.store, 1).size(), 10u);
    world.clock.us += 120'000'000;
    world.retain();
  }
}

TEST(StoreMerge, WhatRetentionLeftInSeveralSegmentsBecomesOneRecord) {
  BackgroundWorld world;
  world.options.retention_age_ms_max = 60'000;
  world.options.merge_interval_ms = 0;
  world.open();
  for (uint64_t round = 0; round < 6; ++round) {
    StoreRequest parcel =
        world.device.parcel({test_block(1, round * 20, 10)}, {1}, {{1, round * 20 + 10, 10, GapReason::kMemory}});
    parcel.received_ms = world.clock.utc_ms();
    ASSERT_EQ(world.put(std::move(parcel)).verdict, Verdict::kStored);
    world.clock.us += 120'000'000;
    world.retain();
    world.restart();  // each start begins a file
  }
  ASSERT_GE(world.records(SegmentRecord::kRetired).count, 4u);
  world.kill();
  world.options.merge_interval_ms = 60'000;
  world.open();
  world.merge();
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(world.records(SegmentRecord::kRetired).count, 1u);
    EXPECT_EQ(world.store->devices()[0].points, 60u);
    EXPECT_EQ(world.store->devices()[0].gap_points, 60u);
    EXPECT_EQ(world.put(world.device.parcel_of(500, {test_block(1, 20, 10)}, {1})).verdict, Verdict::kDuplicate);
    world.restart();
  }
}

TEST(StoreRetention, NothingIsDeletedWhenWhatIsRetiredCannotBeSynced) {
  BackgroundWorld world;
  world.options.retention_bytes_max = 20'000;
  world.options.merge_interval_ms = 0;
  world.open();
  world.fill(0, 200);
  const size_t files = world.disk.files.size();
  world.disk.fail_syncs = 1;
  for (int i = 0; i < 30 && world.disk.fail_syncs > 0; ++i) {
    world.store->retention_slice();
    world.loop.run();
  }
  EXPECT_EQ(world.disk.fail_syncs, 0);
  EXPECT_GE(world.disk.files.size(), files);
  EXPECT_EQ(read_series(*world.store, 1).size(), 2'000u);
}

TEST(StoreIndex, OneThatIsNoDatabaseIsComputedAgain) {
  std::string directory = "/tmp/lambda_store_index_XXXXXX";
  ASSERT_NE(mkdtemp(directory.data()), nullptr);
  BackgroundWorld world;
  world.options.directory = directory;
  world.options.index_in_memory = false;
  world.open();
  world.fill(0, 50);
  for (const size_t at : {size_t{0}, size_t{100}, size_t{5'000}, size_t{20'000}}) {
    SCOPED_TRACE(at);
    world.close();
    {
      std::fstream file(directory + "/index.db", std::ios::in | std::ios::out | std::ios::binary);
      file.seekp(static_cast<std::streamoff>(at));
      file << std::string(3'000, '\x5A');
    }
    world.open();
    for (int i = 0; i < 20; ++i) {
      // Damage that only shows when a page is read turns up here; the store recovers by itself.
      (void)world.store->devices();
      (void)world.store->select({{"__name__", query::MatchOp::kEqual, "m1"}}, INT64_MIN, INT64_MAX, 10);
      (void)world.put(
          world.device.parcel({test_block(1, 10'000 + at * 100 + static_cast<uint64_t>(i) * 10, 10)}, {1, 2}));
      world.loop.run(true);
    }
    ASSERT_TRUE(world.store->ready());
    EXPECT_GE(read_series(*world.store, 2).size(), 500u);
  }
  world.close();
  std::filesystem::remove_all(directory);
}

// What is read again at a start is committed as it is read: another end of the process costs at most the last of it.
TEST(StoreIndex, CatchingUpCommitsWithinItsBoundOfBytes) {
  BackgroundWorld world;
  world.options.segment_bytes_max = 16u << 20;
  world.open();
  for (uint64_t boot = 1; boot <= 70; ++boot) {
    TestDevice from{.boot = boot};
    HelloRecord hello = from.hello(0, 0);
    hello.message += std::string("\x12\x80\x80\x40", 4) + std::string(1u << 20, 'x');  // its site, 1 MiB
    bool kept = false;
    world.store->put_hello(hello, [&](const Status& status) { kept = status.has_value(); });
    world.loop.run();
    ASSERT_TRUE(kept);
  }
  const uint64_t before = world.store->counters().index_commits_early;
  EXPECT_EQ(before, 1u);
  world.kill();
  world.open();
  EXPECT_EQ(world.store->counters().index_commits_early, 1u);
  EXPECT_EQ(world.store->devices()[0].boots, 70u);
}

// To believe that nothing is stored would be to take everything again.
TEST(StoreIndex, OneWhoseCoverageCannotBeReadIsComputedAgain) {
  std::string directory = "/tmp/lambda_store_index_XXXXXX";
  ASSERT_NE(mkdtemp(directory.data()), nullptr);
  BackgroundWorld world;
  world.options.directory = directory;
  world.options.index_in_memory = false;
  world.open();
  constexpr uint64_t kFirst = 123'456'789;
  const std::string covered = "\x95\x9A\xEF\x3A\x0A";  // from there, ten
  ASSERT_EQ(world.put(world.device.parcel({test_block(1, kFirst, 10)}, {1})).verdict, Verdict::kStored);
  world.close();
  {
    std::fstream file(directory + "/index.db", std::ios::in | std::ios::out | std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    const size_t at = bytes.find(covered);
    ASSERT_NE(at, std::string::npos);
    ASSERT_EQ(bytes.find(covered, at + 1), std::string::npos);
    file.seekp(static_cast<std::streamoff>(at + covered.size() - 1));
    file.put('\x8A');  // a number that does not end
  }
  world.open();
  EXPECT_EQ(world.put(world.device.parcel_of(2, {test_block(1, kFirst, 10)})).verdict, Verdict::kBusy);
  EXPECT_TRUE(world.log.has("index_failed error=index: runs that cannot be read"));
  world.loop.run(true);
  ASSERT_TRUE(world.store->ready());
  EXPECT_EQ(world.put(world.device.parcel_of(2, {test_block(1, kFirst, 10)})).verdict, Verdict::kDuplicate);
  EXPECT_EQ(world.store->devices()[0].points, 10u);
  world.close();
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace lambda::gateway
