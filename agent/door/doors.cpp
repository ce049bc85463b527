#include "agent/door/doors.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "agent/door/compression.h"
#include "agent/door/remote_write.h"
#include "agent/door/text_formats.h"
#include "base/crypto/crypto.h"

namespace lambda::agent {
namespace {

using Json = nlohmann::json;

std::string text_of(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string header(const HttpRequest& request, const char* name) {
  const auto found = request.headers.find(name);
  return found == request.headers.end() ? "" : found->second;
}

// When nothing of a batch was taken.
int refusal_of(const Error& error) {
  if (error.code == ErrorCode::kInvalid) return 413;
  return error.code == ErrorCode::kFull ? 429 : 503;
}

int status_of(const Error& error) {
  if (error.code == ErrorCode::kUnsupported) return 415;
  return error.code == ErrorCode::kFull ? 413 : 400;
}

Json errors_of(const FeedResult& result) {
  Json errors = Json::array();
  for (const FeedError& error : result.errors) errors.push_back({{"line", error.item}, {"error", error.text}});
  return errors;
}

std::string first_of(const FeedResult& result, const char* item) {
  std::string text = std::to_string(result.refused) + " refused";
  if (!result.errors.empty()) {
    text += ", the first: " + std::string(item) + " " + std::to_string(result.errors.front().item) + ": " +
            result.errors.front().text;
  }
  return text;
}

// ---- Prometheus' words

HttpResponse push_error(int status, const char* type, const std::string& text) {
  return {status, "application/json", text_of({{"status", "error"}, {"errorType", type}, {"error", text}})};
}

HttpResponse push_answer(const FeedResult& result) {
  if (!result.status) {
    const int status = refusal_of(result.status.error());
    return push_error(status,
                      status == 413   ? "too_large"
                      : status == 429 ? "full"
                                      : "unavailable",
                      result.status.error().text);
  }
  const bool nothing = result.accepted == 0 && result.refused > 0;
  Json body = {{"status", nothing ? "error" : "success"},
               {"accepted", result.accepted},
               {"refused", result.refused},
               {"errors", errors_of(result)}};
  if (result.rounded > 0) body["rounded"] = result.rounded;
  if (nothing) {
    body["errorType"] = "bad_data";
    body["error"] = first_of(result, "line");
  }
  return {nothing ? 400 : 200, "application/json", text_of(body)};
}

HttpResponse remote_write_answer(const FeedResult& result) {
  if (!result.status) {
    // 429 is final to some clients.
    const int status = refusal_of(result.status.error()) == 413 ? 413 : 503;
    return {status, "text/plain", result.status.error().text + "\n"};
  }
  // The client drops what is refused and says so in its log; sent again it would be refused again.
  if (result.refused > 0) return {400, "text/plain", first_of(result, "sample") + "\n"};
  return {204, "text/plain", ""};
}

// ---- InfluxDB's words

HttpResponse influx_error(bool v2, int status, const char* code, const std::string& text) {
  return {status, "application/json", v2 ? text_of({{"code", code}, {"message", text}}) : text_of({{"error", text}})};
}

HttpResponse influx_answer(bool v2, const FeedResult& result) {
  if (!result.status) {
    const int status = refusal_of(result.status.error());
    return influx_error(v2, status,
                        status == 413   ? "request too large"
                        : status == 429 ? "too many requests"
                                        : "unavailable",
                        result.status.error().text);
  }
  if (result.refused > 0) {
    const std::string partial = result.accepted > 0 ? "partial write: " : "";
    return influx_error(v2, 400, "invalid", partial + first_of(result, "line"));
  }
  return {204, "text/plain", ""};
}

// Of all that says what the points are.
RequestId id_of(const HttpRequest& request) {
  const auto bytes_of = [](std::string_view text) {
    return std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size());
  };
  const Digest body = sha256(bytes_of(request.body));
  const auto precision = request.parameters.find("precision");
  std::string text = request.path + '\n' + header(request, "content-encoding") + '\n' +
                     (precision == request.parameters.end() ? "" : precision->second) + '\n';
  text.append(reinterpret_cast<const char*>(body.data()), body.size());
  const Digest all = sha256(bytes_of(text));
  RequestId id;
  std::copy_n(all.begin(), id.size(), id.begin());
  return id;
}

// Nanoseconds of a unit; 0: there is no such unit.
int64_t unit_ns_of(const std::string& precision, bool v2) {
  if (precision.empty() || precision == "ns") return 1;
  if (precision == "us") return 1'000;
  if (precision == "ms") return 1'000'000;
  if (precision == "s") return 1'000'000'000;
  if (v2) return 0;
  if (precision == "n") return 1;
  if (precision == "u" || precision == "\u00b5") return 1'000;
  if (precision == "m") return 60'000'000'000;
  if (precision == "h") return 3'600'000'000'000;
  return 0;
}

}  // namespace

bool Doors::serves(std::string_view path) {
  return std::find(kPaths.begin(), kPaths.end(), path) != kPaths.end();
}

void Doors::handle(const HttpRequest& request, HttpServer::Respond respond) {
  counters_.requests++;
  if (request.path == "/ping") return respond({204, "text/plain", "", {{"X-Influxdb-Version", "1.8-lambda-agent"}}});
  if (request.path == "/health") {
    return respond({200, "application/json", text_of({{"name", "lambda-agent"}, {"status", "pass"}})});
  }
  const auto counted = [this, respond = std::move(respond)](HttpResponse response) {
    if (response.status >= 400) counters_.requests_refused++;
    if (response.status == 429 || response.status == 503) response.headers.emplace_back("Retry-After", "1");
    respond(std::move(response));
  };
  if (request.method != "POST") return counted(push_error(405, "bad_method", request.path + " takes POST"));
  if (request.path == "/api/v1/push") return push(request, counted);
  if (request.path == "/api/v1/write") return remote_write(request, counted);
  line_protocol(request, counted);
}

// The body's text, which lies in `unpacked` if it came packed.
Result<std::string_view> Doors::text_of_body(const HttpRequest& request, std::string* unpacked) const {
  const std::string encoding = header(request, "content-encoding");
  if (encoding.empty() || encoding == "identity") return std::string_view(request.body);
  if (encoding != "gzip" && encoding != "x-gzip") {
    return fail(ErrorCode::kUnsupported, "Content-Encoding must be gzip or none, not " + encoding.substr(0, 40));
  }
  auto plain = unpack_gzip(request.body, options_.unpacked_bytes_max);
  if (!plain) return tl::unexpected(plain.error());
  *unpacked = std::move(*plain);
  return std::string_view(*unpacked);
}

// True: it is answered, or will be with the one that is like it.
bool Doors::came_before(const RequestId& id, const Answer& answer) {
  if (const auto pending = pending_.find(id); pending != pending_.end()) {
    counters_.requests_again++;
    pending->second.push_back(answer);
    return true;
  }
  const RequestNote* note = requests_.find(id);
  if (note == nullptr) return false;
  counters_.requests_again++;
  FeedResult result;
  result.accepted = note->accepted;
  result.refused = note->refused;
  answer(result);
  return true;
}

void Doors::take(const RequestId& id, FeedBatch batch, Answer answer) {
  if (!batch.has_all_times()) return feeder_.take(std::move(batch), std::move(answer));
  batch.name(id);
  pending_.emplace(id, std::vector<Answer>());
  feeder_.take(std::move(batch), [this, id, answer = std::move(answer)](const FeedResult& result) {
    const auto pending = pending_.extract(id);
    if (result.status && result.accepted > 0) {
      requests_.add({id, static_cast<uint32_t>(result.accepted), static_cast<uint32_t>(result.refused)});
    }
    answer(result);
    for (const Answer& other : pending.mapped()) other(result);
  });
}

void Doors::push(const HttpRequest& request, HttpServer::Respond respond) {
  const Answer answer = [respond](const FeedResult& result) { respond(push_answer(result)); };
  const RequestId id = id_of(request);
  if (came_before(id, answer)) return;
  FeedBatch batch(feeder_);
  std::string unpacked;
  const auto body = text_of_body(request, &unpacked);
  if (!body) return respond(push_error(status_of(body.error()), "bad_data", body.error().text));
  read_json_lines(*body, clock_.utc_ms(), batch);
  take(id, std::move(batch), answer);
}

void Doors::remote_write(const HttpRequest& request, HttpServer::Respond respond) {
  const Answer answer = [respond](const FeedResult& result) { respond(remote_write_answer(result)); };
  const RequestId id = id_of(request);
  if (came_before(id, answer)) return;
  FeedBatch batch(feeder_);
  // Some senders leave the header out; what they send is packed all the same.
  const std::string encoding = header(request, "content-encoding");
  if (!encoding.empty() && encoding != "snappy") {
    return respond({415, "text/plain", "Content-Encoding must be snappy, not " + encoding + "\n"});
  }
  if (header(request, "content-type").find("io.prometheus.write.v2") != std::string::npos) {
    return respond({415, "text/plain", "this is remote-write 1.0: prometheus.WriteRequest\n"});
  }
  const auto message = unpack_snappy(request.body, options_.unpacked_bytes_max);
  if (!message) return respond({status_of(message.error()), "text/plain", message.error().text + "\n"});
  if (auto status = read_remote_write(*message, batch); !status) {
    return respond({400, "text/plain", status.error().text + "\n"});
  }
  take(id, std::move(batch), answer);
}

void Doors::line_protocol(const HttpRequest& request, HttpServer::Respond respond) {
  const bool v2 = request.path == "/api/v2/write";
  const auto found = request.parameters.find("precision");
  const int64_t unit_ns = unit_ns_of(found == request.parameters.end() ? "" : found->second, v2);
  if (unit_ns == 0) return respond(influx_error(v2, 400, "invalid", "precision is not one of ns, us, ms, s"));
  const Answer answer = [v2, respond](const FeedResult& result) { respond(influx_answer(v2, result)); };
  const RequestId id = id_of(request);
  if (came_before(id, answer)) return;
  FeedBatch batch(feeder_);
  std::string unpacked;
  const auto body = text_of_body(request, &unpacked);
  if (!body) return respond(influx_error(v2, status_of(body.error()), "invalid", body.error().text));
  read_line_protocol(*body, unit_ns, clock_.utc_ms(), batch);
  take(id, std::move(batch), answer);
}

}  // namespace lambda::agent
