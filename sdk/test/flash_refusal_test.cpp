// Whose snapshot a device refuses, and that it goes on then: of others, torn, altered, or written to harm it.
#include "flash_world.h"

namespace lambda::test {
namespace {

struct Refusal {
  Refusal() : model(1024, 24, 4), world(&model, 16'384, {2, UINT32_MAX}) {
    int64_t value = 0;
    fill(&world, &value);
    EXPECT_EQ(lam_flash_save(world.flash), LAM_OK);
    for (uint32_t page = 0; page < 24; page += 12) {
      if (std::memcmp(model.bytes.data() + page * 1024, "lamS", 4) == 0) bank = page * 1024;
    }
  }
  // Nothing is taken, and the next snapshot works.
  void expect(lam_flash_found found) {
    world.reset();
    EXPECT_EQ(world.report.found, found) << lam_flash_found_name(world.report.found);
    EXPECT_EQ(world.read().count(), 0u);
    EXPECT_EQ(world.counters().points_waiting, 0u);
    int64_t value = 0;
    world.live(3, &value);
    ASSERT_EQ(lam_flash_save(world.flash), LAM_OK);
    world.reset();
    EXPECT_EQ(world.report.found, LAM_FLASH_RESTORED);
    EXPECT_EQ(world.read().count(), 12u);
  }
  void write_head_checksum() {
    const uint32_t sum = crc32c({model.bytes.data() + bank, 24});
    for (int i = 0; i < 4; ++i) model.bytes[bank + 24 + i] = static_cast<uint8_t>(sum >> (8 * i));
  }
  ModelFlash model;
  FlashWorld world;
  size_t bank = 0;
};

TEST(Flash, RefusesASnapshotOfAnotherVersion) {
  Refusal refusal;
  refusal.model.bytes[refusal.bank + 4] = 2;
  refusal.write_head_checksum();
  refusal.expect(LAM_FLASH_OTHER_VERSION);
}
TEST(Flash, RefusesASnapshotWithABitTurned) {
  Refusal refusal;
  refusal.model.bytes[refusal.bank + 32 + 200] ^= 4;
  refusal.expect(LAM_FLASH_DAMAGED);
}
TEST(Flash, TakesNothingWhicheverBitOfTheSnapshotIsTurned) {
  Refusal refusal;
  for (int i = 0; i < 40; ++i) lam_flash_poll(refusal.world.flash);  // the snapshot before it is erased
  const std::vector<uint8_t> saved = refusal.model.bytes;
  const uint8_t* const head = saved.data() + refusal.bank;
  const size_t body_end = 32 + size_t(head[16] | head[17] << 8 | head[18] << 16);
  ASSERT_GT(body_end, 500u);
  for (size_t at = 0; at < body_end; ++at) {
    if (at == 28) at = 32;  // four bytes of the header are not used
    refusal.model.bytes = saved;
    refusal.model.bytes[refusal.bank + at] ^= static_cast<uint8_t>(1u << at % 8);
    refusal.world.reset();
    ASSERT_EQ(refusal.world.report.found, at < 32 ? LAM_FLASH_EMPTY : LAM_FLASH_DAMAGED) << "byte " << at;
    ASSERT_EQ(refusal.world.report.banks_torn, at < 32 ? 1u : 0u) << "byte " << at;
    ASSERT_EQ(refusal.world.counters().points_waiting, 0u) << "byte " << at;
  }
}
TEST(Flash, RefusesASnapshotThatSaysNonsenseUnderARightChecksum) {
  for (size_t at = 16; at < 300; ++at) {
    Refusal refusal;
    refusal.model.bytes[refusal.bank + 32 + at] = 0x77;
    uint8_t* const head = refusal.model.bytes.data() + refusal.bank;
    const uint32_t size = head[16] | head[17] << 8 | head[18] << 16;
    const uint32_t sum = crc32c({head + 32, size});
    for (int i = 0; i < 4; ++i) head[20 + i] = static_cast<uint8_t>(sum >> (8 * i));
    refusal.write_head_checksum();
    refusal.world.reset();  // takes it or refuses it, and lives
    lam_flash_poll(refusal.world.flash);
    if (at % 16 == 0) {
      EXPECT_EQ(lam_flash_save(refusal.world.flash), LAM_OK);
    }
  }
}
// A body of our own under right checksums: what nobody wrote, but somebody who can write to the flash might.
struct Forged {
  static constexpr uint64_t kBoot = 0xB007;
  static constexpr uint64_t kAnother = 0xB008;

