// Blocks as hosts write them: every codec, packing, aggregates; against the points and against naive sums.
#include "lambda/stored_block.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <set>
#include <string>

#include "block_reference.h"
#include "port/posix/posix_port.h"

namespace lambda {
namespace {

using reference::Bytes;
using reference::Inputs;

constexpr ValueType kTypes[] = {ValueType::kF64, ValueType::kF32, ValueType::kI64, ValueType::kDec, ValueType::kState};

std::vector<Codec> codecs_of(ValueType type) {
  if (type == ValueType::kF64) return {Codec::kXor64};
  if (type == ValueType::kF32) return {Codec::kXor32};
  if (type == ValueType::kState) return {Codec::kDelta64, Codec::kRuns64};
  return {Codec::kDelta64, Codec::kSlope64, Codec::kRuns64};
}

Bytes packed(const StoredOptions& options, const std::vector<Point>& points) {
  Bytes space(stored_bytes_max(points.size()));
  const auto block = pack_block(options, points, space);
  return {block.begin(), block.end()};
}

Bytes written(const StoredOptions& options, Codec codec, const std::vector<Point>& points) {
  Bytes space(stored_bytes_max(points.size()));
  const auto block = write_block(options, codec, points, space);
  return {block.begin(), block.end()};
}

std::vector<Point> read(const Bytes& block, BlockInfo* info, int64_t span_ms_max = kBlockSpanMsMax) {
  std::vector<Point> points(kBlockPointsMax);
  const Bytes exact(block);  // of its own allocation: a sanitizer sees a read behind the end
  const BlockStatus status = read_block(exact, 0, info, points, span_ms_max);
  EXPECT_TRUE(status.ok()) << block_error_name(status.error) << " at " << status.offset;
  points.resize(status.ok() ? info->count : 0);
  return points;
}

// Options and points of any type, f32 as well.
struct Case {
  StoredOptions options;
  std::vector<Point> points;

  explicit Case(Inputs& inputs) {
    options.block = inputs.options();
    points = inputs.points(options.block, 1 + inputs.below(kBlockPointsMax));
    options.aggregates = inputs.below(2) == 0;
    if (options.block.type != ValueType::kF64 || inputs.below(2) == 0) return;
    options.block.type = ValueType::kF32;
    for (Point& point : points) {
      const auto value = static_cast<float>(std::bit_cast<double>(point.bits));
      point.bits = inputs.below(9) == 0 ? point.bits >> 32 : std::bit_cast<uint32_t>(value);
    }
  }
};

// Series as they are measured, which the random ones are not.
std::vector<Point> sensible(uint64_t kind, size_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<Point> points;
  double walk = 20;
  int64_t time = 1'700'000'000'000;
  for (size_t i = 0; i < count; ++i) {
    walk += static_cast<double>(static_cast<int64_t>(random() % 21) - 10) / 100;
    double value = walk;
    if (kind == 0) value = std::round(walk * 100) / 100;
    if (kind == 1) value = static_cast<double>(random() % 50) / 49 * 100;
    if (kind == 2) value = static_cast<double>(i / 100);
    if (kind == 3) value = i % 50 == 49 ? 1e300 : std::round(walk * 10) / 10;
    if (kind == 4) value = std::round(walk * 1000) / 1000 + (random() % 2 == 0 ? 0 : 4e-15);
    if (kind == 5) value = std::sqrt(walk + 100) * (random() % 2 == 0 ? 1 : -1);
    points.push_back({time, std::bit_cast<uint64_t>(value)});
    time += 250 + (i % 3 == 0 ? static_cast<int64_t>(random() % 3) - 1 : 0);
  }
  return points;
}

TEST(StoredBlock, EveryCodecGivesBackEveryBit) {
  for (uint64_t seed = 1; seed <= 1500; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Inputs inputs(seed);
    const Case test(inputs);
    ASSERT_EQ(points_that_fit(test.points, kBlockSpanMsMax), test.points.size());
    for (const Codec codec : codecs_of(test.options.block.type)) {
      BlockInfo info;
      ASSERT_EQ(read(written(test.options, codec, test.points), &info), test.points);
      EXPECT_EQ(info.codec, codec);
    }
    BlockInfo info;
    ASSERT_EQ(read(packed(test.options, test.points), &info), test.points);
    EXPECT_EQ(info.type, test.options.block.type);
    EXPECT_EQ(info.ref, test.options.block.ref);
    EXPECT_EQ(info.first_ordinal, test.options.block.first_ordinal);
    EXPECT_EQ(info.clock, test.options.block.clock);
    EXPECT_EQ(info.scale, test.options.block.scale);
    EXPECT_EQ(info.has_boot, test.options.block.write_boot);
  }
}

TEST(StoredBlock, WhatADeviceReadsIsWrittenAsADeviceWritesIt) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Inputs inputs(seed);
    StoredOptions options;
    options.block = inputs.options();
    const auto points = inputs.points(options.block, 1 + inputs.below(300));
    const Codec codec = options.block.type == ValueType::kF64 ? Codec::kXor64 : Codec::kDelta64;
    BlockInfo info;
    const Bytes block = written(options, codec, points);
    read(block, &info);
    options.block.tick_ms = info.tick_ms;  // which it found by itself
    EXPECT_EQ(block, reference::encode(options.block, points));
  }
}

