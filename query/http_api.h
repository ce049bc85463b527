// The part of Prometheus' HTTP interface that asks questions: what Grafana, promtool and curl need.
//
//   /api/v1/query  /api/v1/query_range                              GET, or POST with a form
//   /api/v1/series  /api/v1/labels  /api/v1/label/<name>/values     of the last day unless start says otherwise
//   /api/v1/format_query
//   /api/v1/metadata                                                what HttpApiOptions::metadata knows
//   /api/v1/status/buildinfo  /api/v1/rules  /api/v1/alerts  /api/v1/query_exemplars   empty lists
//
// Answers are Prometheus' envelope. Errors: 400 bad_data (the request), 422 execution (not supported, or a limit was
// reached), 503 timeout or unavailable, 500 internal, 404 not_found, 405 for other methods.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/env/clock.h"
#include "base/env/network.h"
#include "query/evaluator.h"
#include "query/metric_facts.h"
#include "query/series_source.h"

namespace lambda::query {

struct HttpApiOptions {
  QueryLimits limits;
  uint64_t points_max = 11'000;                 // of one series in a range query, as Prometheus: 400 above
  uint64_t response_bytes_max = 64u << 20;      // 422 above
  uint64_t queries_max = 16;                    // being evaluated at once: 503 above
  int64_t timeout_ms = 30'000;                  // of one query; a request may ask for less
  std::string version;                          // of this program, for buildinfo
  std::function<MetricFactsByName()> metadata;  // asked on the loop thread; empty: nothing is known of any metric
};

struct HttpApiCounters {
  std::atomic<uint64_t> queries{0};          // query and query_range, whatever came of them
  std::atomic<uint64_t> refused{0};          // 400, 404, 405
  std::atomic<uint64_t> failed{0};           // 422: not supported, a limit, data that do not fit
  std::atomic<uint64_t> timed_out{0};        // 503
  std::atomic<uint64_t> unavailable{0};      // 503: too many at once, or the source is not ready
  std::atomic<uint64_t> internal_errors{0};  // 500
  std::atomic<uint64_t> answer_bytes{0};
};

class HttpApi {
 public:
  using Executor = std::function<void(std::function<void()>)>;

  // `source` must outlive this, and every evaluation under way unless its cursors stand alone; so must `clock`, which
  // must bear any thread when there is an `executor`. The executor runs each task once, on any thread; without one,
  // evaluation happens inside handle().
  HttpApi(SeriesSource& source, const Clock& clock, HttpApiOptions options, Executor executor = {});
  ~HttpApi();
  HttpApi(const HttpApi&) = delete;
  HttpApi& operator=(const HttpApi&) = delete;

  // Whether the path is one of the above.
  static bool serves(std::string_view path);
  // All of them, /api/v1/label/<name>/values with `job` for the name.
  static std::vector<std::string> paths();

  // Selects at once, on the loop thread; `respond` is called once, now or from the executor.
  void handle(const HttpRequest& request, HttpServer::Respond respond);

  // The program is about to end: what is being evaluated, and what waits for it, is answered 503 soon; nothing new is
  // begun. Loop thread.
  void cancel();

  const HttpApiCounters& counters() const;

 private:
  struct Shared;
  class Request;
  SeriesSource& source_;
  const Clock& clock_;
  std::shared_ptr<Shared> shared_;
  Executor executor_;
};

}  // namespace lambda::query
