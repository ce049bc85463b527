#include "gateway/broker/broker.h"

#include <gtest/gtest.h>

#include <csignal>

#include "gateway/broker/session_ender.h"
#include "gateway/store/test_world.h"

namespace lambda::gateway {
namespace {

// Children that end when a test says so.
struct FakeChild final : ChildProcess {
  FakeChild(int64_t pid, std::vector<int>* to) : pid_(pid), signals(to) {}
  int64_t pid() const override { return pid_; }
  void signal(int number) override { signals->push_back(number); }
  int64_t pid_;
  std::vector<int>* signals;
};

struct FakeProcesses final : Processes {
  Result<std::unique_ptr<ChildProcess>> spawn(const std::vector<std::string>& arguments,
                                              std::function<void(int)> exited) override {
    commands.push_back(arguments);
    if (missing) return fail(ErrorCode::kNotFound, "no such program");
    last_exited = std::move(exited);
    return std::unique_ptr<ChildProcess>(std::make_unique<FakeChild>(static_cast<int64_t>(commands.size()), &signals));
  }
  std::vector<std::vector<std::string>> commands;
  std::function<void(int)> last_exited;
  std::vector<int> signals;
  bool missing = false;
};

struct BrokerTest : ::testing::Test {
  BrokerTest() {
    options.site_directory = "/site";
    options.directory = "/site/broker";
    options.names = {"localhost", "::1"};
    options.config.site = "hall";
    options.config.gateway = "fog-1";
    options.config.port = 8883;
  }
  std::string file(const std::string& path) { return world.disk.files[path].bytes; }
  // The child ends after `lived_ms`; then time goes on until the next start.
  void die(int64_t lived_ms) {
    world.clock.us += lived_ms * 1000;
    processes.last_exited(1);
    const size_t before = processes.commands.size();
    while (processes.commands.size() == before && world.loop.step()) {
    }
  }
  TestWorld world;
  FakeProcesses processes;
  Env env{world.clock, world.loop, world.disk, world.network, world.random, processes, world.log};
  BrokerOptions options;
};

TEST_F(BrokerTest, StartsMosquittoWithItsOwnConfiguration) {
  Broker broker(env, options);
  ASSERT_TRUE(broker.start());
  ASSERT_EQ(processes.commands.size(), 1u);
  EXPECT_EQ(processes.commands[0],
            (std::vector<std::string>{"/usr/sbin/mosquitto", "-c", "/site/broker/mosquitto.conf"}));
  const std::string conf = file("/site/broker/mosquitto.conf");
  for (const char* line : {"listener 8883 127.0.0.1\n", "require_certificate true\n", "use_identity_as_username true\n",
                           "use_username_as_clientid true\n", "allow_anonymous false\n", "persistence false\n",
                           "max_packet_size 4195328\n"}) {
    EXPECT_NE(conf.find(line), std::string::npos) << line;
  }
  EXPECT_EQ(file("/site/broker/mosquitto.acl").substr(file("/site/broker/mosquitto.acl").find("user ")),
            "user fog-1\ntopic readwrite lambda/v1/hall/#\n\n"
            "pattern write lambda/v1/hall/%u/up\npattern write lambda/v1/hall/%u/live\n"
            "pattern write lambda/v1/hall/%u/state\npattern read lambda/v1/hall/%u/down\n"
            "pattern read lambda/v1/hall/interest/#\n");
}

TEST_F(BrokerTest, IsStartedAgainAfterGrowingPausesThatASettledLifeEnds) {
  Broker broker(env, options);
  ASSERT_TRUE(broker.start());
  std::vector<int64_t> pauses;
  for (int64_t lived_ms : {100, 100, 100, 60'000, 100}) {
    const int64_t before = world.clock.us + lived_ms * 1000;
    die(lived_ms);
    pauses.push_back((world.clock.us - before) / 1000);
  }
  EXPECT_EQ(pauses, (std::vector<int64_t>{250, 500, 1000, 250, 500}));
  EXPECT_EQ(broker.exits(), 5u);
  for (int i = 0; i < 20; ++i) die(100);
  const int64_t before = world.clock.us;
  die(0);
  EXPECT_EQ((world.clock.us - before) / 1000, 30'000) << "and never longer";
}

TEST_F(BrokerTest, AMissingProgramIsTriedAgainToo) {
  processes.missing = true;
  Broker broker(env, options);
  ASSERT_TRUE(broker.start());
  EXPECT_TRUE(world.log.has("broker_not_started"));
  processes.missing = false;
  while (broker.pid() == 0 && world.loop.step()) {
  }
  EXPECT_NE(broker.pid(), 0);
}

TEST_F(BrokerTest, AFreePortIsFoundAndThenKept) {
  options.config.port = 0;
  uint16_t port = 0;
  {
    Broker broker(env, options);
    ASSERT_TRUE(broker.start());
    const uint16_t first = broker.port();
    EXPECT_NE(first, 0);
    die(10);  // it was taken
    port = broker.port();
    EXPECT_NE(port, first);
    broker.proved();
    EXPECT_NE(file("/site/broker.json").find("\"mqtts://localhost:" + std::to_string(port) + "\",\"mqtts://[::1]:"),
              std::string::npos)
        << file("/site/broker.json");
    die(10);  // a former one of ours may hold it still
    EXPECT_EQ(broker.port(), port);
  }
  Broker again(env, options);
  ASSERT_TRUE(again.start());
  EXPECT_EQ(again.port(), port) << "devices' bundles name it";
}

TEST_F(BrokerTest, AConfiguredPortIsNeverChanged) {
  Broker broker(env, options);
  ASSERT_TRUE(broker.start());
  for (int i = 0; i < 20; ++i) die(10);
  EXPECT_EQ(broker.port(), 8883);
}

TEST_F(BrokerTest, StopAsksTheChildToEndAndStartsNoOther) {
  Broker broker(env, options);
  ASSERT_TRUE(broker.start());
  broker.reload();
  broker.stop();
  EXPECT_EQ(processes.signals, (std::vector<int>{SIGHUP, SIGTERM}));
  processes.last_exited(0);
  world.loop.run(true);
  EXPECT_EQ(processes.commands.size(), 1u);
}

TEST(OwnHost, IsLoopbackWhenTheBrokerListensEverywhere) {
  EXPECT_EQ(own_host("0.0.0.0"), "127.0.0.1");
  EXPECT_EQ(own_host("::"), "::1");
  EXPECT_EQ(own_host("127.0.0.2"), "127.0.0.2");
}

// A network whose connections succeed, fail or hang.
struct FakeNetwork final : Network {
  struct Bus final : MessageBus {
    Bus(FakeNetwork& n, Handlers h) : network(n), handlers(std::move(h)) {}
    void connect() override {
      if (network.hang) return;
      network.loop.post([this] {
        if (network.refuse) {
          handlers.disconnected({ErrorCode::kUnavailable, "refused"});
        } else {
          handlers.connected("mqtts://x");
        }
      });
    }
    void disconnect() override {}
    Status publish(const std::string&, std::span<const std::byte>, int, bool) override { return {}; }
    Status publish_acknowledged(const std::string&, std::span<const std::byte>,
                                std::function<void(const Status&)>) override {
      return fail(ErrorCode::kUnavailable, "not here");
    }
    Status subscribe(const std::string&, int) override { return {}; }
    FakeNetwork& network;
    Handlers handlers;
  };
  explicit FakeNetwork(EventLoop& l) : loop(l) {}
  std::unique_ptr<MessageBus> bus(BusOptions options, MessageBus::Handlers handlers) override {
    clients.push_back(options.client_id);
    return std::make_unique<Bus>(*this, std::move(handlers));
  }
  Result<std::unique_ptr<HttpServer>> listen_http(HttpOptions, HttpServer::Handler) override {
    return fail(ErrorCode::kUnavailable, "none here");
  }
  EventLoop& loop;
  bool refuse = false, hang = false;
  std::vector<std::string> clients;
};

struct SessionEnderTest : ::testing::Test {
  TestWorld world;
  FakeNetwork network{world.loop};
  Env env{world.clock, world.loop, world.disk, network, world.random, world.processes, world.log};
  SessionEnderOptions options;
  SessionEnder ender{env, options, [] { return "mqtts://x"; },
                     [](const std::string&) -> Result<EvictionFiles> { return EvictionFiles{}; }};
};

TEST_F(SessionEnderTest, ConnectsOnceInTheDevicesNameHoweverOftenItIsAsked) {
  for (int i = 0; i < 100; ++i) ender.end("press-7");
  world.loop.run();
  for (int i = 0; i < 100; ++i) ender.end("press-7");
  world.loop.run();
  EXPECT_EQ(network.clients, std::vector<std::string>{"press-7"});
  EXPECT_EQ(ender.counters().ended, 1u);
  world.clock.us += options.again_after_ms * 1000;
  ender.end("press-7");
  world.loop.run();
  EXPECT_EQ(network.clients.size(), 2u) << "and again when it is back later";
}

TEST_F(SessionEnderTest, OneAfterTheOther) {
  ender.end("a");
  ender.end("b");
  ender.end("c");
  EXPECT_TRUE(network.clients.empty()) << "nothing happens inside the call";
  world.loop.run();
  EXPECT_EQ(network.clients, (std::vector<std::string>{"a", "b", "c"}));
}

TEST_F(SessionEnderTest, FailuresAreTriedAgainAFewTimesAndThenLeft) {
  network.refuse = true;
  ender.end("press-7");
  for (int i = 0; i < 1000 && world.loop.step(true); ++i) {
  }
  EXPECT_EQ(network.clients.size(), options.tries_max);
  EXPECT_EQ(ender.counters().failed, options.tries_max);
  EXPECT_EQ(ender.waiting(), 0u);
}

TEST_F(SessionEnderTest, ABrokerThatNeverAnswersDoesNotStopTheOthers) {
  network.hang = true;
  ender.end("a");
  world.loop.run();
  network.hang = false;
  ender.end("b");
  while (ender.counters().ended == 0 && world.loop.step(true)) {
  }
  EXPECT_EQ(network.clients[1], "b");
}

TEST_F(SessionEnderTest, WishesOverTheBoundAreDroppedAndCounted) {
  network.hang = true;
  for (int i = 0; i < 5000; ++i) ender.end("device-" + std::to_string(i));
  EXPECT_LE(ender.waiting(), options.waiting_devices_max + 1);
  EXPECT_GE(ender.counters().dropped, 5000 - options.waiting_devices_max - 1);
}

}  // namespace
}  // namespace lambda::gateway
