// The gateway's HTTP interface, read only but for the files of rules:
//
//   /api/v1/query ... (query/http_api.h)     Prometheus' questions; what query and query_range read of the present is
//                                            wanted at once from then on (gateway/live)
//   the same with device=D                   asked of the device itself (questions/device_queries.h)
//   /api/v1/lambda/devices                   last seen, lag, backlog, gaps, clock offset, chain breaks of each device
//   /api/v1/lambda/status                    this gateway: store, ingest, broker
//   /api/v1/alerts, rules, lambda/rules ...   gateway/rules/rules_api.h
//   /healthz                                 200: the loop runs
//   /readyz                                  200: the store's index is complete, the broker is connected and has
//                                            confirmed the subscriptions; else 503
//   /metrics                                 Prometheus' text format
//
// Loop thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/env/env.h"
#include "base/metrics/metrics.h"
#include "gateway/broker/broker.h"
#include "gateway/broker/session_ender.h"
#include "gateway/ingest/ingest.h"
#include "gateway/live/live_lane.h"
#include "gateway/questions/device_queries.h"
#include "gateway/rules/rules_api.h"
#include "gateway/site/registry.h"
#include "gateway/store/store.h"
#include "query/http_api.h"

namespace lambda::gateway {

inline constexpr const char* kVersion = "0.1.0";

// What the interface looks at; the node owns all of it. `broker` and `sessions` may be null.
struct ApiView {
  std::string site, gateway;
  Store* store = nullptr;
  const Ingest* ingest = nullptr;
  LiveLane* live = nullptr;
  const Registry* registry = nullptr;
  const Broker* broker = nullptr;
  const SessionEnder* sessions = nullptr;
  std::function<bool()> bus_connected;        // and the broker has confirmed the subscriptions of this connection
  std::function<uint64_t()> bus_connections;  // since the start
  int64_t started_mono_ms = 0;
  std::function<HttpCounters()> http;  // of the server in front of this
  Rules* rules = nullptr;
  Questions* questions = nullptr;  // null: devices are not asked
};

class Api {
 public:
  Api(Env& env, ApiView view, query::HttpApi::Executor executor);
  ~Api();
  void cancel_queries() { query_.cancel(); }  // the program is about to end
  void handle(const HttpRequest& request, HttpServer::Respond respond);
  bool ready() const;
  std::string devices_json() const;
  std::string status_json() const;

 private:
  void register_metrics();
  void count(std::string name, std::string help, Metrics::Labels labels, std::function<uint64_t()> read);
  void gauge(std::string name, std::string help, std::function<double()> read);
  void register_ingest();
  void register_store();
  void register_live();
  void register_questions();
  Status may_ask(const std::string& device) const;

  Env& env_;
  ApiView view_;
  query::HttpApi query_;
  std::unique_ptr<DeviceQueries> devices_;
  Metrics metrics_;
};

}  // namespace lambda::gateway
