// The bus against a real broker: a mosquitto of our own on a free port.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fstream>

#include "base/crypto/crypto.h"
#include "base/os/log.h"
#include "base/os/network.h"
#include "base/os/processes.h"
#include "base/os/random.h"
#include "base/test_support.h"

namespace lambda {
namespace {

constexpr int64_t kDayMs = 86'400'000;

uint16_t free_port() {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  bind(fd, reinterpret_cast<sockaddr*>(&address), size);
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  close(fd);
  return ntohs(address.sin_port);
}

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// A bus and what it told.
struct Peer {
  std::vector<std::string> connected;
  std::vector<Error> disconnected;
  std::vector<std::string> subscribed;
  std::vector<std::pair<std::string, std::string>> messages;
  std::unique_ptr<MessageBus> bus;

  Peer(Network& network, BusOptions options) {
    MessageBus::Handlers handlers;
    handlers.connected = [this](const std::string& url) { connected.push_back(url); };
    handlers.disconnected = [this](const Error& error) { disconnected.push_back(error); };
    handlers.message = [this](std::string_view topic, std::span<const std::byte> payload) {
      messages.emplace_back(topic, text_of(payload));
    };
    handlers.subscribed = [this](const std::string& filter) { subscribed.push_back(filter); };
    bus = network.bus(std::move(options), std::move(handlers));
  }
};

class Mqtt : public ::testing::Test {
 protected:
  void SetUp() override { port_ = free_port(); }

  std::string url(bool tls = false) const {
    return (tls ? "mqtts://127.0.0.1:" : "mqtt://127.0.0.1:") + std::to_string(port_);
  }

  void start_broker(const std::string& more = "allow_anonymous true\n") {
    const std::string path = folder_ / "mosquitto.conf";
    // As root it would become the user mosquitto, who may not read our keys.
    std::ofstream(path) << (getuid() == 0 ? "user root\n" : "") << "log_type error\nlistener " << port_
                        << " 127.0.0.1\n"
                        << more;
    auto child = processes_.spawn({"/usr/sbin/mosquitto", "-c", path}, [](int) {});
    ASSERT_TRUE(child) << child.error().text;
    broker_ = std::move(*child);
    ASSERT_TRUE(run_until(loop_, [&] {
      const int fd = socket(AF_INET, SOCK_STREAM, 0);
      sockaddr_in address{};
      address.sin_family = AF_INET;
      address.sin_port = htons(port_);
      address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      const bool up = ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
      close(fd);
      return up;
    }));
  }

  void make_certificates() {
    const auto order = [&](const std::string& name) {
      CertificateOrder made;
      made.common_name = name;
      made.not_before_ms = OsClock().utc_ms() - kDayMs;
      made.not_after_ms = OsClock().utc_ms() + kDayMs;
      return made;
    };
    for (const char* ca : {"ca", "other-ca"}) {
      const std::string key = *make_tls_key(random_);
      CertificateOrder authority = order(ca);
      authority.authority = true;
      const std::string pem = *self_signed_authority(key, authority, random_);
      write(std::string(ca) + ".pem", pem);
      CertificateOrder server = order("broker");
      server.server = true;
      server.ip_addresses = {"127.0.0.1"};
      const std::string server_key = *make_tls_key(random_);
      write(std::string(ca) + "-server.key", server_key);
      write(std::string(ca) + "-server.pem", *issue_for_key(pem, key, server_key, server, random_));
      server.ip_addresses = {"127.0.0.9"};
      server.dns_names = {"fog.example"};
      write(std::string(ca) + "-misnamed.pem", *issue_for_key(pem, key, server_key, server, random_));
      CertificateOrder client = order("press-7");
      client.client = true;
      const std::string client_key = *make_tls_key(random_);
      write(std::string(ca) + "-client.key", client_key);
      write(std::string(ca) + "-client.pem", *issue_for_key(pem, key, client_key, client, random_));
    }
  }