  Forged() : body(refusal.model.bytes.data() + refusal.bank + 32, refusal.model.bytes.data() + refusal.bank + 48) {}
  void u64(uint64_t value) {
    for (int shift = 0; shift < 64; shift += 8) body.push_back(static_cast<uint8_t>(value >> shift));
  }
  void varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) body.push_back(static_cast<uint8_t>(value | 0x80));
    body.push_back(static_cast<uint8_t>(value));
  }
  Forged& boot(uint64_t id = kBoot, uint64_t next_seq = 9) {
    body.push_back(1);
    u64(id);
    u64(0);
    u64(1'700'000'000'000);
    varint(next_seq);
    body.push_back(2);
    return *this;
  }
  Forged& gap(uint64_t first, uint64_t count) {
    body.insert(body.end(), {4, 0, 1});
    varint(first);
    varint(count);
    return *this;
  }
  Forged& parcel(uint8_t of_boot, uint64_t seq, uint64_t points, const std::string& message) {
    body.insert(body.end(), {5, of_boot, 1});
    varint(seq);
    varint(points);
    varint(message.size());
    body.insert(body.end(), message.begin(), message.end());
    return *this;
  }
  // A settled point of the first series.
  Forged& block(uint64_t age_ms, bool names_its_boot = false) {
    std::vector<uint8_t> space(block_bytes_max(1));
    BlockOptions options;
    options.ref = 1;
    options.boot = kBoot;
    options.type = ValueType::kI64;
    options.write_boot = names_its_boot;
    BlockWriter writer(space, options);
    EXPECT_EQ(writer.append({1'700'000'000'000, 5}), AppendResult::kOk);
    const auto bytes = writer.seal();
    body.insert(body.end(), {6, 0, 1});
    varint(age_ms);
    varint(bytes.size());
    body.insert(body.end(), bytes.begin(), bytes.end());
    return *this;
  }
  // Is there at the next reset.
  void write() {
    body.push_back(0);
    uint8_t* const head = refusal.model.bytes.data() + refusal.bank;
    std::fill(head + 32, head + 12 * 1024, uint8_t{0xFF});
    std::copy(body.begin(), body.end(), head + 32);
    const uint32_t sum = crc32c(body);
    for (int i = 0; i < 4; ++i) head[16 + i] = static_cast<uint8_t>(body.size() >> (8 * i));
    for (int i = 0; i < 4; ++i) head[20 + i] = static_cast<uint8_t>(sum >> (8 * i));
    refusal.write_head_checksum();
  }
  void expect_damaged() {
    write();
    refusal.expect(LAM_FLASH_DAMAGED);
  }
  Refusal refusal;
  std::vector<uint8_t> body;
};

