// Any bytes as a Live message: refused or read, never a crash. What is read stays within the bounds, is handed out
// once, and shows in a question; coming again it brings nothing.
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <set>
#include <tuple>

#include "gateway/live/fresh_points.h"
#include "gateway/live/live_message.h"
#include "gateway/store/test_world.h"

namespace {

using namespace lambda;           // NOLINT: a fuzz target is a program of its own
using namespace lambda::gateway;  // NOLINT

void expect(bool condition) {
  if (!condition) std::abort();
}

struct Once final : FreshConsumer {
  explicit Once(const FreshPoints& points) : fresh(points) {}
  void take(const FreshRun& run) override {
    expect(!run.points.empty() && run.series.device == "press-7");
    for (const FreshPoint& point : run.points) {
      const bool first = seen.insert({run.boot, run.ref, point.ordinal}).second;
      const FreshCounters& counters = fresh.counters();
      expect(first || counters.runs_forgotten > 0 || counters.streams_forgotten > 0);
    }
  }
  const FreshPoints& fresh;
  std::set<std::tuple<uint64_t, uint32_t, uint64_t>> seen;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 1u << 18) return 0;
  static TestWorld& world = *[] {
    auto* made = new TestWorld();  // never freed: it lives as long as the program
    made->open();
    return made;
  }();
  LiveMessage message;
  const Decoded decoded = decode_live(std::as_bytes(std::span(data, size)), &message);
  if (decoded.verdict != DecodeVerdict::kOk) {
    expect(!decoded.text.empty());
    return 0;
  }
  uint64_t points = 0;
  for (const LiveBlock& block : message.blocks) {
    expect(block.points.size() == block.info.count);
    points += block.info.count;
  }
  expect(message.boot != 0 && points <= kLivePointsMax);

  FreshOptions options;
  options.site = "hall";
  options.points_max = 1'000;
  options.streams_max = 32;
  options.runs_max = 8;
  FreshPoints fresh(world.env, options, *world.store);
  Once once(fresh);
  expect(fresh.add({{{"__name__", query::MatchOp::kRegex, ".*"}}}, once).has_value());
  fresh.live("press-7", message);
  expect(fresh.points() <= options.points_max && fresh.streams() <= options.streams_max);
  const auto all = query::MatcherSet::compile({{"instance", query::MatchOp::kEqual, "press-7"}});
  const auto read = fresh.read(*all, INT64_MIN, INT64_MAX, 10'000);
  expect(read.has_value());
  uint64_t samples = 0;
  for (const auto& series : *read) samples += series.points.size();
  expect(samples <= fresh.points());
  const bool all_known = fresh.counters().streams_forgotten == 0 && fresh.counters().runs_forgotten == 0;
  const uint64_t first = fresh.counters().points_live;
  if (!all_known) return 0;
  fresh.live("press-7", message);
  expect(fresh.counters().points_live == first);
  return 0;
}
