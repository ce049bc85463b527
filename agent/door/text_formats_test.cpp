#include "agent/door/text_formats.h"

#include <gtest/gtest.h>

#include <random>

#include "agent/door/remote_write.h"
#include "agent/door/test_journal.h"
#include "proto/prometheus_write.pb.h"

namespace lambda::agent {
namespace {

using test::TestJournal;

constexpr int64_t kNow = 1'700'000'000'000;

// What comes of a body: "name,label=value time value" of each point, and the errors as "line: text".
struct Read {
  std::vector<std::string> points, errors;
  uint64_t rounded = 0;
};

Read read(const std::function<void(FeedBatch&)>& reader) {
  TestJournal journal;
  Feeder feeder({.past_ms_max = kNow}, journal.ports());
  FeedBatch batch(feeder);
  reader(batch);
  Read out;
  feeder.take(std::move(batch), [&](const FeedResult& result) {
    out.rounded = result.rounded;
    for (const FeedError& error : result.errors) out.errors.push_back(std::to_string(error.item) + ": " + error.text);
  });
  while (!journal.appends.empty()) journal.decide();
  std::map<SeriesRef, std::string> names;
  for (const auto& [key, ref] : journal.refs) names[ref] = key;
  for (const Row& row : journal.made) {
    for (const RowPoint& point : row.points) {
      char text[64];
      std::snprintf(text, sizeof text, " %lld %g", static_cast<long long>(row.time_ms),
                    std::bit_cast<double>(point.bits));
      out.points.push_back(names[point.ref] + text);
    }
  }
  return out;
}

Read json(const std::string& body) {
  return read([&](FeedBatch& batch) { read_json_lines(body, kNow, batch); });
}
Read influx(const std::string& body, int64_t unit_ns = 1) {
  return read([&](FeedBatch& batch) { read_line_protocol(body, unit_ns, kNow, batch); });
}
using Texts = std::vector<std::string>;

TEST(JsonLines, ReadsWhatItSays) {
  const Read got = json(
      "{\"name\":\"a\",\"value\":1.5}\n"
      "\n"
      "{\"name\":\"b\",\"labels\":{\"x\":\"y\"},\"t\":1700000000001,\"value\":2,\"kind\":\"counter\",\"unit\":\"s\"}"
      "\r\n"
      "{\"name\":\"c\",\"value\":-3,\"t\":1700000000002}");
  EXPECT_EQ(got.points, (Texts{"a 1700000000000 1.5", "b,x=y 1700000000001 2", "c 1700000000002 -3"}));
  EXPECT_EQ(got.errors, Texts{});
}

TEST(JsonLines, AWrongLineCostsItselfAndSaysWhy) {
  const std::vector<std::pair<std::string, std::string>> wrong = {
      {"{\"name\":\"a\"", "not JSON"},
      {"[1]", "one JSON object"},
      {"{\"value\":1}", "name is missing"},
      {"{\"name\":\"a\"}", "value is missing"},
      {"{\"name\":7,\"value\":1}", "name is not a text"},
      {"{\"name\":\"a\",\"value\":\"1\"}", "value is not a number"},
      {"{\"name\":\"a\",\"value\":1,\"t\":\"now\"}", "t is not a number"},
      {"{\"name\":\"a\",\"value\":1,\"t\":1.5}", "whole number"},
      {"{\"name\":\"a\",\"value\":1,\"t\":1e300}", "whole number"},
      {"{\"name\":\"a\",\"value\":1,\"time\":5}", "there is no time"},
      {"{\"name\":\"a\",\"value\":1,\"labels\":[]}", "labels is not"},
      {"{\"name\":\"a\",\"value\":1,\"labels\":{\"x\":1}}", "label x"},
      {"{\"name\":\"a\",\"value\":1,\"kind\":\"histogram\"}", "kind is"},
      {std::string(1000, '['), "not JSON"},
      {"\xff\xfe", "not JSON"},
  };
  for (const auto& [line, why] : wrong) {
    const Read got = json("{\"name\":\"before\",\"value\":1}\n" + line + "\n{\"name\":\"after\",\"value\":1}");
    EXPECT_EQ(got.points.size(), 2u) << line;
    ASSERT_EQ(got.errors.size(), 1u) << line;
    EXPECT_TRUE(got.errors[0].starts_with("2: ")) << got.errors[0];
    EXPECT_NE(got.errors[0].find(why), std::string::npos) << got.errors[0];
  }
}

TEST(JsonLines, WholeNumbersThatNoDoubleHoldsAreTakenRoundedAndCounted) {
  const auto line = [](const char* name, const char* value) {
    return std::string("{\"name\":\"") + name + "\",\"value\":" + value + "}\n";
  };
  const Read got = json(line("a", "9007199254740993") + line("b", "9007199254740992") + line("c", "-9007199254740993") +
                        line("d", "18446744073709551615") + line("e", "9223372036854775807") + line("f", "0.1"));
  EXPECT_EQ(got.points.size(), 6u);
  EXPECT_EQ(got.errors, Texts{});
  EXPECT_EQ(got.rounded, 4u);
  const Read lines = influx("a v=9007199254740993i\nb v=9007199254740992i\nc v=18446744073709551615u\nd v=1.5");
  EXPECT_EQ(lines.points.size(), 4u);
  EXPECT_EQ(lines.rounded, 2u);
}

TEST(JsonLines, BracesInTextsAreNoDepth) {
  const std::string braces(100, '{');
  const Read got = json("{\"name\":\"a\",\"labels\":{\"x\":\"" + braces + "\\\"[\"},\"value\":1}\n" +
                        "{\"name\":\"b\",\"value\":" + std::string(100, '[') + "1" + std::string(100, ']') + "}\n");
  EXPECT_EQ(got.points, (Texts{"a,x=" + braces + "\"[ 1700000000000 1"}));
  EXPECT_EQ(got.errors, (Texts{"2: not JSON"}));
}

TEST(LineProtocol, EachFieldIsASeries) {
  const Read got = influx(
      "cpu,host=a,core=0 user=1.5,system=2i,idle=3u 1700000000001000000\n"
      "# a comment\n"
      "up value=t 1700000000002000000\n"
      "  disk.used,path=/\\ root\\,x value=+7 1700000000003000000\r\n"
      "plain value=1\n");
  EXPECT_EQ(got.points, (Texts{"plain 1700000000000 1", "cpu_user,host=a,core=0 1700000000001 1.5",
                               "cpu_system,host=a,core=0 1700000000001 2", "cpu_idle,host=a,core=0 1700000000001 3",
                               "up 1700000000002 1", "disk_used,path=/ root,x 1700000000003 7"}));
  EXPECT_EQ(got.errors, Texts{});
}

TEST(LineProtocol, AWrongLineCostsItselfAndSaysWhy) {
  const std::vector<std::pair<std::string, std::string>> wrong = {
      {"cpu", "field without a value"},
      {",a=b v=1", "measurement is missing"},
      {"cpu,a v=1", "tag without a value"},
      {"cpu,a= v=1", "tag without a value"},
      {"cpu,a=1,a=2 v=1", "two tags"},
      {"cpu v=", "is no number"},
      {"cpu v=1x", "is no number"},
      {"cpu v=1.5i", "is no number"},
      {"cpu v=-1u", "is no number"},
      {"cpu v=nan", "is no number"},
      {"cpu v=\"text\"", "is a text"},
      {"cpu v=\"open", "not closed"},
      {"cpu v=1 yesterday", "no whole number"},
      {"cpu v=1 99999999999999999999", "no whole number"},
      {"cpu v=1, 5", "field without a value"},
  };
  for (const auto& [line, why] : wrong) {
    const Read got = influx("before v=1\n" + line + "\nafter v=1\n");
    EXPECT_EQ(got.points.size(), 2u) << line;
    ASSERT_EQ(got.errors.size(), 1u) << line;
    EXPECT_TRUE(got.errors[0].starts_with("2: ")) << got.errors[0];
    EXPECT_NE(got.errors[0].find(why), std::string::npos) << got.errors[0];
  }
}

TEST(LineProtocol, TextsAreRefusedBesideNumbersAndMayHoldAnything) {
  const Read got = influx("job,id=1 state=\"a, b=c \\\" \n d\",took=2.5 1700000000001000000\nnext v=1");
  EXPECT_EQ(got.points, (Texts{"next_v 1700000000000 1", "job_took,id=1 1700000000001 2.5"}));
  ASSERT_EQ(got.errors.size(), 1u);
  EXPECT_NE(got.errors[0].find("state is a text"), std::string::npos);
}

// Each of these once cost the lines behind it, behind a good answer.
TEST(LineProtocol, QuotesOutsideAFieldsTextAreCharactersLikeOthers) {
  const std::string body =
      "# 5\" pipe\n"
      "cpu v=1 1700000000000000000\n"
      "# 3\" pipe\n"
      "disk,size=5\" v=2 1700000000000000000\n"
      "disk,size=3\\ \" v=3 1700000000000000000\n"
      "a\"b v\"w=4 1700000000000000000\n"
      "text note=\"two\nlines\",v=5 1700000000000000000\n"
      "last v=6 1700000000000000000";
  const Read got = influx(body);
  EXPECT_EQ(got.points,
            (Texts{"cpu_v 1700000000000 1", "disk_v,size=5\" 1700000000000 2", "disk_v,size=3 \" 1700000000000 3",
                   "a_b_v_w 1700000000000 4", "text_v 1700000000000 5", "last_v 1700000000000 6"}));
  EXPECT_EQ(got.errors, (Texts{"7: field note is a text"}));
}

TEST(LineProtocol, WhatNoSeriesMayHaveIsRefusedBeforeItIsMultiplied) {
  std::string many_tags = "a", many_fields = "a ";
  for (int i = 0; i < 33; ++i) many_tags += ",t" + std::to_string(i) + "=x";
  for (int i = 0; i < 1025; ++i) many_fields += (i ? ",f" : "f") + std::to_string(i) + "=1";
  const std::string long_text(1025, 'x');
  const Read got = influx(many_tags + " v=1\n" + many_fields + "\na,t=" + long_text + " v=1\n" + long_text +
                          " v=1\na " + long_text + "=1\nb v=1\n");
  EXPECT_EQ(got.points, (Texts{"b_v 1700000000000 1"}));
  const std::string shown = long_text.substr(0, 40);
  EXPECT_EQ(got.errors, (Texts{"1: more than 32 tags", "2: more than 1024 fields", "3: tag over 1024 bytes: t",
                               "4: measurement over 1024 bytes: " + shown, "5: field over 1024 bytes: " + shown}));
}

TEST(LineProtocol, AnyUnitOfTime) {
  EXPECT_EQ(influx("a value=1 1700000001", 1'000'000'000).points, Texts{"a 1700000001000 1"});
  EXPECT_EQ(influx("a value=1 1700000000001", 1'000'000).points, Texts{"a 1700000000001 1"});
  EXPECT_EQ(influx("a value=1 1700000000001000", 1'000).points, Texts{"a 1700000000001 1"});
  EXPECT_EQ(influx("a value=1 9223372036854775807", 1'000'000'000).errors.size(), 1u);
}

TEST(LineProtocol, NamesBecomeNames) {
  EXPECT_EQ(plain_name("disk.used-percent", true), "disk_used_percent");
  EXPECT_EQ(plain_name("5xx", true), "_5xx");
  EXPECT_EQ(plain_name("a:b", true), "a:b");
  EXPECT_EQ(plain_name("a:b", false), "a_b");
  EXPECT_EQ(plain_name("", true), "");
}

TEST(RemoteWrite, ReadsSeriesAndPassesOverWhatItDoesNotKeep) {
  prometheus::WriteRequest request;
  auto* series = request.add_timeseries();
  const auto label = [&](const char* name, const char* value) {
    auto* added = series->add_labels();
    added->set_name(name);
    added->set_value(value);
  };
  label("__name__", "up");
  label("job", "x");
  label("empty", "");
  label("instance", "db1:9100");
  for (int i = 0; i < 2; ++i) {
    auto* sample = series->add_samples();
    sample->set_timestamp(kNow + i);
    sample->set_value(i);
  }
  series->add_histograms();
  request.add_timeseries()->add_samples()->set_value(1);
  const Read got =
      read([&](FeedBatch& batch) { EXPECT_TRUE(read_remote_write(request.SerializeAsString(), batch).has_value()); });
  EXPECT_EQ(got.points, (Texts{"up,job=x,exported_instance=db1:9100 1700000000000 0",
                               "up,job=x,exported_instance=db1:9100 1700000000001 1"}));
  ASSERT_EQ(got.errors.size(), 2u);
  EXPECT_NE(got.errors[0].find("histogram"), std::string::npos);
  EXPECT_NE(got.errors[1].find("__name__"), std::string::npos);
  read([](FeedBatch& batch) { EXPECT_FALSE(read_remote_write("\x0a\xff", batch).has_value()); });
}

TEST(RemoteWrite, WhatIsSaidOfMetricsIsHandedOn) {
  prometheus::WriteRequest request;
  const auto say = [&](prometheus::MetricMetadata::MetricType type, const char* name, const char* help,
                       const char* unit) {
    auto* said = request.add_metadata();
    said->set_type(type);
    said->set_metric_family_name(name);
    said->set_help(help);
    said->set_unit(unit);
  };
  say(prometheus::MetricMetadata::COUNTER, "http_requests", "Requests so far.", "");
  say(prometheus::MetricMetadata::HISTOGRAM, "http_seconds", "How long.", "seconds");
  say(prometheus::MetricMetadata::UNKNOWN, "x", "", "");
  const auto in_words = [](const std::string& bytes) {
    TestJournal journal;
    Feeder feeder({}, journal.ports());
    FeedBatch batch(feeder);
    EXPECT_TRUE(read_remote_write(bytes, batch).has_value());
    feeder.take(std::move(batch), [](const FeedResult& result) {
      EXPECT_TRUE(result.status.has_value());
      EXPECT_EQ(result.refused, 0u);
    });
    return journal.said;
  };
  const std::string bytes = request.SerializeAsString();
  EXPECT_EQ(in_words(bytes), (Texts{"http_requests counter  Requests so far.",
                                    "http_seconds histogram seconds How long.", "x unknown  "}));
  EXPECT_EQ(in_words("\x1a\x05\x08\x63\x12\x01y"), Texts{"y unknown  "}) << "a type of later times";
  for (size_t length = 1; length < bytes.size(); ++length) {
    TestJournal journal;
    Feeder feeder({}, journal.ports());
    FeedBatch batch(feeder);
    const bool whole = read_remote_write(bytes.substr(0, length), batch).has_value();
    EXPECT_EQ(whole, prometheus::WriteRequest().ParseFromString(bytes.substr(0, length))) << length;
  }
}

prometheus::WriteRequest random_request(std::mt19937_64& random) {
  prometheus::WriteRequest request;
  for (uint64_t i = random() % 6; i > 0; --i) {
    auto* series = request.add_timeseries();
    const auto label = [&](const std::string& name, const std::string& value) {
      auto* added = series->add_labels();
      added->set_name(name);
      added->set_value(value);
    };
    if (random() % 8 != 0) label("__name__", "m" + std::to_string(random() % 3));
    for (uint64_t k = random() % 3; k > 0; --k) label("l" + std::to_string(k), std::string(random() % 3, 'x'));
    for (uint64_t k = random() % 3; k > 0; --k) {
      auto* sample = series->add_samples();
      sample->set_timestamp(kNow + static_cast<int64_t>(random() % 1'000));
      sample->set_value(static_cast<double>(random() % 100));
    }
    if (random() % 8 == 0) series->add_histograms();
  }
  return request;
}

// What Protocol Buffers' own reader makes of a message, handed in without any shortcut.
void read_plainly(const prometheus::WriteRequest& request, FeedBatch& batch) {
  uint64_t number = 0;
  for (const auto& series : request.timeseries()) {
    SeriesSpec spec;
    for (const auto& label : series.labels()) {
      if (label.name() == "__name__") {
        spec.name = label.value();
      } else if (!label.value().empty()) {
        spec.labels.emplace_back(label.name(), label.value());
      }
    }
    for (const auto& sample : series.samples()) {
      ++number;
      if (spec.name.empty()) {
        batch.refuse(number, "the series has no __name__");
      } else {
        batch.add(number, spec, sample.timestamp(), sample.value());
      }
    }
    for (int i = 0; i < series.histograms_size(); ++i) batch.refuse(++number, spec.name + ": a native histogram");
  }
}

TEST(RemoteWrite, ReadsAsTheLibrarysOwnReaderDoesOnceAndAgain) {
  for (uint64_t seed = 1; seed <= 500; ++seed) {
    std::mt19937_64 random(seed);
    const auto request = random_request(random);
    const std::string bytes = request.SerializeAsString();
    const Read plain = read([&](FeedBatch& batch) { read_plainly(request, batch); });
    const Read ours = read([&](FeedBatch& batch) { ASSERT_TRUE(read_remote_write(bytes, batch).has_value()); });
    // The second time all series are known by their bytes.
    const Read again = read([&](FeedBatch& batch) {
      {
        FeedBatch before(batch);
        ASSERT_TRUE(read_remote_write(bytes, before).has_value());
      }
      ASSERT_TRUE(read_remote_write(bytes, batch).has_value());
    });
    for (const Read* got : {&ours, &again}) {
      EXPECT_EQ(got->points, plain.points) << "seed " << seed;
      EXPECT_EQ(got->errors, plain.errors) << "seed " << seed;
    }
  }
}

TEST(RemoteWrite, LabelsBehindTheSamplesAreReadAsWell) {
  // timeseries { samples { value: 2 timestamp: 7 } labels { __name__ = up } } twice with other names: Protocol Buffers
  // allow any order, and what cannot be told apart by its beginning must not be taken for the same.
  const auto one = [](const std::string& name) {
    const std::string label = "\x0a\x08__name__\x12\x02" + name;
    const std::string sample = std::string("\x09\0\0\0\0\0\0\0\x40\x10\x07", 11);
    const std::string series = "\x12\x0b" + sample + "\x0a" + std::string(1, static_cast<char>(label.size())) + label;
    return "\x0a" + std::string(1, static_cast<char>(series.size())) + series;
  };
  const Read got =
      read([&](FeedBatch& batch) { EXPECT_TRUE(read_remote_write(one("up") + one("on"), batch).has_value()); });
  EXPECT_EQ(got.points, (Texts{"up 7 2", "on 7 2"}));
}

TEST(KnownSeries, ForgetsAllAtItsBoundAndSaysHowOften) {
  KnownSeries known(10'000);
  for (SeriesRef ref = 1; ref <= 1'000; ++ref) {
    known.put("spelling " + std::to_string(ref), ref);
    ASSERT_NE(known.find("spelling " + std::to_string(ref)), nullptr);
    ASSERT_EQ(*known.find("spelling " + std::to_string(ref)), ref);
    ASSERT_LE(known.bytes(), 10'000u);
  }
  EXPECT_GT(known.forgotten(), 5u);
  EXPECT_EQ(known.find("spelling 1"), nullptr);
  known.put(std::string(20'000, 'x'), 1);
  EXPECT_EQ(known.find(std::string(20'000, 'x')), nullptr);
}

TEST(TextFormats, HostileBytesAreRefusedAtEveryLength) {
  std::mt19937_64 random(7);
  const std::string json_line = "{\"name\":\"a\",\"labels\":{\"x\":\"y\"},\"t\":1700000000001,\"value\":2}\n";
  const std::string influx_line = "cpu,host=a\\ b user=1.5,text=\"a\\\"b\",idle=3u 1700000000001000000\n";
  for (int round = 0; round < 4'000; ++round) {
    for (const std::string& good : {json_line, influx_line}) {
      std::string body = good + good;
      for (uint64_t i = random() % 4; i > 0; --i) body[random() % body.size()] = static_cast<char>(random());
      body.resize(random() % (body.size() + 1));
      EXPECT_LE(json(body).points.size(), 2u);
      EXPECT_LE(influx(body).points.size(), 12u);
      read([&](FeedBatch& batch) { (void)read_remote_write(body, batch); });
    }
  }
  // A quote that is never closed, on every line: read in a time that grows with the lines, not with their square.
  std::string quotes;
  while (quotes.size() < (2u << 20)) quotes += "a b=\"c\n";
  EXPECT_EQ(influx(quotes).points.size(), 0u);
}

}  // namespace
}  // namespace lambda::agent
