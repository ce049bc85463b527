// The firmware's parts that need no network: identity region, clock, line, signatures, samples.
#include <gtest/gtest.h>
#include <mbedtls/platform.h>
#include <mbedtls/platform_util.h>
#include <mbedtls/sha256.h>
#include <secp256k1.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include <cstring>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "boards/firmware/crypto.h"
#include "boards/firmware/device_clock.h"
#include "boards/firmware/identity.h"
#include "boards/firmware/line.h"
#include "boards/firmware/platform.h"
#include "boards/firmware/sample_ring.h"
#include "boards/firmware/sensors.h"

namespace lambda::boards {
namespace {

using Bytes = std::vector<uint8_t>;

// A board of the test's: a clock that stands where it was put, memory that outlives a reset.
struct TestBoard {
  int64_t mono_ms = 0;
  int64_t rtc_ms = -1;  // below 0: none
  Bytes saved;
  int saves = 0;
  std::string log;

  Board board() {
    Board made = {};
    made.context = this;
    made.name = "test";
    made.mono_ms = [](void* it) { return of(it).mono_ms; };
    made.utc_ms = [](void* it, int64_t* utc_ms) {
      *utc_ms = of(it).rtc_ms;
      return *utc_ms >= 0;
    };
    made.entropy = [](void*, uint8_t* bytes, size_t size) {
      return getrandom(bytes, size, 0) == static_cast<ssize_t>(size);
    };
    made.log = [](void* it, const char* line, size_t size) { of(it).log.append(line, size).append("\n"); };
    made.load = [](void* it, uint8_t* bytes, size_t size) {
      if (of(it).saved.size() < size) return false;
      memcpy(bytes, of(it).saved.data(), size);
      return true;
    };
    made.save = [](void* it, const uint8_t* bytes, size_t size) {
      of(it).saved.assign(bytes, bytes + size);
      ++of(it).saves;
      return true;
    };
    return made;
  }
  static TestBoard& of(void* it) { return *static_cast<TestBoard*>(it); }
};

void append_little(Bytes* out, uint32_t value, size_t bytes) {
  for (size_t i = 0; i < bytes; ++i) out->push_back(static_cast<uint8_t>(value >> 8 * i));
}

void item(Bytes* out, uint16_t tag, const Bytes& value) {
  append_little(out, tag, 2);
  append_little(out, static_cast<uint32_t>(value.size()), 2);
  out->insert(out->end(), value.begin(), value.end());
}

Bytes text(const char* words) {
  return Bytes(words, words + strlen(words) + 1);
}

Bytes all_items(uint16_t without = 0) {
  const std::pair<uint16_t, Bytes> items[] = {
      {1, text("hall")}, {2, text("press-7")}, {3, text("localhost")},  {4, {10, 0, 2, 2}}, {5, {0xB3, 0x22}},
      {6, Bytes(6, 2)},  {7, {10, 0, 2, 15}},  {8, {255, 255, 255, 0}}, {9, {10, 0, 2, 2}}, {10, Bytes(5, 1)},
      {11, Bytes(6, 1)}, {12, Bytes(7, 1)},    {13, Bytes(32, 9)},      {14, {1, 2, 0, 0}}, {999, Bytes(3, 3)}};
  Bytes out;
  for (const auto& [tag, value] : items) {
    if (tag != without) item(&out, tag, value);
  }
  return out;
}

Bytes region_of(const Bytes& items) {
  Bytes out(8);
  memcpy(out.data(), "lambdaID", 8);
  append_little(&out, 1, 4);
  append_little(&out, static_cast<uint32_t>(items.size()), 4);
  out.resize(48);
  mbedtls_sha256_ret(items.data(), items.size(), out.data() + 16, 0);
  out.insert(out.end(), items.begin(), items.end());
  return out;
}

TEST(DeviceIdentity, IsReadAsItWasWrittenWhateverFollowsItInTheRegion) {
  Bytes region = region_of(all_items());
  region.resize(region.size() + 100, 0xFF);
  Identity identity;
  ASSERT_EQ(read_identity(region, &identity), nullptr);
  EXPECT_STREQ(identity.site, "hall");
  EXPECT_STREQ(identity.device, "press-7");
  EXPECT_STREQ(identity.broker_name, "localhost");
  EXPECT_EQ(identity.broker_port, 8883);
  EXPECT_EQ(identity.network.own[3], 15);
  EXPECT_EQ(identity.tls_key.size(), 7u);
  EXPECT_EQ(identity.signing_key.size(), 32u);
  EXPECT_EQ(identity.seal_age_ms, 513u);
  EXPECT_EQ(identity.memory_bytes_max, 0u);
}

TEST(DeviceIdentity, IsRefusedWhenCutShortAtAnyByteOrWhenAnyBitIsTurned) {
  const Bytes good = region_of(all_items());
  Identity identity;
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_NE(read_identity({good.data(), size}, &identity), nullptr) << size << " bytes";
  }
  for (size_t at = 0; at < good.size() * 8; ++at) {
    Bytes bad = good;
    bad[at / 8] ^= static_cast<uint8_t>(1u << at % 8);
    EXPECT_NE(read_identity(bad, &identity), nullptr) << "bit " << at;
  }
}

TEST(DeviceIdentity, NeedsEveryItemAndEachInItsForm) {
  Identity identity;
  for (uint16_t tag = 1; tag <= 13; ++tag) {
    EXPECT_NE(read_identity(region_of(all_items(tag)), &identity), nullptr) << "without item " << tag;
  }
  const std::pair<uint16_t, Bytes> malformed[] = {
      {1, {'h', 'i'}}, {1, {0}}, {1, {'a', 0, 'b', 0}}, {4, {1, 2, 3}}, {2, Bytes(66, 'x')}, {5, {0, 0}},
      {5, {1}},        {10, {}}, {13, Bytes(31, 1)},    {14, {1}}};
  for (const auto& [tag, value] : malformed) {
    Bytes items = all_items();
    item(&items, tag, value);
    EXPECT_NE(read_identity(region_of(items), &identity), nullptr) << "item " << tag;
  }
}

TEST(DeviceIdentity, SurvivesRandomItems) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 5000; ++round) {
    Bytes items = all_items();
    for (uint32_t turns = random() % 4; turns > 0; --turns)
      items[random() % items.size()] = static_cast<uint8_t>(random());
    items.resize(random() % (items.size() + 1));
    const Bytes region = region_of(items);
    Identity identity;
    if (read_identity(region, &identity) == nullptr) {
      EXPECT_LE(strlen(identity.site), 64u);
    }
  }
}

