#include "agent/scrape/target_series.h"

#include <gtest/gtest.h>

#include <bit>
#include <set>

#include "agent/source/test_world.h"
#include "query/series_source.h"

namespace lambda::agent {
namespace {

constexpr int64_t kStart = 1'700'000'000'000;

struct TargetSeriesTest : ::testing::Test {
  TargetSeriesTest() {
    options.name = "app";
    options.series_max = 100;
  }
  TargetSeries& target() {
    if (!made) {
      made.emplace(options, *scrape_labels(options), ScrapeLimits{}, 1, [this](const SeriesSpec& spec, bool* fresh) {
        const size_t before = sink.specs.size();
        if (others.contains(spec.name)) return Result<SeriesRef>(fail(ErrorCode::kDenied, spec.name + " is another's"));
        auto ref = sink.series(spec);
        *fresh = sink.specs.size() > before;
        return ref;
      });
    }
    return *made;
  }
  // One scrape of a page in text; what it made, "key@seconds=value".
  std::set<std::string> scrape(const std::string& page, int64_t after_s, uint32_t segment = 0) {
    target().begin(kStart + after_s * 1000, segment);
    ExpositionReader reader(page, ExpositionFormat::kText);
    for (auto item = reader.next(); item && *item == ExpositionReader::Item::kSample; item = reader.next()) {
      target().take(reader.sample(), Kind::kGauge, "");
    }
    target().end();
    return made_points();
  }
  std::set<std::string> made_points() {
    std::set<std::string> out;
    for (const Row& row : target().rows()) {
      EXPECT_FALSE(row.points.empty());
      for (size_t i = 0; i < row.points.size(); ++i) {
        EXPECT_TRUE(i == 0 || row.points[i - 1].ref < row.points[i].ref) << "refs ascend, each once";
        const double value = std::bit_cast<double>(row.points[i].bits);
        std::string text = MemorySink::key_of(sink.specs[row.points[i].ref]) + "@" +
                           std::to_string((row.time_ms - kStart) / 1000) + "=";
        text += query::is_stale(value) ? "stale" : std::to_string(static_cast<int>(value));
        out.insert(text);
      }
    }
    return out;
  }
  using Set = std::set<std::string>;

