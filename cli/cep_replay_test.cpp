#include "cli/cep_replay.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/os/disk.h"
#include "base/os/loop.h"
#include "cli/cep_command.h"

namespace lambda::cli {
namespace {

struct Replay : ::testing::Test {
  Replay() {
    file = (std::filesystem::temp_directory_path() / ("replay-" + std::to_string(::getpid()) + ".sql")).string();
    options.rules_file = file;
    options.from = "0";
    options.to = "20";
    rules(
        "CREATE STREAM temp (dev TEXT, site TEXT, pump TEXT, value DOUBLE);\n"
        "CREATE RULE hot AS SELECT dev, site, pump, value FROM temp PARTITION BY dev, pump\n"
        "  ALERT ON value > 90 CLEAR value < 80 DO log(), exec('/bin/false');\n");
  }
  ~Replay() override { std::filesystem::remove(file); }
  void rules(const std::string& text) { std::ofstream(file) << text; }
  int run() { return cep_replay(output, options, 1'000'000, disk, source); }

  std::string file;
  ReplayOptions options;
  std::vector<ReplaySeries> stored;
  Status answer;
  ReplaySource source = [this](const std::string& metric, int64_t from_ms,
                               int64_t to_ms) -> Result<std::vector<ReplaySeries>> {
    EXPECT_EQ(metric, "temp");
    EXPECT_EQ(from_ms, 0);
    EXPECT_EQ(to_ms, 20'000);
    if (!answer) return tl::unexpected(answer.error());
    return stored;
  };
  std::ostringstream out, err;
  Output output{out, err, false};
  OsLoop loop;
  OsDisk disk{loop};
};

TEST_F(Replay, TakesSeriesTogetherInOrderOfTimeAndMarksAllItSaysLate) {
  stored = {{{{"__name__", "temp"}, {"instance", "p1"}, {"pump", "a"}, {"site", "hall"}}, {{1000, 95}, {5000, 70}}},
            {{{"__name__", "temp"}, {"instance", "p2"}, {"pump", "a"}, {"site", "hall"}}, {{3000, 99}}}};
  EXPECT_EQ(run(), kExitDone) << err.str();
  EXPECT_EQ(
      out.str(),
      "{\"rule\":\"hot\",\"t\":1000,\"kind\":\"firing\",\"fields\":{\"dev\":\"p1\",\"site\":\"hall\",\"pump\":\"a\","
      "\"value\":95},\"late\":true,\"on_input\":0}\n"
      "{\"rule\":\"hot\",\"t\":3000,\"kind\":\"firing\",\"fields\":{\"dev\":\"p2\",\"site\":\"hall\",\"pump\":\"a\","
      "\"value\":99},\"late\":true,\"on_input\":1}\n"
      "{\"rule\":\"hot\",\"t\":5000,\"kind\":\"resolved\",\"fields\":{\"dev\":\"p1\",\"site\":\"hall\",\"pump\":\"a\","
      "\"value\":70},\"late\":true,\"on_input\":2}\n");
}

TEST_F(Replay, TimersRunUntilTheEndOfTheRange) {
  rules(
      "CREATE STREAM temp (dev TEXT, value DOUBLE);\n"
      "CREATE RULE silent AS SELECT dev FROM PATTERN (EVERY t=temp -> NOT temp FOR 10s) PARTITION BY dev DO log();\n");
  stored = {{{{"__name__", "temp"}, {"instance", "p1"}}, {{1000, 95}}},
            {{{"__name__", "temp"}, {"instance", "p2"}}, {{12'000, 95}}}};
  EXPECT_EQ(run(), kExitDone);
  EXPECT_EQ(out.str(),
            "{\"rule\":\"silent\",\"t\":11000,\"kind\":\"row\",\"fields\":{\"dev\":\"p1\"},\"late\":true,"
            "\"on_input\":null}\n");
}

TEST_F(Replay, WrongRulesRangesAndSourcesAreTold) {
  rules("CREATE STREAM temp (dev TEXT, value DOUBLE);\nCREATE RULE x AS SELECT vlue FROM temp DO log();\n");
  EXPECT_EQ(run(), kExitRules);
  EXPECT_NE(err.str().find(file + ":2:25: "), std::string::npos) << err.str();
  options.from = "30";
  EXPECT_EQ(run(), kExitUsage);
  options.from = "yesterday";
  EXPECT_EQ(run(), kExitUsage);
  options.from = "0";
  rules("CREATE STREAM temp (dev TEXT, value DOUBLE);\nCREATE RULE x AS SELECT value FROM temp DO log();\n");
  answer = fail(ErrorCode::kUnavailable, "nobody there");
  EXPECT_EQ(run(), kExitUnreachable);
  EXPECT_TRUE(out.str().empty());
}

TEST(ReplayMatrix, IsReadOrRefused) {
  const auto good = read_matrix(
      R"({"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"t","instance":"p"},"values":[[1.5,"2"],[2,"NaN"]]}]}})");
  ASSERT_TRUE(good.has_value());
  ASSERT_EQ(good->size(), 1u);
  EXPECT_EQ((*good)[0].labels[1].second, "p");
  EXPECT_EQ((*good)[0].samples[0].time_ms, 1500);
  for (const char* bad : {"", "[]", R"({"status":"error","error":"x"})", R"({"status":"success"})",
                          R"({"status":"success","data":{"result":[1]}})",
                          R"({"status":"success","data":{"result":[{"metric":{},"values":[[1,2]]}]}})"}) {
    EXPECT_FALSE(read_matrix(bad).has_value()) << bad;
  }
}

}  // namespace
}  // namespace lambda::cli