TEST(StoredBlock, NoPointTakesMoreThanThirteenBytesInAnyStreamingCodec) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    std::mt19937_64 random(seed);
    for (const ValueType type : kTypes) {
      std::vector<Point> points;
      for (size_t i = 0; i < kBlockPointsMax; ++i) {
        // Steps that swing from end to end, values that share nothing.
        const int64_t time =
            i % 2 == 0 ? static_cast<int64_t>(random() % 3) : 599'999 + static_cast<int64_t>(random() % 2);
        const uint64_t bits = i % 2 == 0 ? random() : ~points.back().bits;
        points.push_back({time, type == ValueType::kF32 ? bits & 0xFFFFFFFF : bits});
      }
      StoredOptions options;
      options.block.type = type;
      for (const Codec codec : codecs_of(type)) {
        EXPECT_LE(written(options, codec, points).size(), block_bytes_max(points.size())) << "seed " << seed;
      }
      EXPECT_LE(packed(options, points).size(), block_bytes_max(points.size())) << "seed " << seed;
    }
  }
}

TEST(StoredBlock, PackingIsNeverLargerThanStreaming) {
  for (uint64_t kind = 0; kind <= 5; ++kind) {
    for (const size_t count : {1u, 2u, 5u, 127u, 128u, 129u, 600u, 1024u}) {
      SCOPED_TRACE(testing::Message() << "kind " << kind << ", " << count << " points");
      const auto points = sensible(kind, count, 100 + kind);
      const Bytes small = packed({}, points);
      EXPECT_LE(small.size(), written({}, Codec::kXor64, points).size());
      BlockInfo info;
      EXPECT_EQ(read(small, &info), points);
    }
  }
}

TEST(StoredBlock, TheFormFollowsTheValues) {
  const auto name = [](uint64_t kind) { return std::string(encoding_name(packed({}, sensible(kind, 1024, 7)))); };
  EXPECT_EQ(name(0).substr(0, 14), "packed decimal");
  EXPECT_EQ(name(1).substr(0, 17), "packed dictionary");
  EXPECT_EQ(name(3).substr(0, 14), "packed decimal") << "exceptions are written apart";
  EXPECT_EQ(name(4).substr(0, 14), "packed decimal") << "the last place is written apart";
  EXPECT_EQ(name(5).substr(0, 12), "packed split");
}

TEST(StoredBlock, PackedDecimalsAreSmall) {
  // Steps of up to a tenth in hundredths, a quarter of a second give or take a millisecond.
  EXPECT_LE(packed({}, sensible(0, 1024, 7)).size() * 8, 1024u * 10);
  EXPECT_LE(packed({}, sensible(2, 1024, 7)).size() * 8, 1024u * 5);
}

