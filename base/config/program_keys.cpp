#include "base/config/program_keys.h"

namespace lambda {

void http_keys(ConfigTable& table, HttpOptions& http) {
  table.text("http.address", http.address, "Beyond loopback only with a token or client certificates.",
             listen_address());
  table.integer("http.port", http.port, 0, 65535, "0: any free one, named in the log.");
  table.secret("http.token", http.token, "When set, \"Authorization: Bearer <token>\" is asked of everyone.");
  table.text("http.certificate_file", http.certificate_file, "PEM; with http.key_file: TLS.");
  table.text("http.key_file", http.key_file, "PEM.");
  table.text("http.client_ca_file", http.client_ca_file, "PEM; client certificates of this authority are asked for.");
  table.integer("http.connections_max", http.connections_max, 1, 100'000,
                "Past it the one that waits longest for its client makes room.");
  table.integer("http.body_bytes_max", http.body_bytes_max, 1024, 1u << 30, "Longer requests get 413.");
  table.integer("http.held_bytes_max", http.held_bytes_max, uint64_t{64} << 10, uint64_t{16} << 30,
                "Bodies of requests and answers at a time; past it the slowest clients go, then 503.");
  table.integer("http.idle_timeout_ms", http.idle_timeout_ms, 100, 3'600'000, "Idle connections are closed.");
  table.rule("http.held_bytes_max", [&http]() -> Status {
    if (http.held_bytes_max >= http.body_bytes_max) return {};
    return fail(ErrorCode::kInvalid, "must not be less than http.body_bytes_max");
  });
  table.rule("http.address", [&http]() -> Status {
    const bool loopback = http.address.starts_with("127.") || http.address == "::1";
    if (loopback || !http.token.empty() || !http.client_ca_file.empty()) return {};
    return fail(ErrorCode::kDenied, "is not loopback; set http.token or http.client_ca_file");
  });
}

void log_keys(ConfigTable& table, LogSettings& log) {
  table.text("log.level", log.level, "And above.", one_of({"debug", "info", "warn", "error"}));
  table.text("log.format", log.format, "Lines for people or for programs, on standard error.",
             one_of({"text", "json"}));
}

}  // namespace lambda
