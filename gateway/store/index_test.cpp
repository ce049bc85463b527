// What is only in memory, what was written and what was committed must give the same answers.
#include "gateway/store/index.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <random>

#include "gateway/store/catalog.h"

namespace lambda::gateway {
namespace {

std::vector<uint64_t> some_segments(std::mt19937& random) {
  std::vector<uint64_t> segments;
  for (uint64_t number = 5; number > 0; --number) {
    if (random() % 4 != 0) segments.push_back(number);
  }
  return segments;
}

// By segment in the order asked for, then by ordinal.
std::vector<BlockRow> expected(const std::vector<BlockRow>& all, int64_t stream, const std::vector<uint64_t>& segments,
                               const std::function<bool(const BlockRow&)>& wanted) {
  std::vector<BlockRow> rows;
  for (const uint64_t segment : segments) {
    const size_t from = rows.size();
    for (const BlockRow& row : all) {
      if (row.stream == stream && row.segment == segment && wanted(row)) rows.push_back(row);
    }
    std::sort(rows.begin() + static_cast<ptrdiff_t>(from), rows.end(),
              [](const BlockRow& a, const BlockRow& b) { return a.first < b.first; });
  }
  return rows;
}

TEST(Index, FindsBlocksInMemoryAndInTheFileAlike) {
  std::string directory = "/tmp/lambda_index_XXXXXX";
  ASSERT_NE(mkdtemp(directory.data()), nullptr);
  for (uint32_t seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    const std::string path = directory + "/" + std::to_string(seed);
    bool made = false;
    auto index = Index::open(path, &made);
    ASSERT_TRUE(index.has_value());
    std::vector<BlockRow> all;
    std::map<int64_t, std::vector<BlockRow>> left;  // not put yet; taken from both ends, so that ordinals come unsorted
    for (int64_t stream = 1; stream <= 3; ++stream) {
      uint64_t next = random() % 5;
      for (uint64_t i = 0; i < 250; ++i) {
        if (random() % 30 == 0) next += random() % 2000;
        const auto start = static_cast<int64_t>(next * 100);
        BlockRow row{stream,  next, 1 + static_cast<uint32_t>(random() % 1024), 0, start, start, 1 + i / 50,
                     i * 100, 90};
        row.t_max += row.count * 100 - 1;
        next = row.end();
        left[stream].push_back(row);
      }
    }
    while (!left.empty()) {
      auto stream = left.begin();
      std::advance(stream, random() % left.size());
      auto& rows = stream->second;
      const auto at = random() % 3 == 0 ? rows.end() - 1 : rows.begin();
      (*index)->put_block(*at);
      all.push_back(*at);
      rows.erase(at);
      if (rows.empty()) left.erase(stream);
      const uint64_t what = random() % 60;
      if (what == 0) (*index)->commit();
      if (what == 1) {
        index->reset();
        index = Index::open(path, &made);
        ASSERT_TRUE(index.has_value());
      }
      if (what > 5) continue;
      const auto of = static_cast<int64_t>(1 + random() % 3);
      const auto segments = some_segments(random);
      const uint64_t first = random() % 150'000;
      const uint64_t end = first + 1 + random() % 3'000;
      EXPECT_EQ((*index)->overlapping(of, first, end, segments),
                expected(all, of, segments, [&](const BlockRow& row) { return row.first < end && row.end() > first; }));
      std::vector<BlockRow> found;
      const auto from = static_cast<int64_t>(first * 100);
      const auto to = static_cast<int64_t>(end * 100);
      (*index)->in_time(of, from, to, segments, [&](const BlockRow& row) {
        found.push_back(row);
        return true;
      });
      std::sort(found.begin(), found.end(), [](const BlockRow& a, const BlockRow& b) {
        return std::pair(~a.segment, a.first) < std::pair(~b.segment, b.first);
      });
      EXPECT_EQ(found,
                expected(all, of, segments, [&](const BlockRow& row) { return row.t_max >= from && row.t_min <= to; }));
    }
    (*index)->commit();
    while (!(*index)->drop_extents(3)) {
    }
    EXPECT_TRUE((*index)->overlapping(1, 0, UINT64_MAX >> 1, std::vector<uint64_t>{3}).empty());
    EXPECT_EQ((*index)->overlapping(1, 0, UINT64_MAX >> 1, std::vector<uint64_t>{2, 4}).size(), 100u);
    EXPECT_TRUE((*index)->ok());
  }
  std::filesystem::remove_all(directory);
}

// A merged segment and its source are both in force while the merged one is being read.
TEST(Index, AnOrdinalThatStandsInTwoSegmentsHidesNoOtherOne) {
  bool made = false;
  auto index = Index::open("", &made);
  ASSERT_TRUE(index.has_value());
  (*index)->put_block({1, 10, 10, 0, 0, 0, 1, 0, 10});
  (*index)->put_block({1, 0, 10, 0, 0, 0, 2, 0, 10});
  (*index)->put_block({1, 0, 10, 0, 0, 0, 3, 0, 10});
  const std::vector<uint64_t> segments{3, 2, 1};
  for (int round = 0; round < 2; ++round) {
    const auto rows = (*index)->overlapping(1, 0, 20, segments, 20);
    ASSERT_EQ(rows.size(), 3u);
    EXPECT_EQ(rows.back().segment, 1u);
    EXPECT_EQ((*index)->overlapping(1, 0, 10, segments, 10).size(), 1u) << "nothing more is to be found";
    (*index)->commit();
  }
}

TEST(Index, TellsEachMetricOnceWithItsNewestDeclaration) {
  bool made = false;
  auto index = Index::open("", &made);
  ASSERT_TRUE(index.has_value());
  Index& all = **index;
  const auto told = [&] {
    std::string text;
    all.each_metric([&](const std::string& name, Kind kind, const std::string& unit) {
      text += name + (kind == Kind::kCounter ? " counter " : " gauge ") + unit + ";";
    });
    return text;
  };
  EXPECT_EQ(told(), "");
  int64_t id = 0;
  const auto series = [&](const std::string& name, const std::string& canonical) {
    all.put_series({++id, 1, "gid" + std::to_string(id), name, canonical});
    return id;
  };
  int64_t stream = 0;
  const auto declare = [&](int64_t of, int64_t boot, Kind kind, const std::string& unit) {
    all.put_stream({++stream, boot, static_cast<uint32_t>(stream), of, kind, ValueType::kF64, 0, unit});
  };
  declare(series("b_total", "b_total"), 1, Kind::kGauge, "");
  declare(id, 2, Kind::kCounter, "bytes");
  declare(series("a", "a{x=1}"), 1, Kind::kGauge, "seconds");
  declare(series("a", "a{x=2}"), 1, Kind::kGauge, "seconds");
  series("nobody_declared", "nobody_declared");
  declare(series("z", "z"), 3, Kind::kCounter, "");
  EXPECT_EQ(told(), "a gauge seconds;b_total counter bytes;z counter ;");
}

TEST(Catalog, ABootForgetsTheSegmentsBelowTheOldestInForce) {
  bool made = false;
  auto catalog = Catalog::open("", 1u << 20, 256, &made);
  ASSERT_TRUE(catalog.has_value());
  Catalog& all = **catalog;
  const auto bring = [&](uint64_t segment) {
    Arrival arrival;
    arrival.device = "press-7";
    arrival.boot = 11;
    arrival.segment = segment;
    PlacedBlock block;
    block.ref = 1;
    block.first = segment * 10;
    block.count = 10;
    block.t_min = block.t_max = static_cast<int64_t>(segment);
    arrival.blocks.push_back(block);
    all.settle(std::move(arrival));
  };
  for (const uint64_t segment : {1u, 2u, 4u, 5u, 6u, 9u}) bring(segment);
  const auto row = [&] {
    all.write_boots();
    return all.index().boots(all.device("press-7").row.id).at(0);
  };
  using Numbers = std::vector<uint64_t>;
  EXPECT_EQ(row().segments.runs().size(), 3u);
  EXPECT_EQ(all.segments_of(row()), (Numbers{9, 6, 5, 4, 2, 1}));
  EXPECT_EQ(all.segments_in(2, 6), (Numbers{2, 4, 5, 6}));
  EXPECT_EQ(Catalog::segments_of(row(), {2, 3, 5, 6, 7, 8, 9, 10}), (Numbers{9, 6, 5, 2}));
  EXPECT_EQ(Catalog::segments_of(row(), {}), Numbers{});
  for (const uint64_t segment : {1u, 2u, 4u}) all.end_segment(segment);
  bring(10);
  EXPECT_EQ(row().segments.runs(), (std::vector<OrdinalRun>{{4, 7}, {9, 11}}));
  EXPECT_EQ(all.segments_of(row()), (Numbers{10, 9, 6, 5}));
}

TEST(Index, TheMemoryOfGatheredBlocksIsBounded) {
  bool made = false;
  auto index = Index::open("", &made);
  ASSERT_TRUE(index.has_value());
  const uint64_t count = kGatheredBlocksMax + 10;
  for (uint64_t i = 0; i < count; ++i) {
    (*index)->put_block({static_cast<int64_t>(1 + i % 1000), i / 1000, 1, 0, 0, 0, 1, i * 10, 10});
  }
  EXPECT_EQ((*index)->gathered_blocks(), 10u);
  uint64_t found = 0;
  for (int64_t stream = 1; stream <= 1000; ++stream) {
    found += (*index)->overlapping(stream, 0, count, std::vector<uint64_t>{1}).size();
  }
  EXPECT_EQ(found, count);
}

TEST(Index, DigestsOfParcelsAreKnownBeforeAndAfterTheyAreWritten) {
  bool made = false;
  auto index = Index::open("", &made);
  ASSERT_TRUE(index.has_value());
  for (uint64_t seq = 1; seq <= 20; ++seq) {
    ParcelDigests digests;
    digests.digest.fill(static_cast<uint8_t>(seq));
    (*index)->put_parcel(7, seq, digests);
    if (seq == 10) (*index)->commit();
  }
  (*index)->drop_parcels_below(7, 5);
  for (int round = 0; round < 2; ++round) {
    for (uint64_t seq = 1; seq <= 20; ++seq) {
      const auto digests = (*index)->parcel(7, seq);
      ASSERT_EQ(digests.has_value(), seq >= 5) << seq;
      if (digests) {
        EXPECT_EQ(digests->digest[0], seq);
      }
    }
    EXPECT_FALSE((*index)->parcel(8, 10).has_value());
    (*index)->commit();
  }
}

}  // namespace
}  // namespace lambda::gateway
