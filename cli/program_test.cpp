// Runs `lambda` itself: its output, its exit status, against golden blocks and a real server.
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "base/os/log.h"
#include "base/os/loop.h"
#include "base/os/network.h"
#include "cli/test_world.h"
#include "query/http_api.h"
#include "query/memory_source.h"

namespace lambda::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::string quote(const std::string& text) {
  return "'" + text + "'";
}

// What the text beside a golden block says.
struct Golden {
  std::string error;
  std::vector<std::pair<std::string, std::string>> points;  // time, bits
};
Golden read_golden(const fs::path& text_file) {
  Golden golden;
  std::ifstream in(text_file);
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string word, time, bits;
    words >> word;
    if (word == "error") {
      words >> golden.error;
    } else if (word == "point" && words >> time >> bits) {
      golden.points.emplace_back(time, bits);
    }
  }
  return golden;
}

TEST(Program, ShowsEveryGoldenBlockAndRefusesEveryMalformedOneByName) {
  int good = 0;
  int bad = 0;
  for (const auto& entry : fs::directory_iterator(LAMBDA_SOURCE_DIR "/proto/vectors/block")) {
    if (entry.path().extension() != ".bin") {
      continue;
    }
    SCOPED_TRACE(entry.path());
    const Golden golden = read_golden(fs::path(entry.path()).replace_extension(".txt"));
    const Ran cat = run("--json block cat " + quote(entry.path()));
    const Ran csv = run("block cat " + quote(entry.path()));
    const Ran stat = run("block stat --json " + quote(entry.path()));
    const json answer = json::parse(cat.out, nullptr, false);
    if (golden.error == "none") {
      ++good;
      ASSERT_EQ(cat.status, 0);
      ASSERT_EQ(answer.size(), golden.points.size());
      for (size_t i = 0; i < answer.size(); ++i) {
        EXPECT_EQ(std::to_string(answer[i]["timestamp_ms"].get<int64_t>()), golden.points[i].first);
        EXPECT_EQ(answer[i]["bits"], golden.points[i].second);
      }
      EXPECT_EQ(csv.status, 0);
      EXPECT_EQ(static_cast<size_t>(std::ranges::count(csv.out, '\n')), golden.points.size() + 1);
      EXPECT_EQ(stat.status, 0);
      EXPECT_EQ(json::parse(stat.out)["count"], golden.points.size());
    } else {
      ++bad;
      EXPECT_EQ(cat.status, 1);
      const std::string error = answer["error"];
      EXPECT_NE(error.find("not a good block: " + golden.error + ", noticed at byte "), std::string::npos) << error;
      EXPECT_EQ(csv.status, 1);
      EXPECT_EQ(csv.out, "");
      EXPECT_EQ(stat.status, 1);
    }
  }
  EXPECT_GE(good, 10);
  EXPECT_GE(bad, 20);
}

TEST(Program, PrintsABlockAsCsv) {
  const std::string example = LAMBDA_SOURCE_DIR "/proto/vectors/block/example.bin";
  const Ran plain = run("block cat " + example);
  EXPECT_EQ(plain.out,
            "timestamp_ms,value\n1700000000000,21.5\n1700000001000,21.5\n1700000002000,21.75\n"
            "1700000003001,21.75\n1700000004001,22\n");
  const Ran with_ordinals = run("block cat --ordinals " + example);
  EXPECT_EQ(with_ordinals.out.substr(0, 57), "ordinal,timestamp_ms,value\n100,1700000000000,21.5\n101,170");
}

