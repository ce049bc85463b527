// The agent: sources, journal, memory, spool, uplink and HTTP interface, composed. Knows the world only through Env, so
// that main and the simulator build the same thing. Everything runs on the loop thread.
//
// Before enrolment (no site) points are collected, journalled and can be asked for here; there are no parcels, because
// a parcel names its site. The journals are bounded by spool.bytes_max then, the oldest go first and are counted; the
// first start after enrolment makes parcels of what is left.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "agent/config.h"
#include "agent/source/source.h"
#include "base/crypto/crypto.h"
#include "base/env/env.h"
#include "query/http_api.h"

namespace lambda::agent {

inline constexpr const char* kVersion = "0.1.0";

// What an agent has done with its points in this process. made = packed + waiting in journal and memory.
struct NodeStatus {
  uint64_t boot = 0;
  bool enrolled = false, ready = false, connected = false, answered = false;
  uint64_t series = 0, series_refused = 0, series_of_others = 0, series_forgotten = 0;
  uint64_t points_made = 0, points_unmade = 0, points_packed = 0, points_recovered = 0;
  uint64_t points_dropped_bytes = 0, points_dropped_age = 0, points_dropped_refused = 0, points_dropped_corrupt = 0,
           points_dropped_memory = 0, points_dropped_journal = 0;
  uint64_t backlog_parcels = 0, backlog_points = 0, backlog_bytes = 0, journal_bytes = 0, boots = 0;
  uint64_t boots_waiting = 0, boots_waiting_bytes = 0;  // of earlier starts, in journals only
  uint64_t moments_missed = 0, clock_steps = 0;
  bool disk_full = false;
};

class Node {
 public:
  // `key` signs. The site, gateways and certificate files are in `config.uplink`; an empty site: not enrolled. Without
  // `executor` questions are evaluated inside the call that asks. Its tasks may outlive the node, but not `env`.
  Node(Env& env, AgentConfig config, SigningKey key, std::vector<std::unique_ptr<Source>> sources,
       query::HttpApi::Executor executor = {});
  // Without stop() before, it ends as a crash does: nothing is waited for.
  ~Node();
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  // Begins to work. Errors are for the person who starts it: a folder that cannot be used or that another process has,
  // a port that is taken. What is damaged on disk, and a broker that is away, are none.
  Status start();
  // Collects no more, makes parcels of everything, syncs them, leaves the broker. `done` runs from the loop, after
  // kStopMsMax at the latest; then destroy the node.
  void stop(std::function<void()> done);
  static constexpr int64_t kStopMsMax = 10'000;

  NodeStatus status() const;
  uint16_t http_port() const;  // 0: none
  uint64_t boot() const;
  void begin_new_boot();  // as a gateway may ask

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace lambda::agent
