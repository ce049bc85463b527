#include "agent/door/feeder.h"

#include <gtest/gtest.h>

#include <optional>
#include <random>

#include "agent/door/test_journal.h"

namespace lambda::agent {
namespace {

using test::TestJournal;

SeriesSpec named(const std::string& name) {
  SeriesSpec spec;
  spec.name = name;
  return spec;
}

struct FeederTest : ::testing::Test {
  // Hands points of one series in: (time behind now, value).
  size_t take(const std::string& name, const std::vector<std::pair<int64_t, double>>& points) {
    FeedBatch batch(feeder);
    uint64_t item = 0;
    for (const auto& [time, value] : points) batch.add(++item, named(name), journal.now_ms + time, value);
    return take(std::move(batch));
  }
  size_t take(FeedBatch batch) {
    const size_t at = results.size();
    results.emplace_back();
    feeder.take(std::move(batch), [this, at](FeedResult result) {
      EXPECT_FALSE(results[at].has_value()) << "answered twice";
      results[at] = std::move(result);
    });
    return at;
  }

  TestJournal journal;
  FeedOptions options{.points_waiting_max = 100, .append_points_max = 1, .series_max = 20};  // a point an append
  Feeder feeder{options, journal.ports()};
  std::deque<std::optional<FeedResult>> results;
};

TEST_F(FeederTest, ABatchIsAnsweredWhenTheJournalHasAllOfIt) {
  const size_t at = take("a", {{0, 1}, {1, 2}, {2, 3}});
  ASSERT_EQ(journal.appends.size(), 3u);
  journal.decide({}, 2);
  EXPECT_FALSE(results[at].has_value());
  journal.decide();
  ASSERT_TRUE(results[at].has_value());
  EXPECT_TRUE(results[at]->status.has_value());
  EXPECT_EQ(results[at]->accepted, 3u);
  EXPECT_EQ(journal.made[0].clock, 3u);
}

TEST_F(FeederTest, PointsOfOneMomentAreOneRowWithAscendingRefsAndABatchIsOneAppend) {
  Feeder whole({}, journal.ports());
  FeedBatch first(whole), batch(whole);
  first.add(1, named("a"), journal.now_ms - 5, 0);
  for (const char* name : {"c", "a", "b"}) batch.add(1, named(name), journal.now_ms, 1);
  batch.add(1, named("c"), journal.now_ms + 1, 1);
  whole.take(std::move(first), [](const FeedResult&) {});
  whole.take(std::move(batch), [](const FeedResult& result) { EXPECT_EQ(result.accepted, 4u); });
  ASSERT_EQ(journal.appends.size(), 2u);
  journal.decide();
  ASSERT_EQ(journal.made.size(), 3u);
  ASSERT_EQ(journal.made[1].points.size(), 3u);
  for (size_t i = 1; i < 3; ++i) EXPECT_LT(journal.made[1].points[i - 1].ref, journal.made[1].points[i].ref);
  EXPECT_EQ(journal.made[2].time_ms, journal.made[1].time_ms + 1);
}

TEST_F(FeederTest, MorePointsThanMayEverWaitAreRefusedForGoodAndTakeNoRoom) {
  FeedBatch batch(feeder);
  for (uint64_t i = 0; i < 1'000; ++i) batch.add(i, named("a"), journal.now_ms + static_cast<int64_t>(i), 1);
  EXPECT_EQ(batch.size(), 100u);
  const size_t at = take(std::move(batch));
  ASSERT_TRUE(results[at].has_value());
  EXPECT_EQ(results[at]->status.error().code, ErrorCode::kInvalid);
  EXPECT_NE(results[at]->status.error().text.find("doors.points_waiting_max"), std::string::npos);
  EXPECT_EQ(journal.appends.size(), 0u);
}

TEST_F(FeederTest, PastSeriesMaxNewSeriesAreRefusedAndKnownOnesGoOn) {
  for (int i = 0; i < 20; ++i) take("s" + std::to_string(i), {{0, 1}});
  journal.decide();
  const size_t more = take("one_more", {{0, 1}}), known = take("s7", {{1, 1}});
  while (!journal.appends.empty()) journal.decide();
  EXPECT_EQ(results[more]->refused, 1u);
  EXPECT_NE(results[more]->errors[0].text.find("doors.series_max"), std::string::npos) << results[more]->errors[0].text;
  EXPECT_EQ(results[known]->accepted, 1u);
  EXPECT_EQ(feeder.counters().series, 20u);
}

TEST_F(FeederTest, LinesOfABatchMayStandInAnyOrder) {
  take("a", {{2, 3}, {0, 1}, {1, 2}});
  journal.decide();
  EXPECT_EQ(results[0]->accepted, 3u);
  ASSERT_EQ(journal.made.size(), 3u);
  EXPECT_LT(journal.made[0].time_ms, journal.made[1].time_ms);
}

TEST_F(FeederTest, WhatIsNotNewerIsRefusedByNameAndTheSamePointAgainIsAccepted) {
  take("a", {{10, 1}});
  journal.decide();
  const size_t again = take("a", {{10, 1}});
  const size_t other = take("a", {{10, 2}, {9, 1}, {11, 5}});
  journal.decide();
  EXPECT_EQ(results[again]->accepted, 1u);
  EXPECT_EQ(results[other]->accepted, 1u);
  EXPECT_EQ(results[other]->refused, 2u);
  ASSERT_EQ(results[other]->errors.size(), 2u);
  EXPECT_NE(results[other]->errors[0].text.find("out of order"), std::string::npos) << results[other]->errors[0].text;
  EXPECT_NE(results[other]->errors[1].text.find("another value"), std::string::npos) << results[other]->errors[1].text;
  EXPECT_EQ(journal.points_made(), 2u) << "the one that came again is made once";
}

TEST_F(FeederTest, TheSamePointAgainIsAcceptedNoSoonerThanTheFirstIsMade) {
  const size_t first = take("a", {{10, 1}});
  const size_t again = take("a", {{10, 1}});
  EXPECT_FALSE(results[again].has_value());
  journal.decide();
  EXPECT_EQ(results[first]->accepted, 1u);
  EXPECT_EQ(results[again]->accepted, 1u);
  EXPECT_EQ(journal.points_made(), 1u);
}

TEST_F(FeederTest, WhatTheJournalCouldNotTakeMayComeAgain) {
  const size_t first = take("a", {{1, 1}, {2, 2}});
  const size_t again = take("a", {{1, 1}, {2, 2}});
  journal.decide(fail(ErrorCode::kIo, "no disk"));
  ASSERT_FALSE(results[first]->status.has_value());
  EXPECT_EQ(results[first]->status.error().code, ErrorCode::kIo);
  ASSERT_FALSE(results[again]->status.has_value()) << "it must not be called accepted";
  const size_t third = take("a", {{1, 1}, {2, 2}});
  journal.decide({}, 1);
  journal.decide(fail(ErrorCode::kIo, "no disk"), 1);
  EXPECT_FALSE(results[third]->status.has_value());
  const size_t fourth = take("a", {{1, 1}, {2, 2}});
  journal.decide();
  EXPECT_EQ(results[fourth]->accepted, 2u) << "the first is there already";
  EXPECT_EQ(journal.points_made(), 2u);
}

TEST_F(FeederTest, WhileAppendsBehindAFailedOneAreUndecidedTheSeriesTakesNothing) {
  take("a", {{1, 1}});
  take("a", {{2, 2}});
  journal.decide(fail(ErrorCode::kIo, "no disk"), 1);
  const size_t early = take("a", {{1, 1}});
  ASSERT_TRUE(results[early].has_value());
  EXPECT_EQ(results[early]->status.error().code, ErrorCode::kIo);
  EXPECT_EQ(results[early]->refused, 0u) << "it may be sent again";
  journal.decide();
  const size_t late = take("a", {{2, 2}, {3, 3}});
  journal.decide();
  EXPECT_EQ(results[late]->accepted, 2u);
  EXPECT_EQ(journal.points_made(), 2u);
}

TEST_F(FeederTest, WithoutRoomABatchIsRefusedBeforeAnythingOfItWasTaken) {
  for (int i = 0; i < 10; ++i) {
    std::vector<std::pair<int64_t, double>> points;
    for (int k = 0; k < 10; ++k) points.emplace_back(i * 10 + k, 1);
    take("a", points);
  }
  EXPECT_EQ(feeder.points_waiting(), 100u);
  const size_t over = take("a", {{1'000, 1}});
  ASSERT_TRUE(results[over].has_value());
  EXPECT_EQ(results[over]->status.error().code, ErrorCode::kFull);
  while (!journal.appends.empty()) journal.decide();
  EXPECT_EQ(feeder.points_waiting(), 0u);
  EXPECT_EQ(feeder.counters().batches_full, 1u);
  take("a", {{1'000, 1}});
  journal.decide();
  EXPECT_EQ(journal.points_made(), 101u);
}

TEST_F(FeederTest, TheJournalGetsAFewAppendsAtATime) {
  std::vector<std::pair<int64_t, double>> points;
  for (int k = 0; k < 60; ++k) points.emplace_back(k, k);
  take("a", points);
  EXPECT_EQ(journal.appends.size(), 16u);
  journal.decide({}, 1);
  EXPECT_EQ(journal.appends.size(), 16u);
  while (!journal.appends.empty()) journal.decide({}, 1);
  EXPECT_EQ(results[0]->accepted, 60u);
}

TEST_F(FeederTest, TimesFarFromThisClockAreRefusedWithTheReason) {
  const size_t at = take("a", {{-options.past_ms_max - 1, 1}, {0, 2}, {options.future_ms_max + 1, 3}});
  const size_t seconds = take("b", {{-journal.now_ms + journal.now_ms / 1000, 1}});  // seconds where ms are wanted
  journal.decide();
  EXPECT_EQ(results[at]->accepted, 1u);
  EXPECT_EQ(results[at]->refused, 2u);
  EXPECT_EQ(results[seconds]->refused, 1u);
  EXPECT_NE(results[seconds]->errors[0].text.find("unit"), std::string::npos);
}

TEST_F(FeederTest, ASeriesOfACollectorIsNotFed) {
  journal.collectors.insert("node_load1");
  const size_t at = take("node_load1", {{0, 1}});
  EXPECT_EQ(results[at]->refused, 1u);
  EXPECT_NE(results[at]->errors[0].text.find("collector"), std::string::npos);
}

TEST_F(FeederTest, WhatIsKnownOfASeriesThatEndedGoesAndItsRefMayBeAnothers) {
  take("a", {{10, 1}});
  take("b", {{10, 1}});
  journal.decide({}, 1);
  std::set<SeriesRef> in_use;
  feeder.each_in_use([&](SeriesRef ref) { in_use.insert(ref); });
  EXPECT_EQ(in_use, (std::set<SeriesRef>{2})) << "its point is on its way to the journal";
  journal.decide();
  const Places places = feeder.places([](SeriesRef ref) { return ref == 1; });
  EXPECT_EQ(places.taken, 2u);
  EXPECT_EQ(places.max, 20u);
  EXPECT_EQ(places.ended, 1u);
  feeder.forget({false, true, false});
  EXPECT_EQ(feeder.counters().series, 1u);
  journal.refs = {{"b", 2}, {"c", 1}};
  const size_t other = take("c", {{5, 3}}), stays = take("b", {{5, 3}});
  journal.decide();
  EXPECT_EQ(results[other]->accepted, 1u) << "the times of another series do not count";
  EXPECT_EQ(results[stays]->refused, 1u);
  EXPECT_EQ(feeder.counters().series, 2u);
}

TEST_F(FeederTest, ARefusedSeriesCostsItsOwnLinesOnly) {
  FeedBatch batch(feeder);
  batch.add(1, named("a"), journal.now_ms, 1);
  batch.add(2, named("full"), journal.now_ms, 1);
  batch.add(3, named("b"), journal.now_ms, 1);
  const size_t at = take(std::move(batch));
  journal.decide();
  EXPECT_EQ(results[at]->accepted, 2u);
  ASSERT_EQ(results[at]->errors.size(), 1u);
  EXPECT_EQ(results[at]->errors[0].item, 2u);
}

TEST_F(FeederTest, OfManyErrorsAFewAreSpelledOut) {
  FeedBatch batch(feeder);
  for (uint64_t i = 1; i <= 1'000; ++i) batch.refuse(i, "wrong");
  const size_t at = take(std::move(batch));
  EXPECT_EQ(results[at]->refused, 1'000u);
  EXPECT_EQ(results[at]->errors.size(), 100u);
}

// Clients that send until they are answered well, over a journal that fails now and then: what was accepted is made,
// once.
TEST(FeederModel, WhatIsAcceptedIsMadeOnceWhateverTheJournalDoes) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    std::mt19937_64 random(seed);
    TestJournal journal;
    Feeder feeder({.append_points_max = static_cast<size_t>(1 + random() % 3)}, journal.ports());
    std::map<std::pair<SeriesRef, int64_t>, bool> accepted;
    uint64_t open = 0;
    for (int step = 0; step < 60; ++step) {
      // One client a series, which sends its next points again until they are accepted or refused.
      const std::string name = "s" + std::to_string(random() % 3);
      FeedBatch batch(feeder);
      std::vector<int64_t> times;
      const int64_t from = journal.now_ms + static_cast<int64_t>(random() % 40);
      for (uint64_t i = 0; i < 1 + random() % 4; ++i) {
        times.push_back(from + static_cast<int64_t>(i));
        batch.add(i + 1, named(name), times.back(), static_cast<double>(times.back()));
      }
      open++;
      feeder.take(std::move(batch), [&, name, times](const FeedResult& result) {
        open--;
        if (!result.status || result.refused > 0) return;
        bool fresh = false;
        for (const int64_t time : times) accepted[{*journal.series(named(name), true, &fresh), time}] = true;
      });
      for (uint64_t i = random() % 4; i > 0; --i) {
        journal.decide(random() % 5 == 0 ? Status(fail(ErrorCode::kIo, "no disk")) : Status(), 1);
      }
    }
    while (!journal.appends.empty()) journal.decide();
    EXPECT_EQ(open, 0u);
    std::map<std::pair<SeriesRef, int64_t>, int> made;
    for (const Row& row : journal.made) {
      for (const RowPoint& point : row.points) made[{point.ref, row.time_ms}]++;
    }
    for (const auto& [place, yes] : accepted) ASSERT_EQ(made[place], 1) << "seed " << seed;
    for (const auto& [place, count] : made) ASSERT_EQ(count, 1) << "seed " << seed;
  }
}

}  // namespace
}  // namespace lambda::agent
