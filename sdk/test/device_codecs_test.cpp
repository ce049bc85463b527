// A device with further codecs, beside gateways that take them and gateways that do not.
#include <bit>
#include <map>

#include "device_world.h"

namespace lambda::test {
namespace {

constexpr lam_series_spec kDoor = {"door", nullptr, 0, LAM_STATE, LAM_STATE64, 0, nullptr};
constexpr lam_series_spec kBytes = {"bytes_total", nullptr, 0, LAM_COUNTER, LAM_I64, 0, nullptr};
constexpr lam_series_spec kCurrent = {"current", nullptr, 0, LAM_GAUGE, LAM_F32, 0, "amperes"};
constexpr lam_series_spec kLevel = {"level", nullptr, 0, LAM_GAUGE, LAM_I64, 0, nullptr};
constexpr const lam_codec* kCodecs[] = {&lam_codec_xor32, &lam_codec_slope64, &lam_codec_runs64};

void with_codecs(lam_config* config) {
  config->codecs = kCodecs;
  config->codec_count = 3;
  config->seal_age_ms = 10'000;
}

// A device that makes one point of each kind a second.
struct Sampling : DeviceWorld {
  explicit Sampling(size_t extra_bytes = 16'384) : DeviceWorld(extra_bytes, with_codecs) {
    EXPECT_EQ(lam_declare(device, &kDoor, &door), LAM_OK);
    EXPECT_EQ(lam_declare(device, &kBytes, &bytes), LAM_OK);
    EXPECT_EQ(lam_declare(device, &kCurrent, &current), LAM_OK);
    EXPECT_EQ(lam_declare(device, &kLevel, &level), LAM_OK);
  }
  void seconds(int count) {
    for (int i = 0; i < count; ++i) {
      ++second;
      add(door, lam_append_state(device, door, second / 25 % 2), second / 25 % 2);
      add(bytes, lam_append_i64(device, bytes, second * 1'500), second * 1'500);
      const float amperes = static_cast<float>(second) / 3;
      add(current, lam_append_f32(device, current, amperes), std::bit_cast<uint32_t>(amperes));
      add(level, lam_append_i64(device, level, second % 7), second % 7);
      pass(1'000);
    }
  }
  void add(lam_series series, lam_status status, int64_t bits) {
    ASSERT_EQ(status, LAM_OK);
    made[{lam_boot(device), series, next[{lam_boot(device), series}]++}] = bits;
  }
  void settle() {
    lam_flush(device);
    pass(5'000);
  }
  size_t stored_of(lam_series series) const {
    size_t count = 0;
    for (const auto& [identity, point] : gateway.points) count += identity.ref == series ? 1 : 0;
    return count;
  }

  lam_series door = 0, bytes = 0, current = 0, level = 0;
  int64_t second = 0;
};

TEST(DeviceCodecs, AreUsedOnceTheGatewayHasSaidThatItTakesThem) {
  Sampling world;
  world.gateway.codecs = kCodecsOfDevices;
  world.connect();
  world.seconds(60);
  world.settle();
  world.expect_all_accounted();
  world.expect_balance();
  EXPECT_EQ(world.gateway.points.size(), 240u);
  EXPECT_EQ(world.gateway.blocks_unknown, 0u);
  for (const Codec codec : {Codec::kXor32, Codec::kSlope64, Codec::kRuns64, Codec::kDelta64}) {
    EXPECT_GE(world.gateway.blocks_in[codec], 5u) << static_cast<int>(codec);
  }
  EXPECT_EQ(world.gateway.declared.begin()->second.name(), "door");
}

TEST(DeviceCodecs, AGatewayThatSaysNothingOfThemGetsNoneAndTheFloatsWaitWithoutHoldingUpTheOthers) {
  Sampling world;
  world.connect();
  world.seconds(60);
  world.settle();
  EXPECT_EQ(world.gateway.blocks_unknown, 0u);
  EXPECT_EQ(world.stored_of(world.door) + world.stored_of(world.bytes) + world.stored_of(world.level), 180u);
  EXPECT_EQ(world.stored_of(world.current), 0u);
  EXPECT_EQ(world.counters().points_waiting, 60u);
  EXPECT_EQ(world.counters().nacks, 0u);
  world.expect_balance();

  // It is upgraded: what waited comes.
  world.gateway.codecs = kCodecsOfDevices;
  world.gateway.incarnation = 2;
  world.seconds(30);
  world.settle();
  world.expect_all_accounted();
  EXPECT_EQ(world.gateway.points.size(), 360u);
  EXPECT_GE(world.gateway.blocks_in[Codec::kRuns64], 1u);
  EXPECT_EQ(world.gateway.gaps.size(), 0u);
}

TEST(DeviceCodecs, BeforeAnyAnswerBlocksAreThoseThatEverybodyTakes) {
  Sampling world;
  world.seconds(30);
  world.connect();
  world.settle();
  EXPECT_EQ(world.gateway.blocks_unknown, 0u);
  EXPECT_EQ(world.stored_of(world.door), 30u);
}

TEST(DeviceCodecs, AnOlderGatewayInItsPlaceCostsNothing) {
  Sampling world;
  world.gateway.codecs = kCodecsOfDevices;
  world.connect();
  world.seconds(20);
  world.settle();
  ASSERT_GE(world.gateway.blocks_in[Codec::kRuns64], 1u);
  world.disconnect();
  world.seconds(40);  // blocks that the older one does not take are sealed, and in parcels
  world.gateway.codecs = 0;
  world.gateway.incarnation = 2;
  world.connect();
  world.seconds(40);
  world.settle();
  EXPECT_EQ(world.gateway.gaps.size(), 0u);
  EXPECT_EQ(world.counters().points_refused, 0u);
  world.expect_balance();
  world.gateway.codecs = kCodecsOfDevices;
  world.gateway.incarnation = 3;
  world.pass(700'000);
  world.settle();
  world.expect_all_accounted();
  EXPECT_EQ(world.gateway.points.size(), 400u);
}

TEST(DeviceCodecs, WhatWaitsForAGatewayThatNeverComesIsNamedWhenMemoryEnds) {
  Sampling world(2'048);
  world.connect();
  world.seconds(900);
  world.settle();
  EXPECT_EQ(world.stored_of(world.level), 900u);
  EXPECT_GT(world.counters().points_dropped, 0u);
  world.expect_balance();
  for (const Identity& gap : world.gateway.gaps) EXPECT_EQ(gap.ref, world.current);
  EXPECT_GT(world.gateway.gaps.size(), 0u);
  world.gateway.codecs = kCodecsOfDevices;
  world.gateway.incarnation = 2;
  world.seconds(20);
  world.settle();
  world.expect_all_accounted();
}

TEST(DeviceCodecs, ReadsItsFloatsAndStatesBack) {
  Sampling world;
  world.gateway.codecs = kCodecsOfDevices;
  world.connect();
  world.seconds(60);
  lam_point points[60];
  size_t count = 0;
  ASSERT_EQ(lam_range(world.device, world.current, INT64_MIN, INT64_MAX, points, 60, &count), LAM_OK);
  ASSERT_EQ(count, 60u);
  for (size_t i = 0; i < count; ++i) EXPECT_EQ(points[i].value, static_cast<double>(static_cast<float>(i + 1) / 3));
  lam_summary summary;
  ASSERT_EQ(lam_summarise(world.device, world.door, INT64_MIN, INT64_MAX, &summary), LAM_OK);
  EXPECT_EQ(summary.count, 60u);
  EXPECT_EQ(summary.sum, 25);
  lam_point last;
  ASSERT_EQ(lam_last(world.device, world.current, &last), LAM_OK);
  EXPECT_EQ(last.value, 20);
}

TEST(DeviceCodecs, AFloatWithoutItsCodecAndAListThatCannotBeAreRefused) {
  DeviceWorld world;
  lam_series series = 0;
  EXPECT_EQ(lam_declare(world.device, &kCurrent, &series), LAM_E_INVALID);
  EXPECT_EQ(lam_declare(world.device, &kDoor, &series), LAM_OK);
  EXPECT_EQ(lam_append_f32(world.device, series, 1), LAM_E_TYPE);
  lam_config config = world.config;
  config.codec_count = 1;
  EXPECT_EQ(lam_memory_min(&config), 0u);
  const lam_codec* const none[] = {nullptr};
  config.codecs = none;
  EXPECT_EQ(lam_memory_min(&config), 0u);
  config.codecs = kCodecs;
  EXPECT_GT(lam_memory_min(&config), 0u);
  config.codec_count = 9;
  EXPECT_EQ(lam_memory_min(&config), 0u);
}

}  // namespace
}  // namespace lambda::test
