// A consumer of the gateway's fresh points that checks what it is promised: each point once in a run of the gateway,
// always with the same content, and all that is stored.
#pragma once

#include <map>
#include <set>
#include <string>

#include "gateway/live/fresh_points.h"
#include "tests/sim/oracle.h"

namespace lambda::sim {

class LiveWitness final : public gateway::FreshConsumer {
 public:
  explicit LiveWitness(Oracle& oracle) : oracle_(oracle) {}

  // The gateway has started, and remembers nothing of what it handed out before.
  void begin_run() { of_this_run_.clear(); }
  void take(const gateway::FreshRun& run) override;

  // Points that came live, ever, of this device.
  uint64_t live_points(const std::string& device) const;
  // What is stored and was not yet stored at `before` must have been handed out, and be what was.
  void check(const SegmentContent& before, const SegmentContent& now) const;

 private:
  Oracle& oracle_;
  std::set<Identity> of_this_run_;
  std::map<Identity, Point> all_;
  std::map<std::string, uint64_t> live_points_;
};

}  // namespace lambda::sim