// 128 integers of which a few are longer than the others: those are patched, whatever the two lengths are.
TEST(StoredBlock, AFewLongIntegersDoNotWidenTheOthers) {
  constexpr size_t kCount = 128, kHead = 60, kLongOnes = 8;
  for (unsigned width = 1; width < 40; ++width) {
    for (unsigned longest = width + 12; longest <= 63; ++longest) {
      std::mt19937_64 random(width * 100 + longest);
      std::vector<Point> points;
      for (size_t i = 0; i < kCount; ++i) {
        const unsigned bits = i % (kCount / kLongOnes) == 5 ? longest : width;
        // Of that many bits exactly, but for a zero, which makes the base.
        const uint64_t value = i == 0 ? 0 : uint64_t{1} << (bits - 1) | random() >> 1 >> (64 - bits);
        points.push_back({static_cast<int64_t>(i) * 1000, value});
      }
      StoredOptions options;
      options.block.type = ValueType::kI64;
      const size_t best = (width * kCount + (longest - width) * kLongOnes) / 8 + kLongOnes;
      const Bytes block = packed(options, points);
      ASSERT_LE(block.size(), kHead + best) << width << " and " << longest;
      BlockInfo info;
      ASSERT_EQ(read(block, &info), points);
    }
  }
}

// This test is in two programs, of which one does without vectors: what it expects is one and the same.
TEST(StoredBlock, WhatIsPackedDoesNotDependOnTheProcessor) {
  uint32_t crc = 0;
  for (uint64_t kind = 0; kind <= 5; ++kind) {
    for (const size_t count : {1u, 7u, 100u, 128u, 300u, 600u, 1000u, 1024u}) {
      for (uint64_t seed = 1; seed <= 10; ++seed) crc = crc32c(packed({}, sensible(kind, count, seed)), crc);
    }
  }
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    Inputs inputs(seed);
    const Case test(inputs);
    crc = crc32c(packed(test.options, test.points), crc);
  }
  EXPECT_EQ(crc, 72099495u) << "when what is chosen changes, this changes with it, in both programs";
}

TEST(StoredBlock, SlowSeriesFitLongBlocksThatOnlyThoseReadWhoAskForThem) {
  std::vector<Point> points;
  for (int64_t i = 0; i < 2000; ++i) points.push_back({i * 1'800'000, static_cast<uint64_t>(i % 5)});
  EXPECT_EQ(points_that_fit(points, kBlockSpanMsMax), 1u);
  EXPECT_EQ(points_that_fit(points, kLongSpanMsMax), kBlockPointsMax);
  points.resize(kBlockPointsMax);
  StoredOptions options;
  options.block.type = ValueType::kI64;
  for (const Bytes& block : {packed(options, points), written(options, Codec::kDelta64, points)}) {
    BlockInfo info;
    EXPECT_EQ(read(block, &info, kLongSpanMsMax), points);
    std::vector<Point> into(kBlockPointsMax);
    EXPECT_EQ(read_block(block, 0, &info, into).error, BlockError::kSpan);
    EXPECT_EQ(decode_block(block, 0, &info, into).error, BlockError::kCodec) << "a device refuses it by name";
  }
  points[1].time_ms += 1;  // now a tick is a millisecond
  EXPECT_EQ(points_that_fit(points, kLongSpanMsMax), 2u);
}

TEST(StoredBlock, ContentRootsDoNotDependOnTheCodec) {
  const auto root_of = [](const std::vector<Point>& points) {
    ContentRoot root(posix_hash());
    for (const Point& point : points) root.add(point);
    Bytes digest(kDigestBytes);
    root.finish(digest.data());
    return digest;
  };
  const auto points = sensible(0, 1000, 3);
  BlockInfo info;
  EXPECT_EQ(root_of(read(packed({{}, true}, points), &info)), root_of(points));
  EXPECT_EQ(root_of(read(written({}, Codec::kXor64, points), &info)), root_of(points));
}

// ---- Aggregates

