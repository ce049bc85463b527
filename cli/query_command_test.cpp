#include "cli/query_command.h"

#include <gtest/gtest.h>

#include <sstream>
#include <vector>

namespace lambda::cli {
namespace {

constexpr int64_t kNowMs = 1'700'000'000'000;

class QueryCommand : public testing::Test {
 protected:
  int run() {
    out.str("");
    err.str("");
    return query(output, options, kNowMs, [this](const HttpCall& call) -> Result<HttpResponse> {
      asked = call;
      return answer;
    });
  }
  std::string asked_for(const std::string& name) const {
    const auto found = asked.parameters.find(name);
    return found == asked.parameters.end() ? "(absent)" : found->second;
  }

  std::ostringstream out, err;
  Output output{out, err, false};
  QueryOptions options;
  HttpCall asked;
  Result<HttpResponse> answer = HttpResponse{200, "application/json", R"({"status":"success","data":{}})"};
};

TEST_F(QueryCommand, ShowsAVectorAsATable) {
  options.expression = "up";
  options.server.url = "http://127.0.0.1:8700/";
  answer->body =
      R"({"status":"success","data":{"resultType":"vector","result":[)"
      R"({"metric":{"__name__":"up","instance":"press-7"},"value":[1700000000,"1"]},)"
      R"({"metric":{"site":"h\"all","__name__":"u"},"value":[1700000000.25,"NaN"]}]},"warnings":["a segment is damaged"]})";
  EXPECT_EQ(run(), kExitDone);
  EXPECT_EQ(out.str(),
            "SERIES                  VALUE\n"
            "up{instance=\"press-7\"}  1\n"
            "u{site=\"h\\\"all\"}        NaN\n");
  EXPECT_EQ(err.str(), "lambda: warning: a segment is damaged\n");
  EXPECT_EQ(asked.url, "http://127.0.0.1:8700/api/v1/query");
  EXPECT_TRUE(asked.post);
  EXPECT_EQ(asked_for("query"), "up");
  EXPECT_EQ(asked_for("time"), "(absent)");
}

TEST_F(QueryCommand, ShowsAMatrixLineByLineAndScalarsAlone) {
  answer->body = R"({"status":"success","data":{"resultType":"matrix","result":[)"
                 R"({"metric":{"__name__":"up"},"values":[[1700000000,"1"],[1700000001.5,"+Inf"]]}]}})";
  EXPECT_EQ(run(), kExitDone);
  EXPECT_EQ(out.str(),
            "SERIES  TIME                      VALUE\n"
            "up      2023-11-14T22:13:20.000Z  1\n"
            "\"       2023-11-14T22:13:21.500Z  +Inf\n");
  answer->body = R"({"status":"success","data":{"resultType":"scalar","result":[1700000000,"2.5"]}})";
  EXPECT_EQ(run(), kExitDone);
  EXPECT_EQ(out.str(), "2.5\n");
}

