// The HTTP server as seen from a socket, and from curl.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "base/os/http_text.h"
#include "base/os/log.h"
#include "base/os/network.h"
#include "base/os/random.h"
#include "base/test_support.h"

namespace lambda {
namespace {

// A client's connection; the test's loop runs while it waits.
class Client {
 public:
  Client(OsLoop& loop, uint16_t port) : loop_(loop), fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }
  ~Client() { close(fd_); }

  bool connected() const { return connected_; }
  void send(const std::string& text) {
    size_t sent = 0;
    while (sent < text.size()) {
      const ssize_t now = ::send(fd_, text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
      if (now <= 0) return;
      sent += static_cast<size_t>(now);
    }
  }

  // What came, up to the other side's end, or until `until` is in it.
  std::string read(const std::string& until = "") {
    run_until(loop_, [&] {
      pollfd poll_fd{fd_, POLLIN, 0};
      while (!ended_ && poll(&poll_fd, 1, 0) == 1) {
        char piece[4096];
        const ssize_t got = recv(fd_, piece, sizeof piece, 0);
        if (got <= 0) ended_ = true;
        if (got > 0) text_.append(piece, static_cast<size_t>(got));
      }
      return ended_ || (!until.empty() && text_.find(until) != std::string::npos);
    });
    return std::exchange(text_, "");
  }
  bool ended() const { return ended_; }

 private:
  OsLoop& loop_;
  int fd_;
  bool connected_ = false;
  bool ended_ = false;
  std::string text_;
};

int status_of(const std::string& answer) {
  return answer.size() < 12 ? 0 : std::atoi(answer.c_str() + 9);
}

class Http : public ::testing::Test {
 protected:
  void serve(HttpOptions options = {}) {
    auto server = network_.listen_http(options, [this](const HttpRequest& request, HttpServer::Respond respond) {
      last_ = request;
      if (request.path == "/silent") return;
      if (request.path == "/late") {
        held_.push_back(std::move(respond));
        return;
      }
      HttpResponse response;
      response.content_type = "text/plain";
      response.body = request.method + " " + request.path + " " + request.body;
      respond(response);
    });
    ASSERT_TRUE(server) << server.error().text;
    server_ = std::move(*server);
  }

  std::string ask(const std::string& request) {
    Client client(loop_, server_->port());
    client.send(request);
    return client.read();
  }