  ScrapeOptions options;
  MemorySink sink;
  std::set<std::string> others;  // names that another source makes
  std::optional<TargetSeries> made;
};

TEST_F(TargetSeriesTest, SamplesBecomePointsOfTheScrapesMoment) {
  EXPECT_EQ(scrape("a 1\nb{x=\"1\"} 2\n", 10), (Set{"a{job=\"app\"}@10=1", "b{job=\"app\",x=\"1\"}@10=2"}));
  EXPECT_EQ(target().tally().series_added, 2u);
  EXPECT_EQ(scrape("a 3\nb{x=\"1\"} 4\n", 20), (Set{"a{job=\"app\"}@20=3", "b{job=\"app\",x=\"1\"}@20=4"}));
  EXPECT_EQ(target().tally().series_added, 0u);
  EXPECT_EQ(sink.asked, 2u) << "a series that is known is not asked for again";
}

TEST_F(TargetSeriesTest, ASeriesThatIsGoneIsEndedOnceAndMayComeBack) {
  scrape("a 1\nb 2\n", 10);
  EXPECT_EQ(scrape("a 1\n", 20), (Set{"a{job=\"app\"}@20=1", "b{job=\"app\"}@20=stale"}));
  EXPECT_EQ(scrape("a 1\n", 30), (Set{"a{job=\"app\"}@30=1"}));
  EXPECT_EQ(scrape("a 1\nb 3\n", 40), (Set{"a{job=\"app\"}@40=1", "b{job=\"app\"}@40=3"}));
}

TEST_F(TargetSeriesTest, ATargetThatDoesNotAnswerHasEnded) {
  scrape("a 1\nb 2\n", 10);
  target().begin(kStart + 20'000, 0);
  target().fail();
  target().report("up", 0);
  EXPECT_EQ(made_points(), (Set{"a{job=\"app\"}@20=stale", "b{job=\"app\"}@20=stale", "up{job=\"app\"}@20=0"}));
  target().begin(kStart + 30'000, 0);
  target().fail();
  target().report("up", 0);
  EXPECT_EQ(made_points(), (Set{"up{job=\"app\"}@30=0"}));
}

TEST_F(TargetSeriesTest, TimesOfThePageCountAndAreNotEnded) {
  const std::string at = std::to_string(kStart + 5'000);
  EXPECT_EQ(scrape("a 1 " + at + "\nb 2\n", 10), (Set{"a{job=\"app\"}@5=1", "b{job=\"app\"}@10=2"}));
  // The same again is no second point, and it goes away without an end.
  EXPECT_EQ(scrape("a 1 " + at + "\n", 20), (Set{"b{job=\"app\"}@20=stale"}));
  EXPECT_EQ(target().tally().samples_twice, 0u);
  EXPECT_EQ(scrape("", 30), Set());
}

TEST_F(TargetSeriesTest, TimesThatCannotBeAreCounted) {
  const auto line = [](const char* name, int64_t after_s) {
    return std::string(name) + " 1 " + std::to_string(kStart + after_s * 1000) + "\n";
  };
  EXPECT_EQ(scrape(line("a", 10) + line("b", -4'000) + line("c", 700) + line("d", -3'500), 10),
            (Set{"a{job=\"app\"}@10=1", "d{job=\"app\"}@-3500=1"}));
  EXPECT_EQ(target().tally().samples_out_of_bounds, 2u);
  EXPECT_EQ(scrape(line("a", 9), 20), Set());
  EXPECT_EQ(target().tally().samples_out_of_bounds, 1u) << "before what the series has";
  options.honor_timestamps = false;
  EXPECT_EQ(scrape(line("a", 9), 30), (Set{"a{job=\"app\"}@30=1"}));
}

TEST_F(TargetSeriesTest, SeveralTimesOfOneSeriesOnAPageAreSeveralPoints) {
  const auto line = [](int value, int64_t after_s) {
    return "a " + std::to_string(value) + " " + std::to_string(kStart + after_s * 1000) + "\n";
  };
  EXPECT_EQ(scrape(line(1, 1) + line(2, 2) + line(9, 2) + line(3, 3), 10),
            (Set{"a{job=\"app\"}@1=1", "a{job=\"app\"}@2=2", "a{job=\"app\"}@3=3"}));
  EXPECT_EQ(target().tally().samples_twice, 1u);
}

TEST_F(TargetSeriesTest, ASeriesThatIsWrittenTwiceCountsOnce) {
  EXPECT_EQ(scrape("a 1\na 2\n", 10), (Set{"a{job=\"app\"}@10=1"}));
  EXPECT_EQ(target().tally().samples_twice, 1u);
  // In another spelling: the second one is refused; when one spelling goes, the series goes on.
  EXPECT_EQ(scrape("b{x=\"1\",y=\"2\"} 1\nb{y=\"2\",x=\"1\"} 2\n", 20),
            (Set{"a{job=\"app\"}@20=stale", "b{job=\"app\",x=\"1\",y=\"2\"}@20=1"}));
  EXPECT_EQ(scrape("b{y=\"2\",x=\"1\"} 3\n", 30), (Set{"b{job=\"app\",x=\"1\",y=\"2\"}@30=3"}));
}

TEST_F(TargetSeriesTest, LabelsOfTheTargetStandAndThoseOfTheSampleAreKept) {
  options.labels = {"room=hall"};
  EXPECT_EQ(scrape("a{job=\"x\",instance=\"y\",site=\"z\",room=\"w\",exported_job=\"v\"} 1\n", 10),
            (Set{"a{exported_exported_job=\"x\",exported_instance=\"y\",exported_job=\"v\",exported_room=\"w\","
                 "exported_site=\"z\",job=\"app\",room=\"hall\"}@10=1"}));
  options.honor_labels = true;
  EXPECT_EQ(scrape("b{job=\"x\",instance=\"y\",room=\"\"} 1\n", 20)
                .count("b{exported_instance=\"y\",job=\"x\",room=\"hall\"}@20=1"),
            1u);
}

TEST_F(TargetSeriesTest, OverItsBoundOfSeriesTheKnownOnesGoOn) {
  options.series_max = 2;
  EXPECT_EQ(scrape("a 1\nb 1\nc 1\n", 10).size(), 2u);
  EXPECT_EQ(target().tally().series_refused, 1u);
  EXPECT_EQ(target().refused(), "over series_max = 2");
  EXPECT_EQ(scrape("c 2\na 2\n", 20), (Set{"a{job=\"app\"}@20=2", "b{job=\"app\"}@20=stale"}));
  // Another set of names each time does not make room.
  EXPECT_EQ(scrape("d 1\ne 1\n", 30), (Set{"a{job=\"app\"}@30=stale"}));
  EXPECT_EQ(sink.specs.size(), 2u);
  EXPECT_EQ(scrape("a 4\nb 4\n", 40), (Set{"a{job=\"app\"}@40=4", "b{job=\"app\"}@40=4"})) << "those it has come back";
}

TEST_F(TargetSeriesTest, SeriesThatEndedMakeRoomWhenTheyAreForgotten) {
  options.series_max = 2;
  EXPECT_EQ(scrape("a 1\nb 1\n", 10).size(), 2u);
  EXPECT_EQ(scrape("b 2\n", 20).size(), 2u);
  std::set<SeriesRef> in_use;
  target().each_in_use([&](SeriesRef ref) { in_use.insert(ref); });
  EXPECT_EQ(in_use, (std::set<SeriesRef>{1})) << "b, which is on the page";
  const Places places = target().places([](SeriesRef ref) { return ref == 0; });
  EXPECT_EQ(places.taken, 2u);
  EXPECT_EQ(places.ended, 1u);
  EXPECT_TRUE(places.worth_clearing());
  target().forget({true, false});
  EXPECT_EQ(scrape("b 3\nc 1\na 1\n", 30), (Set{"b{job=\"app\"}@30=3", "c{job=\"app\"}@30=1"})) << "one place was free";
}

TEST_F(TargetSeriesTest, EverNewSpellingsAreForgotten) {
  options.series_max = options.sample_max = 1;
  const auto spelt = [](int i) { return "a{x=\"1\"" + std::string(static_cast<size_t>(i), ' ') + "} 1\n"; };
  for (int i = 1; i <= 50; ++i) {
    EXPECT_EQ(scrape(spelt(i), i * 10).size(), 1u) << i;
    EXPECT_LE(target().texts(), 4u);
  }
  EXPECT_EQ(sink.specs.size(), 1u);
}

TEST_F(TargetSeriesTest, ASeriesOfAnotherSourceIsLeftToIt) {
  others.insert("a");
  EXPECT_EQ(scrape("a 1\nb 1\n", 10), (Set{"b{job=\"app\"}@10=1"}));
  EXPECT_EQ(target().refused(), "a is another's");
  EXPECT_EQ(scrape("b 1\n", 20), (Set{"b{job=\"app\"}@20=1"})) << "nor is it ended for it";
}

TEST_F(TargetSeriesTest, AfterTheClockWasSetBackSeriesGoOn) {
  scrape("a 1\n", 1000);
  EXPECT_EQ(scrape("a 2\n", 500, 1), (Set{"a{job=\"app\"}@500=2"}));
  EXPECT_EQ(target().tally().samples_out_of_bounds, 0u);
}

TEST_F(TargetSeriesTest, LabelsThatCannotBeAreRefused) {
  for (const char* label : {"room", "=x", "room=", "1room=x", "ro-om=x", "__room=x", "job=x", "instance=x", "site=x"}) {
    options.labels = {label};
    EXPECT_EQ(scrape_labels(options).error().code, ErrorCode::kInvalid) << label;
  }
  options.labels = {"a=1", "a=2"};
  EXPECT_FALSE(scrape_labels(options));
  options.labels = {"a=1=2"};
  EXPECT_EQ((*scrape_labels(options))[1].second, "1=2");
}

}  // namespace
}  // namespace lambda::agent
