// Receivers that are away, and a disk and a folder of the worst kind.
#include "gateway/rules/delivery.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "gateway/rules/test_world.h"

namespace lambda::gateway {
namespace {

using nlohmann::json;

TEST_F(RulesTest, WhatIsTooOldIsNotToldAnyMoreAndCountedAndTheNewestIs) {
  options.event_age_ms_max = 3'600'000;
  file("hot.sql", kHot);
  receiver.status = 0;
  start();
  for (int i = 0; i < 5; ++i) {
    send(press, 1, {95, 70}, now() - 1'000);
    run_ms(900'000);
  }
  EXPECT_EQ(rules->outbox()->waiting(), 8u) << "one alert is older than an hour by now";
  receiver.status = 200;
  run_ms(60'000);
  EXPECT_EQ(rules->outbox()->waiting(), 0u);
  EXPECT_EQ(told().size(), 6u) << "two of five alerts are older";
  EXPECT_EQ(logged("events_too_old"), 1u);
}

TEST_F(RulesTest, WhatTheBrokerDidNotAcknowledgeIsSentAgain) {
  file("hot.sql",
       "CREATE STREAM m1 (dev TEXT, value DOUBLE);\nCREATE RULE hot AS SELECT dev, value FROM m1 PARTITION BY dev\n"
       "  ALERT ON value > 90 CLEAR value < 80 DO mqtt('heat');\n");
  broker_dies = true;
  start();
  send(press, 1, {95}, now());
  run_ms(100);
  EXPECT_EQ(published.size(), 1u);
  EXPECT_EQ(rules->outbox()->waiting(), 1u) << "it may be lost";
  restart();
  broker_dies = false;
  run_ms(10'000);
  ASSERT_GE(published.size(), 2u);
  EXPECT_EQ(json::parse(published.back().second)["id"], json::parse(published.front().second)["id"]);
  EXPECT_EQ(rules->outbox()->waiting(), 0u);
  broker_dies = true;  // and says nothing, without an end of the connection
  send(press, 1, {70}, now());
  run_ms(100);
  const size_t before = published.size();
  broker_dies = false;
  run_ms(30'000);
  EXPECT_GT(published.size(), before);
  EXPECT_EQ(rules->outbox()->waiting(), 0u);
}

TEST_F(RulesTest, ADevicesOwnTopicsAreNoneForRules) {
  for (const char* topic : {"up", "down", "live", "state"}) {
    file(std::string(topic) + ".sql", "CREATE STREAM m1 (value DOUBLE);\nCREATE RULE a_" + std::string(topic) +
                                          " AS SELECT value FROM m1 DO mqtt('" + topic + "');\n");
    file(std::string(topic) + "2.sql", "CREATE STREAM m1 (value DOUBLE);\nCREATE RULE " + std::string(topic) +
                                           " AS SELECT value FROM m1 DO log(), mqtt();\n");
  }
  start();
  EXPECT_EQ(rules->files().size(), 8u);
  for (const RuleFileState& one : rules->files()) {
    ASSERT_EQ(one.errors.size(), 1u) << one.name;
    EXPECT_NE(one.errors[0].text.find("are the topics of a device"), std::string::npos) << one.errors[0].text;
  }
}

TEST_F(RulesTest, OnlyTheProgramsOfTheConfigurationMayBeRun) {
  options.exec = true;
  options.exec_programs = {"/usr/bin/horn"};
  const auto rule = [](const std::string& action) {
    return "CREATE STREAM m1 (value DOUBLE);\nCREATE RULE a_" + std::to_string(action.size()) +
           " AS SELECT value FROM m1 DO " + action + ";\n";
  };
  file("a.sql", rule("exec('/usr/bin/horn', 'loud')"));
  file("b.sql", rule("exec('/usr/bin/../bin/horn')"));
  file("c.sql", rule("exec('/bin/sh', '-c', 'reboot')"));
  file("d.sql", rule("exec('horn')"));
  start();
  std::vector<std::string> errors;
  for (const RuleFileState& one : rules->files()) errors.push_back(one.errors.empty() ? "" : one.errors[0].text);
  EXPECT_EQ(errors,
            (std::vector<std::string>{
                "", "exec may not run /usr/bin/../bin/horn on this gateway: it is not among rules.exec_programs",
                "exec may not run /bin/sh on this gateway: it is not among rules.exec_programs",
                "exec takes a program's whole path and texts: exec('/usr/bin/horn', 'loud')"}));
}

// ---- the disk is full, and a folder of whatever may be found in one

TEST_F(RulesTest, EventsWaitInMemoryWhileTheDiskIsFullAndAreWrittenWhenThereIsRoom) {
  file("hot.sql", kHot);
  start();
  run_ms(1'000);
  world.disk.full_in = "/state/outbox";
  send(press, 1, {95, 70}, now() - 1'000);
  run_ms(2'000);
  EXPECT_EQ(told().size(), 2u) << "rules and receivers do not wait for it";
  receiver.status = 0;
  for (int i = 0; i < 10; ++i) {
    send(press, 1, {96, 71}, now() - 1'000);
    run_ms(20'000);
  }
  EXPECT_EQ(logged("outbox_not_written"), 1u);
  EXPECT_EQ(rules->outbox()->waiting(), 20u);
  EXPECT_LE(rules->outbox()->bytes(), options.outbox_bytes_max);
  world.disk.full_in.clear();
  run_ms(20'000);
  restart();
  receiver.status = 200;
  run_ms(120'000);
  std::set<std::string> ids;
  for (const json& body : receiver.bodies()) ids.insert(body["id"].get<std::string>());
  EXPECT_EQ(ids.size(), 22u);
  EXPECT_EQ(rules->outbox()->counters().dropped, 0u);
}

TEST_F(RulesTest, AFolderThatCannotBeReadForAMomentTakesNoRuleAway) {
  file("hot.sql", kHot);
  world.disk.fail_lists = 1;
  start();
  EXPECT_EQ(logged("rules_not_read"), 1u);
  run_ms(2'000);
  send(press, 1, {95}, now());
  run_ms(10);
  EXPECT_EQ(told(), (std::vector<std::string>{"firing press-7 95"})) << "it is tried again";
  world.disk.fail_lists = 1;
  rules->reload();
  run_ms(2'000);
  EXPECT_EQ(logged("rules_not_read"), 2u);
  EXPECT_EQ(alerts().size(), 1u);
}

TEST_F(RulesTest, AFolderOfEverythingThatIsWrongStopsNoRuleThatIsRight) {
  options.files_max = 40;
  options.file_bytes_max = 4'000;
  options.folder_bytes_max = 20'000;
  const auto rule = [](const std::string& name) {
    return "CREATE STREAM m1 (dev TEXT, site TEXT, value DOUBLE);\nCREATE RULE " + name +
           " AS SELECT dev FROM m1 DO log();\n";
  };
  file("a.sql", rule("first"));
  file("b again.sql", rule("second"));
  file("b\nforged.sql", rule("second"));
  file("bad.sql", "CREATE STREAM m1 (dev TEXT, value DOUBLE);\n-- \xff\xfe\n");
  file("copy.sql", rule("first"));
  file("hot.sql", kHot + std::string(" "));
  file("large.sql", std::string(5'000, ' '));
  file("nul.sql", rule("nul") + std::string(1, '\0'));
  for (int i = 0; i < 10; ++i) file("p" + std::to_string(i) + ".jsonl", std::string(3'000, ' '));
  for (int i = 0; i < 50; ++i) file("z" + std::to_string(i) + ".sql", "");
  file("notes.txt", "x");
  world.disk.before_read = [&, n = 0](const std::string& path) mutable {
    if (path == "/store/rules/bad.sql") file("moving.sql", std::string(static_cast<size_t>(++n), ' '));
    if (path == "/store/rules/moving.sql") file("moving.sql", std::string(static_cast<size_t>(++n), ' '));
  };
  file("moving.sql", "");
  start();
  std::map<std::string, std::string> wrong;
  for (const RuleFileState& one : rules->files()) {
    if (!one.errors.empty()) wrong[one.name] = format_diagnostic(one.name, one.errors[0]);
  }
  EXPECT_EQ(wrong["b again.sql"],
            "b again.sql:1:1: no name for a file of rules: letters, digits, - and _, then .sql or .jsonl");
  EXPECT_TRUE(wrong.count("b\\x0aforged.sql") == 1) << "a name is one line";
  EXPECT_EQ(wrong["bad.sql"], "bad.sql:2:1: this line is not UTF-8");
  EXPECT_NE(wrong["copy.sql"].find("copy.sql:2:13: "), std::string::npos) << wrong["copy.sql"];
  EXPECT_NE(wrong["copy.sql"].find("first"), std::string::npos) << wrong["copy.sql"];
  EXPECT_NE(wrong["large.sql"].find("5000 bytes, at most 4000"), std::string::npos) << wrong["large.sql"];
  EXPECT_NE(wrong["nul.sql"].find("nul.sql:3:1: "), std::string::npos) << wrong["nul.sql"];
  EXPECT_EQ(wrong["moving.sql"], "moving.sql:1:1: it changes while it is read");
  EXPECT_EQ(wrong["p9.jsonl"], "p9.jsonl:1:1: the folder holds more than 20000 bytes");
  EXPECT_NE(wrong["..."].find("more files than rules.files_max (40)"), std::string::npos) << wrong["..."];
  send(press, 1, {95}, now());
  run_ms(10);
  EXPECT_EQ(told(), (std::vector<std::string>{"firing press-7 95"}));
  EXPECT_EQ(logged("rule_row rule=first"), 1u);
}

}  // namespace
}  // namespace lambda::gateway
