// The agent's doors over HTTP, beside its queries: who may ask may hand in points, too (token, client certificates).
//
//   POST /api/v1/push           JSON lines (text_formats.h); 200 once all points are in the journal, with what was
//                               refused
//   POST /api/v1/write          Prometheus' remote-write 1.0
//   POST /api/v2/write, /write  InfluxDB's line protocol, ?precision=ns|us|ms|s (v2: ns; v1: also n, u, h, m)
//   GET  /ping, /health         what InfluxDB's clients ask first
//
// Refused as a whole: 429 (push, line protocol) or 503 (remote-write, whose client takes 429 for final) when no room is
// left; 503 when the journal cannot be written; 413 past `unpacked_bytes_max`, and when there are more points than may
// ever wait; 400 when nothing could be read; 415 for a Content-Encoding that is not known.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "agent/door/feeder.h"
#include "base/env/clock.h"
#include "base/env/network.h"

namespace lambda::agent {

struct DoorOptions {
  FeedOptions feed;
  uint64_t unpacked_bytes_max = 32u << 20;  // of a packed body
  bool synced = true;                       // an answer waits for the journal's sync, not only for its write
};

struct DoorCounters {
  uint64_t requests = 0, requests_refused = 0;
};

class Doors {
 public:
  // All outlive this, and every answer that is not given yet.
  Doors(DoorOptions options, Feeder& feeder, const Clock& clock) : options_(options), feeder_(feeder), clock_(clock) {}

  // All paths there are: what is not in this list is not answered.
  static constexpr std::array<std::string_view, 6> kPaths = {"/api/v1/push", "/api/v1/write", "/api/v2/write",
                                                             "/write",       "/ping",         "/health"};
  static bool serves(std::string_view path);
  void handle(const HttpRequest& request, HttpServer::Respond respond);
  const DoorCounters& counters() const { return counters_; }

 private:
  void push(const HttpRequest& request, HttpServer::Respond respond);
  void remote_write(const HttpRequest& request, HttpServer::Respond respond);
  void line_protocol(const HttpRequest& request, HttpServer::Respond respond);
  Result<std::string_view> text_of_body(const HttpRequest& request, std::string* unpacked) const;

  const DoorOptions options_;
  Feeder& feeder_;
  const Clock& clock_;
  DoorCounters counters_;
};

}  // namespace lambda::agent
