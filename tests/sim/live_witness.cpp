#include "tests/sim/live_witness.h"

namespace lambda::sim {

void LiveWitness::take(const gateway::FreshRun& run) {
  uint64_t last = 0;
  for (const gateway::FreshPoint& point : run.points) {
    const Identity identity{run.series.device, run.boot, run.ref, point.ordinal};
    if (!of_this_run_.insert(identity).second) oracle_.complain("handed to a consumer twice: " + to_text(identity));
    if (&point != run.points.data() && point.ordinal <= last) {
      oracle_.complain("handed out in the wrong order: " + to_text(identity));
    }
    last = point.ordinal;
    const Point content{point.time_ms, point.bits};
    if (const auto [known, fresh] = all_.emplace(identity, content); !fresh && !(known->second == content)) {
      oracle_.complain("handed out with two contents: " + to_text(identity));
    }
  }
  if (run.lane == gateway::Lane::kLive) live_points_[run.series.device] += run.points.size();
}

uint64_t LiveWitness::live_points(const std::string& device) const {
  const auto found = live_points_.find(device);
  return found == live_points_.end() ? 0 : found->second;
}

void LiveWitness::check(const SegmentContent& before, const SegmentContent& now) const {
  for (const auto& [identity, stored] : now.points) {
    const auto handed = all_.find(identity);
    if (handed != all_.end() && !(handed->second == stored.point)) {
      oracle_.complain("stored is something else than was handed out: " + to_text(identity));
    }
    if (handed == all_.end() && before.points.count(identity) == 0) {
      oracle_.complain("stored, and not handed to a consumer: " + to_text(identity));
    }
  }
}

}  // namespace lambda::sim
