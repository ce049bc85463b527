// The same question, asked of a device out of its memory and, once its parcels are acked, of the gateway's store: the
// answers are the same to the last bit. The device is the SDK, the gateway's ingest and store are the real ones.
#include "gateway/questions/device_queries.h"

#include <gtest/gtest.h>

#include <cmath>
#include <deque>
#include <random>

#include "gateway/ingest/test_world.h"
#include "lambda/lambda.h"
#include "port/posix/posix_port.h"
#include "query/http_api.h"

namespace lambda::gateway {
namespace {

const lam_label kLabels[] = {{"line", "2"}, {"zone", "a"}};
const lam_series_spec kStrokes{"press_strokes_total", kLabels, 2, LAM_COUNTER, LAM_I64, 0, "strokes"};
const lam_series_spec kTemperature{"press_temperature", nullptr, 0, LAM_GAUGE, LAM_DEC, 2, "celsius"};
const lam_series_spec kForce{"press_force", kLabels, 1, LAM_GAUGE, LAM_F64, 0, "newton"};
const lam_series_spec kDoor{"press_door_state", nullptr, 0, LAM_STATE, LAM_STATE64, 0, nullptr};
const lam_series_spec kVibration{"press_vibration_steps", nullptr, 0, LAM_GAUGE, LAM_I64, 0, nullptr};

using Parameters = std::multimap<std::string, std::string>;

class DeviceQueriesTest : public testing::Test {
 protected:
  void SetUp() override {
    world.open();
    Enrolled enrolled;
    enrolled.device = "press-7";
    enrolled.public_key = SigningKey::from_hex(std::string(63, '0') + "7").value().public_key();
    enrolled.fingerprint = "ab";
    enrolled.serial = "1a";
    world.disk.files["/site/registry.jsonl"].bytes += Registry::enroll_line(enrolled, false);
    EXPECT_TRUE(registry.refresh());
    const auto publish = [this](const std::string& topic, std::string_view message) -> Status {
      EXPECT_EQ(topic, "lambda/v1/hall/press-7/down");
      if (!connected) return fail(ErrorCode::kUnavailable, "not connected");
      incoming.emplace_back(message);
      return {};
    };
    IngestPort port;
    port.publish = publish;
    ingest = std::make_unique<Ingest>(world.env, IngestOptions{"hall", "fog-1", {}, {"/quarantine"}}, *world.store,
                                      registry, std::move(port));
    QuestionsOptions options;
    options.site = "hall";
    questions = std::make_unique<Questions>(world.env, options, QuestionsPort{publish});
    queries = std::make_unique<DeviceQueries>(
        world.env, "hall", *questions, [this](const std::string&) { return standing; }, query::HttpApiOptions{},
        query::HttpApi::Executor{});
    start_device();
  }

