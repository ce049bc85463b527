#include "agent/door/doors.h"

#include <gtest/gtest.h>
#include <snappy.h>
#include <zlib.h>

#include <nlohmann/json.hpp>
#include <optional>

#include "agent/door/compression.h"
#include "agent/door/test_journal.h"
#include "agent/spool/test_world.h"
#include "proto/prometheus_write.pb.h"

namespace lambda::agent {
namespace {

using test::TestJournal;

std::string gzip(const std::string& text) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 9, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string in = text, out(text.size() + 200, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(in.data());
  stream.avail_in = static_cast<uInt>(in.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

struct DoorsTest : ::testing::Test {
  DoorsTest() { journal.now_ms = clock.utc_ms(); }

  // Asks and lets the journal decide; the answer.
  HttpResponse ask(const std::string& path, const std::string& body, std::map<std::string, std::string> headers = {},
                   std::multimap<std::string, std::string> parameters = {}, const Status& journal_says = {}) {
    HttpRequest request{"POST", path, std::move(parameters), std::move(headers), body};
    std::optional<HttpResponse> answer;
    doors.handle(request, [&](HttpResponse response) { answer = std::move(response); });
    while (!journal.appends.empty()) {
      EXPECT_FALSE(answer.has_value()) << "before the journal decided";
      journal.decide(journal_says);
    }
    EXPECT_TRUE(answer.has_value());
    return answer.value_or(HttpResponse{});
  }
  nlohmann::json push(const std::string& body, int status) {
    const HttpResponse answer = ask("/api/v1/push", body);
    EXPECT_EQ(answer.status, status) << answer.body;
    return nlohmann::json::parse(answer.body);
  }
  std::string written(int64_t time_ms, double value) {
    prometheus::WriteRequest request;
    auto* series = request.add_timeseries();
    auto* label = series->add_labels();
    label->set_name("__name__");
    label->set_value("up");
    auto* sample = series->add_samples();
    sample->set_timestamp(time_ms);
    sample->set_value(value);
    std::string packed;
    const std::string plain = request.SerializeAsString();
    snappy::Compress(plain.data(), plain.size(), &packed);
    return packed;
  }

  test::FakeClock clock;
  TestJournal journal;
  DoorOptions options{{.points_waiting_max = 1'000}, 1u << 20};
  Feeder feeder{options.feed, journal.ports()};
  RequestMemory requests{options.requests_bytes_max};
  Doors doors{options, feeder, requests, clock};
};

TEST_F(DoorsTest, PushSaysWhatItTookAndWhatItRefusedAndWhy) {
  const auto all = push("{\"name\":\"a\",\"value\":1}\n{\"name\":\"b\",\"value\":2}", 200);
  EXPECT_EQ(all["accepted"], 2);
  const auto some = push("{\"name\":\"c\",\"value\":1}\nnothing", 200);
  EXPECT_EQ(some["accepted"], 1);
  EXPECT_EQ(some["refused"], 1);
  EXPECT_EQ(some["errors"][0]["line"], 2);
  const auto none = push("nothing", 400);
  EXPECT_EQ(none["status"], "error");
  EXPECT_NE(none["error"].get<std::string>().find("line 1"), std::string::npos);
}

TEST_F(DoorsTest, PushSaysOfHowManyValuesDigitsWereLost) {
  EXPECT_EQ(push("{\"name\":\"a\",\"value\":9007199254740993}\n{\"name\":\"b\",\"value\":2}", 200)["rounded"], 1);
  EXPECT_FALSE(push("{\"name\":\"c\",\"value\":1}", 200).contains("rounded"));
  EXPECT_EQ(feeder.counters().values_rounded, 1u);
}

TEST_F(DoorsTest, AJournalThatFailsIsToldToEachClientInItsWords) {
  const Status broken = fail(ErrorCode::kIo, "no disk");
  EXPECT_EQ(ask("/api/v1/push", "{\"name\":\"a\",\"value\":1}", {}, {}, broken).status, 503);
  EXPECT_EQ(ask("/api/v1/write", written(clock.utc_ms(), 1), {}, {}, broken).status, 503);
  EXPECT_EQ(ask("/api/v2/write", "a v=1", {}, {}, broken).status, 503);
  EXPECT_EQ(journal.points_made(), 0u);
}

TEST_F(DoorsTest, WithoutRoomClientsAreToldToComeAgain) {
  std::string lines, influx;
  for (int i = 0; i < 600; ++i) {
    lines += "{\"name\":\"a" + std::to_string(i) + "\",\"value\":1}\n";
    influx += "a" + std::to_string(i) + " v=1\n";
  }
  // 600 wait already.
  HttpRequest first{"POST", "/api/v1/push", {}, {}, lines};
  std::optional<HttpResponse> answer;
  doors.handle(first, [&](HttpResponse response) { answer = std::move(response); });
  const auto full = [&](const std::string& path, const std::string& body) {
    HttpResponse refused;
    doors.handle({"POST", path, {}, {}, body}, [&](HttpResponse response) { refused = std::move(response); });
    return refused;
  };
  EXPECT_EQ(full("/api/v1/push", lines).status, 429);
  EXPECT_EQ(full("/api/v2/write", influx).status, 429);
  EXPECT_EQ(full("/api/v2/write", influx).headers.front().first, "Retry-After");
  EXPECT_FALSE(answer.has_value());
  journal.decide();
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->status, 200);
  EXPECT_EQ(journal.points_made(), 600u);
  // What can never fit is not to be sent again.
  EXPECT_EQ(full("/api/v1/push", lines + lines).status, 413);
  EXPECT_EQ(full("/api/v2/write", influx + influx).status, 413);
  EXPECT_EQ(journal.points_made(), 600u);
}

TEST_F(DoorsTest, RemoteWriteIsTakenWithAndWithoutTheHeader) {
  const int64_t now = clock.utc_ms();
  EXPECT_EQ(ask("/api/v1/write", written(now, 1), {{"content-encoding", "snappy"}}).status, 204);
  EXPECT_EQ(ask("/api/v1/write", written(now + 1, 2)).status, 204);
  EXPECT_EQ(ask("/api/v1/write", written(now + 1, 2)).status, 204) << "the same again";
  EXPECT_EQ(ask("/api/v1/write", written(now, 3)).status, 400) << "behind";
  EXPECT_EQ(ask("/api/v1/write", written(now + 2, 3), {{"content-encoding", "gzip"}}).status, 415);
  EXPECT_EQ(ask("/api/v1/write", "not snappy at all").status, 400);
  EXPECT_EQ(ask("/api/v1/write", written(now + 3, 3),
                {{"content-type", "application/x-protobuf;proto=io.prometheus.write.v2.Request"}})
                .status,
            415);
  EXPECT_EQ(journal.points_made(), 2u);
}

TEST_F(DoorsTest, LineProtocolAnswersInTheWordsOfItsVersion) {
  const std::string seconds = std::to_string(clock.utc_ms() / 1000);
  EXPECT_EQ(ask("/api/v2/write", "a v=1 " + seconds, {}, {{"precision", "s"}}).status, 204);
  EXPECT_EQ(ask("/write", "b v=1 " + seconds + "\n", {}, {{"precision", "s"}, {"db", "x"}}).status, 204);
  EXPECT_EQ(ask("/write", "c v=1 " + std::to_string(clock.utc_ms() / 60'000), {}, {{"precision", "m"}}).status, 204);
  EXPECT_EQ(ask("/api/v2/write", "d v=1 1", {}, {{"precision", "m"}}).status, 400);
  const HttpResponse two = ask("/api/v2/write", "e v=1\nf");
  EXPECT_EQ(two.status, 400);
  EXPECT_NE(nlohmann::json::parse(two.body)["message"].get<std::string>().find("partial write"), std::string::npos);
  const HttpResponse one = ask("/write", "f");
  EXPECT_TRUE(nlohmann::json::parse(one.body).contains("error"));
  EXPECT_EQ(journal.points_made(), 4u);
}

// A batch of several points of one series, in the words of each door; the first one is `after_s` from now.
struct Batch {
  const char* path;
  std::string body;
  std::multimap<std::string, std::string> parameters;
  int good;
};
std::vector<Batch> batches(int64_t now_ms, int64_t after_s) {
  std::string lines, influx;
  prometheus::WriteRequest request;
  auto* series = request.add_timeseries();
  auto* label = series->add_labels();
  label->set_name("__name__");
  label->set_value("written");
  for (int64_t i = 0; i < 3; ++i) {
    const int64_t time_ms = now_ms + (after_s + i) * 1000;
    lines += "{\"name\":\"pushed\",\"value\":" + std::to_string(i) + ",\"t\":" + std::to_string(time_ms) + "}\n";
    influx += "line value=" + std::to_string(i) + " " + std::to_string(time_ms) + "\n";
    auto* sample = series->add_samples();
    sample->set_timestamp(time_ms);
    sample->set_value(static_cast<double>(i));
  }
  std::string packed;
  const std::string plain = request.SerializeAsString();
  snappy::Compress(plain.data(), plain.size(), &packed);
  return {{"/api/v1/push", lines, {}, 200},
          {"/api/v1/write", packed, {}, 204},
          {"/api/v2/write", influx, {{"precision", "ms"}}, 204}};
}

TEST_F(DoorsTest, ABatchWhoseAnswerWasLostIsAnsweredAgainAndItsPointsAreMadeOnce) {
  const auto first = batches(clock.utc_ms(), 0), later = batches(clock.utc_ms(), 60);
  for (const auto* each : {&first, &later}) {
    for (const Batch& batch : *each) EXPECT_EQ(ask(batch.path, batch.body, {}, batch.parameters).status, batch.good);
  }
  EXPECT_EQ(journal.points_made(), 18u);
  for (const Batch& batch : first) {
    const HttpResponse again = ask(batch.path, batch.body, {}, batch.parameters);
    EXPECT_EQ(again.status, batch.good) << batch.path << " " << again.body;
    if (batch.good == 200) {
      EXPECT_EQ(nlohmann::json::parse(again.body)["accepted"], 3);
    }
  }
  EXPECT_EQ(journal.points_made(), 18u);
  EXPECT_EQ(doors.counters().requests_again, 3u);
  // Told otherwise it is another request: these milliseconds are no seconds.
  EXPECT_EQ(ask("/api/v2/write", first[2].body, {}, {{"precision", "s"}}).status, 400);
}

TEST_F(DoorsTest, WhatComesAgainBeforeItIsDecidedIsAnsweredWithTheFirst) {
  const Batch batch = batches(clock.utc_ms(), 0)[0];
  for (const bool works : {false, true}) {
    std::vector<int> statuses;
    for (int i = 0; i < 3; ++i) {
      doors.handle({"POST", batch.path, {}, {}, batch.body},
                   [&](const HttpResponse& response) { statuses.push_back(response.status); });
    }
    EXPECT_TRUE(statuses.empty());
    ASSERT_EQ(journal.appends.size(), 1u);
    journal.decide(works ? Status() : Status(fail(ErrorCode::kIo, "no disk")));
    EXPECT_EQ(statuses, std::vector<int>(3, works ? 200 : 503));
  }
  EXPECT_EQ(journal.points_made(), 3u);
}

TEST_F(DoorsTest, WhatWasRefusedInPartIsAnsweredAgainAsItWas) {
  const std::string body = batches(clock.utc_ms(), 0)[0].body + "nothing\n";
  EXPECT_EQ(push(body, 200)["refused"], 1);
  const auto again = push(body, 200);
  EXPECT_EQ(again["accepted"], 3);
  EXPECT_EQ(again["refused"], 1);
  ASSERT_EQ(journal.notes.size(), 1u);
  EXPECT_EQ(journal.notes[0].accepted, 3u);
  EXPECT_EQ(journal.notes[0].refused, 1u);
  push("nothing", 400);
  EXPECT_EQ(requests.size(), 1u) << "what was not answered well is looked at again";
}

TEST_F(DoorsTest, PointsWithoutATimeAreOthersEachTime) {
  const std::string line = "{\"name\":\"a\",\"value\":1}\n", influx = "b v=1\n";
  for (int i = 0; i < 2; ++i) {
    push(line, 200);
    EXPECT_EQ(ask("/write", influx).status, 204);
    clock.now_us += 1'000'000;
    journal.now_ms = clock.utc_ms();
  }
  EXPECT_EQ(journal.points_made(), 4u);
  EXPECT_EQ(doors.counters().requests_again, 0u);
  EXPECT_TRUE(journal.notes.empty());
}

TEST(RequestMemory, KeepsTheLastOnesUpToItsBound) {
  RequestMemory memory(3 * RequestMemory::kEntryBytes);
  const auto id = [](uint8_t number) { return RequestId{number}; };
  for (uint8_t i = 0; i < 5; ++i) memory.add({id(i), i, 0});
  memory.add({id(4), 99, 0});
  EXPECT_EQ(memory.find(id(1)), nullptr);
  ASSERT_NE(memory.find(id(4)), nullptr);
  EXPECT_EQ(memory.find(id(4))->accepted, 4u);
  EXPECT_EQ(memory.size(), 3u);
  EXPECT_EQ(memory.forgotten(), 2u);
  EXPECT_EQ(memory.all().front().accepted, 2u);
  RequestMemory none(0);
  none.add({id(1), 1, 0});
  EXPECT_EQ(none.find(id(1)), nullptr);
}

TEST_F(DoorsTest, PackedBodiesAreUnpackedUpToABound) {
  EXPECT_EQ(ask("/api/v1/push", gzip("{\"name\":\"a\",\"value\":1}"), {{"content-encoding", "gzip"}}).status, 200);
  EXPECT_EQ(ask("/write", gzip("b v=1"), {{"content-encoding", "gzip"}}).status, 204);
  const std::string bomb = gzip(std::string(8u << 20, 'a'));
  EXPECT_EQ(ask("/write", bomb, {{"content-encoding", "gzip"}}).status, 413);
  std::string packed;
  const std::string plain(8u << 20, 'a');
  snappy::Compress(plain.data(), plain.size(), &packed);
  EXPECT_EQ(ask("/api/v1/write", packed).status, 413);
  const std::string whole = gzip("b v=2");
  for (size_t length = 0; length < whole.size(); ++length) {
    EXPECT_EQ(unpack_gzip(whole.substr(0, length), 100).error().code, ErrorCode::kInvalid) << length;
  }
  // Several packed texts, one behind the other, are one; what is not packed behind them is told.
  const std::string two = gzip("{\"name\":\"c\",\"value\":1}\n") + gzip("{\"name\":\"d\",\"value\":1}\n");
  const HttpResponse both = ask("/api/v1/push", two, {{"content-encoding", "gzip"}});
  EXPECT_EQ(nlohmann::json::parse(both.body)["accepted"], 2);
  EXPECT_EQ(ask("/api/v1/push", two + "x", {{"content-encoding", "gzip"}}).status, 400);
  EXPECT_EQ(ask("/api/v1/push", gzip(""), {{"content-encoding", "gzip"}}).status, 200);
  EXPECT_EQ(ask("/api/v1/push", "{}", {{"content-encoding", "zstd"}}).status, 415);
  // A length that is a lie costs no memory: the claim is four gigabytes.
  EXPECT_FALSE(unpack_snappy("\xff\xff\xff\xff\x0f", UINT64_MAX).has_value());
}

TEST_F(DoorsTest, OtherMethodsAndPathsAreRefused) {
  HttpRequest request{"GET", "/api/v1/push", {}, {}, ""};
  int status = 0;
  doors.handle(request, [&](const HttpResponse& response) { status = response.status; });
  EXPECT_EQ(status, 405);
  EXPECT_FALSE(Doors::serves("/api/v1/pushed"));
  EXPECT_FALSE(Doors::serves("/api/v1/query"));
  EXPECT_TRUE(Doors::serves("/ping"));
}

}  // namespace
}  // namespace lambda::agent
