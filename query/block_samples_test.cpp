#include "query/block_samples.h"

#include <gtest/gtest.h>

#include <bit>
#include <map>
#include <random>

namespace lambda::query {
namespace {

struct Made {
  std::vector<uint8_t> bytes;
  std::vector<Point> points;
};

Made make_block(const BlockOptions& options, const std::vector<Point>& points) {
  std::vector<uint8_t> space(block_bytes_max(points.size()));
  BlockWriter writer(space, options);
  for (const Point& point : points) {
    EXPECT_EQ(writer.append(point), AppendResult::kOk);
  }
  const auto bytes = writer.seal();
  return {{bytes.begin(), bytes.end()}, points};
}

// Against the naive reading: each point by itself.
TEST(BlockSamples, AreThePointsOfThePartInOrderOfOrdinal) {
  for (uint32_t seed = 1; seed <= 400; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    BlockOptions options;
    options.boot = 5;
    options.first_ordinal = random() % 1000;
    options.type = std::array{ValueType::kF64, ValueType::kI64, ValueType::kDec}[random() % 3];
    options.scale = options.type == ValueType::kDec ? static_cast<uint8_t>(random() % 4) : 0;
    std::vector<Point> points;
    int64_t time_ms = 1'000'000;
    for (size_t i = 0, count = 1 + random() % 500; i < count; ++i) {
      time_ms += random() % 20 == 0 ? -300 : static_cast<int64_t>(random() % 1000);
      const auto number = static_cast<int64_t>(random() % 2001) - 1000;
      const bool f64 = options.type == ValueType::kF64;
      points.push_back(
          {time_ms, f64 ? std::bit_cast<uint64_t>(static_cast<double>(number) / 8) : static_cast<uint64_t>(number)});
    }
    const Made made = make_block(options, points);
    BlockPart part;
    if (random() % 4 != 0) {
      part.offset_ms = random() % 2 == 0 ? 0 : static_cast<int64_t>(random() % 100'000) - 50'000;
      part.from_ms = 1'000'000 + static_cast<int64_t>(random() % 300'000) - 50'000;
      part.to_ms = part.from_ms + static_cast<int64_t>(random() % 300'000);
      part.first = options.first_ordinal + random() % 100;
      part.end = part.first + random() % 500;
    }
    std::vector<Sample> wanted{{-1, -1}};
    for (size_t i = 0; i < points.size(); ++i) {
      const uint64_t ordinal = options.first_ordinal + i;
      const int64_t at = points[i].time_ms + part.offset_ms;
      if (at >= part.from_ms && at <= part.to_ms && ordinal >= part.first && ordinal < part.end) {
        wanted.push_back({at, point_number(options.type, options.scale, points[i].bits)});
      }
    }
    std::vector<Sample> found{{-1, -1}};  // what is there stays
    BlockInfo info;
    ASSERT_TRUE(append_samples(made.bytes, 5, part, &info, found).ok());
    EXPECT_EQ(info.count, points.size());
    ASSERT_EQ(found.size(), wanted.size());
    for (size_t i = 0; i < found.size(); ++i) {
      ASSERT_EQ(found[i].time_ms, wanted[i].time_ms);
      ASSERT_EQ(found[i].value, wanted[i].value);
    }
  }
}

TEST(BlockSamples, ABadBlockAddsNothingWhereverItIsBad) {
  std::vector<Point> points;
  for (int64_t i = 0; i < 300; ++i) {
    points.push_back({i * 1000, std::bit_cast<uint64_t>(static_cast<double>(i * i % 37))});
  }
  const Made made = make_block({.boot = 1}, points);
  for (size_t at = 0; at < made.bytes.size(); ++at) {
    std::vector<uint8_t> flipped = made.bytes;
    flipped[at] ^= 0x10;
    std::vector<Sample> samples{{1, 1}};
    BlockInfo info;
    EXPECT_FALSE(append_samples(flipped, 1, {}, &info, samples).ok()) << at;
    EXPECT_EQ(samples.size(), 1u) << at;
    EXPECT_FALSE(append_samples(std::span(made.bytes).first(at), 1, {}, &info, samples).ok()) << at;
    EXPECT_EQ(samples.size(), 1u) << at;
  }
}

TEST(BlockSamples, TimesAtTheEndsOfTimeDoNotOverflow) {
  const Made late = make_block({.boot = 1}, {{INT64_MAX - 5, 0}, {INT64_MAX, 0}});
  const Made early = make_block({.boot = 1}, {{INT64_MIN, 0}, {INT64_MIN + 5, 0}});
  for (const int64_t offset_ms : {INT64_MIN, int64_t{-1}, int64_t{0}, int64_t{1}, INT64_MAX}) {
    std::vector<Sample> samples;
    BlockInfo info;
    ASSERT_TRUE(
        append_samples(late.bytes, 1, {.from_ms = 0, .to_ms = 10, .offset_ms = offset_ms}, &info, samples).ok());
    ASSERT_TRUE(
        append_samples(early.bytes, 1, {.from_ms = -10, .to_ms = 0, .offset_ms = offset_ms}, &info, samples).ok());
    for (const Sample& sample : samples) {
      EXPECT_LE(std::abs(sample.time_ms), 10);
    }
  }
}

TEST(BlockSamples, OfOneTimeTheLastStays) {
  for (uint32_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    std::vector<Sample> samples;
    std::map<int64_t, double> wanted;
    for (int i = 0; i < 50; ++i) {
      samples.push_back({static_cast<int64_t>(seed % 2 == 0 ? random() % 40 : static_cast<uint32_t>(i)), i * 1.0});
      wanted[samples.back().time_ms] = samples.back().value;
    }
    keep_last_of_each_time(samples);
    ASSERT_EQ(samples.size(), wanted.size());
    auto at = wanted.begin();
    for (const Sample& sample : samples) {
      ASSERT_EQ(sample.time_ms, at->first);
      ASSERT_EQ(sample.value, at++->second);
    }
  }
}

}  // namespace
}  // namespace lambda::query