TEST(Program, ReadsABlockWrittenInHexadecimal) {
  std::ifstream in(LAMBDA_SOURCE_DIR "/proto/vectors/block/dec.bin", std::ios::binary);
  std::string text;
  for (int byte = in.get(); byte != EOF; byte = in.get()) {
    char digits[4];
    std::snprintf(digits, sizeof digits, "%02x%s", byte, text.size() % 3 == 0 ? "\n" : " ");
    text += digits;
  }
  const fs::path file = fs::path(testing::TempDir()) / ("block-" + std::to_string(::getpid()) + ".hex");
  std::ofstream(file) << text;
  const Ran ran = run("block cat --hex " + quote(file));
  EXPECT_EQ(ran.out, run("block cat " LAMBDA_SOURCE_DIR "/proto/vectors/block/dec.bin").out);
  EXPECT_NE(ran.out.find(",21.37\n"), std::string::npos) << ran.out;
  std::ofstream(file) << "no digits";
  EXPECT_EQ(run("block cat --hex " + quote(file)).status, 1);
  fs::remove(file);
}

TEST(Program, ExitsAsItsHelpSays) {
  EXPECT_EQ(run("--help").status, 0);
  EXPECT_NE(run("--help").out.find("Exit status: 0 done; 1 refused"), std::string::npos);
  EXPECT_EQ(run("--version").out, "lambda " LAMBDA_VERSION "\n");
  EXPECT_EQ(run("query --help").status, 0);
  for (const char* wrong :
       {"", "nothing", "query", "query up --step", "query up --nothing", "block", "block cat", "query up --timeout 0",
        "query up --time now --start now", "query up --gateway a --agent b"}) {
    EXPECT_EQ(run(wrong).status, 2) << wrong;
  }
  EXPECT_EQ(run("block cat /nonexistent").status, 1);
  EXPECT_EQ(run("query up --gateway ftp://x").status, 1);
  EXPECT_EQ(run("query up --gateway http://127.0.0.1:1").status, 3);
  EXPECT_TRUE(json::parse(run("--json query up --gateway http://127.0.0.1:1").out).contains("error"));
}

TEST(Program, DoesNotCallAFullDiskASuccess) {
  EXPECT_EQ(run("block cat " LAMBDA_SOURCE_DIR "/proto/vectors/block/example.bin > /dev/full").status, 1);
}

// Prometheus' interface over a source in memory, on a free port, on a thread of its own.
class RunningApi {
 public:
  RunningApi() : log_(make_log({.level = LogLevel::kError}, clock_)), network_(loop_, *log_) {
    source.add({{"__name__", "up"}, {"instance", "press-7"}}, clock_.utc_ms() - 1'000, 0.5);
    HttpOptions options;
    options.token = "secret";
    server_ =
        network_
            .listen_http(options, [this](const HttpRequest& request,
                                         HttpServer::Respond respond) { api_.handle(request, std::move(respond)); })
            .value();
    thread_ = std::thread([this] { loop_.run(); });
  }
  ~RunningApi() {
    loop_.stop();
    thread_.join();
  }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(server_->port()); }

  query::MemorySource source;

 private:
  OsClock clock_;
  OsLoop loop_;
  std::unique_ptr<Log> log_;
  OsNetwork network_;
  query::HttpApi api_{source, clock_, {}};
  std::unique_ptr<HttpServer> server_;
  std::thread thread_;
};

TEST(Program, AsksARunningServer) {
  RunningApi api;
  const std::string to = " --token secret --gateway " + api.url();
  const Ran table = run("query 'up{instance=~\"press-.+\"}'" + to);
  EXPECT_EQ(table.status, 0);
  EXPECT_EQ(table.out, "SERIES                  VALUE\nup{instance=\"press-7\"}  0.5\n");
  const Ran range = run("--json query up --start now-1m --step 1s" + to);
  EXPECT_EQ(range.status, 0);
  EXPECT_EQ(json::parse(range.out)["data"]["result"][0]["metric"]["instance"], "press-7");
  EXPECT_EQ(run("query 'up{'" + to).status, 1);
  EXPECT_EQ(run("query up --token wrong --gateway " + api.url()).status, 1);
  EXPECT_EQ(run("devices --token wrong --gateway " + api.url()).status, 1);
  EXPECT_EQ(run("devices --gateway http://127.0.0.1:1").status, 3);
  EXPECT_EQ(run("query up --agent " + api.url() + " --token secret").status, 0);
}

}  // namespace
}  // namespace lambda::cli