  // curl beside the running loop.
  std::pair<std::string, int> curl(const std::string& arguments) {
    std::string out;
    int code = -1;
    std::atomic<bool> done{false};
    std::thread thread([&] {
      FILE* pipe = popen(("curl -sS --max-time 20 " + arguments + " 2>&1").c_str(), "r");
      char piece[4096];
      while (const size_t got = fread(piece, 1, sizeof piece, pipe)) out.append(piece, got);
      code = pclose(pipe);
      done = true;
    });
    run_until(
        loop_, [&] { return done.load(); }, 30'000);
    thread.join();
    return {out, code};
  }
  std::string url(const std::string& path, const char* scheme = "http") const {
    return std::string(scheme) + "://127.0.0.1:" + std::to_string(server_->port()) + path;
  }

  OsLoop loop_;
  OsClock clock_;
  std::unique_ptr<Log> log_ = make_log({}, clock_);
  OsNetwork network_{loop_, *log_};
  HttpRequest last_;
  std::vector<HttpServer::Respond> held_;
  std::unique_ptr<HttpServer> server_;
};

constexpr const char* kClose = "Host: x\r\nConnection: close\r\n\r\n";

TEST_F(Http, AnswersAndDecodesPathQueryHeadersAndForms) {
  serve();
  const auto answer =
      ask(std::string("GET /api/v1/q%75ery?query=up%7B%7D+1&empty&a=1&a=2 HTTP/1.1\r\nX-Odd: V\r\n") + kClose);
  EXPECT_EQ(status_of(answer), 200);
  EXPECT_NE(answer.find("GET /api/v1/query "), std::string::npos);
  EXPECT_EQ(last_.parameters.find("query")->second, "up{} 1");
  EXPECT_EQ(last_.parameters.count("a"), 2u);
  EXPECT_EQ(last_.parameters.find("empty")->second, "");
  EXPECT_EQ(last_.headers.at("x-odd"), "V");

  ask(std::string("POST /p?x=q HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 9\r\n") +
      kClose + "y=a+%26&z");
  EXPECT_EQ(last_.method, "POST");
  EXPECT_EQ(last_.parameters.find("x")->second, "q");
  EXPECT_EQ(last_.parameters.find("y")->second, "a &");
}

TEST_F(Http, AnswersHeadWithTheHeadersOfGetAndNoBody) {
  serve();
  const auto answer = ask(std::string("HEAD /abc HTTP/1.1\r\n") + kClose);
  EXPECT_EQ(status_of(answer), 200);
  EXPECT_NE(answer.find("Content-Length: 9\r\n"), std::string::npos) << answer;
  EXPECT_EQ(answer.substr(answer.size() - 4), "\r\n\r\n");
  EXPECT_EQ(last_.method, "GET");
}

TEST_F(Http, KeepsConnectionsAliveAndAnswersPipelinedRequestsInOrder) {
  serve();
  Client client(loop_, server_->port());
  client.send("GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n");
  const auto both = client.read("GET /2 ");
  EXPECT_LT(both.find("GET /1 "), both.find("GET /2 "));
  EXPECT_FALSE(client.ended());
  client.send("GET /3 HTTP/1.0\r\n\r\n");
  EXPECT_NE(client.read().find("GET /3 "), std::string::npos);
  EXPECT_TRUE(client.ended());
}

TEST_F(Http, RefusesWhatItCannotReadAndLivesOn) {
  serve();
  for (const char* bad :
       {"nonsense\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /%2 HTTP/1.1\r\nHost: x\r\n\r\n", "GET /a?b=%q HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET a HTTP/1.1\r\nHost: x\r\n\r\n", "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx"}) {
    EXPECT_EQ(status_of(ask(bad)), 400) << bad;
  }
  EXPECT_EQ(status_of(ask(std::string("DELETE / HTTP/1.1\r\n") + kClose)), 405);
  EXPECT_EQ(status_of(ask(std::string("GET / HTTP/1.1\r\nX: ") + std::string(20'000, 'x') + "\r\n" + kClose)), 431);
  std::string many = "a";
  for (int i = 0; i < 1'001; ++i) many += "&a";
  EXPECT_EQ(status_of(ask("GET /?" + many + " HTTP/1.1\r\n" + kClose)), 400);
  EXPECT_EQ(status_of(ask(std::string("GET /good HTTP/1.1\r\n") + kClose)), 200);
  EXPECT_EQ(server_->counters().requests_refused, 12u);
}

TEST_F(Http, PutAndDeleteAreHandedOverOnlyWhereChangesAreServed) {
  const std::string put = "PUT /file HTTP/1.1\r\nContent-Length: 4\r\n" + std::string(kClose) + "text";
  const std::string drop = "DELETE /file HTTP/1.1\r\n" + std::string(kClose);
  serve();
  EXPECT_EQ(status_of(ask(put)), 405);
  EXPECT_EQ(status_of(ask(drop)), 405);
  network_.serve_changes();
  serve();
  EXPECT_NE(ask(put).find("PUT /file text"), std::string::npos);
  EXPECT_NE(ask(drop).find("DELETE /file"), std::string::npos);
  const std::string patched = ask("PATCH /file HTTP/1.1\r\n" + std::string(kClose));
  EXPECT_EQ(status_of(patched), 405);
  EXPECT_NE(patched.find("Allow: GET, HEAD, POST, PUT, DELETE\r\n"), std::string::npos) << patched;
}

TEST_F(Http, ABodyThatIsTooLongGets413WhetherItIsAnnouncedOrNot) {
  HttpOptions options;
  options.body_bytes_max = 1000;
  serve(options);
  EXPECT_EQ(
      status_of(ask(std::string("POST / HTTP/1.1\r\nContent-Length: 1001\r\n") + kClose + std::string(1001, 'x'))),
      413);
  EXPECT_EQ(status_of(ask(std::string("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n") + kClose + "3e9\r\n" +
                          std::string(1001, 'x') + "\r\n0\r\n\r\n")),
            413);
  EXPECT_EQ(
      status_of(ask(std::string("POST / HTTP/1.1\r\nContent-Length: 1000\r\n") + kClose + std::string(1000, 'x'))),
      200);
  EXPECT_EQ(last_.body.size(), 1000u);
  // curl asks first whether it may send so much.
  const auto sent =
      curl("-H 'Expect: 100-continue' -d " + std::string(900, 'y') + " -o /dev/null -w '%{http_code}' " + url("/x"));
  EXPECT_EQ(sent.first, "200");
}

TEST_F(Http, PastConnectionsMaxTheOneThatWaitsLongestMakesRoomAndGoodClientsStay) {
  HttpOptions options;
  options.connections_max = 3;
  serve(options);
  Client good(loop_, server_->port());
  good.send("GET /1 HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(status_of(good.read("GET /1 ")), 200);
  std::vector<std::unique_ptr<Client>> idle;
  for (int i = 0; i < 20; ++i) {
    idle.push_back(std::make_unique<Client>(loop_, server_->port()));
    idle.back()->send(i % 2 == 0 ? "" : "POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nhalf");
  }
  for (int i = 0; i < 18; ++i) {
    idle[static_cast<size_t>(i)]->read();
    EXPECT_TRUE(idle[static_cast<size_t>(i)]->ended()) << i;
  }
  Client other(loop_, server_->port());
  other.send("GET /2 HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(status_of(other.read("GET /2 ")), 200);
  good.send("GET /3 HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(status_of(good.read("GET /3 ")), 200) << "it was there before all others and knows how to behave";
  EXPECT_EQ(server_->counters().connections_dropped, 19u);
  EXPECT_EQ(server_->counters().connections_refused, 0u);
  EXPECT_LE(server_->counters().connections, 3u);
}

TEST_F(Http, WhileAllConnectionsAreBeingAnsweredAFurtherOneGets503) {
  HttpOptions options;
  options.connections_max = 2;
  serve(options);
  Client one(loop_, server_->port()), two(loop_, server_->port());
  for (Client* client : {&one, &two}) client->send("GET /late HTTP/1.1\r\nHost: x\r\n\r\n");
  ASSERT_TRUE(run_until(loop_, [&] { return held_.size() == 2; }));
  Client three(loop_, server_->port());
  EXPECT_EQ(status_of(three.read()), 503);
  EXPECT_TRUE(three.ended());
  EXPECT_EQ(server_->counters().connections_refused, 1u);
  for (auto& respond : held_) respond({200, "text/plain", "done"});
  EXPECT_EQ(status_of(one.read("done")), 200);
  EXPECT_EQ(status_of(two.read("done")), 200);
  Client four(loop_, server_->port());
  four.send("GET /4 HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(status_of(four.read("GET /4 ")), 200) << "they wait again, and the first of them makes room";
}

TEST_F(Http, SlowWritersAndSlowReadersHoldNoMoreThanHeldBytesMax) {
  HttpOptions options;
  options.body_bytes_max = 100'000;
  options.held_bytes_max = 250'000;
  serve(options);
  const std::string half = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + std::string(90'000, 'x');
  std::vector<std::unique_ptr<Client>> slow;
  for (int i = 0; i < 8; ++i) {
    slow.push_back(std::make_unique<Client>(loop_, server_->port()));
    slow.back()->send(half);
  }
  for (size_t i = 0; i < 6; ++i) {
    slow[i]->read();
    EXPECT_TRUE(slow[i]->ended()) << i;
  }
  EXPECT_EQ(server_->counters().connections_dropped, 6u);
  EXPECT_LE(server_->counters().held_bytes, 250'000u);
  Client good(loop_, server_->port());
  good.send(half + std::string(10'000, 'x'));
  EXPECT_EQ(status_of(good.read("\r\n\r\n")), 200);
  // Those whose requests are being answered are not in anybody's way, and cannot be made to go.
  slow.clear();
  for (int i = 0; i < 2; ++i) {
    slow.push_back(std::make_unique<Client>(loop_, server_->port()));
    slow.back()->send("POST /late" + half.substr(6) + std::string(10'000, 'x'));
  }
  ASSERT_TRUE(run_until(loop_, [&] { return held_.size() == 2; }));
  Client third(loop_, server_->port());
  third.send(half + std::string(10'000, 'x'));
  EXPECT_EQ(status_of(third.read()), 503);
  EXPECT_EQ(server_->counters().requests_without_room, 1u);
  for (auto& respond : held_) respond({200, "text/plain", "done"});
  EXPECT_EQ(status_of(slow[1]->read("done")), 200);
}

TEST_F(Http, ClosesConnectionsThatSendNothingAndThoseThatSendTooSlowly) {
  HttpOptions options;
  options.idle_timeout_ms = 300;
  serve(options);
  Client idle(loop_, server_->port());
  EXPECT_EQ(idle.read(), "");
  EXPECT_TRUE(idle.ended());
  // A byte now and then does not win more time than one limit for the whole request.
  Client slow(loop_, server_->port());
  std::atomic<bool> stop{false};
  std::thread drip([&] {
    const std::string request = "GET / HTTP/1.1\r\nX: " + std::string(5'000, 'x');
    for (size_t i = 0; i < request.size() && !stop; ++i) {
      slow.send(request.substr(i, 1));
      usleep(20'000);
    }
  });
  slow.read();
  stop = true;
  drip.join();
  EXPECT_TRUE(slow.ended());
}

TEST_F(Http, AsksForTheTokenAndComparesAllOfIt) {
  HttpOptions options;
  options.token = "s3cret";
  serve(options);
  const auto with = [&](const std::string& header) { return status_of(ask("GET / HTTP/1.1\r\n" + header + kClose)); };
  EXPECT_EQ(with(""), 401);
  for (const char* bad : {"Bearer s3cre", "Bearer s3crets", "Bearer ", "Basic s3cret", "s3cret", "Bearer S3CRET"}) {
    EXPECT_EQ(with(std::string("Authorization: ") + bad + "\r\n"), 401) << bad;
  }
  EXPECT_EQ(with("Authorization: Bearer s3cret\r\n"), 200);
  EXPECT_EQ(with("authorization: bearer s3cret\r\n"), 200);
}

// A page in this machine's browser must not reach what loopback alone protects, nor read it by a name of its own.
TEST(HttpText, OnlyAskersByLocalNamesAreFromHere) {
  for (const char* host :
       {"", "localhost", "localhost:8600", "127.0.0.1:8600", "[::1]:8600", "press-7", "a.localhost"}) {
    EXPECT_FALSE(asks_from_afar(host, "")) << host;
  }
  for (const char* host : {"evil.example", "evil.example:8600", "localhost.evil.example", ":8600", "1.2.3.4.evil"}) {
    EXPECT_TRUE(asks_from_afar(host, "")) << host;
  }
  EXPECT_FALSE(asks_from_afar("localhost:8600", "http://localhost:3000"));
  EXPECT_FALSE(asks_from_afar("127.0.0.1", "https://127.0.0.1"));
  for (const char* origin : {"https://evil.example", "http://localhost.evil.example:80", "null", "evil", "http://"}) {
    EXPECT_TRUE(asks_from_afar("localhost:8600", origin)) << origin;
  }
}

TEST_F(Http, WithoutATokenPagesOfOthersAreRefused) {
  serve();
  const auto status = [&](const std::string& headers) {
    return status_of(ask("POST /here HTTP/1.1\r\nContent-Length: 0\r\nConnection: close\r\n" + headers + "\r\n"));
  };
  EXPECT_EQ(status("Host: 127.0.0.1\r\n"), 200);
  last_ = {};
  EXPECT_EQ(status("Host: 127.0.0.1\r\nOrigin: https://evil.example\r\n"), 403);
  EXPECT_EQ(status("Host: evil.example:8600\r\n"), 403);
  EXPECT_EQ(last_.path, "") << "nobody was asked";
}

TEST_F(Http, WithoutTheTokenNoByteOfABodyIsTaken) {
  HttpOptions options;
  options.token = "s3cret";
  serve(options);
  Client client(loop_, server_->port());
  client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n");  // and waits with the rest
  const std::string answer = client.read();
  EXPECT_EQ(status_of(answer), 401);
  EXPECT_NE(answer.find("Connection: close"), std::string::npos) << answer;
  Client polite(loop_, server_->port());
  polite.send("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1000\r\n\r\n");
  EXPECT_EQ(status_of(polite.read()), 401);
  // Without a body the connection stays: the next request may know it.
  Client asks(loop_, server_->port());
  asks.send("GET /1 HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(status_of(asks.read("needed")), 401);
  asks.send("GET /2 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer s3cret\r\n\r\n");
  EXPECT_EQ(status_of(asks.read("GET /2 ")), 200);
}

TEST_F(Http, IsNotOpenedBeyondThisMachineWithoutTokenOrClientCertificates) {
  HttpOptions options;
  options.address = "0.0.0.0";
  auto server = network_.listen_http(options, [](const HttpRequest&, HttpServer::Respond) {});
  ASSERT_FALSE(server);
  EXPECT_EQ(server.error().code, ErrorCode::kDenied);
  options.address = "here";
  EXPECT_EQ(network_.listen_http(options, {}).error().code, ErrorCode::kInvalid);
  options.address = "127.0.0.1";
  options.certificate_file = "/no/such/file";
  options.key_file = "/no/such/file";
  EXPECT_EQ(network_.listen_http(options, {}).error().code, ErrorCode::kInvalid);
  options = {};
  serve();
  options.port = server_->port();
  const auto taken = network_.listen_http(options, {});
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().code, ErrorCode::kUnavailable);
}

TEST_F(Http, ATakenPortIsKnownBeforeAnybodyListensOnIt) {
  serve();
  const Status taken = can_listen("127.0.0.1", server_->port());
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(taken.error().text, "127.0.0.1 port " + std::to_string(server_->port()) + ": Address already in use");
  EXPECT_FALSE(can_listen("0.0.0.0", server_->port()));
  const uint16_t port = server_->port();
  server_.reset();
  EXPECT_TRUE(can_listen("127.0.0.1", port));
  EXPECT_TRUE(can_listen("127.0.0.1", port)) << "asking takes nothing";
  EXPECT_EQ(can_listen("192.0.2.1", port).error().code, ErrorCode::kInvalid) << "not of this machine";
  EXPECT_EQ(can_listen("everywhere", port).error().code, ErrorCode::kInvalid);
}

TEST_F(Http, AnswersMayComeLaterAndFromAnyThreadAndAreNeverMissing) {
  serve();
  Client late(loop_, server_->port());
  late.send(std::string("GET /late HTTP/1.1\r\n") + kClose);
  ASSERT_TRUE(run_until(loop_, [&] { return held_.size() == 1; }));
  std::thread([respond = held_[0]] {
    respond({200, "text/plain", "from elsewhere"});
    respond({200, "text/plain", "twice"});
  }).join();
  const auto answer = late.read();
  EXPECT_NE(answer.find("from elsewhere"), std::string::npos);
  EXPECT_EQ(answer.find("twice"), std::string::npos);
  // A handler that forgets to answer: the client is told.
  EXPECT_EQ(status_of(ask(std::string("GET /silent HTTP/1.1\r\n") + kClose)), 500);
}

TEST_F(Http, CanEndWhileAnswersAreOutAndNoHandlerRunsAfterwards) {
  serve();
  Client waiting(loop_, server_->port());
  waiting.send(std::string("GET /late HTTP/1.1\r\n") + kClose);
  ASSERT_TRUE(run_until(loop_, [&] { return held_.size() == 1; }));
  Client idle(loop_, server_->port());
  Client queued(loop_, server_->port());
  queued.send(std::string("GET /queued HTTP/1.1\r\n") + kClose);
  server_.reset();
  last_ = {};
  held_[0]({200, "text/plain", "too late"});
  held_.clear();
  EXPECT_EQ(waiting.read(), "");
  bool passed = false;
  loop_.after(20, [&] { passed = true; });
  ASSERT_TRUE(run_until(loop_, [&] { return passed; }));
  EXPECT_EQ(last_.path, "");
}

TEST_F(Http, CarriesLargeBodiesBothWays) {
  serve();
  TestFolder folder;
  std::ofstream(folder / "body") << std::string(3u << 20, 'z');
  const auto answer = curl("--data-binary @" + (folder / "body") + " -H 'Content-Type: text/plain' " + url("/big"));
  EXPECT_EQ(answer.second, 0);
  EXPECT_EQ(answer.first, "POST /big " + std::string(3u << 20, 'z'));
}

TEST_F(Http, SpeaksTlsAndChecksClientCertificates) {
  OsRandom random;
  TestFolder folder;
  make_certificates(folder, clock_, random, "gateway-1");

  HttpOptions options;
  options.certificate_file = folder / "cert.pem";
  options.key_file = folder / "key.pem";
  serve(options);
  const std::string trust = "--cacert " + (folder / "ca.pem") + " ";
  EXPECT_EQ(curl(trust + url("/tls", "https")).first, "GET /tls ");
  EXPECT_NE(curl(url("/tls", "https")).second, 0);  // an authority that curl does not know
  EXPECT_NE(curl(trust + "--tls-max 1.1 " + url("/tls", "https")).second, 0);
  ask("GET / HTTP/1.1\r\n\r\n");  // no TLS at all: closed
  server_.reset();

  options.client_ca_file = folder / "ca.pem";
  options.address = "0.0.0.0";  // allowed now
  serve(options);
  EXPECT_NE(curl(trust + url("/tls", "https")).first, "GET /tls ");
  const auto known =
      curl(trust + "--cert " + (folder / "cert.pem") + " --key " + (folder / "key.pem") + " " + url("/tls", "https"));
  EXPECT_EQ(known.first, "GET /tls ");
}

}  // namespace
}  // namespace lambda
