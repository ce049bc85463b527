// The same series and the same questions to us and to Debian's Prometheus 2.42: the answers must agree. That version's
// windows are closed on their old side and Prometheus 3's are open, so no window's edge lies on a sample.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <random>

#include "query/http_api.h"
#include "query/labels.h"
#include "query/memory_source.h"
#include "query/number.h"
#include "tests/peers/prometheus_peer.h"
#include "tests/peers/promql_expressions.h"

namespace lambda::peers {
namespace {

using nlohmann::json;
using query::Labels;
using query::ResultSeries;
using query::Sample;

constexpr int64_t kFirstMs = 1'700'000'003'100;  // of the samples, one each 15 s
constexpr int64_t kStepMs = 15'000;
constexpr int kSamples = 160;  // 40 minutes
constexpr double kRelativeErrorMax = 1e-9;

// Makes the series. Counters have no gaps: where a window begins far from its first sample, Prometheus 2 and 3 bound
// the extrapolation to zero in another order.
class World {
 public:
  explicit World(uint32_t seed) : random_(seed) {
    for (const char* instance : {"a", "b", "c"}) {
      add({{"__name__", "up"}, {"instance", instance}}, [&](int i) { return i % 37 == 5 ? 0.0 : 1.0; });
      add({{"__name__", "build"}, {"instance", instance}, {"version", std::string("v") + instance}},
          [](int) { return 1.0; });
      for (const char* code : {"200", "500"}) {
        add_counter({{"__name__", "requests_total"}, {"instance", instance}, {"path", "/"}, {"code", code}}, 20, true);
        add_counter({{"__name__", "requests_total"}, {"instance", instance}, {"path", "/x"}, {"code", code}}, 3, false);
      }
      add_histogram("latency_seconds", {"0.1", "0.25", "0.5", "1", "2.5", "+Inf"}, instance);
      add_histogram("request_time", exponential_bounds(), instance);
    }
    const char* rooms[] = {"hall", "attic", "hall", "cellar", "attic"};
    for (int sensor = 0; sensor < 5; ++sensor) {
      add({{"__name__", "temperature"}, {"sensor", std::to_string(sensor)}, {"room", rooms[sensor]}},
          [&](int i) { return 20 + sensor + 4 * std::sin(i / 9.0 + sensor) + uniform(); });
    }
    add({{"__name__", "limit"}, {"room", "hall"}}, [](int) { return 22.0; });
    add({{"__name__", "limit"}, {"room", "attic"}}, [](int) { return 25.5; });
    for (int n = 0; n < 3; ++n) {  // silent for longer than anybody looks back
      add({{"__name__", "sparse"}, {"n", std::to_string(n)}},
          [&](int i) { return (i / 25 + n) % 2 == 0 ? std::optional(i * 1.5) : std::nullopt; });
      add({{"__name__", "steps"}, {"instance", std::to_string(n)}}, [&](int i) { return std::floor(i / (7.0 + n)); });
      add({{"__name__", "extreme"}, {"n", std::to_string(n)}},
          [&](int i) { return (i % 2 == 0 ? 1e308 : -1e-308) * (n + 0.5); });
    }
    add({{"__name__", "odd"}, {"n", "nan"}}, [](int i) { return i % 4 == 0 ? std::nan("") : i; });
    add({{"__name__", "odd"}, {"n", "inf"}}, [](int i) { return i % 5 == 0 ? INFINITY : -i; });
    add({{"__name__", "odd"}, {"n", "both"}}, [](int i) {
      return i % 6 == 0 ? -INFINITY : i % 6 == 1 ? std::nan("") : 2;
    });
    add({{"__name__", "odd"}, {"n", "plain"}}, [](int) { return 5.0; });
    add({{"__name__", "moments"}, {"of", "leaps"}}, [](int i) { return 951'700'000.0 + i * 86'400.0 * 9; });
    add({{"__name__", "moments"}, {"of", "old"}}, [](int i) { return -3e9 + i * 1e7 + 0.7; });
  }

  const std::vector<ResultSeries>& series() const { return series_; }

 private:
  double uniform() { return std::uniform_real_distribution<double>(0, 1)(random_); }

  template <class Value>
  void add(std::vector<std::pair<std::string, std::string>> labels, Value value) {
    ResultSeries series{query::sorted_labels(std::move(labels)), {}};
    for (int i = 0; i < kSamples; ++i) {
      if (const std::optional<double> sample = value(i)) {
        series.samples.push_back({kFirstMs + i * kStepMs, *sample});
      }
    }
    series_.push_back(std::move(series));
  }

  void add_counter(std::vector<std::pair<std::string, std::string>> labels, double increase_max, bool resets) {
    double count = 1000;
    add(std::move(labels), [&, count](int) mutable {
      count = resets && uniform() < 0.02 ? std::floor(uniform() * 5) : count + std::floor(uniform() * increase_max);
      return count;
    });
  }

  void add_histogram(const std::string& name, const std::vector<std::string>& bounds, const std::string& instance) {
    const size_t size = bounds.size();
    std::vector<std::vector<double>> counts(kSamples, std::vector<double>(size));
    std::vector<double> running(size, 100);
    for (auto& row : counts) {
      for (double& bucket : running) {
        bucket += std::floor(uniform() * 6);
      }
      double below = 0;
      for (size_t i = 0; i < size; ++i) {
        row[i] = below += running[i];
      }
    }
    for (size_t bound = 0; bound < size; ++bound) {
      add({{"__name__", name + "_bucket"}, {"instance", instance}, {"le", bounds[bound]}},
          [&](int i) { return counts[static_cast<size_t>(i)][bound]; });
    }
    add({{"__name__", name + "_count"}, {"instance", instance}},
        [&](int i) { return counts[static_cast<size_t>(i)].back(); });
    add({{"__name__", name + "_sum"}, {"instance", instance}},
        [&](int i) { return counts[static_cast<size_t>(i)].back() * 0.37; });
  }

  // As a StatsD timer is told: eight buckets to a doubling, where there are values.
  static std::vector<std::string> exponential_bounds() {
    std::vector<std::string> bounds;
    for (const int eighths : {-9, -8, 0, 1, 2, 3, 11, 12, 40, 41}) {
      bounds.push_back(query::format_number(std::exp2(eighths / 8.0)));
    }
    bounds.push_back("+Inf");
    return bounds;
  }

  std::mt19937 random_;
  std::vector<ResultSeries> series_;
};

class StoppedClock : public Clock {
 public:
  int64_t utc_ms() const override { return kFirstMs + kSamples * kStepMs; }
  int64_t mono_us() const override { return 0; }
};

bool same_value(const json& a, const json& b) {
  const double x = std::strtod(a.get<std::string>().c_str(), nullptr);
  const double y = std::strtod(b.get<std::string>().c_str(), nullptr);
  if (std::isnan(x) || std::isnan(y) || x == y) {
    return std::isnan(x) == std::isnan(y);
  }
  return std::fabs(x - y) <= kRelativeErrorMax * (std::fabs(x) + std::fabs(y)) || std::fabs(x - y) < 1e-12;
}

bool same_sample(const json& a, const json& b) {
  return a[0].get<double>() == b[0].get<double>() && same_value(a[1], b[1]);
}

// By labels, unless the order is part of the answer.
json ordered(json result, bool keep) {
  if (!keep) {
    std::sort(result.begin(), result.end(),
              [](const json& a, const json& b) { return a["metric"].dump() < b["metric"].dump(); });
  }
  return result;
}

bool same_data(const json& ours, const json& theirs, bool keep_order) {
  if (ours["resultType"] != theirs["resultType"]) {
    return false;
  }
  const std::string type = ours["resultType"];
  if (type == "string") {
    return ours["result"] == theirs["result"];
  }
  if (type == "scalar") {
    return same_sample(ours["result"], theirs["result"]);
  }
  const json a = ordered(ours["result"], keep_order);
  const json b = ordered(theirs["result"], keep_order);
  const char* key = type == "vector" ? "value" : "values";
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [&](const json& x, const json& y) {
    if (x["metric"] != y["metric"]) {
      return false;
    }
    return type == "vector" ? same_sample(x[key], y[key])
                            : std::equal(x[key].begin(), x[key].end(), y[key].begin(), y[key].end(), same_sample);
  });
}

class PromqlPeer : public testing::Test {
 protected:
  void SetUp() override {
    if (!prometheus_installed()) {
      GTEST_SKIP() << "SKIPPED: prometheus and promtool are not installed (./dev setup), nothing was compared";
    }
    char folder[] = "/tmp/promql_peer.XXXXXX";
    ASSERT_NE(mkdtemp(folder), nullptr);
    folder_ = folder;
    std::printf("seed %u\n", kSeed);
    const World world(kSeed);
    for (const ResultSeries& series : world.series()) {
      source_.add(series.labels, series.samples);
    }
    peer_ = std::make_unique<PrometheusPeer>(folder_);
    const auto started = peer_->start(world.series());
    ASSERT_TRUE(started.has_value()) << started.error().text;
  }
  void TearDown() override {
    peer_.reset();
    if (!folder_.empty()) {
      std::filesystem::remove_all(folder_);
    }
  }