TEST(StoredBlock, AggregatesAreThoseOfThePointsHoweverTheyAreFound) {
  for (uint64_t seed = 5001; seed <= 5600; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Inputs inputs(seed);
    Case test(inputs);
    test.options.aggregates = true;
    const ValueType type = test.options.block.type;
    const Bytes block = packed(test.options, test.points);
    const Aggregates all = aggregates_of(type, test.points);
    EXPECT_EQ(all.count, test.points.size());
    EXPECT_EQ(all.first, test.points.front().bits);
    EXPECT_EQ(all.last, test.points.back().bits);
    BlockInfo info;
    Aggregates found;
    ASSERT_TRUE(read_block_info(block, 0, &info, &found).ok());
    EXPECT_EQ(found, all);
    ASSERT_TRUE(aggregate_block(block, 0, INT64_MIN, INT64_MAX, &info, &found).ok());
    EXPECT_EQ(found, all);
    const int64_t from = test.points[inputs.below(test.points.size())].time_ms;
    const int64_t to = test.points[inputs.below(test.points.size())].time_ms;
    ASSERT_TRUE(aggregate_block(block, 0, from, to, &info, &found).ok());
    EXPECT_EQ(found, aggregates_within(type, test.points, from, to));
    std::vector<Point> within;
    for (const Point& point : test.points) {
      if (point.time_ms >= from && point.time_ms <= to) within.push_back(point);
    }
    EXPECT_EQ(found.count, within.size());
    if (!within.empty()) {
      EXPECT_EQ(found.first, within.front().bits);
      EXPECT_EQ(found.last, within.back().bits);
    }
  }
}

TEST(StoredBlock, TheSumOfFloatsKeepsWhatASimpleSumLoses) {
  std::vector<Point> points;
  for (int64_t i = 0; i < 1000; ++i) {
    const double value = i % 4 == 0 ? 1e17 : i % 4 == 2 ? -1e17 : 0.1;
    points.push_back({i, std::bit_cast<uint64_t>(value)});
  }
  double simple = 0;
  for (const Point& point : points) simple += std::bit_cast<double>(point.bits);
  EXPECT_GT(std::abs(simple - 50), 1) << "the values are hard enough";
  EXPECT_NEAR(std::bit_cast<double>(aggregates_of(ValueType::kF64, points).sum_low), 50, 1e-9);
}

TEST(StoredBlock, NansAreCountedApartAndInfinitiesAdd) {
  const auto all = [](const std::vector<double>& values) {
    std::vector<Point> points;
    for (const double value : values)
      points.push_back({static_cast<int64_t>(points.size()), std::bit_cast<uint64_t>(value)});
    return aggregates_of(ValueType::kF64, points);
  };
  const auto some = all({NAN, 2, -0.0, 0.0, NAN, -1.5});
  EXPECT_EQ(some.nan_count, 2u);
  EXPECT_EQ(std::bit_cast<double>(some.min), -1.5);
  EXPECT_EQ(std::bit_cast<double>(some.max), 2);
  EXPECT_EQ(std::bit_cast<double>(some.sum_low), 0.5);
  EXPECT_EQ(all({0.0, -0.0}).min, uint64_t{1} << 63) << "-0 is below +0";
  EXPECT_EQ(all({NAN, NAN}).nan_count, 2u);
  EXPECT_EQ(std::bit_cast<double>(all({1, INFINITY, 2}).sum_low), INFINITY);
  EXPECT_TRUE(std::isnan(std::bit_cast<double>(all({INFINITY, -INFINITY}).sum_low)));
}

TEST(StoredBlock, SumsOfIntegersAreExactBeyondSixtyFourBits) {
  std::vector<Point> points;
  for (int64_t i = 0; i < 1000; ++i)
    points.push_back({i, static_cast<uint64_t>(i % 2 == 0 ? INT64_MIN : INT64_MIN + 1)});
  const Aggregates all = aggregates_of(ValueType::kI64, points);
  // 1,000 times -2^63, and 500: -500 times 2^64, and 500.
  EXPECT_EQ(all.sum_low, 500u);
  EXPECT_EQ(all.sum_high, -500);
}

TEST(StoredBlock, AnyPointIsFoundByItsPlace) {
  for (uint64_t kind = 0; kind <= 5; ++kind) {
    const auto points = sensible(kind, 1000, kind);
    const Bytes block = packed({}, points);
    for (size_t i = 0; i < points.size(); ++i) {
      Point point;
      ASSERT_TRUE(read_point(block, 0, i, &point).ok());
      EXPECT_EQ(point, points[i]);
    }
    Point point;
    EXPECT_EQ(read_point(block, 0, points.size(), &point).error, BlockError::kCount);
  }
}

