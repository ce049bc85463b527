#include "query/overlay.h"

#include <gtest/gtest.h>

#include "query/memory_source.h"

namespace lambda::query {
namespace {

Labels labels_of(const std::string& name, const std::string& instance = "press-7") {
  return {{"__name__", name}, {"instance", instance}};
}

// What a live lane might hold.
class FakeFresh final : public FreshSource {
 public:
  Result<std::vector<FreshSeries>> fresh(const MatcherSet& wanted, int64_t from_ms, int64_t to_ms, uint64_t,
                                         std::vector<std::string>& warnings) override {
    if (!refuse.empty()) {
      return fail(ErrorCode::kFull, refuse);
    }
    if (!warn.empty()) {
      warnings.push_back(warn);
    }
    std::vector<FreshSeries> out;
    for (const FreshSeries& one : series) {
      if (!wanted.matches(one.labels)) {
        continue;
      }
      out.push_back({one.labels, {}});
      for (const FreshPoint& point : one.points) {
        if (point.sample.time_ms >= from_ms && point.sample.time_ms <= to_ms) {
          out.back().points.push_back(point);
        }
      }
    }
    return out;
  }
  std::vector<FreshSeries> series;
  std::string refuse, warn;
};

FreshPoint point_at(int64_t time_ms, double value, uint64_t ordinal = 0) {
  return {1, 1, 0, ordinal, {time_ms, value}};
}

struct World {
  MemorySource stored;
  FakeFresh fresh;
  Overlay overlay{stored, fresh};

  Selection select(const std::vector<Matcher>& matchers = {}) {
    auto selection = overlay.select(matchers, 0, 1000, 100);
    EXPECT_TRUE(selection.has_value());
    return selection ? std::move(*selection) : Selection();
  }
};

std::string shown(const SelectedSeries& series) {
  std::string out;
  const auto samples = series.cursor->read(1000);
  EXPECT_TRUE(samples.has_value());
  for (const Sample& sample : *samples) {
    out += std::to_string(sample.time_ms) + "=" + std::to_string(static_cast<int>(sample.value)) + " ";
  }
  return out;
}

TEST(Overlay, WhatIsStoredAndWhatHasJustComeAreOneSeries) {
  World world;
  world.stored.add(labels_of("a"), {{10, 1}, {20, 2}});
  world.fresh.series = {{labels_of("a"), {point_at(20, 2), point_at(30, 3), point_at(30, 3), point_at(5, 0)}}};
  const Selection selection = world.select();
  ASSERT_EQ(selection.series.size(), 1u);
  EXPECT_EQ(shown(selection.series[0]), "5=0 10=1 20=2 30=3 ");
  EXPECT_TRUE(selection.warnings.empty());
}

TEST(Overlay, ASeriesThatOnlyOneSideHasIsThereAndTheOrderIsKept) {
  World world;
  world.stored.add(labels_of("b"), {{10, 1}});
  world.fresh.series = {{labels_of("c"), {point_at(10, 3)}},
                        {labels_of("a"), {point_at(10, 2)}},
                        {labels_of("b", "press-8"), {point_at(10, 4)}},
                        {labels_of("d"), {}}};
  const Selection selection = world.select();
  ASSERT_EQ(selection.series.size(), 4u);
  EXPECT_EQ(selection.series[0].labels, labels_of("a"));
  EXPECT_EQ(selection.series[1].labels, labels_of("b"));
  EXPECT_EQ(selection.series[2].labels, labels_of("b", "press-8"));
  EXPECT_EQ(selection.series[3].labels, labels_of("c"));
  EXPECT_EQ(shown(selection.series[2]), "10=4 ");
  EXPECT_EQ(world.select({{"__name__", MatchOp::kEqual, "c"}}).series.size(), 1u);
}

TEST(Overlay, OfOneTimeTheStoredPointWinsAndWithoutOneTheLaterInTheList) {
  World world;
  world.stored.add(labels_of("a"), {{10, 1}});
  world.fresh.series = {{labels_of("a"), {point_at(10, 7, 1), point_at(20, 5, 2), point_at(20, 6, 3)}}};
  EXPECT_EQ(shown(world.select().series[0]), "10=1 20=6 ");
}

TEST(Overlay, WhenTheFreshSourceCannotAnswerTheStoredPointsAreGivenWithAWarning) {
  World world;
  world.stored.add(labels_of("a"), {{10, 1}});
  world.stored.warn("a block is damaged");
  world.fresh.series = {{labels_of("a"), {point_at(20, 2)}}};
  world.fresh.warn = "live points were dropped";
  Selection selection = world.select();
  EXPECT_EQ(selection.warnings, (std::vector<std::string>{"a block is damaged", "live points were dropped"}));
  world.fresh.refuse = "too many live points";
  selection = world.select();
  ASSERT_EQ(selection.series.size(), 1u);
  EXPECT_EQ(shown(selection.series[0]), "10=1 ");
  ASSERT_EQ(selection.warnings.size(), 2u);
  EXPECT_EQ(selection.warnings[1], "points that are not stored yet are left out: too many live points");
}

TEST(Overlay, BoundsCountBothSides) {
  World world;
  world.stored.add(labels_of("a"), {{10, 1}});
  world.fresh.series = {{labels_of("b"), {point_at(10, 1)}}, {labels_of("a"), {point_at(20, 1)}}};
  const auto narrow = world.overlay.select({}, 0, 1000, 1);
  ASSERT_FALSE(narrow.has_value());
  EXPECT_EQ(narrow.error().code, ErrorCode::kFull);
  const Selection selection = world.select();
  ASSERT_EQ(selection.series.size(), 2u);
  EXPECT_TRUE(selection.series[0].cursor->read(2).has_value());
  const auto cut = world.select().series[0].cursor->read(1);
  ASSERT_FALSE(cut.has_value());
  EXPECT_EQ(cut.error().code, ErrorCode::kFull);
}

// A source that knows identities is left to tell points apart.
TEST(Overlay, ACursorThatKnowsIdentitiesGetsThePoints) {
  class Knowing : public SeriesSource {
   public:
    class Cursor : public SeriesCursor {
     public:
      explicit Cursor(size_t* given) : given_(given) {}
      bool add(std::vector<FreshPoint>& fresh) override {
        *given_ = fresh.size();
        return true;
      }
      Result<std::vector<Sample>> read(uint64_t) override { return std::vector<Sample>{{1, 42}}; }

     private:
      size_t* given_;
    };
    Result<Selection> select(const std::vector<Matcher>&, int64_t, int64_t, uint64_t) override {
      Selection selection;
      selection.series.push_back({labels_of("a"), std::make_unique<Cursor>(&given)});
      return selection;
    }
    size_t given = 0;
  } knowing;
  FakeFresh fresh;
  fresh.series = {{labels_of("a"), {point_at(20, 2), point_at(30, 2)}}};
  Overlay overlay(knowing, fresh);
  const auto selection = overlay.select({}, 0, 1000, 10);
  ASSERT_TRUE(selection.has_value());
  EXPECT_EQ(shown(selection->series[0]), "1=42 ");
  EXPECT_EQ(knowing.given, 2u);
}

}  // namespace
}  // namespace lambda::query
