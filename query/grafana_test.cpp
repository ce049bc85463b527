// The requests that Grafana's Prometheus data source sends, byte by byte as it sends them, over a socket: saving it,
// filling the metric browser and a variable, drawing a panel.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "base/os/environment.h"
#include "base/os/log.h"
#include "base/os/loop.h"
#include "base/os/network.h"
#include "base/test_support.h"
#include "query/http_api.h"
#include "query/memory_source.h"

namespace lambda::query {
namespace {

using nlohmann::json;

constexpr int64_t kNowMs = 1'700'000'000'000;

class StoppedClock : public Clock {
 public:
  int64_t utc_ms() const override { return kNowMs; }
  int64_t mono_us() const override { return 0; }
};

class Grafana : public testing::Test {
 protected:
  Grafana() {
    for (const std::string instance : {"press-7", "press-8"}) {
      std::vector<Sample> samples;
      for (int64_t i = 0; i <= 60; ++i) {
        samples.push_back({kNowMs - 600'000 + i * 10'000, static_cast<double>(i * (instance == "press-7" ? 10 : 20))});
      }
      source_.add({{"__name__", "strokes_total"}, {"instance", instance}, {"job", "press"}}, samples);
    }
    auto server = network_.listen_http({}, [this](const HttpRequest& request, HttpServer::Respond respond) {
      api_.handle(request, std::move(respond));
    });
    EXPECT_TRUE(server.has_value());
    server_ = std::move(*server);
  }

  // Sends the request with Grafana's headers; the answer's body, after a look at its status.
  json ask(const std::string& method, const std::string& target, const std::string& form = "", int status = 200) {
    std::string bytes = method + " " + target + " HTTP/1.1\r\nHost: 127.0.0.1:" + std::to_string(server_->port()) +
                        "\r\nUser-Agent: Grafana/10.4.1\r\nX-Grafana-Org-Id: 1\r\nAccept-Encoding: gzip\r\n"
                        "Connection: close\r\n";
    if (method == "POST") {
      bytes +=
          "Content-Length: " + std::to_string(form.size()) + "\r\nContent-Type: application/x-www-form-urlencoded\r\n";
    }
    const std::string answer = exchange(bytes + "\r\n" + form);
    EXPECT_EQ(answer.substr(0, 12), "HTTP/1.1 " + std::to_string(status)) << target << " " << form;
    const size_t body = answer.find("\r\n\r\n");
    const json parsed = json::parse(answer.substr(std::min(answer.size(), body + 4)), nullptr, false);
    EXPECT_FALSE(parsed.is_discarded()) << answer;
    return parsed;
  }

 private:
  std::string exchange(const std::string& request) {
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(server_->port());
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(send(fd, request.data(), request.size(), MSG_NOSIGNAL), static_cast<ssize_t>(request.size()));
    std::string answer;
    bool ended = false;
    run_until(loop_, [&] {
      pollfd waiting{fd, POLLIN, 0};
      while (!ended && poll(&waiting, 1, 0) == 1) {
        char piece[4096];
        const ssize_t got = recv(fd, piece, sizeof piece, 0);
        ended = got <= 0;
        answer.append(piece, got > 0 ? static_cast<size_t>(got) : 0);
      }
      return ended;
    });
    close(fd);
    return answer;
  }