TEST(Flash, TakesWhatWasWrittenByHandWhenItIsRight) {
  Forged forged;
  forged.boot().boot(Forged::kAnother).gap(0, 7).parcel(0, 3, 2, "as it was").block(5).write();
  forged.refusal.world.reset();
  EXPECT_EQ(forged.refusal.world.report.found, LAM_FLASH_RESTORED);
  EXPECT_EQ(forged.refusal.world.report.points_named, 7u);
  EXPECT_EQ(forged.refusal.world.report.points_waiting, 2u);
  EXPECT_EQ(forged.refusal.world.report.points_readable, 1u);
}
// The numbers of parcels begin at 1 and no parcel is empty: such a one would be looked for again and again.
TEST(Flash, RefusesAParcelWithoutANumberOrWithoutBytes) {
  Forged().boot().parcel(0, 0, 2, "of no number").expect_damaged();
  Forged().boot().parcel(0, 3, 2, "").expect_damaged();
  Forged().boot().parcel(0, UINT64_MAX, 2, "none is so high").expect_damaged();
  Forged().boot(Forged::kBoot, UINT64_MAX).expect_damaged();
}
TEST(Flash, RefusesABootThatIsThereTwice) {
  Forged().boot().boot().parcel(1, 3, 2, "whose?").expect_damaged();
}
TEST(Flash, RefusesMorePointsThanAParcelCanHave) {
  Forged().boot().parcel(0, 3, uint64_t{1} << 32, "so many").expect_damaged();
}
TEST(Flash, RefusesAGapBehindTheLastOrdinal) {
  Forged().boot().gap(UINT64_MAX, 5).expect_damaged();
  Forged().boot().gap(1, uint64_t{1} << 63).expect_damaged();
}
// All is looked at before any of it is taken: it may not turn out later that the store does not take it.
TEST(Flash, RefusesABlockThatNamesItsBoot) {
  Forged().boot().block(5, true).expect_damaged();
}
TEST(Flash, ABlockOfAnImpossibleAgeIsAnOldOne) {
  for (const uint64_t age_ms : {uint64_t{0} - (uint64_t{1} << 40), uint64_t{1} << 63, uint64_t{INT64_MAX}}) {
    Forged forged;
    forged.boot().block(age_ms).write();
    FlashWorld& world = forged.refusal.world;
    world.reset();
    ASSERT_EQ(world.report.found, LAM_FLASH_RESTORED);
    EXPECT_EQ(world.report.points_readable, 1u);
    world.turn();
    EXPECT_EQ(world.read().count(), 0u) << "its time was over, age " << age_ms;
    EXPECT_EQ(lam_flash_save(world.flash), LAM_OK);
  }
}
TEST(Flash, RefusesTheSnapshotOfAnotherDevice) {
  Refusal refusal;
  refusal.world.config.device = "press-8";
  refusal.expect(LAM_FLASH_OTHER_DEVICE);
}
TEST(Flash, RefusesBlocksAndParcelsLongerThanItTakes) {
  Refusal refusal;
  int64_t value = 0;
  refusal.world.live(4 * kMinute, &value);
  ASSERT_EQ(lam_flash_save(refusal.world.flash), LAM_OK);
  refusal.world.config.parcels_max = 2;
  refusal.expect(LAM_FLASH_OTHER_LIMITS);
}

TEST(Flash, RefusesWhatWasMadeOfOtherSeriesAndTakesItWhenThereAreMoreNow) {
  ModelFlash model(1024, 24, 4);
  DeviceWorld world(16'384, [](lam_config* config) { config->series_max = 4; });
  std::vector<uint64_t> memory(lam_flash_memory(&world.config, &model.port, nullptr) / 8 + 1);
  const auto start = [&](std::initializer_list<int> series) {
    const size_t size = lam_memory_min(&world.config) + 16'384;
    EXPECT_EQ(lam_init(world.memory.data(), size, &world.config, &world.port, &world.device), LAM_OK);
    lam_series ref = 0;
    for (const int one : series) EXPECT_EQ(lam_declare(world.device, &kFlashSeries[one], &ref), LAM_OK);
    lam_flash* flash = nullptr;
    lam_flash_report report;
    EXPECT_EQ(lam_flash_start(memory.data(), memory.size() * 8, world.device, &model.port, nullptr, &flash, &report),
              LAM_OK);
    return std::pair{flash, report.found};
  };
  auto [flash, found] = start({0, 2});
  EXPECT_EQ(lam_append_i64(world.device, 1, 9), LAM_OK);
  ASSERT_EQ(lam_flash_save(flash), LAM_OK);
  const std::vector<uint8_t> saved = model.bytes;
  EXPECT_EQ(start({0, 2, 3}).second, LAM_FLASH_RESTORED);
  model.bytes = saved;
  EXPECT_EQ(start({0}).second, LAM_FLASH_OTHER_SERIES);
  EXPECT_EQ(start({2, 0}).second, LAM_FLASH_OTHER_SERIES);
  EXPECT_EQ(start({0, 2}).second, LAM_FLASH_RESTORED);
}

}  // namespace
}  // namespace lambda::test
