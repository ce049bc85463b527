// What a device keeps over a reset.
#include <fstream>
#include <sstream>

#include "flash_world.h"

namespace lambda::test {
namespace {

TEST(Flash, AResetBringsBackTheSamePointsAndTheSameAnswers) {
  ModelFlash model(1024, 32, 4);
  FlashWorld world(&model);
  EXPECT_EQ(world.report.found, LAM_FLASH_EMPTY);
  int64_t value = 100;
  fill(&world, &value);
  const lam_counters before = world.counters();
  EXPECT_GT(before.points_settled, 0u);
  EXPECT_GT(before.points_waiting, 0u);
  ASSERT_EQ(lam_flash_save(world.flash), LAM_OK);
  const Readable readable = world.read();
  const uint64_t old_boot = lam_boot(world.device);

  world.reset();
  EXPECT_EQ(world.report.found, LAM_FLASH_RESTORED);
  EXPECT_EQ(world.report.banks_torn, 0u);
  EXPECT_EQ(world.read(), readable);
  EXPECT_EQ(world.report.points_readable, readable.count());
  EXPECT_EQ(world.report.points_waiting, before.points_waiting);
  EXPECT_EQ(world.counters().points_waiting, before.points_waiting);
  EXPECT_EQ(world.counters().points_made, before.points_waiting);
  EXPECT_NE(lam_boot(world.device), old_boot);

  // It goes on: what waited arrives, new points belong to the new boot.
  world.live(kMinute, &value);
  world.go_online();
  lam_flush(world.device);
  world.run(20'000);
  EXPECT_EQ(world.counters().points_waiting, 0u);
  EXPECT_EQ(world.gateway.points.size(), world.made.size());
  EXPECT_TRUE(world.gateway.gaps.empty());
  world.expect_all_accounted();
  bool chained = false;
  for (const v1::Hello& hello : world.gateway.hellos) {
    chained = chained || (hello.boot() == lam_boot(world.device) && hello.previous_boot() == old_boot);
  }
  EXPECT_TRUE(chained) << "the new boot says which one was before it";
}

TEST(Flash, BlocksOfEveryCodecThatTheDeviceHasComeBack) {
  static constexpr const lam_codec* kCodecs[] = {&lam_codec_slope64, &lam_codec_runs64};
  ModelFlash model(1024, 32, 4);
  FlashWorld world(&model, 16'384, {}, [](lam_config* config) {
    config->codecs = kCodecs;
    config->codec_count = 2;
    config->seal_age_ms = 20'000;
  });
  world.gateway.codecs = kCodecsOfDevices;
  int64_t value = 100;
  fill(&world, &value);
  ASSERT_EQ(lam_flash_save(world.flash), LAM_OK);
  const Readable readable = world.read();
  const size_t settled = world.gateway.blocks_in[Codec::kRuns64];
  EXPECT_GT(settled, 0u);

  world.reset();
  EXPECT_EQ(world.report.found, LAM_FLASH_RESTORED);
  EXPECT_EQ(world.read(), readable);
  world.go_online();
  lam_flush(world.device);
  world.run(20'000);
  EXPECT_GT(world.gateway.blocks_in[Codec::kRuns64], settled);
  EXPECT_EQ(world.gateway.points.size(), world.made.size());
  world.expect_all_accounted();
}

TEST(Flash, WithoutASnapshotAResetIsWhatItWas) {
  ModelFlash model(1024, 32, 4);
  FlashWorld world(&model);
  int64_t value = 0;
  world.turn();
  world.live(30, &value);
  world.reset();
  EXPECT_EQ(world.report.found, LAM_FLASH_RESTORED) << "the one of the first turn, with nothing in it";
  EXPECT_EQ(world.report.points_readable, 0u);
  world.go_online();
  world.run(5'000);
  EXPECT_TRUE(world.gateway.points.empty());
  EXPECT_TRUE(world.gateway.gaps.empty()) << "nothing had gone into a parcel";
}

TEST(Flash, WhatWentIntoParcelsAfterTheSaveAndIsGoneIsNamed) {
  ModelFlash model(1024, 32, 8);
  FlashWorld world(&model);
  int64_t value = 0;
  world.live(kMinute, &value);
  ASSERT_EQ(lam_flash_save(world.flash), LAM_OK);
  world.live(2 * kMinute, &value);  // parcels are built, nobody is there to take them
  ASSERT_GT(world.counters().parcels_made, 0u);
  EXPECT_GT(world.flash_counters().notes, 0u);
  world.reset();
  EXPECT_GT(world.report.points_named, 0u);
  world.go_online();
  world.run(60'000);
  EXPECT_EQ(world.gateway.gaps.size(), world.report.points_named);
  EXPECT_GT(world.gateway.points.size(), 0u);
  world.expect_no_holes();
}

TEST(Flash, ASnapshotThatIsUsedTwiceGivesNoNumberOutTwice) {
  ModelFlash model(1024, 32, 4);
  FlashWorld world(&model);
  int64_t value = 0;
  world.live(kMinute + 30, &value);
  ASSERT_EQ(lam_flash_save(world.flash), LAM_OK);
  const uint64_t first_boot = lam_boot(world.device);
  for (int reset = 0; reset < 6; ++reset) {
    world.reset();
    ASSERT_EQ(world.report.found, LAM_FLASH_RESTORED);
    // Other points beside those that came back, so that parcels of the same number would differ. The gateway of the
    // tests compares the bytes of each (boot, seq) with those it had before.
    world.gateway.mood = reset % 2 == 0 ? DeviceGateway::Mood::kSilent : DeviceGateway::Mood::kStores;
    world.go_online();
    world.live(3 + reset, &value);
    lam_flush(world.device);
    world.run(8'000);
  }
  world.gateway.mood = DeviceGateway::Mood::kStores;
  world.run(60'000);
  std::set<uint64_t> starts;
  for (const uint64_t seq : world.gateway.seqs[first_boot]) starts.insert(seq >> 32);
  EXPECT_GE(starts.size(), 2u) << "the snapshot was used once only";
  world.expect_no_holes();
}

// Everything at this moment, to go back to it: the device lives in its memory and nowhere else.
struct Moment {
  explicit Moment(FlashWorld* world)
      : world_(world),
        memory_(world->memory),
        flash_memory_(world->flash_memory),
        bytes_(world->model->bytes),
        mono_(world->mono),
        random_(world->random) {}
  void go_back() {
    std::copy(memory_.begin(), memory_.end(), world_->memory.begin());
    std::copy(flash_memory_.begin(), flash_memory_.end(), world_->flash_memory.begin());
    world_->model->bytes = bytes_;
    world_->mono = mono_;
    world_->random = random_;
  }

 private:
  FlashWorld* world_;
  std::vector<uint64_t> memory_, flash_memory_;
  std::vector<uint8_t> bytes_;
  int64_t mono_;
  std::mt19937_64 random_;
};

// `act` is done with the power lost at its first word or erase, at its second, and so on until it gets through. After
// each loss a new device starts from the flash: it must find the one or the other, whole.
void cut_everywhere(FlashWorld* world, const std::function<void()>& act, const Readable& old_state,
                    const Readable& new_state, uint64_t steps_least) {
  ModelFlash& model = *world->model;
  const Moment moment(world);
  Moment here = moment;
  uint64_t old_found = 0, new_found = 0, torn = 0, steps = 0;
  for (bool through = false; !through; ++steps) {
    here.go_back();
    model.steps_left = steps;
    act();
    through = !model.dead;
    model.revive();
    FlashWorld other(&model, 16'384, world->flash_config);
    ASSERT_EQ(other.report.found, LAM_FLASH_RESTORED) << "power lost at step " << steps;
    const Readable found = other.read();
    torn += other.report.banks_torn;
    const bool is_new = found == new_state;
    ASSERT_TRUE(is_new || found == old_state) << "a mix: power lost at step " << steps;
    ASSERT_TRUE(is_new || new_found == 0) << "the new one was there a step before";
    ++(is_new ? new_found : old_found);
    // And it goes on from there: the next save is whole.
    if (steps % 16 == 0) {
      ASSERT_EQ(lam_flash_save(other.flash), LAM_OK);
      FlashWorld third(&model, 16'384, world->flash_config);
      ASSERT_EQ(third.report.found, LAM_FLASH_RESTORED);
      ASSERT_EQ(third.read(), found);
    }
  }
  EXPECT_GT(steps, steps_least);
  EXPECT_GT(old_found, 0u);
  EXPECT_GT(new_found, 0u);
  EXPECT_GT(torn, 0u);
}

class FlashPower : public testing::TestWithParam<std::pair<uint32_t, uint32_t>> {};  // write_bytes, banks

TEST_P(FlashPower, LostAtAnyWordOrEraseOfASaveLeavesTheOldSnapshotOrTheNew) {
  const auto [write_bytes, banks] = GetParam();
  ModelFlash model(1024, 12 * banks, write_bytes);
  FlashWorld world(&model, 16'384, {banks, UINT32_MAX});
  int64_t value = 5;
  fill(&world, &value);
  ASSERT_EQ(lam_flash_save(world.flash), LAM_OK);
  // Once more, so that every bank has been used: the save that follows finds no blank one and erases first.
  for (uint32_t i = 1; i < banks; ++i) {
    world.live(2, &value);
    ASSERT_EQ(lam_flash_save(world.flash), LAM_OK);
  }
  const Readable old_state = world.read();
  for (int i = 0; i < 20; ++i) world.measure(value++);
  const Readable new_state = world.read();
  ASSERT_NE(old_state, new_state);
  cut_everywhere(
      &world, [&] { (void)lam_flash_save(world.flash); }, old_state, new_state, 1'500 / write_bytes);
}

TEST_P(FlashPower, LostWhileErasingAheadCostsNothing) {
  const auto [write_bytes, banks] = GetParam();
  ModelFlash model(1024, 12 * banks, write_bytes);
  FlashWorld world(&model, 16'384, {banks, UINT32_MAX});
  int64_t value = 5;
  fill(&world, &value);
  for (uint32_t i = 0; i <= banks; ++i) ASSERT_EQ(lam_flash_save(world.flash), LAM_OK);
  const Readable state = world.read();
  const Moment moment(&world);
  Moment here = moment;
  uint64_t steps = 0;
  for (bool through = false; !through; ++steps) {
    here.go_back();
    model.steps_left = steps;
    for (int i = 0; i < 40 && !model.dead; ++i) lam_flash_poll(world.flash);
    through = !model.dead;
    model.revive();
    FlashWorld other(&model, 16'384, world.flash_config);
    ASSERT_EQ(other.report.found, LAM_FLASH_RESTORED) << "power lost at step " << steps;
    ASSERT_EQ(other.read(), state) << "power lost at step " << steps;
  }
  EXPECT_GT(steps, 2u);
}

INSTANTIATE_TEST_SUITE_P(Geometries, FlashPower,
                         testing::Values(std::pair{1u, 2u}, std::pair{4u, 2u}, std::pair{8u, 3u}, std::pair{32u, 2u}));

// Lives that end anywhere: in a save, a note, an erase, or between.
TEST(Flash, HoweverOftenThePowerIsCutNothingCountsTwiceAndNoHoleIsUnnamed) {
  uint64_t cut_in_flash = 0, named = 0, resets = 0;
  for (uint64_t seed = 1; seed <= 25; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    ModelFlash model(1024, 24, 4);
    model.random.seed(seed);
    FlashWorld world(&model, 16'384, {2, 90}, [](lam_config* config) { config->seal_age_ms = 5'000; });
    world.random.seed(seed);
    int64_t value = static_cast<int64_t>(seed) * 1000;
    for (int life = 0; life < 12; ++life) {
      world.turn();
      if (life % 3 == 2) {
        world.lost = 0;  // every third one gets everything away, so that memory's four boots are enough
        world.go_online();
        lam_flush(world.device);
        world.run(90'000);
      }
      world.lost = random() % 3 * 20;
      if (random() % 4 != 0) world.go_online();
      if (random() % 3 != 0) model.steps_left = random() % 3'000;
      const auto seconds = static_cast<int>(5 + random() % 150);
      world.live(seconds, &value);
      cut_in_flash += model.dead ? 1 : 0;
      world.reset();
      ++resets;
      ASSERT_EQ(world.report.found, LAM_FLASH_RESTORED);
      ASSERT_EQ(world.report.boots_given_up, 0u);
      named += world.report.points_named;
      const lam_counters c = world.counters();
      EXPECT_EQ(c.points_made, c.points_settled + c.points_refused + c.points_dropped + c.points_waiting);
    }
    world.lost = 0;
    world.go_online();
    lam_flush(world.device);
    world.run(120'000);
    EXPECT_EQ(world.counters().points_waiting, 0u);
    world.expect_no_holes();
    if (HasFailure()) return;
  }
  EXPECT_GT(cut_in_flash, resets / 10);
  EXPECT_GT(named, 0u);
}

TEST(Flash, AWornPageCostsItsBankAndNoSnapshot) {
  ModelFlash model(1024, 36, 4);
  FlashWorld world(&model, 16'384, {3, UINT32_MAX});
  int64_t value = 0;
  fill(&world, &value);
  ASSERT_EQ(lam_flash_save(world.flash), LAM_OK);
  world.run(2'000);
  // The first page of the next bank takes no zeros any more; then another cannot be erased.
  std::set<uint32_t> all;
  for (uint32_t page = 0; page < 36; page += 12) all.insert(page);
  for (const uint32_t page : all) {
    if (model.bytes[page * 1024] == 0xFF) {
      model.worn_pages.insert(page);
      break;
    }
  }
  ASSERT_EQ(model.worn_pages.size(), 1u);
  for (int i = 0; i < 4; ++i) {
    world.live(5, &value);
    ASSERT_EQ(lam_flash_save(world.flash), LAM_OK);
  }
  EXPECT_EQ(world.flash_counters().banks_worn, 1u);
  EXPECT_EQ(world.flash_counters().saves_failed, 1u);
  const Readable readable = world.read();
  world.reset();
  EXPECT_EQ(world.report.found, LAM_FLASH_RESTORED);
  EXPECT_EQ(world.read(), readable);
}

TEST(Flash, WhenNoBankTakesItAnyMoreTheLastSnapshotStaysAndTheDeviceGoesOn) {
  ModelFlash model(1024, 24, 4);
  FlashWorld world(&model, 16'384, {2, UINT32_MAX});
  int64_t value = 0;
  fill(&world, &value);
  ASSERT_EQ(lam_flash_save(world.flash), LAM_OK);
  const Readable readable = world.read();
  for (uint32_t page = 0; page < 24; ++page) model.stuck_pages.insert(page), model.worn_pages.insert(page);
  world.live(5, &value);
  EXPECT_EQ(lam_flash_save(world.flash), LAM_E_NO_DATA);
  EXPECT_EQ(lam_flash_save(world.flash), LAM_E_NO_DATA);
  world.go_online();
  lam_flush(world.device);
  world.run(20'000);
  EXPECT_EQ(world.counters().points_waiting, 0u) << "it sends all the same";
  EXPECT_EQ(world.gateway.points.size(), world.made.size());
  const size_t stored = world.gateway.points.size();

  // That this start has been cannot be written down: what is there may be read, and is not sent.
  world.reset();
  EXPECT_EQ(world.report.found, LAM_FLASH_WORN);
  EXPECT_EQ(world.read(), readable);
  EXPECT_EQ(world.report.points_waiting, 0u);
  EXPECT_GT(world.report.points_given_up, 0u);
  world.go_online();
  world.live(5, &value);
  lam_flush(world.device);
  world.run(20'000);
  EXPECT_EQ(world.gateway.points.size(), stored + 20);
}

// The last word on a clock segment counts. A snapshot from before the time was known must not say "unknown" after it.
TEST(Flash, WhatAGatewayWasToldOfAClockIsNotTakenBack) {
  ModelFlash model(1024, 32, 4);
  FlashWorld world(&model);
  world.has_utc = false;
  world.reset();
  const uint64_t boot = lam_boot(world.device);
  int64_t value = 0;
  world.measure(value++);
  ASSERT_EQ(lam_flash_save(world.flash), LAM_OK);
  world.gateway.clock_ms = 1'700'000'000'000;
  world.go_online();
  world.live(2 * kMinute + 10, &value);
  const auto told = world.gateway.clocks.find({boot, 0});
  ASSERT_NE(told, world.gateway.clocks.end());
  ASSERT_TRUE(told->second.known());
  const int64_t offset = told->second.offset_ms();
  const size_t parcels = world.gateway.parcels;
  world.reset();
  ASSERT_EQ(world.report.points_waiting, 4u) << "sent meanwhile, but the snapshot does not know";
  world.go_online();
  world.run(20'000);
  EXPECT_GT(world.gateway.parcels, parcels);
  EXPECT_TRUE(world.gateway.clocks.at({boot, 0}).known());
  EXPECT_EQ(world.gateway.clocks.at({boot, 0}).offset_ms(), offset);
  world.expect_no_holes();
}

// A read that fails leaves less, never something else, and nothing that passes for an older snapshot.
TEST(Flash, AReadThatFailsIsSaidAndNothingIsTakenTwice) {
  ModelFlash model(1024, 24, 4);
  FlashWorld world(&model, 16'384, {2, UINT32_MAX});
  int64_t value = 0;
  fill(&world, &value);
  ASSERT_EQ(lam_flash_save(world.flash), LAM_OK);
  world.live(2 * kMinute, &value);  // with notes behind it
  const std::vector<uint8_t> saved = model.bytes;
  world.reset();
  const Readable whole = world.read();
  std::set<lam_flash_found> found;
  bool through = false;
  for (uint64_t reads = 0; !through; reads += 3) {
    model.bytes = saved;
    model.reads_fail_after = reads;
    world.reset();
    through = model.reads_fail_after < UINT64_MAX / 2;
    model.reads_fail_after = UINT64_MAX;
    found.insert(world.report.found);
    ASSERT_NE(world.report.found, LAM_FLASH_EMPTY) << reads;
    if (world.report.found == LAM_FLASH_RESTORED) {
      ASSERT_EQ(world.read(), whole) << reads;
    } else {
      ASSERT_EQ(world.report.points_waiting, 0u) << reads;
    }
    lam_flash_poll(world.flash);
    world.reset();  // afterwards the flash is as it was, or holds a newer snapshot
    ASSERT_EQ(world.report.found, LAM_FLASH_RESTORED) << reads;
  }
  EXPECT_EQ(found, (std::set{LAM_FLASH_RESTORED, LAM_FLASH_DAMAGED, LAM_FLASH_WORN}));
}

// ---- Bounds

TEST(Flash, ABankThatIsTooSmallGetsTheNewestAndSaysWhatItLeftOut) {
  ModelFlash model(1024, 12, 4);
  FlashWorld world(&model, 65'536, {2, UINT32_MAX}, [](lam_config* config) { config->retention_ms = 3'600'000; });
  int64_t value = 0;
  world.go_online();
  for (int i = 0; i < 1500; ++i) {
    world.measure(value * value % 977), ++value;
    world.run(1'000);
  }
  ASSERT_EQ(lam_flash_save(world.flash), LAM_OK);
  EXPECT_GT(world.flash_counters().blocks_left_out, 0u);
  const Readable all = world.read();
  world.reset();
  ASSERT_EQ(world.report.found, LAM_FLASH_RESTORED);
  const Readable some = world.read();
  for (int i = 0; i < 4; ++i) {
    ASSERT_LT(some.points[i].size(), all.points[i].size());
    ASSERT_GT(some.points[i].size(), 0u);
    EXPECT_TRUE(std::equal(some.points[i].rbegin(), some.points[i].rend(), all.points[i].rbegin())) << "not the newest";
  }
}

TEST(Flash, AFullPlaceForNotesIsASave) {
  ModelFlash model(1024, 8, 4);
  FlashWorld world(&model, 16'384, {2, UINT32_MAX}, [](lam_config* config) { config->seal_age_ms = 1'000; });
  world.go_online();
  int64_t value = 0;
  world.live(400, &value);
  EXPECT_GT(world.flash_counters().saves, 1u);
  EXPECT_EQ(world.flash_counters().notes_failed, 0u);
  world.reset();
  EXPECT_EQ(world.report.found, LAM_FLASH_RESTORED);
  // Starts that come to nothing are notes too: whoever starts for ever wears a bank once in dozens of starts.
  const uint64_t erased_before = model.erased_at[0] + model.erased_at[4];
  for (int start = 0; start < 40; ++start) {
    world.reset();
    ASSERT_EQ(world.report.found, LAM_FLASH_RESTORED);
  }
  EXPECT_LE(model.erased_at[0] + model.erased_at[4], erased_before + 4);
  world.go_online();
  world.run(30'000);
  world.expect_no_holes();
}

TEST(Flash, MoreBootsThanMemoryKnowsAreGivenUpAndCounted) {
  ModelFlash model(1024, 48, 4);
  FlashWorld world(&model, 32'768, {2, UINT32_MAX});
  int64_t value = 0;
  uint32_t given_up = 0;
  for (int boot = 0; boot < 6; ++boot) {
    world.live(5, &value);
    ASSERT_EQ(lam_flash_save(world.flash), LAM_OK);
    world.reset();
    ASSERT_EQ(world.report.found, LAM_FLASH_RESTORED);
    given_up += world.report.boots_given_up;
    EXPECT_EQ(world.report.points_given_up, world.report.boots_given_up * 20u);
  }
  EXPECT_EQ(given_up, 3u);
  world.go_online();
  world.run(30'000);
  EXPECT_EQ(world.gateway.points.size(), 60u) << "of the last three";
}

TEST(Flash, PagesAreErasedInTurn) {
  ModelFlash model(1024, 32, 4);
  FlashWorld world(&model, 16'384, {4, 600});
  int64_t value = 0;
  world.go_online();
  for (int i = 0; i < 4 * 3600; i += 10) {
    world.measure(value++);
    world.run(10'000);
  }
  const uint64_t saves = world.flash_counters().saves;
  EXPECT_GE(saves, 24u);
  EXPECT_LE(saves, 26u);
  for (const uint64_t erased : model.erased_at) EXPECT_LE(erased, saves / 4 + 1);
}

// The hex of proto/snapshot.md, without what is said about it.
std::vector<uint8_t> example_of_the_format() {
  std::ifstream file(LAMBDA_SOURCE_DIR "/proto/snapshot.md");
  std::vector<uint8_t> bytes;
  bool in_example = false;
  for (std::string line; std::getline(file, line);) {
    in_example = in_example || line == "## A worked example";
    if (!in_example || line.rfind("    ", 0) != 0) continue;
    std::istringstream words(line.substr(0, 54));
    for (std::string word; words >> word && word.size() == 2;) {
      bytes.push_back(static_cast<uint8_t>(std::stoul(word, nullptr, 16)));
    }
  }
  return bytes;
}

TEST(Flash, TheExampleOfTheFormatIsWhatIsWrittenAndWhatIsReadBack) {
  const std::vector<uint8_t> example = example_of_the_format();
  ASSERT_GT(example.size(), 100u);
  ModelFlash model(1024, 8, 4);
  DeviceWorld world(4'096, [](lam_config* config) { config->series_max = 1; });
  world.port.random = [](void*) { return uint64_t{0x1122334455667788}; };
  world.start(world.memory.size() * 8);
  lam_series ref = 0;
  ASSERT_EQ(lam_declare(world.device, &kFlashSeries[0], &ref), LAM_OK);
  std::vector<uint64_t> memory(lam_flash_memory(&world.config, &model.port, nullptr) / 8 + 1);
  lam_flash* flash = nullptr;
  lam_flash_report report;
  ASSERT_EQ(lam_flash_start(memory.data(), memory.size() * 8, world.device, &model.port, nullptr, &flash, &report),
            LAM_OK);
  ASSERT_EQ(lam_append_at(world.device, ref, 1'700'000'005'000, 41), LAM_OK);
  ASSERT_EQ(lam_append_at(world.device, ref, 1'700'000'006'000, 42), LAM_OK);
  ASSERT_EQ(lam_flash_save(flash), LAM_OK);
  ASSERT_LT(example.size(), model.bytes.size());
  EXPECT_EQ(std::vector<uint8_t>(model.bytes.begin(), model.bytes.begin() + static_cast<long>(example.size())),
            example);

  // And the other way round: what the page says is taken by a device of this day.
  ModelFlash of_the_page(1024, 8, 4);
  std::copy(example.begin(), example.end(), of_the_page.bytes.begin());
  world.port.random = [](void*) { return uint64_t{77}; };
  world.start(world.memory.size() * 8);
  ASSERT_EQ(lam_declare(world.device, &kFlashSeries[0], &ref), LAM_OK);
  ASSERT_EQ(
      lam_flash_start(memory.data(), memory.size() * 8, world.device, &of_the_page.port, nullptr, &flash, &report),
      LAM_OK);
  EXPECT_EQ(report.found, LAM_FLASH_RESTORED);
  EXPECT_EQ(report.points_waiting, 2u);
  lam_point point;
  ASSERT_EQ(lam_last(world.device, ref, &point), LAM_OK);
  EXPECT_EQ(point.value, 42);
  EXPECT_EQ(point.time_ms, 1'700'000'006'000);
  EXPECT_EQ(point.ordinal, 1u);
}

TEST(Flash, TakesNoGeometryThatItCannotServe) {
  ModelFlash model(1024, 8, 4);
  lam_config config{};
  config.site = "plant-1";
  config.device = "press-7";
  config.series_max = 2;
  const lam_flash_config two{2, 0};
  EXPECT_GT(lam_flash_memory(&config, &model.port, &two), 0u);
  EXPECT_GT(lam_flash_memory(&config, &model.port, nullptr), 0u);
  for (const uint32_t banks : {1u, 9u, 17u}) {
    const lam_flash_config bad{banks, 0};
    EXPECT_EQ(lam_flash_memory(&config, &model.port, &bad), 0u) << banks;
  }
  const auto with = [&](const std::function<void(lam_flash_port*)>& change) {
    lam_flash_port port = model.port;
    change(&port);
    return lam_flash_memory(&config, &port, nullptr);
  };
  EXPECT_EQ(with([](lam_flash_port* port) { port->write_bytes = 3; }), 0u);
  EXPECT_EQ(with([](lam_flash_port* port) { port->write_bytes = 64; }), 0u);
  EXPECT_EQ(with([](lam_flash_port* port) { port->page_bytes = 1000; }), 0u);
  EXPECT_EQ(with([](lam_flash_port* port) { port->pages = 1; }), 0u);
  EXPECT_EQ(with([](lam_flash_port* port) { port->read = nullptr; }), 0u);
}

}  // namespace
}  // namespace lambda::test
