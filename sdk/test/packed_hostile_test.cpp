// Packed payloads that break one rule each, everything else about them being right: each is refused by name. The rules
// are those of proto/block.md, "Packed".
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <initializer_list>
#include <random>
#include <string>

#include "block_reference.h"
#include "lambda/stored_block.h"

namespace lambda {
namespace {

using reference::Bytes;

constexpr uint8_t kPlain = 1, kDelta = 2, kSlope = 3, kRuns = 0x7F, kPatched = 0x80;
constexpr uint8_t kInteger = 0, kDecimal = 1, kDictionary = 2, kSplit = 3;

Bytes joined(std::initializer_list<Bytes> parts) {
  Bytes all;
  for (const Bytes& part : parts) reference::append(&all, part);
  return all;
}

// The times 0, 1, 2 ... as a column.
const Bytes kTimes{0, 0, 2};
// Any integer, over and over, as a column.
Bytes always(int64_t value) {
  return joined({{0}, reference::zigzag(value), {0}});
}

Bytes block_of(ValueType type, uint64_t count, const Bytes& payload, uint64_t span, uint8_t shape_flags = 0) {
  Bytes block{0xB1, 6, static_cast<uint8_t>(static_cast<uint8_t>(type) | shape_flags), 1, 0};
  reference::append(&block, reference::varint(count));
  block.push_back(0);  // t_min
  reference::append(&block, reference::varint(span));
  block.push_back(1);  // tick
  reference::append(&block, payload);
  reference::append_checksum(&block);
  return block;
}

// "ok", or the error's name; every way to read the block must be of one mind, and none may crash.
std::string verdict(const Bytes& block) {
  const Bytes exact(block);  // of its own allocation: a sanitizer sees a read behind the end
  std::vector<Point> points(kBlockPointsMax);
  BlockInfo info;
  Aggregates all;
  Point point;
  const BlockStatus status = read_block(exact, 0, &info, points);
  EXPECT_EQ(aggregate_block(exact, 0, INT64_MIN, INT64_MAX, &info, &all).error, status.error);
  for (const size_t index : {size_t{0}, size_t{130}}) {
    const BlockStatus one = read_point(exact, 0, index, &point);
    EXPECT_FALSE(status.ok() && index < info.count && !one.ok());
  }
  EXPECT_NE(encoding_name(exact), nullptr);
  return status.ok() ? "ok" : block_error_name(status.error);
}

std::string integers(const Bytes& column, uint64_t count = 3) {
  return verdict(block_of(ValueType::kI64, count, joined({kTimes, {kInteger}, column}), count - 1));
}

std::string floats(const Bytes& form, uint64_t count = 3) {
  return verdict(block_of(ValueType::kF64, count, joined({kTimes, form}), count - 1));
}

std::string times(const Bytes& column, uint64_t span, uint8_t shape_flags = 0) {
  return verdict(block_of(ValueType::kI64, 3, joined({column, {kInteger}, always(5)}), span, shape_flags));
}

TEST(PackedHostile, AColumnKeepsToItsKindsAndWidths) {
  EXPECT_EQ(integers({kPlain, 8, 0, 1, 2, 3}), "ok");
  EXPECT_EQ(integers({kDelta, 8, 0, 0, 1, 2, 3}), "ok");
  EXPECT_EQ(integers({kSlope, 0, 8, 0, 1, 2, 3}), "ok");
  EXPECT_EQ(integers({4, 8, 0, 1, 2, 3}), "bits") << "an unknown kind";
  EXPECT_EQ(integers(joined({{kPlain, 64, 0}, Bytes(24, 0xFF)})), "ok");
  EXPECT_EQ(integers(joined({{kPlain, 65, 0}, Bytes(25, 0xFF)})), "bits") << "a width above 64";
  EXPECT_EQ(integers(joined({{kPlain, 0x7E, 0}, Bytes(48, 0)})), "bits") << "a width above 64";
  EXPECT_EQ(integers({}), "bits") << "no column at all";
  EXPECT_EQ(integers({kPlain}), "bits");
  EXPECT_EQ(integers({kPlain, 8, 0, 1, 2}), "bits") << "a byte too few";
  EXPECT_EQ(integers({kPlain, 8, 0, 1, 2, 3, 0}), "bits") << "a byte too many";
}

TEST(PackedHostile, ABaseIsAVarintInItsShortestForm) {
  EXPECT_EQ(integers({kPlain, 0, 0x81, 1}), "ok");
  EXPECT_EQ(integers({kPlain, 0, 0x81, 0}), "bits");
  EXPECT_EQ(integers({kPlain, 0, 0x80}), "bits");
  EXPECT_EQ(integers(joined({{kPlain, 0}, Bytes(9, 0xFF), {1}})), "ok");
  EXPECT_EQ(integers(joined({{kPlain, 0}, Bytes(9, 0xFF), {2}})), "bits") << "more than 64 bits";
  EXPECT_EQ(integers(joined({{kPlain, 0}, Bytes(10, 0xFF), {1}})), "bits") << "eleven bytes";
  EXPECT_EQ(integers(joined({{kDelta, 0, 0}, Bytes(10, 0xFF), {1}})), "bits") << "of a delta too";
}

TEST(PackedHostile, PatchesLieWithinTheirPieceAndRise) {
  // Width 4, base 0; patches of 4 bits at the places given.
  const auto patched = [](const Bytes& count_and_extra, const Bytes& places, const Bytes& above, const Bytes& bits) {
    return integers(joined({{kPlain, kPatched | 4, 0}, count_and_extra, places, above, bits}));
  };
  const Bytes bits{0x21, 0x03};
  EXPECT_EQ(patched({2, 4}, {0, 2}, {0x11}, bits), "ok");
  EXPECT_EQ(patched({0, 4}, {}, {}, bits), "bits") << "no patches, though it says so";
  EXPECT_EQ(patched({4, 4}, {0, 1, 2, 3}, {0x11, 0x11}, bits), "bits") << "more patches than integers";
  EXPECT_EQ(patched({2, 0}, {0, 2}, {}, bits), "bits") << "patches of no bits";
  EXPECT_EQ(patched({2, 61}, {0, 2}, Bytes(16, 1), bits), "bits") << "integers of 65 bits";
  EXPECT_EQ(patched({2, 4}, {0, 3}, {0x11}, bits), "bits") << "behind the piece";
  EXPECT_EQ(patched({2, 4}, {0, 255}, {0x11}, bits), "bits") << "behind the piece";
  EXPECT_EQ(patched({2, 4}, {2, 0}, {0x11}, bits), "bits") << "falling places";
  EXPECT_EQ(patched({2, 4}, {1, 1}, {0x11}, bits), "bits") << "one place twice";
  EXPECT_EQ(patched({2, 4}, {0, 2}, {0x11}, {0x21}), "bits") << "cut";
  EXPECT_EQ(patched({2, 200}, {0, 2}, Bytes(50, 1), bits), "bits");
  EXPECT_EQ(patched({255, 64}, {}, {}, {}), "bits");
}

TEST(PackedHostile, RunsFillTheirPieceExactly) {
  const auto runs = [](const Bytes& heads, const Bytes& lengths, const Bytes& values) {
    return integers(joined({{kPlain, kRuns, 0}, heads, lengths, values}));
  };
  EXPECT_EQ(runs({2, 2, 8}, {0b0001}, {7, 9}), "ok");  // 2 of 7, 1 of 9
  EXPECT_EQ(runs({0, 2, 8}, {}, {}), "bits") << "no run";
  EXPECT_EQ(runs({2, 2, 8}, {0b0000}, {7, 9}), "bits") << "too short";
  EXPECT_EQ(runs({2, 2, 8}, {0b0101}, {7, 9}), "bits") << "too long";
  EXPECT_EQ(runs({1, 7, 8}, {0x7F}, {7}), "bits") << "far too long";
  EXPECT_EQ(runs({4, 0, 8}, {}, {1, 2, 3, 4}), "bits") << "more runs than integers";
  EXPECT_EQ(runs({2, 8, 8}, {1, 0}, {7, 9}), "bits") << "lengths of eight bits";
  EXPECT_EQ(runs({2, 2, 65}, {0b0001}, Bytes(17, 1)), "bits") << "values of 65 bits";
  EXPECT_EQ(runs({2, 2, 8}, {0b0001}, {7}), "bits") << "cut";
  EXPECT_EQ(runs({255, 7, 64}, {}, {}), "bits");
}

TEST(PackedHostile, DecimalsAreOfFloatsAndWithinTheirRange) {
  const auto decimals = [](const Bytes& head, const Bytes& main, const Bytes& distances) {
    return floats(joined({{kDecimal}, head, main, distances}));
  };
  const int64_t end = int64_t{1} << 51;
  EXPECT_EQ(decimals({2, 0}, always(2150), always(0)), "ok");
  EXPECT_EQ(decimals({2, 0}, always(end - 1), always(0)), "ok");
  EXPECT_EQ(decimals({2, 0}, always(end), always(0)), "bits") << "2^51";
  EXPECT_EQ(decimals({2, 0}, always(-end - 1), always(0)), "bits");
  EXPECT_EQ(decimals({2, 0}, always(INT64_MIN), always(0)), "bits");
  EXPECT_EQ(decimals({19, 0}, always(1), always(0)), "bits") << "10^19";
  EXPECT_EQ(decimals({2}, {}, {}), "bits");
  EXPECT_EQ(decimals({2, 0}, always(1), {4}), "bits") << "the distances' column is checked as well";
  EXPECT_EQ(decimals({2, 0}, always(1), {kPlain, 8, 0, 1}), "bits") << "cut in the distances";
  EXPECT_EQ(verdict(block_of(ValueType::kI64, 3, joined({kTimes, {kDecimal, 0, 0}, always(1), always(0)}), 2)), "bits")
      << "integers are no decimals";
  const Bytes value(8, 0x40);
  EXPECT_EQ(decimals(joined({{2, 2, 0, 0}, value, {2, 0}, value}), always(1), always(0)), "ok");
  EXPECT_EQ(decimals(joined({{2, 2, 2, 0}, value, {0, 0}, value}), always(1), always(0)), "bits") << "falling places";
  EXPECT_EQ(decimals(joined({{2, 2, 1, 0}, value, {1, 0}, value}), always(1), always(0)), "bits") << "a place twice";
  EXPECT_EQ(decimals(joined({{2, 1, 3, 0}, value}), always(1), always(0)), "bits") << "behind the block";
  EXPECT_EQ(decimals(joined({{2, 1, 0, 1}, value}), always(1), always(0)), "bits") << "behind the block";
  EXPECT_EQ(decimals({2, 4}, always(1), always(0)), "bits") << "more exceptions than points";
  EXPECT_EQ(decimals(joined({{2}, Bytes(9, 0xFF), {1}}), always(1), always(0)), "bits") << "2^64 - 1 exceptions";
}

// A column of these integers as they are, in words of 64 bits: rows of 16 bytes, or the rest, hold them in order.
Bytes plain(const std::vector<int64_t>& integers) {
  Bytes column{kPlain};
  for (size_t i = 0; i < integers.size(); ++i) {
    if (i % 128 == 0) reference::append(&column, {64, 0});
    for (unsigned shift = 0; shift < 64; shift += 8) {
      column.push_back(static_cast<uint8_t>(static_cast<uint64_t>(integers[i]) >> shift));
    }
  }
  return column;
}

// An integer that is anything up to 2^51, or one whose quotient is as close as can be to where a double ends.
int64_t any_decimal(std::mt19937_64* random, double power) {
  const int64_t end = int64_t{1} << 51;
  const uint64_t word = (*random)();
  const auto n = static_cast<int64_t>((*random)() >> (13 + word % 51));
  const int64_t either = (word & 64) != 0 ? -n : n;
  if ((word & 128) == 0) return either;
  const double quotient = static_cast<double>(either) / power;
  const auto next = static_cast<long double>(std::nextafter(quotient, 1e300));
  const int64_t near = std::llroundl((static_cast<long double>(quotient) + next) / 2 * static_cast<long double>(power));
  return near <= -end || near >= end ? end - 1 : near;
}

// Whichever way the processor finds quotients.
TEST(PackedDecimals, AreWhatDivisionGives) {
  std::mt19937_64 random(11);
  double power = 1;
  for (uint8_t exponent = 0; exponent <= 18; ++exponent, power *= 10) {
    for (int round = 0; round < 100; ++round) {
      std::vector<int64_t> integers;
      for (int i = 0; i < 133; ++i) integers.push_back(any_decimal(&random, power));
      const Bytes payload = joined({kTimes, {kDecimal, exponent, 0}, plain(integers), always(0)});
      for (const ValueType type : {ValueType::kF64, ValueType::kF32}) {
        std::vector<Point> points(integers.size());
        BlockInfo info;
        ASSERT_TRUE(read_block(block_of(type, integers.size(), payload, integers.size() - 1), 0, &info, points).ok());
        for (size_t i = 0; i < integers.size(); ++i) {
          const double quotient = static_cast<double>(integers[i]) / power;
          const uint64_t bits = type == ValueType::kF64 ? std::bit_cast<uint64_t>(quotient)
                                                        : std::bit_cast<uint32_t>(static_cast<float>(quotient));
          ASSERT_EQ(points[i].bits, bits) << integers[i] << " / 10^" << static_cast<int>(exponent);
        }
      }
    }
  }
}

TEST(PackedHostile, ADictionaryHasTheEntriesThatArePointedAt) {
  const auto dictionary = [](const Bytes& count, const Bytes& entries, const Bytes& places) {
    return floats(joined({{kDictionary}, count, entries, places}));
  };
  EXPECT_EQ(dictionary({2}, {kPlain, 8, 0, 7, 9}, {kPlain, 1, 0, 0b101}), "ok");
  EXPECT_EQ(dictionary({2}, {kPlain, 8, 0, 7, 9}, {kPlain, 2, 0, 0b100001}), "bits") << "the third of two";
  EXPECT_EQ(dictionary({2}, {kPlain, 8, 0, 7, 9}, always(-1)), "bits");
  EXPECT_EQ(dictionary({2}, {kPlain, 8, 0, 7, 9}, always(INT64_MAX)), "bits");
  EXPECT_EQ(dictionary({0}, {kPlain}, always(0)), "bits") << "no entry";
  EXPECT_EQ(dictionary(reference::varint(512), always(7), always(511)), "ok");
  EXPECT_EQ(dictionary(reference::varint(513), always(7), always(0)), "bits") << "too many";
  EXPECT_EQ(dictionary(reference::varint(UINT64_MAX), always(7), always(0)), "bits");
  EXPECT_EQ(dictionary({2}, {kPlain, 8, 0, 7}, {}), "bits") << "cut in the entries";
}

TEST(PackedHostile, ASplitPutsTwoPartsTogetherThatDoNotOverlap) {
  const auto split = [](const Bytes& cut_and_count, const Bytes& highs, const Bytes& places, const Bytes& lows) {
    return floats(joined({{kSplit}, cut_and_count, highs, places, lows}));
  };
  EXPECT_EQ(split({60, 2}, {kPlain, 4, 0, 0xF3}, {kPlain, 1, 0, 0b101}, always(9)), "ok");
  EXPECT_EQ(split({0, 2}, {kPlain, 4, 0, 0xF3}, {kPlain, 1, 0, 0b101}, always(0)), "bits") << "no lower part";
  EXPECT_EQ(split({64, 2}, {kPlain, 4, 0, 0xF3}, {kPlain, 1, 0, 0b101}, always(9)), "bits") << "no upper part";
  EXPECT_EQ(split({61, 2}, {kPlain, 4, 0, 0xF3}, {kPlain, 1, 0, 0b101}, always(9)), "bits") << "an upper part too long";
  EXPECT_EQ(split({3, 1}, always(1), always(0), always(7)), "ok");
  EXPECT_EQ(split({3, 1}, always(1), always(0), always(8)), "bits") << "a lower part too long";
  EXPECT_EQ(split({3, 1}, always(1), always(0), always(-1)), "bits");
  EXPECT_EQ(split({3, 1}, always(1), always(1), always(7)), "bits") << "the second of one";
  EXPECT_EQ(split({3, 16}, always(1), always(15), always(7)), "ok");
  EXPECT_EQ(split({3, 17}, always(1), always(0), always(7)), "bits") << "too many";
}

TEST(PackedHostile, ValuesOfThirtyTwoBitsHaveNoMore) {
  const auto f32 = [](int64_t value) {
    return verdict(block_of(ValueType::kF32, 3, joined({kTimes, {kInteger}, always(value)}), 2));
  };
  EXPECT_EQ(f32(0xFFFFFFFF), "ok");
  EXPECT_EQ(f32(0x100000000), "bits");
  EXPECT_EQ(f32(-1), "bits");
}

TEST(PackedHostile, TimesFillTheSpanAndKeepTheOrderThatTheHeadStates) {
  constexpr uint8_t kUnordered = 1 << 5;
  EXPECT_EQ(times(kTimes, 2), "ok");
  EXPECT_EQ(times(kTimes, 3), "times") << "the last one is missing";
  EXPECT_EQ(times(kTimes, 1), "times") << "behind the span";
  EXPECT_EQ(times(kTimes, 2, kUnordered), "times") << "in order, though it says otherwise";
  EXPECT_EQ(times({0, 2, 2}, 3), "times") << "does not begin at t_min";
  EXPECT_EQ(times({kPlain, 8, 0, 0, 2, 1}, 2), "times") << "out of order, though it says otherwise";
  EXPECT_EQ(times({kPlain, 8, 0, 0, 2, 1}, 2, kUnordered), "ok");
  EXPECT_EQ(times({kPlain, 8, 0, 0, 0, 2}, 2), "times") << "one time twice is out of order";
  EXPECT_EQ(times(joined({{0, 0}, reference::zigzag(int64_t{1} << 32)}), 2), "times") << "beyond 32 bits";
  EXPECT_EQ(times(always(-1), 2), "times");
}

// Pieces that say in their heads that they rise, and do not fit the block for all that.
TEST(PackedHostile, TimesThatCannotButRiseAreStillWithinTheSpanAndBehindThoseBefore) {
  constexpr uint8_t kUnordered = 1 << 5;
  const auto delta = [](int64_t first, int64_t step) {
    return joined({{0}, reference::zigzag(first), reference::zigzag(step)});
  };
  const auto three = [&](int64_t first, int64_t step) { return joined({{kDelta}, delta(first, step)}); };
  EXPECT_EQ(times(three(0, 1), 2), "ok");
  EXPECT_EQ(times(three(0, 1), 2, kUnordered), "times");
  EXPECT_EQ(times(three(0, 2), 2), "times") << "behind the span";
  EXPECT_EQ(times(three(1, 1), 3), "times") << "does not begin at t_min";
  EXPECT_EQ(times(three(-1, 1), 1), "times") << "wraps";
  EXPECT_EQ(times(three(-1, 1), 1, kUnordered), "times");
  EXPECT_EQ(times(three(-(int64_t{1} << 32), int64_t{1} << 31), 0), "times") << "wraps to the right end";
  EXPECT_EQ(times(three(0, int64_t{1} << 31), 2), "times") << "beyond 32 bits";
  EXPECT_EQ(times({kSlope, 128, 4, 0, 0}, 2), "ok") << "256 / 256 a point";
  EXPECT_EQ(times({kSlope, 128, 4, 1, 0, 0b010}, 2), "times") << "0, 2, 2";
  EXPECT_EQ(times({kSlope, 128, 8, 1, 0, 0b010}, 4), "ok") << "0, 3, 4";

  const auto pieces = [&](int64_t second, int64_t step, uint64_t span) {  // 128 points a millisecond apart, two more
    const Bytes column = joined({{kDelta}, delta(0, 1), delta(second, step - 1)});
    return verdict(block_of(ValueType::kI64, 130, joined({column, {kInteger}, always(0)}), span));
  };
  EXPECT_EQ(pieces(128, 1, 129), "ok");
  EXPECT_EQ(pieces(127, 1, 128), "times") << "the time of the point before";
  EXPECT_EQ(pieces(128, 1, 128), "times");
  EXPECT_EQ(pieces(-1, 130, 129), "times") << "wraps to the right end";
}

TEST(PackedHostile, AFormThatNobodyKnowsIsRefused) {
  EXPECT_EQ(floats(joined({{kInteger}, always(5)})), "ok");
  EXPECT_EQ(floats(joined({{4}, always(5)})), "bits");
  EXPECT_EQ(floats({}), "bits");
}

// Whole pieces lie in rows, the rest behind them does not: cut anywhere, both are missed.
TEST(PackedHostile, CutAnywhereInRowsOrBehindThemItIsRefused) {
  for (const uint8_t width : {1, 7, 16, 17, 32, 33, 64}) {
    const Bytes rows(size_t{16} * width, 0xA5);
    const Bytes line((size_t{5} * width + 7) / 8, 0x5A);
    const Bytes column = joined({{kPlain, width, 0}, rows, {width, 0}, line});
    ASSERT_EQ(integers(column, 133), "ok") << "width " << static_cast<int>(width);
    for (size_t size = 0; size < column.size(); ++size) {
      ASSERT_EQ(integers(Bytes(column.begin(), column.begin() + static_cast<ptrdiff_t>(size)), 133), "bits") << size;
    }
  }
}

}  // namespace
}  // namespace lambda
