// A device that is asked: what it says out of its blocks is what is in them, in pieces that fit, whatever happens
// meanwhile. That a gateway makes the same numbers of it as of its store: gateway/questions/device_queries_test.cpp.
#include <bit>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>

#include "device_world.h"
#include "lambda/question_desk.h"

namespace lambda::test {
namespace {

const lam_label kLabels[] = {{"line", "2"}, {"zone", "a"}};
const lam_series_spec kCount{"press_strokes_total", kLabels, 2, LAM_COUNTER, LAM_I64, 0, "strokes"};
const lam_series_spec kTemperature{"press_temperature", nullptr, 0, LAM_GAUGE, LAM_DEC, 2, "celsius"};
const lam_series_spec kForce{"press_force", nullptr, 0, LAM_GAUGE, LAM_F64, 0, "newton"};

struct Answered {
  std::map<uint32_t, v1::Declaration> declared;
  std::map<uint32_t, std::vector<std::pair<Identity, Point>>> points;  // in the order they came, times in UTC
  std::map<uint32_t, v1::Summary> summaries;
  std::set<uint32_t> unsummed;
  bool timeless = false, whole = false;
  int error = 0;
  uint32_t pieces = 0;
};

// A world whose device answers questions.
struct AskedWorld : DeviceWorld {
  explicit AskedWorld(
      size_t extra_bytes = 65'536, std::function<void(lam_config*)> change = [](lam_config*) {})
      : DeviceWorld(extra_bytes, change) {
    const size_t size = lam_questions_memory(&config);
    desk.resize((size + 7) / 8);
    EXPECT_EQ(lam_answer_questions(device, desk.data(), size), LAM_OK);
  }

  void ask(const v1::Question& question) {
    v1::Down down;
    *down.mutable_question() = question;
    const std::string bytes = down.SerializeAsString();
    lam_incoming(device, LAM_DOWN, bytes_of(bytes).data(), bytes.size());
  }
  // What has been answered to `id`; checks what every piece must be.
  Answered read(uint64_t id) {
    Answered all;
    for (const std::string& message : answers) {
      EXPECT_LE(message.size(), lam_questions_memory(&config));
      v1::Up up;
      if (!up.ParseFromString(message) || !up.has_answer()) {
        ADD_FAILURE() << "no answer";
        continue;
      }
      const v1::Answer& piece = up.answer();
      if (piece.id() != id) continue;
      EXPECT_EQ(piece.version(), 1u);
      EXPECT_EQ(piece.piece(), ++all.pieces);
      EXPECT_FALSE(all.whole) << "something behind the end";
      all.whole = piece.last();
      all.error = piece.error();
      all.timeless = all.timeless || piece.timeless();
      for (const auto& one : piece.declarations()) {
        EXPECT_TRUE(all.declared.emplace(one.ref(), one).second) << "declared twice";
      }
      for (const std::string& bytes : piece.blocks()) take_block(piece, bytes, &all);
      for (const auto& one : piece.summaries()) all.summaries[one.ref()] = one;
      all.unsummed.insert(piece.unsummed().begin(), piece.unsummed().end());
    }
    return all;
  }
  static void take_block(const v1::Answer& piece, const std::string& bytes, Answered* all) {
    BlockInfo info;
    std::vector<Point> points(kBlockPointsMax);
    ASSERT_TRUE(decode_block(bytes_of(bytes), piece.boot(), &info, points).ok());
    ASSERT_EQ(all->declared.count(info.ref), 1u) << "a block before its declaration";
    int64_t offset_ms = 0;
    for (const auto& clock : piece.clocks()) {
      if (clock.segment() == info.clock) offset_ms = clock.offset_ms();
    }
    for (uint32_t i = 0; i < info.count; ++i) {
      points[i].time_ms += offset_ms;
      all->points[info.ref].push_back({{piece.boot(), info.ref, info.first_ordinal + i}, points[i]});
    }
  }
  Answered answer_to(v1::Question question) {
    answers.clear();
    ask(question);
    for (int i = 0; i < 5000 && !read_last(); ++i) pass(1);
    return read(question.id());
  }
  bool read_last() {
    v1::Up up;
    return !answers.empty() && up.ParseFromString(answers.back()) && up.answer().last();
  }
  lam_question_counters counted() const {
    lam_question_counters out;
    lam_get_question_counters(device, &out);
    return out;
  }

  std::vector<uint64_t> desk;
};

v1::Question question(v1::Asked what, int64_t from_ms = INT64_MIN, int64_t to_ms = INT64_MAX,
                      const std::string& name = "") {
  static uint64_t last_id = 0;
  v1::Question out;
  out.set_version(1);
  out.set_id(++last_id);
  out.set_what(what);
  out.set_from_ms(from_ms);
  out.set_to_ms(to_ms);
  out.set_name(name);
  return out;
}

lam_series declare(DeviceWorld& world, const lam_series_spec& spec) {
  lam_series ref = 0;
  EXPECT_EQ(lam_declare(world.device, &spec, &ref), LAM_OK);
  return ref;
}

TEST(Question, ARangeIsAllPointsOfTheSeriesThatAreMeantOpenOnesToo) {
  AskedWorld world;
  const lam_series count = declare(world, kCount), temperature = declare(world, kTemperature);
  world.connect();
  for (int i = 0; i < 600; ++i) {
    world.append(count, i * i);
    ASSERT_EQ(lam_append_dec(world.device, temperature, 2000 + i % 7), LAM_OK);
    world.pass(1000);
  }
  const Answered all = world.answer_to(question(v1::RANGE));
  EXPECT_TRUE(all.whole);
  EXPECT_GT(all.pieces, 1u);
  ASSERT_EQ(all.declared.size(), 2u);
  EXPECT_EQ(all.declared.at(count).labels(1).value(), "a");
  ASSERT_EQ(all.points.at(count).size(), 600u);
  ASSERT_EQ(all.points.at(temperature).size(), 600u);
  for (uint64_t i = 0; i < 600; ++i) {
    const auto& [identity, point] = all.points.at(count)[i];
    EXPECT_EQ(identity, (Identity{lam_boot(world.device), count, i}));
    EXPECT_EQ(point.bits, i * i);
    EXPECT_EQ(point.time_ms, 1'700'000'005'000 + static_cast<int64_t>(i) * 1000);
  }
  // By name and labels; a label that must be absent.
  EXPECT_EQ(world.answer_to(question(v1::RANGE, INT64_MIN, INT64_MAX, "press_temperature")).declared.size(), 1u);
  v1::Question by_label = question(v1::RANGE);
  auto* label = by_label.add_equal();
  label->set_name("line");
  label->set_value("2");
  EXPECT_EQ(world.answer_to(by_label).declared.begin()->first, count);
  by_label.set_id(1'000'001);
  by_label.mutable_equal(0)->set_value("");
  EXPECT_EQ(world.answer_to(by_label).declared.begin()->first, temperature);
  by_label.set_id(1'000'002);
  by_label.mutable_equal(0)->set_value("3");
  const Answered none = world.answer_to(by_label);
  EXPECT_TRUE(none.whole && none.declared.empty() && none.pieces == 1u);
  // A part of the time brings whole blocks, and none that lie apart from it.
  const int64_t from_ms = 1'700'000'005'000 + 300'000;
  const Answered part = world.answer_to(question(v1::RANGE, from_ms, from_ms + 59'000, "press_strokes_total"));
  size_t within = 0;
  for (const auto& [identity, point] : part.points.at(count)) {
    within += point.time_ms >= from_ms && point.time_ms <= from_ms + 59'000;
  }
  EXPECT_EQ(within, 60u);
  EXPECT_LT(part.points.at(count).size(), 400u);
  EXPECT_EQ(world.answer_to(question(v1::RANGE, 5, 4)).pieces, 1u) << "an empty range";
}

// Answers grow point by point, so that pieces end at any place of them.
TEST(Question, WhereverAPieceEndsNoSeriesIsLeftOut) {
  AskedWorld world;
  std::vector<lam_series> refs;
  for (const auto* spec : {&kCount, &kTemperature, &kForce}) refs.push_back(declare(world, *spec));
  world.connect();
  std::mt19937_64 random(3);
  for (size_t made = 1; made <= 300; ++made) {
    for (const lam_series ref : refs) {
      const int64_t time_ms = 1'700'000'000'000 + static_cast<int64_t>(made) * 1000;
      ASSERT_EQ(lam_append_at(world.device, ref, time_ms, ref == refs[2] ? random() : made), LAM_OK);
    }
    for (const v1::Asked what : {v1::RANGE, v1::LAST, v1::SUMMARY}) {
      const Answered all = world.answer_to(question(what));
      ASSERT_TRUE(all.whole && all.error == 0);
      ASSERT_EQ(all.declared.size(), refs.size()) << made << " points of each, question " << what;
      for (const lam_series ref : refs) {
        if (what == v1::SUMMARY) {
          ASSERT_EQ(all.summaries.count(ref) + all.unsummed.count(ref), 1u);
        } else {
          ASSERT_EQ(all.points.at(ref).size(), what == v1::LAST ? 1 : made);
        }
      }
    }
  }
}

TEST(Question, TheNewestPointIsTheOneThatCountsAtThatTime) {
  AskedWorld world;
  const lam_series count = declare(world, kCount);
  std::mt19937 random(20'261'122);
  int64_t time_ms = 1'700'000'000'000;
  std::vector<Point> made;
  world.connect();
  for (int i = 0; i < 400; ++i) {
    time_ms += static_cast<int64_t>(random() % 4'000) - 1'000;  // back, too, and twice the same
    if (random() % 9 == 0 && !made.empty()) time_ms = made.back().time_ms;
    ASSERT_EQ(lam_append_at(world.device, count, time_ms, static_cast<uint64_t>(i)), LAM_OK);
    made.push_back({time_ms, static_cast<uint64_t>(i)});
    world.pass(200);
  }
  for (int round = 0; round < 40; ++round) {
    const int64_t to_ms = 1'700'000'000'000 + static_cast<int64_t>(random() % 500'000);
    const int64_t from_ms = to_ms - static_cast<int64_t>(random() % 60'000);
    const Point* newest = nullptr;
    for (const Point& point : made) {
      if (point.time_ms < from_ms || point.time_ms > to_ms) continue;
      if (newest == nullptr || point.time_ms >= newest->time_ms) newest = &point;
    }
    SCOPED_TRACE(round);
    const Answered all = world.answer_to(question(v1::LAST, from_ms, to_ms));
    ASSERT_TRUE(all.whole);
    ASSERT_EQ(all.points.count(count), newest == nullptr ? 0u : 1u);
    if (newest == nullptr) continue;
    ASSERT_EQ(all.points.at(count).size(), 1u);
    EXPECT_EQ(all.points.at(count)[0].second, *newest);
    EXPECT_EQ(all.points.at(count)[0].first.ordinal, newest->bits) << "with its identity";
  }
}

// The reference sums as the document says, in a loop over what was appended.
TEST(Question, ASummaryIsOfThePointsInTheRangeAndItsSumLosesNothing) {
  AskedWorld world;
  const lam_series count = declare(world, kCount), temperature = declare(world, kTemperature),
                   force = declare(world, kForce);
  std::mt19937_64 random(7);
  world.connect();
  struct Made {
    int64_t time_ms;
    double value;
  };
  std::map<lam_series, std::vector<Made>> made;
  for (int i = 0; i < 600; ++i) {
    const int64_t now_ms = lam_now_ms(world.device);
    const auto n = static_cast<int64_t>(random() % 100'000) - 50'000;
    const double f = std::ldexp(static_cast<double>(n), static_cast<int>(random() % 60) - 30);
    ASSERT_EQ(lam_append_i64(world.device, count, n << 30), LAM_OK);
    ASSERT_EQ(lam_append_dec(world.device, temperature, n), LAM_OK);
    ASSERT_EQ(lam_append_f64(world.device, force, f), LAM_OK);
    made[count].push_back({now_ms, static_cast<double>(n << 30)});
    made[temperature].push_back({now_ms, static_cast<double>(n) / 100.0});
    made[force].push_back({now_ms, f});
    world.pass(1000);
  }
  for (const auto& [from, to] : {std::pair{0, 599}, {100, 499}, {333, 333}, {590, 599}}) {
    const int64_t from_ms = made[count][static_cast<size_t>(from)].time_ms;
    const int64_t to_ms = made[count][static_cast<size_t>(to)].time_ms;
    const Answered all = world.answer_to(question(v1::SUMMARY, from_ms, to_ms));
    ASSERT_TRUE(all.whole && all.unsummed.empty());
    for (const auto& [ref, points] : made) {
      ASSERT_EQ(all.summaries.count(ref), 1u);
      const v1::Summary& got = all.summaries.at(ref);
      double sum = 0, rest = 0, least = INFINITY, most = -INFINITY;
      for (const Made& point : points) {
        if (point.time_ms < from_ms || point.time_ms > to_ms) continue;
        const double next = sum + point.value, taken = next - sum;
        rest += (sum - (next - taken)) + (point.value - taken);
        sum = next;
        least = std::min(least, point.value);
        most = std::max(most, point.value);
      }
      EXPECT_EQ(got.count(), static_cast<uint64_t>(to - from + 1));
      EXPECT_EQ(got.sum() + got.sum_rest(), sum + rest) << ref;
      EXPECT_EQ(got.min(), least);
      EXPECT_EQ(got.max(), most);
      EXPECT_EQ(got.first(), points[static_cast<size_t>(from)].value);
      EXPECT_EQ(got.last(), points[static_cast<size_t>(to)].value);
      EXPECT_EQ(got.first_ms(), from_ms);
      EXPECT_EQ(got.last_ms(), to_ms);
    }
  }
}

TEST(Question, WhatDoesNotFoldIsNamedInsteadOfSummed) {
  AskedWorld world;
  const lam_series count = declare(world, kCount), temperature = declare(world, kTemperature),
                   force = declare(world, kForce);
  const int64_t t = 1'700'000'000'000;
  world.connect();
  const auto put = [&](lam_series ref, int64_t time_ms, uint64_t bits) {
    ASSERT_EQ(lam_append_at(world.device, ref, time_ms, bits), LAM_OK);
  };
  put(count, t, 1);
  put(count, t + 1, (uint64_t{1} << 53) + 1);  // no double is this number
  put(temperature, t, 5);
  put(temperature, t, 6);  // the same time
  put(force, t, std::bit_cast<uint64_t>(1.0));
  put(force, t + 1, std::bit_cast<uint64_t>(std::nan("")));
  EXPECT_EQ(world.answer_to(question(v1::SUMMARY)).unsummed, (std::set<uint32_t>{count, temperature, force}));
  EXPECT_EQ(world.answer_to(question(v1::SUMMARY, t, t)).unsummed, std::set<uint32_t>{temperature});
  put(force, t + 2, std::bit_cast<uint64_t>(1.7e308));
  put(force, t + 3, std::bit_cast<uint64_t>(1.7e308));
  EXPECT_EQ(world.answer_to(question(v1::SUMMARY, t + 2, t + 3)).unsummed, std::set<uint32_t>{force});
}

TEST(Question, ADeviceWithoutAClockAnswersByTheTimeThatItLearnsLater) {
  AskedWorld world;
  world.has_utc = false;
  world.port.utc_ms = nullptr;
  ASSERT_EQ(lam_init(world.memory.data(), world.memory.size() * 8, &world.config, &world.port, &world.device), LAM_OK);
  ASSERT_EQ(lam_answer_questions(world.device, world.desk.data(), world.desk.size() * 8), LAM_OK);
  const lam_series count = declare(world, kCount);
  world.linked = true;
  for (int i = 0; i < 10; ++i) {
    world.append(count, i);
    world.pass(1000);
  }
  Answered all = world.answer_to(question(v1::RANGE));
  EXPECT_TRUE(all.whole && all.timeless && all.points.empty());
  world.gateway.clock_ms = 1'800'000'000'000;
  const int64_t since_ms = world.mono;
  world.connect();  // the answer to the hello tells the time
  all = world.answer_to(question(v1::RANGE, 1'700'000'000'000));
  EXPECT_FALSE(all.timeless);
  ASSERT_EQ(all.points.at(count).size(), 10u);
  EXPECT_EQ(all.points.at(count)[0].second.time_ms, 1'800'000'000'000 - since_ms + 5'000);
  all = world.answer_to(question(v1::SUMMARY));
  EXPECT_EQ(all.summaries.at(count).first_ms(), 1'800'000'000'000 - since_ms + 5'000);
  EXPECT_EQ(all.summaries.at(count).sum(), 45);
  const int64_t third_ms = all.summaries.at(count).first_ms() + 2'000;
  EXPECT_EQ(world.answer_to(question(v1::LAST, 0, third_ms)).points.at(count)[0].second.bits, 2u);
}

TEST(Question, OneIsAnsweredAtATimeAndOthersAreRefusedByName) {
  AskedWorld world;
  const lam_series count = declare(world, kCount);
  world.connect();
  for (int i = 0; i < 100; ++i) world.append(count, i * 12345);
  world.takes_answers = false;
  const v1::Question first = question(v1::RANGE), second = question(v1::RANGE);
  v1::Question newer = question(v1::RANGE), longer = question(v1::RANGE);
  newer.set_version(2);
  for (int i = 0; i < 12; ++i) {
    auto* label = longer.add_equal();
    label->set_name("n" + std::to_string(i));
    label->set_value(std::string(40, 'v'));
  }
  world.ask(first);
  world.ask(first);  // QoS 1 may bring it twice
  world.ask(second);
  world.pass(500);
  EXPECT_TRUE(world.answers.empty());
  world.takes_answers = true;
  world.pass(500);
  EXPECT_EQ(world.read(second.id()).error, v1::BUSY);
  EXPECT_TRUE(world.read(first.id()).whole);
  EXPECT_EQ(world.read(first.id()).points.at(count).size(), 100u);
  EXPECT_EQ(world.answer_to(newer).error, v1::NOT_KNOWN);
  EXPECT_EQ(world.answer_to(longer).error, v1::TOO_LONG);
  EXPECT_EQ(world.counted().answered, 1u);
  EXPECT_EQ(world.counted().refused, 3u);
}

TEST(Question, IsGivenUpWhenNobodyWaitsAnyMore) {
  AskedWorld world;
  const lam_series count = declare(world, kCount);
  world.connect();
  world.append(count, 1);
  world.takes_answers = false;
  v1::Question patient = question(v1::RANGE);
  patient.set_wait_ms(3'000);
  world.ask(patient);
  world.pass(2'900);
  EXPECT_EQ(world.counted().expired, 0u);
  world.pass(200);
  EXPECT_EQ(world.counted().expired, 1u);
  world.ask(question(v1::RANGE));
  world.disconnect();
  EXPECT_EQ(world.counted().expired, 2u);
  world.takes_answers = true;
  world.connect();
  world.pass(1'000);
  EXPECT_TRUE(world.answers.empty()) << "an answer that nobody asked for in this session";
  EXPECT_TRUE(world.answer_to(question(v1::RANGE)).whole);
}

TEST(Question, BlocksThatSealAndLeaveMemoryWhileItIsAnsweredCostAtMostThemselves) {
  AskedWorld world(12'000);
  const lam_series count = declare(world, kCount);
  world.connect();
  std::mt19937_64 random(3);
  const auto append = [&] { world.append(count, static_cast<int64_t>(random() >> 8)); };
  for (int i = 0; i < 1500; ++i) {
    append();
    world.pass(100);
  }
  for (const v1::Asked what : {v1::RANGE, v1::SUMMARY, v1::LAST}) {
    world.answers.clear();
    const v1::Question asked = question(what);
    world.ask(asked);
    for (int i = 0; i < 5000 && !world.read_last(); ++i) {
      for (int more = 0; more < 7; ++more) append();  // pushes the oldest out
      if (i % 5 == 0) lam_flush(world.device);
      world.pass(1);
    }
    const Answered all = world.read(asked.id());
    ASSERT_TRUE(all.whole && all.error == 0) << all.error;
    if (what != v1::RANGE) continue;
    uint64_t next = 0;
    for (const auto& [identity, point] : all.points.at(count)) {
      EXPECT_GE(identity.ordinal, next);
      next = identity.ordinal + 1;
      EXPECT_EQ(world.made.at(identity), static_cast<int64_t>(point.bits));
    }
    EXPECT_GT(all.points.at(count).size(), 300u);
  }
}

TEST(Question, ThinningMeanwhileEndsTheAnswerRatherThanShowingAStretchTwice) {
  static const lam_series_spec kLevel{"level", nullptr, 0, LAM_GAUGE, LAM_I64, 0, nullptr};
  AskedWorld world(12'000, [](lam_config* config) { config->pressure = LAM_THIN; });
  const lam_series level = declare(world, kLevel);
  world.gateway.mood = DeviceGateway::Mood::kSilent;
  world.connect();
  std::mt19937_64 random(4);
  const auto append = [&] { world.append(level, static_cast<int64_t>(random() % 100'000)); };
  for (int i = 0; i < 8'000; ++i) {
    append();
    world.pass(100);
  }
  ASSERT_GT(world.counters().points_thinned, 0u);
  int ended = 0;
  for (int round = 0; round < 20; ++round) {
    world.answers.clear();
    const v1::Question asked = question(v1::RANGE);
    world.ask(asked);
    for (int i = 0; i < 5000 && !world.read_last(); ++i) {
      for (int more = 0; more < 7; ++more) append();
      if (i % 5 == 0) lam_flush(world.device);
      world.pass(1);
    }
    const Answered all = world.read(asked.id());
    ASSERT_TRUE(all.whole);
    ended += all.error == v1::BUSY ? 1 : 0;
    if (all.error != 0) continue;
    int64_t last_ms = INT64_MIN;
    for (const auto& [identity, point] : all.points.at(level)) {
      EXPECT_GE(point.time_ms, last_ms);
      last_ms = point.time_ms;
    }
  }
  EXPECT_GT(ended, 0);
  EXPECT_EQ(world.answer_to(question(v1::RANGE)).error, 0) << "asked again, when nothing presses";
}

TEST(Question, AnswersAreWholeThroughATransportThatOftenTakesNothingAndThroughAChangeOfBoots) {
  AskedWorld world;
  const lam_series count = declare(world, kCount);
  world.connect();
  for (int i = 0; i < 300; ++i) {
    world.append(count, i);
    world.pass(1000);
    if (i != 150) continue;
    // A parcel that is not answered, and then told to begin anew.
    const uint64_t boot = lam_boot(world.device);
    world.gateway.mood = DeviceGateway::Mood::kSilent;
    lam_flush(world.device);
    world.pass(3000);
    v1::Nack nack = nack_of(boot, *world.gateway.seqs[boot].rbegin() + 1, world.gateway.incarnation);
    nack.mutable_new_boot()->set_text("a copy is at work");
    world.gateway.mood = DeviceGateway::Mood::kStores;
    world.incoming.push_back(write(nack));
    world.carry();
    ASSERT_NE(lam_boot(world.device), boot);
  }
  std::mt19937 random(4);
  world.answers.clear();
  const v1::Question asked = question(v1::RANGE);
  world.ask(asked);
  for (int i = 0; i < 5000 && !world.read_last(); ++i) {
    world.takes_answers = random() % 5 == 0;
    world.pass(5);
  }
  const Answered all = world.read(asked.id());
  ASSERT_TRUE(all.whole);
  ASSERT_EQ(all.points.at(count).size(), 300u);
  std::set<uint64_t> boots;
  for (size_t i = 0; i < 300; ++i) {
    EXPECT_EQ(all.points.at(count)[i].second.bits, i) << "earlier boots first";
    boots.insert(all.points.at(count)[i].first.boot);
  }
  EXPECT_EQ(boots.size(), 2u);
  world.takes_answers = true;
  EXPECT_EQ(world.answer_to(question(v1::SUMMARY)).summaries.at(count).sum(), 299.0 * 300 / 2);
}

TEST(Question, HostileBytesAreCountedAndDropped) {
  AskedWorld world;
  const lam_series count = declare(world, kCount);
  world.connect();
  world.append(count, 1);
  v1::Question good = question(v1::RANGE, 0, INT64_MAX, "press_strokes_total");
  good.add_equal()->set_name("line");
  v1::Down down;
  *down.mutable_question() = good;
  const std::string bytes = down.SerializeAsString();
  std::mt19937 random(20'261'123);
  for (size_t size = 1; size < bytes.size(); ++size) {
    lam_incoming(world.device, LAM_DOWN, bytes_of(bytes).data(), size);
  }
  EXPECT_EQ(world.counted().malformed, bytes.size() - 1);
  for (int round = 0; round < 20'000; ++round) {
    std::string bent = bytes;
    for (uint32_t flips = 1 + random() % 4; flips > 0; --flips) {
      bent[1 + random() % (bent.size() - 1)] = static_cast<char>(random());
    }
    lam_incoming(world.device, LAM_DOWN, bytes_of(bent).data(), bent.size());
    world.pass(1);
    if (world.answers.size() > 100) world.answers.clear();
  }
  world.pass(70'000);
  EXPECT_TRUE(world.answer_to(question(v1::RANGE)).whole) << "it lives, and answers";
}

TEST(Question, TheGoldenOnesAreTakenAsTheirTextsSay) {
  size_t good = 0, refused = 0, malformed = 0;
  for (const auto& entry : std::filesystem::directory_iterator(LAMBDA_QUESTION_VECTORS)) {
    if (entry.path().extension() != ".txt") continue;
    SCOPED_TRACE(entry.path().stem());
    std::ifstream text(entry.path());
    std::string note, message, verdict;
    std::getline(text, note);
    std::getline(text, message);
    std::getline(text, verdict);
    if (message != "message question") continue;
    std::ifstream file(std::filesystem::path(entry.path()).replace_extension(".bin"), std::ios::binary);
    const std::string bytes(std::istreambuf_iterator<char>(file), {});
    AskedWorld world;
    world.connect();
    lam_incoming(world.device, LAM_DOWN, bytes_of(bytes).data(), bytes.size());
    world.pass(100);
    const lam_question_counters counted = world.counted();
    good += counted.answered;
    refused += counted.refused;
    malformed += counted.malformed;
    EXPECT_EQ(counted.answered, verdict == "verdict good" ? 1u : 0u);
    EXPECT_EQ(counted.refused, verdict == "verdict refused" ? 1u : 0u);
    EXPECT_EQ(counted.malformed, verdict == "verdict malformed" ? 1u : 0u);
    EXPECT_EQ(world.read(0xABCDEF).whole, verdict != "verdict malformed") << "answered under the id of the question";
  }
  EXPECT_GE(good, 4u);
  EXPECT_GE(refused, 4u);
  EXPECT_GE(malformed, 4u);
}

TEST(Question, RoomThatIsTooSmallOrGivenTwiceIsRefused) {
  DeviceWorld world;
  const size_t size = lam_questions_memory(&world.config);
  ASSERT_GT(size, 0u);
  lam_config firmware = world.config;
  firmware.block_bytes_max = 1024;
  EXPECT_LE(lam_questions_memory(&firmware), 2'560u) << "what the firmware sets aside";
  std::vector<uint64_t> room(size / 8 + 1);
  EXPECT_EQ(lam_answer_questions(world.device, room.data(), size - 1), LAM_E_MEMORY);
  EXPECT_EQ(lam_answer_questions(world.device, reinterpret_cast<uint8_t*>(room.data()) + 1, size), LAM_E_INVALID);
  EXPECT_EQ(lam_answer_questions(world.device, nullptr, size), LAM_E_INVALID);
  lam_question_counters counted;
  lam_get_question_counters(world.device, &counted);
  EXPECT_EQ(counted.asked, 0u);
  EXPECT_EQ(lam_answer_questions(world.device, room.data(), size), LAM_OK);
  EXPECT_EQ(lam_answer_questions(world.device, room.data(), size), LAM_E_INVALID);
  lam_config wrong = world.config;
  wrong.site = "No Site";
  EXPECT_EQ(lam_questions_memory(&wrong), 0u);
}

}  // namespace
}  // namespace lambda::test
