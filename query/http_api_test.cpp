#include "query/http_api.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <condition_variable>
#include <mutex>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/os/loop.h"
#include "base/os/workers.h"
#include "query/memory_source.h"

namespace lambda::query {
namespace {

class StoppedClock : public Clock {
 public:
  int64_t utc_ms() const override { return now_ms; }
  int64_t mono_us() const override { return mono += tick_us; }
  int64_t now_ms = 1'700'000'000'000;
  int64_t tick_us = 0;  // by which each look moves it
  mutable int64_t mono = 0;
};

class HttpApiTest : public testing::Test {
 protected:
  HttpApiTest() {
    source.add({{"__name__", "up"}, {"instance", "press-7"}, {"site", "hall"}},
               {{1'699'999'990'000, 1}, {1'699'999'999'250, 0.5}});
    source.add({{"__name__", "up"}, {"instance", "press-8"}, {"site", "hall"}}, 1'699'999'995'000, std::nan(""));
    source.add({{"__name__", "load1"}, {"instance", "press-7"}}, 1'699'999'999'000, INFINITY);
  }

  static HttpRequest request(std::string path, std::multimap<std::string, std::string> parameters,
                             std::string method = "GET") {
    HttpRequest made;
    made.method = std::move(method);
    made.path = std::move(path);
    made.parameters = std::move(parameters);
    return made;
  }

  HttpResponse ask(const std::string& path, std::multimap<std::string, std::string> parameters = {},
                   const std::string& method = "GET") {
    HttpApi api(source, clock, options);
    return ask(api, path, std::move(parameters), method);
  }

  static HttpResponse ask(HttpApi& api, const std::string& path, std::multimap<std::string, std::string> parameters,
                          const std::string& method = "GET") {
    std::vector<HttpResponse> responses;
    api.handle(request(path, std::move(parameters), method),
               [&](HttpResponse response) { responses.push_back(std::move(response)); });
    EXPECT_EQ(responses.size(), 1u);
    if (responses.empty()) {
      return {};
    }
    EXPECT_TRUE(nlohmann::json::accept(responses[0].body)) << responses[0].body;
    EXPECT_EQ(responses[0].content_type, "application/json");
    return responses[0];
  }

  MemorySource source;
  StoppedClock clock;
  HttpApiOptions options;
};

TEST_F(HttpApiTest, AnswersAnInstantQueryAsOfNow) {
  const auto response = ask("/api/v1/query", {{"query", "up"}});
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body,
            R"({"status":"success","data":{"resultType":"vector","result":[)"
            R"({"metric":{"__name__":"up","instance":"press-7","site":"hall"},"value":[1700000000,"0.5"]},)"
            R"({"metric":{"__name__":"up","instance":"press-8","site":"hall"},"value":[1700000000,"NaN"]}]}})");
}

TEST_F(HttpApiTest, AnswersAnInstantQueryOfAnyMomentInBothSpellings) {
  const std::string body =
      R"({"status":"success","data":{"resultType":"vector","result":[)"
      R"({"metric":{"__name__":"up","instance":"press-7","site":"hall"},"value":[1699999991.500,"1"]}]}})";
  EXPECT_EQ(ask("/api/v1/query", {{"query", "up"}, {"time", "1699999991.5"}}).body, body);
  EXPECT_EQ(ask("/api/v1/query", {{"query", "up"}, {"time", "2023-11-14T22:13:11.5Z"}}).body, body);
  EXPECT_EQ(ask("/api/v1/query", {{"query", "up"}, {"time", "2023-11-14T22:13:11.5Z"}}, "POST").body, body);
}

TEST_F(HttpApiTest, AnswersARangeVectorWithItsRawSamples) {
  EXPECT_EQ(ask("/api/v1/query", {{"query", "up{instance='press-7'}[1m]"}}).body,
            R"({"status":"success","data":{"resultType":"matrix","result":[)"
            R"({"metric":{"__name__":"up","instance":"press-7","site":"hall"},)"
            R"("values":[[1699999990,"1"],[1699999999.250,"0.5"]]}]}})");
}

TEST_F(HttpApiTest, AnswersScalarsAndStrings) {
  EXPECT_EQ(ask("/api/v1/query", {{"query", "1.5"}}).body,
            R"({"status":"success","data":{"resultType":"scalar","result":[1700000000,"1.5"]}})");
  EXPECT_EQ(ask("/api/v1/query", {{"query", "'a\"b'"}, {"time", "1.5"}}).body,
            R"({"status":"success","data":{"resultType":"string","result":[1.500,"a\"b"]}})");
}

