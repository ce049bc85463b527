#include "gateway/node.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "gateway/site/registry.h"
#include "gateway/store/test_world.h"
#include "proto/lambda.pb.h"

namespace lambda::gateway {
namespace {

// A broker that is there or not, and an HTTP server that is a function.
struct FakeNetwork final : Network {
  struct Bus final : MessageBus {
    Bus(FakeNetwork& n, BusOptions o, Handlers h) : network(n), options(std::move(o)), handlers(std::move(h)) {}
    ~Bus() override { network.buses.erase(this); }
    void connect() override {
      ++network.connects;
      network.loop.post([this, &n = network] {
        if (!n.buses.contains(this)) return;
        if (n.away) {
          handlers.disconnected({ErrorCode::kUnavailable, "away"});
        } else {
          up = true;
          handlers.connected(options.urls[0]);
        }
      });
    }
    void disconnect() override { up = false; }
    Status publish(const std::string& topic, std::span<const std::byte> payload, int, bool retained) override {
      if (!up) return fail(ErrorCode::kUnavailable, "not connected");
      network.published.push_back(
          {topic, std::string(reinterpret_cast<const char*>(payload.data()), payload.size()), retained});
      return {};
    }
    Status publish_acknowledged(const std::string&, std::span<const std::byte>,
                                std::function<void(const Status&)>) override {
      return fail(ErrorCode::kUnavailable, "not here");
    }
    Status subscribe(const std::string& filter, int) override {
      network.subscribed.push_back(filter);
      if (!network.confirms) return {};
      network.loop.post([this, filter, &n = network] {
        if (n.buses.contains(this) && up) handlers.subscribed(filter);
      });
      return {};
    }
    FakeNetwork& network;
    BusOptions options;
    Handlers handlers;
    bool up = false;
  };
  struct Http final : HttpServer {
    uint16_t port() const override { return 8700; }
  };
  struct Published {
    std::string topic, payload;
    bool retained;
  };

