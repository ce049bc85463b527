#include "agent/spool/journal.h"

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <map>

#include "agent/spool/journal_replay.h"
#include "agent/spool/test_world.h"
#include "base/record/record.h"

namespace lambda::agent {
namespace {

using test::FakeDisk;
using test::World;
using Points = std::map<std::pair<uint32_t, uint64_t>, Point>;  // (ref, ordinal)

SeriesSpec spec(int number, ValueType type) {
  SeriesSpec out;
  out.name = "test_" + std::to_string(number);
  out.labels = {{"z", "1"}, {"a", "2"}};
  out.type = type;
  return out;
}

// One start of a journal: the table, the writer, and what it said was made.
struct Start {
  Start(World& in, uint64_t boot, uint64_t first_number, JournalOptions options = {})
      : journal(in.env, with_dir(options), {boot, 0, in.clock.utc_ms(), 0}, table, first_number) {}
  static JournalOptions with_dir(JournalOptions options) {
    options.dir = "d";
    return options;
  }
  void series(int count) {
    for (int i = 0; i < count; ++i) {
      ASSERT_TRUE(table.find_or_add(spec(i, i % 2 == 0 ? ValueType::kF64 : ValueType::kI64)).has_value());
    }
  }
  void append(Row row) {
    journal.append(std::move(row), [this](Status status, const Row& written) {
      if (!status) {
        unmade += written.points.size();
        return;
      }
      for (const RowPoint& point : written.points) {
        made[{point.ref, next[point.ref]++}] = {written.time_ms, point.bits};
      }
    });
  }
  SeriesTable table;
  Journal journal;
  Points made;
  std::map<uint32_t, uint64_t> next;
  uint64_t unmade = 0;
};

// `then` runs between the listing and the reading.
Points replay(
    World& world, uint64_t boot, std::vector<Gap>* gaps = nullptr, uint64_t points_max = 1000,
    const std::function<void()>& then = [] {}) {
  auto listing = list_journals(world.disk, "d");
  then();
  std::vector<JournalFile> files;
  for (auto& file : listing->files) {
    if (file.head.boot == boot) files.push_back(file);
  }
  SeriesTable table;
  GapSet pending;
  JournalReplay reader(world.disk, world.log, "d", files, table, pending, GapReason::kCorrupt, points_max);
  Points points;
  for (bool last = false; !last;) {
    const ReplayPiece piece = reader.next();
    for (const PointRun& run : piece.runs) {
      for (size_t i = 0; i < run.points.size(); ++i) {
        EXPECT_TRUE(points.emplace(std::pair(run.ref, run.first_ordinal + i), run.points[i]).second);
      }
    }
    if (gaps != nullptr) gaps->insert(gaps->end(), piece.gaps.begin(), piece.gaps.end());
    last = piece.last;
  }
  return points;
}

Row random_row(World& world, const SeriesTable& table, int64_t time) {
  Row row;
  row.time_ms = time;
  for (uint32_t ref = 1; ref < table.size(); ++ref) {
    if (world.random.below(4) == 0) continue;
    row.points.push_back({ref, world.random.below(3) == 0 ? world.random.u64() : world.random.below(300)});
  }
  if (row.points.empty()) row.points.push_back({1, 7});
  return row;
}

TEST(Journal, EveryPointThatWasMadeIsReadBackAfterAKill) {
  World world(1);
  Start run(world, 77, 1);
  run.series(20);
  for (int i = 0; i < 50; ++i) {
    run.append(random_row(world, run.table, 1000 * i - 20'000));
    world.loop.run_for(700);
  }
  ASSERT_GT(run.made.size(), 500u);
  EXPECT_EQ(replay(world, 77), run.made);
  EXPECT_EQ(replay(world, 77, nullptr, 1), run.made) << "piece by piece";
}

RequestNote note_of(uint8_t number) {
  return {RequestId{number}, number, 0};
}

// What the newest file says, as the next start reads it.
std::set<uint8_t> requests_found(World& world) {
  std::set<uint8_t> found;
  const auto listing = list_journals(world.disk, "d");
  if (listing->files.empty()) return found;
  const std::string newest = "d/" + numbered_name("journal-", listing->files.back().number);
  for (const RequestNote& note : read_requests(world.disk, newest)) {
    EXPECT_EQ(note.accepted, note.id[0]);
    found.insert(note.id[0]);
  }
  return found;
}

// Requests are made with their rows or not at all, whatever the disk does: none is known whose points are not there.
TEST(Journal, ARequestIsKnownAfterACrashOnlyIfItsPointsAre) {
  uint64_t known = 0, lost = 0;
  for (uint64_t seed = 1; seed <= 150; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    World world(seed);
    JournalOptions options;
    options.file_bytes = 2'000;
    std::vector<RequestNote> made;
    Start run(world, 77, 1, options);
    run.series(3);
    run.journal.carry_requests([&] { return made; });
    for (uint8_t i = 1; i <= 60; ++i) {
      world.disk.faults.clear();
      if (world.random.below(5) == 0) {
        world.disk.faults.insert(static_cast<FakeDisk::Fault>(1 + world.random.below(6)));
      }
      // The request's number is in its points.
      std::vector<Row> rows{{i * 10, 0, {{1, i}, {2, i}}}, {i * 10 + 1, 0, {{1, i}}}};
      run.journal.append(
          std::move(rows), {},
          [&made, i](const Status& status, std::span<const Row>) {
            if (status) made.push_back(note_of(i));
          },
          note_of(i));
      if (i % 10 == 0) run.journal.rotate(false, [](uint64_t) {});
      world.loop.run_for(static_cast<int64_t>(world.random.below(800)));
    }
    const bool power = world.random.below(2) == 0;
    world.loop.clear();
    world.disk.faults.clear();
    power ? world.disk.power_cut() : world.disk.kill();
    std::map<uint8_t, int> points;
    for (const auto& [place, point] : replay(world, 77)) points[static_cast<uint8_t>(point.bits)]++;
    const std::set<uint8_t> found = requests_found(world);
    for (const uint8_t number : found) ASSERT_EQ(points[number], 3) << int{number};
    if (!power) {
      for (const RequestNote& note : made) ASSERT_TRUE(found.contains(note.id[0])) << int{note.id[0]};
    }
    known += found.size();
    lost += made.size() - std::min(made.size(), found.size());
  }
  EXPECT_GT(known, 1'000u);
  EXPECT_GT(lost, 0u) << "no power cut took anything, which shows little";
}

// Rows that a program handed in together.
struct Batches {
  explicit Batches(Start& in) : start(in) {}
  void append(std::vector<Row> rows) {
    start.journal.append(
        std::move(rows),
        [this](const Row& row) {
          for (const RowPoint& point : row.points) {
            const uint64_t ordinal = start.next[point.ref]++;
            EXPECT_EQ(start.table.at(point.ref).next_ordinal, ordinal + 1) << "told in turn";
            start.made[{point.ref, ordinal}] = {row.time_ms, point.bits};
          }
        },
        [this](Status status, std::span<const Row> written) {
          decided++;
          if (!status) failed += written.size();
          if (!status) return;
          // All that is made now is kept when this is told, not only these rows.
          start.journal.after_sync([this, now = on_sync ? start.made : Points()] {
            synced++;
            if (on_sync) on_sync(now);
          });
        });
  }
  Start& start;
  std::function<void(const Points&)> on_sync;
  uint64_t decided = 0, failed = 0, synced = 0;
};

TEST(Journal, RowsThatComeTogetherAreMadeAndReadBackTogether) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    World world(seed);
    Start run(world, 77, 1);
    run.series(20);
    Batches batches(run);
    uint64_t given = 0;
    for (int i = 0; i < 60; ++i) {
      if (world.random.below(3) == 0) {
        run.append(random_row(world, run.table, 1000 * i));
      } else {
        std::vector<Row> rows;
        for (uint64_t k = 1 + world.random.below(5); k > 0; --k) {
          rows.push_back(random_row(world, run.table, 1000 * i + static_cast<int64_t>(world.random.below(900))));
        }
        batches.append(std::move(rows));
        ++given;
      }
      if (world.random.below(3) == 0) world.loop.run_for(static_cast<int64_t>(world.random.below(1'500)));
    }
    world.loop.run_for(5'000);
    EXPECT_EQ(batches.decided, given);
    EXPECT_EQ(batches.synced, given) << "seed " << seed;
    EXPECT_EQ(batches.failed, 0u);
    EXPECT_EQ(replay(world, 77), run.made) << "seed " << seed;
    EXPECT_EQ(replay(world, 77, nullptr, 1), run.made) << "seed " << seed << ", piece by piece";
  }
}

TEST(Journal, WhoWaitsForASyncIsToldBehindItAndDoesNotWaitForTheTimer) {
  World world(3);
  JournalOptions options;
  options.sync_ms = 600'000;
  Start run(world, 77, 1, options);
  run.series(4);
  Batches batches(run);
  for (int i = 0; i < 10; ++i) {
    batches.append({{1000 * i, 0, {{1, 1}}}, {1000 * i + 1, 0, {{1, 2}, {2, 3}}}});
    world.loop.run_for(200);
    ASSERT_EQ(batches.synced, static_cast<uint64_t>(i) + 1);
    const std::string path = "d/" + numbered_name("journal-", 1);
    EXPECT_EQ(world.disk.files.at(path).synced, world.disk.files.at(path).bytes.size()) << "what was told is kept";
  }
}

// A mark in the middle of a file says how far the series had come, not where the file begins.
TEST(Journal, AFileWhoseBeginningIsGoneHidesNothingOfTheOneThatRepeatsIt) {
  World world(4);
  Start run(world, 77, 1);
  run.series(2);
  Batches batches(run);
  batches.append({{1000, 0, {{1, 1}}}, {2000, 0, {{1, 2}, {2, 3}}}});
  run.append({3000, 0, {{1, 4}}});  // behind a mark
  for (int i = 0; i < 20 && run.made.size() < 4; ++i) world.loop.step(world.clock.now_us);
  ASSERT_EQ(run.made.size(), 4u);
  world.disk.faults = {FakeDisk::Fault::kSync};
  world.loop.run_for(1'500);
  world.disk.faults.clear();
  world.loop.run_for(5'000);
  auto& first = world.disk.files.at("d/" + numbered_name("journal-", 1)).bytes;
  ASSERT_EQ(world.disk.files.count("d/" + numbered_name("journal-", 2)), 1u) << "it repeats the first";
  const size_t rows = first.find("LR\x15");
  ASSERT_NE(rows, std::string::npos);
  ASSERT_NE(first.find("LR\x14", rows), std::string::npos) << "a mark behind them";
  std::fill(first.begin() + 32, first.begin() + static_cast<long>(rows), '\0');
  std::vector<Gap> gaps;
  EXPECT_EQ(replay(world, 77, &gaps), run.made);
  EXPECT_TRUE(gaps.empty());
}

TEST(Journal, NothingCountsAsMadeBeforeItsRowWasWritten) {
  World world(2);
  Start run(world, 5, 1);
  run.series(2);
  run.append({1000, 0, {{1, 1}}});
  EXPECT_TRUE(run.made.empty());
  EXPECT_EQ(run.table.at(1).next_ordinal, 0u);
  world.loop.run_for(10);
  EXPECT_EQ(run.made.size(), 1u);
}

TEST(Journal, ARowThatCouldNotBeWrittenUsesNoOrdinal) {
  World world(3);
  Start run(world, 5, 1);
  run.series(3);
  run.append({1000, 0, {{1, 1}, {2, 2}}});
  world.loop.run_for(10);
  world.disk.faults = {FakeDisk::Fault::kAppendWhole};
  run.append({2000, 0, {{1, 666}, {2, 666}}});
  world.loop.run_for(10);
  world.disk.faults.clear();
  run.append({3000, 0, {{1, 3}, {3, 4}}});
  world.loop.run_for(10);
  EXPECT_EQ(run.unmade, 2u);
  EXPECT_EQ(run.made.at({1, 1}).bits, 3u);
  EXPECT_EQ(replay(world, 5), run.made);
}

TEST(Journal, AFailedSyncIsNotAskedAgainAndItsRowsAreWrittenToANewFile) {
  World world(4);
  Start run(world, 5, 1);
  run.series(2);
  run.append({1000, 0, {{1, 1}}});
  world.loop.run_for(1500);  // synced
  run.append({2000, 0, {{1, 2}, {2, 9}}});
  world.disk.faults = {FakeDisk::Fault::kSync};
  world.loop.run_for(1200);
  EXPECT_EQ(run.journal.counters().sync_errors, 1u);
  world.disk.faults.clear();
  // The page cache lied: what was not synced in the first file is gone.
  auto& first = world.disk.files.at("d/journal-0000000000000001.lam");
  first.bytes.resize(first.synced);
  world.loop.run_for(3000);
  EXPECT_EQ(replay(world, 5), run.made);
  ASSERT_EQ(run.made.size(), 3u);
}

TEST(Journal, ARowOnItsWayWhenASyncFailsIsMadeInTheNextFile) {
  World world(6);
  Start start(world, 1, 1);
  start.series(2);
  start.append({1'000, 0, {{1, 11}, {2, 12}}});
  while (world.disk.syncs == 0) {
    world.disk.faults = {FakeDisk::Fault::kSync};
    ASSERT_TRUE(world.loop.step(world.clock.now_us + 2'000'000));
  }
  start.append({2'000, 0, {{1, 21}, {2, 22}}});  // before the answer to the sync
  world.disk.faults.clear();
  world.loop.run_for(10);
  EXPECT_EQ(start.unmade, 0u);
  EXPECT_EQ(start.made.size(), 4u);
  EXPECT_EQ(start.journal.counters().rows_repeated, 1u);
  world.disk.kill();
  EXPECT_EQ(replay(world, 1), start.made);
}

TEST(Journal, RowsOverTheQueueBoundAreNotMade) {
  World world(5);
  JournalOptions options;
  options.rows_waiting_max = 4;
  Start run(world, 5, 1, options);
  run.series(1);
  for (int i = 0; i < 10; ++i) run.append({i, 0, {{1, 1}}});
  world.loop.run_for(100);
  EXPECT_EQ(run.made.size(), 4u);
  EXPECT_EQ(run.unmade, 6u);
  EXPECT_EQ(run.journal.counters().points_unmade, 6u);
}

TEST(Journal, ARotatedFileIsRemovedWhenReleasedAndTheNextGoesOn) {
  World world(6);
  Start run(world, 5, 1);
  run.series(2);
  run.append({1000, 0, {{1, 1}}});
  uint64_t number = 0;
  run.journal.rotate(true, [&](uint64_t upto) { number = upto; });
  world.loop.run_for(100);
  run.append({2000, 1, {{1, 2}, {2, 3}}});
  world.loop.run_for(100);
  EXPECT_EQ(number, 2u);
  EXPECT_EQ(replay(world, 5), run.made);
  run.journal.release_below(number);
  EXPECT_EQ(world.disk.files.count("d/journal-0000000000000001.lam"), 0u);
  std::vector<Gap> gaps;
  EXPECT_EQ(replay(world, 5, &gaps).size(), 2u);
  ASSERT_EQ(gaps.size(), 1u) << "without `covered` the released point is one that is missing";
  EXPECT_EQ(gaps[0].run, (agent::Run{1, 0, 1}));
}

TEST(Journal, KeepsReleasedFilesForAnAuditWhenTold) {
  World world(7);
  JournalOptions options;
  options.keep = true;
  Start run(world, 5, 1, options);
  run.series(1);
  run.append({1000, 0, {{1, 1}}});
  run.journal.rotate(true, [&](uint64_t upto) { run.journal.release_below(upto); });
  world.loop.run_for(100);
  EXPECT_EQ(world.disk.files.count("d/kept-0000000000000001.lam"), 1u);
  EXPECT_EQ(list_journals(world.disk, "d")->number_max, 1u);
}

TEST(Journal, CutAtAnyByteGivesAPrefixOfWhatWasMade) {
  World world(8);
  Start run(world, 5, 1);
  run.series(3);
  for (int i = 0; i < 8; ++i) run.append(random_row(world, run.table, 1000 * i));
  world.loop.run_for(100);
  const std::string path = "d/journal-0000000000000001.lam";
  const std::string whole = world.disk.files.at(path).bytes;
  size_t last = 0;
  for (size_t size = 0; size <= whole.size(); ++size) {
    world.disk.files[path].bytes = whole.substr(0, size);
    const Points points = replay(world, 5);
    ASSERT_GE(points.size(), last) << size;
    last = points.size();
    for (const auto& [place, point] : points) ASSERT_EQ(run.made.at(place), point) << size;
  }
  EXPECT_EQ(last, run.made.size());
}

TEST(Journal, ABadByteLosesWhatStandsBehindItAndTheNextFileSaysHowMuch) {
  World world(9);
  Start run(world, 5, 1);
  run.series(2);
  for (int i = 0; i < 5; ++i) run.append({i, 0, {{1, static_cast<uint64_t>(i)}}});
  run.journal.rotate(true, [](uint64_t) {});
  world.loop.run_for(100);
  run.append({9, 0, {{1, 9}}});
  world.loop.run_for(100);
  auto& bytes = world.disk.files.at("d/journal-0000000000000001.lam").bytes;
  bytes[bytes.size() - 30] ^= 1;  // within the last but one row's record
  std::vector<Gap> gaps;
  const Points points = replay(world, 5, &gaps);
  ASSERT_EQ(gaps.size(), 1u);
  EXPECT_EQ(gaps[0].reason, GapReason::kCorrupt);
  EXPECT_EQ(points.size() + gaps[0].run.count, 6u);
  EXPECT_EQ(points.at({1, 5}).bits, 9u);
}

// A boot in three files.
struct ThreeFiles {
  explicit ThreeFiles(World& world) : run(world, 5, 1) {
    run.series(12);
    for (int i = 0; i < 90; ++i) {
      if (i == 30 || i == 60) run.journal.rotate(true, [](uint64_t) {});
      run.append(random_row(world, run.table, 1000 * i));
      world.loop.run_for(200);
    }
    files = world.disk.files;
  }
  // Made, and neither read nor in a gap. What is read is as it was made, and no gap names anything else.
  std::map<uint32_t, std::vector<uint64_t>> silent(
      World& world, const std::string& when, const std::function<void()>& then = [] {}) const {
    std::vector<Gap> gaps;
    Points found = replay(world, 5, &gaps, 1000, then);
    for (const auto& [place, point] : found) EXPECT_EQ(run.made.at(place), point) << when;
    for (const Gap& gap : gaps) {
      for (uint64_t at = gap.run.first; at < gap.run.first + gap.run.count; ++at) {
        EXPECT_TRUE(run.made.contains({gap.run.ref, at})) << when << ": a gap over what was never made";
        EXPECT_TRUE(found.emplace(std::pair(gap.run.ref, at), Point{}).second) << when << ": a gap over what is there";
      }
    }
    std::map<uint32_t, std::vector<uint64_t>> silent;
    for (const auto& [place, point] : run.made) {
      if (!found.contains(place)) silent[place.first].push_back(place.second);
    }
    return silent;
  }
  Start run;
  std::map<std::string, FakeDisk::File> files;
};

TEST(Journal, AnyFileButTheLastMayGoAndGapsNameExactlyWhatWasInIt) {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    World world(seed);
    const ThreeFiles three(world);
    ASSERT_EQ(three.files.size(), 3u);
    for (const auto& [path, file] : three.files) {
      if (path == three.files.rbegin()->first) continue;
      world.disk.files = three.files;
      world.disk.files.erase(path);
      EXPECT_TRUE(three.silent(world, path).empty()) << "seed " << seed << " without " << path;
    }
  }
}

// The journals of a boot may wait for days between the two.
TEST(Journal, AFileThatGoesBetweenListingAndReadingTakesNothingOfTheOthersAlong) {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    World world(seed);
    const ThreeFiles three(world);
    for (const auto& [path, file] : three.files) {
      const bool last = path == three.files.rbegin()->first;
      world.disk.files = three.files;
      const std::string when = "seed " + std::to_string(seed) + " without " + path + " late";
      const auto silent = three.silent(world, when, [&, &path = path] { world.disk.files.erase(path); });
      // Of the last one nothing says what was in it: then all else must be there, so only the ends are missing.
      EXPECT_TRUE(last || silent.empty()) << when;
      for (const auto& [ref, ordinals] : silent) {
        EXPECT_EQ(ordinals.back(), three.run.next.at(ref) - 1) << when;
        EXPECT_LE(ordinals.size(), 30u) << when << ": more than one file of rows";
      }
    }
  }
}

TEST(Journal, ABadByteAnywhereIsNamedButForTheLastRowsOfTheLastFile) {
  uint64_t tried = 0, unknown = 0;
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    World world(seed);
    const ThreeFiles three(world);
    for (const auto& [path, file] : three.files) {
      for (size_t at = world.random.below(3); at < file.bytes.size(); at += 1 + world.random.below(9)) {
        if (at == 4 || at == 5) continue;  // version and kind: a file that is left alone, not a damaged one
        world.disk.files = three.files;
        auto& byte = world.disk.files.at(path).bytes[at];
        byte = static_cast<char>(byte ^ (1 << world.random.below(8)));
        const std::string when = "seed " + std::to_string(seed) + " byte " + std::to_string(at) + " of " + path;
        const auto silent = three.silent(world, when);
        ++tried;
        if (silent.empty()) continue;
        ++unknown;
        ASSERT_EQ(path, three.files.rbegin()->first) << when;
        for (const auto& [ref, ordinals] : silent) {
          // At the end, so that there is no hole, and no more than the rows of the last KB.
          ASSERT_EQ(ordinals.back(), three.run.next.at(ref) - 1) << when;
          ASSERT_EQ(ordinals.size(), ordinals.back() - ordinals.front() + 1) << when;
          ASSERT_LE(ordinals.size(), 12u) << when;
        }
      }
    }
  }
  // Rows behind the last mark, and declarations that only these rows would need.
  EXPECT_LT(unknown, tried / 8);
  EXPECT_GT(unknown, 0u) << "else the document promises too little";
}

// Rows, rotations, releases and faults in any order, a kill or a power cut at any step, several starts in a row.
TEST(Journal, NoCrashLosesASyncedPointOrInventsOne) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    World world(seed);
    uint64_t number = 1;
    for (uint64_t boot = 1; boot <= 3; ++boot) {
      JournalOptions options;
      options.file_bytes = 400;
      auto run = std::make_unique<Start>(world, boot, number, options);
      run->series(5);
      Points durable;
      Batches batches(*run);
      batches.on_sync = [&durable](const Points& made) { durable.insert(made.begin(), made.end()); };
      const uint64_t steps = 5 + world.random.below(60);
      for (uint64_t i = 0; i < steps; ++i) {
        if (world.random.below(2) == 0) {
          run->append(random_row(world, run->table, static_cast<int64_t>(i)));
        } else {
          batches.append({random_row(world, run->table, static_cast<int64_t>(i)),
                          random_row(world, run->table, static_cast<int64_t>(i + 1))});
        }
        if (world.random.below(8) == 0) run->journal.rotate(false, [](uint64_t) {});
        if (world.random.below(8) == 0) {
          const Points made = run->made;
          run->journal.flush([&durable, &run](Status status) {
            if (status) durable = run->made;
          });
        }
        world.disk.faults.clear();
        if (world.random.below(6) == 0) {
          world.disk.faults.insert(static_cast<FakeDisk::Fault>(1 + world.random.below(6)));
        }
        if (world.random.below(3) == 0) {
          world.loop.run_for(static_cast<int64_t>(world.random.below(1500)));
        } else {
          for (uint64_t k = world.random.below(12); k > 0; --k) world.loop.step(world.clock.now_us);
        }
      }
      const Points made = run->made;
      number = run->journal.next_number() + 1;
      run.reset();
      world.loop.clear();
      world.disk.faults.clear();
      const bool cut = world.random.below(2) == 0;
      cut ? world.disk.power_cut() : world.disk.kill();
      const Points found = replay(world, boot);
      for (const auto& [place, point] : cut ? durable : made) {
        ASSERT_TRUE(found.contains(place)) << "seed " << seed << " boot " << boot << " cut " << cut << " ref "
                                           << place.first << " ordinal " << place.second;
      }
      for (const auto& [place, point] : made) {
        if (found.contains(place)) {
          ASSERT_EQ(found.at(place), point) << "seed " << seed;
        }
      }
    }
  }
}

}  // namespace
}  // namespace lambda::agent