// ---- Blocks from outside

std::vector<Bytes> some_blocks() {
  std::vector<Bytes> blocks;
  for (uint64_t kind = 0; kind <= 5; ++kind) {
    blocks.push_back(packed({}, sensible(kind, 300, kind)));
    blocks.push_back(packed({{}, true}, sensible(kind, 60, kind)));
  }
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    Inputs inputs(seed);
    Case test(inputs);
    test.points.resize(std::min<size_t>(test.points.size(), 150));
    blocks.push_back(packed(test.options, test.points));
    blocks.push_back(written(test.options, codecs_of(test.options.block.type).back(), test.points));
  }
  return blocks;
}

// Whatever comes out agrees with the head, by every way to read it.
bool is_consistent(const Bytes& block) {
  std::vector<Point> points(kBlockPointsMax);
  BlockInfo info;
  const Bytes exact(block);
  if (!read_block(exact, 0, &info, points, kLongSpanMsMax).ok()) {
    Point point;
    Aggregates all;
    (void)read_point(exact, 0, 200, &point, false, kLongSpanMsMax);
    (void)aggregate_block(exact, 0, 5, 1'700'000'000'500, &info, &all, kLongSpanMsMax);
    (void)encoding_name(exact);
    return false;
  }
  points.resize(info.count);
  const reference::Extent extent = reference::extent(points);
  EXPECT_EQ(extent.t_min, info.t_min);
  EXPECT_EQ(extent.t_max, info.t_max);
  EXPECT_EQ(extent.unordered, info.unordered);
  Point last;
  EXPECT_TRUE(read_point(exact, 0, info.count - 1, &last, false, kLongSpanMsMax).ok());
  EXPECT_EQ(last, points.back());
  return true;
}

TEST(StoredBlockHostile, CutOrAlteredItIsRefused) {
  for (const Bytes& block : some_blocks()) {
    std::vector<Point> points(kBlockPointsMax);
    BlockInfo info;
    for (size_t size = 0; size < block.size(); ++size) {
      const Bytes cut(block.begin(), block.begin() + static_cast<ptrdiff_t>(size));
      ASSERT_FALSE(read_block(cut, 0, &info, points, kLongSpanMsMax).ok()) << size;
    }
    for (size_t bit = 0; bit < block.size() * 8; bit += 3) {
      Bytes flipped = block;
      flipped[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
      ASSERT_FALSE(read_block(flipped, 0, &info, points, kLongSpanMsMax).ok()) << bit;
    }
  }
}

TEST(StoredBlockHostile, WithTheChecksumPutRightItIsRefusedOrConsistent) {
  size_t accepted = 0;
  for (const Bytes& block : some_blocks()) {
    for (size_t bit = 0; bit < (block.size() - 4) * 8; ++bit) {
      Bytes forged(block.begin(), block.end() - 4);
      forged[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
      reference::append_checksum(&forged);
      accepted += is_consistent(forged) ? 1 : 0;
    }
    for (size_t size = 4; size < block.size() - 4; ++size) {
      Bytes forged(block.begin(), block.begin() + static_cast<ptrdiff_t>(size));
      reference::append_checksum(&forged);
      EXPECT_FALSE(is_consistent(forged)) << "cut to " << size;
    }
  }
  EXPECT_GT(accepted, 1000u);  // the test reaches behind the checksum
}

TEST(StoredBlockHostile, AggregatesThatAreNotThoseOfThePointsAreRefused) {
  const auto points = sensible(0, 200, 1);
  Bytes forged = packed({{}, true}, points);
  uint8_t last[8];
  std::memcpy(last, &points.back().bits, 8);
  const auto at = std::search(forged.begin(), forged.end(), last, last + 8);
  ASSERT_NE(at, forged.end());
  *at ^= 1;
  forged.erase(forged.end() - 4, forged.end());
  reference::append_checksum(&forged);
  BlockInfo info;
  std::vector<Point> read(kBlockPointsMax);
  EXPECT_EQ(read_block(forged, 0, &info, read).error, BlockError::kAggregates);
}

}  // namespace
}  // namespace lambda
