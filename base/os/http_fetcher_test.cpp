// Pages of servers that are good, slow, long, broken and absent.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <fstream>
#include <optional>
#include <thread>

#include "base/os/log.h"
#include "base/os/network.h"
#include "base/os/random.h"
#include "base/test_support.h"

namespace lambda {
namespace {

std::string gzip(const std::string& text) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 9, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string in = text, out(text.size() / 100 + 1000, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(in.data());
  stream.avail_in = static_cast<uInt>(in.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

std::string answer_of(const std::string& body, const std::string& headers = "") {
  return "HTTP/1.1 200 OK\r\n" + headers + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

// Gives everyone who asks the same bytes; then the end, or silence until it is destroyed.
class CannedServer {
 public:
  explicit CannedServer(std::string bytes, bool hangs = false) : bytes_(std::move(bytes)), hangs_(hangs) {
    listener_ = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    EXPECT_EQ(bind(listener_, reinterpret_cast<sockaddr*>(&address), length), 0);
    EXPECT_EQ(listen(listener_, 8), 0);
    getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~CannedServer() {
    shutdown(listener_, SHUT_RDWR);
    thread_.join();
    close(listener_);
    for (const int fd : held_) close(fd);
  }
  std::string url(const std::string& path = "/metrics") const {
    return "http://127.0.0.1:" + std::to_string(port_) + path;
  }

 private:
  void serve() {
    for (;;) {
      const int fd = accept(listener_, nullptr, nullptr);
      if (fd < 0) return;
      std::string asked;
      char piece[4096];
      while (asked.find("\r\n\r\n") == std::string::npos) {
        const ssize_t got = recv(fd, piece, sizeof piece, 0);
        if (got <= 0) break;
        asked.append(piece, static_cast<size_t>(got));
      }
      size_t sent = 0;
      while (sent < bytes_.size()) {
        const ssize_t now = send(fd, bytes_.data() + sent, bytes_.size() - sent, MSG_NOSIGNAL);
        if (now <= 0) break;
        sent += static_cast<size_t>(now);
      }
      if (hangs_) {
        held_.push_back(fd);
      } else {
        close(fd);
      }
    }
  }

  const std::string bytes_;
  const bool hangs_;
  int listener_ = -1;
  uint16_t port_ = 0;
  std::vector<int> held_;
  std::thread thread_;
};

struct HttpFetcherTest : ::testing::Test {
  Result<HttpPage> get(const std::string& url, int64_t timeout_ms = 20'000, uint64_t body_bytes_max = 1u << 20) {
    HttpFetch fetch;
    fetch.url = url;
    fetch.timeout_ms = timeout_ms;
    fetch.body_bytes_max = body_bytes_max;
    return get(std::move(fetch));
  }
  Result<HttpPage> get(HttpFetch fetch) {
    std::optional<Result<HttpPage>> outcome;
    fetcher->get(std::move(fetch), [&](Result<HttpPage> page) { outcome = std::move(page); });
    EXPECT_FALSE(outcome.has_value()) << "inside the call";
    run_until(loop, [&] { return outcome.has_value(); });
    return outcome.has_value() ? std::move(*outcome) : fail(ErrorCode::kIo, "nothing came of it");
  }

  OsLoop loop;
  OsClock clock;
  std::unique_ptr<Log> log = make_log({.level = LogLevel::kError}, clock);
  OsNetwork network{loop, *log};
  std::unique_ptr<HttpFetcher> fetcher = network.http_fetcher();
};

TEST_F(HttpFetcherTest, AsksWithTheUrlsOwnPathItsQueryTheHeadersAndTheToken) {
  std::optional<HttpRequest> seen;
  auto server = network.listen_http({}, [&](const HttpRequest& request, const HttpServer::Respond& respond) {
    seen = request;
    respond({200, "text/plain; version=0.0.4", "up 1\n"});
  });
  ASSERT_TRUE(server);
  HttpFetch fetch;
  fetch.url = "http://localhost:" + std::to_string((*server)->port()) + "/probe/?target=a%20b&module=x";
  fetch.headers = {{"Accept", "text/plain"}};
  fetch.token = "secret";
  const auto page = get(std::move(fetch));
  ASSERT_TRUE(page) << page.error().text;
  EXPECT_EQ(page->status, 200);
  EXPECT_EQ(page->content_type, "text/plain; version=0.0.4");
  EXPECT_EQ(page->body, "up 1\n");
  ASSERT_TRUE(seen);
  EXPECT_EQ(seen->path, "/probe/");
  EXPECT_EQ(seen->parameters.find("target")->second, "a b");
  EXPECT_EQ(seen->headers["accept"], "text/plain");
  EXPECT_EQ(seen->headers["accept-encoding"], "gzip");
  EXPECT_EQ(seen->headers["authorization"], "Bearer secret");
}

TEST_F(HttpFetcherTest, APosterSendsItsBodyAsItIsAndHandsOverWhatIsAnswered) {
  std::optional<HttpRequest> seen;
  auto server = network.listen_http({}, [&](const HttpRequest& request, const HttpServer::Respond& respond) {
    seen = request;
    respond({422, "text/plain", "no"});
  });
  ASSERT_TRUE(server);
  HttpFetch fetch;
  fetch.url = "http://127.0.0.1:" + std::to_string((*server)->port()) + "/hook?a=1";
  fetch.headers = {{"Idempotency-Key", "7"}};
  fetch.timeout_ms = 20'000;
  const auto poster = make_beast_poster(loop);
  std::optional<Result<HttpPage>> outcome;
  poster->post(fetch, "application/json", "{\"x\":1}", [&](Result<HttpPage> page) { outcome = std::move(page); });
  EXPECT_FALSE(outcome.has_value()) << "inside the call";
  run_until(loop, [&] { return outcome.has_value(); });
  ASSERT_TRUE(outcome && *outcome && seen);
  EXPECT_EQ((*outcome)->status, 422);
  EXPECT_EQ(seen->method, "POST");
  EXPECT_EQ(seen->path, "/hook");
  EXPECT_EQ(seen->body, "{\"x\":1}");
  EXPECT_EQ(seen->headers["content-type"], "application/json");
  EXPECT_EQ(seen->headers["idempotency-key"], "7");
}

TEST_F(HttpFetcherTest, UnpacksWhatIsPackedAndRefusesAnUnknownPacking) {
  CannedServer packed(answer_of(gzip("a 1\n"), "Content-Encoding: gzip\r\n"));
  const auto page = get(packed.url());
  ASSERT_TRUE(page) << page.error().text;
  EXPECT_EQ(page->body, "a 1\n");
  CannedServer lying(answer_of("a 1\n", "Content-Encoding: gzip\r\n"));
  EXPECT_EQ(get(lying.url()).error().code, ErrorCode::kInvalid);
  CannedServer odd(answer_of("a 1\n", "Content-Encoding: br\r\n"));
  EXPECT_EQ(get(odd.url()).error().text, "the answer is packed with br, which was not asked for");
}

TEST_F(HttpFetcherTest, ALongAnswerIsRefusedWhetherItIsSaidSentOrPacked) {
  const std::string body(50'000, 'x');
  CannedServer said("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n", true);
  EXPECT_EQ(get(said.url(), 20'000, 40'000).error().code, ErrorCode::kFull);
  CannedServer sent("HTTP/1.1 200 OK\r\n\r\n" + body);  // without a length: until the end
  EXPECT_EQ(get(sent.url(), 20'000, 40'000).error().code, ErrorCode::kFull);
  CannedServer packed(answer_of(gzip(body), "Content-Encoding: gzip\r\n"));
  EXPECT_EQ(get(packed.url(), 20'000, 40'000).error().text, "the answer is longer than 40000 bytes");
  EXPECT_EQ(get(packed.url(), 20'000, 50'000)->body, body);
}

TEST_F(HttpFetcherTest, AnAnswerThatIsCutOrNoHttpIsAnErrorAndNotHalfAPage) {
  CannedServer cut("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf 1\n");
  EXPECT_EQ(get(cut.url()).error().code, ErrorCode::kUnavailable);
  CannedServer garbage("SSH-2.0-OpenSSH_9.2\r\n");
  EXPECT_EQ(get(garbage.url()).error().code, ErrorCode::kUnavailable);
  CannedServer nothing("");
  EXPECT_EQ(get(nothing.url()).error().code, ErrorCode::kUnavailable);
}

TEST_F(HttpFetcherTest, ASilentServerCostsItsTimeoutAndNobodyElse) {
  CannedServer silent("", true);
  CannedServer halfway("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", true);
  CannedServer good(answer_of("good 1\n"));
  std::vector<std::string> order;
  const auto note = [&](const std::string& name) {
    return [&order, name](const Result<HttpPage>& page) { order.push_back(name + (page ? ":page" : ":error")); };
  };
  HttpFetch slow;
  slow.timeout_ms = 300;
  slow.url = silent.url();
  fetcher->get(slow, note("silent"));
  slow.url = halfway.url();
  fetcher->get(slow, note("halfway"));
  HttpFetch quick;
  quick.url = good.url();
  fetcher->get(quick, note("good"));
  run_until(loop, [&] { return order.size() == 3; });
  ASSERT_EQ(order.size(), 3u);
  std::sort(order.begin(), order.end());
  EXPECT_EQ(order, (std::vector<std::string>{"good:page", "halfway:error", "silent:error"}));
  EXPECT_EQ(get(silent.url(), 50).error().text, "no whole answer within 50 ms");
}

TEST_F(HttpFetcherTest, WhatCannotBeAskedSaysWhy) {
  CannedServer server(answer_of(""));
  EXPECT_EQ(get("ftp://127.0.0.1/").error().code, ErrorCode::kInvalid);
  EXPECT_EQ(get(server.url("/a?b#c")).error().code, ErrorCode::kInvalid);
  EXPECT_EQ(get("http://127.0.0.1:1/metrics").error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(get("http://no-such-host.invalid/metrics").error().code, ErrorCode::kUnavailable);
  HttpFetch fetch;
  fetch.url = "https://127.0.0.1:1/metrics";
  fetch.ca_file = "/no/such/file.pem";
  const auto page = get(fetch);
  ASSERT_FALSE(page);
  EXPECT_EQ(page.error().code, ErrorCode::kInvalid);
  EXPECT_NE(page.error().text.find("/no/such/file.pem"), std::string::npos);
}

TEST_F(HttpFetcherTest, TrustsOnlyTheGivenAuthorityAndShowsItsCertificate) {
  OsRandom random;
  TestFolder folder;
  make_certificates(folder, clock, random, "exporter");

  HttpOptions options;
  options.certificate_file = folder / "cert.pem";
  options.key_file = folder / "key.pem";
  options.client_ca_file = folder / "ca.pem";
  auto server = network.listen_http(options, [](const HttpRequest&, const HttpServer::Respond& respond) {
    respond({200, "text/plain", "a 1\n"});
  });
  ASSERT_TRUE(server) << server.error().text;
  HttpFetch fetch;
  fetch.url = "https://127.0.0.1:" + std::to_string((*server)->port()) + "/metrics";
  fetch.ca_file = folder / "ca.pem";
  fetch.certificate_file = folder / "cert.pem";
  fetch.key_file = folder / "key.pem";
  const auto page = get(fetch);
  ASSERT_TRUE(page) << page.error().text;
  EXPECT_EQ(page->body, "a 1\n");
  HttpFetch stranger = fetch;
  stranger.certificate_file = stranger.key_file = "";
  EXPECT_FALSE(get(stranger)) << "the server asks who it is";
  HttpFetch misled = fetch;
  misled.ca_file = "";  // what the system trusts does not know this authority
  EXPECT_EQ(get(misled).error().code, ErrorCode::kDenied);
  HttpFetch other = fetch;
  other.url = "https://localhost:" + std::to_string((*server)->port()) + "/metrics";
  EXPECT_EQ(get(other).error().code, ErrorCode::kDenied) << "the certificate names the address, not this name";
}

TEST_F(HttpFetcherTest, EndsAtOnceWhateverIsUnderWayAndRunsNothingAfterwards) {
  CannedServer silent("", true);
  bool ran = false;
  for (int i = 0; i < 5; ++i) {
    HttpFetch fetch;
    fetch.url = i % 2 == 0 ? silent.url() : "http://slow-name.invalid/";
    fetcher->get(fetch, [&](const Result<HttpPage>&) { ran = true; });
  }
  fetcher.reset();
  bool later = false;
  loop.post([&] { later = true; });
  run_until(loop, [&] { return later; });
  EXPECT_FALSE(ran);
}

}  // namespace
}  // namespace lambda
