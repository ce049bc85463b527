// The codecs that a device may have beside xor64 and delta64, through the writer and the reader that devices have.
#include "lambda/codecs.h"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <random>

#include "block_reference.h"

namespace lambda {
namespace {

using reference::Bytes;
using reference::Inputs;

struct Choice {
  const BlockCoding* coding;
  ValueType type;
};
constexpr Choice kChoices[] = {{&kXor32Coding, ValueType::kF32},   {&kSlope64Coding, ValueType::kI64},
                               {&kSlope64Coding, ValueType::kDec}, {&kRuns64Coding, ValueType::kState},
                               {&kRuns64Coding, ValueType::kI64},  {&kRuns64Coding, ValueType::kDec}};

// Options and points for a choice: half of them as wild as for any codec, half of a state that lasts.
struct Case {
  BlockOptions options;
  std::vector<Point> points;

  Case(const Choice& choice, uint64_t seed) {
    Inputs inputs(seed);
    options = inputs.options();
    options.type = ValueType::kI64;
    points = inputs.points(options, 1 + inputs.below(inputs.below(4) == 0 ? kBlockPointsMax : 90));
    if (seed % 2 == 0) {
      uint64_t state = 0;
      points[0].time_ms = 1'700'000'000'000;
      for (size_t i = 1; i < points.size(); ++i) {
        if (inputs.below(1 + seed % 70) == 0) state = inputs.below(3);
        points[i] = {points[i - 1].time_ms, state};
        const int64_t step = inputs.below(60) == 0 ? 2 : 1;
        if (points[i].time_ms - points[0].time_ms + step * options.tick_ms <= kBlockSpanMsMax / 2) {
          points[i].time_ms += step * options.tick_ms;
        }
      }
    }
    options.type = choice.type;
    options.scale = choice.type == ValueType::kDec ? 3 : 0;
    options.coding = choice.coding;
    if (choice.type == ValueType::kF32) {
      for (Point& point : points) point.bits = inputs.below(3) == 0 ? point.bits >> 32 : point.bits & 0xFFFFFFFF;
    }
  }
};

Bytes sealed(const BlockOptions& options, const std::vector<Point>& points) {
  Bytes space(block_bytes_max(points.size()));
  BlockWriter writer(space, options);
  for (const Point& point : points) EXPECT_EQ(writer.append(point), AppendResult::kOk);
  const auto bytes = writer.seal();
  return Bytes(bytes.begin(), bytes.end());
}

std::string name_of(const Bytes& block) {
  BlockInfo info;
  std::vector<Point> points(kBlockPointsMax);
  const Bytes exact(block);  // of its own allocation: a sanitizer sees a read behind the end
  return block_error_name(decode_block(exact, 0, &info, points, kAllCodings).error);
}

std::vector<Point> state_at(int64_t step_ms, size_t count, size_t changes_each) {
  std::vector<Point> points;
  for (size_t i = 0; i < count; ++i) {
    points.push_back({1'700'000'000'000 + static_cast<int64_t>(i) * step_ms, i / changes_each % 2});
  }
  return points;
}

TEST(Codecs, GiveBackEveryBitWholeAndInPiecesOfAnySize) {
  for (uint64_t seed = 1; seed <= 1'500; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    const Choice& choice = kChoices[seed % std::size(kChoices)];
    const Case test(choice, seed);
    const Bytes bytes = sealed(test.options, test.points);
    BlockInfo info;
    std::vector<Point> points(kBlockPointsMax);
    const BlockStatus status = decode_block(bytes, test.options.boot, &info, points, kAllCodings);
    ASSERT_TRUE(status.ok()) << block_error_name(status.error) << " at " << status.offset;
    points.resize(info.count);
    ASSERT_EQ(points, test.points);
    EXPECT_EQ(info.codec, choice.coding->codec);
    EXPECT_EQ(info.type, choice.type);

    std::mt19937_64 random(seed);
    BlockReader reader;
    ASSERT_TRUE(reader.open(bytes, test.options.boot, kAllCodings).ok());
    std::vector<Point> in_pieces;
    Point piece[40];
    while (const size_t count = reader.next(std::span(piece).first(1 + random() % 40))) {
      in_pieces.insert(in_pieces.end(), piece, piece + count);
    }
    ASSERT_TRUE(reader.status().ok());
    EXPECT_EQ(in_pieces, test.points);
  }
}

TEST(Codecs, AnOpenBlockReadsAsWhatWasAppendedSoFarAndIsNotDisturbed) {
  for (uint64_t seed = 1; seed <= 120; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    const Case test(kChoices[seed % std::size(kChoices)], seed);
    Bytes space(block_bytes_max(test.points.size()));
    BlockWriter writer(space, test.options);
    for (size_t i = 0; i < test.points.size(); ++i) {
      ASSERT_EQ(writer.append(test.points[i]), AppendResult::kOk);
      if (i % 7 != 0 && i + 1 != test.points.size()) continue;
      BlockReader reader = BlockReader::over_open(writer);
      std::vector<Point> read(i + 1);
      ASSERT_EQ(reader.next(read), i + 1);
      ASSERT_TRUE(reader.status().ok());
      ASSERT_TRUE(std::equal(read.begin(), read.end(), test.points.begin()));
    }
    const auto bytes = writer.seal();
    EXPECT_EQ(Bytes(bytes.begin(), bytes.end()), sealed(test.options, test.points));
  }
}

TEST(Codecs, AreRefusedByTheirNumberWhereTheyAreNotGiven) {
  for (const Choice& choice : kChoices) {
    const Bytes bytes = sealed(Case(choice, 8).options, Case(choice, 8).points);
    BlockInfo info;
    std::vector<Point> points(kBlockPointsMax);
    const BlockStatus status = decode_block(bytes, 0, &info, points);
    EXPECT_EQ(status.error, BlockError::kCodec);
    const BlockCoding* const others[] = {choice.coding == &kXor32Coding ? &kRuns64Coding : &kXor32Coding};
    EXPECT_EQ(decode_block(bytes, 0, &info, points, others).error, BlockError::kCodec);
  }
}

TEST(Codecs, TheWorstPointsFitTheStatedSpaceAndNothingIsWrittenOutsideIt) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937_64 random(seed);
    const Choice& choice = kChoices[seed % std::size(kChoices)];
    const size_t count = 1 + random() % kBlockPointsMax;
    // Times that swing from end to end, values that share nothing, and runs, which make the longest codes of runs64.
    std::vector<Point> points;
    for (size_t i = 0; i < count; ++i) {
      const bool repeat = i > 1 && random() % 3 == 0;
      const int64_t time = i % 2 == 0 ? 0 : 600'000;
      const uint64_t value = i % 2 == 0 ? random() : ~points.back().bits;
      points.push_back(repeat ? points.back()
                              : Point{time, choice.type == ValueType::kF32 ? value & 0xFFFFFFFF : value});
    }
    const size_t size = block_bytes_max(count);
    Bytes space(size + 64, 0xA5);
    BlockOptions options;
    options.type = choice.type;
    options.coding = choice.coding;
    BlockWriter writer({space.data(), size}, options);
    for (const Point& point : points) {
      const size_t before = writer.bytes();
      ASSERT_EQ(writer.append(point), AppendResult::kOk);
      ASSERT_LE(writer.bytes() - before, 14u);
    }
    const size_t used = writer.seal().size();
    EXPECT_LE(used, kBlockHeaderBytesMax + count * kPointBytesMax);
    for (size_t i = size; i < space.size(); ++i) ASSERT_EQ(space[i], 0xA5) << "byte " << i - size << " behind";
  }
}

