#include "query/evaluator.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <random>

#include "query/labels.h"
#include "query/matcher.h"
#include "query/memory_source.h"
#include "query/number.h"
#include "query/parser.h"
#include "query/test_support.h"

namespace lambda::query {
namespace {

constexpr int64_t kMinuteMs = 60'000;

TEST(InstantSelector, TakesTheNewestSampleWithinTheLookbackAndItsOldEdgeIsOpen) {
  MemorySource source;
  source.add({{"__name__", "up"}}, {{1'000, 1}, {2'000, 2}});
  EXPECT_EQ(text_of(evaluate(source, "up", at(999))), "");
  EXPECT_EQ(text_of(evaluate(source, "up", at(1'000))), "up 1@1000");
  EXPECT_EQ(text_of(evaluate(source, "up", at(1'999))), "up 1@1999");
  EXPECT_EQ(text_of(evaluate(source, "up", at(2'000))), "up 2@2000");
  EXPECT_EQ(text_of(evaluate(source, "up", at(2'000 + 5 * kMinuteMs - 1))), "up 2@301999");
  EXPECT_EQ(text_of(evaluate(source, "up", at(2'000 + 5 * kMinuteMs))), "");
  EXPECT_EQ(text_of(evaluate(source, "up", at(2'050), {.lookback_ms = 50})), "");
  EXPECT_EQ(text_of(evaluate(source, "up", at(2'049), {.lookback_ms = 50})), "up 2@2049");
}

TEST(RangeSelector, TakesAllSamplesBehindItsOpenOldEdge) {
  MemorySource source;
  source.add({{"__name__", "up"}}, {{1'000, 1}, {2'000, 2}, {3'000, 3}});
  EXPECT_EQ(text_of(evaluate(source, "up[2s]", at(3'000))), "up 2@2000 3@3000");
  EXPECT_EQ(text_of(evaluate(source, "up[2001ms]", at(3'000))), "up 1@1000 2@2000 3@3000");
  EXPECT_EQ(text_of(evaluate(source, "up[1s] offset 1s", at(3'000))), "up 2@2000");
  EXPECT_EQ(text_of(evaluate(source, "up[1s] offset -1s", at(1'000))), "up 2@2000");
  EXPECT_EQ(text_of(evaluate(source, "up[1s] @ 1", at(3'000))), "up 1@1000");
  EXPECT_EQ(text_of(evaluate(source, "(up[1s])", at(3'500))), "up 3@3000");
  EXPECT_EQ(evaluate(source, "up[1s]", at(3'000))->type, ExpressionType::kMatrix);
}

TEST(RangeQuery, LooksAtEveryStepByItself) {
  MemorySource source;
  source.add({{"__name__", "up"}}, {{1'000, 1}, {2'000, 2}, {400'000, 3}});
  EXPECT_EQ(text_of(evaluate(source, "up", every(0, 4'000, 1'000))), "up 1@1000 2@2000 2@3000 2@4000");
  EXPECT_EQ(text_of(evaluate(source, "up", every(300'000, 401'000, 1'000'000))), "up 2@300000");
  EXPECT_EQ(text_of(evaluate(source, "up offset 1s", every(2'000, 3'999, 1'000))), "up 1@2000 2@3000");
  EXPECT_EQ(text_of(evaluate(source, "up @ end()", every(0, 2'000, 1'000))), "up 2@0 2@1000 2@2000");
  EXPECT_EQ(text_of(evaluate(source, "up @ start()", every(1'000, 2'000, 1'000))), "up 1@1000 1@2000");
  EXPECT_EQ(text_of(evaluate(source, "2", every(0, 2'000, 1'000))), "{} 2@0 2@1000 2@2000");
  EXPECT_EQ(evaluate(source, "up", every(0, 0, 1))->type, ExpressionType::kMatrix);
}

TEST(RangeQuery, RefusesTypesThatHaveNoSteps) {
  MemorySource source;
  EXPECT_EQ(text_of(evaluate(source, "up[5m]", every(0, 0, 1))),
            "error: a range query takes a scalar or an instant vector, not a range vector");
  EXPECT_EQ(text_of(evaluate(source, "'x'", every(0, 0, 1))),
            "error: a range query takes a scalar or an instant vector, not a string");
}

TEST(Answers, AreSortedByLabelsAndCarryEachWarningOnce) {
  MemorySource source;
  source.add({{"__name__", "b"}, {"x", "1"}}, 0, 1);
  source.add({{"__name__", "a"}, {"x", "2"}}, 0, 2);
  source.add({{"__name__", "a"}, {"x", "10"}}, 0, 3);
  source.warn("segment 7 is damaged");
  source.warn("segment 7 is damaged");
  const auto result = evaluate(source, R"({__name__=~"a|b"})", at(0));
  EXPECT_EQ(text_of(result), R"(a{x="10"} 3@0; a{x="2"} 2@0; b{x="1"} 1@0)");
  EXPECT_EQ(result->warnings, std::vector<std::string>{"segment 7 is damaged"});
}

TEST(Answers, KeepSpecialValues) {
  MemorySource source;
  source.add({{"__name__", "x"}}, {{0, std::nan("")}, {1, INFINITY}, {2, -INFINITY}, {3, -0.0}});
  EXPECT_EQ(text_of(evaluate(source, "x[1s]", at(3))), "x NaN@0 +Inf@1 -Inf@2 -0@3");
}

TEST(Answers, KeepTheOrderThatWasAskedForInInstantQueriesOnly) {
  MemorySource source;
  source.add({{"__name__", "x"}, {"n", "1"}}, 0, 5);
  source.add({{"__name__", "x"}, {"n", "2"}}, 0, 9);
  source.add({{"__name__", "x"}, {"n", "3"}}, 0, 7);
  EXPECT_EQ(text_of(evaluate(source, "sort_desc(x)", at(0))), R"(x{n="2"} 9@0; x{n="3"} 7@0; x{n="1"} 5@0)");
  EXPECT_EQ(text_of(evaluate(source, "(topk(2, x))", at(0))), R"(x{n="2"} 9@0; x{n="3"} 7@0)");
  EXPECT_EQ(text_of(evaluate(source, "sort_desc(x)", every(0, 0, 1))), R"(x{n="1"} 5@0; x{n="2"} 9@0; x{n="3"} 7@0)");
}

TEST(Answers, SayWhatIsProbablyAMistakeApartFromWhatIsWrong) {
  MemorySource source;
  source.add({{"__name__", "level"}}, {{0, 1}, {1'000, 2}});
  const auto result = evaluate(source, "\n  rate(level[5s]) + quantile(7, level)", at(1'000));
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(result->infos, std::vector<std::string>{"PromQL info: metric might not be a counter, name does not end in "
                                                    "_total/_sum/_count/_bucket: \"level\" (2:8)"});
  EXPECT_EQ(result->warnings,
            std::vector<std::string>{"PromQL warning: quantile value should be between 0 and 1, got 7 (2:30)"});
}

TEST(Answers, CarryTenNotesOfAKindAndSayHowManyMoreThereAre) {
  MemorySource source;
  for (int i = 0; i < 25; ++i) {
    source.add({{"__name__", "b"}, {"le", "wide-" + std::to_string(i)}}, 0, 1);
  }
  const auto result = evaluate(source, "histogram_quantile(0.5, b)", at(0));
  ASSERT_TRUE(result.has_value());
  ASSERT_EQ(result->warnings.size(), 11u);
  EXPECT_EQ(result->warnings.back(), "15 more warning annotations omitted");
  for (int i = 0; i < 2'000; ++i) {
    source.add({{"__name__", "b"}, {"le", "wider-" + std::to_string(i)}}, 0, 1);
  }
  EXPECT_EQ(evaluate(source, "histogram_quantile(0.5, b)", at(0))->warnings.back(),
            "990 or more warning annotations omitted");
}

TEST(Answers, DropNamesAtOnceUnlessToldOtherwise) {
  MemorySource source;
  source.add({{"__name__", "x"}, {"__type__", "gauge"}, {"a", "1"}}, 0, 1);
  const auto ask = [&](NameRemoval names) {
    auto evaluation = Evaluation::prepare(
        parse_expression(R"q(label_replace(-x, "was", "$1", "__name__", "(.*)"))q").value(), at(0), {}, source, names);
    return text_of(evaluation->run({}));
  };
  EXPECT_EQ(ask(NameRemoval::kAtOnce), R"({a="1"} -1@0)");
  EXPECT_EQ(ask(NameRemoval::kAtTheEnd), R"({a="1",was="x"} -1@0)");
}

TEST(Literals, AreTheirOwnAnswer) {
  MemorySource source;
  EXPECT_EQ(text_of(evaluate(source, "(1.5)", at(0))), "1.5");
  EXPECT_EQ(text_of(evaluate(source, "'text'", at(0))), "text");
}

TEST(Limits, AreErrorsThatSayTheBound) {
  MemorySource source;
  for (int i = 0; i < 10; ++i) {
    source.add({{"__name__", "x"}, {"i", std::to_string(i)}}, {{0, 1}, {1, 2}, {2, 3}});
  }
  EXPECT_EQ(evaluate(source, "x", at(2), {.series_max = 9}).error().code, ErrorCode::kFull);
  EXPECT_EQ(text_of(evaluate(source, "x", at(2), {.series_max = 9})), "error: more than 9 series match");
  EXPECT_TRUE(evaluate(source, "x", at(2), {.series_max = 10}).has_value());
  // 30 samples are read; an instant vector of 10 is made of them.
  EXPECT_TRUE(evaluate(source, "x[1s]", at(2), {.samples_max = 30}).has_value());
  EXPECT_EQ(evaluate(source, "x[1s]", at(2), {.samples_max = 29}).error().code, ErrorCode::kFull);
  EXPECT_TRUE(evaluate(source, "x", at(2), {.samples_max = 40}).has_value());
  EXPECT_EQ(evaluate(source, "x", at(2), {.samples_max = 39}).error().code, ErrorCode::kFull);
}

TEST(Limits, HoldForSubqueriesBeforeRoomIsTaken) {
  MemorySource source;
  source.add({{"__name__", "x"}}, 0, 1);
  for (const char* text : {"sum_over_time(x[292y:1ms])", "max_over_time(sum_over_time(x[100y:1s])[100y:1s])",
                           "absent_over_time(nothing[292y:1ms])", "count_over_time(vector(time())[292y:1ms])",
                           "x[292y:1ms]", "sum_over_time(vector(1)[1y:1s] offset -292y)"}) {
    const auto result = evaluate(source, text, at(1'700'000'000'000));
    ASSERT_FALSE(result.has_value()) << text;
    EXPECT_EQ(result.error().code, ErrorCode::kFull) << text;
  }
  EXPECT_TRUE(evaluate(source, "count_over_time(vector(time())[10s:1s])", at(0), {.samples_max = 100}).has_value());
}

TEST(Limits, LetASubqueryBeCancelled) {
  MemorySource source;
  source.add({{"__name__", "x"}}, 0, 1);
  auto expression = parse_expression("sum_over_time(max_over_time(x[1m:1s])[1m:1s])").value();
  auto evaluation = Evaluation::prepare(std::move(expression), at(0), {}, source);
  ASSERT_TRUE(evaluation.has_value());
  EXPECT_EQ(evaluation->run([] { return true; }).error().code, ErrorCode::kUnavailable);
}

TEST(Limits, LetAQueryBeCancelled) {
  MemorySource source;
  source.add({{"__name__", "x"}}, 0, 1);
  auto evaluation = Evaluation::prepare(parse_expression("x").value(), at(0), {}, source);
  ASSERT_TRUE(evaluation.has_value());
  EXPECT_EQ(evaluation->run([] { return true; }).error().code, ErrorCode::kUnavailable);
}

// The simplest reading of the rules, for one series, one step.
std::optional<double> newest_within(const std::map<int64_t, double>& points, int64_t moment_ms, int64_t lookback_ms) {
  std::optional<double> newest;
  for (const auto& [time_ms, value] : points) {
    if (time_ms <= moment_ms && time_ms > moment_ms - lookback_ms) {
      newest = value;
    }
  }
  return newest;
}

TEST(RangeQuery, AgreesWithTheNaiveReadingOnRandomSeries) {
  const uint32_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const auto below = [&](int64_t bound) { return static_cast<int64_t>(random() % static_cast<uint32_t>(bound)); };
  for (int round = 0; round < 300; ++round) {
    std::map<Labels, std::map<int64_t, double>> truth;
    MemorySource source;
    for (int64_t s = below(5); s >= 0; --s) {
      const Labels labels = sorted_labels({{"__name__", "x"}, {"s", std::to_string(s)}});
      for (int64_t i = below(40); i > 0; --i) {
        const int64_t time_ms = below(1'000) - 200;
        const auto value = static_cast<double>(random());
        truth[labels][time_ms] = value;
        source.add(labels, time_ms, value);
      }
    }
    const QueryLimits limits{.lookback_ms = 1 + below(300)};
    const int64_t start_ms = below(600) - 100;
    const QueryTimes times = every(start_ms, start_ms + below(700), 1 + below(90));
    const int64_t offset_ms = below(200) - 100;
    const std::string text =
        std::string("x offset ") + (offset_ms < 0 ? "-" : "") + std::to_string(std::abs(offset_ms)) + "ms";
    std::string expected;
    for (const auto& [labels, points] : truth) {
      std::string row;
      for (int64_t t = times.start_ms; t <= times.end_ms; t += times.step_ms) {
        if (const auto value = newest_within(points, t - offset_ms, limits.lookback_ms)) {
          row += " " + format_number(*value) + "@" + std::to_string(t);
        }
      }
      if (!row.empty()) {
        expected += (expected.empty() ? "" : "; ") + to_string(labels) + row;
      }
    }
    ASSERT_EQ(text_of(evaluate(source, text, times, limits)), expected) << text;
  }
}

TEST(Unsupported, IsNamed) {
  MemorySource source;
  const auto refused = evaluate(source, "histogram_stddev(x)", at(0));
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, ErrorCode::kUnsupported);
  EXPECT_EQ(refused.error().text, "function histogram_stddev is not supported yet");
  EXPECT_EQ(text_of(evaluate(source, "sum(1 + info(x))", at(0))),
            "error: 1:9: parse error: function info is not supported");
  EXPECT_EQ(evaluate(source, "x + on (a) fill(0) y", at(0)).error().code, ErrorCode::kUnsupported);
  EXPECT_EQ(evaluate(source, "sum_over_time(x[1m + 1s])", at(0)).error().code, ErrorCode::kUnsupported);
  EXPECT_EQ(evaluate(source, "rate(x[1m] smoothed)", at(0)).error().code, ErrorCode::kUnsupported);
  EXPECT_EQ(evaluate(source, "x </ 2", at(0)).error().code, ErrorCode::kUnsupported);
  EXPECT_EQ(evaluate(source, "x < / 2 + (", at(0)).error().code, ErrorCode::kUnsupported);
  EXPECT_EQ(evaluate(source, "x + ) fill(0) y", at(0)).error().code, ErrorCode::kInvalid);
}

}  // namespace
}  // namespace lambda::query