  OsLoop loop_;
  StoppedClock clock_;
  std::unique_ptr<Log> log_ = make_log({}, clock_);
  OsNetwork network_{loop_, *log_};
  MemorySource source_;
  HttpApi api_{source_, clock_, {}};
  std::unique_ptr<HttpServer> server_;
};

TEST_F(Grafana, SavesTheDataSource) {
  EXPECT_EQ(ask("POST", "/api/v1/query", "query=1%2B1&time=1700000000"),
            json::parse(R"({"status":"success","data":{"resultType":"scalar","result":[1700000000,"2"]}})"));
  EXPECT_EQ(ask("GET", "/api/v1/query?query=1%2B1&time=1700000000")["data"]["result"][1], "2");
  // It picks the interface it may use by this.
  const json build = ask("GET", "/api/v1/status/buildinfo")["data"];
  EXPECT_EQ(build["version"], "3.0.0");
  EXPECT_TRUE(build.contains("revision"));
}

TEST_F(Grafana, FillsTheMetricBrowser) {
  const std::string hour = "start=1699996400&end=1700000000";
  const json names = json::array({"strokes_total"});
  EXPECT_EQ(ask("GET", "/api/v1/label/__name__/values?" + hour)["data"], names);
  EXPECT_EQ(ask("GET", "/api/v1/label/__name__/values?match%5B%5D=%7Bjob%3D%22press%22%7D&" + hour)["data"], names);
  EXPECT_EQ(ask("GET", "/api/v1/labels?" + hour)["data"], json::array({"__name__", "instance", "job"}));
  EXPECT_EQ(ask("POST", "/api/v1/labels", hour + "&match%5B%5D=strokes_total")["data"],
            json::array({"__name__", "instance", "job"}));
  EXPECT_EQ(ask("GET", "/api/v1/metadata?limit=1000")["data"], json::object());
  EXPECT_EQ(ask("GET", "/api/v1/metadata?metric=strokes_total")["status"], "success");
  EXPECT_EQ(ask("GET", "/api/v1/rules")["data"], json::parse(R"({"groups":[]})"));
  EXPECT_EQ(ask("GET", "/api/v1/alerts")["data"], json::parse(R"({"alerts":[]})"));
}

TEST_F(Grafana, FillsAVariable) {
  const std::string hour = "&start=1699996400&end=1700000000";
  EXPECT_EQ(ask("GET", "/api/v1/label/instance/values?match%5B%5D=strokes_total%7B%7D" + hour)["data"],
            json::array({"press-7", "press-8"}));
  EXPECT_EQ(ask("GET", "/api/v1/label/instance/values?match%5B%5D=up" + hour)["data"], json::array());
  const json series = ask("POST", "/api/v1/series", "match%5B%5D=strokes_total%7Binstance%3D~%22.*7%22%7D" + hour);
  EXPECT_EQ(series["data"], json::parse(R"([{"__name__":"strokes_total","instance":"press-7","job":"press"}])"));
  const json result = ask("POST", "/api/v1/query", "query=query_result%28up%29&time=1700000000", 400);
  EXPECT_EQ(result["errorType"], "bad_data");
}

TEST_F(Grafana, DrawsAPanelByPostAndByGet) {
  const std::string question =
      "end=1700000000&query=sum+by+%28instance%29+%28rate%28strokes_total%7Bjob%3D%22press%22%7D%5B1m0s%5D%29%29"
      "&start=1699999940&step=15";
  const json by_post = ask("POST", "/api/v1/query_range", question);
  EXPECT_EQ(by_post["data"]["resultType"], "matrix");
  ASSERT_EQ(by_post["data"]["result"].size(), 2u);
  const json& first = by_post["data"]["result"][0];
  EXPECT_EQ(first["metric"], json::parse(R"({"instance":"press-7"})"));
  ASSERT_EQ(first["values"].size(), 5u);
  EXPECT_EQ(first["values"][0], json::parse(R"([1699999940,"1"])"));
  EXPECT_EQ(first["values"][4], json::parse(R"([1700000000,"1"])"));
  EXPECT_EQ(by_post, ask("GET", "/api/v1/query_range?" + question));
}

TEST_F(Grafana, IsToldWhatIsWrongWithAPanel) {
  const json wrong = ask("POST", "/api/v1/query_range", "query=sum%28&start=1699999940&end=1700000000&step=15", 400);
  EXPECT_EQ(wrong["status"], "error");
  EXPECT_EQ(wrong["errorType"], "bad_data");
  EXPECT_NE(wrong["error"].get<std::string>().find("1:5: parse error"), std::string::npos) << wrong;
  EXPECT_EQ(ask("POST", "/api/v1/query_range", "query=up&start=0&end=1700000000&step=15", 400)["errorType"],
            "bad_data");
  EXPECT_EQ(ask("POST", "/api/v1/query", "query=strokes_total%2Bon%28job%29strokes_total", 422)["errorType"],
            "execution");
  // A hint that is shown beside the panel.
  const json quantile = ask("POST", "/api/v1/query", "query=quantile%282%2C+strokes_total%29&time=1700000000");
  EXPECT_EQ(quantile["warnings"][0], "PromQL warning: quantile value should be between 0 and 1, got 2 (1:10)");
}

TEST_F(Grafana, AsksForExemplarsOfWhichThereAreNone) {
  const std::string question = "query=strokes_total&start=1699999940&end=1700000000";
  EXPECT_EQ(ask("POST", "/api/v1/query_exemplars", question)["data"], json::array());
  EXPECT_EQ(ask("GET", "/api/v1/query_exemplars?" + question)["data"], json::array());
}

TEST_F(Grafana, FormatsAQuestion) {
  EXPECT_EQ(ask("GET", "/api/v1/format_query?query=sum%28rate%28x%5B60s%5D%29%29by%28a%29")["data"],
            "sum by (a) (rate(x[1m]))");
  EXPECT_EQ(ask("POST", "/api/v1/format_query", "query=a%2Bb")["data"], "a + b");
  EXPECT_EQ(ask("POST", "/api/v1/format_query", "query=a%2B", 400)["errorType"], "bad_data");
}

}  // namespace
}  // namespace lambda::query