TEST(Codecs, WithoutRoomForOneMoreTheWriterIsFullAndWhatIsInItStaysWhole) {
  for (const Choice& choice : kChoices) {
    const Case test(choice, 9);
    for (size_t size = block_bytes_max(1); size < block_bytes_max(12); ++size) {
      Bytes space(size);
      BlockWriter writer(space, test.options);
      std::vector<Point> taken;
      for (const Point& point : test.points) {
        if (writer.append(point) != AppendResult::kOk) break;
        taken.push_back(point);
      }
      BlockInfo info;
      std::vector<Point> read(taken.size());
      ASSERT_TRUE(decode_block(writer.seal(), 0, &info, read, kAllCodings).ok());
      ASSERT_EQ(read, taken);
    }
  }
}

TEST(Codecs, AStateCostsPerChangeAndNotPerPoint) {
  BlockOptions options;
  options.type = ValueType::kState;
  options.ref = 1;
  const size_t in_delta64 = sealed(options, state_at(1'000, 600, 600)).size();
  options.coding = &kRuns64Coding;
  const size_t steady = sealed(options, state_at(1'000, 600, 600)).size();
  EXPECT_LE(steady, 25u);
  EXPECT_GE(in_delta64, 95u);
  EXPECT_EQ(sealed(options, state_at(500, 1'000, 1'000)).size(), steady) << "more points of the same";
  for (const size_t each : {7u, 60u, 300u}) {
    const size_t changes = 599 / each;
    const size_t bytes = sealed(options, state_at(1'000, 600, each)).size();
    EXPECT_LE(bytes, steady + changes * 5 / 2 + 1) << "a change each " << each;
  }
}

TEST(Codecs, ACounterAndAFloatTakeLessThanInTheCodecsOfEverybody) {
  std::mt19937_64 random(1);
  std::vector<Point> counter, wide, narrow;
  uint64_t bytes = 1'000'000;
  double level = 20;
  for (int64_t i = 0; i < 600; ++i) {
    bytes += 125'000 + random() % 40;
    level += (static_cast<double>(random() % 2001) - 1000) / 3000;
    counter.push_back({i * 1'000, bytes});
    wide.push_back({i * 1'000, std::bit_cast<uint64_t>(level)});
    narrow.push_back({i * 1'000, std::bit_cast<uint32_t>(static_cast<float>(level))});
  }
  BlockOptions options;
  options.type = ValueType::kI64;
  const size_t in_delta64 = sealed(options, counter).size();
  options.coding = &kSlope64Coding;
  EXPECT_LE(sealed(options, counter).size() * 10, in_delta64 * 6);
  options = BlockOptions();
  const size_t in_xor64 = sealed(options, wide).size();
  options.type = ValueType::kF32;
  options.coding = &kXor32Coding;
  EXPECT_LE(sealed(options, narrow).size() * 2, in_xor64);
}

TEST(CodecsHostile, AlteredWithTheChecksumPutRightABlockIsRefusedOrConsistent) {
  size_t accepted = 0, refused = 0;
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Case test(kChoices[seed % std::size(kChoices)], seed);
    if (test.points.size() > 60) test.points.resize(60);
    const Bytes block = sealed(test.options, test.points);
    for (size_t bit = 0; bit < (block.size() - 4) * 8; ++bit) {
      Bytes forged(block.begin(), block.end() - 4);
      forged[bit / 8] ^= static_cast<uint8_t>(1 << (bit % 8));
      reference::append_checksum(&forged);
      BlockInfo info;
      std::vector<Point> points(kBlockPointsMax);
      if (!decode_block(Bytes(forged), 0, &info, points, kAllCodings).ok()) {
        ++refused;
        continue;
      }
      ++accepted;
      points.resize(info.count);
      const reference::Extent extent = reference::extent(points);
      ASSERT_EQ(extent.t_min, info.t_min);
      ASSERT_EQ(extent.t_max, info.t_max);
      ASSERT_EQ(extent.unordered, info.unordered);
    }
  }
  EXPECT_GT(accepted, 100u);
  EXPECT_GT(refused, 1'000u);
}

TEST(CodecsHostile, RandomBytesBehindAValidHeadNeverCrash) {
  size_t accepted = 0;
  for (uint64_t seed = 1; seed <= 20'000; ++seed) {
    std::mt19937_64 random(seed);
    const Choice& choice = kChoices[seed % std::size(kChoices)];
    const uint64_t shape = static_cast<uint64_t>(choice.type) | (random() % 2 == 0 ? 0x20 : 0);
    Bytes block{0xB1, static_cast<uint8_t>(choice.coding->codec), static_cast<uint8_t>(shape)};
    if (choice.type == ValueType::kDec) block.push_back(2);
    for (const uint64_t number :
         {uint64_t{1}, uint64_t{0}, 1 + random() % 20, random() % 9, random() % 30, uint64_t{1}}) {
      reference::append(&block, reference::varint(number));
    }
    for (uint64_t i = random() % 40; i > 0; --i) block.push_back(static_cast<uint8_t>(random()));
    reference::append_checksum(&block);
    accepted += name_of(block) == "none" ? 1 : 0;
  }
  EXPECT_GT(accepted, 0u);
}

}  // namespace
}  // namespace lambda
