// The connection over a bus whose broker comes and goes as the test says.
#include "agent/uplink/connection.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "agent/spool/test_world.h"

namespace lambda::agent {
namespace {

using test::World;

class FakeNetwork final : public Network {
 public:
  struct Bus final : MessageBus {
    Bus(FakeNetwork& in, BusOptions options, Handlers answers)
        : network(in), urls(std::move(options.urls)), will_topic(options.will_topic), handlers(std::move(answers)) {
      network.last = this;
    }
    ~Bus() override { network.last = nullptr; }
    // As the real one: one url after the other, one answer for each connect().
    void connect() override {
      network.connects_at_ms.push_back(network.clock.mono_ms());
      network.loop.post([this] {
        for (const std::string& url : urls) {
          network.tried.push_back(url);
          if (network.refuses.contains(url)) continue;
          up = true;
          return handlers.connected(url);
        }
        handlers.disconnected({ErrorCode::kUnavailable, "nobody listens"});
      });
    }
    void disconnect() override { up = false; }
    Status publish(const std::string& topic, std::span<const std::byte> payload, int, bool retained) override {
      if (!up) return fail(ErrorCode::kUnavailable, "not connected");
      network.published[topic]++;
      if (retained)
        network.retained[topic] = std::string(reinterpret_cast<const char*>(payload.data()), payload.size());
      return {};
    }
    Status publish_acknowledged(const std::string&, std::span<const std::byte>,
                                std::function<void(const Status&)>) override {
      return fail(ErrorCode::kUnavailable, "not here");
    }
    Status subscribe(const std::string& filter, int) override {
      network.subscribed.insert(filter);
      return {};
    }
    FakeNetwork& network;
    std::vector<std::string> urls;
    std::string will_topic;
    Handlers handlers;
    bool up = false;
  };

  FakeNetwork(EventLoop& on, Clock& time) : loop(on), clock(time) {}
  std::unique_ptr<MessageBus> bus(BusOptions options, MessageBus::Handlers handlers) override {
    return std::make_unique<Bus>(*this, std::move(options), std::move(handlers));
  }
  Result<std::unique_ptr<HttpServer>> listen_http(HttpOptions, HttpServer::Handler) override {
    return fail(ErrorCode::kUnsupported, "no HTTP");
  }
  void lose() {
    last->up = false;
    last->handlers.disconnected({ErrorCode::kUnavailable, "lost"});
  }

  EventLoop& loop;
  Clock& clock;
  Bus* last = nullptr;
  std::set<std::string> refuses, subscribed;
  std::vector<std::string> tried;
  std::vector<int64_t> connects_at_ms;
  std::map<std::string, int> published;
  std::map<std::string, std::string> retained;
};

class ConnectionTest : public ::testing::Test {
 protected:
  ConnectionTest() {
    options.gateways = {"mqtts://fog-1:8883", "mqtts://fog-2:8883"};
    options.site = "hall";
    options.device = "press-7";
    SpoolOptions spooling;
    spooling.dir = "d";
    spool = std::make_unique<Spool>(env, spooling);
    EXPECT_TRUE(spool->open().has_value());
    spool->start();
    shelf = std::make_unique<SpoolShelf>(
        env, *spool, packer.options(), "test 1",
        SpoolShelf::Requests{[](uint64_t, std::vector<uint32_t>) {}, [] {}, [](int64_t) {}});
    spool->begin_boot(7, 0, 1'700'000'000'000, std::make_shared<SeriesTable>(),
                      std::vector<uint8_t>(kSignatureBytes, 7));
    shelf->set_boot(7);
    world.loop.run_for(10);
  }
  void start() {
    connection = std::make_unique<Connection>(env, options, *shelf);
    connection->start();
  }
  int said() const {
    const auto found = network.published.find("lambda/v1/hall/press-7/up");
    return found == network.published.end() ? 0 : found->second;
  }

