// Between the rules and the live lane: what rules read is asked of devices at once, and what comes of it is given to
// the rules. What the live lane hands over as blocks the rules find in the store themselves.
//
// Loop thread only.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/env/env.h"
#include "gateway/live/live_lane.h"
#include "gateway/rules/rules.h"

namespace lambda::gateway {

class RulesLive final : public FreshConsumer {
 public:
  // All must outlive it; `rules` may be set later.
  RulesLive(Env& env, LiveLane& live) : env_(env), live_(live) {}
  ~RulesLive() override;
  void set_rules(Rules* rules) { rules_ = rules; }

  // Rules::Port::reads: from now on these metrics.
  void reads(const std::vector<std::string>& metrics);
  // Rules::Port::live: devices are asked for these series for so long. More than kRequestsMax at once are refused, with
  // a line in the log.
  void request(const std::string& selector, int64_t duration_ms);
  static constexpr size_t kRequestsMax = 64;

  void take(const FreshRun& run) override;

 private:
  // Points of a request go nowhere but into the live lane's memory, where questions find them.
  struct Nobody final : FreshConsumer {
    void take(const FreshRun&) override {}
  };
  struct Request {
    uint64_t subscription = 0;
    EventLoop::TimerId timer = 0;
  };

  Env& env_;
  LiveLane& live_;
  Rules* rules_ = nullptr;
  uint64_t subscription_ = 0;  // of what rules read; 0: none
  bool subscribed_ = false;
  Nobody nobody_;
  std::map<std::string, Request> requests_;  // by selector
};

}  // namespace lambda::gateway
