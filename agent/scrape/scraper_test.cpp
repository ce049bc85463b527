#include "agent/scrape/scraper.h"

#include <gtest/gtest.h>

#include <bit>
#include <map>

#include "agent/source/test_world.h"
#include "agent/spool/test_world.h"
#include "query/series_source.h"

namespace lambda::agent {
namespace {

using test::World;

// Answers when the test says so.
struct HeldFetches {
  struct Fetch {
    HttpFetch what;
    HttpFetcher::Done done;
  };
  std::vector<Fetch> waiting;
};
class HoldingFetcher final : public HttpFetcher {
 public:
  explicit HoldingFetcher(HeldFetches& held) : held_(held) {}
  ~HoldingFetcher() override { held_.waiting.clear(); }
  void get(HttpFetch fetch, Done done) override { held_.waiting.push_back({std::move(fetch), std::move(done)}); }

 private:
  HeldFetches& held_;
};

struct ScraperTest : ::testing::Test {
  ScraperTest() { options.name = "app", options.url = "http://127.0.0.1:9100/metrics"; }
  ~ScraperTest() override { scraper.reset(); }
  void start(std::vector<ScrapeOptions> targets) {
    Scraper::Ports ports{[this](const SeriesSpec& spec, SeriesOwner owner, bool* fresh) {
                           owners.insert(owner);
                           const size_t before = sink.specs.size();
                           auto ref = sink.series(spec);
                           *fresh = sink.specs.size() > before;
                           return ref;
                         },
                         [this](const Row& row, std::function<void()> done) {
                           rows_out_most = std::max(rows_out_most, ++rows_out);
                           const auto decided = [this, done = std::move(done)] {
                             rows_out--;
                             done();
                           };
                           if (slow_journal) {
                             world.loop.after(5'000, decided);
                           } else {
                             world.loop.post(decided);
                           }
                           rows++;
                           last_row_ms = row.time_ms;
                           for (const RowPoint& point : row.points) {
                             last[MemorySink::key_of(sink.specs[point.ref])] = std::bit_cast<double>(point.bits);
                           }
                         },
                         [this] { return world.clock.utc_ms(); }, [] { return 0u; },
                         [this](const ScrapedFacts& facts) {
                           facts_seen[std::string(facts.metric)] =
                               std::string(facts.type) + "|" + std::string(facts.unit) + "|" + std::string(facts.help);
                         }};
    auto made = Scraper::make(world.env, std::move(targets), {}, std::make_unique<HoldingFetcher>(held), ports);
    ASSERT_TRUE(made) << made.error().text;
    scraper = std::move(*made);
    scraper->start();
  }
  // Answers the oldest fetch and lets the page be read.
  void answer(Result<HttpPage> page) {
    ASSERT_FALSE(held.waiting.empty());
    auto fetch = std::move(held.waiting.front());
    held.waiting.erase(held.waiting.begin());
    fetch.done(std::move(page));
    world.loop.run_for(1);
  }
  void answer(const std::string& body, const char* type = "text/plain; version=0.0.4") {
    answer(HttpPage{200, type, body});
  }
  // Until the next scrape asks.
  void next() {
    for (int i = 0; i < 200 && held.waiting.empty(); ++i) world.loop.run_for(100);
    ASSERT_EQ(held.waiting.size(), 1u);
  }
  double value(const std::string& key) {
    const auto found = last.find(key);
    return found == last.end() ? -1 : found->second;
  }

  World world{7};
  ScrapeOptions options;
  HeldFetches held;
  MemorySink sink;
  std::set<SeriesOwner> owners;  // that asked for series
  std::map<std::string, double> last;
  std::map<std::string, std::string> facts_seen;
  int64_t last_row_ms = 0;
  uint64_t rows = 0, rows_out = 0, rows_out_most = 0;
  bool slow_journal = false;
  std::unique_ptr<Scraper> scraper;
};

TEST_F(ScraperTest, AGoodPageBecomesOneRowOfItsMomentWithWhatIsSaidOfTheTarget) {
  options.token = "secret";
  options.timeout_ms = 3'000;
  start({options});
  next();
  const int64_t asked_ms = world.clock.utc_ms();
  EXPECT_EQ(held.waiting[0].what.url, options.url);
  EXPECT_EQ(held.waiting[0].what.token, "secret");
  EXPECT_EQ(held.waiting[0].what.timeout_ms, 3'000);
  EXPECT_NE(held.waiting[0].what.headers[0].second.find("openmetrics"), std::string::npos);
  world.loop.run_for(250);
  answer("# TYPE a counter\n# HELP a what it is\na 1\nb 2\n");
  EXPECT_EQ(rows, 1u);
  EXPECT_GE(asked_ms - last_row_ms, 0);
  EXPECT_LE(asked_ms - last_row_ms, 100) << "the moment at which it was due, not that of the answer";
  EXPECT_EQ(value("a{job=\"app\"}"), 1);
  EXPECT_EQ(value("b{job=\"app\"}"), 2);
  EXPECT_EQ(value("up{job=\"app\"}"), 1);
  EXPECT_EQ(value("scrape_samples_scraped{job=\"app\"}"), 2);
  EXPECT_EQ(value("scrape_series_added{job=\"app\"}"), 2);
  EXPECT_GE(value("scrape_duration_seconds{job=\"app\"}"), 0.25);
  EXPECT_LE(value("scrape_duration_seconds{job=\"app\"}"), 0.36) << "the world here looks each 100 ms";
  EXPECT_EQ(sink.spec("a{job=\"app\"}")->kind, Kind::kCounter);
  EXPECT_EQ(facts_seen["a"], "counter||what it is");
  ASSERT_EQ(scraper->states().size(), 1u);
  EXPECT_TRUE(scraper->states()[0].up);
}

TEST_F(ScraperTest, MomentsAreOneIntervalApart) {
  start({options});
  next();
  answer("a 1\n");
  const int64_t first = last_row_ms;
  next();
  answer("a 2\n");
  EXPECT_EQ(last_row_ms - first, options.interval_ms);
}

TEST_F(ScraperTest, WhateverIsWrongWithAPageTheTargetIsDownAndItsSeriesEnd) {
  options.sample_max = 3;
  start({options});
  const struct {
    Result<HttpPage> page;
    uint64_t ScrapeCounters::*counter;
    const char* error;
  } cases[] = {
      {fail(ErrorCode::kUnavailable, "cannot connect: Connection refused"), &ScrapeCounters::unreachable,
       "cannot connect: Connection refused"},
      {fail(ErrorCode::kFull, "the answer is longer than 100 bytes"), &ScrapeCounters::too_long,
       "the answer is longer than 100 bytes"},
      {HttpPage{503, "text/plain", "a 1\n"}, &ScrapeCounters::bad_status, "the answer has status 503"},
      {HttpPage{200, "text/html", "<html>"}, &ScrapeCounters::malformed, nullptr},
      {HttpPage{200, "text/plain", "a 1\nb 2\nc"}, &ScrapeCounters::malformed,
       "line 3: the last line has no end: the text was cut"},
      {HttpPage{200, "text/plain", "a 1\nb 2\nc 3\nd 4\n"}, &ScrapeCounters::too_many_samples,
       "more than sample_max = 3 samples"},
  };
  for (const auto& [page, counter, error] : cases) {
    next();
    answer("a 1\n");
    EXPECT_EQ(value("up{job=\"app\"}"), 1);
    next();
    const uint64_t before = scraper->counters().*counter;
    answer(page);
    EXPECT_EQ(scraper->counters().*counter, before + 1);
    EXPECT_EQ(value("up{job=\"app\"}"), 0);
    EXPECT_TRUE(query::is_stale(value("a{job=\"app\"}")));
    EXPECT_EQ(last.count("b{job=\"app\"}"), 0u) << "nothing of half a page";
    EXPECT_EQ(value("scrape_samples_scraped{job=\"app\"}"), 0);
    if (error != nullptr) {
      EXPECT_EQ(scraper->states()[0].error, error);
    }
  }
  EXPECT_EQ(scraper->counters().failed(), std::size(cases));
  EXPECT_EQ(world.log.events["scrape_failed"], std::size(cases)) << "once for each time that it went down";
  EXPECT_EQ(world.log.events["scrape_works_again"], std::size(cases) - 1);
}

TEST_F(ScraperTest, ALargePageIsReadInSlicesBetweenWhichTheLoopGoesOn) {
  options.sample_max = options.series_max = 20'000;
  start({options});
  std::string body;
  for (int i = 0; i < 20'000; ++i) body += "metric_number{index=\"" + std::to_string(i) + "\"} 1\n";
  next();
  auto fetch = std::move(held.waiting.front());
  held.waiting.clear();
  const uint64_t steps = world.loop.steps;
  fetch.done(HttpPage{200, "text/plain", body});
  EXPECT_EQ(rows, 0u);
  world.loop.run_for(1);
  EXPECT_EQ(rows, 1u);
  EXPECT_GE(world.loop.steps - steps, body.size() / (128u << 10));
  EXPECT_EQ(value("scrape_samples_scraped{job=\"app\"}"), 20'000);
}

TEST_F(ScraperTest, EndsWhileAPageIsBeingRead) {
  options.sample_max = options.series_max = 20'000;
  start({options});
  std::string body;
  for (int i = 0; i < 20'000; ++i) body += "metric_number{index=\"" + std::to_string(i) + "\"} 1\n";
  next();
  auto fetch = std::move(held.waiting.front());
  held.waiting.clear();
  fetch.done(HttpPage{200, "text/plain", body});
  scraper.reset();
  world.loop.run_for(1'000);
  EXPECT_EQ(rows, 0u);
}

TEST_F(ScraperTest, ATargetThatHangsIsNotAskedTwiceAndTheOthersAreAsked) {
  ScrapeOptions other = options;
  other.name = "other";
  start({options, other});
  // One of the two never answers.
  std::optional<HttpFetcher::Done> hung;
  uint64_t answered = 0;
  for (int i = 0; i < 600; ++i) {
    world.loop.run_for(100);
    while (!held.waiting.empty()) {
      if (!hung) {
        hung = std::move(held.waiting.front().done);
        held.waiting.erase(held.waiting.begin());
      } else {
        answer("a 1\n");
        answered++;
      }
    }
  }
  EXPECT_GE(answered, 5u);
  EXPECT_LE(answered, 6u);
  EXPECT_GE(scraper->counters().missed, 4u);
}

TEST_F(ScraperTest, APageOfManyMomentsGoesToTheJournalAFewRowsAtATime) {
  slow_journal = true;
  start({options});
  next();
  std::string body;
  for (int i = 0; i < 100; ++i) {
    body += "a{index=\"" + std::to_string(i) + "\"} 1 " + std::to_string(world.clock.utc_ms() - 1'000 - i) + "\n";
  }
  answer(body);
  EXPECT_EQ(rows, kScrapeRowsOutMax);
  world.loop.run_for(20'000);
  EXPECT_TRUE(held.waiting.empty()) << "not asked again before the rows are decided";
  world.loop.run_for(20'000);
  EXPECT_EQ(rows, 101u);
  EXPECT_EQ(rows_out_most, kScrapeRowsOutMax);
  EXPECT_EQ(held.waiting.size(), 1u);
}

TEST_F(ScraperTest, OnlyWantedMetricsAreTakenAndCounted) {
  options.include = "^app_";
  options.exclude = "_internal$";
  options.sample_max = 2;
  start({options});
  next();
  answer("go_x 1\napp_a 1\napp_internal 1\napp_b{x=\"1\"} 2\ngo_y 3\n");
  EXPECT_EQ(last.count("go_x{job=\"app\"}"), 0u);
  EXPECT_EQ(last.count("app_internal{job=\"app\"}"), 0u);
  EXPECT_EQ(value("app_a{job=\"app\"}"), 1);
  EXPECT_EQ(value("app_b{job=\"app\",x=\"1\"}"), 2);
  EXPECT_EQ(value("scrape_samples_scraped{job=\"app\"}"), 5);
  EXPECT_EQ(value("scrape_samples_post_metric_relabeling{job=\"app\"}"), 2);
}

TEST_F(ScraperTest, OpenMetricsIsReadAsWhatItSaysItIs) {
  start({options});
  next();
  answer("# TYPE a_seconds counter\n# UNIT a_seconds seconds\n# HELP a_seconds Time.\na_seconds_total 1.5\n# EOF\n",
         "application/openmetrics-text; version=1.0.0; charset=utf-8");
  EXPECT_EQ(value("a_seconds_total{job=\"app\"}"), 1.5);
  const SeriesSpec* spec = sink.spec("a_seconds_total{job=\"app\"}");
  ASSERT_NE(spec, nullptr);
  EXPECT_EQ(spec->kind, Kind::kCounter);
  EXPECT_EQ(spec->unit, "seconds");
  EXPECT_EQ(facts_seen["a_seconds"], "counter|seconds|Time.");
}

TEST_F(ScraperTest, AClockThatIsSetBackDoesNotStopIt) {
  start({options});
  next();
  answer("a 1\n");
  world.clock.utc_offset_ms -= 3'600'000;
  const uint64_t before = scraper->counters().scrapes;
  for (int i = 0; i < 300; ++i) {
    world.loop.run_for(100);
    if (!held.waiting.empty()) answer("a 1\n");
  }
  EXPECT_GE(scraper->counters().scrapes, before + 2);
}

TEST_F(ScraperTest, WrongTargetsAreNamed) {
  options.include = "(";
  const auto refused = [&] {
    auto made = Scraper::make(world.env, {options}, {}, std::make_unique<HoldingFetcher>(held), {});
    return made ? std::string() : made.error().text;
  };
  EXPECT_NE(refused().find("scrape.app"), std::string::npos);
  options.include = "";
  options.labels = {"x"};
  EXPECT_EQ(refused(), "scrape.app.labels: \"x\" is not of the form name=value");
}

}  // namespace
}  // namespace lambda::agent
