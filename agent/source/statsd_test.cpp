// From packets to points: what a user would see after each interval.
#include "agent/source/statsd.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>
#include <map>
#include <random>

#include "agent/source/statsd_source.h"
#include "agent/source/test_world.h"

namespace lambda::agent {
namespace {

class CountingLog final : public Log {
 public:
  void write(LogLevel, std::string_view event, Fields fields) override {
    std::string line(event);
    for (const LogField& field : fields) {
      if (const auto* text = std::get_if<std::string>(&field.value))
        line += " " + std::string(field.name) + "=" + *text;
    }
    lines.push_back(line);
  }
  std::vector<std::string> lines;
};

// Packets come when a test says so.
class TestDatagrams final : public Datagrams {
 public:
  Result<std::unique_ptr<DatagramReceiver>> receive(DatagramOptions options, Handler handler) override {
    if (options.port == 1) return fail(ErrorCode::kDenied, "udp 127.0.0.1 port 1: Permission denied");
    send = std::move(handler);
    return std::make_unique<Receiver>(options.port);
  }
  struct Receiver final : DatagramReceiver {
    explicit Receiver(uint16_t port) : port_(port) {}
    uint16_t port() const override { return port_; }
    DatagramCounters counters() const override { return {.packets = 5, .packets_dropped = 3}; }
    uint16_t port_;
  };
  Handler send;
};

struct World {
  explicit World(StatsdOptions options = {}) : statsd(std::make_shared<Statsd>(options, clock, log, 99)) {}

  void send(std::string_view packet) { statsd->take({&packet, 1}); }
  void collect() {
    clock.now_us += 10'000'000;
    sink.next();
    ASSERT_TRUE(source.collect(sink, 0).has_value());
    EXPECT_TRUE(sink.doubled.empty()) << sink.doubled.front();
  }
  // The value of a series in the last collection, or NaN.
  double at(const std::string& key) const {
    const auto found = sink.last.find(key);
    return found == sink.last.end() ? std::nan("") : std::bit_cast<double>(found->second);
  }
  uint64_t own(const std::string& key) const {
    const auto found = sink.last.find("lambda_agent_statsd_" + key);
    return found == sink.last.end() ? ~uint64_t{0} : found->second;
  }
  size_t told(const std::string& name) const {
    size_t count = 0;
    for (const auto& [key, bits] : sink.last) count += key.starts_with(name + "{") ? 1 : 0;
    return count;
  }