  void start_tls_broker(const std::string& server = "ca-server.pem") {
    start_broker("allow_anonymous false\nuse_identity_as_username true\nrequire_certificate true\ncafile " +
                 (folder_ / "ca.pem") + "\ncertfile " + (folder_ / server) + "\nkeyfile " +
                 (folder_ / "ca-server.key") + "\n");
  }

  BusOptions options(bool tls = false) {
    BusOptions made;
    made.urls = {url(tls)};
    made.client_id = "press-7";
    made.connect_timeout_ms = 5'000;
    if (tls) {
      made.ca_file = folder_ / "ca.pem";
      made.certificate_file = folder_ / "ca-client.pem";
      made.key_file = folder_ / "ca-client.key";
    }
    return made;
  }

  void write(const std::string& name, const std::string& content) { std::ofstream(folder_ / name) << content; }

  bool connect(Peer& peer) {
    const size_t before = peer.connected.size();
    peer.bus->connect();
    return run_until(loop_, [&] { return peer.connected.size() > before; });
  }

  // The error of a connect that must fail.
  std::string refusal(const BusOptions& with) {
    Peer peer(network_, with);
    peer.bus->connect();
    EXPECT_TRUE(run_until(loop_, [&] { return !peer.disconnected.empty(); }));
    EXPECT_TRUE(peer.connected.empty());
    return peer.disconnected.empty() ? "" : peer.disconnected[0].text;
  }