  void start_device() {
    lam_config config = {};
    config.site = "hall";
    config.device = "press-7";
    config.series_max = 8;
    config.block_bytes_max = 1024;
    lam_port port = {};
    port.context = this;
    port.mono_ms = [](void* context) { return of(context).world.clock.us / 1000; };
    port.utc_ms = [](void* context, int64_t* utc) {
      *utc = of(context).world.clock.utc_ms() + of(context).clock_wrong_ms;
      return true;
    };
    port.random = [](void* context) { return uint64_t{of(context).random()}; };
    port.sha256_start = posix_hash().start;
    port.sha256_update = posix_hash().update;
    port.sha256_finish = posix_hash().finish;
    port.sign = [](void*, const uint8_t* digest, uint8_t* signature) {
      uint8_t secret[kSecretBytes] = {};
      secret[31] = 7;
      return posix_sign(secret, digest, signature);
    };
    port.publish = [](void* context, lam_topic, const uint8_t* bytes, size_t size) {
      of(context).outgoing.emplace_back(reinterpret_cast<const char*>(bytes), size);
      return true;
    };
    memory.resize(40'000);
    ASSERT_EQ(lam_init(memory.data(), memory.size() * 8, &config, &port, &device), LAM_OK);
    desk.resize(512);
    ASSERT_EQ(lam_answer_questions(device, desk.data(), desk.size() * 8), LAM_OK);
    lam_connected(device);
  }
  static DeviceQueriesTest& of(void* context) { return *static_cast<DeviceQueriesTest*>(context); }

  lam_series declare(const lam_series_spec& spec) {
    lam_series ref = 0;
    EXPECT_EQ(lam_declare(device, &spec, &ref), LAM_OK);
    return ref;
  }
  // Both ends do what is due, then time passes.
  void turn(int64_t ms) {
    lam_poll(device);
    for (; !outgoing.empty(); outgoing.pop_front()) {
      const auto bytes = bytes_of(outgoing.front());
      if (is_answer(bytes)) {
        questions->message("press-7", bytes);
      } else {
        ingest->message("lambda/v1/hall/press-7/up", bytes);
      }
    }
    world.loop.run();
    for (; !incoming.empty(); incoming.pop_front()) {
      lam_incoming(device, LAM_DOWN, reinterpret_cast<const uint8_t*>(incoming.front().data()),
                   incoming.front().size());
    }
    world.clock.us += ms * 1000;
  }
  void settle() {
    lam_flush(device);
    lam_counters counters;
    for (int i = 0; i < 2'000; ++i) {
      turn(10);
      lam_get_counters(device, &counters);
      if (counters.points_waiting == 0) return;
    }
    FAIL() << counters.points_waiting << " points wait";
  }
  HttpResponse ask_device(const std::string& path, Parameters parameters) {
    std::optional<HttpResponse> answer;
    parameters.emplace("device", "press-7");
    queries->handle({"GET", path, std::move(parameters), {}, {}},
                    [&](HttpResponse response) { answer = std::move(response); });
    for (int i = 0; i < 20'000 && !answer; ++i) turn(1);
    if (!answer) ADD_FAILURE() << "never answered";
    return answer.value_or(HttpResponse{});
  }
  HttpResponse ask_store(const std::string& path, Parameters parameters) {
    HttpResponse answer;
    query::HttpApi(*world.store, world.clock, {})
        .handle({"GET", path, std::move(parameters), {}, {}}, [&](HttpResponse response) { answer = response; });
    return answer;
  }

  TestWorld world;
  Registry registry{world.disk, world.log, "/site"};
  Status standing;
  bool connected = true;
  int64_t clock_wrong_ms = 0;
  std::mt19937_64 random{11};
  std::deque<std::string> outgoing, incoming;
  std::unique_ptr<Ingest> ingest;
  std::unique_ptr<Questions> questions;
  std::unique_ptr<DeviceQueries> queries;
  std::vector<uint64_t> memory, desk;
  lam_device* device = nullptr;
};

std::string seconds(int64_t ms) {
  std::string rest = std::to_string(ms % 1000);
  return std::to_string(ms / 1000) + "." + std::string(3 - rest.size(), '0') + rest;
}

TEST_F(DeviceQueriesTest, TenMinutesOfADeviceGiveTheSameNumbersFromItsMemoryAndFromTheStoreAfterwards) {
  const lam_series strokes = declare(kStrokes), temperature = declare(kTemperature), force = declare(kForce),
                   door = declare(kDoor), vibration = declare(kVibration);
  std::mt19937_64 dice(20'261'122);
  int64_t count = 0;
  for (int i = 0; i < 600; ++i) {
    count = i == 400 ? 3 : count + static_cast<int64_t>(dice() % 5);
    ASSERT_EQ(lam_append_i64(device, strokes, count), LAM_OK);
    ASSERT_EQ(lam_append_dec(device, temperature, 2000 + static_cast<int64_t>(dice() % 1000)), LAM_OK);
    const double f = std::ldexp(static_cast<double>(static_cast<int64_t>(dice() >> 12)), static_cast<int>(dice() % 20));
    ASSERT_EQ(lam_append_f64(device, force, i % 2 == 0 ? f : -f), LAM_OK);
    ASSERT_EQ(lam_append_state(device, door, i / 60 % 2), LAM_OK);
    const int64_t now_ms = lam_now_ms(device);
    for (int k = 0; k < 10; ++k) {
      ASSERT_EQ(lam_append_at(device, vibration, now_ms + k * 100, dice() % 4096), LAM_OK);
    }
    turn(500);
    turn(500);
  }
  const int64_t end_ms = lam_now_ms(device);
  const std::string end = seconds(end_ms);
  std::vector<std::pair<std::string, Parameters>> asked;
  for (const char* text :
       {"press_temperature", "{__name__=~\"press_.+\"}", "press_force{line=\"2\"}", "press_force{zone=\"\"}",
        "press_force{line=\"3\"}", "press_temperature offset 4m", "press_temperature[10m]",
        "{instance=\"press-7\"}[90s]", "avg_over_time(press_temperature[217s])", "rate(press_strokes_total[5m])",
        "increase(press_strokes_total[10m])", "stddev_over_time(press_temperature[10m])",
        "quantile_over_time(0.9, press_vibration_steps[10m])",
        "avg_over_time(press_force[3m]) / on(instance) group_left avg_over_time(press_temperature[3m])",
        "changes(press_door_state[10m])", "max_over_time(rate(press_strokes_total[1m])[5m:30s])", "absent(nothing)"}) {
    asked.push_back({"/api/v1/query", {{"query", text}, {"time", end}}});
  }
  for (const char* text :
       {"press_temperature", "avg_over_time(press_vibration_steps[1m])", "rate(press_strokes_total[1m])"}) {
    asked.push_back(
        {"/api/v1/query_range", {{"query", text}, {"start", seconds(end_ms - 600'000)}, {"end", end}, {"step", "15"}}});
  }
  lam_counters counters;
  lam_get_counters(device, &counters);
  ASSERT_GT(counters.points_waiting, 100u) << "some of it is on the device only";
  ASSERT_GT(counters.points_settled, 1000u);
  ASSERT_EQ(counters.points_dropped, 0u);
  std::vector<std::string> by_device;
  for (const auto& [path, parameters] : asked) {
    const HttpResponse answer = ask_device(path, parameters);
    EXPECT_EQ(answer.status, 200) << answer.body;
    by_device.push_back(answer.body);
  }
  settle();
  size_t samples = 0;
  for (size_t i = 0; i < asked.size(); ++i) {
    const HttpResponse stored = ask_store(asked[i].first, asked[i].second);
    EXPECT_EQ(stored.status, 200);
    EXPECT_EQ(by_device[i], stored.body) << asked[i].second.find("query")->second;
    samples += stored.body.size();
  }
  EXPECT_GT(samples, 40'000u) << "they had something to say";
  // And again when the store has made larger blocks of them: sums do not depend on where blocks end.
  while (world.store->merge_slice()) world.loop.run();
  for (size_t i = 0; i < asked.size(); ++i) {
    EXPECT_EQ(by_device[i], ask_store(asked[i].first, asked[i].second).body);
  }
  lam_question_counters desk_counters;
  lam_get_question_counters(device, &desk_counters);
  EXPECT_EQ(desk_counters.answered, questions->counters().answered);
  EXPECT_EQ(desk_counters.refused + desk_counters.expired + desk_counters.malformed, 0u);
}

TEST_F(DeviceQueriesTest, ASumOverTenMinutesCostsAFewNumbersAndAPointOne) {
  const lam_series vibration = declare(kVibration);
  for (int i = 0; i < 6000; ++i) {
    ASSERT_EQ(lam_append_i64(device, vibration, static_cast<int64_t>(random() % 4096)), LAM_OK);
    turn(100);
  }
  const auto bytes_of_question = [&](const char* text) {
    const uint64_t before = questions->counters().bytes;
    EXPECT_EQ(ask_device("/api/v1/query", {{"query", text}}).status, 200);
    return questions->counters().bytes - before;
  };
  EXPECT_LT(bytes_of_question("avg_over_time(press_vibration_steps[10m])"), 200u);
  EXPECT_LT(bytes_of_question("press_vibration_steps"), 150u);
  EXPECT_GT(bytes_of_question("press_vibration_steps[10m]"), 6'000u);
  EXPECT_EQ(questions->counters().asked, 3u);
}

TEST_F(DeviceQueriesTest, TimesThatRepeatOrGoBackAreTakenByTheRangeAndCountAsInTheStore) {
  const lam_series temperature = declare(kTemperature);
  const int64_t t = lam_now_ms(device);
  for (const int64_t at : {0, 1, 2, 2, 1, 5, 4, 3, 9, 9, 9}) {
    ASSERT_EQ(lam_append_at(device, temperature, t + at * 1000, random() % 5000), LAM_OK);
  }
  turn(20'000);
  const Parameters all{{"query", "avg_over_time(press_temperature[1m])"}, {"time", seconds(t + 9'000)}};
  const Parameters points{{"query", "press_temperature[1m]"}, {"time", seconds(t + 9'000)}};
  const std::string sums = ask_device("/api/v1/query", all).body;
  EXPECT_EQ(questions->counters().asked, 2u) << "the summary, then the range";
  const std::string range = ask_device("/api/v1/query", points).body;
  settle();
  EXPECT_EQ(sums, ask_store("/api/v1/query", all).body);
  EXPECT_EQ(range, ask_store("/api/v1/query", points).body);
  EXPECT_NE(range.find("\"values\""), std::string::npos);
}

TEST_F(DeviceQueriesTest, WhatNeedsNoDeviceIsAnsweredWithoutAsking) {
  declare(kTemperature);
  EXPECT_NE(ask_device("/api/v1/query", {{"query", "1 + 1"}}).body.find("\"2\""), std::string::npos);
  EXPECT_EQ(ask_device("/api/v1/query", {{"query", "sum("}}).status, 400);
  EXPECT_EQ(ask_device("/api/v1/query", {}).status, 400);
  EXPECT_EQ(ask_device("/api/v1/query_range", {{"query", "up"}}).status, 400);
  const HttpResponse other = ask_device("/api/v1/query", {{"query", "press_temperature{instance=\"press-8\"}"}});
  EXPECT_EQ(other.status, 200);
  EXPECT_NE(other.body.find("\"result\":[]"), std::string::npos) << other.body;
  EXPECT_EQ(ask_device("/api/v1/query", {{"query", "up"}, {"device", "press-7"}}).status, 400) << "two devices";
  const HttpResponse many = ask_device("/api/v1/query", {{"query", "a+b+c+d+e+f+g+h+i"}});
  EXPECT_EQ(many.status, 422);
  EXPECT_NE(many.body.find("more than 8 selectors"), std::string::npos) << many.body;
  EXPECT_EQ(questions->counters().asked, 0u);
  EXPECT_EQ(queries->requests(), 0u);
}

TEST_F(DeviceQueriesTest, ADeviceThatMayNotOrCannotBeAskedIsAClearError) {
  standing = fail(ErrorCode::kUnavailable, "press-7 is not connected");
  HttpResponse answer = ask_device("/api/v1/query", {{"query", "up"}});
  EXPECT_EQ(answer.status, 503);
  EXPECT_NE(answer.body.find("press-7 is not connected"), std::string::npos);
  standing = fail(ErrorCode::kNotFound, "no device \"press-7\" is enrolled");
  EXPECT_EQ(ask_device("/api/v1/query", {{"query", "up"}}).status, 404);
  standing = fail(ErrorCode::kDenied, "press-7 is revoked");
  EXPECT_EQ(ask_device("/api/v1/query", {{"query", "up"}}).status, 422);
  standing = {};
  connected = false;
  answer = ask_device("/api/v1/query", {{"query", "up"}});
  EXPECT_EQ(answer.status, 503);
  EXPECT_NE(answer.body.find("cannot be asked now"), std::string::npos) << answer.body;
  EXPECT_EQ(queries->requests(), 0u);
}

TEST_F(DeviceQueriesTest, RequestsPastTheBoundsAreToldToComeAgain) {
  std::vector<int> statuses;
  const auto ask = [&] {
    queries->handle({"GET", "/api/v1/query", {{"query", "up"}, {"device", "press-7"}}, {}, {}},
                    [&](const HttpResponse& response) { statuses.push_back(response.status); });
  };
  for (int i = 0; i < 3; ++i) ask();
  EXPECT_EQ(statuses, std::vector<int>{503}) << "the third at once, of one device";
  EXPECT_EQ(queries->refused(), 1u);
  for (int i = 0; i < 100; ++i) turn(1);
  EXPECT_EQ(statuses, (std::vector<int>{503, 200, 200}));
  EXPECT_EQ(queries->requests(), 0u);
  ask();
  for (int i = 0; i < 100; ++i) turn(1);
  EXPECT_EQ(statuses.back(), 200);
}

}  // namespace
}  // namespace lambda::gateway