constexpr int64_t kBuiltS = 1'700'000'000;

TEST(DeviceClock, IsTheTimeOfBuildingUntilItLearnsBetter) {
  TestBoard test;
  const Board board = test.board();
  DeviceClock clock(board, kBuiltS);
  int64_t utc_ms = 0;
  EXPECT_FALSE(clock.utc_ms(&utc_ms));
  EXPECT_EQ(clock.now_s(), kBuiltS);
  test.mono_ms = 5'000;
  EXPECT_TRUE(clock.learn(kBuiltS * 1000 + 90'000));
  test.mono_ms = 7'000;
  ASSERT_TRUE(clock.utc_ms(&utc_ms));
  EXPECT_EQ(utc_ms, kBuiltS * 1000 + 92'000);
  EXPECT_EQ(clock.now_s(), kBuiltS + 92);
}

TEST(DeviceClock, BelievesNobodyWhoSaysItIsEarlierThanTheFloor) {
  TestBoard test;
  const Board board = test.board();
  DeviceClock clock(board, kBuiltS);
  int64_t utc_ms = 0;
  EXPECT_FALSE(clock.learn(kBuiltS * 1000 - 1));
  EXPECT_FALSE(clock.learn(INT64_MAX));
  test.rtc_ms = 86'400'000;  // a clock whose battery was taken out
  EXPECT_FALSE(clock.utc_ms(&utc_ms));
  EXPECT_EQ(clock.now_s(), kBuiltS);
}

TEST(DeviceClock, BeginsWithWhatWasSavedUnlessThatIsEarlierOrDamaged) {
  TestBoard test;
  const Board board = test.board();
  {
    DeviceClock clock(board, kBuiltS);
    clock.save_when_due();
    EXPECT_EQ(test.saves, 0) << "a floor is nothing to be saved";
    ASSERT_TRUE(clock.learn(kBuiltS * 1000 + 1'000'000));
    clock.save_when_due();
    test.mono_ms = 599'999;
    clock.save_when_due();
    EXPECT_EQ(test.saves, 1) << "flash wears out";
    test.mono_ms = 600'000;
    clock.save_when_due();
    EXPECT_EQ(test.saves, 2);
  }
  EXPECT_EQ(DeviceClock(board, kBuiltS).now_s(), kBuiltS + 1'600);
  EXPECT_EQ(DeviceClock(board, kBuiltS + 5'000).now_s(), kBuiltS + 5'000) << "newer firmware";
  for (size_t at = 0; at < test.saved.size(); ++at) {
    TestBoard damaged = test;
    damaged.saved[at] ^= 0x40;
    const Board other = damaged.board();
    EXPECT_EQ(DeviceClock(other, kBuiltS).now_s(), kBuiltS) << "byte " << at;
  }
}

TEST(DeviceClock, KnowsTheDatesOfTheCLibrary) {
  TestBoard test;
  const Board board = test.board();
  const DeviceClock clock(board, kBuiltS);
  start_platform(board, clock);
  for (int64_t day = -800'000; day < 2'900'000; day += 13) {
    const time_t seconds = day * 86'400 + (day * 7'919 % 86'400 + 86'400) % 86'400;
    struct tm expected = {}, found = {};
    gmtime_r(&seconds, &expected);
    mbedtls_platform_gmtime_r(&seconds, &found);
    ASSERT_EQ(found.tm_year, expected.tm_year) << seconds;
    ASSERT_EQ(found.tm_mon, expected.tm_mon) << seconds;
    ASSERT_EQ(found.tm_mday, expected.tm_mday) << seconds;
    ASSERT_EQ(found.tm_hour, expected.tm_hour) << seconds;
    ASSERT_EQ(found.tm_sec, expected.tm_sec) << seconds;
    ASSERT_EQ(
        days_of(found.tm_year + 1900, static_cast<uint32_t>(found.tm_mon + 1), static_cast<uint32_t>(found.tm_mday)),
        day);
  }
}

TEST(DeviceLine, WritesNumbersOfAnySizeAndCutsWhatIsTooLong) {
  TestBoard test;
  const Board board = test.board();
  test.mono_ms = 12;
  Line(board, "event").field("a", uint64_t{0}).field("b", UINT64_MAX).field("c", "words").hex("d", 0xAB);
  EXPECT_EQ(test.log, "12 event a=0 b=18446744073709551615 c=words d=00000000000000ab\n");
  test.log.clear();
  { Line(board, "long").field("text", std::string(1000, 'x').c_str()); }
  EXPECT_EQ(test.log.size(), 241u);
}

bool sign_on_a_host(const uint8_t key[32], const uint8_t digest[32], uint8_t signature[64]) {
  secp256k1_context* context = secp256k1_context_create(SECP256K1_CONTEXT_SIGN);
  secp256k1_ecdsa_signature made;
  const bool signed_it = secp256k1_ecdsa_sign(context, &made, digest, key, nullptr, nullptr) == 1 &&
                         secp256k1_ecdsa_signature_serialize_compact(context, signature, &made) == 1;
  secp256k1_context_destroy(context);
  return signed_it;
}

TEST(DeviceSignature, IsTheOneThatHostsMakeByteForByte) {
  TestBoard test;
  const Board board = test.board();
  const DeviceClock clock(board, kBuiltS);
  start_platform(board, clock);
  mbedtls_platform_set_calloc_free(calloc, free);
  ASSERT_TRUE(start_random());
  for (int round = 0; round < 20; ++round) {
    uint8_t key[32], digest[32], ours[64], theirs[64];
    draw_random(key, sizeof key);
    draw_random(digest, sizeof digest);
    key[0] &= 0x7F;  // below the curve's order
    ASSERT_TRUE(sign_digest(key, digest, ours));
    ASSERT_TRUE(sign_on_a_host(key, digest, theirs));
    EXPECT_EQ(memcmp(ours, theirs, 64), 0) << "round " << round;
  }
  uint8_t signature[64];
  const uint8_t zero[32] = {}, digest[32] = {};
  EXPECT_FALSE(sign_digest(zero, digest, signature));
}

TEST(DeviceSamples, AFullRingKeepsWhatItHasAndCountsTheRest) {
  SampleRing ring;
  for (uint32_t tick = 0; tick < SampleRing::kSamplesMax + 3; ++tick) ring.put({tick, -1});
  EXPECT_EQ(ring.missed(), 3u);
  Sample sample;
  for (uint32_t tick = 0; tick < SampleRing::kSamplesMax; ++tick) {
    ASSERT_TRUE(ring.take(&sample));
    EXPECT_EQ(sample.tick, tick);
  }
  EXPECT_FALSE(ring.take(&sample));
  ring.put({7, 8});
  EXPECT_TRUE(ring.take(&sample));
}

// ---- Ten minutes

constexpr size_t kBoardSeriesBytes = 196'608;  // LAMBDA_SERIES_BYTES of the boards

int64_t g_now_ms = 0;

lam_port port_that_reaches_nobody() {
  lam_port port = {};
  const HashPort hash = device_hash();
  port.mono_ms = [](void*) { return g_now_ms; };
  port.random = [](void*) { return uint64_t{4}; };
  port.sha256_start = hash.start;
  port.sha256_update = hash.update;
  port.sha256_finish = hash.finish;
  port.sign = [](void*, const uint8_t*, uint8_t signature[64]) {
    memset(signature, 1, 64);
    return true;
  };
  port.publish = [](void*, lam_topic, const uint8_t*, size_t) { return false; };
  return port;
}

TEST(DeviceMemory, HoldsTenMinutesOfAllSensorsWhileNobodyTakesThem) {
  alignas(8) static uint8_t memory[kBoardSeriesBytes];
  lam_config config = {};
  config.site = "hall";
  config.device = "press-7";
  config.series_max = Sensors::kSeriesMax;
  config.codecs = Sensors::kCodecs;
  config.codec_count = std::size(Sensors::kCodecs);
  config.parcels_max = 4;
  config.block_bytes_max = 1024;
  const lam_port port = port_that_reaches_nobody();
  lam_device* device = nullptr;
  ASSERT_EQ(lam_init(memory, sizeof memory, &config, &port, &device), LAM_OK);
  Sensors sensors;
  ASSERT_TRUE(sensors.declare(device));
  constexpr uint32_t kTicks = 601 * kTicksPerSecond;
  for (uint32_t tick = 0; tick < kTicks; ++tick) {
    g_now_ms = int64_t{tick} * kSamplePeriodMs;
    sensors.append(device, {tick, read_vibration(tick)}, g_now_ms);
    if (tick % 10 == 0) lam_poll(device);
  }
  lam_counters made;
  lam_get_counters(device, &made);
  EXPECT_EQ(made.points_made, kTicks + 601u * (Sensors::kSeriesMax - 1));
  EXPECT_EQ(made.points_dropped, 0u);
  lam_summary vibration, temperature;
  ASSERT_EQ(lam_summarise(device, 1, g_now_ms - 600'000 + 1, g_now_ms, &vibration), LAM_OK);
  EXPECT_EQ(vibration.count, 60'000u);
  EXPECT_EQ(vibration.last.value, read_vibration(kTicks - 1));
  ASSERT_EQ(lam_summarise(device, 2, g_now_ms - 600'000 + 1, g_now_ms, &temperature), LAM_OK);
  EXPECT_EQ(temperature.count, 600u);
}

}  // namespace
}  // namespace lambda::boards