  OsLoop loop_;
  OsClock clock_;
  OsRandom random_;
  std::unique_ptr<Log> log_ = make_log({}, clock_);
  OsProcesses processes_{loop_};
  OsNetwork network_{loop_, *log_};
  TestFolder folder_;
  uint16_t port_ = 0;
  std::unique_ptr<ChildProcess> broker_;
};

TEST_F(Mqtt, CarriesMessagesOfEverySizeWholeAndInOrder) {
  start_broker();
  Peer peer(network_, options());
  ASSERT_TRUE(connect(peer));
  EXPECT_EQ(peer.connected[0], url());
  ASSERT_TRUE(peer.bus->subscribe("a/+", 1));
  std::vector<std::pair<std::string, std::string>> expected;
  for (int i = 0; i < 100; ++i) {
    const std::string payload(static_cast<size_t>(i) * i * 20, static_cast<char>(i));
    ASSERT_TRUE(peer.bus->publish("a/" + std::to_string(i), bytes_of(payload), 1, false));
    expected.emplace_back("a/" + std::to_string(i), payload);
  }
  ASSERT_TRUE(run_until(loop_, [&] { return peer.messages.size() == expected.size(); }));
  EXPECT_EQ(peer.messages, expected);
  EXPECT_TRUE(run_until(loop_, [&] { return peer.bus->counters().outgoing_bytes == 0; }));
  EXPECT_TRUE(peer.disconnected.empty());
}

TEST_F(Mqtt, SaysWhichSubscriptionsTheBrokerConfirmedAndThenMissesNothing) {
  start_broker();
  BusOptions other = options();
  other.client_id = "speaker";
  Peer listener(network_, options()), speaker(network_, other);
  ASSERT_TRUE(connect(listener));
  ASSERT_TRUE(connect(speaker));
  ASSERT_TRUE(listener.bus->subscribe("a/+", 1));
  ASSERT_TRUE(listener.bus->subscribe("b", 1));
  EXPECT_TRUE(listener.subscribed.empty()) << "not before the broker answered";
  ASSERT_TRUE(run_until(loop_, [&] { return listener.subscribed.size() == 2; }));
  EXPECT_EQ(listener.subscribed, (std::vector<std::string>{"a/+", "b"}));
  ASSERT_TRUE(speaker.bus->publish("b", bytes_of("x"), 1, false));
  EXPECT_TRUE(run_until(loop_, [&] { return listener.messages.size() == 1; }));
}

TEST_F(Mqtt, TellsWhenTheBrokerHasAMessageAndWhenTheConnectionEndedBefore) {
  start_broker();
  Peer peer(network_, options());
  std::vector<bool> told;
  const auto tell = [&told](const Status& status) { told.push_back(status.has_value()); };
  EXPECT_EQ(peer.bus->publish_acknowledged("a", bytes_of("x"), tell).error().code, ErrorCode::kUnavailable);
  ASSERT_TRUE(connect(peer));
  ASSERT_TRUE(peer.bus->publish_acknowledged("a", bytes_of("x"), tell));
  EXPECT_TRUE(told.empty()) << "not from inside the call";
  ASSERT_TRUE(run_until(loop_, [&] { return !told.empty(); }));
  EXPECT_EQ(told, (std::vector<bool>{true}));
  broker_->signal(SIGSTOP);  // it takes the bytes and answers nothing
  ASSERT_TRUE(peer.bus->publish_acknowledged("a", bytes_of("y"), tell));
  ASSERT_TRUE(peer.bus->publish_acknowledged("a", bytes_of("z"), tell));
  broker_->signal(SIGKILL);
  ASSERT_TRUE(run_until(loop_, [&] { return told.size() == 3; }));
  EXPECT_EQ(told, (std::vector<bool>{true, false, false}));
}

TEST_F(Mqtt, TriesItsUrlsInOrderAndSaysWhichOneWorked) {
  start_broker();
  BusOptions two = options();
  two.urls = {"mqtt://127.0.0.1:" + std::to_string(free_port()), url()};
  Peer peer(network_, two);
  ASSERT_TRUE(connect(peer));
  EXPECT_EQ(peer.connected[0], url());
}

TEST_F(Mqtt, WithoutABrokerConnectFailsOnceForEachConnectAndNamesTheUrls) {
  Peer peer(network_, options());
  for (size_t i = 1; i <= 3; ++i) {
    peer.bus->connect();
    peer.bus->connect();  // while it is connecting already: nothing
    ASSERT_TRUE(run_until(loop_, [&] { return peer.disconnected.size() >= i; }));
    EXPECT_EQ(peer.disconnected.size(), i);
    EXPECT_EQ(peer.disconnected.back().code, ErrorCode::kUnavailable);
    EXPECT_NE(peer.disconnected.back().text.find(url()), std::string::npos) << peer.disconnected.back().text;
  }
  EXPECT_EQ(peer.bus->publish("a", {}, 1, false).error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(peer.bus->subscribe("a", 1).error().code, ErrorCode::kUnavailable);
}

TEST_F(Mqtt, ABrokerThatIsKilledIsNoticedAndTheNextOneIsUsed) {
  start_broker();
  Peer peer(network_, options());
  ASSERT_TRUE(connect(peer));
  broker_->signal(SIGKILL);
  ASSERT_TRUE(run_until(loop_, [&] { return peer.disconnected.size() == 1; }));
  EXPECT_EQ(peer.bus->publish("a", {}, 1, false).error().code, ErrorCode::kUnavailable);
  broker_.reset();
  start_broker();
  ASSERT_TRUE(connect(peer));
  ASSERT_TRUE(peer.bus->subscribe("b", 1));
  ASSERT_TRUE(peer.bus->publish("b", bytes_of("again"), 1, false));
  ASSERT_TRUE(run_until(loop_, [&] { return peer.messages.size() == 1; }));
  EXPECT_EQ(peer.disconnected.size(), 1u);
}

TEST_F(Mqtt, TheWillIsSaidForAClientThatVanishesAndNotForOneThatLeaves) {
  start_broker();
  BusOptions watching = options();
  watching.client_id = "watcher";
  Peer watcher(network_, watching);
  ASSERT_TRUE(connect(watcher));
  ASSERT_TRUE(watcher.bus->subscribe("state/#", 1));

  BusOptions mortal = options();
  mortal.will_topic = "state/press-7";
  mortal.will_payload = "offline";
  {
    Peer leaving(network_, mortal);
    ASSERT_TRUE(connect(leaving));
    leaving.bus->disconnect();
    ASSERT_TRUE(run_until(loop_, [&] { return leaving.disconnected.size() == 1; }));
    EXPECT_EQ(leaving.disconnected[0].code, ErrorCode::kUnavailable);
  }
  Peer vanishing(network_, mortal);
  ASSERT_TRUE(connect(vanishing));
  ASSERT_TRUE(vanishing.bus->publish("state/press-7", bytes_of("online"), 1, true));
  ASSERT_TRUE(run_until(loop_, [&] { return watcher.messages.size() == 1; }));
  EXPECT_EQ(watcher.messages[0].second, "online");
  // A second client of the same name makes the broker end the first.
  BusOptions same = options();
  Peer twin(network_, same);
  ASSERT_TRUE(connect(twin));
  ASSERT_TRUE(run_until(loop_, [&] { return watcher.messages.size() == 2 && vanishing.disconnected.size() == 1; }));
  EXPECT_EQ(watcher.messages[1].second, "offline");
}

TEST_F(Mqtt, WhatWasPublishedBeforeABusEndsIsSent) {
  start_broker();
  BusOptions watching = options();
  watching.client_id = "watcher";
  Peer watcher(network_, watching);
  ASSERT_TRUE(connect(watcher));
  ASSERT_TRUE(watcher.bus->subscribe("#", 1));
  ASSERT_TRUE(run_until(loop_, [&] { return watcher.subscribed.size() == 1; }));
  const std::string large(256 * 1024, 'x');
  {
    Peer leaving(network_, options());
    ASSERT_TRUE(connect(leaving));
    for (int i = 0; i < 20; ++i) ASSERT_TRUE(leaving.bus->publish("up", bytes_of(large), 1, false));
    ASSERT_TRUE(leaving.bus->publish("state", bytes_of("offline"), 1, true));
    leaving.bus->disconnect();
  }
  ASSERT_TRUE(run_until(loop_, [&] { return watcher.messages.size() == 21; }));
  EXPECT_EQ(watcher.messages.back(), std::pair(std::string("state"), std::string("offline")));
}

TEST_F(Mqtt, MutualTlsWorksAndTheBrokerKnowsTheName) {
  make_certificates();
  start_tls_broker();
  Peer peer(network_, options(true));
  ASSERT_TRUE(connect(peer)) << (peer.disconnected.empty() ? "" : peer.disconnected[0].text);
  ASSERT_TRUE(peer.bus->subscribe("x", 1));
  ASSERT_TRUE(peer.bus->publish("x", bytes_of("over tls"), 1, false));
  ASSERT_TRUE(run_until(loop_, [&] { return peer.messages.size() == 1; }));
}

TEST_F(Mqtt, RefusesABrokerOfAnotherAuthority) {
  make_certificates();
  start_tls_broker();
  BusOptions wrong = options(true);
  wrong.ca_file = folder_ / "other-ca.pem";
  EXPECT_FALSE(refusal(wrong).empty());
}

TEST_F(Mqtt, RefusesABrokerOfAnotherName) {
  make_certificates();
  start_tls_broker("ca-misnamed.pem");
  EXPECT_FALSE(refusal(options(true)).empty());
  BusOptions named = options(true);
  named.server_name = "fog.example";
  EXPECT_NE(refusal(named).find("server_name"), std::string::npos);
}

TEST_F(Mqtt, IsRefusedWithoutACertificateOrWithOneOfAnotherAuthority) {
  make_certificates();
  start_tls_broker();
  BusOptions none = options(true);
  none.certificate_file.clear();
  none.key_file.clear();
  EXPECT_FALSE(refusal(none).empty());
  BusOptions foreign = options(true);
  foreign.certificate_file = folder_ / "other-ca-client.pem";
  foreign.key_file = folder_ / "other-ca-client.key";
  EXPECT_FALSE(refusal(foreign).empty());
  BusOptions missing = options(true);
  missing.key_file = folder_ / "no-such-file";
  EXPECT_FALSE(refusal(missing).empty());
}

TEST_F(Mqtt, OutgoingBytesAreBounded) {
  start_broker();
  BusOptions small = options();
  small.outgoing_bytes_max = 100'000;
  Peer peer(network_, small);
  ASSERT_TRUE(connect(peer));
  broker_->signal(SIGSTOP);  // it takes nothing now
  const std::string big(10'000, 'o');
  Status status;
  int sent = 0;
  while (sent < 100 && (status = peer.bus->publish("a", bytes_of(big), 1, false))) ++sent;
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::kFull);
  EXPECT_EQ(sent, 9);
  EXPECT_EQ(peer.bus->counters().outgoing_refused, 1u);
  broker_->signal(SIGCONT);
  EXPECT_TRUE(run_until(loop_, [&] { return peer.bus->counters().outgoing_bytes == 0; }));
  EXPECT_TRUE(peer.bus->publish("a", bytes_of(big), 1, false));
}

TEST_F(Mqtt, IncomingBytesAreBoundedAndDropsAreCounted) {
  start_broker();
  BusOptions small = options();
  small.incoming_bytes_max = 50'000;
  Peer peer(network_, small);
  ASSERT_TRUE(connect(peer));
  BusOptions other = options();
  other.client_id = "sender";
  Peer sender(network_, other);
  ASSERT_TRUE(connect(sender));
  ASSERT_TRUE(peer.bus->subscribe("a", 1));
  ASSERT_TRUE(peer.bus->publish("a", bytes_of("subscribed"), 1, false));
  ASSERT_TRUE(run_until(loop_, [&] { return peer.messages.size() == 1; }));
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(sender.bus->publish("a", bytes_of(std::string(10'000, 'i')), 1, false));
  }
  // The loop stands still while they arrive.
  for (int i = 0; i < 4000 && peer.bus->counters().incoming_dropped < 16; ++i) usleep(5'000);
  EXPECT_EQ(peer.bus->counters().incoming_dropped, 16u);
  ASSERT_TRUE(run_until(loop_, [&] { return peer.messages.size() == 5; }));
}

TEST_F(Mqtt, CanBeDestroyedInEveryStateAndNoHandlerRunsAfterwards) {
  start_broker();
  for (int state = 0; state < 6; ++state) {
    SCOPED_TRACE(state);
    int calls_after = 0;
    bool gone = false;
    MessageBus::Handlers handlers;
    bool is_connected = false;
    handlers.connected = [&](const std::string&) {
      is_connected = true;
      calls_after += gone;
    };
    handlers.disconnected = [&](const Error&) { calls_after += gone; };
    handlers.message = [&](std::string_view, std::span<const std::byte>) { calls_after += gone; };
    BusOptions made = options();
    if (state == 2) made.urls = {"mqtt://127.0.0.1:" + std::to_string(free_port()), "mqtt://127.0.0.1:1"};
    auto bus = network_.bus(made, handlers);
    if (state >= 1) bus->connect();
    if (state >= 3) {
      ASSERT_TRUE(run_until(loop_, [&] { return is_connected; }));
    }
    if (state >= 4) {
      ASSERT_TRUE(bus->subscribe("#", 1));
      for (int i = 0; i < 200; ++i) ASSERT_TRUE(bus->publish("a", bytes_of(std::string(1000, 'x')), 1, false));
    }
    if (state == 5) bus->disconnect();
    bus.reset();
    gone = true;
    bool passed = false;
    loop_.after(20, [&] { passed = true; });
    ASSERT_TRUE(run_until(loop_, [&] { return passed; }));
    EXPECT_EQ(calls_after, 0);
  }
}

}  // namespace
}  // namespace lambda
