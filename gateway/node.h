// A gateway: site, broker, ingest, store and HTTP interface, composed. Knows the world only through Env, so that main
// and the simulator build the same thing.
//
// Threading: everything on the loop thread, but for query evaluation and the rule engine, which go to executors when
// there are some.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/env/env.h"
#include "base/env/http_post.h"
#include "base/result.h"
#include "gateway/config.h"
#include "query/http_api.h"

namespace lambda::gateway {

// What a node may have beside its Env.
struct NodeHelpers {
  query::HttpApi::Executor queries;  // empty: evaluated on the loop
  Rules::Executor rules;             // the same; must run one task after the other
  HttpPoster* http = nullptr;        // null: rules' webhooks wait for ever
};

class Node {
 public:
  Node(Env& env, GatewayConfig config, NodeHelpers helpers = {});
  // Without stop() before, it ends as a crash does: nothing is waited for.
  ~Node();
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  // Begins to work. Errors are for the person who starts it: a folder that cannot be used, another site's folder, a
  // port that is taken. A broker that is away is none; it is tried for as long as the node lives.
  Status start();
  // Takes nothing new, waits for the store to decide what was taken and for its answers (at most stop_ms_max), leaves
  // the broker, ends the child. `done` runs from the loop; then destroy the node.
  void stop(std::function<void()> done);
  // Takes over what may change while it runs: ingest limits, the registry's poll. kInvalid names the first key that
  // would need a restart; nothing was changed then.
  Status reload(const GatewayConfig& config);

  static constexpr int64_t kStopMsMax = 5'000;

  bool ready() const;
  uint16_t http_port() const;  // 0 before start()
  std::string broker_url() const;
  Store& store();                // after start()
  const Ingest& ingest() const;  // after start()
  LiveLane& live();              // after start()
  Rules& rules();                // after start()

 private:
  struct Parts;
  Status open_site();
  Status open_registry();
  void start_broker();
  void connect_bus();
  void connect_later();
  void on_connected();
  void on_registry_changed();
  void refresh_registry(bool stranger);
  void poll_registry();
  void make_live();
  void make_questions();
  void background();
  void finish_stop();
  Status start_rules();
  void leave();

  Env& env_;
  GatewayConfig config_;
  NodeHelpers helpers_;
  std::unique_ptr<Parts> parts_;
};

}  // namespace lambda::gateway
