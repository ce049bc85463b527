#include "gateway/rules/rules.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

#include "gateway/rules/alertmanager.h"
#include "gateway/rules/test_world.h"

namespace lambda::gateway {
namespace {

using nlohmann::json;

TEST_F(RulesTest, AnAlertFiresAndResolvesOnPointsOfStoredBlocks) {
  file("hot.sql", kHot);
  start();
  send(press, 1, {70, 95}, now() - 2000);
  run_ms(10);
  ASSERT_EQ(alerts().size(), 1u);
  EXPECT_EQ(alerts()[0]["state"], "firing");
  EXPECT_EQ(alerts()[0]["labels"]["alertname"], "hot");
  EXPECT_EQ(alerts()[0]["labels"]["dev"], "press-7");
  EXPECT_EQ(alerts()[0]["annotations"]["site"], "hall");
  send(press, 1, {85, 79}, now());
  run_ms(10);
  EXPECT_TRUE(alerts().empty());
  EXPECT_EQ(told(), (std::vector<std::string>{"firing press-7 95", "resolved press-7 79"}));
  EXPECT_EQ(logged("alert_firing"), 1u);
  EXPECT_EQ(logged("alert_resolved"), 1u);
  const auto bodies = receiver.bodies();
  EXPECT_EQ(bodies[0]["alert"], bodies[1]["alert"]);
  EXPECT_NE(bodies[0]["id"], bodies[1]["id"]);
}

TEST_F(RulesTest, WithoutRulesNothingIsReadAndNothingIsWritten) {
  start();
  send(press, 1, {95}, now());
  run_ms(20'000);
  EXPECT_EQ(rules->counters().snapshots, 0u);
  for (const auto& [path, content] : world.disk.files) EXPECT_NE(path.rfind("/store/rules", 0), 0u) << path;
}

TEST_F(RulesTest, SeriesThatWereDeclaredBeforeTheRulesCameAreKnown) {
  send(press, 1, {70}, now() - 1000);
  file("hot.sql", kHot);
  start();
  send(press, 1, {95}, now());  // declares nothing
  run_ms(10);
  EXPECT_EQ(told(), (std::vector<std::string>{"firing press-7 95"}));
}

// A device sends the series of one minute one behind the other: each of them would be late for the one before.
TEST_F(RulesTest, PointsOfOneParcelAndOfParcelsThatComeTogetherAreTakenInOrderOfTime) {
  options.gather_ms = 250;
  file("both.sql",
       "CREATE STREAM m1 (dev TEXT, value DOUBLE);\nCREATE STREAM m2 (dev TEXT, value DOUBLE);\n"
       "CREATE RULE up AS SELECT dev, a.value AS a, b.value AS b FROM PATTERN (EVERY a=m1[value > 90] -> b=m2[value > "
       "5])"
       " WITHIN 1500ms PARTITION BY dev DO webhook('http://hook:80/x');\n");
  start();
  const int64_t t0 = now() - 10'000;
  send(press, 1, {1, 91, 1, 92, 1}, t0);
  send(press, 2, {1, 1, 6, 1, 7}, t0);
  run_ms(3'000);
  std::vector<std::string> pairs;
  for (const json& body : receiver.bodies())
    pairs.push_back(body["fields"]["a"].dump() + "," + body["fields"]["b"].dump());
  EXPECT_EQ(pairs, (std::vector<std::string>{"91,6", "92,7"}));
}

TEST_F(RulesTest, TimeGoesOnWithoutPoints) {
  file("held.sql",
       "CREATE STREAM m1 (dev TEXT, value DOUBLE);\n"
       "CREATE RULE held AS SELECT dev, value FROM m1 PARTITION BY dev ALERT ON value > 90 FOR 5s DO log();\n"
       "CREATE RULE silent AS SELECT dev FROM PATTERN (EVERY h=m1 -> NOT m1 FOR 20s) PARTITION BY dev DO log();\n");
  start();
  send(press, 1, {95}, now());
  run_ms(3'000);
  ASSERT_EQ(alerts().size(), 1u);
  EXPECT_EQ(alerts()[0]["state"], "pending");
  run_ms(4'000);
  EXPECT_EQ(alerts()[0]["state"], "firing");
  EXPECT_EQ(logged("rule_row rule=silent"), 0u);
  run_ms(15'000);
  EXPECT_EQ(logged("rule_row rule=silent"), 1u);
}

TEST_F(RulesTest, AFileThatIsWrongIsNamedWithItsPlaceAndTheOthersRun) {
  file("bad.sql", "CREATE STREAM m2 (dev TEXT, value DOUBLE);\nCREATE RULE x AS SELECT vlue FROM m2 DO log();\n");
  file("hot.sql", kHot);
  file("int.sql", "CREATE STREAM m3 (dev TEXT, value INT);\n");
  file("run.sql",
       "CREATE STREAM m4 (dev TEXT, value DOUBLE);\nCREATE RULE y AS SELECT dev FROM m4 DO exec('/bin/true');\n");
  start();
  EXPECT_TRUE(world.log.has("/store/rules/bad.sql:2:25: ")) << "vlue";
  EXPECT_TRUE(world.log.has("/store/rules/int.sql:1:29: value is INT: on the gateway value is DOUBLE"));
  EXPECT_TRUE(world.log.has("exec is off on this gateway"));
  send(press, 1, {95}, now());
  run_ms(10);
  EXPECT_EQ(told(), (std::vector<std::string>{"firing press-7 95"}));
  const json shown = json::parse(rules->files_json());
  std::map<std::string, size_t> errors;
  for (const json& one : shown["files"]) errors[one["file"]] = one["errors"].size();
  EXPECT_EQ(errors, (std::map<std::string, size_t>{{"bad.sql", 1}, {"hot.sql", 0}, {"int.sql", 1}, {"run.sql", 1}}));
}

TEST_F(RulesTest, FilesShareStreamsThatAreDeclaredAlikeAndReadEachOthersRules) {
  file("a.sql", "CREATE RULE high AS SELECT dev, n FROM counted WHERE n >= 2 DO webhook('http://hook:80/x');\n");
  file("b.sql",
       "CREATE STREAM m1 (dev TEXT, value DOUBLE);\n"
       "CREATE RULE counted AS SELECT dev, count(*) AS n FROM m1 GROUP BY dev WINDOW ROWS 2;\n");
  file("c.sql", "CREATE STREAM m1 (dev TEXT,  value DOUBLE);  CREATE RULE all1 AS SELECT dev FROM m1 DO log();\n");
  file("d.sql",
       "CREATE STREAM m1 (dev TEXT, cpu TEXT, value DOUBLE);\nCREATE RULE z AS SELECT dev FROM m1 DO log();\n");
  start();
  EXPECT_TRUE(world.log.has("d.sql:1:15: m1 is declared otherwise in b.sql")) << rules->files_json();
  send(press, 1, {1, 2}, now() - 1000);
  run_ms(10);
  ASSERT_EQ(receiver.bodies().size(), 1u);
  EXPECT_EQ(receiver.bodies()[0]["rule"], "high");
  EXPECT_EQ(logged("rule_row rule=all1"), 2u);
}

TEST_F(RulesTest, AFileThatComesByHttpIsCheckedWrittenAndKeepsTheState) {
  file("hot.sql", kHot);
  start();
  send(press, 1, {95}, now());
  run_ms(10);
  std::optional<Result<Rules::Checked>> answer;
  const auto put = [&](const std::string& name, const std::string& text) {
    answer.reset();
    rules->put_file(name, text, [&](Result<Rules::Checked> result) { answer = std::move(result); });
    run_ms(5);
    ASSERT_TRUE(answer.has_value());
  };
  put("hot.sql", "CREATE STREAM m1 (dev TEXT);\nCREATE RULE hot AS SELECT dev FROM m2 DO log();\n");
  ASSERT_TRUE(answer->has_value());
  ASSERT_EQ((*answer)->errors.size(), 1u);
  EXPECT_EQ((*answer)->errors[0].rfind("hot.sql:2:36: ", 0), 0u) << (*answer)->errors[0];
  EXPECT_EQ(rules->read_file("hot.sql").value(), kHot);
  for (const char* name : {"../x.sql", ".sql", "x.txt", "a/b.sql", "", ".x.sql"}) {
    put(name, "");
    EXPECT_FALSE(answer->has_value()) << name;
  }
  std::string other = kHot;
  other.replace(other.find("< 80"), 4, "< 90");
  put("hot.sql", other);
  ASSERT_TRUE(answer->has_value() && (*answer)->errors.empty());
  EXPECT_EQ(rules->read_file("hot.sql").value(), other);
  ASSERT_EQ(alerts().size(), 1u) << "the alert goes on";
  send(press, 1, {85}, now());
  run_ms(10);
  EXPECT_EQ(told(), (std::vector<std::string>{"firing press-7 95", "resolved press-7 85"}));
}

TEST_F(RulesTest, AnAlertOfARuleThatIsRemovedIsResolvedWithTheReason) {
  file("hot.sql", kHot);
  start();
  send(press, 1, {95}, now());
  run_ms(10);
  std::optional<Status> gone;
  rules->remove_file("hot.sql", [&](const Status& status) { gone = status; });
  run_ms(10);
  ASSERT_TRUE(gone && *gone);
  ASSERT_EQ(receiver.bodies().size(), 2u);
  EXPECT_EQ(receiver.bodies()[1]["kind"], "resolved");
  EXPECT_EQ(receiver.bodies()[1]["reason"], "rule removed");
  rules->remove_file("hot.sql", [&](const Status& status) { gone = status; });
  run_ms(10);
  EXPECT_EQ(gone->error().code, ErrorCode::kNotFound);
}

TEST_F(RulesTest, EventsWaitOnTheDiskWhileTheReceiverIsAwayAlsoOverARestart) {
  file("hot.sql", kHot);
  receiver.status = 0;
  start();
  send(press, 1, {95, 70, 96}, now() - 3000);
  run_ms(5'000);
  EXPECT_TRUE(receiver.got.empty());
  EXPECT_EQ(rules->outbox()->waiting(), 3u);
  restart();
  run_ms(5'000);
  EXPECT_EQ(rules->outbox()->waiting(), 3u);
  receiver.status = 200;
  run_ms(120'000);
  EXPECT_EQ(told(), (std::vector<std::string>{"firing press-7 95", "resolved press-7 70", "firing press-7 96"}));
  EXPECT_EQ(rules->outbox()->waiting(), 0u);
}

TEST(Outbox, AnEventThatTheSavedStateDoesNotCoverIsKnownAfterACrash) {
  TestWorld world;
  const auto open = [&] { return std::move(*Outbox::open(world.env, "/outbox", 1u << 20)); };
  auto outbox = open();
  ASSERT_TRUE(outbox->put("a", {"webhook x"}, "{}"));
  outbox->finish("webhook x", 1);
  const uint64_t covered = outbox->next_number();
  ASSERT_TRUE(outbox->put("b", {"webhook x"}, "{}")) << "while the state that covers a is on its way to the disk";
  outbox->finish("webhook x", 2);
  outbox->forget(covered);
  world.loop.run();
  outbox.reset();
  outbox = open();
  EXPECT_FALSE(outbox->put("b", {"webhook x"}, "{}")) << "a receiver has it";
  outbox->forget(outbox->next_number());
  EXPECT_TRUE(outbox->put("b", {"webhook x"}, "{}")) << "forgotten when the state covers it";
}

TEST_F(RulesTest, WhatTheEngineSaysAgainAfterACrashIsKnown) {
  file("hot.sql", kHot);
  start();
  run_ms(1'000);
  const uint64_t saved = rules->counters().snapshots;
  bool stored = false;
  world.store->put(parcel(press, 1, {95}, now()), [&](const Decision&) { stored = true; });
  while ((!stored || receiver.got.empty()) && world.loop.step(false)) {
  }
  ASSERT_EQ(receiver.got.size(), 1u);
  ASSERT_EQ(rules->counters().snapshots, saved) << "nothing would be said again";
  restart();
  run_ms(10'000);
  EXPECT_EQ(rules->book().counters().recalled, 1u);
  EXPECT_EQ(logged("alert_firing"), 1u);
  EXPECT_EQ(alerts().size(), 1u);
}

TEST_F(RulesTest, AReceiverThatRefusesForGoodIsNotAskedAgain) {
  file("hot.sql", kHot);
  receiver.status = 404;
  start();
  send(press, 1, {95}, now());
  run_ms(60'000);
  EXPECT_EQ(receiver.asked.size(), 1u);
  EXPECT_TRUE(world.log.has("event_refused"));
}

TEST_F(RulesTest, PastItsBoundTheOutboxDropsTheOldestAndCountsThem) {
  options.outbox_bytes_max = 64u << 10;
  file("all.sql",
       "CREATE STREAM m1 (dev TEXT, value DOUBLE);\n"
       "CREATE RULE everything AS SELECT dev, value FROM m1 DO webhook('http://hook:80/x');\n");
  receiver.status = 0;
  start();
  for (int i = 0; i < 20; ++i) {
    std::vector<double> values;
    for (int k = 0; k < 50; ++k) values.push_back(i * 50 + k);
    send(press, 1, values, now() - 2'000'000 + i * 50'000);
    run_ms(10);
  }
  const OutboxCounters& counters = rules->outbox()->counters();
  EXPECT_EQ(counters.put, 1000u);
  EXPECT_GT(counters.dropped, 0u);
  EXPECT_LE(rules->outbox()->bytes(), options.outbox_bytes_max + (16u << 10));
  EXPECT_EQ(counters.dropped + rules->outbox()->waiting(), 1000u);
  receiver.status = 200;
  run_ms(120'000);
  ASSERT_FALSE(receiver.got.empty());
  EXPECT_EQ(receiver.bodies().back()["fields"]["value"], 999) << "the newest stay";
}

TEST_F(RulesTest, AlertsGoToTheBrokerAndToAlertmanagersWhichAreRemindedOfThem) {
  options.alertmanagers = {"http://am:9093"};
  file("hot.sql",
       "CREATE STREAM m1 (dev TEXT, value DOUBLE);\nCREATE RULE hot AS SELECT dev, value FROM m1 PARTITION BY dev\n"
       "  ALERT ON value > 90 CLEAR value < 80 DO mqtt('heat'), live('{__name__=\"m2\"}', 5m);\n");
  broker = false;
  start();
  send(press, 1, {95}, now());
  run_ms(10);
  EXPECT_TRUE(published.empty());
  broker = true;
  rules->connected();
  run_ms(5'000);
  ASSERT_EQ(published.size(), 1u);
  EXPECT_EQ(published[0].first, "lambda/v1/hall/alerts/heat");
  ASSERT_EQ(live_asked.size(), 1u);
  EXPECT_EQ(live_asked[0], (std::pair<std::string, int64_t>{"{__name__=\"m2\"}", 300'000}));
  ASSERT_FALSE(receiver.got.empty());
  EXPECT_EQ(receiver.got[0].url, "http://am:9093/api/v2/alerts");
  const json sent = json::parse(receiver.got[0].body);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0]["labels"]["alertname"], "hot");
  EXPECT_EQ(sent[0]["labels"]["dev"], "press-7");
  EXPECT_GT(sent[0]["endsAt"].get<std::string>(), sent[0]["startsAt"].get<std::string>());
  const size_t before = receiver.got.size();
  run_ms(200'000);
  EXPECT_GE(receiver.got.size(), before + 3);
  const std::string start_of = sent[0]["startsAt"];
  EXPECT_EQ(json::parse(receiver.got.back().body)[0]["startsAt"], start_of);
}

TEST_F(RulesTest, APointCountsOnceWhicheverLaneBringsItFirst) {
  file("all.sql",
       "CREATE STREAM m1 (dev TEXT, value DOUBLE);\n"
       "CREATE RULE everything AS SELECT dev, value FROM m1 DO webhook('http://hook:80/x');\n");
  start();
  send(press, 1, {0, 1}, now() - 10'000);  // ordinals 0 and 1
  run_ms(10);
  const auto live = [&](uint64_t ordinal, double value) {
    rules->live({{"press-7", 11, 1, ordinal, now() - 10'000 + static_cast<int64_t>(ordinal) * 1000, value}});
    run_ms(1);
  };
  live(1, 1);  // known by the block
  live(2, 2);
  live(2, 2);  // again
  live(4, 4);
  run_ms(3'000);  // saved
  restart();
  // The block brings them all.
  send(press, 1, {2, 3, 4, 5}, now() - 8'000);
  run_ms(10);
  std::multiset<double> values;
  for (const json& body : receiver.bodies()) values.insert(body["fields"]["value"].get<double>());
  EXPECT_EQ(values, (std::multiset<double>{0, 1, 2, 3, 4, 5}));
}

// One live message holds the series of a device one behind the other.
TEST_F(RulesTest, LivePointsThatComeTogetherAreTakenInOrderOfTime) {
  options.gather_ms = 250;
  file("both.sql",
       "CREATE STREAM m1 (dev TEXT, value DOUBLE);\nCREATE STREAM m2 (dev TEXT, value DOUBLE);\n"
       "CREATE RULE up AS SELECT dev, a.value AS a, b.value AS b FROM PATTERN (EVERY a=m1 -> b=m2) WITHIN 5s\n"
       "  PARTITION BY dev DO webhook('http://hook:80/x');\n");
  start();
  const int64_t t0 = now() - 4'000;
  const auto live = [&](uint32_t ref, uint64_t ordinal, int64_t t, double value) {
    const KnownSeries series{"m" + std::to_string(ref), {}};
    rules->live({{"press-7", 11, ref, ordinal, t, value, std::make_shared<const KnownSeries>(series)}});
    run_ms(1);
  };
  live(2, 0, t0 + 1'000, 10);
  live(2, 1, t0 + 3'000, 20);
  live(1, 0, t0, 1);
  live(1, 1, t0 + 2'000, 2);
  run_ms(1'000);
  std::vector<std::string> pairs;
  for (const json& body : receiver.bodies()) {
    pairs.push_back(body["fields"]["a"].dump() + "," + body["fields"]["b"].dump());
  }
  EXPECT_EQ(pairs, (std::vector<std::string>{"1,10", "2,20"}));
}

TEST_F(RulesTest, AStateThatIsSavedWhileLivePointsAreGatheredHasThem) {
  options.gather_ms = 60'000;
  file("hot.sql", kHot);
  start();
  const auto series = std::make_shared<const KnownSeries>(KnownSeries{"m1", {}});
  rules->live({{"press-7", 11, 1, 0, now(), 95, series}});
  run_ms(5'000);  // saved
  EXPECT_TRUE(told().empty());
  restart();
  rules->live({{"press-7", 11, 1, 0, now(), 95, series}});  // the device sends it again
  run_ms(60'000);
  EXPECT_EQ(told(), (std::vector<std::string>{"firing press-7 95"}));
  EXPECT_EQ(logged("alert_firing"), 1u);
}

// A live message is still coming in, series by series, when the rules change.
TEST_F(RulesTest, WhatIsGatheredWhenTheRulesChangeIsSortedWithWhatComesThen) {
  options.gather_ms = 250;
  const std::string hot =
      "CREATE STREAM m1 (dev TEXT, line TEXT, value DOUBLE);\n"
      "CREATE RULE hot AS SELECT dev, line, value FROM m1 PARTITION BY dev, line ALERT ON value > 90 CLEAR value < 80\n"
      "  DO log(), webhook('http://hook:80/x');\n";
  file("hot.sql", hot);
  start();
  const int64_t t0 = now() - 1'000;
  const auto live = [&](uint32_t ref, const std::string& line, uint64_t ordinal, int64_t t, double value) {
    const KnownSeries series{"m1", {{"line", line}}};
    rules->live({{"press-7", 11, ref, ordinal, t, value, std::make_shared<const KnownSeries>(series)}});
  };
  live(1, "a", 0, t0 + 900, 95);
  rules->put_file("hot.sql", hot + "-- changed\n", [](const Result<Rules::Checked>& done) { EXPECT_TRUE(done); });
  run_ms(5);
  ASSERT_EQ(logged("rules_loaded"), 2u);
  EXPECT_TRUE(told().empty()) << "nothing was gathered";
  live(2, "b", 0, t0 + 800, 96);
  live(1, "a", 1, t0 + 950, 97);
  run_ms(1'000);
  EXPECT_EQ(told(), (std::vector<std::string>{"firing press-7 96", "firing press-7 95"}));
  live(1, "a", 1, t0 + 950, 70);  // known
  live(2, "b", 1, t0 + 960, 70);
  run_ms(1'000);
  EXPECT_EQ(told().size(), 3u);
  EXPECT_EQ(alerts().size(), 1u);
}

TEST_F(RulesTest, AClockThatWasFarAheadAndIsSetBackStopsNoTimer) {
  file("held.sql",
       "CREATE STREAM m1 (dev TEXT, value DOUBLE);\n"
       "CREATE RULE held AS SELECT dev, value FROM m1 PARTITION BY dev ALERT ON value > 90 FOR 2s CLEAR value < 80\n"
       "  DO webhook('http://hook:80/x');\n");
  start();
  send(mill, 1, {95}, now());
  run_ms(4'000);
  EXPECT_EQ(told(), (std::vector<std::string>{"firing mill-2 95"}));
  // What arrived while the clock was a day ahead.
  StoreRequest ahead = parcel(mill, 1, {96}, now());
  ahead.received_ms = now() + 86'400'000;
  ASSERT_EQ(world.put(std::move(ahead)).verdict, Verdict::kStored);
  run_ms(2'000);
  EXPECT_TRUE(world.log.has("rules_begin_anew"));
  EXPECT_EQ(receiver.bodies().back()["reason"], "the gateway's clock was set back");
  send(press, 1, {95}, now());
  run_ms(4'000);
  EXPECT_EQ(told().back(), "firing press-7 95");
  EXPECT_EQ(logged("rules_begin_anew"), 1u);
}

TEST_F(RulesTest, ALabelForWhichThereIsNoRoomCostsItsPointsAndTheRuleSaysSo) {
  options.text_bytes_max = 1;
  file("hot.sql", kHot);
  start();
  send(press, 1, {95}, now());
  run_ms(2'000);
  EXPECT_TRUE(told().empty());
  EXPECT_EQ(logged("rule_at_a_bound"), 1u);
}

TEST_F(RulesTest, AStateThatIsDamagedIsSetAsideAndTheRulesBeginAnew) {
  file("hot.sql", kHot);
  start();
  send(press, 1, {95}, now());
  run_ms(5'000);
  kill();
  auto& state = world.disk.files.at("/store/rules/state/rules.state").bytes;
  state[state.size() / 2] ^= 1;
  world.open();
  start();
  EXPECT_TRUE(world.log.has("rules_begin_anew") || world.log.has("alerts_not_restored"));
  send(press, 1, {70, 96}, now());
  run_ms(10);
  EXPECT_EQ(told(), (std::vector<std::string>{"firing press-7 95"})) << "everybody knows that it fires";
  EXPECT_EQ(alerts().size(), 1u);
  run_ms(3'000);
  send(press, 1, {70}, now());
  run_ms(10);
  EXPECT_EQ(told().back(), "resolved press-7 70");
}

TEST_F(RulesTest, ADiskThatFailsUnderTheRulesHoldsUpNothing) {
  file("hot.sql", kHot);
  start();
  for (int i = 0; i < 6; ++i) {
    if (i == 2) world.disk.append_error = ErrorCode::kFull;
    (i % 2 == 0 ? world.disk.fail_appends : world.disk.fail_syncs) = 1;
    run_ms(4'000);
    world.disk.fail_appends = world.disk.fail_syncs = 0;
    send(press, 1, {95, 70}, now());
    run_ms(100);
    ASSERT_EQ(told().size(), static_cast<size_t>(2 * i + 2));
    (i % 2 == 0 ? world.disk.fail_syncs : world.disk.fail_appends) = 1;
    run_ms(4'000);
    world.disk.fail_appends = world.disk.fail_syncs = 0;
  }
  EXPECT_GT(rules->counters().snapshot_errors + rules->outbox()->counters().write_errors, 0u);
  restart();
  run_ms(10'000);
  std::set<std::string> ids;
  for (const json& body : receiver.bodies()) ids.insert(body["id"].get<std::string>());
  EXPECT_EQ(ids.size(), 12u);
}

// What a receiver hears must not depend on when the gateway is killed: all of it, and nothing under two ids.
TEST_F(RulesTest, WhateverIsKilledWheneverTheSameAlertsAreToldOnce) {
  const char* const kRules =
      "CREATE STREAM m1 (dev TEXT, value DOUBLE);\n"
      "CREATE RULE hot AS SELECT dev, value FROM m1 PARTITION BY dev ALERT ON value > 90 FOR 2s CLEAR value < 80\n"
      "  REMIND 7s DO webhook('http://hook:80/x');\n"
      "CREATE RULE mean AS SELECT dev, avg(value) AS value FROM m1 GROUP BY dev WINDOW TUMBLE 5s\n"
      "  DO webhook('http://hook:80/x');\n"
      "CREATE RULE silent AS SELECT dev FROM PATTERN (EVERY h=m1 -> NOT m1 FOR 6s) PARTITION BY dev\n"
      "  DO webhook('http://hook:80/x');\n";
  // Ids of what was taken, by the kills of one run. `seed` 0: nothing is killed.
  const auto run = [&](uint32_t seed) {
    RulesWorld one;
    one.options.gather_ms = 250;
    one.file("r.sql", kRules);
    one.start();
    std::mt19937 random(seed), values(7);
    TestDevice first{"press-7", 11}, second{"mill-2", 12};
    const int64_t t_step = one.now();
    for (int step = 0; step < 40; ++step) {
      for (TestDevice* device : {&first, &second}) {
        if (values() % 4 == 0) continue;
        std::vector<double> points;
        for (size_t k = 0; k < 1 + values() % 4; ++k) points.push_back(60 + static_cast<double>(values() % 45));
        // A restart takes a moment; what arrives, and when, is the same in each run.
        const int64_t at = t_step + 700 * step;
        StoreRequest request = one.parcel(*device, 1, points, at - static_cast<int64_t>(points.size()) * 1000);
        request.received_ms = at;
        bool stored = false;
        one.world.store->put(std::move(request), [&](const Decision&) { stored = true; });
        while (!stored && one.world.loop.step(false)) {
        }
        if (seed == 0 || random() % 3 != 0) {
          one.world.loop.run();
          continue;
        }
        // It is stored; of what follows from that a part is done, then the process is gone.
        for (uint32_t n = random() % 40; n > 0 && one.world.loop.step(false); --n) {
        }
        one.restart();
      }
      const int64_t until_ms = t_step + 700 * (step + 1);
      if (seed != 0 && random() % 4 == 0) {
        one.run_ms(1 + random() % 600);
        one.restart();
      }
      one.run_ms(std::max<int64_t>(1, until_ms - one.now()));
    }
    one.run_ms(30'000);
    std::set<std::string> ids;
    for (const json& body : one.receiver.bodies()) {
      if (body.contains("reminder")) continue;  // of a restored alert they may come at another moment
      ids.insert(body["id"].get<std::string>());
    }
    return ids;
  };
  const auto expected = run(0);
  ASSERT_GT(expected.size(), 15u);
  for (uint32_t seed = 1; seed <= 30; ++seed) EXPECT_EQ(run(seed), expected) << "seed " << seed;
}

TEST(Alertmanager, TimesAreRfc3339) {
  EXPECT_EQ(time_text(0), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(time_text(1'709'210'096'789), "2024-02-29T12:34:56.789Z");
  EXPECT_EQ(time_text(-5), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(time_text(INT64_MAX), "9999-12-31T23:59:59.999Z");
}

TEST(Alertmanager, WhatIsNoEventBecomesAnEmptyList) {
  EXPECT_EQ(alertmanager_body("nonsense", 0), "[]");
  EXPECT_EQ(alertmanager_body("{\"fired\":\"x\",\"t\":1}", 0), "[]");
}

}  // namespace
}  // namespace lambda::gateway
