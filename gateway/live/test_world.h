// A store in memory, and live messages that match its test device's parcels.
#pragma once

#include <gtest/gtest.h>

#include <bit>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "gateway/live/fresh_points.h"
#include "gateway/store/test_world.h"
#include "proto/lambda.pb.h"

namespace lambda::gateway {

inline std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

inline std::string sealed(const TestBlock& block, uint64_t boot) {
  std::vector<uint8_t> space(block_bytes_max(block.points.size()));
  BlockOptions options;
  options.boot = boot;
  options.first_ordinal = block.first;
  options.ref = block.ref;
  options.type = block.type;
  options.scale = block.scale;
  BlockWriter writer(space, options);
  for (const Point& point : block.points) EXPECT_EQ(writer.append(point), AppendResult::kOk);
  const auto bytes = writer.seal();
  return {bytes.begin(), bytes.end()};
}

// As TestDevice declares them: series m<ref>.
inline std::string live_text(uint64_t boot, const std::vector<TestBlock>& blocks,
                             const std::vector<uint32_t>& declare) {
  v1::Live live;
  live.set_version(1);
  live.set_boot(boot);
  live.set_interest_version(1);
  for (const uint32_t ref : declare) {
    v1::Declaration* declaration = live.add_declarations();
    declaration->set_ref(ref);
    declaration->set_name("m" + std::to_string(ref));
    declaration->set_kind(v1::GAUGE);
    declaration->set_type(v1::F64);
  }
  for (const TestBlock& block : blocks) live.add_blocks(sealed(block, boot));
  return live.SerializeAsString();
}

using Identity = std::tuple<std::string, uint64_t, uint32_t, uint64_t>;  // device, boot, ref, ordinal

struct Taker final : FreshConsumer {
  void take(const FreshRun& run) override {
    for (const FreshPoint& point : run.points) {
      const Identity identity{run.series.device, run.boot, run.ref, point.ordinal};
      ++copies[identity];
      lanes[identity] = run.lane;
      values[identity] = number_of(run.series, point.bits);
      order.push_back(point.ordinal);
    }
    ++runs;
  }
  uint64_t twice() const {
    uint64_t count = 0;
    for (const auto& [identity, times] : copies) count += times > 1;
    return count;
  }
  std::map<Identity, int> copies;
  std::map<Identity, Lane> lanes;
  std::map<Identity, double> values;
  std::vector<uint64_t> order;
  uint64_t runs = 0;
};

inline std::vector<query::Matcher> named(const std::string& name) {
  return {{"__name__", query::MatchOp::kEqual, name}};
}

}  // namespace lambda::gateway