  HttpResponse ask_us(const std::string& path, std::multimap<std::string, std::string> parameters) {
    HttpRequest request;
    request.method = "POST";
    request.path = path;
    request.parameters = std::move(parameters);
    HttpResponse answer;
    api_.handle(request, [&](HttpResponse response) { answer = std::move(response); });
    return answer;
  }

  // Asks both; a difference is a failure.
  void compare(const std::string& path, const std::multimap<std::string, std::string>& parameters) {
    const auto theirs = peer_->ask(path, parameters);
    ASSERT_TRUE(theirs.has_value()) << theirs.error().text;
    const HttpResponse ours = ask_us(path, parameters);
    const std::string& question = parameters.find("query")->second;
    const bool keep_order =
        path.ends_with("/query") &&
        (question.starts_with("sort") || question.starts_with("topk(") || question.starts_with("bottomk("));
    ++compared_;
    if (ours.status != 200 || theirs->status != 200) {
      EXPECT_EQ(ours.status, theirs->status) << question << "\n" << ours.body << "\n" << theirs->body;
      EXPECT_EQ(json::parse(ours.body)["errorType"], json::parse(theirs->body)["errorType"]) << question;
      return;
    }
    EXPECT_TRUE(same_data(json::parse(ours.body)["data"], json::parse(theirs->body)["data"], keep_order))
        << path << " " << question << "\nours   " << ours.body.substr(0, 2000) << "\ntheirs "
        << theirs->body.substr(0, 2000);
  }

