// Quantiles of StatsD timers by histogram_quantile(), over the series as they are really called (decision 0008).
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>
#include <random>

#include "agent/memory/memory.h"
#include "agent/source/statsd_source.h"
#include "agent/source/test_world.h"
#include "gateway/store/test_world.h"
#include "query/test_support.h"

namespace lambda {
namespace {

using agent::SeriesRef;
using agent::SeriesSpec;

constexpr int64_t kStartMs = 1'700'000'000'000;
constexpr int64_t kIntervalMs = 10'000;
constexpr double kBucketRatio = 1.0905077326652577;  // 2^(1/8): the finest buckets

class NoLog final : public Log {
 public:
  void write(LogLevel, std::string_view, Fields) override {}
};

// What a source makes goes into an agent's memory, each point with the next ordinal of its series.
class Agent final : public agent::Sink {
 public:
  Agent() { memory.set_table(table); }
  Result<SeriesRef> series(const SeriesSpec& spec) override {
    const uint32_t before = table->size();
    auto ref = table->find_or_add(spec);
    if (ref && *ref >= before) memory.add_series(*table, *ref);
    return ref;
  }
  void append(SeriesRef ref, uint64_t bits) override {
    ASSERT_TRUE(memory.append(ref, table->at(ref).next_ordinal++, {now_ms, bits}, 0));
  }

  int64_t now_ms = kStartMs;
  std::shared_ptr<agent::SeriesTable> table = std::make_shared<agent::SeriesTable>();
  agent::Memory memory{{.bytes_max = 8u << 20, .series_max = 2'000, .device = "press-7", .site = "hall"}, 11};
};

// Everything in the agent's memory, sealed and stored at a gateway in one parcel.
void hand_over(Agent& agent, gateway::TestWorld& world) {
  agent.memory.store().seal_all();
  std::vector<gateway::TestBlock> blocks;
  std::vector<uint32_t> refs;
  std::vector<uint8_t> bytes(1u << 14);
  SealedBlock sealed;
  for (bool more = agent.memory.store().first(BlockState::kLoose, &sealed); more;
       more = agent.memory.store().next(BlockState::kLoose, sealed.id, &sealed)) {
    const size_t length = agent.memory.store().copy(sealed.id, bytes);
    gateway::TestBlock block{sealed.info.ref, sealed.info.first_ordinal, {}, 0, sealed.info.type, sealed.info.scale};
    block.points.resize(sealed.info.count);
    BlockInfo info;
    ASSERT_TRUE(decode_block(std::span(bytes).first(length), 11, &info, block.points).ok());
    if (std::ranges::find(refs, block.ref) == refs.end()) refs.push_back(block.ref);
    blocks.push_back(std::move(block));
  }
  gateway::TestDevice device{.name = "press-7", .boot = 11};
  gateway::StoreRequest request = device.parcel(blocks, refs);
  std::vector<LabelView> labels;
  for (gateway::Declared& declared : request.declarations) {
    const DeclarationView view = agent.table->declaration(declared.ref, labels);
    declared.name = view.name;
    for (const LabelView& label : labels) declared.labels.emplace_back(label.name, label.value);
    declared.kind = view.kind;
    declared.type = view.type;
  }
  ASSERT_EQ(world.put(std::move(request)).verdict, gateway::Verdict::kStored);
}

double only_value(query::SeriesSource& source, const std::string& expression, int64_t time_ms) {
  const auto result = query::evaluate(source, expression, query::at(time_ms));
  EXPECT_TRUE(result.has_value()) << expression << ": " << query::text_of(result);
  EXPECT_EQ(result->series.size(), 1u) << expression;
  EXPECT_TRUE(result->warnings.empty()) << expression;
  return result->series.empty() ? std::nan("") : result->series[0].samples[0].value;
}

double true_quantile(std::vector<double> values, double q) {
  std::ranges::sort(values);
  return values[static_cast<size_t>(std::ceil(q * static_cast<double>(values.size()))) - 1];
}

TEST(Ends, TimersHaveTheirQuantilesOverAllTagsAndOfEachAtAgentAndGateway) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  std::lognormal_distribution<double> fast(3, 0.8), slow(5, 0.5);
  agent::SetClock clock;
  NoLog log;
  auto statsd = std::make_shared<agent::Statsd>(agent::StatsdOptions{}, clock, log, seed);
  agent::StatsdSource source(statsd);
  Agent agent;
  std::vector<double> all, of_b;
  for (int interval = 0; interval < 30; ++interval) {
    for (int i = 0; i < 200; ++i) {
      const bool b = i % 2 == 0;
      char line[96];
      const double value = b ? slow(random) : fast(random);
      std::snprintf(line, sizeof line, "request.time:%.17g|ms|#route:%s", value, b ? "b" : "a");
      const std::string_view packet = line;
      statsd->take({&packet, 1});
      all.push_back(value);
      if (b) of_b.push_back(value);
    }
    clock.now_us += kIntervalMs * 1000;
    agent.now_ms += kIntervalMs;
    ASSERT_TRUE(source.collect(agent, agent.now_ms).has_value());
  }
  gateway::TestWorld world;
  world.open();
  hand_over(agent, world);
  for (const double q : {0.1, 0.5, 0.9, 0.99}) {
    const std::string quantile = "histogram_quantile(" + query::format_number(q) + ", ";
    const std::vector<std::pair<std::string, double>> questions = {
        {quantile + "sum by (le) (request_time_bucket))", true_quantile(all, q)},
        {quantile + "request_time_bucket{route=\"b\"})", true_quantile(of_b, q)},
        {quantile + "sum by (le, instance) (request_time_bucket{site=\"hall\"}))", true_quantile(all, q)},
    };
    for (const auto& [expression, wanted] : questions) {
      SCOPED_TRACE(expression);
      const double at_agent = only_value(agent.memory, expression, agent.now_ms);
      const double at_gateway = only_value(*world.store, expression, agent.now_ms);
      EXPECT_EQ(at_agent, at_gateway);
      EXPECT_LE(at_agent / wanted, kBucketRatio);
      EXPECT_GE(at_agent / wanted, 1 / kBucketRatio);
    }
    // Over a window: what both ends say is the same, and lies among what was measured.
    const std::string rated = quantile + "sum by (le) (rate(request_time_bucket[2m])))";
    const double at_agent = only_value(agent.memory, rated, agent.now_ms);
    EXPECT_EQ(at_agent, only_value(*world.store, rated, agent.now_ms));
    EXPECT_GE(at_agent, *std::ranges::min_element(all) / kBucketRatio);
    EXPECT_LE(at_agent, *std::ranges::max_element(all) * kBucketRatio);
  }
}

}  // namespace
}  // namespace lambda
