// StatsD line by line: what is read, what is refused and why, and that no bytes do any harm.
#include "agent/source/statsd_line.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <random>
#include <string>

#include "agent/source/statsd_names.h"
#include "agent/spool/series_table.h"

namespace lambda::agent {
namespace {

// What was read, in one way to write it: "c name 1 2 @0.1 #tags"; changes of gauges as "+1".
std::string told(std::string_view text) {
  StatsdLine line;
  const StatsdVerdict verdict = parse_statsd_line(text, &line);
  if (verdict == StatsdVerdict::kLeftOut) return "left out";
  if (verdict != StatsdVerdict::kGood) return std::string(statsd_refusal(verdict));
  std::string out(1, "cgts"[static_cast<int>(line.type)]);
  out += " " + std::string(line.name);
  if (line.type == StatsdType::kSet) out += " " + std::string(line.member);
  char number[40];
  for (size_t i = 0; line.type != StatsdType::kSet && i < line.numbers.size(); ++i) {
    std::snprintf(number, sizeof number, line.numbers[i].change ? " %+g" : " %g", line.numbers[i].value);
    out += number;
  }
  std::snprintf(number, sizeof number, " @%g", line.rate);
  if (line.rate != 1) out += number;
  if (!line.tags.empty()) out += " #" + std::string(line.tags);
  return out;
}

TEST(StatsdLine, ReadsEachType) {
  EXPECT_EQ(told("page.views:1|c"), "c page.views 1");
  EXPECT_EQ(told("fuel.level:0.5|g"), "g fuel.level 0.5");
  EXPECT_EQ(told("fuel.level:+4|g"), "g fuel.level +4");
  EXPECT_EQ(told("fuel.level:-10|g"), "g fuel.level -10");
  EXPECT_EQ(told("glork:320|ms"), "t glork 320");
  EXPECT_EQ(told("song.length:240|h"), "t song.length 240");
  EXPECT_EQ(told("song.length:2.4e2|d"), "t song.length 240");
  EXPECT_EQ(told("t:-3|ms"), "t t -3");
  EXPECT_EQ(told("users.uniques:a b:c|s"), "s users.uniques a b:c");
  EXPECT_EQ(told("x:+7|c"), "c x +7");
}

TEST(StatsdLine, ReadsRatesTagsAndManyValues) {
  EXPECT_EQ(told("x:1|c|@0.1"), "c x 1 @0.1");
  EXPECT_EQ(told("x:1|c|@1"), "c x 1");
  EXPECT_EQ(told("x:3|c|#env:prod,urgent"), "c x 3 #env:prod,urgent");
  EXPECT_EQ(told("x:3|ms|@0.5|#env:prod"), "t x 3 @0.5 #env:prod");
  EXPECT_EQ(told("x:3|ms|#env:prod|@0.5"), "t x 3 @0.5 #env:prod");
  EXPECT_EQ(told("x:1:2:3.5|ms"), "t x 1 2 3.5");
  EXPECT_EQ(told("x:1|c\r"), "c x 1");
  EXPECT_EQ(told("x:1|c|#"), "c x 1");
}

TEST(StatsdLine, ReadsOverWhatDogStatsdAddsToALine) {
  EXPECT_EQ(told("x:1|c|#a:b|c:83c0a99c0a54c0c1"), "c x 1 #a:b");
  EXPECT_EQ(told("x:1|g|T1656581400"), "g x 1");
  EXPECT_EQ(told("x:1|g|#a:b|c:ci-12|e:it-false,cn-web|card:low|T1656581400"), "g x 1 #a:b");
}

TEST(StatsdLine, LeavesOutEventsChecksAndEmptyLines) {
  EXPECT_EQ(told("_e{5,4}:title|text|#a:b"), "left out");
  EXPECT_EQ(told("_sc|Redis connection|2|#env:dev|m:timed out"), "left out");
  EXPECT_EQ(told(""), "left out");
  EXPECT_EQ(told("\r"), "left out");
}

TEST(StatsdLine, RefusesWhatIsNotALineAndSaysWhy) {
  EXPECT_EQ(told("x"), "no_name");
  EXPECT_EQ(told(":1|c"), "no_name");
  EXPECT_EQ(told("a|b:1|c"), "no_name");
  EXPECT_EQ(told("x:1"), "no_type");
  EXPECT_EQ(told("x:"), "no_type");
  EXPECT_EQ(told("x:1|"), "unknown_type");
  EXPECT_EQ(told("x:1|m"), "unknown_type");
  EXPECT_EQ(told("x:1|cc"), "unknown_type");
  EXPECT_EQ(told("x:|c"), "bad_value");
  EXPECT_EQ(told("x:abc|c"), "bad_value");
  EXPECT_EQ(told("x:1 |c"), "bad_value");
  EXPECT_EQ(told("x:0x10|g"), "bad_value");
  EXPECT_EQ(told("x:nan|g"), "bad_value");
  EXPECT_EQ(told("x:inf|ms"), "bad_value");
  EXPECT_EQ(told("x:-inf|g"), "bad_value");
  EXPECT_EQ(told("x:1e101|c"), "bad_value");
  EXPECT_EQ(told("x:1e999|c"), "bad_value");
  EXPECT_EQ(told("x:+-1|g"), "bad_value");
  EXPECT_EQ(told("x:++1|g"), "bad_value");
  EXPECT_EQ(told("x:+|g"), "bad_value");
  EXPECT_EQ(told("x:1::2|ms"), "bad_value");
  EXPECT_EQ(told("x:1:|ms"), "bad_value");
  EXPECT_EQ(told("x:1:y:3|ms"), "bad_value");
  EXPECT_EQ(told("x:|s"), "bad_value");
  EXPECT_EQ(told("x:-1|c"), "negative_count");
  EXPECT_EQ(told("x:1|c|@0"), "bad_rate");
  EXPECT_EQ(told("x:1|c|@-0.5"), "bad_rate");
  EXPECT_EQ(told("x:1|c|@1.5"), "bad_rate");
  EXPECT_EQ(told("x:1|c|@nan"), "bad_rate");
  EXPECT_EQ(told("x:1|c|@"), "bad_rate");
  EXPECT_EQ(told("x:1|c|@0.1|@0.1"), "bad_field");
  EXPECT_EQ(told("x:1|c|#a|#b"), "bad_field");
  EXPECT_EQ(told("x:1|c||#b"), "bad_field");
}

TEST(StatsdLine, EachBeginningOfALineIsReadOrRefused) {
  const std::string whole = "some.name:1:2.5e1:+3|ms|@0.25|#env:prod,role:web,urgent|c:83c0a99c|T1656581400";
  for (size_t size = 0; size < whole.size(); ++size) {
    StatsdLine line;
    const auto verdict = parse_statsd_line(std::string(whole.data(), size), &line);
    EXPECT_TRUE(verdict < StatsdVerdict::kVerdicts) << size;
    EXPECT_EQ(verdict == StatsdVerdict::kGood, told(whole.substr(0, size)).starts_with("t some.name")) << size;
  }
}

// "name{a=\"b\",...}", or "refused".
std::string names_of(std::string_view name, std::string_view tags) {
  StatsdIdentity identity;
  if (!map_statsd_names(name, tags, &identity)) return "refused";
  std::string out = identity.name + "{";
  for (const auto& [label, value] : identity.labels)
    out += (out.back() == '{' ? "" : ",") + label + "=\"" + value + "\"";
  return out + "}";
}

TEST(StatsdNames, BecomeNamesOfSeries) {
  EXPECT_EQ(names_of("page.views", ""), "page_views{}");
  EXPECT_EQ(names_of("a-b/c d", ""), "a_b_c_d{}");
  EXPECT_EQ(names_of("4xx", ""), "_4xx{}");
  EXPECT_EQ(names_of("caf\xc3\xa9", ""), "caf__{}");
  EXPECT_EQ(names_of("node.gc", ""), "statsd_node_gc{}");
  EXPECT_EQ(names_of("lambda_agent_points", ""), "statsd_lambda_agent_points{}");
  EXPECT_EQ(names_of("nodejs.gc", ""), "nodejs_gc{}");
}

TEST(StatsdNames, TagsBecomeLabelsInWhateverOrder) {
  EXPECT_EQ(names_of("x", "b:2,a:1"), "x{a=\"1\",b=\"2\"}");
  EXPECT_EQ(names_of("x", "a:1,b:2"), "x{a=\"1\",b=\"2\"}");
  EXPECT_EQ(names_of("x", "url:http://h:80/"), "x{url=\"http://h:80/\"}");
  EXPECT_EQ(names_of("x", "urgent"), "x{urgent=\"true\"}");
  EXPECT_EQ(names_of("x", "a:,,b:1"), "x{b=\"1\"}");
  EXPECT_EQ(names_of("x", "a:2,a:1,a:2"), "x{a=\"1,2\"}");
  EXPECT_EQ(names_of("x", "my-key:1,2nd:2"), "x{_2nd=\"2\",my_key=\"1\"}");
  EXPECT_EQ(names_of("x", "__name__:y"), "x{_name__=\"y\"}");
  EXPECT_EQ(names_of("x", "instance:i,le:1,quantile:2,site:s"),
            "x{exported_instance=\"i\",exported_le=\"1\",exported_quantile=\"2\",exported_site=\"s\"}");
}

TEST(StatsdNames, WhatNoSeriesCanHaveIsRefused) {
  EXPECT_EQ(names_of(std::string(180, 'a'), ""), std::string(180, 'a') + "{}");
  EXPECT_EQ(names_of(std::string(181, 'a'), ""), "refused");
  EXPECT_EQ(names_of("x", "a:" + std::string(1024, 'v')), "x{a=\"" + std::string(1024, 'v') + "\"}");
  EXPECT_EQ(names_of("x", "a:" + std::string(1025, 'v')), "refused");
  EXPECT_EQ(names_of("x", "a:" + std::string(600, 'v') + ",a:" + std::string(600, 'w')), "refused");
  EXPECT_EQ(names_of("x", "a:\xff"), "refused");
  EXPECT_EQ(names_of("x", "a:\xc3"), "refused");
  EXPECT_EQ(names_of("x", "a:\xed\xa0\x80"), "refused");
  std::string many;
  for (int i = 0; i < 31; ++i) many += "t" + std::to_string(i) + ":1,";
  EXPECT_EQ(names_of("x", many), "refused");
}

// Random lines near to good ones: what the mapping lets through is a name the agent's table of series takes.
TEST(StatsdNames, WhateverIsAcceptedIsAValidSeries) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  const std::string alphabet = "ab_:|@#,.09-\xc3\xa9\xf0\x9f\x98\x80 \n\t\xff__lei";
  size_t accepted = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::string name(1 + random() % 12, ' '), tags(random() % 40, ' ');
    for (char& c : name) c = alphabet[random() % alphabet.size()];
    for (char& c : tags) c = alphabet[random() % alphabet.size()];
    StatsdIdentity identity;
    if (!map_statsd_names(name, tags, &identity)) continue;
    ++accepted;
    const auto status = check_series(identity.name, identity.labels, ValueType::kF64, 0, "");
    ASSERT_TRUE(status.has_value()) << status.error().text << "\nname " << name << "\ntags " << tags;
  }
  EXPECT_GT(accepted, 1'000u);
}

}  // namespace
}  // namespace lambda::agent
