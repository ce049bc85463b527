#include <bit>
#include <cmath>
#include <memory>

#include "device_world.h"
#include "firmware.h"

namespace lambda::test {
namespace {

const lam_label kLabels[] = {{"line", "2"}, {"zone", "a"}};
const lam_series_spec kCount{"press_strokes_total", kLabels, 2, LAM_COUNTER, LAM_I64, 0, "strokes"};
const lam_series_spec kOther{"press_errors_total", nullptr, 0, LAM_COUNTER, LAM_I64, 0, nullptr};
const lam_series_spec kTemperature{"press_temperature", nullptr, 0, LAM_GAUGE, LAM_DEC, 2, "celsius"};
const lam_series_spec kForce{"press_force", nullptr, 0, LAM_GAUGE, LAM_F64, 0, "newton"};

TEST(Device, WhatIsAppendedReachesTheGatewayOnceWithTimeAndValue) {
  DeviceWorld world;
  lam_series count = 0, temperature = 0;
  ASSERT_EQ(lam_declare(world.device, &kCount, &count), LAM_OK);
  ASSERT_EQ(lam_declare(world.device, &kTemperature, &temperature), LAM_OK);
  world.connect();
  for (int i = 0; i < 300; ++i) {
    world.append(count, i * i);
    ASSERT_EQ(lam_append_dec(world.device, temperature, 2000 + i), LAM_OK);
    world.pass(1000);
  }
  lam_flush(world.device);
  world.pass(1000);
  ASSERT_EQ(world.gateway.points.size(), 600u);
  const uint64_t boot = lam_boot(world.device);
  for (uint64_t i = 0; i < 300; ++i) {
    const Point& point = world.gateway.points.at({boot, count, i});
    EXPECT_EQ(point.bits, i * i);
    EXPECT_EQ(point.time_ms, 1'700'000'005'000 + static_cast<int64_t>(i) * 1000);
    EXPECT_EQ(world.gateway.points.at({boot, temperature, i}).bits, 2000 + i);
  }
  const v1::Declaration& declared = world.gateway.declared.at({boot, count});
  EXPECT_EQ(declared.name(), "press_strokes_total");
  EXPECT_EQ(declared.labels(1).name(), "zone");
  EXPECT_EQ(declared.kind(), v1::COUNTER);
  EXPECT_EQ(world.gateway.declared.at({boot, temperature}).scale(), 2u);
  EXPECT_LE(world.gateway.parcel_bytes_most, 2048u);
  EXPECT_EQ(world.gateway.undeclared_blocks, 0u);
  EXPECT_EQ(world.counters().points_settled, 600u);
  EXPECT_EQ(world.counters().points_waiting, 0u);
  EXPECT_LT(world.counters().parcels_made, 12u) << "series share parcels";
  EXPECT_EQ(world.gateway.hellos.size(), 1u);
  EXPECT_EQ(world.gateway.hellos[0].software(), "test 1");
  EXPECT_EQ(world.gateway.hellos[0].started_ms(), 1'700'000'005'000);
}

TEST(Device, PutsPartsOfSeveralSeriesThatArePastTheAgeIntoOneParcel) {
  DeviceWorld world;
  lam_series refs[4];
  for (lam_series& ref : refs) ASSERT_EQ(lam_declare(world.device, &kOther, &ref), LAM_OK);
  world.connect();
  for (const lam_series ref : refs) {
    world.append(ref, 1);
    world.pass(300);
  }
  world.pass(70'000);
  EXPECT_EQ(world.gateway.points.size(), 4u);
  EXPECT_EQ(world.counters().parcels_made, 1u);
}

TEST(Device, SendsAgainByteForByteUntilItIsStored) {
  DeviceWorld world;
  lam_series count = 0;
  ASSERT_EQ(lam_declare(world.device, &kCount, &count), LAM_OK);
  world.connect();
  world.lost = 40;
  for (int i = 0; i < 600; ++i) {
    world.append(count, i);
    world.pass(1000);
    if (i % 97 == 50) {
      world.disconnect();
      world.pass(3000);
      world.connect();
    }
  }
  world.expect_balance();
  world.lost = 0;
  lam_flush(world.device);
  world.pass(300'000);
  world.expect_all_accounted();
  EXPECT_TRUE(world.gateway.gaps.empty());
  EXPECT_GT(world.counters().parcels_resent, 0u);
  EXPECT_EQ(world.counters().points_settled, 600u);
  world.expect_balance();
}

TEST(Device, NamesExactlyWhatItCouldNotKeepWhileNoGatewayAnswered) {
  DeviceWorld world(2'000);
  lam_series count = 0, other = 0;
  ASSERT_EQ(lam_declare(world.device, &kCount, &count), LAM_OK);
  ASSERT_EQ(lam_declare(world.device, &kOther, &other), LAM_OK);
  for (int i = 0; i < 20'000; ++i) {
    world.append(count, static_cast<int64_t>(world.random()));  // does not compress
    if (i % 3 == 0) world.append(other, static_cast<int64_t>(world.random()));
    world.pass(1000);
  }
  world.expect_balance();
  EXPECT_GT(world.counters().points_dropped, 10'000u);
  world.connect();
  lam_flush(world.device);
  world.pass(120'000);
  world.expect_all_accounted();
  EXPECT_EQ(world.gateway.gaps.size(), world.counters().points_dropped);
  EXPECT_EQ(world.counters().points_waiting, 0u);
  world.expect_balance();
}

TEST(Device, NamesWhatWasRefusedForGoodAndGoesOn) {
  DeviceWorld world;
  lam_series count = 0;
  ASSERT_EQ(lam_declare(world.device, &kCount, &count), LAM_OK);
  world.connect();
  world.gateway.mood = DeviceGateway::Mood::kRefuses;
  for (int i = 0; i < 200; ++i) {
    world.append(count, i);
    world.pass(1000);
  }
  world.expect_balance();
  const uint64_t refused = world.counters().points_refused;
  EXPECT_GT(refused, 100u);
  EXPECT_LT(world.counters().parcels_made, 60u) << "no parcel for each refusal in an endless loop";
  world.gateway.mood = DeviceGateway::Mood::kStores;
  for (int i = 0; i < 100; ++i) {
    world.append(count, 1000 + i);
    world.pass(1000);
  }
  lam_flush(world.device);
  world.pass(60'000);
  world.expect_all_accounted();
  EXPECT_EQ(world.gateway.gaps.size(), world.counters().points_refused);
  EXPECT_EQ(world.gateway.points.size() + world.gateway.gaps.size(), 300u);
  EXPECT_EQ(world.gateway.undeclared_blocks, 0u) << "a refused declaration goes again without being asked for";
  world.expect_balance();
}

TEST(Device, NamesWhatWasRefusedInAsManyParcelsAsItTakes) {
  DeviceWorld world(60'000);
  lam_series refs[4];
  for (lam_series& ref : refs) ASSERT_EQ(lam_declare(world.device, &kOther, &ref), LAM_OK);
  for (int i = 0; i < 60; ++i) {
    for (const lam_series ref : refs) world.append(ref, i);
    lam_flush(world.device);  // blocks of one point: the most gaps for a parcel
  }
  world.gateway.mood = DeviceGateway::Mood::kRefuses;
  world.connect();
  world.pass(1000);
  EXPECT_GT(world.counters().points_refused, 120u);
  world.gateway.mood = DeviceGateway::Mood::kStores;
  world.pass(200'000);
  world.expect_all_accounted();
  EXPECT_EQ(world.gateway.gaps.size(), world.counters().points_refused);
  EXPECT_EQ(world.counters().points_waiting, 0u);
}

TEST(Device, ItsFloorNeverPassesAParcelThatStillHasToGo) {
  DeviceWorld world;
  lam_series count = 0;
  ASSERT_EQ(lam_declare(world.device, &kCount, &count), LAM_OK);
  world.connect();
  world.gateway.mood = DeviceGateway::Mood::kSilent;
  for (int i = 0; i < 3; ++i) {
    world.append(count, i);
    lam_flush(world.device);
    world.pass(100);
  }
  world.disconnect();
  world.gateway.mood = DeviceGateway::Mood::kStores;
  world.connect();
  ASSERT_FALSE(world.gateway.hellos.empty());
  EXPECT_EQ(world.gateway.hellos.back().floor_seq(), 1u);
  EXPECT_EQ(world.gateway.hellos.back().next_seq(), 4u);
  EXPECT_EQ(world.gateway.hellos.back().backlog_parcels(), 3u);
  world.pass(100);
  EXPECT_EQ(world.gateway.points.size(), 3u);
}

TEST(Device, DeclaresAgainWhenTheGatewayForgot) {
  DeviceWorld world;
  lam_series count = 0, other = 0;
  ASSERT_EQ(lam_declare(world.device, &kCount, &count), LAM_OK);
  ASSERT_EQ(lam_declare(world.device, &kOther, &other), LAM_OK);
  world.connect();
  for (int i = 0; i < 300; ++i) {
    world.append(count, i);
    world.append(other, -i);
    if (i == 150) world.gateway.declared.clear();
    world.pass(1000);
  }
  lam_flush(world.device);
  world.pass(60'000);
  EXPECT_GT(world.gateway.undeclared_blocks, 0u);
  EXPECT_LT(world.gateway.undeclared_blocks, 5u);
  world.expect_all_accounted();
  EXPECT_TRUE(world.gateway.gaps.empty());
  EXPECT_EQ(world.counters().points_settled, 600u);
}

TEST(Device, DeclaresAgainThoughEverySlotHoldsWhatWaitsForIt) {
  DeviceWorld world(60'000, [](lam_config* config) { config->parcels_max = 2; });
  lam_series count = 0;
  ASSERT_EQ(lam_declare(world.device, &kCount, &count), LAM_OK);
  world.connect();
  world.append(count, 1);
  lam_flush(world.device);
  world.pass(1000);
  world.gateway.declared.clear();
  for (int i = 0; i < 3000; ++i) {
    world.append(count, static_cast<int64_t>(world.random()));
    world.mono += 100;
  }
  lam_flush(world.device);
  world.pass(120'000);
  world.expect_all_accounted();
  EXPECT_EQ(world.counters().points_waiting, 0u);
}

TEST(Device, KeepsWhatIsPutOffAndSendsItAfterTheDelay) {
  DeviceWorld world;
  lam_series count = 0;
  ASSERT_EQ(lam_declare(world.device, &kCount, &count), LAM_OK);
  world.connect();
  world.gateway.mood = DeviceGateway::Mood::kRetry;
  for (int i = 0; i < 600; ++i) {
    world.append(count, i);
    world.pass(1000);
  }
  EXPECT_EQ(world.counters().points_settled, 0u);
  world.expect_balance();
  world.gateway.mood = DeviceGateway::Mood::kStores;
  lam_flush(world.device);
  world.pass(30'000);
  EXPECT_EQ(world.gateway.points.size(), 600u);
}

TEST(Device, BeginsANewBootWhenToldToAndBringsTheOldOneHome) {
  DeviceWorld world;
  lam_series count = 0;
  ASSERT_EQ(lam_declare(world.device, &kCount, &count), LAM_OK);
  world.connect();
  for (int i = 0; i < 10; ++i) world.append(count, i);
  world.gateway.mood = DeviceGateway::Mood::kSilent;
  lam_flush(world.device);
  world.pass(3000);
  const uint64_t old_boot = lam_boot(world.device);
  v1::Nack nack = nack_of(old_boot, 1);
  nack.mutable_new_boot()->set_text("a copy of this device is at work");
  const std::string message = write(nack);
  world.append(count, 10);
  lam_incoming(world.device, LAM_DOWN, bytes_of(message).data(), message.size());
  ASSERT_NE(lam_boot(world.device), old_boot);
  for (int i = 0; i < 10; ++i) world.append(count, 100 + i);
  world.gateway.mood = DeviceGateway::Mood::kStores;
  lam_flush(world.device);
  world.pass(200'000);
  world.expect_all_accounted();
  EXPECT_TRUE(world.gateway.gaps.empty());
  EXPECT_EQ(world.gateway.points.size(), 21u);
  EXPECT_EQ(world.gateway.points.count({lam_boot(world.device), count, 0}), 1u) << "ordinals begin anew";
  EXPECT_EQ(world.gateway.hellos.back().previous_boot(), old_boot);
  world.expect_balance();
}

TEST(Device, AnAckOfMoreThanThereCanBeDoesNotMakeItCountFromZero) {
  DeviceWorld world;
  lam_series count = 0;
  ASSERT_EQ(lam_declare(world.device, &kCount, &count), LAM_OK);
  world.connect();
  for (const uint64_t seq : {UINT64_MAX / 2 - 1, UINT64_MAX - 1, UINT64_MAX}) {
    const std::string message = AckOf{.boot = lam_boot(world.device), .contiguous = seq}.write();
    lam_incoming(world.device, LAM_DOWN, bytes_of(message).data(), message.size());
    for (int i = 0; i < 3; ++i) {
      world.append(count, i);
      lam_flush(world.device);
      world.pass(3000);
    }
  }
  EXPECT_EQ(world.gateway.bytes_of_parcel.size(), 9u);
  for (const auto& [key, bytes] : world.gateway.bytes_of_parcel) EXPECT_NE(key.second, 0u) << "0 stands for the hello";
  EXPECT_EQ(world.gateway.points.size(), 9u);
  world.expect_balance();
}

TEST(Device, AResetWithoutMemoryIsANewBootAndCountsNothingTwice) {
  DeviceWorld world;
  lam_series count = 0;
  std::set<uint64_t> boots;
  for (int life = 0; life < 5; ++life) {
    boots.insert(lam_boot(world.device));
    ASSERT_EQ(lam_declare(world.device, &kCount, &count), LAM_OK);
    world.connect();
    for (int i = 0; i < 50; ++i) {
      world.append(count, i);
      world.pass(1000);
    }
    lam_flush(world.device);
    world.pass(3000);
    world.disconnect();
    world.start(world.memory.size() * 8);
  }
  EXPECT_EQ(boots.size(), 5u);
  EXPECT_EQ(world.gateway.points.size(), 250u);
  world.expect_all_accounted();
}

TEST(Device, WithoutAClockSendsTimesSinceTheBootAndTheirOffsetOnceAGatewayTellsTheTime) {
  DeviceWorld world;
  world.has_utc = false;
  world.start(world.memory.size() * 8);
  lam_series count = 0;
  ASSERT_EQ(lam_declare(world.device, &kCount, &count), LAM_OK);
  world.mono += 2000;
  world.append(count, 1);
  world.gateway.clock_ms = 1'800'000'000'000;
  world.connect();
  const uint64_t boot = lam_boot(world.device);
  lam_flush(world.device);
  world.pass(10);
  EXPECT_EQ(world.gateway.points.at({boot, count, 0}).time_ms, 2000);
  world.append(count, 2);
  lam_flush(world.device);
  world.pass(10);
  const v1::ClockSegment& clock = world.gateway.clocks.at({boot, 0});
  EXPECT_TRUE(clock.relative());
  ASSERT_TRUE(clock.known());
  EXPECT_EQ(clock.offset_ms() + 2000, 1'800'000'000'000) << "it heard so when it connected";
}

// The difference may lie outside of 64 bits, which a sanitizer sees.
TEST(Device, AGatewayMaySayAnyTime) {
  for (const int64_t time_ms : {INT64_MIN, INT64_MAX}) {
    DeviceWorld world;
    world.has_utc = false;
    world.start(world.memory.size() * 8);
    lam_series count = 0;
    ASSERT_EQ(lam_declare(world.device, &kCount, &count), LAM_OK);
    world.gateway.clock_ms = time_ms;
    world.connect();
    for (int value = 1; value <= 2; ++value) {
      world.append(count, value);
      lam_flush(world.device);
      world.pass(10);
    }
    EXPECT_EQ(world.gateway.points.size(), 2u);
    EXPECT_TRUE(world.gateway.clocks.at({lam_boot(world.device), 0}).known());
  }
}

TEST(Device, AStepOfTheClockBeginsASegmentAndSmallErrorsAreFollowedWithoutGoingBack) {
  DeviceWorld world;
  lam_series count = 0;
  ASSERT_EQ(lam_declare(world.device, &kCount, &count), LAM_OK);
  world.connect();
  int64_t before = lam_now_ms(world.device);
  world.utc_offset -= 1500;
  for (int i = 0; i < 4000; ++i) {
    world.mono += 50;
    const int64_t now = lam_now_ms(world.device);
    ASSERT_GE(now, before);
    before = now;
  }
  EXPECT_EQ(before, world.mono + world.utc_offset) << "caught up";
  world.append(count, 1);
  world.utc_offset -= 3'600'000;
  EXPECT_EQ(lam_now_ms(world.device), world.mono + world.utc_offset) << "an hour back is a step";
  world.append(count, 2);
  lam_flush(world.device);
  world.pass(10);
  const uint64_t boot = lam_boot(world.device);
  EXPECT_EQ(world.gateway.points.size(), 2u);
  EXPECT_EQ(world.gateway.clocks.count({boot, 1}), 1u);
  EXPECT_FALSE(world.gateway.clocks.at({boot, 1}).relative());
}

TEST(Device, AClockThatComesLaterPlacesWhatWasMeasuredBefore) {
  DeviceWorld world;
  world.has_utc = false;
  world.start(world.memory.size() * 8);
  lam_series count = 0;
  ASSERT_EQ(lam_declare(world.device, &kCount, &count), LAM_OK);
  world.mono += 700;
  world.append(count, 1);
  world.pass(5000);
  world.has_utc = true;
  world.append(count, 2);
  world.connect();
  lam_flush(world.device);
  world.pass(10);
  const uint64_t boot = lam_boot(world.device);
  const v1::ClockSegment& clock = world.gateway.clocks.at({boot, 0});
  ASSERT_TRUE(clock.relative() && clock.known());
  EXPECT_EQ(world.gateway.points.at({boot, count, 0}).time_ms + clock.offset_ms(), 5'700 + world.utc_offset);
  EXPECT_EQ(world.gateway.points.at({boot, count, 1}).time_ms, 10'700 + world.utc_offset);
}

TEST(Device, AClockThatStepsAgainAndAgainCostsWhatWasMeasuredBeforeNotItsPlaceInTime) {
  DeviceWorld world;
  world.has_utc = false;
  world.start(world.memory.size() * 8);
  lam_series count = 0;
  ASSERT_EQ(lam_declare(world.device, &kCount, &count), LAM_OK);
  world.append(count, 1);
  world.has_utc = true;
  for (int i = 0; i < 20; ++i) {
    world.mono += 1000;
    world.append(count, i);
    world.utc_offset += 10'000;
  }
  world.connect();
  lam_flush(world.device);
  world.pass(10'000);
  EXPECT_EQ(world.gateway.points.size(), 21u);
  const uint64_t boot = lam_boot(world.device);
  ASSERT_EQ(world.gateway.clocks.count({boot, 0}), 1u);
  EXPECT_TRUE(world.gateway.clocks.at({boot, 0}).known());
}

TEST(Device, ReadsBackWhatIsOpenWaitingAndSent) {
  DeviceWorld world(32'768);
  lam_series force = 0, temperature = 0;
  ASSERT_EQ(lam_declare(world.device, &kForce, &force), LAM_OK);
  ASSERT_EQ(lam_declare(world.device, &kTemperature, &temperature), LAM_OK);
  lam_point last;
  EXPECT_EQ(lam_last(world.device, force, &last), LAM_E_NO_DATA);
  world.connect();
  std::vector<double> values;
  for (int i = 0; i < 200; ++i) {
    values.push_back(i % 50 == 49 ? std::nan("") : std::sin(i) * 100);
    ASSERT_EQ(lam_append_f64(world.device, force, values.back()), LAM_OK);
    ASSERT_EQ(lam_append_dec(world.device, temperature, 2153), LAM_OK);
    world.pass(1000);
  }
  ASSERT_EQ(lam_last(world.device, force, &last), LAM_OK);
  EXPECT_EQ(last.ordinal, 199u);
  EXPECT_EQ(last.time_ms, 1'700'000'204'000);
  ASSERT_EQ(lam_last(world.device, temperature, &last), LAM_OK);
  EXPECT_DOUBLE_EQ(last.value, 21.53);

  const int64_t from = 1'700'000'005'000 + 10'000, to = from + 100'000;
  std::vector<lam_point> points(300);
  size_t count = 0;
  ASSERT_EQ(lam_range(world.device, force, from, to, points.data(), points.size(), &count), LAM_OK);
  ASSERT_EQ(count, 101u);
  double sum = 0, least = INFINITY, most = -INFINITY;
  uint64_t numbers = 0;
  for (size_t i = 0; i < count; ++i) {
    EXPECT_EQ(points[i].ordinal, 10 + i);
    EXPECT_EQ(std::bit_cast<uint64_t>(points[i].value), std::bit_cast<uint64_t>(values[10 + i]));
    if (std::isnan(values[10 + i])) continue;
    sum += values[10 + i];
    least = std::min(least, values[10 + i]);
    most = std::max(most, values[10 + i]);
    ++numbers;
  }
  lam_summary summary;
  ASSERT_EQ(lam_summarise(world.device, force, from, to, &summary), LAM_OK);
  EXPECT_EQ(summary.count, numbers);
  EXPECT_EQ(summary.sum, sum);
  EXPECT_EQ(summary.min, least);
  EXPECT_EQ(summary.max, most);
  EXPECT_EQ(summary.mean, sum / static_cast<double>(numbers));
  EXPECT_EQ(summary.first.ordinal, 10u);
  EXPECT_EQ(summary.last.ordinal, 110u);
  EXPECT_EQ(lam_range(world.device, force, from, to, points.data(), 7, &count), LAM_E_FULL);
  EXPECT_EQ(count, 7u);
  EXPECT_EQ(lam_range(world.device, force, 0, 1, points.data(), 7, &count), LAM_E_NO_DATA);
  EXPECT_EQ(lam_summarise(world.device, force, 0, 1, &summary), LAM_E_NO_DATA);
  EXPECT_TRUE(std::isnan(summary.mean));
}

TEST(Device, AsksTheSignerAgainWhenItWillNot) {
  DeviceWorld world;
  lam_series count = 0;
  ASSERT_EQ(lam_declare(world.device, &kCount, &count), LAM_OK);
  world.signs = false;
  world.connect();
  world.append(count, 5);
  lam_flush(world.device);
  world.pass(10'000);
  EXPECT_EQ(world.gateway.parcels, 0u);
  EXPECT_GT(world.counters().sign_failures, 0u);
  EXPECT_LT(world.counters().sign_failures, 40u) << "not in a busy loop";
  world.signs = true;
  world.pass(70'000);
  EXPECT_EQ(world.gateway.points.size(), 1u);
}

TEST(Device, RefusesArgumentsThatCannotBeAndSaysWhich) {
  DeviceWorld world;
  lam_config config = world.config;
  EXPECT_GT(lam_memory_min(&config), 0u);
  for (const char* id : {"", "Press", "a/b", "+", static_cast<const char*>(nullptr),
                         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}) {
    config = world.config;
    config.device = id;
    EXPECT_EQ(lam_memory_min(&config), 0u);
  }
  config = world.config;
  config.parcels_max = 1;
  EXPECT_EQ(lam_memory_min(&config), 0u);
  lam_device* device = nullptr;
  config = world.config;
  EXPECT_EQ(lam_init(world.memory.data(), lam_memory_min(&config) - 1, &config, &world.port, &device), LAM_E_MEMORY);
  lam_port port = world.port;
  port.sign = nullptr;
  EXPECT_EQ(lam_init(world.memory.data(), world.memory.size() * 8, &config, &port, &device), LAM_E_INVALID);

  lam_series series = 0;
  const lam_label unsorted[] = {{"zone", "a"}, {"line", "2"}};
  lam_series_spec spec = kCount;
  spec.labels = unsorted;
  EXPECT_EQ(lam_declare(world.device, &spec, &series), LAM_E_INVALID);
  spec = kCount;
  spec.scale = 3;
  EXPECT_EQ(lam_declare(world.device, &spec, &series), LAM_E_INVALID) << "only a decimal has a scale";
  spec = kCount;
  spec.type = static_cast<lam_type>(2);
  EXPECT_EQ(lam_declare(world.device, &spec, &series), LAM_E_INVALID);
  for (int i = 0; i < 4; ++i) ASSERT_EQ(lam_declare(world.device, &kCount, &series), LAM_OK);
  EXPECT_EQ(lam_declare(world.device, &kCount, &series), LAM_E_FULL);
  EXPECT_EQ(lam_append_f64(world.device, 1, 1.0), LAM_E_TYPE);
  EXPECT_EQ(lam_append_i64(world.device, 0, 1), LAM_E_INVALID);
  EXPECT_EQ(lam_append_i64(world.device, 5, 1), LAM_E_INVALID);
  lam_incoming(world.device, LAM_DOWN, reinterpret_cast<const uint8_t*>("\xff"), 1);
  EXPECT_EQ(world.counters().answers_malformed, 1u);
}

TEST(Device, UsesNothingOutsideTheMemoryItWasGiven) {
  DeviceWorld world(4096);
  const size_t size = lam_memory_min(&world.config) + 64;
  std::vector<uint64_t> memory(size / 8 + 65, 0x5a5a5a5a5a5a5a5aULL);
  const size_t used = (size + 7) / 8;
  lam_device* device = nullptr;
  ASSERT_EQ(lam_init(memory.data() + 32, size, &world.config, &world.port, &device), LAM_OK);
  world.device = device;
  lam_series count = 0;
  ASSERT_EQ(lam_declare(device, &kCount, &count), LAM_OK);
  world.connect();
  for (int i = 0; i < 2000; ++i) {
    world.append(count, static_cast<int64_t>(world.random()));
    world.pass(100);
    world.gateway.mood = i / 500 % 2 == 0 ? DeviceGateway::Mood::kStores : DeviceGateway::Mood::kSilent;
  }
  for (size_t i = 0; i < 32; ++i) EXPECT_EQ(memory[i], 0x5a5a5a5a5a5a5a5aULL);
  for (size_t i = 32 + used; i < memory.size(); ++i) EXPECT_EQ(memory[i], 0x5a5a5a5a5a5a5a5aULL);
  world.expect_balance();
}

TEST(Device, AFirmwareInCRunsInTwentyFourKilobytes) {
  DeviceWorld world;
  const auto it = std::make_unique<firmware>();
  ASSERT_EQ(firmware_start(it.get(), &world.port), LAM_OK);
  world.device = it->device;
  world.connect();
  for (int i = 0; i < 3600; ++i) {
    ASSERT_EQ(firmware_measure(it.get(), 2150 + i % 7, i % 600 < 20), LAM_OK);
    world.pass(1000);
  }
  double mean = 0;
  ASSERT_EQ(firmware_mean_of_last_minute(it.get(), &mean), LAM_OK);
  EXPECT_NEAR(mean, 21.53, 0.02);
  lam_flush(world.device);
  world.pass(5000);
  EXPECT_EQ(world.gateway.points.size(), 7200u);
  std::vector<lam_point> points(1000);
  size_t count = 0;
  const int64_t now = lam_now_ms(it->device);
  EXPECT_EQ(lam_range(it->device, it->temperature, now - 600'000, now, points.data(), points.size(), &count), LAM_OK);
  EXPECT_GE(count, 590u) << "ten minutes stay readable";
}

// Every mood, loss, breaks, short memory; in the end each point is there or named.
TEST(Device, WhateverHappensEveryPointIsStoredOrNamed) {
  using Mood = DeviceGateway::Mood;
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    DeviceWorld world(500 + seed * 211 % 9000, [&](lam_config* config) {
      config->parcels_max = static_cast<uint32_t>(2 + seed % 5);
      config->seal_age_ms = static_cast<uint32_t>(5'000 + seed * 977 % 60'000);
    });
    world.random.seed(seed);
    lam_series refs[3];
    for (lam_series& ref : refs) ASSERT_EQ(lam_declare(world.device, &kOther, &ref), LAM_OK);
    for (int step = 0; step < 1500; ++step) {
      for (const lam_series ref : refs) {
        if (world.random() % 3 == 0) world.append(ref, static_cast<int64_t>(world.random() >> (world.random() % 64)));
      }
      world.pass(static_cast<int64_t>(world.random() % 1500));
      switch (world.random() % 60) {
        case 0:
          world.disconnect();
          break;
        case 1:
        case 2:
          if (!world.linked) world.connect();
          break;
        case 3:
          world.gateway.mood = static_cast<Mood>(world.random() % 4);
          break;
        case 4:
        case 5:
          world.gateway.mood = Mood::kStores;
          break;
        case 6:
          world.gateway.declared.clear();
          break;
        case 7:
          world.lost = static_cast<unsigned>(world.random() % 50);
          break;
        case 8:
          world.utc_offset += static_cast<int64_t>(world.random() % 20'000) - 10'000;
          break;
        default:
          break;
      }
      if (step % 100 == 0) world.expect_balance();
    }
    world.lost = 0;
    world.gateway.mood = Mood::kStores;
    if (!world.linked) world.connect();
    lam_flush(world.device);
    world.pass(600'000);
    world.expect_balance();
    EXPECT_EQ(world.counters().points_waiting, 0u);
    world.expect_all_accounted();
    if (testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace lambda::test
