#include "base/metrics/metrics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <thread>

namespace lambda {
namespace {

constexpr const char* kNothingDropped =
    "# HELP lambda_metrics_dropped_total Times a metric was asked for past the bound on their number.\n"
    "# TYPE lambda_metrics_dropped_total counter\n"
    "lambda_metrics_dropped_total 0\n";

TEST(Metrics, RendersFamiliesWithHelpTypeAndLabels) {
  Metrics metrics;
  metrics.counter("b_total", "Things.", {{"kind", "x"}}).add(3);
  metrics.counter("b_total", "ignored", {{"kind", "a\"\\\n"}}).add();
  metrics.gauge("a_bytes", "Size\nof it.").set(1.5);
  metrics.gauge_callback("c", "Read.", {}, [] { return std::nan(""); });
  EXPECT_EQ(metrics.render(), std::string("# HELP a_bytes Size\\nof it.\n"
                                          "# TYPE a_bytes gauge\n"
                                          "a_bytes 1.5\n"
                                          "# HELP b_total Things.\n"
                                          "# TYPE b_total counter\n"
                                          "b_total{kind=\"a\\\"\\\\\\n\"} 1\n"
                                          "b_total{kind=\"x\"} 3\n"
                                          "# HELP c Read.\n"
                                          "# TYPE c gauge\n"
                                          "c NaN\n") +
                                  kNothingDropped);
}

TEST(Metrics, GivesTheSameCounterForTheSameName) {
  Metrics metrics;
  Counter& counter = metrics.counter("x_total", "X.");
  EXPECT_EQ(&metrics.counter("x_total", "X."), &counter);
  EXPECT_NE(&metrics.counter("x_total", "X.", {{"a", "b"}}), &counter);
}

TEST(Metrics, PastItsBoundItCountsOnAndSaysSo) {
  Metrics metrics(2);
  metrics.counter("x_total", "X.", {{"n", "1"}}).add();
  metrics.counter("x_total", "X.", {{"n", "2"}}).add();
  metrics.counter("x_total", "X.", {{"n", "3"}}).add();
  metrics.gauge("y", "Y.").set(1);
  EXPECT_EQ(metrics.render().find("\"3\""), std::string::npos);
  EXPECT_NE(metrics.render().find("lambda_metrics_dropped_total 2"), std::string::npos);
  metrics.remove("n", "1");
  metrics.counter("x_total", "X.", {{"n", "3"}}).add(7);
  EXPECT_NE(metrics.render().find("x_total{n=\"3\"} 7"), std::string::npos);
  EXPECT_EQ(metrics.render().find("\"1\""), std::string::npos);
}

TEST(Metrics, CountsFromManyThreads) {
  Metrics metrics;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 10'000; ++i) metrics.counter("x_total", "X.").add();
    });
  }
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(metrics.render().empty());
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(metrics.counter("x_total", "X.").value(), 40'000u);
}

TEST(Metrics, RendersWholeNumbersWholeAndFractionsExactly) {
  Metrics metrics;
  metrics.counter("a_total", "A.").add(~uint64_t{0});
  metrics.gauge("b", "B.").set(0.1);
  metrics.counter_callback("c_total", "C.", {}, [] { return 1e15; });
  const std::string text = metrics.render();
  EXPECT_NE(text.find("a_total 18446744073709551615\n"), std::string::npos);
  EXPECT_NE(text.find("b 0.1\n"), std::string::npos);
  EXPECT_NE(text.find("c_total 1e+15\n"), std::string::npos);
}

}  // namespace
}  // namespace lambda
