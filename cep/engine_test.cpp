#include "cep/engine.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "cep/test_engine.h"

namespace lambda::cep {
namespace {

const std::string kStream = "CREATE STREAM temp (dev TEXT, v INT);\n";
const std::string kHot =
    "CREATE RULE hot OPTIONS(max_keys=100) AS SELECT dev, v FROM temp PARTITION BY dev ALERT ON v > 90 DO log();\n";

TEST(Engine, KeepsNothingOfATextWithAnError) {
  Engine engine({}, [](const Output&) {});
  const auto errors = engine.create(kStream + kHot + "CREATE RULE bad AS SELECT w FROM temp;");
  ASSERT_EQ(errors.size(), 1u);
  EXPECT_EQ(engine.rule_count(), 0u);
  EXPECT_EQ(engine.catalog().find_stream("temp"), nullptr);
  EXPECT_TRUE(engine.create(kStream + kHot).empty());
  EXPECT_EQ(engine.rule_count(), 1u);
}

TEST(Engine, ANumberThatNoDoubleHoldsIsAnErrorAndNotZero) {
  Engine engine({}, [](const Output&) {});
  const auto errors = engine.create(kStream + "CREATE RULE r AS SELECT v FROM temp WHERE v > 1e400;");
  ASSERT_FALSE(errors.empty());
  EXPECT_NE(errors[0].text.find("too large"), std::string::npos) << errors[0].text;
}

TEST(Engine, TakesRulesLaterAndTheySeeEventsFromThen) {
  TestEngine engine(kStream + "CREATE RULE first AS SELECT v FROM temp DO log();\n");
  engine.push("temp", 1, {engine.text("a"), Value::of_int(1)});
  ASSERT_TRUE(engine.engine().create("CREATE RULE later AS SELECT v FROM temp DO log();").empty());
  engine.push("temp", 2, {engine.text("a"), Value::of_int(2)});
  EXPECT_EQ(engine.said, (std::vector<std::string>{"first 1 row 1", "first 2 row 2", "later 2 row 2"}));
}

TEST(Engine, ManyKeysStayWithinMaxKeysAndIdleOnesMakeRoom) {
  TestEngine engine(kStream + kHot);
  for (int64_t i = 0; i < 100'000; ++i) {
    engine.push("temp", i, {engine.text("device-" + std::to_string(i)), Value::of_int(i % 7)});
  }
  EXPECT_EQ(engine.engine().counters(0).keys_rejected, 0u);  // all were quiet
  EXPECT_LT(engine.engine().state_bytes(0), 100u * 1024);
  for (int64_t i = 0; i < 1000; ++i) {
    engine.push("temp", 100'000 + i, {engine.text("hot-" + std::to_string(i)), Value::of_int(99)});
  }
  EXPECT_EQ(engine.engine().counters(0).keys_rejected, 900u);
  EXPECT_LT(engine.engine().state_bytes(0), 100u * 1024);
}

TEST(Engine, AKeyThatWasGivenUpLeavesNoTimerBehind) {
  TestEngine engine(kStream +
                    "CREATE RULE w OPTIONS(max_keys=1) AS SELECT dev, count(*) AS n FROM temp GROUP BY dev "
                    "WINDOW SESSION 10ms DO log();");
  engine.push("temp", 0, {engine.text("a"), Value::of_int(1)});
  engine.push("temp", 100, {engine.text("a"), Value::of_int(1)});  // closes at 10; the next is open till 110
  engine.push("temp", 105, {engine.text("b"), Value::of_int(1)});  // refused: a's session is open
  engine.advance_to(200);
  engine.push("temp", 300, {engine.text("b"), Value::of_int(1)});  // a is idle now, and its number b's
  engine.push("temp", 305, {engine.text("b"), Value::of_int(1)});
  engine.advance_to(400);
  EXPECT_EQ(engine.said,
            (std::vector<std::string>{"w 10 row a 1", "w 105 limit max_keys 1", "w 110 row a 1", "w 315 row b 2"}));
}

TEST(Engine, ADeviceWhoseClockIsAYearAheadMovesNothingButItself) {
  const std::string rules =
      kStream +
      "CREATE RULE site AS SELECT count(*) AS n FROM temp WINDOW TUMBLE 1s DO log();\n"
      "CREATE RULE each AS SELECT dev, count(*) AS n FROM temp GROUP BY dev WINDOW TUMBLE 1s DO log();\n";
  std::vector<std::string> said;
  Engine engine({}, [&](const Output& out) { said.push_back(std::to_string(out.rule) + " " + std::to_string(out.t)); });
  ASSERT_TRUE(engine.create(rules).empty());
  const StreamId temp = engine.catalog().find_stream("temp")->id;
  const auto push = [&](const char* dev, int64_t t, int64_t at) {
    const Symbol device = engine.symbols().intern(dev);
    const int64_t v = 1;
    Batch batch;
    batch.stream = temp;
    batch.rows = 1;
    batch.t = &t;
    batch.at = &at;
    batch.columns = {{Type::kText, &device, nullptr}, {Type::kInt, &v, nullptr}};
    engine.push(batch);
  };
  constexpr int64_t kYear = 365LL * 86'400'000;
  push("good", 100, 100);
  push("ahead", kYear, 200);
  push("good", 1100, 1100);
  push("good", 2100, 2100);
  EXPECT_EQ(engine.counters().guarded, 1u);
  EXPECT_EQ(said, (std::vector<std::string>{"1 1000", "1 2000"}));  // the device's own windows; the site waits for idle
  push("good", 31'000, 31'000);
  EXPECT_EQ(said.size(), 6u);  // the silent one left the minimum: three windows of the site, one more of the device
  EXPECT_EQ(engine.counters(0).late_dropped + engine.counters(1).late_dropped, 0u);
}

TEST(Engine, RestoresOnlyWhatIsItsOwn) {
  TestEngine engine(kStream + kHot);
  engine.push("temp", 1, {engine.text("a"), Value::of_int(99)});
  const std::string state = engine.engine().snapshot();
  Engine other({}, [](const Output&) {});
  ASSERT_TRUE(other.create(kStream + "CREATE RULE cold AS SELECT v FROM temp DO log();").empty());
  EXPECT_TRUE(other.restore(state));
  EXPECT_EQ(other.counters().rules_begun_anew, 1u);
  Engine same({}, [](const Output&) {});
  ASSERT_TRUE(same.create(kStream + kHot).empty());
  EXPECT_FALSE(same.restore(state.substr(0, state.size() - 1)));
  Engine again({}, [](const Output&) {});
  ASSERT_TRUE(again.create(kStream + kHot).empty());
  ASSERT_TRUE(again.restore(state));
  EXPECT_EQ(again.snapshot(), state);
}

// The rules that are looked up by what they demand say the same as those that cannot be.
TEST(Engine, LookingRulesUpChangesNothing) {
  std::string rules = kStream;
  const std::vector<std::string> conditions = {"v > 3",           "v >= 3",    "v < 3",   "v <= 3",
                                               "v = 3",           "v != 3",    "3 < v",   "dev = 'b'",
                                               "v > 1 AND v < 4", "NOT v > 3", "v = 2.5", "v > 2.5"};
  for (size_t i = 0; i < conditions.size(); ++i) {
    const std::string n = std::to_string(i);
    rules += "CREATE RULE l" + n + " AS SELECT dev, v FROM temp WHERE " + conditions[i] + " DO log();\n";
    rules += "CREATE RULE a" + n + " AS SELECT dev, v FROM temp WHERE (" + conditions[i] + ") OR 1 = 2 DO log();\n";
  }
  TestEngine engine(rules);
  size_t looked_up = 0;
  for (int64_t v = 0; v < 7; ++v) {
    for (const char* dev : {"a", "b"}) {
      engine.said.clear();
      engine.push("temp", v, {engine.text(dev), v == 6 ? Value::null() : Value::of_int(v)});
      for (size_t i = 0; i + 1 < engine.said.size(); i += 2) {
        EXPECT_EQ(engine.said[i].substr(1), engine.said[i + 1].substr(1));
      }
      EXPECT_EQ(engine.said.size() % 2, 0u);
      looked_up += engine.said.size() / 2;
    }
  }
  EXPECT_GT(looked_up, 40u);
}

TEST(Engine, ForgetsListsThatNobodyHolds) {
  TestEngine engine(
      "CREATE STREAM temp (dev TEXT, v INT);\n"
      "CREATE RULE top AS SELECT dev, topk(50, v) AS k FROM temp GROUP BY dev WINDOW TUMBLE 100ms EMIT "
      "CHANGES DO log();\n");
  uint64_t most = 0;
  for (int64_t i = 0; i < 60'000; ++i) {
    engine.push("temp", i * 10, {engine.text("a"), Value::of_int(i)});
    if (i % 10 == 5) {                                                    // a row a moment ago, of ten values
      engine.push("temp", i * 10, {engine.text("b"), Value::of_int(7)});  // the same list each time
    }
    most = std::max(most, engine.engine().symbols().list_bytes());
  }
  EXPECT_LT(most, 9u << 20);
  EXPECT_GT(most, 1u << 20) << "the test makes too few lists";
  size_t of_b = 0;
  for (const std::string& line : engine.said) {
    of_b += line.find(" row b ") != std::string::npos ? 1 : 0;
  }
  EXPECT_EQ(of_b, 1u);  // the list that CHANGES holds was kept
}

TEST(Engine, RefusesNewTextsOfEventsAtItsBound) {
  EngineSettings settings;
  settings.text_bytes_max = 10'000;
  Engine engine(settings, [](const Output&) {});
  ASSERT_TRUE(engine.create(kStream + "CREATE RULE r AS SELECT upper(dev) AS d FROM temp DO log();").empty());
  size_t taken = 0;
  for (int i = 0; i < 1000; ++i) {
    taken += engine.symbols().try_intern("device-" + std::to_string(i)) ? 1 : 0;
  }
  EXPECT_GT(taken, 50u);
  EXPECT_LT(taken, 200u);
  EXPECT_EQ(engine.counters().texts_refused, 1000 - taken);
  EXPECT_TRUE(engine.symbols().try_intern("device-0"));  // a known one is no new one
  EXPECT_LE(engine.symbols().bytes(), 10'000u);
}

}  // namespace
}  // namespace lambda::cep
