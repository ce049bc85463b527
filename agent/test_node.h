// A node's end as the tests see it: in order, killed, or with the power cut; and its spool as a gateway would get it.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "agent/node.h"
#include "agent/spool/parcel_facts.h"
#include "agent/spool/series_table.h"
#include "agent/spool/spool.h"
#include "agent/spool/test_world.h"
#include "lambda/block.h"

namespace lambda::agent::test {

using Place = std::tuple<uint64_t, uint32_t, uint64_t>;  // boot, ref, ordinal
struct Found {
  std::map<Place, Point> points;  // in parcels
  std::map<Place, GapReason> gaps;
  uint64_t twice = 0;
  std::map<uint64_t, SeriesTable> tables;  // by boot: what parcels declared
  // The value of a label of the series at `place`; empty: there is none.
  std::string label(const Place& place, std::string_view name) const {
    std::vector<LabelView> labels;
    const auto table = tables.find(std::get<0>(place));
    if (table == tables.end() || !table->second.known(std::get<1>(place))) return "";
    (void)table->second.declaration(std::get<1>(place), labels);
    for (const LabelView& label : labels) {
      if (label.name == name) return std::string(label.value);
    }
    return "";
  }
};

inline AgentConfig config_for(const std::string& site) {
  AgentConfig config;
  config.device = "press-7";
  config.state_dir = "d";
  config.seal_age_ms = 5'000;
  config.memory_bytes_max = 1u << 20;
  config.series_max = 16;
  config.uplink.site = site;
  config.journal.file_bytes = 4096;
  config.spool.file_bytes = 16u << 10;
  config.reserve_bytes = 4096;
  return config;
}

inline void stop(World& world, std::unique_ptr<Node>& node) {
  bool stopped = false;
  node->stop([&] { stopped = true; });
  for (int i = 0; i < 200 && !stopped; ++i) world.loop.run_for(100);
  EXPECT_TRUE(stopped);
  node.reset();
  world.loop.clear();
}

inline void crash(World& world, std::unique_ptr<Node>& node, bool power) {
  node.reset();
  world.loop.clear();
  world.disk.faults.clear();
  power ? world.disk.power_cut() : world.disk.kill();
}

// Reads the spool as a gateway would get it, and with `acks` acks it all.
inline Found drain(World& world, bool acks = false, Found found = {}) {
  SpoolOptions options;
  options.dir = "d";
  Spool spool(world.env, options);
  EXPECT_TRUE(spool.open().has_value());
  spool.start();
  world.loop.run_for(50);
  EXPECT_TRUE(spool.started()) << "it offers nothing before what it found is durable";
  std::vector<uint64_t> boots;
  for (const auto& boot : spool.state().boots()) boots.push_back(boot->id);
  for (const uint64_t boot : boots) {
    uint64_t seq = 0;
    size_t size = 0;
    while (spool.next(boot, seq, UINT64_MAX, &seq, &size)) {
      const auto up = spool.read(boot, seq);
      const auto facts = parse_parcel(*parcel_in_up(up));
      EXPECT_TRUE(facts.has_value());
      EXPECT_TRUE(facts->declare_into(found.tables[boot]).has_value()) << "within a boot a ref is one series";
      for (const Gap& gap : facts->gaps) {
        for (uint64_t at = 0; at < gap.run.count; ++at)
          found.gaps[{boot, gap.run.ref, gap.run.first + at}] = gap.reason;
      }
      for_each_block(*parcel_in_up(up), [&](std::span<const std::byte> bytes) {
        BlockInfo info;
        std::vector<Point> points(kBlockPointsMax);
        const auto status =
            decode_block({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, boot, &info, points);
        EXPECT_TRUE(status.ok());
        for (uint32_t i = 0; i < info.count; ++i) {
          const auto [at, added] = found.points.emplace(Place{boot, info.ref, info.first_ordinal + i}, points[i]);
          if (!added) found.twice++;
        }
      });
      if (acks) spool.settled(boot, seq, seq);
    }
  }
  if (acks) spool.finish({});
  world.loop.run_for(50);
  world.loop.clear();
  return found;
}

}  // namespace lambda::agent::test