TEST_F(HttpApiTest, AnswersARangeQuery) {
  EXPECT_EQ(
      ask("/api/v1/query_range", {{"query", "load1"}, {"start", "1699999998"}, {"end", "1700000000"}, {"step", "1"}})
          .body,
      R"({"status":"success","data":{"resultType":"matrix","result":[)"
      R"({"metric":{"__name__":"load1","instance":"press-7"},)"
      R"("values":[[1699999999,"+Inf"],[1700000000,"+Inf"]]}]}})");
  EXPECT_EQ(ask("/api/v1/query_range", {{"query", "1"}, {"start", "0"}, {"end", "60"}, {"step", "1m"}}).body,
            R"({"status":"success","data":{"resultType":"matrix","result":[{"metric":{},)"
            R"("values":[[0,"1"],[60,"1"]]}]}})");
  EXPECT_EQ(ask("/api/v1/query_range", {{"query", "none"}, {"start", "0"}, {"end", "60"}, {"step", "1m"}}).body,
            R"({"status":"success","data":{"resultType":"matrix","result":[]}})");
}

TEST_F(HttpApiTest, RefusesBadRequestsNamingTheParameter) {
  const struct {
    const char* path;
    std::multimap<std::string, std::string> parameters;
    const char* error;
  } kTable[] = {
      {"query", {}, R"(invalid parameter "query": 1:1: parse error: there is no expression)"},
      {"query",
       {{"query", "up{"}},
       R"(invalid parameter "query": 1:4: parse error: unexpected end of input in a selector, expected a label name or "}")"},
      {"query",
       {{"query", "up"}, {"time", "soon"}},
       R"(invalid parameter "time": "soon" is neither RFC 3339 nor seconds since 1970)"},
      {"query",
       {{"query", "up"}, {"timeout", "-1s"}},
       R"(invalid parameter "timeout": "-1s" is neither a duration nor a number of seconds)"},
      {"query", {{"query", "up"}, {"limit", "1.5"}}, R"(invalid parameter "limit": "1.5" is not a whole number)"},
      {"query",
       {{"query", "up"}, {"lookback_delta", "0"}},
       R"(invalid parameter "lookback_delta": it must be greater than 0)"},
      {"query_range", {{"query", "up"}, {"end", "1"}, {"step", "1"}}, R"(invalid parameter "start": it is missing)"},
      {"query_range", {{"query", "up"}, {"start", "1"}, {"step", "1"}}, R"(invalid parameter "end": it is missing)"},
      {"query_range", {{"query", "up"}, {"start", "1"}, {"end", "1"}}, R"(invalid parameter "step": it is missing)"},
      {"query_range",
       {{"query", "up"}, {"start", "2"}, {"end", "1"}, {"step", "1"}},
       R"(invalid parameter "end": it must not be before start)"},
      {"query_range",
       {{"query", "up"}, {"start", "1"}, {"end", "1"}, {"step", "0"}},
       R"(invalid parameter "step": it must be greater than 0)"},
      {"query_range",
       {{"query", "up"}, {"start", "1"}, {"end", "1"}, {"step", "-1"}},
       R"(invalid parameter "step": it must be greater than 0)"},
      {"query_range",
       {{"query", "up"}, {"start", "1"}, {"end", "1"}, {"step", "0.0001"}},
       R"(invalid parameter "step": it must be greater than 0)"},
      {"query_range",
       {{"query", "up"}, {"start", "1"}, {"end", "1"}, {"step", "NaN"}},
       R"(invalid parameter "step": "NaN" is neither a duration nor a number of seconds)"},
      {"query_range",
       {{"query", "up[5m]"}, {"start", "1"}, {"end", "1"}, {"step", "1"}},
       R"(invalid parameter "query": a range query takes a scalar or an instant vector, not a range vector)"},
      {"query_range",
       {{"query", "up"}, {"start", "0"}, {"end", "11001"}, {"step", "1"}},
       "a series would have more than 11000 points: use a larger step or a shorter time"},
      {"series", {}, "no match[] parameter is given"},
      {"series",
       {{"match[]", "up[5m]"}},
       R"(invalid parameter "match[]": 1:1: parse error: a plain selector such as up{job="a"} is expected)"},
  };
  for (const auto& row : kTable) {
    const auto response = ask("/api/v1/" + std::string(row.path), row.parameters);
    EXPECT_EQ(response.status, 400);
    const auto body = nlohmann::json::parse(response.body);
    EXPECT_EQ(body["status"], "error");
    EXPECT_EQ(body["errorType"], "bad_data");
    EXPECT_EQ(body["error"], row.error);
  }
  EXPECT_EQ(ask("/api/v1/query_range", {{"query", "up"}, {"start", "0"}, {"end", "11000"}, {"step", "1"}}).status, 200);
}