  SetClock clock;
  CountingLog log;
  std::shared_ptr<Statsd> statsd;
  StatsdSource source{statsd};
  MemorySink sink;
};

TEST(Statsd, CountersGoOnOverIntervalsAndCountSampledOnesForWhatTheyStandFor) {
  World world;
  world.send("page.views:1|c\npage.views:2|c|@0.5\npage.views:1:1|c\n");
  world.collect();
  EXPECT_EQ(world.at("page_views_total{}"), 7);
  EXPECT_EQ(world.sink.spec("page_views_total{}")->kind, Kind::kCounter);
  world.collect();
  EXPECT_EQ(world.at("page_views_total{}"), 7);
  world.send("page.views:3|c|#a:b");
  world.send("page.views:3|c");
  world.collect();
  EXPECT_EQ(world.at("page_views_total{}"), 10);
  EXPECT_EQ(world.at("page_views_total{a=\"b\"}"), 3);
  EXPECT_EQ(world.own("lines_total{}"), 5u);
}

TEST(Statsd, ACounterThatIsNamedTotalIsNotNamedSoTwice) {
  World world;
  world.send("requests_total:1|c");
  world.collect();
  EXPECT_EQ(world.at("requests_total{}"), 1);
}

TEST(Statsd, GaugesKeepTheLastValueAndAreChangedBySigns) {
  World world;
  world.send("fuel:10|g\nfuel:+5|g\nfuel:-3|g");
  world.collect();
  EXPECT_EQ(world.at("fuel{}"), 12);
  world.collect();
  EXPECT_EQ(world.at("fuel{}"), 12);
  world.send("fuel:-20|g\nnew:+4|g\nagain:1:2:+3|g");
  world.collect();
  EXPECT_EQ(world.at("fuel{}"), -8);
  EXPECT_EQ(world.at("new{}"), 4);
  EXPECT_EQ(world.at("again{}"), 5);
}

TEST(Statsd, SetsTellHowManyDifferentMembersAnIntervalHad) {
  World world;
  world.send("users:a|s\nusers:b|s\nusers:a|s");
  world.collect();
  EXPECT_EQ(world.at("users{}"), 2);
  world.send("users:a|s");
  world.collect();
  EXPECT_EQ(world.at("users{}"), 1);
  world.collect();
  EXPECT_EQ(world.at("users{}"), 0);
}

TEST(Statsd, TimersTellCountAndSumForEverAndTheRestOfTheInterval) {
  World world;
  world.send("t:1:2:3:4|ms\nt:10|ms|@0.5");
  world.collect();
  EXPECT_EQ(world.at("t_count{}"), 6);
  EXPECT_EQ(world.at("t_sum{}"), 30);
  EXPECT_EQ(world.at("t_min{}"), 1);
  EXPECT_EQ(world.at("t_max{}"), 10);
  EXPECT_NEAR(world.at("t{quantile=\"0.5\"}"), 3, 3 * 0.045);
  EXPECT_NEAR(world.at("t{quantile=\"0.99\"}"), 10, 10 * 0.045);
  world.collect();
  EXPECT_EQ(world.at("t_count{}"), 6);
  EXPECT_TRUE(std::isnan(world.at("t_min{}")));
  EXPECT_TRUE(std::isnan(world.at("t{quantile=\"0.5\"}")));
  world.send("t:7|h\nt:7|d");
  world.collect();
  EXPECT_EQ(world.at("t_count{}"), 8);
  EXPECT_EQ(world.at("t_sum{}"), 44);
  EXPECT_EQ(world.at("t_min{}"), 7);
  EXPECT_EQ(world.at("t{quantile=\"0.9\"}"), 7);
}

TEST(Statsd, TimersBucketsAreCumulativeAtBothEndsOfEachThatIsNotEmpty) {
  World world;
  world.send("t:1:2:2:8|ms");
  world.collect();
  EXPECT_EQ(world.at("t_bucket{le=\"1\"}"), 1);
  EXPECT_EQ(world.at("t_bucket{le=\"0.9170040432046712\"}"), 0);
  EXPECT_EQ(world.at("t_bucket{le=\"1.8340080864093424\"}"), 1);
  EXPECT_EQ(world.at("t_bucket{le=\"2\"}"), 3);
  EXPECT_EQ(world.at("t_bucket{le=\"8\"}"), 4);
  EXPECT_EQ(world.at("t_bucket{le=\"+Inf\"}"), 4);
  EXPECT_EQ(world.told("t_bucket"), 7u);
  world.send("t:0.5:-1:0|ms");
  world.collect();
  EXPECT_EQ(world.at("t_bucket{le=\"0\"}"), 2);
  EXPECT_EQ(world.at("t_bucket{le=\"0.5\"}"), 3);
  EXPECT_EQ(world.at("t_bucket{le=\"2\"}"), 6);
  EXPECT_EQ(world.at("t_bucket{le=\"+Inf\"}"), 7);
}

// A client sees buckets that never go down and end at the count, whatever comes and however coarse they become.
TEST(Statsd, BucketsNeverGoDownAndEndAtTheCount) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  StatsdOptions options;
  options.buckets_max = 20;
  World world(options);
  std::map<std::string, double> before;
  for (int interval = 0; interval < 30; ++interval) {
    for (uint64_t i = random() % 20; i > 0; --i) {
      const double value = std::exp2(static_cast<double>(random() % 100) / 1000 * interval);
      world.send("t:" + std::to_string(value) + "|ms");
    }
    world.collect();
    std::vector<std::pair<double, double>> bounds;
    for (const auto& [key, bits] : world.sink.last) {
      if (!key.starts_with("t_bucket{")) continue;
      const double below = std::bit_cast<double>(bits);
      ASSERT_GE(below, before[key]) << key;
      before[key] = below;
      const std::string text = key.substr(13);
      bounds.emplace_back(text.starts_with("+Inf") ? INFINITY : std::stod(text), below);
    }
    std::sort(bounds.begin(), bounds.end());
    ASSERT_LE(bounds.size(), 22u);
    for (size_t i = 1; i < bounds.size(); ++i) ASSERT_GE(bounds[i].second, bounds[i - 1].second);
    if (!bounds.empty()) {
      ASSERT_EQ(bounds.back().second, world.at("t_count{}"));
    }
  }
}

// Whatever the tags of a timer have seen, all are told at the same bounds, and added up they count the values truly.
TEST(Statsd, ATimersBucketsAddUpOverItsTags) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  StatsdOptions options;
  options.buckets_max = 30;
  World world(options);
  std::vector<double> values;
  for (int interval = 0; interval < 12; ++interval) {
    for (int i = 0; i < 60; ++i) {
      const auto tag =
          random() % 5;  // each in a range of its own; from the middle on some that no scale of theirs holds
      const double exponent =
          static_cast<double>(tag) * 3 + static_cast<double>(random() % 1'000) / (interval < 6 ? 500 : 50);
      values.push_back(random() % 30 == 0 ? 0 : std::exp2(exponent));
      char line[80];
      std::snprintf(line, sizeof line, "t:%.17g|ms|#tag:%d", values.back(), static_cast<int>(tag));
      world.send(line);
    }
    world.collect();
    std::map<std::string, std::pair<double, int>> sums;  // by le: the sum, and of how many series
    for (const auto& [key, bits] : world.sink.last) {
      if (!key.starts_with("t_bucket{le=\"")) continue;
      auto& [sum, series] = sums[key.substr(13, key.find('"', 13) - 13)];
      sum += std::bit_cast<double>(bits);
      series++;
    }
    ASSERT_GT(sums.size(), 5u);
    for (const auto& [le, sum] : sums) {
      const double bound = le == "+Inf" ? INFINITY : std::stod(le);
      ASSERT_EQ(sum.first, std::count_if(values.begin(), values.end(), [&](double v) { return v <= bound; })) << le;
      ASSERT_EQ(sum.second, sums["+Inf"].second) << le;
    }
  }
}

TEST(Statsd, TheSameTagsInAnotherOrderAreTheSameSeriesAndNoCollision) {
  World world;
  world.send("x:1|c|#a:1,b:2\nx:1|c|#b:2,a:1");
  world.collect();
  EXPECT_EQ(world.at("x_total{a=\"1\",b=\"2\"}"), 2);
  EXPECT_EQ(world.own("series{}"), 1u);
  EXPECT_EQ(world.own("name_collisions_total{}"), 0u);
}

TEST(Statsd, SpellingsThatMeetInOneNameCountAsOneAndAreTold) {
  World world;
  world.send("a.b:1|c\na_b:1|c\na-b:1|c");
  world.collect();
  EXPECT_EQ(world.at("a_b_total{}"), 3);
  EXPECT_EQ(world.own("name_collisions_total{}"), 2u);
  ASSERT_EQ(world.log.lines.size(), 1u);
  EXPECT_EQ(world.log.lines[0], "statsd_names_collide metric=a_b spelt=a_b and=a.b does=both count as one");
}

TEST(Statsd, TwoMetricsThatWouldBeToldAsOneSeriesAreNotMixed) {
  World world;
  world.send("x:1|g\nx:5|ms\nx:7|s\ny:1|ms\ny.sum:3|g\nx:2|c\nx_total:9|c\nx:2|g");
  world.collect();
  EXPECT_EQ(world.at("x{}"), 2);
  EXPECT_EQ(world.told("x_count"), 0u);
  EXPECT_EQ(world.at("y_sum{}"), 1);
  EXPECT_EQ(world.at("x_total{}"), 2);
  EXPECT_EQ(world.own("lines_refused_total{reason=\"conflict\"}"), 4u);
}

TEST(Statsd, EachLineOfAPacketIsCountedAndOneBadLineSparesTheOthers) {
  World world;
  world.send("good:1|c\nbad\n:2|c\nbad:x|c\n\ngood:1|c|@2\n_e{1,1}:a|b\ngood:1|c\n");
  world.collect();
  EXPECT_EQ(world.at("good_total{}"), 2);
  EXPECT_EQ(world.own("lines_total{}"), 2u);
  EXPECT_EQ(world.own("lines_refused_total{reason=\"no_name\"}"), 2u);
  EXPECT_EQ(world.own("lines_refused_total{reason=\"bad_value\"}"), 1u);
  EXPECT_EQ(world.own("lines_refused_total{reason=\"bad_rate\"}"), 1u);
  EXPECT_EQ(world.own("lines_refused_total{reason=\"no_type\"}"), 0u);
  EXPECT_EQ(world.own("lines_left_out_total{}"), 1u);
  EXPECT_EQ(world.log.lines.size(), 3u);  // the first of each reason
}

TEST(Statsd, AFloodOfSeriesEndsAtTheCapAndItsNamesAreTold) {
  StatsdOptions options;
  options.series_max = 100;
  World world(options);
  for (int i = 0; i < 100; ++i) world.send("fine:1|c|#n:" + std::to_string(i));
  for (int i = 0; i < 5'000; ++i) {
    world.send("requests:1|c|#user:" + std::to_string(i));
    if (i % 10 == 0) world.send("sometimes:1|g|#user:" + std::to_string(i));
    if (i % 50 == 0) world.send("once-" + std::to_string(i) + ":1|g");
  }
  world.send("fine:1|c|#n:7");
  world.collect();
  EXPECT_EQ(world.own("series{}"), 100u);
  EXPECT_EQ(world.at("fine_total{n=\"7\"}"), 2);
  EXPECT_EQ(world.told("requests_total"), 0u);
  EXPECT_EQ(world.own("lines_refused_total{reason=\"series_max\"}"), 5'600u);
  EXPECT_EQ(world.own("over_max_lines{metric=\"requests\"}"), 5'000u);
  EXPECT_GE(world.own("over_max_lines{metric=\"sometimes\"}"), 500u);
  EXPECT_LE(world.told("lambda_agent_statsd_over_max_lines"), kStatsdOffendersTold);
  ASSERT_EQ(world.log.lines.size(), 1u);
  EXPECT_TRUE(world.log.lines[0].starts_with("statsd_series_over_max worst=requests (5000), sometimes"))
      << world.log.lines[0];
  world.send("requests:1|c|#user:0");
  world.collect();
  EXPECT_EQ(world.log.lines.size(), 1u);  // once a minute at most
}

TEST(Statsd, LongTextsOfSeriesAndSpellingsEndAtTheirBound) {
  StatsdOptions options;
  options.text_bytes_max = 1u << 20;
  options.idle_ms = 25'000;
  World world(options);
  // One series in ever new ways: an empty tag is none.
  for (size_t i = 0; i < 2'000; ++i) world.send("one:1|c|#a:1,b:2" + std::string(i, ','));
  EXPECT_EQ(world.statsd->series(), 1u);
  EXPECT_EQ(world.statsd->counters().lines, 2'000u) << "they count all the same";
  EXPECT_GT(world.statsd->counters().spellings_left, 0u);
  EXPECT_LE(world.statsd->text_bytes(), options.text_bytes_max);
  for (int i = 0; i < 1'000; ++i) {
    world.send("long:1|c|#n:" + std::to_string(i) + ",a:" + std::string(1'000, 'a') + ",b:" + std::string(1'000, 'b'));
  }
  EXPECT_LT(world.statsd->series(), 1'000u);
  EXPECT_GT(world.statsd->series(), 10u);
  EXPECT_LE(world.statsd->text_bytes(), options.text_bytes_max);
  world.collect();
  EXPECT_EQ(world.own("lines_refused_total{reason=\"text_bytes_max\"}") + world.statsd->series() - 1, 1'000u);
  for (int i = 0; i < 3; ++i) world.collect();
  EXPECT_EQ(world.statsd->series(), 0u);
  EXPECT_EQ(world.statsd->text_bytes(), 0u) << "what is idle gives its room back";
}

TEST(Statsd, WhatIsIdleIsForgottenAndLeavesItsPlaceAndItsName) {
  StatsdOptions options;
  options.series_max = 2;
  options.idle_ms = 25'000;
  World world(options);
  world.send("old:1|c\nstays:1|c");
  world.collect();
  world.send("stays:1|c\nnew:1|g");
  world.collect();
  EXPECT_EQ(world.told("new"), 0u);
  world.send("stays:1|c");
  world.collect();
  EXPECT_EQ(world.at("old_total{}"), 1);  // told a last time
  EXPECT_EQ(world.own("series_expired_total{}"), 1u);
  world.send("old_total:5|g\nstays:1|c");
  world.collect();
  EXPECT_EQ(world.statsd->series(), 2u);
  EXPECT_EQ(world.at("stays_total{}"), 4);
}

TEST(Statsd, GoesOnCountingWhenTheNextSourceTellsToAnotherSink) {
  World world;
  world.send("x:1|c\nt:5|ms\ns:a|s");
  world.collect();
  MemorySink fresh;
  ASSERT_TRUE(fresh.series({"other", {}, Kind::kGauge, ValueType::kF64, 0, ""}).has_value());
  StatsdSource next(world.statsd);
  world.send("x:1|c\nt:5|ms");
  ASSERT_TRUE(next.collect(fresh, 0).has_value());
  EXPECT_EQ(std::bit_cast<double>(fresh.last["x_total{}"]), 2);
  EXPECT_EQ(std::bit_cast<double>(fresh.last["t_count{}"]), 2);
  EXPECT_EQ(std::bit_cast<double>(fresh.last["t_bucket{le=\"+Inf\"}"]), 2);
  EXPECT_FALSE(fresh.last.contains("other{}"));
}

TEST(Statsd, ASinkThatIsFullCostsNothingElse) {
  World world;
  world.sink.refuse = true;
  world.send("x:1|c\nt:5|ms");
  world.collect();
  EXPECT_TRUE(world.sink.last.empty());
  EXPECT_EQ(world.statsd->counters().lines, 2u);
}

TEST(Statsd, AsksForEachSeriesOnce) {
  World world;
  world.send("x:1|c\nt:5:9|ms\ns:a|s\ng:1|g");
  world.collect();
  world.collect();
  const uint64_t asked = world.sink.asked;
  EXPECT_EQ(asked, world.sink.specs.size());
  for (int i = 0; i < 10; ++i) {
    world.send("x:1|c\nt:5:9|ms\ns:a|s\ng:1|g");
    world.collect();
  }
  EXPECT_EQ(world.sink.asked, asked);
}

TEST(Statsd, TakesPacketsFromItsDatagramsAndTellsHowTheyFared) {
  World world;
  TestDatagrams datagrams;
  ASSERT_TRUE(world.statsd->open(datagrams).has_value());
  EXPECT_EQ(world.statsd->port(), 8125);
  const std::string_view packets[] = {"x:1|c\nx:2|c", "x:4|c\n"};
  datagrams.send(packets);
  world.collect();
  EXPECT_EQ(world.at("x_total{}"), 7);
  EXPECT_EQ(world.own("packets_total{}"), 5u);
  EXPECT_EQ(world.own("packets_dropped_total{}"), 3u);
}

TEST(Statsd, AnAddressThatCannotBeHadIsNamed) {
  StatsdOptions options;
  options.port = 1;
  World world(options);
  TestDatagrams datagrams;
  const auto status = world.statsd->open(datagrams);
  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().text, "statsd: udp 127.0.0.1 port 1: Permission denied");
}

// Any bytes: no line is lost from the count, and what is told is a valid series.
TEST(Statsd, HostileBytesAreCountedLineByLine) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  StatsdOptions options;
  options.series_max = 200;
  World world(options);
  const std::string alphabet = "ab:|c|g|ms|s|@0.1#,+-19e\n\xff";
  uint64_t lines = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::string packet(random() % 60, ' ');
    for (char& c : packet) c = alphabet[random() % alphabet.size()];
    for (size_t from = 0; from < packet.size();) {
      const size_t end = std::min(packet.find('\n', from), packet.size());
      lines += end > from ? 1 : 0;
      from = end + 1;
    }
    world.send(packet);
  }
  const StatsdCounters& counters = world.statsd->counters();
  uint64_t counted = counters.lines + counters.lines_left_out + counters.lines_bad_names + counters.lines_conflict +
                     counters.lines_over_max + counters.lines_over_text;
  for (const uint64_t refused : counters.lines_refused) counted += refused;
  EXPECT_EQ(counted, lines);
  EXPECT_GT(counters.lines, 0u);
  EXPECT_LE(world.statsd->series(), 200u);
  world.collect();
}

}  // namespace
}  // namespace lambda::agent
