// What functions, aggregations and operators give, worked out by hand from their definitions; and against the plain
// reading of the definitions on random series.
#include "query/functions.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <memory>
#include <random>
#include <span>
#include <vector>

#include "query/memory_source.h"
#include "query/test_support.h"

namespace lambda::query {
namespace {

class Functions : public testing::Test {
 protected:
  // The value of an expression that gives one series at most; "" for none.
  std::string value(std::string_view text, int64_t time_ms = 60'000) {
    const auto result = evaluate(source, text, at(time_ms));
    if (!result || result->type == ExpressionType::kScalar) {
      return text_of(result);
    }
    EXPECT_LE(result->series.size(), 1u) << text_of(result);
    return result->series.empty() ? "" : format_number(result->series[0].samples[0].value);
  }
  std::string all(std::string_view text, int64_t time_ms = 60'000) {
    auto result = evaluate(source, text, at(time_ms));
    if (!result) {
      return text_of(result);
    }
    std::string out;
    for (const ResultSeries& series : result->series) {
      out += (out.empty() ? "" : "; ") + to_string(series.labels) + " " + format_number(series.samples[0].value);
    }
    return out;
  }

  void add(const std::string& name, const std::vector<Sample>& samples) { source.add({{"__name__", name}}, samples); }
  void add(const std::string& name, const std::string& a, const std::string& b, double v) {
    source.add({{"__name__", name}, {"a", a}, {"b", b}}, 60'000, v);
  }

  MemorySource source;
};

TEST_F(Functions, RateExtrapolatesToTheEdgesOfTheWindow) {
  // 10 a second, a sample each 10 s, 5 s off the edges: the change of 400 in 40 s is stretched to 50 s.
  add("x", {{5'000, 100}, {15'000, 200}, {25'000, 300}, {35'000, 400}, {45'000, 500}});
  EXPECT_EQ(value("increase(x[50s])", 50'000), "500");
  EXPECT_EQ(value("rate(x[50s])", 50'000), "10");
  EXPECT_EQ(value("delta(x[50s])", 50'000), "500");
  // A minute: 15 s behind the last sample are more than 1.1 distances, so half a distance is added there, not all.
  EXPECT_EQ(value("increase(x[1m])", 60'000), "500");
  EXPECT_EQ(value("irate(x[1m])", 60'000), "10");
  EXPECT_EQ(value("idelta(x[1m])", 60'000), "100");
}

TEST_F(Functions, RateDoesNotExtrapolateACounterBelowZero) {
  // 10 a second too, but at 5 s it was 20: it began 2 s before, not 5.
  add("x", {{5'000, 20}, {15'000, 120}, {25'000, 220}, {35'000, 320}, {45'000, 420}});
  EXPECT_EQ(value("increase(x[50s])", 50'000), "470");  // (40 + 2 + 5) s
  EXPECT_EQ(value("delta(x[50s])", 50'000), "500");
}

TEST_F(Functions, RateCountsResets) {
  add("x", {{5'000, 100}, {15'000, 200}, {25'000, 10}, {35'000, 110}, {45'000, 5}});
  // 100 + 10 + 100 + 5 = 215 in 40 s; the window adds 10 s.
  EXPECT_EQ(value("increase(x[50s])", 50'000), "268.75");
  EXPECT_EQ(value("resets(x[50s])", 50'000), "2");
  EXPECT_EQ(value("irate(x[50s])", 50'000), "0.5");
  EXPECT_EQ(value("changes(x[50s])", 50'000), "4");
}

TEST_F(Functions, RateNeedsTwoSamples) {
  add("x", {{5'000, 100}});
  for (const char* name : {"rate", "increase", "delta", "irate", "idelta", "deriv"}) {
    EXPECT_EQ(value(std::string(name) + "(x[1m])"), "") << name;
  }
  EXPECT_EQ(value("count_over_time(x[1m])"), "1");
  EXPECT_EQ(value("count_over_time(x[55s])"), "");  // (5 s, 60 s] does not hold the sample at 5 s
}

TEST_F(Functions, FoldValuesOverTime) {
  add("x", {{10'000, 3}, {20'000, -1}, {30'000, 4}, {40'000, 6}});
  EXPECT_EQ(value("sum_over_time(x[1m])"), "12");
  EXPECT_EQ(value("avg_over_time(x[1m])"), "3");
  EXPECT_EQ(value("min_over_time(x[1m])"), "-1");
  EXPECT_EQ(value("max_over_time(x[1m])"), "6");
  EXPECT_EQ(value("count_over_time(x[1m])"), "4");
  EXPECT_EQ(value("stdvar_over_time(x[1m])"), "6.5");
  EXPECT_EQ(value("stddev_over_time(x[1m])"), format_number(std::sqrt(6.5)));
  EXPECT_EQ(value("quantile_over_time(0.5, x[1m])"), "3.5");
  EXPECT_EQ(value("quantile_over_time(2, x[1m])"), "+Inf");
  EXPECT_EQ(all("last_over_time(x[1m])"), "x 6");
  EXPECT_EQ(all("first_over_time(x[1m])"), "x 3");
  EXPECT_EQ(all("present_over_time(x[1m])"), "{} 1");
  EXPECT_EQ(value("sum_over_time(x[20s] offset 10s)"), "6");
}

TEST_F(Functions, FitLines) {
  add("x", {{10'000, 1}, {20'000, 3}, {30'000, 5}});
  EXPECT_EQ(value("deriv(x[1m])"), "0.2");
  EXPECT_EQ(value("predict_linear(x[1m], 10)"), "13");  // at 60 s it is 11
  add("flat", {{10'000, 7}, {20'000, 7}});
  EXPECT_EQ(value("deriv(flat[1m])"), "0");
  EXPECT_EQ(value("predict_linear(flat[1m], 1000)"), "7");
}

TEST_F(Functions, LoseNothingToRoundingAndKeepInfinities) {
  add("x", {{1'000, 1e100}, {2'000, 1}, {3'000, -1e100}});
  EXPECT_EQ(value("sum_over_time(x[1m])"), "1");
  const double huge = std::numeric_limits<double>::max();
  add("y", {{1'000, huge}, {2'000, huge}});
  EXPECT_EQ(value("avg_over_time(y[1m])"), format_number(huge));
  EXPECT_EQ(value("sum_over_time(y[1m])"), "+Inf");
  add("z", {{1'000, INFINITY}, {2'000, 1}, {3'000, INFINITY}});
  EXPECT_EQ(value("avg_over_time(z[1m])"), "+Inf");
  add("w", {{1'000, INFINITY}, {2'000, -INFINITY}});
  EXPECT_EQ(value("avg_over_time(w[1m])"), "NaN");
  add("v", {{1'000, INFINITY}, {2'000, -INFINITY}, {3'000, -INFINITY}, {4'000, 1}});
  EXPECT_EQ(value("avg_over_time(v[1m])"), "NaN");
  add("n", {{1'000, std::nan("")}, {2'000, 5}});
  EXPECT_EQ(value("max_over_time(n[1m])"), "5");
  EXPECT_EQ(value("min_over_time(n[1m])"), "5");
  EXPECT_EQ(value("sum_over_time(n[1m])"), "NaN");
}

TEST_F(Functions, GoValueByValue) {
  add("x", {{60'000, -2.5}});
  const struct {
    const char* text;
    const char* value;
  } kTable[] = {
      {"abs(x)", "2.5"},         {"ceil(x)", "-2"},         {"floor(x)", "-3"},       {"round(x)", "-2"},
      {"round(x, 0.2)", "-2.4"}, {"clamp(x, -1, 1)", "-1"}, {"clamp_min(x, 0)", "0"}, {"clamp_max(x, -3)", "-3"},
      {"sqrt(x)", "NaN"},        {"sgn(x)", "-1"},          {"exp(x * 0)", "1"},      {"ln(-x / 2.5)", "0"},
      {"log2(x + 10.5)", "3"},   {"log10(-x * 40)", "2"},   {"clamp(x, 1, -1)", ""},  {"deg(x * 0)", "0"}};
  for (const auto& row : kTable) {
    const std::string got = value(row.text);
    EXPECT_EQ(got == "-0" ? "0" : got, row.value) << row.text;
  }
  EXPECT_EQ(all("abs(x)"), "{} 2.5");
}

TEST_F(Functions, KnowTimeAndNumbers) {
  add("x", "1", "1", 7);
  EXPECT_EQ(value("time()"), "60");
  EXPECT_EQ(value("pi() * 2"), "6.283185307179586");
  EXPECT_EQ(value("scalar(x)"), "7");
  EXPECT_EQ(value("scalar(none)"), "NaN");
  EXPECT_EQ(all("vector(1 + 2)"), "{} 3");
  EXPECT_EQ(value("-time()"), "-60");
  EXPECT_EQ(value("1 > bool 2"), "0");
  EXPECT_EQ(value("7 % 4 + 2 ^ 3 ^ 0"), "5");
  EXPECT_EQ(value("-7 % 4"), "-3");
  EXPECT_EQ(value("1 / 0"), "+Inf");
  EXPECT_EQ(all("absent(x)"), "");
  EXPECT_EQ(all("absent(none{a=\"b\", c=~\"d\", e=\"f\", e=\"f\"})"), "{a=\"b\"} 1");
  EXPECT_EQ(all("absent(none + none)"), "{} 1");
}

class Aggregations : public Functions {
 protected:
  Aggregations() {
    add("x", "1", "p", 1);
    add("x", "1", "q", 2);
    add("x", "2", "p", 3);
    add("x", "2", "q", 10);
  }
};

TEST_F(Aggregations, GroupByAndWithout) {
  EXPECT_EQ(all("sum(x)"), "{} 16");
  EXPECT_EQ(all("sum by (a) (x)"), R"({a="1"} 3; {a="2"} 13)");
  EXPECT_EQ(all("sum(x) without (a)"), R"({b="p"} 4; {b="q"} 12)");
  EXPECT_EQ(all("sum by (none) (x)"), "{} 16");
  EXPECT_EQ(all("sum without () (x)"), R"({a="1",b="p"} 1; {a="1",b="q"} 2; {a="2",b="p"} 3; {a="2",b="q"} 10)");
  EXPECT_EQ(all("sum by (__name__) (x)"), "x 16");
  EXPECT_EQ(all("sum(none)"), "");
}

TEST_F(Aggregations, Reduce) {
  EXPECT_EQ(value("avg(x)"), "4");
  EXPECT_EQ(value("min(x)"), "1");
  EXPECT_EQ(value("max(x)"), "10");
  EXPECT_EQ(value("count(x)"), "4");
  EXPECT_EQ(value("group(x)"), "1");
  EXPECT_EQ(value("stdvar(x)"), "12.5");
  EXPECT_EQ(value("stddev(x)"), format_number(std::sqrt(12.5)));
  EXPECT_EQ(value("quantile(0.5, x)"), "2.5");
  EXPECT_EQ(value("quantile(-1, x)"), "-Inf");
  EXPECT_EQ(value("quantile(NaN, x)"), "NaN");
}

TEST_F(Aggregations, KeepTheFirst) {
  EXPECT_EQ(all("topk(1, x)"), R"(x{a="2",b="q"} 10)");
  EXPECT_EQ(all("bottomk(2, x)"), R"(x{a="1",b="p"} 1; x{a="1",b="q"} 2)");
  EXPECT_EQ(all("topk by (a) (1, x)"), R"(x{a="1",b="q"} 2; x{a="2",b="q"} 10)");
  EXPECT_EQ(all("topk(0, x)"), "");
  EXPECT_EQ(all("topk(NaN, x)"), "error: Parameter value is NaN");
  EXPECT_EQ(all("count(topk(1e9, x))"), "{} 4");
  add("n", "1", "", std::nan(""));
  add("n", "2", "", 5);
  EXPECT_EQ(all("topk(1, n)"), R"(n{a="2"} 5)");
  EXPECT_EQ(all("bottomk(1, n)"), R"(n{a="2"} 5)");
  EXPECT_EQ(all("max(n)"), "{} 5");
}

class Operators : public Aggregations {
 protected:
  Operators() {
    add("y", "1", "p", 10);
    add("y", "2", "q", 20);
    add("one", "1", "", 100);
    add("one", "2", "", 200);
  }
};

TEST_F(Operators, MatchOneToOneOnAllLabels) {
  EXPECT_EQ(all("x + y"), R"({a="1",b="p"} 11; {a="2",b="q"} 30)");
  EXPECT_EQ(all("y - x"), R"({a="1",b="p"} 9; {a="2",b="q"} 10)");
  EXPECT_EQ(all("y + on (b) y"), R"({b="p"} 20; {b="q"} 40)");
  EXPECT_EQ(all("y + ignoring (b) one"), R"({a="1"} 110; {a="2"} 220)");
}

TEST_F(Operators, MatchManyToOneWhenTold) {
  EXPECT_EQ(all("x + on (a) group_left one"),
            R"({a="1",b="p"} 101; {a="1",b="q"} 102; {a="2",b="p"} 203; {a="2",b="q"} 210)");
  EXPECT_EQ(all("one - on (a) group_right x"),
            R"({a="1",b="p"} 99; {a="1",b="q"} 98; {a="2",b="p"} 197; {a="2",b="q"} 190)");
  source.add({{"__name__", "info"}, {"a", "1"}, {"name", "press"}}, 60'000, 1);
  EXPECT_EQ(all("x * on (a) group_left (name) info"), R"({a="1",b="p",name="press"} 1; {a="1",b="q",name="press"} 2)");
}

TEST_F(Operators, RefuseToGuessAmongSeveral) {
  EXPECT_EQ(all("x + on (a) one"),
            "error: multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)");
  EXPECT_EQ(all("one + on (a) x"),
            R"(error: found duplicate series for the match group {a="1"} on the right hand-side of the operation: )"
            R"([{__name__="x", a="1", b="p"}, {__name__="x", a="1", b="q"}];many-to-many matching not allowed: )"
            "matching labels must be unique on one side");
  EXPECT_EQ(all("x + on (b) group_left x"),
            R"(error: found duplicate series for the match group {b="p"} on the right hand-side of the operation: )"
            R"([{__name__="x", a="1", b="p"}, {__name__="x", a="2", b="p"}];many-to-many matching not allowed: )"
            "matching labels must be unique on one side");
  EXPECT_EQ(all("abs({__name__=~\"x|y\"})"), "error: vector cannot contain metrics with the same labelset");
}

TEST_F(Operators, CompareAsFilterOrAsNumber) {
  EXPECT_EQ(all("x > 2"), R"(x{a="2",b="p"} 3; x{a="2",b="q"} 10)");
  EXPECT_EQ(all("2 < x"), R"(x{a="2",b="p"} 3; x{a="2",b="q"} 10)");
  EXPECT_EQ(all("x >= bool 2"), R"({a="1",b="p"} 0; {a="1",b="q"} 1; {a="2",b="p"} 1; {a="2",b="q"} 1)");
  EXPECT_EQ(all("x == x"), all("x"));
  EXPECT_EQ(all("x < y"), R"(x{a="1",b="p"} 1; x{a="2",b="q"} 10)");
  EXPECT_EQ(all("x != on (a, b) y"), R"({a="1",b="p"} 1; {a="2",b="q"} 10)");
  EXPECT_EQ(all("y > bool x"), R"({a="1",b="p"} 1; {a="2",b="q"} 1)");
  EXPECT_EQ(all("one < on (a) group_right x"), "");
  EXPECT_EQ(all("one > on (a) group_right x{b='q'}"), R"(x{a="1",b="q"} 100; x{a="2",b="q"} 200)");
}

TEST_F(Operators, ComputeWithNumbers) {
  EXPECT_EQ(all("y * 2"), R"({a="1",b="p"} 20; {a="2",b="q"} 40)");
  EXPECT_EQ(all("1 - y"), R"({a="1",b="p"} -9; {a="2",b="q"} -19)");
  EXPECT_EQ(all("-y"), R"({a="1",b="p"} -10; {a="2",b="q"} -20)");
  EXPECT_EQ(all("2 ^ (y / 10)"), R"({a="1",b="p"} 2; {a="2",b="q"} 4)");
}

TEST_F(Operators, TakeSetsApart) {
  EXPECT_EQ(all("x and y"), R"(x{a="1",b="p"} 1; x{a="2",b="q"} 10)");
  EXPECT_EQ(all("x unless y"), R"(x{a="1",b="q"} 2; x{a="2",b="p"} 3)");
  EXPECT_EQ(all("y or x"), R"(x{a="1",b="q"} 2; x{a="2",b="p"} 3; y{a="1",b="p"} 10; y{a="2",b="q"} 20)");
  EXPECT_EQ(all("x and on (a) one{a='1'}"), R"(x{a="1",b="p"} 1; x{a="1",b="q"} 2)");
  EXPECT_EQ(all("x unless on () one"), "");
  EXPECT_EQ(all("x and none"), "");
  EXPECT_EQ(all("none or y"), all("y"));
}

TEST_F(Operators, WorkStepByStepInARangeQuery) {
  MemorySource changing;
  changing.add({{"__name__", "m"}, {"s", "1"}}, {{0, 1}, {10'000, 5}});
  changing.add({{"__name__", "m"}, {"s", "2"}}, {{10'000, 7}});
  const QueryLimits limits{.lookback_ms = 10'000};
  const auto steps = every(0, 20'000, 10'000);
  EXPECT_EQ(text_of(evaluate(changing, "sum(m)", steps, limits)), "{} 1@0 12@10000");
  EXPECT_EQ(text_of(evaluate(changing, "m > 4", steps, limits)), "m{s=\"1\"} 5@10000; m{s=\"2\"} 7@10000");
  EXPECT_EQ(text_of(evaluate(changing, "absent(m{s='2'})", steps, limits)), "{s=\"2\"} 1@0 1@20000");
  EXPECT_EQ(text_of(evaluate(changing, "topk(1, m)", steps, limits)), "m{s=\"1\"} 1@0; m{s=\"2\"} 7@10000");
  EXPECT_EQ(text_of(evaluate(changing, "m{s='2'} or m{s='1'}", steps, limits)),
            "m{s=\"1\"} 1@0 5@10000; m{s=\"2\"} 7@10000");
  EXPECT_EQ(text_of(evaluate(changing, "count_over_time(m{s='1'}[15s])", steps)), "{s=\"1\"} 1@0 2@10000 1@20000");
  EXPECT_EQ(text_of(evaluate(changing, "time() - 10", steps)), "{} -10@0 0@10000 10@20000");
}

TEST_F(Operators, StayWithinTheBudget) {
  EXPECT_EQ(evaluate(source, "x or y", at(60'000), {.samples_max = 17}).error().code, ErrorCode::kFull);
  EXPECT_TRUE(evaluate(source, "x or y", at(60'000), {.samples_max = 18}).has_value());
  EXPECT_EQ(evaluate(source, "sum(x)", at(60'000), {.samples_max = 8}).error().code, ErrorCode::kFull);
  EXPECT_TRUE(evaluate(source, "sum(x)", at(60'000), {.samples_max = 9}).has_value());
}

// Each level repeats what the one below made: without a bound forty characters of an expression fill any memory.
TEST_F(Operators, LabelsCannotBeMadeToGrowWithoutEnd) {
  std::string replaced = R"(label_replace(vector(1), "a", "0123456789", "", ""))";
  std::string joined = replaced;
  for (int level = 0; level < 40; ++level) {
    replaced = "label_replace(" + replaced + R"~(, "a", "$1$1$1$1", "a", "(.*)"))~";
    joined = "label_join(" + joined + R"(, "a", "", "a", "a", "a", "a"))";
    for (const std::string& text : {replaced, joined}) {
      const auto result = evaluate(source, text, at(60'000));
      EXPECT_EQ(result.has_value(), level < 6) << level;  // 10 * 4^6 bytes are fewer than 65,536, those of 4^7 are not
      if (!result) {
        EXPECT_EQ(text_of(result), "error: label \"a\" would be longer than 65536 bytes");
      }
    }
  }
}

TEST(WindowFunctions, SeeExactlyTheirWindowAtEveryStep) {
  const uint32_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const auto below = [&](int64_t bound) { return static_cast<int64_t>(random() % static_cast<uint32_t>(bound)); };
  for (int round = 0; round < 200; ++round) {
    MemorySource source;
    std::map<int64_t, double> points;
    for (int64_t i = below(60); i > 0; --i) {
      points[below(2'000)] = static_cast<double>(below(100));
    }
    for (const auto& [time_ms, value] : points) {
      source.add({{"__name__", "x"}}, time_ms, value);
    }
    const int64_t range_ms = 1 + below(600);
    const int64_t offset_ms = below(300);
    const QueryTimes times = every(below(500), 500 + below(2'000), 1 + below(200));
    std::string expected;
    for (int64_t t = times.start_ms; t <= times.end_ms; t += times.step_ms) {
      double sum = 0;
      bool any = false;
      for (const auto& [time_ms, value] : points) {
        if (time_ms > t - offset_ms - range_ms && time_ms <= t - offset_ms) {
          sum += value;
          any = true;
        }
      }
      expected += any ? " " + format_number(sum) + "@" + std::to_string(t) : "";
    }
    const std::string text =
        "sum_over_time(x[" + std::to_string(range_ms) + "ms] offset " + std::to_string(offset_ms) + "ms)";
    EXPECT_EQ(text_of(evaluate(source, text, times)), expected.empty() ? "" : "{}" + expected) << text;
  }
}

TEST(WindowFunctions, StopWhenTheQueryIsCancelled) {
  MemorySource source;
  std::vector<Sample> samples;
  for (int64_t i = 0; i < 3'000; ++i) {
    samples.push_back({i, 1});
  }
  source.add({{"__name__", "x"}}, samples);
  auto evaluation =
      Evaluation::prepare(parse_expression("sum_over_time(x[1h])").value(), every(0, 3'000, 1), {}, source);
  ASSERT_TRUE(evaluation.has_value());
  int looks = 0;
  EXPECT_EQ(evaluation->run([&] { return ++looks == 3; }).error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(looks, 3);  // one before the only series, the others while its windows slide
}

// As MemorySource, but runs of samples that no window divides come summed up, cut at random.
class SummingSource : public SeriesSource {
 public:
  explicit SummingSource(MemorySource& plain) : plain_(plain) {}
  Result<Selection> select(const std::vector<Matcher>& matchers, int64_t from_ms, int64_t to_ms,
                           uint64_t series_max) override {
    auto selection = plain_.select(matchers, from_ms, to_ms, series_max);
    for (SelectedSeries& series : selection->series) {
      series.cursor = std::make_unique<Cursor>(*this, std::move(series.cursor));
    }
    return selection;
  }
  uint64_t summed_up = 0;  // samples
  std::mt19937 random{1};

 private:
  class Cursor : public SeriesCursor {
   public:
    Cursor(SummingSource& source, std::unique_ptr<SeriesCursor> plain) : source_(source), plain_(std::move(plain)) {}
    Result<std::vector<Sample>> read(uint64_t samples_max) override { return plain_->read(samples_max); }
    Result<Gathered> gather(const Windows& windows, uint64_t samples_max) override {
      const auto all = plain_->read(samples_max).value();
      Gathered out;
      for (size_t at = 0; at < all.size();) {
        const size_t length = std::min<size_t>(all.size() - at, 1 + source_.random() % 9);
        const std::span run(all.data() + at, length);
        const auto summary = summary_of(run);
        if (summary && !windows.divide(summary->t_min, summary->t_max)) {
          out.runs.push_back(*summary);
          source_.summed_up += length;
        } else {
          out.samples.insert(out.samples.end(), run.begin(), run.end());
        }
        at += length;
      }
      return out;
    }

   private:
    SummingSource& source_;
    std::unique_ptr<SeriesCursor> plain_;
  };
  MemorySource& plain_;
};

TEST(Summaries, AnswerAsSamplesDo) {
  MemorySource plain;
  std::mt19937 random(7);
  for (int series = 0; series < 4; ++series) {
    int64_t time_ms = 0;
    for (int i = 0; i < 400; ++i) {
      time_ms += 500 + static_cast<int64_t>(random() % 3) * 250;
      const uint32_t dice = random() % 97;
      const double value = dice == 0   ? std::nan("")
                           : dice == 1 ? std::bit_cast<double>(kStalenessBits)
                           : dice == 2 ? INFINITY
                                       : static_cast<double>(random() % 1000) / 4;
      plain.add({{"__name__", "x"}, {"n", std::to_string(series)}}, time_ms, value);
    }
  }
  SummingSource summing(plain);
  for (const char* function : {"sum", "avg", "min", "max", "count", "present", "first", "last", "stddev", "absent"}) {
    for (int round = 0; round < 40; ++round) {
      const int64_t start_ms = static_cast<int64_t>(random() % 150'000);
      const QueryTimes times = every(start_ms, start_ms + 100'000, 1 + static_cast<int64_t>(random() % 40'000));
      const std::string text = std::string(function) + "_over_time(x[" + std::to_string(1 + random() % 60'000) + "ms]" +
                               (round % 5 == 0   ? " @ 77"
                                : round % 5 == 1 ? " offset -3s"
                                                 : "") +
                               ")";
      const auto expected = evaluate(plain, text, times);
      const auto got = evaluate(summing, text, times);
      ASSERT_TRUE(expected.has_value() && got.has_value()) << text;
      ASSERT_EQ(expected->series.size(), got->series.size()) << text;
      for (size_t i = 0; i < got->series.size(); ++i) {
        const auto& a = expected->series[i].samples;
        const auto& b = got->series[i].samples;
        ASSERT_EQ(a.size(), b.size()) << text;
        for (size_t j = 0; j < a.size(); ++j) {
          ASSERT_EQ(a[j].time_ms, b[j].time_ms) << text;
          ASSERT_TRUE((std::isnan(a[j].value) && std::isnan(b[j].value)) || a[j].value == b[j].value ||
                      std::fabs(a[j].value - b[j].value) <= 1e-12 * std::fabs(a[j].value))
              << text << " " << a[j].value << " " << b[j].value;
        }
      }
    }
  }
  EXPECT_GT(summing.summed_up, 100'000u);
}

TEST(Summaries, AreNotMadeOfWhatTheyCannotSay) {
  const double nan = std::nan("");
  EXPECT_FALSE(summary_of(std::vector<Sample>{}));
  EXPECT_FALSE(summary_of(std::vector<Sample>{{1, 2}, {2, nan}}));
  EXPECT_FALSE(summary_of(std::vector<Sample>{{1, INFINITY}}));
  EXPECT_FALSE(summary_of(std::vector<Sample>{{1, 1e308}, {2, 1e308}}));
  EXPECT_FALSE(summary_of(std::vector<Sample>{{2, 1}, {2, 1}}));
  const auto summary = summary_of(std::vector<Sample>{{1, 4}, {3, -2}, {9, 5}});
  ASSERT_TRUE(summary);
  EXPECT_EQ(summary->t_min, 1);
  EXPECT_EQ(summary->t_max, 9);
  EXPECT_EQ(summary->count, 3u);
  EXPECT_EQ(summary->sum, 7);
  EXPECT_EQ(summary->min, -2);
  EXPECT_EQ(summary->max, 5);
  EXPECT_EQ(summary->first, 4);
  EXPECT_EQ(summary->last, 5);
}

TEST(Windows, DivideWhereAnEdgeLiesBetween) {
  const Windows windows{100, 50, 3, 20};  // (80, 100] (130, 150] (180, 200]
  EXPECT_FALSE(windows.divide(81, 100));
  EXPECT_TRUE(windows.divide(80, 81));
  EXPECT_TRUE(windows.divide(100, 101));
  EXPECT_FALSE(windows.divide(101, 130));
  EXPECT_TRUE(windows.divide(101, 131));
  EXPECT_TRUE(windows.divide(0, 1'000));
  EXPECT_FALSE(windows.divide(0, 80));
  EXPECT_FALSE(windows.divide(201, 1'000));
  EXPECT_FALSE(windows.divide(150, 150));
}

}  // namespace
}  // namespace lambda::query