TEST_F(HttpApiTest, NamesWhatIsNotSupportedWith422) {
  const auto response = ask("/api/v1/query", {{"query", "histogram_stddev(up)"}});
  EXPECT_EQ(response.status, 422);
  EXPECT_EQ(response.body,
            R"({"status":"error","errorType":"execution","error":"function histogram_stddev is not supported yet"})");
}

TEST_F(HttpApiTest, Answers422AtItsLimits) {
  options.limits.series_max = 1;
  EXPECT_EQ(ask("/api/v1/query", {{"query", "up"}}).body,
            R"({"status":"error","errorType":"execution","error":"more than 1 series match"})");
  EXPECT_EQ(ask("/api/v1/series", {{"match[]", "up"}}).status, 422);
  options.limits.series_max = 10;
  options.limits.samples_max = 2;
  EXPECT_EQ(ask("/api/v1/query", {{"query", "up"}}).status, 422);
  options.limits.samples_max = 100;
  options.response_bytes_max = 100;
  const auto response = ask("/api/v1/query", {{"query", "up"}});
  EXPECT_EQ(response.status, 422);
  EXPECT_NE(response.body.find("the answer is longer than 100 bytes"), std::string::npos) << response.body;
}

TEST_F(HttpApiTest, Answers503WhenTheTimeIsUp) {
  clock.tick_us = 600'000;
  options.timeout_ms = 1'000;
  const auto late = ask("/api/v1/query", {{"query", "up"}});
  EXPECT_EQ(late.status, 503);
  EXPECT_EQ(late.body, R"({"status":"error","errorType":"timeout","error":"the query took longer than its timeout"})");
  options.timeout_ms = 10'000;
  EXPECT_EQ(ask("/api/v1/query", {{"query", "up"}}).status, 200);
  EXPECT_EQ(ask("/api/v1/query", {{"query", "up"}, {"timeout", "500ms"}}).status, 503);
}

TEST_F(HttpApiTest, Answers503WhenTooManyAreUnderWayAndRecovers) {
  options.queries_max = 2;
  std::vector<std::function<void()>> tasks;
  HttpApi api(source, clock, options, [&](std::function<void()> task) { tasks.push_back(std::move(task)); });
  std::vector<int> statuses;
  const auto keep_status = [&](const HttpResponse& response) { statuses.push_back(response.status); };
  for (int i = 0; i < 3; ++i) {
    api.handle(request("/api/v1/query", {{"query", "up"}}), keep_status);
  }
  EXPECT_EQ(statuses, std::vector<int>{503});
  ASSERT_EQ(tasks.size(), 2u);
  for (const auto& task : tasks) {
    task();
  }
  tasks.clear();
  EXPECT_EQ(statuses, (std::vector<int>{503, 200, 200}));
  api.handle(request("/api/v1/query", {{"query", "up"}}), keep_status);
  ASSERT_EQ(tasks.size(), 1u);
  tasks[0]();
  EXPECT_EQ(statuses.back(), 200);
  EXPECT_EQ(api.counters().queries, 4u);
  EXPECT_EQ(api.counters().unavailable, 1u);
}

