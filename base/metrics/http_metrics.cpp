#include "base/metrics/http_metrics.h"

namespace lambda {

void register_http_metrics(Metrics& metrics, const std::function<HttpCounters()>& read) {
  const auto counter = [&](const char* name, const char* help, uint64_t HttpCounters::*value) {
    metrics.counter_callback(name, help, {}, [read, value] { return static_cast<double>(read().*value); });
  };
  const auto gauge = [&](const char* name, const char* help, uint64_t HttpCounters::*value) {
    metrics.gauge_callback(name, help, {}, [read, value] { return static_cast<double>(read().*value); });
  };
  counter("lambda_http_requests_total", "Whole requests.", &HttpCounters::requests);
  counter("lambda_http_requests_refused_total", "Malformed, too large, not authorised, or without room.",
          &HttpCounters::requests_refused);
  counter("lambda_http_requests_without_room_total", "Refused because of http.held_bytes_max.",
          &HttpCounters::requests_without_room);
  gauge("lambda_http_connections", "Connections now.", &HttpCounters::connections);
  counter("lambda_http_connections_refused_total", "Past http.connections_max, when none could make room.",
          &HttpCounters::connections_refused);
  counter("lambda_http_connections_dropped_total", "Closed to make room while they waited for their client.",
          &HttpCounters::connections_dropped);
  gauge("lambda_http_held_bytes", "Bodies of requests and answers now.", &HttpCounters::held_bytes);
}

}  // namespace lambda
