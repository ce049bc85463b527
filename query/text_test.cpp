// The small texts: durations, numbers, times, JSON, label matching.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <random>

#include "query/duration.h"
#include "query/json.h"
#include "query/labels.h"
#include "query/matcher.h"
#include "query/number.h"

namespace lambda::query {
namespace {

TEST(Duration, ReadsEveryUnitAndTheirSums) {
  const struct {
    const char* text;
    int64_t ms;
  } kTable[] = {{"0", 0},
                {"0s", 0},
                {"1ms", 1},
                {"1s", 1'000},
                {"1m", 60'000},
                {"1h", 3'600'000},
                {"1d", 86'400'000},
                {"1w", 604'800'000},
                {"90s", 90'000},
                {"1h30m", 5'400'000},
                {"1y2w3d4h5m6s7ms", 33'019'506'007},
                {"1m1ms", 60'001},
                {"007s", 7'000}};
  for (const auto& row : kTable) {
    const auto parsed = parse_duration_ms(row.text);
    ASSERT_TRUE(parsed.has_value()) << row.text;
    EXPECT_EQ(*parsed, row.ms) << row.text;
  }
}

TEST(Duration, RefusesWhatIsNone) {
  for (const char* text : {"", "5", "m", "5 m", "-5m", "1.5h", "1m1h", "1m1m", "5mm", "1s1m", "5µs", "300y", "1e3s",
                           "99999999999999999999s", "9223372036855s"}) {
    EXPECT_FALSE(parse_duration_ms(text).has_value()) << text;
  }
}

TEST(Duration, WritesWhatItReads) {
  const uint32_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  for (int i = 0; i < 10'000; ++i) {
    const auto ms = static_cast<int64_t>(random() % static_cast<uint64_t>(kDurationMsMax)) >> (random() % 43);
    const auto back = parse_duration_ms(format_duration_ms(ms));
    ASSERT_TRUE(back.has_value()) << ms;
    EXPECT_EQ(*back, ms);
  }
}

TEST(Number, WritesAsPrometheusDoes) {
  const double infinity = std::numeric_limits<double>::infinity();
  const struct {
    double value;
    const char* text;
  } kTable[] = {{0, "0"},
                {-0.0, "-0"},
                {1, "1"},
                {1.5, "1.5"},
                {0.1, "0.1"},
                {1e20, "100000000000000000000"},
                {1e21, "1e+21"},
                {1e-6, "0.000001"},
                {9.999e-7, "9.999e-07"},
                {-1e-7, "-1e-07"},
                {5e-324, "5e-324"},
                {1.7976931348623157e308, "1.7976931348623157e+308"},
                {infinity, "+Inf"},
                {-infinity, "-Inf"},
                {std::nan(""), "NaN"},
                {123456789.125, "123456789.125"},
                {1.0 / 3, "0.3333333333333333"}};
  for (const auto& row : kTable) {
    EXPECT_EQ(format_number(row.value), row.text);
  }
}

TEST(Number, ReadsBackEveryBitItWrote) {
  const uint32_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  for (int i = 0; i < 100'000; ++i) {
    const auto value = std::bit_cast<double>(random());
    const std::string text = format_number(value);
    if (std::isnan(value)) {
      EXPECT_EQ(text, "NaN");
      continue;
    }
    EXPECT_EQ(std::strtod(text.c_str(), nullptr), value) << text;
    const auto back = parse_number(text);
    ASSERT_TRUE(back.has_value()) << text;
    EXPECT_EQ(std::bit_cast<uint64_t>(*back), std::bit_cast<uint64_t>(value)) << text;
  }
}

TEST(Number, RefusesWhatIsNone) {
  for (const char* text : {"", "-", "1.2.3", "0x", "0xg", "1e", "e5", "1_", "_1", "1__0", "infinite", "1 ", " 1", "--1",
                           "0x11111111111111111", "1m"}) {
    EXPECT_FALSE(parse_number(text).has_value()) << text;
  }
}

TEST(Time, ReadsRfc3339AndSeconds) {
  const struct {
    const char* text;
    int64_t ms;
  } kTable[] = {{"0", 0},
                {"1700000000", 1'700'000'000'000},
                {"1700000000.25", 1'700'000'000'250},
                {"1700000000.0004", 1'700'000'000'000},
                {"1.7e9", 1'700'000'000'000},
                {"-1.5", -1'500},
                {"2023-11-14T22:13:20Z", 1'700'000'000'000},
                {"2023-11-14T22:13:20.5Z", 1'700'000'000'500},
                {"2023-11-14T22:13:20.123456789Z", 1'700'000'000'123},
                {"2023-11-14T23:43:20+01:30", 1'700'000'000'000},
                {"2023-11-14T14:13:20-08:00", 1'700'000'000'000},
                {"2024-02-29T00:00:00Z", 1'709'164'800'000},
                {"1969-12-31T23:59:59.999Z", -1}};
  for (const auto& row : kTable) {
    const auto parsed = parse_time_ms(row.text);
    ASSERT_TRUE(parsed.has_value()) << row.text;
    EXPECT_EQ(*parsed, row.ms) << row.text;
  }
}

TEST(Time, RefusesWhatIsNone) {
  for (const char* text :
       {"", "now", "NaN", "Inf", "1e300", "2023-02-29T00:00:00Z", "2023-13-01T00:00:00Z", "2023-01-01T24:00:00Z",
        "2023-01-01T00:60:00Z", "2023-01-01T00:00:00", "2023-01-01", "2023-01-01T00:00:00+1:00",
        "2023-01-01T00:00:00.Z", "2023-01-01T00:00:00Z ", "2023-01-01T00:00:00+25:00"}) {
    EXPECT_FALSE(parse_time_ms(text).has_value()) << text;
  }
}

TEST(Time, WritesWhatItReads) {
  for (const int64_t ms : {int64_t{0}, int64_t{-1}, int64_t{1'700'000'000'123}, int64_t{253'402'300'799'999}}) {
    EXPECT_EQ(parse_time_ms(format_time(ms)).value(), ms);
  }
  EXPECT_EQ(format_time(1'700'000'000'123), "2023-11-14T22:13:20.123Z");
  std::string seconds;
  append_seconds(seconds, -1'050);
  EXPECT_EQ(seconds, "-1.050");
}

std::string json(std::string_view text) {
  std::string out;
  append_json_string(out, text);
  return out;
}

TEST(Json, IsValidWhateverTheBytes) {
  EXPECT_EQ(json("plain"), "\"plain\"");
  EXPECT_EQ(json("a\"b\\c\n\t\r\x01"), R"("a\"b\\c\n\t\r\u0001")");
  EXPECT_EQ(json("\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"), "\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\"");
  const std::string bad = "\xEF\xBF\xBD";
  EXPECT_EQ(json("\xFF"), "\"" + bad + "\"");
  EXPECT_EQ(json("\xC3"), "\"" + bad + "\"");
  EXPECT_EQ(json("\xC0\x80"), "\"" + bad + bad + "\"");
  EXPECT_EQ(json("\xED\xA0\x80"), "\"" + bad + bad + bad + "\"");
  EXPECT_EQ(json("\xF4\x90\x80\x80"), "\"" + bad + bad + bad + bad + "\"");
  EXPECT_EQ(json("\xE2\x82x"), "\"" + bad + bad + "x\"");
}

TEST(Matching, TakesAnAbsentLabelForAnEmptyOne) {
  const Labels labels = sorted_labels({{"__name__", "up"}, {"job", "a"}});
  const auto holds = [&](const std::string& label, MatchOp op, const std::string& value) {
    return matches(labels, {{label, op, value}});
  };
  EXPECT_TRUE(holds("job", MatchOp::kEqual, "a"));
  EXPECT_FALSE(holds("job", MatchOp::kEqual, ""));
  EXPECT_TRUE(holds("none", MatchOp::kEqual, ""));
  EXPECT_FALSE(holds("none", MatchOp::kNotEqual, ""));
  EXPECT_TRUE(holds("none", MatchOp::kNotEqual, "x"));
  EXPECT_TRUE(holds("none", MatchOp::kRegex, "x*"));
  EXPECT_FALSE(holds("none", MatchOp::kRegex, "x+"));
  EXPECT_TRUE(holds("none", MatchOp::kNotRegex, "x+"));
  EXPECT_FALSE(holds("none", MatchOp::kNotRegex, ".*"));
}

TEST(Matching, AnchorsRegularExpressionsAtBothEnds) {
  const auto holds = [](const std::string& value, const std::string& pattern) {
    return matches({{"a", value}}, {{"a", MatchOp::kRegex, pattern}});
  };
  EXPECT_TRUE(holds("abc", "a.c"));
  EXPECT_FALSE(holds("abcd", "abc"));
  EXPECT_FALSE(holds("xabc", "abc"));
  EXPECT_TRUE(holds("b", "a|b"));
  EXPECT_FALSE(holds("bc", "a|b"));
  EXPECT_TRUE(holds("a\nb", "a.b"));
  EXPECT_TRUE(holds("ABC", "(?i)abc"));
}

TEST(Matching, BoundsWhatAPatternMayCost) {
  EXPECT_FALSE(check_matchers({{"a", MatchOp::kRegex, "((a{100}){100}){100}"}}).has_value());
  EXPECT_FALSE(check_matchers({{"a", MatchOp::kRegex, "(?=x)"}}).has_value());
  EXPECT_TRUE(check_matchers({{"a", MatchOp::kEqual, "("}}).has_value());
}

TEST(Labels, KeepTheirOrder) {
  Labels labels = sorted_labels({{"b", "2"}, {"__name__", "m"}, {"a", "1"}, {"c", ""}});
  EXPECT_EQ(to_string(labels), R"(m{a="1",b="2"})");
  set_label(labels, "aa", "3");
  set_label(labels, "b", "");
  EXPECT_EQ(to_string(labels), R"(m{a="1",aa="3"})");
  EXPECT_EQ(to_string(without_metric_name(labels)), R"({a="1",aa="3"})");
  EXPECT_EQ(to_string(only_labels(labels, {"aa", "z"})), R"({aa="3"})");
  EXPECT_EQ(to_string(without_labels(labels, {"aa", "a"})), "m");
}

}  // namespace
}  // namespace lambda::query