TEST_F(HttpApiTest, LetsAnEvaluationOutliveIt) {
  std::function<void()> task;
  HttpResponse answer;
  {
    HttpApi api(source, clock, options, [&](std::function<void()> given) { task = std::move(given); });
    api.handle(request("/api/v1/query", {{"query", "up"}}),
               [&](HttpResponse response) { answer = std::move(response); });
  }
  task();
  EXPECT_EQ(answer.status, 200);
}

TEST_F(HttpApiTest, WhenTheProgramEndsWhatIsUnderWayIsAnsweredSoon) {
  std::vector<std::function<void()>> tasks;
  std::vector<int> statuses;
  const auto keep_status = [&](const HttpResponse& response) { statuses.push_back(response.status); };
  HttpApi api(source, clock, options, [&](std::function<void()> task) { tasks.push_back(std::move(task)); });
  api.handle(request("/api/v1/query", {{"query", "up"}}), keep_status);
  api.cancel();
  api.handle(request("/api/v1/query", {{"query", "up"}}), keep_status);
  EXPECT_EQ(statuses, std::vector<int>{503});
  ASSERT_EQ(tasks.size(), 1u);
  tasks[0]();
  EXPECT_EQ(statuses, (std::vector<int>{503, 503}));
  EXPECT_EQ(api.counters().unavailable, 2u);
  api.handle(request("/api/v1/labels", {}), keep_status);
  EXPECT_EQ(statuses.back(), 200);
}

// Reading its series takes until somebody opens the gate.
class GatedSource : public SeriesSource {
 public:
  class Cursor : public SeriesCursor {
   public:
    explicit Cursor(GatedSource& owner) : owner_(owner) {}
    Result<std::vector<Sample>> read(uint64_t) override {
      std::unique_lock lock(owner_.mutex);
      ++owner_.reading;
      owner_.changed.notify_all();
      owner_.changed.wait(lock, [&] { return owner_.open; });
      return std::vector<Sample>{{1'699'999'999'000, 1}};
    }

   private:
    GatedSource& owner_;
  };
  Result<Selection> select(const std::vector<Matcher>&, int64_t, int64_t, uint64_t) override {
    Selection selection;
    selection.series.push_back({{{"__name__", "up"}}, std::make_unique<Cursor>(*this)});
    return selection;
  }
  std::mutex mutex;
  std::condition_variable changed;
  int reading = 0;    // guarded by mutex
  bool open = false;  // guarded by mutex
};

// The thread that hands questions over is the one that takes points in: it must never wait for an answer.
TEST_F(HttpApiTest, CostlyQuestionsHoldUpNobodyButEachOtherHoweverManyCome) {
  GatedSource gated;
  std::atomic<int> answered{0}, refused{0};
  OsClock real_clock;
  Workers workers(2);
  HttpApi api(gated, real_clock, options, [&](std::function<void()> task) { workers.run(std::move(task)); });
  for (int i = 0; i < 50; ++i) {
    api.handle(request("/api/v1/query", {{"query", "up"}}),
               [&](const HttpResponse& response) { ++(response.status == 200 ? answered : refused); });
  }
  {
    std::unique_lock lock(gated.mutex);
    gated.changed.wait(lock, [&] { return gated.reading == 2; });  // both threads are held
  }
  EXPECT_EQ(answered, 0);
  EXPECT_EQ(refused, 50 - static_cast<int>(options.queries_max));
  EXPECT_EQ(ask(api, "/api/v1/labels", {}).status, 200);  // the caller's thread goes on
  {
    const std::lock_guard lock(gated.mutex);
    gated.open = true;
  }
  gated.changed.notify_all();
  workers.finish();
  EXPECT_EQ(answered, static_cast<int>(options.queries_max));
}

class FailingSource : public SeriesSource {
 public:
  explicit FailingSource(ErrorCode code) : code_(code) {}
  Result<Selection> select(const std::vector<Matcher>&, int64_t, int64_t, uint64_t) override {
    return fail(code_, "as ordered");
  }

 private:
  ErrorCode code_;
};

