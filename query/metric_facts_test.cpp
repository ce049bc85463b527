#include "query/metric_facts.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "query/http_api.h"
#include "query/memory_source.h"

namespace lambda::query {
namespace {

TEST(MetricFacts, OfADeclarationAreKnownAsFarAsItGoes) {
  MetricFactsByName facts;
  add_declared(facts, "node_load1", false, "");
  add_declared(facts, "node_memory_MemTotal_bytes", false, "bytes");
  add_declared(facts, "shop_orders_total", true, "");
  add_declared(facts, "shop_queue", false, "1");
  EXPECT_EQ(facts["node_load1"].type, "gauge");
  EXPECT_FALSE(facts["node_load1"].help.empty());
  EXPECT_EQ(facts["node_memory_MemTotal_bytes"].unit, "bytes");
  EXPECT_FALSE(facts["node_memory_MemTotal_bytes"].help.empty());
  EXPECT_EQ(facts["shop_orders_total"].type, "counter");
  EXPECT_EQ(facts["shop_orders_total"].help, "");
  EXPECT_EQ(facts["shop_queue"].type, "unknown") << "a client that says nothing declares a gauge";
  EXPECT_EQ(facts["shop_queue"].unit, "1");
  add_declared(facts, "shop_queue", true, "2");
  EXPECT_EQ(facts["shop_queue"].unit, "1") << "what is known stands";
}

TEST(MetricBook, KeepsWhatWasSaidLastWithinItsBounds) {
  MetricBook book(2);
  book.note("http_seconds", "histogram", "Time.", "seconds");
  book.note("jobs", "untyped", "", "");
  book.note("more", "gauge", "", "");
  EXPECT_EQ(book.facts().size(), 2u);
  EXPECT_EQ(book.left_out(), 1u);
  EXPECT_EQ(book.facts().find("jobs")->second.type, "unknown");
  book.note("jobs", "gauge", std::string(511, 'x') + "\xc3\xa9", "");
  EXPECT_EQ(book.facts().find("jobs")->second.type, "gauge");
  EXPECT_EQ(book.facts().find("jobs")->second.help, std::string(511, 'x')) << "not within a character";
  EXPECT_TRUE(book.covers("http_seconds_bucket"));
  EXPECT_TRUE(book.covers("http_seconds"));
  EXPECT_FALSE(book.covers("http_seconds_other"));
  EXPECT_FALSE(book.covers("http"));
}

class MetadataTest : public testing::Test {
 protected:
  nlohmann::json ask(std::multimap<std::string, std::string> parameters, int status = 200) {
    HttpApi api(source, clock, options);
    HttpRequest request;
    request.method = "GET";
    request.path = "/api/v1/metadata";
    request.parameters = std::move(parameters);
    HttpResponse answer;
    api.handle(request, [&](HttpResponse response) { answer = std::move(response); });
    EXPECT_EQ(answer.status, status) << answer.body;
    return nlohmann::json::parse(answer.body);
  }
  struct Stopped final : Clock {
    int64_t utc_ms() const override { return 0; }
    int64_t mono_us() const override { return 0; }
  } clock;
  MemorySource source;
  HttpApiOptions options;
};

TEST_F(MetadataTest, IsAnsweredAsPrometheusDoes) {
  EXPECT_EQ(ask({})["data"], nlohmann::json::object()) << "nothing is known of any metric";
  options.metadata = [] {
    return MetricFactsByName{{"a", {"counter", "What \"it\"\nis.", "seconds"}}, {"b", {}}, {"c", {"gauge", "", ""}}};
  };
  const auto all = ask({});
  EXPECT_EQ(all["status"], "success");
  EXPECT_EQ(all["data"].dump(),
            R"({"a":[{"help":"What \"it\"\nis.","type":"counter","unit":"seconds"}],)"
            R"("b":[{"help":"","type":"unknown","unit":""}],"c":[{"help":"","type":"gauge","unit":""}]})");
  EXPECT_EQ(ask({{"limit", "2"}})["data"].size(), 2u);
  EXPECT_EQ(ask({{"limit", "0"}})["data"].size(), 3u);
  const auto one = ask({{"metric", "b"}});
  EXPECT_EQ(one["data"].size(), 1u);
  EXPECT_TRUE(one["data"].contains("b"));
  EXPECT_EQ(ask({{"metric", "nobody"}})["data"], nlohmann::json::object());
  EXPECT_EQ(ask({{"limit", "x"}}, 400)["errorType"], "bad_data");
}

}  // namespace
}  // namespace lambda::query
