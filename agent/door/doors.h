// The agent's doors over HTTP, beside its queries: who may ask may hand in points, too (token, client certificates).
//
//   POST /api/v1/push           JSON lines (text_formats.h); 200 once all points are in the journal, with what was
//                               refused, and of how many values digits were lost
//   POST /api/v1/write          Prometheus' remote-write 1.0
//   POST /api/v2/write, /write  InfluxDB's line protocol, ?precision=ns|us|ms|s (v2: ns; v1: also n, u, h, m)
//   GET  /ping, /health         what InfluxDB's clients ask first
//
// A request whose points all have times of their own, and which was answered well, is answered so again when it comes
// again byte for byte, whatever came since: a client whose answer was lost may ask until it has one.
//
// Refused as a whole: 429 (push, line protocol) or 503 (remote-write, whose client takes 429 for final) when no room is
// left; 503 when the journal cannot be written; 413 past `unpacked_bytes_max`, and when there are more points than may
// ever wait; 400 when nothing could be read; 415 for a Content-Encoding that is not known.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "agent/door/feeder.h"
#include "agent/door/request_memory.h"
#include "base/env/clock.h"
#include "base/env/network.h"

namespace lambda::agent {

struct DoorOptions {
  FeedOptions feed;
  uint64_t unpacked_bytes_max = 32u << 20;   // of a packed body
  uint64_t requests_bytes_max = 256u << 10;  // of request_memory.h
  bool synced = true;                        // an answer waits for the journal's sync, not only for its write
};

struct DoorCounters {
  uint64_t requests = 0, requests_refused = 0, requests_again = 0;
};

class Doors {
 public:
  // All outlive this, and every answer that is not given yet.
  Doors(DoorOptions options, Feeder& feeder, RequestMemory& requests, const Clock& clock)
      : options_(options), feeder_(feeder), requests_(requests), clock_(clock) {}

  // All paths there are: what is not in this list is not answered.
  static constexpr std::array<std::string_view, 6> kPaths = {"/api/v1/push", "/api/v1/write", "/api/v2/write",
                                                             "/write",       "/ping",         "/health"};
  static bool serves(std::string_view path);
  void handle(const HttpRequest& request, HttpServer::Respond respond);
  const DoorCounters& counters() const { return counters_; }

 private:
  using Answer = std::function<void(const FeedResult&)>;
  bool came_before(const RequestId& id, const Answer& answer);
  void take(const RequestId& id, FeedBatch batch, Answer answer);
  void push(const HttpRequest& request, HttpServer::Respond respond);
  void remote_write(const HttpRequest& request, HttpServer::Respond respond);
  void line_protocol(const HttpRequest& request, HttpServer::Respond respond);
  Result<std::string_view> text_of_body(const HttpRequest& request, std::string* unpacked) const;

  const DoorOptions options_;
  Feeder& feeder_;
  RequestMemory& requests_;
  std::map<RequestId, std::vector<Answer>> pending_;  // not answered yet, with those that came again meanwhile
  const Clock& clock_;
  DoorCounters counters_;
};

}  // namespace lambda::agent
