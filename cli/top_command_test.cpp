#include "cli/top_command.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

namespace lambda::cli {
namespace {

constexpr int64_t kNowMs = 1'700'000'000'000;

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}
size_t width_of(const std::string& line) {
  size_t width = 0;
  for (const char c : line) width += (static_cast<uint8_t>(c) >> 6) != 2 ? 1 : 0;
  return width;
}

TopFrame busy_frame() {
  TopFrame frame;
  frame.title = "press-7 in hall, up 3 d 4:05";
  frame.clock = "2023-11-14T22:13:20.000Z";
  frame.rows = {{"cpu", Unit::kRatio, 0.953, {0, 0.25, 0.5, NAN, 0.953}, "of 4 cores"},
                {"disk read", Unit::kBytesPerSecond, 1'234'567, {1e6, 2e6}, ""}};
  for (int i = 0; i < 50; ++i) frame.processes.push_back({"program-" + std::to_string(i), 0.1, 1e6, 1});
  frame.foot = {"agent 0.1.0", "uplink: answered"};
  return frame;
}

TEST(TopView, ShowsValuesAsPeopleReadThem) {
  EXPECT_EQ(shown_value(0.1234, Unit::kRatio), "12.3 %");
  EXPECT_EQ(shown_value(1.2345, Unit::kNumber), "1.23");
  EXPECT_EQ(shown_value(12345, Unit::kNumber), "12345");
  EXPECT_EQ(shown_value(0, Unit::kBytes), "0 B");
  EXPECT_EQ(shown_value(999, Unit::kBytes), "999 B");
  EXPECT_EQ(shown_value(1'234, Unit::kBytes), "1.2 kB");
  EXPECT_EQ(shown_value(999'600, Unit::kBytes), "1.0 MB");
  EXPECT_EQ(shown_value(34e6, Unit::kBytesPerSecond), "34 MB/s");
  EXPECT_EQ(shown_value(NAN, Unit::kBytes), "-");
}

TEST(TopView, ASparklineIsAsHighAsItsShareAndEmptyWhereNothingIsKnown) {
  EXPECT_EQ(sparkline({0, 1, 2, 4, 8, NAN}, 8, 6, false), "▁▂▃▅█ ");
  EXPECT_EQ(sparkline({0, 8}, 8, 4, true), "  .@");
  EXPECT_EQ(sparkline({1, 2, 3}, 3, 2, true), "*@");
  EXPECT_EQ(sparkline({0, 0}, 0, 2, true), "..");
  EXPECT_EQ(sparkline({}, 1, 3, true), "   ");
  EXPECT_EQ(sparkline({-5, 99}, 1, 2, true), ".@");
}

TEST(TopView, FitsWhateverScreenThereIs) {
  for (size_t columns : {1, 40, 79, 80, 81, 200}) {
    for (size_t lines : {1, 8, 12, 24, 60, 100}) {
      const auto shown = lines_of(render(busy_frame(), {columns, lines, false, false}));
      EXPECT_LE(shown.size(), std::max(lines, kTopLinesMin));
      for (const std::string& line : shown) EXPECT_LE(width_of(line), std::max(columns, kTopColumnsMin)) << line;
    }
  }
}

TEST(TopView, At80Times24EverythingThatMattersIsThere) {
  const auto shown = lines_of(render(busy_frame(), {80, 24, false, true}));
  ASSERT_EQ(shown.size(), 24u);
  EXPECT_EQ(shown[0], "press-7 in hall, up 3 d 4:05                            2023-11-14T22:13:20.000Z");
  EXPECT_EQ(shown[2].substr(0, 36), "cpu              95.3 % of 4 cores  ");
  EXPECT_NE(shown[2].find(".-+ @"), std::string::npos) << shown[2];
  EXPECT_TRUE(shown[2].ends_with("max 95.3 %")) << shown[2];
  EXPECT_EQ(shown[5].substr(0, 7), "PROCESS");
  EXPECT_TRUE(shown[20].starts_with("and ")) << shown[20];
  EXPECT_EQ(shown[22], "agent 0.1.0");
  EXPECT_EQ(shown[23], "uplink: answered");
}

TEST(TopView, ColoursAreOutsideOfTheText) {
  const std::string plain = render(busy_frame(), {80, 24, false, false});
  EXPECT_EQ(plain.find('\x1b'), std::string::npos);
  std::string dressed = render(busy_frame(), {80, 24, true, false});
  EXPECT_NE(dressed.find("\x1b[31mcpu"), std::string::npos) << "over nine tenths";
  for (const char* code : {"\x1b[1m", "\x1b[31m", "\x1b[0m"}) {
    for (size_t at = dressed.find(code); at != std::string::npos; at = dressed.find(code)) {
      dressed.erase(at, std::string(code).size());
    }
  }
  EXPECT_EQ(dressed, plain);
}

class TopCommand : public testing::Test {
 protected:
  int run(size_t frames = 1) {
    out.str("");
    err.str("");
    size_t left = frames;
    TopWorld world{[] { return kNowMs; },
                   [] {
                     return TopStyle{80, 24, false, true};
                   },
                   terminal, [&] { return --left > 0; }};
    return top(output, options, world, [this](const HttpCall& call) -> Result<HttpResponse> {
      asked.push_back(call);
      if (away) return fail(ErrorCode::kUnavailable, call.url + ": cannot connect");
      const std::string path = call.url.substr(call.url.find("/api"));
      return HttpResponse{200, "application/json", answers[path]};
    });
  }

  std::ostringstream out, err;
  Output output{out, err, false};
  TopOptions options;
  bool terminal = false, away = false;
  std::vector<HttpCall> asked;
  std::map<std::string, std::string> answers{
      {"/api/v1/lambda/status",
       R"({"device":"press-7","site":"hall","version":"0.1.0","enrolled":true,"connected":true,"answered":true,)"
       R"("series":321,"made":4567,"unmade":2,"backlog_parcels":3,"backlog_bytes":2048,"journal_bytes":100,)"
       R"("disk_full":false,"dropped":{"memory":1}})"},
      {"/api/v1/query", R"({"status":"success","data":{"resultType":"vector","result":[)"
                        R"({"metric":{"row":"cpu","instance":"press-7"},"value":[1700000000,"0.5"]},)"
                        R"({"metric":{"row":"load","instance":"press-7"},"value":[1700000000,"1.25"]},)"
                        R"({"metric":{"row":"process_cpu","process":"idle-one"},"value":[1700000000,"0.1"]},)"
                        R"({"metric":{"row":"process_cpu","process":"busy\u001b[2J"},"value":[1700000000,"0.75"]},)"
                        R"({"metric":{"row":"process_memory","process":"idle-one"},"value":[1700000000,"5000000"]},)"
                        R"({"metric":{"row":"process_count","process":"idle-one"},"value":[1700000000,"3"]},)"
                        R"({"metric":{"row":"targets"},"value":[1700000000,"2"]},)"
                        R"({"metric":{"row":"targets_up"},"value":[1700000000,"1"]},)"
                        R"({"metric":{"row":"scraped"},"value":[1700000000,"900"]}]}})"},
      {"/api/v1/query_range",
       R"({"status":"success","data":{"resultType":"matrix","result":[)"
       R"({"metric":{"row":"cpu","instance":"press-7"},"values":[[1699999960,"0.25"],[1699999980,"1"]]},)"
       R"({"metric":{"row":"memory","instance":"press-7"},"values":[[1699999980,"0.5"]]}]}})"},
      {"/api/v1/lambda/devices", R"({"site":"hall","gateway":"fog-1","devices":[)"
                                 R"({"device":"press-7","state":"online","lag_ms":1500,"backlog_parcels":2},)"
                                 R"({"device":"press-8","state":"offline","lag_ms":null,"backlog_parcels":null}]})"}};
};

TEST_F(TopCommand, OnceShowsTheMachineInPlainText) {
  options.server.url = kAgentUrl;
  options.once = true;
  EXPECT_EQ(run(), kExitDone) << err.str();
  const std::string shown = out.str();
  EXPECT_EQ(shown.find('\x1b'), std::string::npos) << "nor what a process's name smuggles in";
  EXPECT_NE(shown.find("press-7 in hall"), std::string::npos) << shown;
  EXPECT_NE(shown.find("50.0 %"), std::string::npos) << shown;
  EXPECT_NE(shown.find("max 100.0 %"), std::string::npos) << shown;
  EXPECT_NE(shown.find("\nmemory           50.0 %"), std::string::npos) << "the newest that is known: " << shown;
  EXPECT_EQ(shown.find("net in"), std::string::npos) << "a line of which nothing is known is left out";
  EXPECT_LT(shown.find("busy?[2J"), shown.find("idle-one"));
  EXPECT_NE(shown.find("321 series, 4567 points made"), std::string::npos) << shown;
  EXPECT_NE(shown.find("uplink: answered; waiting: 3 parcels, 2.0 kB; journal 100 B; lost 3 points"), std::string::npos)
      << shown;
  EXPECT_NE(shown.find("scraped: 1 of 2 targets up, 900 samples"), std::string::npos) << shown;
  ASSERT_EQ(asked.size(), 3u) << "three questions, however many lines";
}

TEST_F(TopCommand, ASiteIsAListOfItsDevicesWithTroubleFirst) {
  options.site = options.once = true;
  EXPECT_EQ(run(), kExitDone) << err.str();
  const auto shown = lines_of(out.str());
  ASSERT_GE(shown.size(), 5u);
  EXPECT_TRUE(shown[0].starts_with("site hall at fog-1")) << shown[0];
  EXPECT_TRUE(shown[3].starts_with("press-8        offline")) << shown[3];
  EXPECT_TRUE(shown[4].starts_with("press-7        online    1.50 s        2   1.25   50.0 %   50.0 %")) << shown[4];
  EXPECT_EQ(shown.back(), "2 devices, 1 online, 2 parcels waiting on devices");
}

TEST_F(TopCommand, AServerThatIsAwayIsSaidToBeAndAskedAgain) {
  options.once = true;
  away = true;
  EXPECT_EQ(run(), kExitUnreachable);
  EXPECT_EQ(out.str(), "");
  options.once = false;
  asked.clear();
  EXPECT_EQ(run(3), kExitDone);
  EXPECT_EQ(asked.size(), 3u);
  EXPECT_NE(out.str().find("not fresh, asking again: cannot connect (http://127.0.0.1:8700)"), std::string::npos)
      << out.str();
}

TEST_F(TopCommand, WhatWasKnownStaysOnTheScreenWhileTheServerIsAway) {
  std::vector<std::string> frames;
  const TopWorld world{[] { return kNowMs; },
                       [] {
                         return TopStyle{80, 24, true, true};
                       },
                       true,
                       [&] {
                         frames.push_back(out.str());
                         out.str("");
                         away = true;
                         return frames.size() < 2;
                       }};
  const auto ask = [this](const HttpCall& call) -> Result<HttpResponse> {
    if (away) return fail(ErrorCode::kUnavailable, "cannot connect");
    return HttpResponse{200, "application/json", answers[call.url.substr(call.url.find("/api"))]};
  };
  EXPECT_EQ(top(output, options, world, ask), kExitDone);
  ASSERT_EQ(frames.size(), 2u);
  EXPECT_TRUE(frames[0].starts_with("\x1b[?1049h\x1b[?25l\x1b[H"));
  EXPECT_EQ(frames[0].find("not fresh"), std::string::npos);
  EXPECT_NE(frames[1].find("not fresh, asking again: cannot connect"), std::string::npos);
  EXPECT_NE(frames[1].find("memory           50.0 %"), std::string::npos);
  EXPECT_EQ(out.str(), "\x1b[?25h\x1b[?1049l") << "the terminal is given back";
}

TEST_F(TopCommand, WhateverIsAnsweredItDoesNotFallOver) {
  options.once = true;
  const char* odd[] = {"",
                       "[]",
                       "null",
                       "{",
                       R"({"status":"success","data":7})",
                       R"({"data":{"result":[1,"x",{"metric":[],"value":[1]},{"metric":{"row":3},"values":[[1,2]]}]}})",
                       R"({"data":{"result":{"row":{"metric":{"row":"cpu"},"values":"x","value":["a","b"]}}}})"};
  for (const char* text : odd) {
    for (const char* path : {"/api/v1/lambda/status", "/api/v1/query", "/api/v1/query_range"}) {
      const std::string before = std::exchange(answers[path], text);
      const int status = run();
      EXPECT_TRUE(status == kExitDone || status == kExitFailed) << text;
      answers[path] = before;
    }
  }
}

TEST_F(TopCommand, JsonHasTheSameNumbers) {
  options.once = true;
  output.json = true;
  EXPECT_EQ(run(), kExitDone);
  const auto frame = nlohmann::json::parse(out.str());
  EXPECT_EQ(frame["rows"][0]["name"], "cpu");
  EXPECT_EQ(frame["rows"][0]["now"], 0.5);
  EXPECT_EQ(frame["processes"][0]["cores"], 0.75);
}

}  // namespace
}  // namespace lambda::cli
