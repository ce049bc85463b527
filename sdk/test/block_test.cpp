#include "lambda/block.h"

#include <gtest/gtest.h>

#include <bit>
#include <limits>

#include "block_reference.h"

namespace lambda {
namespace {

using reference::Bytes;
using reference::Inputs;

std::vector<Point> decoded(std::span<const uint8_t> bytes, BlockInfo* info, uint64_t boot = 0) {
  std::vector<Point> points(kBlockPointsMax);
  const BlockStatus status = decode_block(bytes, boot, info, points);
  EXPECT_TRUE(status.ok()) << block_error_name(status.error) << " at " << status.offset;
  points.resize(status.ok() ? info->count : 0);
  return points;
}

Bytes sealed(const BlockOptions& options, const std::vector<Point>& points) {
  Bytes space(block_bytes_max(points.size()));
  BlockWriter writer(space, options);
  for (const Point& point : points) EXPECT_EQ(writer.append(point), AppendResult::kOk);
  const auto bytes = writer.seal();
  return Bytes(bytes.begin(), bytes.end());
}

TEST(Block, WritesTheBytesThatTheNaiveReferenceWritesAndReadsThemBack) {
  for (uint64_t seed = 1; seed <= 3'000; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Inputs inputs(seed);
    const BlockOptions options = inputs.options();
    const auto points = inputs.points(options, 1 + inputs.below(inputs.below(10) == 0 ? 1024 : 80));
    const Bytes bytes = sealed(options, points);
    ASSERT_EQ(bytes, reference::encode(options, points));
    BlockInfo info;
    ASSERT_EQ(decoded(bytes, &info, options.boot), points);
    const reference::Extent extent = reference::extent(points);
    EXPECT_EQ(info.boot, options.boot);
    EXPECT_EQ(info.has_boot, options.write_boot);
    EXPECT_EQ(info.first_ordinal, options.first_ordinal);
    EXPECT_EQ(info.ref, options.ref);
    EXPECT_EQ(info.clock, options.clock);
    EXPECT_EQ(info.count, points.size());
    EXPECT_EQ(info.type, options.type);
    EXPECT_EQ(info.scale, options.scale);
    EXPECT_EQ(info.tick_ms, options.tick_ms);
    EXPECT_EQ(info.t_min, extent.t_min);
    EXPECT_EQ(info.t_max, extent.t_max);
    EXPECT_EQ(info.unordered, extent.unordered);
  }
}

TEST(Block, TheNaiveDecoderReadsWhatTheWriterWrote) {
  for (uint64_t seed = 10'001; seed <= 10'500; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Inputs inputs(seed);
    const BlockOptions options = inputs.options();
    const auto points = inputs.points(options, 1 + inputs.below(100));
    const Bytes bytes = sealed(options, points);
    size_t head = 0;
    reference::encode(options, points, &head);
    std::string bits;
    for (size_t i = head; i + 4 < bytes.size(); ++i) bits += reference::binary(bytes[i], 8);
    EXPECT_EQ(reference::decode_bits(options, points[0], points.size(), bits), points);
  }
}

TEST(Block, KeepsAll64BitsOfEverySpecialDouble) {
  const uint64_t patterns[] = {std::bit_cast<uint64_t>(0.0),
                               std::bit_cast<uint64_t>(-0.0),
                               std::bit_cast<uint64_t>(std::numeric_limits<double>::infinity()),
                               std::bit_cast<uint64_t>(-std::numeric_limits<double>::infinity()),
                               0x7FF8000000000000,
                               0x7FF8000000000001,
                               0xFFF8DEADBEEF0001,
                               0x7FF0000000000001,
                               0xFFFFFFFFFFFFFFFF,
                               1,
                               0x800FFFFFFFFFFFFF,
                               std::bit_cast<uint64_t>(std::numeric_limits<double>::max()),
                               std::bit_cast<uint64_t>(std::numeric_limits<double>::min())};
  std::vector<Point> points;
  int64_t time = 1'700'000'000'000;
  for (uint64_t a : patterns) {
    for (uint64_t b : patterns) {
      points.push_back({time++, a});
      points.push_back({time++, b});
    }
  }
  BlockInfo info;
  EXPECT_EQ(decoded(sealed({}, points), &info), points);
}

TEST(Block, KeepsIntegersFromOneEndToTheOther) {
  const auto low = static_cast<uint64_t>(INT64_MIN);
  const auto high = static_cast<uint64_t>(INT64_MAX);
  const std::vector<Point> points{{0, low}, {1, high}, {2, low}, {3, 0}, {4, high}, {5, ~uint64_t{0}}, {6, low}};
  for (ValueType type : {ValueType::kI64, ValueType::kDec, ValueType::kState}) {
    BlockInfo info;
    EXPECT_EQ(decoded(sealed({.type = type}, points), &info), points);
  }
}

TEST(Block, TimesReachBothEndsOfInt64) {
  for (int64_t base : {INT64_MIN, INT64_MAX - kBlockSpanMsMax}) {
    const std::vector<Point> points{{base, 1}, {base + kBlockSpanMsMax, 2}, {base + 1, 3}, {base, 4}};
    BlockInfo info;
    EXPECT_EQ(decoded(sealed({}, points), &info), points);
    EXPECT_EQ(info.t_min, base);
    EXPECT_EQ(info.t_max, base + kBlockSpanMsMax);
  }
}

TEST(Block, IsFullAtTenMinutesOr1024PointsAndThenTakesNothing) {
  Bytes space(block_bytes_max(2000));
  BlockWriter span(space, {});
  EXPECT_EQ(span.append({1000, 1}), AppendResult::kOk);
  EXPECT_EQ(span.append({1000 + kBlockSpanMsMax + 1, 2}), AppendResult::kFull);
  EXPECT_EQ(span.append({INT64_MIN, 2}), AppendResult::kFull);
  EXPECT_EQ(span.append({INT64_MAX, 2}), AppendResult::kFull);
  EXPECT_EQ(span.append({1000 + kBlockSpanMsMax, 2}), AppendResult::kOk);
  EXPECT_EQ(span.append({999, 2}), AppendResult::kFull);
  BlockInfo info;
  EXPECT_EQ(decoded(span.seal(), &info), (std::vector<Point>{{1000, 1}, {1000 + kBlockSpanMsMax, 2}}));

  BlockWriter count(space, {});
  for (uint32_t i = 0; i < kBlockPointsMax; ++i) ASSERT_EQ(count.append({i, i}), AppendResult::kOk);
  EXPECT_EQ(count.append({kBlockPointsMax, 0}), AppendResult::kFull);
  EXPECT_EQ(decoded(count.seal(), &info).size(), kBlockPointsMax);
}

TEST(Block, IsFullForATimeThatIsNoMultipleOfTheTickAway) {
  Bytes space(block_bytes_max(10));
  BlockWriter writer(space, {.tick_ms = 100});
  EXPECT_EQ(writer.append({1'033, 1}), AppendResult::kOk);
  EXPECT_EQ(writer.append({1'100, 2}), AppendResult::kFull);
  EXPECT_EQ(writer.append({1'133, 2}), AppendResult::kOk);
  EXPECT_EQ(writer.append({933, 3}), AppendResult::kOk);
  EXPECT_EQ(writer.append({932, 3}), AppendResult::kFull);
  BlockInfo info;
  EXPECT_EQ(decoded(writer.seal(), &info), (std::vector<Point>{{1'033, 1}, {1'133, 2}, {933, 3}}));
}

// The worst points there are: a jump in time every time; for floats 64 new bits in a new window every other time, which
// takes a narrow window between them.
std::vector<Point> worst_points(size_t count, ValueType type) {
  std::vector<Point> points;
  uint64_t bits = 0;
  for (size_t i = 0; i < count; ++i) {
    points.push_back({i % 2 == 0 ? 0 : kBlockSpanMsMax, bits});
    bits ^= type != ValueType::kF64 ? uint64_t{1} << 63 : i % 2 == 0 ? ~uint64_t{0} : uint64_t{1} << 20;
  }
  return points;
}

TEST(Block, TheWorstPointTakesExactlyThirteenBytes) {
  const auto points = worst_points(4, ValueType::kF64);
  const size_t before = sealed({}, {points.begin(), points.begin() + 3}).size();
  EXPECT_EQ(sealed({}, points).size() - before, kPointBytesMax);
}

TEST(Block, TheStatedSpaceIsEnoughForTheWorstPoints) {
  for (ValueType type : {ValueType::kF64, ValueType::kI64}) {
    for (size_t count : {1u, 2u, 3u, 64u, 1024u}) {
      const BlockOptions options{.boot = ~uint64_t{0},
                                 .first_ordinal = (uint64_t{1} << 63) - kBlockPointsMax,
                                 .ref = UINT32_MAX,
                                 .clock = UINT32_MAX,
                                 .type = type,
                                 .write_boot = true};
      const auto points = worst_points(count, type);
      BlockInfo info;
      EXPECT_EQ(decoded(sealed(options, points), &info), points);  // sealed() gives block_bytes_max(count)
    }
  }
}

TEST(Block, NeverWritesOutsideItsSpaceHoweverSmall) {
  for (size_t size = block_bytes_max(1); size < block_bytes_max(1) + 60; ++size) {
    Bytes space(size + 64, 0xA5);
    BlockWriter writer(std::span<uint8_t>(space.data(), size), {});
    std::vector<Point> taken;
    for (const Point& point : worst_points(40, ValueType::kF64)) {
      if (writer.append(point) == AppendResult::kFull) break;
      taken.push_back(point);
    }
    ASSERT_GE(taken.size(), 1u);
    ASSERT_LT(taken.size(), 40u);
    BlockInfo info;
    EXPECT_EQ(decoded(writer.seal(), &info), taken);
    for (size_t i = size; i < space.size(); ++i) ASSERT_EQ(space[i], 0xA5) << "at " << i << " of " << size;
  }
}

TEST(Block, BytesIsNeverLessThanWhatSealReturns) {
  Inputs inputs(77);
  for (int round = 0; round < 200; ++round) {
    const BlockOptions options = inputs.options();
    const auto points = inputs.points(options, 1 + inputs.below(100));
    Bytes space(block_bytes_max(points.size()));
    BlockWriter writer(space, options);
    for (const Point& point : points) ASSERT_EQ(writer.append(point), AppendResult::kOk);
    const size_t bound = writer.bytes();
    EXPECT_LE(writer.seal().size(), bound);
  }
}

TEST(Block, AnOpenBlockReadsAsTheSealedOneAfterEveryPointAndIsNotDisturbed) {
  for (uint64_t seed = 20'001; seed <= 20'200; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Inputs inputs(seed);
    const BlockOptions options = inputs.options();
    const auto points = inputs.points(options, 60);
    Bytes space(block_bytes_max(points.size()));
    BlockWriter writer(space, options);
    EXPECT_EQ(BlockReader::over_open(writer).next(std::span<Point>()), 0u);
    for (size_t n = 1; n <= points.size(); ++n) {
      ASSERT_EQ(writer.append(points[n - 1]), AppendResult::kOk);
      BlockReader reader = BlockReader::over_open(writer);
      std::vector<Point> read(n + 1);
      ASSERT_EQ(reader.next(read), n);
      ASSERT_TRUE(reader.status().ok()) << block_error_name(reader.status().error);
      read.resize(n);
      ASSERT_EQ(read, std::vector<Point>(points.begin(), points.begin() + static_cast<ptrdiff_t>(n)));
    }
    const auto bytes = writer.seal();
    EXPECT_EQ(Bytes(bytes.begin(), bytes.end()), reference::encode(options, points));
  }
}

TEST(Block, AReaderOverAnOpenBlockKeepsItsViewWhileTheWriterGoesOn) {
  Bytes space(block_bytes_max(100));
  BlockWriter writer(space, {});
  for (int64_t i = 0; i < 50; ++i) ASSERT_EQ(writer.append({i, static_cast<uint64_t>(i * i * 77)}), AppendResult::kOk);
  BlockReader reader = BlockReader::over_open(writer);
  Point point;
  for (int64_t i = 0; i < 50; ++i) {
    ASSERT_EQ(writer.append({50 + i, static_cast<uint64_t>(i) << 40}), AppendResult::kOk);
    ASSERT_TRUE(reader.next(&point));
    EXPECT_EQ(point, (Point{i, static_cast<uint64_t>(i * i * 77)}));
  }
  EXPECT_FALSE(reader.next(&point));
  EXPECT_TRUE(reader.status().ok());
}

TEST(Block, PointsComeOutTheSameOneByOneAndInPiecesOfAnySize) {
  for (uint64_t seed = 30'001; seed <= 30'300; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Inputs inputs(seed);
    const BlockOptions options = inputs.options();
    const auto points = inputs.points(options, 1 + inputs.below(200));
    const Bytes bytes = sealed(options, points);
    BlockReader reader;
    ASSERT_TRUE(reader.open(bytes).ok());
    std::vector<Point> read;
    Point piece[17];
    while (const size_t n = reader.next(std::span<Point>(piece, 1 + inputs.below(17)))) {
      read.insert(read.end(), piece, piece + n);
    }
    EXPECT_TRUE(reader.status().ok());
    EXPECT_EQ(read, points);
  }
}

TEST(Block, TheContextGivesTheBootThatTheBytesLeaveOut) {
  BlockInfo info;
  decoded(sealed({.boot = 5}, {{1, 1}}), &info, 9);
  EXPECT_EQ(info.boot, 9u);
  EXPECT_FALSE(info.has_boot);
  decoded(sealed({.boot = 5, .write_boot = true}, {{1, 1}}), &info, 9);
  EXPECT_EQ(info.boot, 5u);
  EXPECT_TRUE(info.has_boot);
}

TEST(Block, ASteadySeriesTakesOneBitAPoint) {
  std::vector<Point> points;
  for (int64_t i = 0; i < 600; ++i) points.push_back({1'700'000'000'000 + i * 1000, 0x4037000000000000});
  EXPECT_LE(sealed({}, points).size(), 30u + 600 / 8 + 8);
}

TEST(Crc32c, AgreesWithTheBitwiseDefinitionAndCanBeContinued) {
  const std::string check = "123456789";  // its published check value
  EXPECT_EQ(crc32c({reinterpret_cast<const uint8_t*>(check.data()), check.size()}), 0xE3069283u);
  EXPECT_EQ(crc32c({}), 0u);
  std::mt19937_64 random(5);
  // Every short one, and of long ones enough that all lengths of what is done in parts occur.
  for (size_t size = 0; size < 4000; size += size < 100 ? 1 : 23) {
    Bytes bytes(size);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
    EXPECT_EQ(crc32c(bytes), reference::crc(bytes));
    const size_t cut = size == 0 ? 0 : random() % size;
    EXPECT_EQ(crc32c(std::span(bytes).subspan(cut), crc32c(std::span(bytes).first(cut))), reference::crc(bytes));
  }
}

}  // namespace
}  // namespace lambda
