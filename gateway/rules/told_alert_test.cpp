// What others were told is true, whatever is killed and whatever changes meanwhile.
#include "gateway/rules/told_alert.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "gateway/rules/test_world.h"

namespace lambda::gateway {
namespace {

using nlohmann::json;

// The live points that led to an alert are gone after a kill; what was told is not.
TEST_F(RulesTest, AnAlertThatLivePointsRaisedIsOneAlertWheneverTheGatewayIsKilled) {
  const char* const kHeld =
      "CREATE STREAM m1 (dev TEXT, value DOUBLE);\n"
      "CREATE RULE held AS SELECT dev, value FROM m1 PARTITION BY dev ALERT ON value > 90 FOR 2s CLEAR value < 80\n"
      "  DO webhook('http://hook:80/x');\n";
  size_t withdrawn = 0, recalled = 0;
  for (int64_t kill_ms = 50; kill_ms <= 6'000; kill_ms += 50) {
    RulesWorld one;
    one.options.gather_ms = 250;
    one.options.block_delay_ms = 10'000;
    one.file("held.sql", kHeld);
    one.start();
    one.run_ms(1'000);
    const int64_t t0 = one.now();
    one.world.disk.full_in = "rules.state";  // a state takes longer than there is time
    const auto series = std::make_shared<const KnownSeries>(KnownSeries{"m1", {}});
    std::vector<double> values;
    const auto live = [&](double value) {
      one.rules->live(
          {{"press-7", 11, 1, values.size(), t0 + static_cast<int64_t>(values.size()) * 500, value, series}});
      values.push_back(value);
    };
    bool killed = false;
    for (int step = 0; step < 14; ++step) {
      live(step < 9 ? 95 + step : 70);
      const int64_t until_ms = t0 + 500 * (step + 1), at_ms = t0 + kill_ms;
      if (!killed && at_ms <= until_ms) {
        one.run_ms(std::max<int64_t>(1, at_ms - one.now()));
        one.world.disk.full_in.clear();
        one.restart();
        recalled += one.rules->book().counters().recalled;
        killed = true;
      }
      one.run_ms(std::max<int64_t>(1, until_ms - one.now()));
    }
    // The block has them all.
    TestDevice device{"press-7", 11};
    TestBlock block;
    block.ref = 1;
    for (size_t i = 0; i < values.size(); ++i) {
      block.points.push_back({t0 + static_cast<int64_t>(i) * 500, std::bit_cast<uint64_t>(values[i])});
    }
    StoreRequest request = device.parcel({block}, {1});
    request.received_ms = one.now();
    ASSERT_EQ(one.world.put(std::move(request)).verdict, Verdict::kStored);
    one.run_ms(90'000);
    withdrawn += one.rules->book().counters().withdrawn;
    std::map<std::string, std::vector<std::string>> by_alert;
    std::set<std::string> ids;
    for (const json& body : one.receiver.bodies()) {
      if (ids.insert(body["id"].get<std::string>()).second) by_alert[body["alert"]].push_back(body["kind"]);
    }
    EXPECT_LE(by_alert.size(), 1u) << "killed " << kill_ms << " ms after the first point";
    for (const auto& [alert, kinds] : by_alert) {
      EXPECT_EQ(kinds, (std::vector<std::string>{"firing", "resolved"})) << "killed at " << kill_ms;
    }
    EXPECT_TRUE(one.alerts().empty()) << kill_ms;
  }
  EXPECT_GT(recalled, 5u) << "no kill came between telling and saving";
  EXPECT_GT(withdrawn, 0u) << "no alert was over when the gateway came back";
}

TEST_F(RulesTest, AnAlertThatWasWithdrawnAfterAKillFiresAgainWhenItsBlockComesLate) {
  options.block_delay_ms = 10'000;
  file("held.sql",
       "CREATE STREAM m1 (dev TEXT, value DOUBLE);\n"
       "CREATE RULE held OPTIONS(idle=10m) AS SELECT dev, value FROM m1 PARTITION BY dev ALERT ON value > 90 FOR 1s "
       "CLEAR value < 80\n"
       "  DO webhook('http://hook:80/x');\n");
  start();
  run_ms(1'000);
  const int64_t t0 = now();
  const auto series = std::make_shared<const KnownSeries>(KnownSeries{"m1", {}});
  world.disk.full_in = "rules.state";  // it is not saved in time
  rules->live({{"press-7", 11, 1, 0, t0, 95, series}});
  while (receiver.got.empty() && world.loop.step(true)) {
  }
  world.disk.full_in.clear();
  restart();
  EXPECT_EQ(alerts().size(), 1u) << "what was told is true until it is taken back";
  run_ms(60'000);
  EXPECT_EQ(told(), (std::vector<std::string>{"firing press-7 95", "resolved press-7 95"}));
  EXPECT_EQ(receiver.bodies().back()["reason"], "not seen again after the gateway's restart");
  send(press, 1, {95}, t0);
  run_ms(5'000);
  ASSERT_EQ(told().size(), 3u);
  EXPECT_EQ(told().back(), "firing press-7 95");
  restart();
  run_ms(60'000);
  EXPECT_EQ(told().size(), 3u) << "it is said again, and known";
  EXPECT_EQ(alerts().size(), 1u);
}

TEST_F(RulesTest, AStateThatCouldNotBeSavedTakesBackNoAlertThatIsStillTrue) {
  options.block_delay_ms = 5'000;
  world.disk.full_in = "rules.state";
  file("hot.sql", kHot);
  start();
  run_ms(3'000);
  send(press, 1, {95}, now());
  send(mill, 1, {96}, now());
  run_ms(3'000);
  ASSERT_EQ(told().size(), 2u);
  world.disk.full_in.clear();
  restart();
  EXPECT_EQ(alerts().size(), 2u);
  send(press, 1, {97}, now());  // mill is silent
  run_ms(60'000);
  ASSERT_EQ(alerts().size(), 1u);
  EXPECT_EQ(alerts()[0]["labels"]["dev"], "press-7");
  EXPECT_EQ(told(), (std::vector<std::string>{"firing press-7 95", "firing mill-2 96", "resolved mill-2 96"}));
}

// ---- rules that change while nobody runs

struct ChangedRules : RulesTest {
  static std::string rule(const std::string& select, const std::string& options, const std::string& more) {
    return "CREATE STREAM m1 (dev TEXT, site TEXT, value DOUBLE);\nCREATE RULE hot " + options + " AS SELECT " +
           select + " FROM m1 PARTITION BY dev ALERT ON value > 90 " + more +
           " DO webhook('http://hook:80/x'), mqtt('heat');\n";
  }
  void fire_three() {
    options.alertmanagers = {"http://am:9093"};
    file("hot.sql", rule("dev, site, value", "", "CLEAR value < 80"));
    start();
    for (TestDevice* device : {&press, &mill, &lathe}) send(*device, 1, {95}, now());
    run_ms(5'000);
    ASSERT_EQ(alerts().size(), 3u);
  }
  // Each receiver hears of each alert once that it is over.
  void all_are_resolved_once(const std::string& reason) {
    std::map<std::string, int> hook, broker_got, manager;
    for (const Posted& one : receiver.got) {
      const json body = json::parse(one.body);
      if (one.url.starts_with("http://am:")) {
        const bool over = body[0]["annotations"].contains("reason");
        if (over)
          manager[body[0]["labels"]["dev"].get<std::string>() + body[0]["annotations"]["reason"].get<std::string>()]++;
      } else if (body["kind"] == "resolved") {
        hook[body["labels"]["dev"].get<std::string>() + body.value("reason", "")]++;
      }
    }
    for (const auto& [topic, message] : published) {
      const json body = json::parse(message);
      if (body["kind"] == "resolved") broker_got[body["labels"]["dev"].get<std::string>() + body.value("reason", "")]++;
    }
    const std::map<std::string, int> expected{{"lathe-1" + reason, 1}, {"mill-2" + reason, 1}, {"press-7" + reason, 1}};
    EXPECT_EQ(hook, expected);
    EXPECT_EQ(broker_got, expected);
    EXPECT_EQ(manager, expected);
    EXPECT_TRUE(alerts().empty());
  }
  void change_over_a_restart(const std::function<void()>& change, const std::string& reason) {
    fire_three();
    kill();
    change();
    world.open();
    start();
    run_ms(200);
    restart();  // and again, before a state is saved
    run_ms(5'000);
    all_are_resolved_once(reason);
    restart();
    run_ms(60'000);
    all_are_resolved_once(reason);
  }
  TestDevice lathe{"lathe-1", 13};
};

TEST_F(ChangedRules, ARuleThatIsGoneAfterARestartEndsEachOfItsAlertsOnceForEveryReceiver) {
  change_over_a_restart([&] { ASSERT_TRUE(world.disk.remove("/store/rules/hot.sql")); }, "rule removed");
}

TEST_F(ChangedRules, ARuleOfAnotherShapeAfterARestartDoesToo) {
  change_over_a_restart([&] { file("hot.sql", rule("dev, site, value", "", "FOR 3 SAMPLES CLEAR value < 80")); },
                        "rule changed");
}

TEST_F(ChangedRules, ARuleWhoseLabelsHaveOtherNamesAfterARestartDoesToo) {
  change_over_a_restart([&] { file("hot.sql", rule("dev AS machine, dev, value", "", "CLEAR value < 85")); },
                        "rule changed");
}

TEST_F(ChangedRules, AlertsForWhichALowerBoundHasNoRoomAfterARestartAreResolved) {
  fire_three();
  kill();
  file("hot.sql", rule("dev, site, value", "OPTIONS(max_keys=1)", "CLEAR value < 80"));
  world.open();
  start();
  send(press, 1, {96}, now());
  run_ms(5'000);
  EXPECT_EQ(alerts().size(), 1u);
  size_t resolved = 0;
  for (const std::string& line : told()) resolved += line.starts_with("resolved") ? 1 : 0;
  EXPECT_EQ(resolved, 2u);
}

TEST_F(ChangedRules, AnAlertOfWhichTheItemsHaveAnotherOrderAfterARestartEndsAndFiresAgain) {
  const char* const kStream = "CREATE STREAM m1 (dev TEXT, site TEXT, value DOUBLE);\n";
  const std::string rest =
      " FROM m1 PARTITION BY dev, site ALERT ON value > 90 CLEAR value < 80 DO webhook('http://hook:80/x');\n";
  file("hot.sql", kStream + ("CREATE RULE hot AS SELECT dev, site, value" + rest));
  start();
  send(press, 1, {95}, now());
  run_ms(5'000);
  kill();
  file("hot.sql", kStream + ("CREATE RULE hot AS SELECT site, value, dev" + rest));
  world.open();
  start();
  send(press, 1, {96}, now());
  run_ms(5'000);
  send(press, 1, {70}, now());
  run_ms(5'000);
  EXPECT_EQ(told(), (std::vector<std::string>{"firing press-7 95", "resolved press-7 95", "firing press-7 96",
                                              "resolved press-7 70"}));
  EXPECT_TRUE(alerts().empty());
}

}  // namespace
}  // namespace lambda::gateway
