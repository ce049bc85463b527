// When sources are asked, and what is said about it.
#include "agent/sampler.h"

#include <gtest/gtest.h>

#include "agent/source/metered_source.h"
#include "agent/spool/test_world.h"

namespace lambda::agent {
namespace {

// Each collection takes as long as `spends_ms` says.
class SlowSource final : public Source {
 public:
  SlowSource(test::FakeClock& clock, std::vector<int64_t>& asked, const int64_t& spends_ms)
      : clock_(clock), asked_(asked), spends_ms_(spends_ms) {}
  std::string_view name() const override { return "slow"; }
  int64_t interval_ms() const override { return 1'000; }
  Status collect(Sink&, int64_t time_ms) override {
    asked_.push_back(time_ms);
    clock_.now_us += spends_ms_ * 1'000;
    return {};
  }

 private:
  test::FakeClock& clock_;
  std::vector<int64_t>& asked_;
  const int64_t& spends_ms_;
};

TEST(Sampler, ASourceThatOverrunsIsAskedLessOftenAndThatIsSaidOnce) {
  test::World world(1);
  std::vector<int64_t> asked;
  int64_t spends_ms = 0;
  Sampler sampler(world.env, 500, {[](SeriesRef) {}, [](uint32_t) {}, [](Row) {}});
  sampler.set_table(std::make_shared<SeriesTable>(10));
  std::vector<std::unique_ptr<Source>> sources;
  sources.push_back(
      std::make_unique<MeteredSource>(std::make_unique<SlowSource>(world.clock, asked, spends_ms), world.clock));
  sampler.start(std::move(sources));
  world.loop.run_for(10'000);
  EXPECT_EQ(asked.size(), 10u);
  EXPECT_EQ(world.log.events["source_slowed"], 0u);
  spends_ms = 3'000;
  asked.clear();
  world.loop.run_for(64'000);
  EXPECT_GE(asked.size(), 8u);
  EXPECT_LE(asked.size(), 20u);  // each 4 s at the end, not each second
  EXPECT_GE(asked.back() - asked[asked.size() - 2], 4'000);
  EXPECT_EQ(world.log.events["source_slowed"], 1u);
  EXPECT_EQ(world.log.events["source_at_its_interval"], 0u);
  spends_ms = 1;
  world.loop.run_for(30'000);
  EXPECT_EQ(world.log.events["source_at_its_interval"], 1u);
  EXPECT_EQ(world.log.events["source_slowed"], 1u);
  EXPECT_EQ(asked.back() - asked[asked.size() - 2], 1'000);
}

// Appends to one series at each collection.
class OneSeries final : public Source {
 public:
  explicit OneSeries(SeriesOwner owner) : owner_(owner) {}
  std::string_view name() const override { return "one"; }
  int64_t interval_ms() const override { return 1'000; }
  SeriesOwner owner() const override { return owner_; }
  Status collect(Sink& sink, int64_t) override {
    const auto ref = sink.series({"queue_length", {}, Kind::kGauge, ValueType::kI64, 0, ""});
    if (ref) sink.append_i64(*ref, owner_);
    return {};
  }

 private:
  const SeriesOwner owner_;
};

TEST(Sampler, ASeriesThatAnotherMakesIsRefusedAndCountedAndSaid) {
  test::World world(2);
  std::vector<uint64_t> values;
  Sampler sampler(world.env, 500,
                  {[](SeriesRef) {}, [](uint32_t) {},
                   [&](const Row& row) {
                     for (const RowPoint& point : row.points) values.push_back(point.bits);
                   }});
  sampler.set_table(std::make_shared<SeriesTable>(10));
  std::vector<std::unique_ptr<Source>> sources;
  sources.push_back(std::make_unique<OneSeries>(kOwnerStatsd));
  sources.push_back(std::make_unique<OneSeries>(kOwnerCollectors));
  sampler.start(std::move(sources));
  world.loop.run_for(5'000);
  EXPECT_EQ(values, std::vector<uint64_t>(5, kOwnerStatsd));
  EXPECT_EQ(sampler.counters().series_of_others, 5u);
  bool fresh = true;
  const auto door =
      sampler.add_series({"queue_length", {}, Kind::kGauge, ValueType::kI64, 0, ""}, kOwnerDoors, true, &fresh);
  ASSERT_FALSE(door.has_value());
  EXPECT_EQ(door.error().code, ErrorCode::kDenied);
  EXPECT_NE(door.error().text.find("StatsD"), std::string::npos) << door.error().text;
  EXPECT_EQ(world.log.events["series_refused"], 1u) << "it is said once and counted";
}

}  // namespace
}  // namespace lambda::agent