TEST_F(HttpApiTest, GivesEachFailureOfTheSourceItsCode) {
  const struct {
    ErrorCode code;
    int status;
    const char* type;
  } kTable[] = {{ErrorCode::kUnavailable, 503, "unavailable"},
                {ErrorCode::kIo, 500, "internal"},
                {ErrorCode::kCorrupt, 500, "internal"},
                {ErrorCode::kFull, 422, "execution"}};
  for (const auto& row : kTable) {
    FailingSource failing(row.code);
    HttpApi api(failing, clock, options);
    for (const auto& [path, parameter] :
         {std::pair{"/api/v1/query", "query"}, std::pair{"/api/v1/series", "match[]"}}) {
      const auto response = ask(api, path, {{parameter, "up"}});
      EXPECT_EQ(response.status, row.status);
      EXPECT_EQ(nlohmann::json::parse(response.body)["errorType"], row.type);
    }
  }
}

TEST_F(HttpApiTest, ListsSeriesLabelsAndValues) {
  EXPECT_EQ(ask("/api/v1/series", {{"match[]", "load1"}, {"match[]", "{site='hall',instance=~'.*8'}"}}).body,
            R"({"status":"success","data":[{"__name__":"load1","instance":"press-7"},)"
            R"({"__name__":"up","instance":"press-8","site":"hall"}]})");
  EXPECT_EQ(ask("/api/v1/labels").body, R"({"status":"success","data":["__name__","instance","site"]})");
  EXPECT_EQ(ask("/api/v1/labels", {{"match[]", "load1"}}).body,
            R"({"status":"success","data":["__name__","instance"]})");
  EXPECT_EQ(ask("/api/v1/label/__name__/values").body, R"({"status":"success","data":["load1","up"]})");
  EXPECT_EQ(ask("/api/v1/label/instance/values", {{"limit", "1"}}).body,
            R"({"status":"success","data":["press-7"],"warnings":["results truncated due to limit"]})");
  EXPECT_EQ(ask("/api/v1/label/none/values").body, R"({"status":"success","data":[]})");
  EXPECT_EQ(ask("/api/v1/labels", {{"end", "1600000000"}}).body, R"({"status":"success","data":[]})");
}

TEST_F(HttpApiTest, SaysWhatItIs) {
  options.version = "1.2.3";
  EXPECT_EQ(nlohmann::json::parse(ask("/api/v1/status/buildinfo").body)["data"]["revision"], "lambda-edge 1.2.3");
  EXPECT_EQ(ask("/api/v1/metadata").body, R"({"status":"success","data":{}})");
  EXPECT_EQ(ask("/api/v1/rules").body, R"({"status":"success","data":{"groups":[]}})");
}

TEST_F(HttpApiTest, CutsAnswersToTheLimitAndSaysSo) {
  const auto body = nlohmann::json::parse(ask("/api/v1/query", {{"query", "up"}, {"limit", "1"}}).body);
  EXPECT_EQ(body["data"]["result"].size(), 1u);
  EXPECT_EQ(body["warnings"][0], "results truncated due to limit");
  EXPECT_EQ(
      nlohmann::json::parse(ask("/api/v1/query", {{"query", "up"}, {"limit", "0"}}).body)["data"]["result"].size(), 2u);
}

TEST_F(HttpApiTest, PassesTheSourcesWarningsOn) {
  source.warn("segment \"7\" is damaged");
  EXPECT_EQ(nlohmann::json::parse(ask("/api/v1/query", {{"query", "up"}}).body)["warnings"],
            nlohmann::json::array({"segment \"7\" is damaged"}));
}

TEST_F(HttpApiTest, RefusesOtherPathsAndMethods) {
  EXPECT_EQ(ask("/api/v1/nothing").status, 404);
  EXPECT_EQ(ask("/api/v1/label//values").status, 404);
  EXPECT_EQ(ask("/api/v1/query", {{"query", "up"}}, "DELETE").status, 405);
  EXPECT_FALSE(HttpApi::serves("/metrics"));
  EXPECT_FALSE(HttpApi::serves("/api/v1/"));
  EXPECT_TRUE(HttpApi::serves("/api/v1/label/job/values"));
}

}  // namespace
}  // namespace lambda::query
