// The world of the rules' tests: a store in memory, devices, and a receiver that is there or away.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "gateway/rules/rules.h"
#include "gateway/store/test_world.h"

namespace lambda::gateway {

// What somebody POSTed.
struct Posted {
  std::string url, body;
};

// Answers what it is told to, from the loop.
class TestReceiver final : public HttpPoster {
 public:
  explicit TestReceiver(EventLoop& loop) : loop_(loop) {}
  void post(HttpFetch fetch, std::string, std::string body, HttpFetcher::Done done) override {
    asked.push_back({fetch.url, body});
    loop_.post([this, fetch, body, done, life = life_] {
      if (life != life_) return;  // whoever asked was killed
      if (status == 0) return done(fail(ErrorCode::kUnavailable, fetch.url + ": away"));
      if (status < 300) got.push_back({fetch.url, body});
      done(HttpPage{status, "text/plain", ""});
    });
  }
  // Of what was taken: the members of the JSON bodies.
  std::vector<nlohmann::json> bodies() const {
    std::vector<nlohmann::json> all;
    for (const Posted& one : got) all.push_back(nlohmann::json::parse(one.body));
    return all;
  }
  void forget_askers() { ++life_; }

  int status = 200;  // 0: away
  std::vector<Posted> asked, got;

 private:
  EventLoop& loop_;
  int life_ = 0;
};

struct RulesWorld {
  RulesWorld() {
    options.directory = "/store/rules";
    options.site = "hall";
    options.gateway = "fog-1";
    options.gather_ms = 0;
    options.snapshot_interval_ms = 2'000;
    world.open();
  }
  ~RulesWorld() { rules.reset(); }

  void file(const std::string& name, const std::string& text) {
    const auto bytes = std::as_bytes(std::span(text.data(), text.size()));
    ASSERT_TRUE(world.disk.replace(options.directory + "/" + name, bytes));
  }
  void start() {
    Rules::Port port;
    port.publish = [this](const std::string& topic, const std::string& message,
                          std::function<void(const Status&)> done) -> Status {
      if (!broker) return fail(ErrorCode::kUnavailable, "no broker");
      published.emplace_back(topic, message);
      if (!broker_dies) world.loop.post([done = std::move(done)] { done({}); });
      return {};
    };
    port.live = [this](const std::string& selector, int64_t ms) { live_asked.emplace_back(selector, ms); };
    rules = std::make_unique<Rules>(world.env, options, *world.store, &receiver, std::move(port), Rules::Executor{});
    ASSERT_TRUE(rules->start());
    run_ms(1);
  }
  // Time passes, and everything that is due is done.
  void run_ms(int64_t ms) {
    bool over = false;
    world.loop.after(ms, [&] { over = true; });
    while (!over && world.loop.step(true)) {
    }
    world.loop.run();
  }
  // kill -9: what was written stays, what was under way does not.
  void kill() {
    receiver.forget_askers();
    world.loop.clear();
    rules.reset();
    world.kill();
  }
  void restart() {
    kill();
    world.open();
    start();
  }

  // Points of metric m<ref>, one a second from `t0`, as one parcel that arrives now.
  StoreRequest parcel(TestDevice& device, uint32_t ref, std::vector<double> values, int64_t t0) {
    TestBlock block;
    block.ref = ref;
    uint64_t& next = next_ordinal[{device.name, ref}];
    block.first = next;
    for (const double value : values) {
      block.points.push_back({t0, std::bit_cast<uint64_t>(value)});
      t0 += 1000;
    }
    const bool declared = next > 0;
    next += values.size();
    StoreRequest request = device.parcel({block}, declared ? std::vector<uint32_t>{} : std::vector<uint32_t>{ref});
    request.received_ms = now();
    return request;
  }
  void send(TestDevice& device, uint32_t ref, std::vector<double> values, int64_t t0) {
    const Decision decision = world.put(parcel(device, ref, std::move(values), t0));
    EXPECT_EQ(decision.verdict, Verdict::kStored) << decision.text;
    world.loop.run();
  }
  int64_t now() const { return world.clock.utc_ms(); }
  nlohmann::json alerts() { return nlohmann::json::parse(rules->alerts_json())["alerts"]; }
  size_t logged(const std::string& event) const {
    return static_cast<size_t>(std::count_if(world.log.lines.begin(), world.log.lines.end(),
                                             [&](const auto& line) { return line.rfind(event, 0) == 0; }));
  }

  TestWorld world;
  RulesOptions options;
  TestReceiver receiver{world.loop};
  bool broker = true;
  bool broker_dies = false;  // with what it was sent
  std::vector<std::pair<std::string, std::string>> published;
  std::vector<std::pair<std::string, int64_t>> live_asked;
  std::map<std::pair<std::string, uint32_t>, uint64_t> next_ordinal;
  std::unique_ptr<Rules> rules;
};

inline constexpr const char* kHot =
    "CREATE STREAM m1 (dev TEXT, site TEXT, value DOUBLE);\n"
    "CREATE RULE hot AS SELECT dev, site, value FROM m1 PARTITION BY dev ALERT ON value > 90 CLEAR value < 80\n"
    "  DO log(), webhook('http://hook:80/x');\n";

struct RulesTest : ::testing::Test, RulesWorld {
  TestDevice press{"press-7", 11}, mill{"mill-2", 12};

  // "firing press-7 95"
  // Each event once: a receiver may get it again.
  std::vector<std::string> told() const {
    std::vector<std::string> all;
    std::set<std::string> ids;
    for (const Posted& one : receiver.got) {
      if (one.url.find("hook") == std::string::npos) continue;
      const auto body = nlohmann::json::parse(one.body);
      if (!ids.insert(body["id"].get<std::string>()).second) continue;
      all.push_back(body["kind"].get<std::string>() + " " + body["fields"].value("dev", "") + " " +
                    body["fields"]["value"].dump());
    }
    return all;
  }
};

}  // namespace lambda::gateway