  World world{3};
  FakeNetwork network{world.loop, world.clock};
  Env env{world.clock, world.loop, world.disk, network, world.random, world.processes, world.log};
  SigningKey signing = SigningKey::from_hex(std::string(63, '0') + "1").value();
  Packer packer{{"hall", "press-7", 64u << 10}, signing};
  ConnectionOptions options;
  std::unique_ptr<Spool> spool;
  std::unique_ptr<SpoolShelf> shelf;
  std::unique_ptr<Connection> connection;
};

TEST_F(ConnectionTest, GoesToTheSecondGatewayWhenTheFirstRefusesAndSaysHelloThere) {
  network.refuses = {"mqtts://fog-1:8883"};
  start();
  world.loop.run_for(1'000);
  EXPECT_EQ(network.tried, options.gateways);
  EXPECT_TRUE(connection->connected());
  EXPECT_FALSE(connection->answered()) << "the broker is no gateway";
  EXPECT_EQ(network.subscribed, (std::set<std::string>{"lambda/v1/hall/press-7/down", "lambda/v1/hall/interest/all"}));
  EXPECT_EQ(network.retained["lambda/v1/hall/press-7/state"], "online");
  EXPECT_EQ(network.last->will_topic, "lambda/v1/hall/press-7/state");
  EXPECT_GE(said(), 1);
}

TEST_F(ConnectionTest, WithoutAGatewayItAsksWithPausesThatGrowToTheirBoundAndNoFurther) {
  options.backoff_ms = 1'000;
  options.backoff_ms_max = 8'000;
  network.refuses = {options.gateways.begin(), options.gateways.end()};
  start();
  world.loop.run_for(3'600'000);
  ASSERT_GT(network.connects_at_ms.size(), 400u) << "on average half the bound";
  EXPECT_LT(network.connects_at_ms.size(), 2'000u) << "a storm";
  int64_t longest = 0;
  for (size_t i = 1; i < network.connects_at_ms.size(); ++i) {
    longest = std::max(longest, network.connects_at_ms[i] - network.connects_at_ms[i - 1]);
  }
  EXPECT_LE(longest, options.backoff_ms_max + 100);
  EXPECT_GT(longest, options.backoff_ms_max / 2);
  EXPECT_EQ(world.log.events["connect_failed"], 1u) << "told once, not at each try";
  network.refuses.clear();
  world.loop.run_for(options.backoff_ms_max + 200);
  EXPECT_TRUE(connection->connected());
}

TEST_F(ConnectionTest, ALostConnectionComesBackAndSaysHelloAgain) {
  start();
  world.loop.run_for(options.steady_ms + 1'000);
  ASSERT_EQ(connection->connects(), 1u);
  const int before = said();
  network.lose();
  EXPECT_FALSE(connection->connected());
  world.loop.run_for(options.backoff_ms + 200);
  EXPECT_TRUE(connection->connected());
  EXPECT_EQ(connection->connects(), 2u);
  EXPECT_GT(said(), before);
}

// Two agents under one name: each connect ends the other's session.
TEST_F(ConnectionTest, ConnectionsThatEndAtOnceDoNotSpin) {
  start();
  uint64_t lost = 0;
  for (int i = 0; i < 6'000; ++i) {
    world.loop.run_for(100);
    if (!connection->connected()) continue;
    network.lose();
    ++lost;
  }
  EXPECT_GT(lost, 5u);
  EXPECT_LT(lost, 60u) << "ten minutes, and pauses of up to one";
}

TEST_F(ConnectionTest, TheLiveLaneHearsInterestsAndSpeaksWhileThereIsAConnection) {
  connection = std::make_unique<Connection>(env, options, *shelf);
  int ups = 0, downs = 0;
  std::string heard;
  connection->listen({[&] { ++ups; },
                      [&] { ++downs; },
                      [&](std::span<const uint8_t> message) { heard.assign(message.begin(), message.end()); },
                      {}});
  const std::vector<uint8_t> live{1, 2, 3};
  EXPECT_EQ(connection->publish_live(live).error().code, ErrorCode::kUnavailable);
  connection->start();
  world.loop.run_for(1'000);
  EXPECT_EQ(ups, 1);
  const std::string interest = "whatever";
  network.last->handlers.message("lambda/v1/hall/interest/all", std::as_bytes(std::span(interest)));
  EXPECT_EQ(heard, interest);
  EXPECT_TRUE(connection->publish_live(live).has_value());
  EXPECT_EQ(network.published["lambda/v1/hall/press-7/live"], 1);
  network.lose();
  EXPECT_EQ(downs, 1);
  EXPECT_EQ(connection->publish_live(live).error().code, ErrorCode::kUnavailable);
  world.loop.run_for(5'000);
  EXPECT_EQ(ups, 2);
}

TEST_F(ConnectionTest, WhatIsForAnotherListenerTheUplinkDoesNotSee) {
  connection = std::make_unique<Connection>(env, options, *shelf);
  std::string heard;
  connection->listen({{}, {}, {}, [&](std::span<const uint8_t> message) {
                        heard.assign(message.begin(), message.end());
                        return heard == "mine";
                      }});
  const std::vector<uint8_t> answer{1, 2, 3};
  EXPECT_EQ(connection->publish_up(answer).error().code, ErrorCode::kUnavailable);
  connection->start();
  world.loop.run_for(1'000);
  const auto bad = [&] { return connection->machine().counters().answers_malformed; };
  const uint64_t before = bad();
  for (const std::string message : {"mine", "noise"}) {
    network.last->handlers.message("lambda/v1/hall/press-7/down", std::as_bytes(std::span(message)));
    EXPECT_EQ(heard, message);
    EXPECT_EQ(bad(), before + (message == "noise" ? 1 : 0));
  }
  const int said_before = said();
  EXPECT_TRUE(connection->publish_up(answer).has_value());
  EXPECT_EQ(said(), said_before + 1);
}

TEST_F(ConnectionTest, NothingIsSaidOrHeardAfterStop) {
  start();
  world.loop.run_for(1'000);
  connection->stop();
  EXPECT_EQ(network.retained["lambda/v1/hall/press-7/state"], "offline");
  const int before = said();
  const uint64_t events = world.log.events["disconnected"];
  const std::string noise = "noise";
  network.last->handlers.message("lambda/v1/hall/press-7/down", std::as_bytes(std::span(noise)));
  network.last->handlers.connected("mqtts://fog-1:8883");
  network.lose();
  connection->wake();
  world.loop.run_for(600'000);
  EXPECT_EQ(said(), before);
  EXPECT_EQ(network.connects_at_ms.size(), 1u);
  EXPECT_EQ(world.log.events["disconnected"], events);
  EXPECT_FALSE(connection->connected());
}

}  // namespace
}  // namespace lambda::agent
