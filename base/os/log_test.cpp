#include "base/os/log.h"

#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <thread>
#include <vector>

namespace lambda {
namespace {

class HandClock final : public Clock {
 public:
  int64_t utc_ms() const override { return utc; }
  int64_t mono_us() const override { return mono_ms * 1000; }
  int64_t utc = 1'700'000'000'123;
  int64_t mono_ms = 1'000'000;
};

struct Lines {
  std::vector<std::string> lines;
  std::function<void(std::string_view)> out() {
    return [this](std::string_view line) { lines.emplace_back(line); };
  }
};

TEST(Log, TextLinesHaveTimeLevelEventAndFields) {
  HandClock clock;
  Lines lines;
  auto log = make_log({}, clock, lines.out());
  log->warn(
      "hint_dropped",
      {{"peer", "fog-2"}, {"bytes", 12}, {"ok", true}, {"ratio", 0.5}, {"why", "it \"was\"\nfull"}, {"empty", ""}});
  log->debug("unseen");
  ASSERT_EQ(lines.lines.size(), 1u);
  EXPECT_EQ(lines.lines[0],
            "2023-11-14T22:13:20.123Z warn hint_dropped peer=fog-2 bytes=12 ok=true ratio=0.5 "
            "why=\"it \\\"was\\\"\\nfull\" empty=\"\"");
}

TEST(Log, JsonLinesParseWhateverIsInThem) {
  HandClock clock;
  Lines lines;
  LogOptions options;
  options.format = LogFormat::kJson;
  options.level = LogLevel::kDebug;
  auto log = make_log(options, clock, lines.out());
  std::string bytes;
  for (int i = 0; i < 256; ++i) bytes += static_cast<char>(i);
  log->debug("odd", {{"bytes", bytes},
                     {"nan", std::numeric_limits<double>::quiet_NaN()},
                     {"min", INT64_MIN},
                     {"max", UINT64_MAX},
                     {"utf8", "grün €"}});
  ASSERT_EQ(lines.lines.size(), 1u);
  const auto json = nlohmann::json::parse(lines.lines[0]);
  EXPECT_EQ(json["event"], "odd");
  EXPECT_EQ(json["level"], "debug");
  EXPECT_EQ(json["min"], INT64_MIN);
  EXPECT_EQ(json["max"], UINT64_MAX);
  EXPECT_EQ(json["utf8"], "grün €");
  EXPECT_NE(json["bytes"].get<std::string>().find("<ff>"), std::string::npos);
}

TEST(Log, CutsLongValues) {
  HandClock clock;
  Lines lines;
  LogOptions options;
  options.value_bytes_max = 4;
  make_log(options, clock, lines.out())->info("x", {{"v", "123456"}});
  EXPECT_NE(lines.lines[0].find("v=1234..."), std::string::npos);
}

TEST(Log, RepeatsAreCountedAndTheCountIsTold) {
  HandClock clock;
  Lines lines;
  LogOptions options;
  options.repeats_max = 2;
  auto log = make_log(options, clock, lines.out());
  for (int i = 0; i < 10; ++i) log->info("again");
  log->info("other");
  EXPECT_EQ(lines.lines.size(), 3u);
  clock.mono_ms += options.window_ms;
  log->info("third");  // any event brings out what is overdue
  ASSERT_EQ(lines.lines.size(), 5u);
  EXPECT_NE(lines.lines[3].find("log_suppressed of=again count=8"), std::string::npos) << lines.lines[3];
  log->info("again");
  EXPECT_EQ(lines.lines.size(), 6u);
  for (int i = 0; i < 5; ++i) log->info("again");
  EXPECT_EQ(lines.lines.size(), 7u);
  log.reset();
  ASSERT_EQ(lines.lines.size(), 8u);
  EXPECT_NE(lines.lines[7].find("count=4"), std::string::npos) << lines.lines[7];
}

TEST(Log, TakesLinesFromManyThreadsWhole) {
  HandClock clock;
  Lines lines;
  LogOptions options;
  options.repeats_max = 1'000'000;
  auto log = make_log(options, clock, lines.out());
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 1000; ++i) log->info("event", {{"i", i}});
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(lines.lines.size(), 4000u);
}

}  // namespace
}  // namespace lambda