  static constexpr uint32_t kSeed = 20231114;
  std::string folder_;
  std::unique_ptr<PrometheusPeer> peer_;
  StoppedClock clock_;
  query::MemorySource source_;
  query::HttpApi api_{source_, clock_, {}};
  int compared_ = 0;
};

TEST_F(PromqlPeer, AgreesOnEveryExpression) {
  static_assert(std::size(kExpressions) >= 150);
  for (const char* expression : kExpressions) {
    compare("/api/v1/query", {{"query", expression}, {"time", "1700001207.3"}});
    compare("/api/v1/query", {{"query", expression}, {"time", "1700000451.7"}});
    compare("/api/v1/query_range",
            {{"query", expression}, {"start", "1700000300.3"}, {"end", "1700002300.3"}, {"step", "37"}});
  }
  EXPECT_EQ(compared_, static_cast<int>(3 * std::size(kExpressions)));
}

TEST_F(PromqlPeer, AgreesOnWhatThereIs) {
  const std::pair<std::string, std::string> start{"start", "1700000000"};
  const std::pair<std::string, std::string> end{"end", "1700002500"};
  const struct {
    const char* path;
    const char* match;
  } kRows[] = {{"/api/v1/labels", nullptr},
               {"/api/v1/labels", "temperature"},
               {"/api/v1/series", "{room=~\"h.+\"}"},
               {"/api/v1/series", "nothing"}};
  for (const auto& row : kRows) {
    std::multimap<std::string, std::string> parameters{start, end};
    if (row.match != nullptr) {
      parameters.emplace("match[]", row.match);
    }
    const auto theirs = peer_->ask(row.path, parameters);
    ASSERT_TRUE(theirs.has_value()) << theirs.error().text;
    EXPECT_EQ(json::parse(ask_us(row.path, parameters).body)["data"], json::parse(theirs->body)["data"]) << row.path;
  }
}

}  // namespace
}  // namespace lambda::peers