  explicit FakeNetwork(EventLoop& l) : loop(l) {}
  std::unique_ptr<MessageBus> bus(BusOptions options, MessageBus::Handlers handlers) override {
    auto made = std::make_unique<Bus>(*this, std::move(options), std::move(handlers));
    buses.insert(made.get());
    return made;
  }
  Result<std::unique_ptr<HttpServer>> listen_http(HttpOptions, HttpServer::Handler handler) override {
    if (port_taken) return fail(ErrorCode::kUnavailable, "127.0.0.1:8700: in use");
    http = std::move(handler);
    return std::unique_ptr<HttpServer>(std::make_unique<Http>());
  }
  HttpResponse ask(const std::string& path, std::multimap<std::string, std::string> parameters = {}) {
    HttpResponse answer;
    http({"GET", path, std::move(parameters), {}, {}}, [&](HttpResponse response) { answer = std::move(response); });
    return answer;
  }
  void lose() {
    for (Bus* bus : buses) {
      if (!bus->up) continue;
      bus->up = false;
      bus->handlers.disconnected({ErrorCode::kUnavailable, "lost"});
    }
  }
  EventLoop& loop;
  bool away = false, port_taken = false, confirms = true;
  int connects = 0;
  std::set<Bus*> buses;
  std::vector<Published> published;
  std::vector<std::string> subscribed;
  HttpServer::Handler http;
};

struct NodeTest : ::testing::Test {
  NodeTest() {
    config.gateway = "fog-1";
    config.site = "hall";
    config.site_directory = "/site";
    config.broker_mode = "none";
    config.broker_url = "mqtt://127.0.0.1:1883";
    config.store.directory = "/store";
    config.store.index_in_memory = true;
    world.disk.files["/site/.keep"];
  }
  void start() {
    node = std::make_unique<Node>(env, config);
    ASSERT_TRUE(node->start());
    run_ms(1000);
  }
  void run_ms(int64_t ms) {
    bool over = false;
    env.loop.after(ms, [&] { over = true; });
    while (!over && world.loop.step(true)) {
    }
  }
  size_t announcements() const {
    size_t n = 0;
    for (const auto& p : network.published) n += p.topic == "lambda/v1/hall/interest/all" && p.retained;
    return n;
  }
  TestWorld world;
  FakeNetwork network{world.loop};
  Env env{world.clock, world.loop, world.disk, network, world.random, world.processes, world.log};
  GatewayConfig config;
  std::unique_ptr<Node> node;
};

TEST_F(NodeTest, AnnouncesItselfAtEachConnectionWithTheSameIncarnation) {
  start();
  EXPECT_TRUE(node->ready());
  EXPECT_EQ(network.subscribed,
            (std::vector<std::string>{"lambda/v1/hall/+/up", "lambda/v1/hall/+/state", "lambda/v1/hall/+/live"}));
  ASSERT_EQ(announcements(), 1u);
  network.lose();
  EXPECT_FALSE(node->ready());
  EXPECT_EQ(network.ask("/readyz").status, 503);
  run_ms(2000);
  EXPECT_TRUE(node->ready());
  ASSERT_EQ(announcements(), 2u);
  v1::Interest first, second;
  ASSERT_TRUE(first.ParseFromString(network.published[0].payload));
  ASSERT_TRUE(second.ParseFromString(network.published[1].payload));
  EXPECT_NE(first.incarnation(), 0u);
  EXPECT_EQ(first.incarnation(), second.incarnation());
  EXPECT_EQ(first.gateway(), "fog-1");
}

TEST_F(NodeTest, IsReadyOnlyWhenTheBrokerConfirmedItsSubscriptionsOnThisConnection) {
  network.confirms = false;
  start();
  EXPECT_EQ(network.subscribed.size(), 3u);
  EXPECT_FALSE(node->ready());
  EXPECT_EQ(network.ask("/readyz").status, 503);
  const auto bus = std::find_if(network.buses.begin(), network.buses.end(), [](const auto* one) { return one->up; });
  ASSERT_NE(bus, network.buses.end());
  (*bus)->handlers.subscribed(network.subscribed[0]);
  (*bus)->handlers.subscribed(network.subscribed[1]);
  EXPECT_FALSE(node->ready()) << "two of three";
  (*bus)->handlers.subscribed(network.subscribed[2]);
  EXPECT_TRUE(node->ready());
  network.lose();
  run_ms(2000);
  EXPECT_EQ(network.subscribed.size(), 6u);
  EXPECT_FALSE(node->ready()) << "what the connection before confirmed does not count";
}

TEST_F(NodeTest, ABrokerThatIsAwayIsAskedForWithGrowingPauses) {
  network.away = true;
  start();
  run_ms(60'000);
  EXPECT_GE(network.connects, 10);
  EXPECT_LE(network.connects, 40) << "a storm";
  network.away = false;
  run_ms(6'000);
  EXPECT_TRUE(node->ready());
}

TEST_F(NodeTest, SaysWhatItIsOverHttp) {
  start();
  EXPECT_EQ(network.ask("/healthz").status, 200);
  EXPECT_EQ(network.ask("/readyz").status, 200);
  EXPECT_NE(network.ask("/metrics").body.find("lambda_gateway_ready 1"), std::string::npos);
  EXPECT_NE(network.ask("/api/v1/lambda/status").body.find("\"site\":\"hall\""), std::string::npos);
  EXPECT_EQ(network.ask("/api/v1/query").status, 400) << "no expression";
  EXPECT_EQ(network.ask("/nowhere").status, 404);
}

// One question makes a series wanted, what a device then says shows in the next; a list makes nothing wanted.
TEST_F(NodeTest, WhatAQuestionReadsIsWantedAndWhatComesLiveIsSeen) {
  start();
  Enrolled enrolled;
  enrolled.device = "press-7";
  enrolled.fingerprint = "ab";
  enrolled.serial = "1a";
  world.disk.files["/site/registry.jsonl"].bytes += Registry::enroll_line(enrolled, false);
  const auto wanted = [&] {
    run_ms(1000);
    v1::Interest interest;
    EXPECT_TRUE(interest.ParseFromString(network.published.back().payload));
    return std::vector<std::string>(interest.selectors().begin(), interest.selectors().end());
  };
  EXPECT_EQ(network.ask("/api/v1/series", {{"match[]", "m1"}}).status, 200);
  EXPECT_EQ(network.ask("/api/v1/label/job/values").status, 200);
  EXPECT_TRUE(wanted().empty());
  const auto first = network.ask("/api/v1/query", {{"query", "sum(rate(m1{job=\"a\"}[1m])) + m2 offset 1d"}});
  EXPECT_EQ(first.status, 200);
  EXPECT_EQ(wanted(), (std::vector<std::string>{"m1{job=\"a\"}"})) << "and not what is a day old";
  EXPECT_EQ(network.ask("/api/v1/query", {{"query", "m1"}}).status, 200);
  EXPECT_EQ(wanted().size(), 2u);

  TestDevice device;
  const int64_t now_ms = world.clock.utc_ms();
  v1::Live live;
  live.set_version(1);
  live.set_boot(device.boot);
  v1::Declaration* declaration = live.add_declarations();
  declaration->set_ref(1);
  declaration->set_name("m1");
  declaration->set_kind(v1::GAUGE);
  declaration->set_type(v1::F64);
  const StoreRequest same = device.parcel({test_block(1, 0, 5, now_ms - 1'000)});
  live.add_blocks(std::string(same.blocks[0].bytes));
  const std::string message = live.SerializeAsString();
  const auto bus = std::find_if(network.buses.begin(), network.buses.end(), [](const auto* one) { return one->up; });
  ASSERT_NE(bus, network.buses.end());
  (*bus)->handlers.message("lambda/v1/hall/press-7/live", std::as_bytes(std::span(message.data(), message.size())));
  const std::string second = network.ask("/api/v1/query", {{"query", "m1"}}).body;
  EXPECT_NE(second.find("\"instance\":\"press-7\""), std::string::npos) << second;
  EXPECT_NE(second.find("\"4\"]"), std::string::npos) << second;
  EXPECT_NE(network.ask("/metrics").body.find("lambda_live_points_total{result=\"first\"} 5"), std::string::npos);
}

TEST_F(NodeTest, ListsDevicesOfTheRegistryAsItChanges) {
  start();
  Enrolled enrolled;
  enrolled.device = "press-7";
  enrolled.fingerprint = "ab";
  enrolled.serial = "1a";
  world.disk.files["/site/registry.jsonl"].bytes += Registry::enroll_line(enrolled, false);
  run_ms(1000);
  EXPECT_NE(network.ask("/api/v1/lambda/devices").body.find("\"device\":\"press-7\",\"state\":\"new\""),
            std::string::npos)
      << network.ask("/api/v1/lambda/devices").body;
  world.disk.files["/site/registry.jsonl"].bytes += Registry::revoke_line("press-7", 1, false);
  run_ms(1000);
  EXPECT_NE(network.ask("/api/v1/lambda/devices").body.find("\"state\":\"revoked\""), std::string::npos);
}

TEST_F(NodeTest, AReloadTakesLimitsAndRefusesWhatNeedsARestart) {
  start();
  GatewayConfig next = config;
  next.ingest.device_messages_per_s = 3;
  EXPECT_TRUE(node->reload(next));
  next.site = "mill";
  auto refused = node->reload(next);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().text.find("site.name"), std::string::npos);
  next = config;
  next.store.directory = "/elsewhere";
  EXPECT_FALSE(node->reload(next));
  next = config;
  next.http.port = 1;
  EXPECT_FALSE(node->reload(next));
  next = config;
  next.live.interest.keep_ms += 1;
  EXPECT_FALSE(node->reload(next));
}

TEST_F(NodeTest, StopEndsWithItsAnswerAndNothingGoesOnAfterwards) {
  start();
  bool stopped = false;
  node->stop([&] { stopped = true; });
  EXPECT_FALSE(stopped) << "never inside the call";
  run_ms(Node::kStopMsMax + 1000);
  EXPECT_TRUE(stopped);
  node.reset();
  const int connects = network.connects;
  run_ms(60'000);
  EXPECT_EQ(network.connects, connects);
}

TEST_F(NodeTest, ItMayBeDestroyedAtAnyMomentAsACrashDoes) {
  for (int steps = 0; steps < 60; ++steps) {
    node = std::make_unique<Node>(env, config);
    ASSERT_TRUE(node->start());
    for (int i = 0; i < steps; ++i) world.loop.step(true);
    node.reset();
    world.loop.run();
  }
}

TEST_F(NodeTest, APortThatIsTakenIsAnErrorThatNamesIt) {
  network.port_taken = true;
  node = std::make_unique<Node>(env, config);
  auto started = node->start();
  ASSERT_FALSE(started);
  EXPECT_NE(started.error().text.find("8700"), std::string::npos);
}

struct ConfigTest : ::testing::Test {
  Result<GatewayConfig> load(const std::string& text) {
    world.disk.files["/g.toml"].bytes = text;
    return load_gateway_config(
        world.disk, [](const std::string&) { return std::nullopt; }, "/g.toml");
  }
  TestWorld world;
};

TEST_F(ConfigTest, AnEmptyFileIsTheDefaults) {
  auto config = load("");
  ASSERT_TRUE(config) << config.error().text;
  EXPECT_EQ(config->http.port, 8700);
  EXPECT_EQ(config->http.address, "127.0.0.1");
  EXPECT_EQ(config->broker_port, 8883);
  EXPECT_TRUE(config->uses_tls());
}

TEST_F(ConfigTest, ProblemsNameFileLineAndKey) {
  const std::pair<const char*, const char*> cases[] = {
      {"[gateway]\nid = \"Fog 1\"\n", "/g.toml:2: gateway.id"},
      {"[broker]\nmode = \"none\"\n", "broker.url"},
      {"[broker]\nmode = \"child\"\nurl = \"mqtts://fog:1\"\n", "broker.url"},
      {"[broker]\nmode = \"other\"\n", "/g.toml:2: broker.mode"},
      {"[http]\nport = 70000\n", "/g.toml:2: http.port"},
      {"[store]\nfree_bytes_min = 5\nfree_bytes_resume = 4\n", "store.free_bytes_resume"},
      {"[ingest]\nmessage_byte_max = 5000\n", "ingest.message_bytes_max"},
      {"[broker]\nmessage_bytes_max = 1048576\n[ingest]\nmessage_bytes_max = 1048577\n",
       "/g.toml:2: broker.message_bytes_max: must not be less than ingest.message_bytes_max, which is 1048577"},
      {"[site\n", "/g.toml:1"},
  };
  for (const auto& [text, names] : cases) {
    auto config = load(text);
    ASSERT_FALSE(config) << text;
    EXPECT_NE(config.error().text.find(names), std::string::npos) << text << config.error().text;
  }
}

TEST_F(ConfigTest, HelpNamesEveryKey) {
  GatewayConfig config;
  const std::string help = gateway_config_table(config)->help();
  for (const char* key : {"gateway.id", "site.directory", "broker.mode", "broker.port", "http.token", "store.directory",
                          "ingest.message_bytes_max", "quarantine.bytes_max", "log.level"}) {
    EXPECT_NE(help.find(key), std::string::npos) << key;
  }
}

}  // namespace
}  // namespace lambda::gateway