TEST_F(QueryCommand, LetsNoTextOfAServerReachTheTerminalAsAControl) {
  answer->body = R"({"status":"success","data":{"resultType":"vector","result":[)"
                 R"({"metric":{"__name__":"up","a":"\u001b[2Jx\u009b1mé"},"value":[1700000000,"1\r2\n3"]}]},)"
                 R"("warnings":["\u001b]0;title\u0007"]})";
  EXPECT_EQ(run(), kExitDone);
  EXPECT_EQ(out.str(),
            "SERIES                VALUE\n"
            "up{a=\"\\x1b[2Jx?1mé\"}  1?2 3\n");
  EXPECT_EQ(err.str(), "lambda: warning: ?]0;title?\n");
  answer->body = R"({"status":"success","data":{"resultType":"string","result":[1700000000,"\u001bc"]}})";
  EXPECT_EQ(run(), kExitDone);
  EXPECT_EQ(out.str(), "?c\n");
  answer->body = R"({"status":"error","errorType":"bad_data","error":"\u001b[31mred\nnext"})";
  EXPECT_EQ(run(), kExitFailed);
  EXPECT_EQ(err.str(), "lambda: bad_data: ?[31mred\nnext\n");
}

TEST_F(QueryCommand, PassesJsonOnAsItCame) {
  output.json = true;
  answer->body = R"({"status":"success","data":{"resultType":"vector","result":[]}})";
  EXPECT_EQ(run(), kExitDone);
  EXPECT_EQ(out.str(), answer->body + "\n");
}

TEST_F(QueryCommand, AsksForARangeWhenOneIsGiven) {
  options.expression = "up";
  options.start = "now-1h";
  EXPECT_EQ(run(), kExitDone);
  EXPECT_EQ(asked.url, "http://127.0.0.1:8700/api/v1/query_range");
  EXPECT_EQ(asked_for("start"), "1699996400");
  EXPECT_EQ(asked_for("end"), "1700000000");
  EXPECT_EQ(asked_for("step"), "14");
  options.end = "2023-11-14T22:13:19.5Z";
  options.step = "1m";
  EXPECT_EQ(run(), kExitDone);
  EXPECT_EQ(asked_for("end"), "1699999999.500");
  EXPECT_EQ(asked_for("step"), "1m");
}

TEST_F(QueryCommand, SaysWhatTheServerRefused) {
  answer = HttpResponse{422, "application/json",
                        R"({"status":"error","errorType":"execution","error":"function rate is not supported yet"})"};
  EXPECT_EQ(run(), kExitFailed);
  EXPECT_EQ(err.str(), "lambda: execution: function rate is not supported yet\n");
  EXPECT_EQ(out.str(), "");
  output.json = true;
  EXPECT_EQ(run(), kExitFailed);
  EXPECT_EQ(out.str(), "{\"error\":\"execution: function rate is not supported yet\"}\n");
}

TEST_F(QueryCommand, TellsSilenceFromRefusal) {
  answer = fail(ErrorCode::kUnavailable, "http://127.0.0.1:8700/api/v1/query: cannot connect: Connection refused");
  EXPECT_EQ(run(), kExitUnreachable);
  EXPECT_EQ(err.str(), "lambda: http://127.0.0.1:8700/api/v1/query: cannot connect: Connection refused\n");
}

TEST_F(QueryCommand, RefusesTimesThatDoNotGoTogether) {
  options.time = "now";
  options.start = "now-1h";
  EXPECT_EQ(run(), kExitUsage);
  options.start = "";
  options.time = "later";
  EXPECT_EQ(run(), kExitUsage);
  EXPECT_EQ(err.str(), "lambda: --time: \"later\" is neither RFC 3339 nor seconds since 1970\n");
  options.time = "";
  options.end = "now";
  EXPECT_EQ(run(), kExitUsage);
  EXPECT_EQ(err.str(), "lambda: --start is missing: --end and --step need it\n");
}

TEST_F(QueryCommand, SurvivesAnswersThatAreNone) {
  for (
      const char* body :
      {"", "not json", "[]", "5", "{}", R"({"status":5})", R"({"status":"success"})",
       R"({"status":"success","data":7})", R"({"status":"success","data":{"resultType":"vector","result":7}})",
       R"({"status":"success","data":{"resultType":"vector","result":[7,{"metric":[],"value":{}},{"metric":{"a":5}}]}})",
       R"({"status":"success","data":{"resultType":"matrix","result":[{"values":[[1],["a","b"],[1e300,"2"]]}]}})",
       R"({"status":"success","data":{"resultType":"scalar","result":null},"warnings":[5]})",
       R"({"status":"error","error":{}})"}) {
    answer = HttpResponse{200, "text/html", body};
    const int status = run();
    EXPECT_TRUE(status == kExitDone || status == kExitFailed) << body;
    EXPECT_FALSE(status == kExitFailed && err.str().empty()) << body;
  }
}

TEST_F(QueryCommand, ShowsInfosBesideTheAnswer) {
  answer->body = R"({"status":"success","data":{"resultType":"scalar","result":[1,"2"]},"infos":["no counter"]})";
  EXPECT_EQ(run(), kExitDone);
  EXPECT_EQ(out.str(), "2\n");
  EXPECT_EQ(err.str(), "lambda: info: no counter\n");
}

TEST_F(QueryCommand, WatchesUntilItIsEnough) {
  options.expression = "up";
  options.time = "now-1m";
  int64_t now_ms = kNowMs;
  int pauses = 0;
  const Watching watching{false,
                          [&] {
                            now_ms += 2'000;
                            return ++pauses < 3;
                          },
                          [&] { return now_ms; }};
  std::vector<std::string> times;
  const auto ask = [&](const HttpCall& call) -> Result<HttpResponse> {
    times.push_back(call.parameters.find("time")->second);
    if (times.size() == 2) {  // it restarts just now
      return fail(ErrorCode::kUnavailable, "cannot connect");
    }
    return HttpResponse{200, "application/json",
                        R"({"status":"success","data":{"resultType":"scalar","result":[1,"5"]}})"};
  };
  EXPECT_EQ(watch(output, options, watching, ask), kExitDone);
  EXPECT_EQ(times, (std::vector<std::string>{"1699999940", "1699999942", "1699999944"}));
  EXPECT_EQ(out.str(), "5\n\n\n5\n");
  EXPECT_EQ(err.str(), "lambda: cannot connect\n");
}

TEST_F(QueryCommand, WatchesInPlaceOnATerminalAndEndsAtOnceWhenItsCommandLineIsWrong) {
  options.expression = "up";
  answer->body = R"({"status":"success","data":{"resultType":"scalar","result":[1,"5"]}})";
  const Watching watching{true, [] { return false; }, [] { return kNowMs; }};
  const auto ask = [&](const HttpCall&) { return answer; };
  EXPECT_EQ(watch(output, options, watching, ask), kExitDone);
  EXPECT_EQ(out.str(), "\x1b[H\x1b[2J5\n");
  options.time = "later";
  const Watching endless{false, [] { return true; }, [] { return kNowMs; }};
  EXPECT_EQ(watch(output, options, endless, ask), kExitUsage);
}

TEST_F(QueryCommand, AsksADeviceThroughTheGatewayAndTheLastPointsOfASelector) {
  options.expression = "temperature";
  options.device = "press-7";
  options.last = "10m";
  EXPECT_EQ(run(), kExitDone);
  EXPECT_EQ(asked.url, "http://127.0.0.1:8700/api/v1/query");
  EXPECT_EQ(asked_for("query"), "temperature[10m]");
  EXPECT_EQ(asked_for("device"), "press-7");
  options.last = "ten minutes";
  EXPECT_EQ(run(), kExitUsage);
  options.last = "10m";
  options.start = "now-1h";
  EXPECT_EQ(run(), kExitUsage);
  options.last.clear();
  EXPECT_EQ(run(), kExitDone);
  EXPECT_EQ(asked.url, "http://127.0.0.1:8700/api/v1/query_range");
  EXPECT_EQ(asked_for("device"), "press-7");
}

}  // namespace
}  // namespace lambda::cli
