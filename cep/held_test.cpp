// Events that a rule holds back, for its lateness or for the slowest device, count for the timers of the arrival clock
// as if they had been processed when they arrived (7).
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "cep/engine.h"

namespace lambda::cep {
namespace {

struct Arrival {
  std::string stream;
  uint32_t device;
  int64_t t;
  int64_t at;
  int64_t v;
};

const std::string kStreams =
    "CREATE STREAM a (dev TEXT, v INT);\n"
    "CREATE STREAM b (dev TEXT, v INT);\n"
    "CREATE TABLE devices (dev TEXT KEY, site TEXT);\n";

// `options` of all rules; `key`: "PARTITION BY dev" or nothing.
std::string timed_rules(const std::string& options, const std::string& key) {
  const std::string head = " OPTIONS(max_runs=1000, idle=1d, max_delay=1d, " + options + ") AS SELECT ";
  return kStreams +
         //
         "CREATE RULE lost" + head + "a.v AS v FROM PATTERN (EVERY a -> NOT b[v = a.v] FOR 3s) " + key +
         " DO log();\n" + "CREATE RULE quiet" + head + "1 AS one FROM PATTERN (EVERY NOT b[v > 4] FOR 2s) " + key +
         " DO log();\n" + "CREATE RULE calm" + head +
         "x.v AS x, y.v AS y FROM PATTERN (EVERY x=a[v > 5] -> NOT b[v < 4] FOR 1s -> y=b) " + key + " DO log();\n" +
         "CREATE RULE either" + head +
         "x.v AS x, y.v AS y FROM PATTERN (EVERY x=a -> (y=b[v > 7] OR NOT b FOR 2500ms)) " + key + " DO log();\n" +
         "CREATE RULE hot" + head + "v FROM a " + key +
         " ALERT ON v > 5 FOR 2s CLEAR v < 3 FOR 1s REMIND 1500ms DO log();\n" + "CREATE RULE silent" + head +
         "a.v AS v FROM PATTERN (EVERY a -> NOT a FOR 2s) " + key + " ALERT REMIND 4s DO log();\n" +
         "CREATE RULE missing" + head + "d.site AS site FROM TABLE devices d ANTI JOIN b ON dev WITHIN 3s DO log();\n";
}

// What the rules say, sorted; which line said it is left out, because holding back moves that.
std::vector<std::string> outputs(const std::string& rules, const std::vector<Arrival>& arrivals, int64_t end) {
  std::vector<std::string> said;
  Engine* asked = nullptr;
  Engine engine({}, [&](const Output& out) {
    std::string line = asked->rule(out.rule).name + " " + std::to_string(out.t) + " " + output_kind_name(out.kind);
    for (const Value& value : out.fields) {
      line += " " + (value.type == Type::kText ? std::string(asked->symbols().text(value.text))
                     : value.is_null()         ? "null"
                                               : std::to_string(value.i));
    }
    said.push_back(std::move(line));
  });
  asked = &engine;
  for (const Diagnostic& error : engine.create(rules)) {
    ADD_FAILURE() << format_diagnostic("rules", error);
    return {};
  }
  const auto device = [&](uint32_t number) {
    return Value::of_text(engine.symbols().intern("device-" + std::to_string(number)));
  };
  std::vector<std::vector<Value>> rows;
  for (uint32_t i = 0; i < 3; ++i) {
    rows.push_back({device(i), Value::of_text(engine.symbols().intern("site-" + std::to_string(i)))});
  }
  (void)engine.set_table(engine.catalog().find_table("devices")->id, rows);
  for (size_t i = 0; i < arrivals.size(); ++i) {
    const Arrival& arrival = arrivals[i];
    const Value dev = device(arrival.device);
    Batch batch;
    batch.stream = engine.catalog().find_stream(arrival.stream)->id;
    batch.rows = 1;
    batch.first_index = i;
    batch.t = &arrival.t;
    batch.at = &arrival.at;
    batch.columns = {{Type::kText, &dev.bits, nullptr}, {Type::kInt, &arrival.v, nullptr}};
    engine.push(batch);
  }
  engine.advance_to(end);
  for (RuleId id = 0; id < engine.rule_count(); ++id) {
    EXPECT_EQ(engine.counters(id).late_dropped + engine.counters(id).forced_release, 0u) << engine.rule(id).name;
  }
  std::ranges::sort(said);
  return said;
}

// What is only in one of two sorted lists.
std::string difference(const std::vector<std::string>& expected, const std::vector<std::string>& got) {
  std::vector<std::string> missing;
  std::vector<std::string> added;
  std::ranges::set_difference(expected, got, std::back_inserter(missing));
  std::ranges::set_difference(got, expected, std::back_inserter(added));
  std::string out;
  for (const std::string& line : missing) {
    out += "missing: " + line + "\n";
  }
  for (const std::string& line : added) {
    out += "added: " + line + "\n";
  }
  return out;
}

class Held : public ::testing::Test {
 protected:
  // Each device's events come in its order; its clock is off by up to `off_ms_max`, and they travel up to
  // `delay_ms_max`.
  std::vector<Arrival> make(uint64_t seed, int64_t off_ms_max, int64_t delay_ms_max) {
    std::mt19937_64 bits(seed);
    const auto below = [&](int64_t n) { return n == 0 ? 0 : static_cast<int64_t>(bits() % static_cast<uint64_t>(n)); };
    int64_t off[3];
    int64_t last[3];
    for (size_t i = 0; i < 3; ++i) {
      off[i] = below(2 * off_ms_max) - off_ms_max;
      last[i] = kTimeMin;
    }
    std::vector<Arrival> out;
    int64_t at = 100'000;
    for (int i = 0; i < 150; ++i) {
      at += 1 + below(bits() % 10 == 0 ? 6000 : 700);
      const auto device = static_cast<uint32_t>(below(3));
      const int64_t t = std::max(last[device] + 1, at + off[device] - below(delay_ms_max));
      last[device] = t;
      out.push_back({bits() % 3 == 0 ? "b" : "a", device, t, at, below(10)});
    }
    return out;
  }
};

TEST_F(Held, BackOrNotADevicesEventsMakeTheSameOutputs) {
  size_t compared = 0;
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    const auto arrivals = make(seed, 60'000, 1500);
    const int64_t end = arrivals.back().at + 130'000;
    const auto expected = outputs(timed_rules("lateness=0", "PARTITION BY dev"), arrivals, end);
    compared += expected.size();
    for (const char* lateness : {"1s", "4s", "40s"}) {
      const std::string options = std::string("lateness=") + lateness;
      ASSERT_EQ(difference(expected, outputs(timed_rules(options, "PARTITION BY dev"), arrivals, end)), "")
          << "seed " << seed << ", lateness " << lateness;
    }
  }
  EXPECT_GT(compared, 10'000u);
}

TEST_F(Held, BackInOrderBothClocksAgree) {
  size_t compared = 0;
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    const auto arrivals = make(seed, 0, 0);
    const int64_t end = arrivals.back().at + 20'000;
    for (const char* key : {"", "PARTITION BY dev"}) {
      for (const char* lateness : {"0", "1s", "20s"}) {
        const std::string options = std::string("lateness=") + lateness;
        const auto expected = outputs(timed_rules(options + ", time=event", key), arrivals, end);
        compared += expected.size();
        ASSERT_EQ(difference(expected, outputs(timed_rules(options + ", time=arrival", key), arrivals, end)), "")
            << "seed " << seed << ", lateness " << lateness << " " << key;
      }
    }
  }
  EXPECT_GT(compared, 10'000u);
}

}  // namespace
}  // namespace lambda::cep
