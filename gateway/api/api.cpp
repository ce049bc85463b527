#include "gateway/api/api.h"

#include <algorithm>
#include <array>
#include <map>
#include <nlohmann/json.hpp>

#include "base/metrics/http_metrics.h"
#include "query/labels.h"

namespace lambda::gateway {
namespace {

using Json = nlohmann::ordered_json;

std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

HttpResponse text_answer(int status, std::string body) {
  return {status, "text/plain; charset=utf-8", std::move(body)};
}

constexpr std::array<std::string_view, 6> kOwnPaths = {
    "/healthz", "/readyz", "/metrics", "/api/v1/lambda/devices", "/api/v1/lambda/rules", "/api/v1/lambda/status"};

// Names every page there is.
std::string not_found() {
  Json pages = query::HttpApi::paths();
  for (const std::string_view path : kOwnPaths) pages.push_back(path);
  return dump({{"status", "error"}, {"errorType", "not_found"}, {"error", "no such page"}, {"pages", pages}});
}

query::HttpApiOptions query_options(Store& store) {
  query::HttpApiOptions options;
  options.version = kVersion;
  options.metadata = [&store] {
    query::MetricFactsByName facts;
    store.each_metric([&](const std::string& name, Kind kind, const std::string& unit) {
      query::add_declared(facts, name, kind == Kind::kCounter, unit);
    });
    return facts;
  };
  return options;
}

}  // namespace

Api::Api(Env& env, ApiView view, query::HttpApi::Executor executor)
    : env_(env),
      view_(std::move(view)),
      query_(view_.live->overlay(), env.clock, query_options(*view_.store), executor) {
  if (view_.questions != nullptr) {
    devices_ = std::make_unique<DeviceQueries>(
        env_, view_.site, *view_.questions, [this](const std::string& device) { return may_ask(device); },
        query_options(*view_.store), std::move(executor));
  }
  register_metrics();
}

Api::~Api() = default;

bool Api::ready() const {
  return view_.store->ready() && view_.bus_connected();
}

Status Api::may_ask(const std::string& device) const {
  const Enrolled* enrolled = view_.registry->find(device);
  if (enrolled == nullptr) return fail(ErrorCode::kNotFound, "no device " + query::quoted(device) + " is enrolled");
  if (enrolled->revoked) return fail(ErrorCode::kDenied, device + " is revoked");
  if (!view_.bus_connected()) return fail(ErrorCode::kUnavailable, "the gateway is not connected to its broker");
  const DeviceSeen* seen = view_.ingest->seen(device);
  if (seen == nullptr || !seen->online) return fail(ErrorCode::kUnavailable, device + " is not connected");
  return {};
}

void Api::handle(const HttpRequest& request, HttpServer::Respond respond) {
  if (view_.rules != nullptr && serves_rules(request.path)) {
    answer_rules(*view_.rules, request, std::move(respond));
    return;
  }
  if (devices_ != nullptr && DeviceQueries::serves(request)) {
    devices_->handle(request, std::move(respond));
    return;
  }
  if (query::HttpApi::serves(request.path)) {
    // Only what somebody looks at is wanted at once, not what is listed.
    const bool looks = request.path == "/api/v1/query" || request.path == "/api/v1/query_range";
    if (looks) view_.live->overlay().begin_question();
    query_.handle(request, std::move(respond));
    view_.live->overlay().end_question();
    return;
  }
  // What is not in the list is not answered: whoever walks the list has seen all.
  if (std::find(kOwnPaths.begin(), kOwnPaths.end(), request.path) == kOwnPaths.end()) {
    respond({404, "application/json", not_found()});
  } else if (request.method != "GET" && request.method != "HEAD") {
    respond(text_answer(405, "only GET\n"));
  } else if (request.path == "/healthz") {
    respond(text_answer(200, "ok\n"));
  } else if (request.path == "/readyz") {
    std::string why;
    if (!view_.store->ready()) why += "the store's index is being computed\n";
    if (!view_.bus_connected()) why += "the broker is not connected, or has not confirmed the subscriptions\n";
    respond(why.empty() ? text_answer(200, "ready\n") : text_answer(503, why));
  } else if (request.path == "/metrics") {
    respond({200, Metrics::kContentType, metrics_.render()});
  } else if (request.path == "/api/v1/lambda/devices") {
    respond({200, "application/json", devices_json()});
  } else {
    LAMBDA_ASSERT(request.path == "/api/v1/lambda/status");
    respond({200, "application/json", status_json()});
  }
}

std::string Api::devices_json() const {
  const int64_t now_ms = env_.clock.utc_ms();
  std::map<std::string, DeviceTotals> totals;
  for (auto& device : view_.store->devices()) {
    std::string id = device.device;
    totals.emplace(std::move(id), std::move(device));
  }
  for (const auto& [id, enrolled] : view_.registry->devices()) totals.try_emplace(id).first->second.device = id;

  Json list = Json::array();
  for (const auto& [id, total] : totals) {
    const Enrolled* enrolled = view_.registry->find(id);
    const DeviceSeen* seen = view_.ingest->seen(id);
    const int64_t last_seen_ms = std::max(total.last_received_ms, seen != nullptr ? seen->last_seen_ms : 0);
    Json device{{"device", id}};
    device["state"] = enrolled == nullptr               ? "unknown"
                      : enrolled->revoked               ? "revoked"
                      : seen != nullptr && seen->online ? "online"
                      : last_seen_ms == 0               ? "new"
                                                        : "offline";
    if (enrolled != nullptr) {
      device["public_key"] = hex(enrolled->public_key);
      device["enrolled_ms"] = enrolled->enrolled_ms;
      device["revoked"] = enrolled->revoked;
    }
    device["last_seen_ms"] = last_seen_ms;
    device["lag_ms"] = total.points > 0 ? Json(now_ms - total.t_max) : Json();
    device["boots"] = total.boots;
    device["points"] = total.points;
    device["blocks"] = total.blocks;
    device["gap_points"] = total.gap_points;
    device["chain_breaks"] = total.chain_breaks;
    const bool asked = seen != nullptr && seen->last_hello_ms > 0;
    device["backlog_parcels"] = asked ? Json(seen->backlog_parcels) : Json();
    device["backlog_bytes"] = asked ? Json(seen->backlog_bytes) : Json();
    device["clock_offset_ms"] = asked && seen->clock_offset_known ? Json(seen->clock_offset_ms) : Json();
    device["software"] = asked ? Json(seen->software) : Json();
    device["refused"] = seen != nullptr ? seen->refused : 0;
    list.push_back(std::move(device));
  }
  return dump({{"site", view_.site}, {"gateway", view_.gateway}, {"now_ms", now_ms}, {"devices", std::move(list)}});
}

std::string Api::status_json() const {
  const StoreCounters& store = view_.store->counters();
  const IngestCounters& ingest = view_.ingest->counters();
  Json json{{"site", view_.site},
            {"gateway", view_.gateway},
            {"version", kVersion},
            {"incarnation", std::to_string(view_.ingest->incarnation())},
            {"now_ms", env_.clock.utc_ms()},
            {"up_ms", env_.clock.mono_ms() - view_.started_mono_ms},
            {"ready", ready()}};
  json["store"] = {{"ready", view_.store->ready()},
                   {"full", view_.store->full()},
                   {"parcels_stored", store.parcels_stored},
                   {"points_stored", store.points_stored},
                   {"points_duplicate", store.points_duplicate},
                   {"segments", store.segments},
                   {"segment_bytes", store.segment_bytes}};
  json["ingest"] = {{"parcels", ingest.parcels},
                    {"hellos", ingest.hellos},
                    {"acks", ingest.acks},
                    {"nacks", ingest.nacks},
                    {"waiting_messages", view_.ingest->waiting_messages()},
                    {"waiting_bytes", view_.ingest->waiting_bytes()},
                    {"quarantine_files", view_.ingest->quarantine().files()},
                    {"quarantine_bytes", view_.ingest->quarantine().bytes()}};
  const LiveLane& live = *view_.live;
  json["live"] = {{"enabled", live.options().enabled},
                  {"selectors", live.interest().selectors()},
                  {"interest_version", live.interest().version()},
                  {"messages", live.counters().messages},
                  {"points", live.fresh().points()},
                  {"streams", live.fresh().streams()}};
  json["broker"] = {{"connected", view_.bus_connected()}, {"connections", view_.bus_connections()}};
  if (view_.broker != nullptr) {
    json["broker"]["port"] = view_.broker->port();
    json["broker"]["url"] = view_.broker->url();
    json["broker"]["pid"] = view_.broker->pid();
    json["broker"]["starts"] = view_.broker->starts();
  }
  uint64_t revoked = 0;
  for (const auto& [id, device] : view_.registry->devices()) revoked += device.revoked;
  json["registry"] = {{"devices", view_.registry->devices().size()},
                      {"revoked", revoked},
                      {"malformed_lines", view_.registry->malformed_lines()}};
  return dump(json);
}

void Api::count(std::string name, std::string help, Metrics::Labels labels, std::function<uint64_t()> read) {
  metrics_.counter_callback(name, help, labels, [read = std::move(read)] { return static_cast<double>(read()); });
}

void Api::gauge(std::string name, std::string help, std::function<double()> read) {
  metrics_.gauge_callback(name, help, {}, std::move(read));
}

void Api::register_metrics() {
  register_http_metrics(metrics_, view_.http);
  register_ingest();
  register_store();
  register_live();
  if (devices_ != nullptr) register_questions();
  if (view_.rules != nullptr) view_.rules->register_metrics(metrics_);
  gauge("lambda_gateway_ready", "1: the index is complete and the broker connected.",
        [this] { return ready() ? 1.0 : 0.0; });
  gauge("lambda_gateway_up_seconds", "Since the start.",
        [this] { return static_cast<double>(env_.clock.mono_ms() - view_.started_mono_ms) / 1000.0; });
  gauge("lambda_gateway_devices", "In the registry.",
        [this] { return static_cast<double>(view_.registry->devices().size()); });
  gauge("lambda_gateway_registry_malformed_lines", "Lines of the registry that cannot be read.",
        [this] { return static_cast<double>(view_.registry->malformed_lines()); });
  count("lambda_gateway_registry_read_errors_total", "Looks at the registry that failed.", {},
        [this] { return view_.registry->read_errors(); });
  count("lambda_gateway_broker_connections_total", "Connections made to the broker.", {},
        [this] { return view_.bus_connections(); });
  if (view_.broker != nullptr) {
    count("lambda_gateway_broker_starts_total", "Starts of the child broker.", {},
          [this] { return view_.broker->starts(); });
  }
  if (view_.sessions != nullptr) {
    const SessionEnderCounters& sessions = view_.sessions->counters();
    count("lambda_gateway_sessions_ended_total", "Sessions of devices that may not be connected.", {},
          [&sessions] { return sessions.ended; });
    count("lambda_gateway_sessions_end_failed_total", "Attempts that failed.", {},
          [&sessions] { return sessions.failed; });
    count("lambda_gateway_sessions_end_dropped_total", "Given up at the bound.", {},
          [&sessions] { return sessions.dropped; });
  }
}

void Api::register_ingest() {
  const IngestCounters& c = view_.ingest->counters();
  auto plain = [&](const char* name, const char* help, const uint64_t& value) {
    count(std::string("lambda_gateway_") + name, help, {}, [&value] { return value; });
  };
  plain("messages_total", "Messages from the broker.", c.messages);
  plain("message_bytes_total", "Their payloads.", c.bytes);
  plain("parcels_verified_total", "Parcels with a right signature.", c.parcels);
  plain("hellos_total", "Hellos with a right signature.", c.hellos);
  plain("acks_total", "Acks sent.", c.acks);
  plain("acks_delayed_total", "Rounds of acks that had to wait for the broker.", c.acks_delayed);
  plain("acks_dropped_total", "Acks given up; devices ask again.", c.acks_dropped);
  plain("nacks_total", "Refusals sent.", c.nacks);
  plain("nacks_unsent_total", "Refusals not sent: over the rate, or the broker takes no more.", c.nacks_unsent);
  plain("points_ahead_total", "Points of blocks that end too far in the future; kept.", c.points_ahead);
  const std::pair<const char*, const uint64_t*> reasons[] = {{"foreign_topic", &c.foreign_topic},
                                                             {"unknown_device", &c.unknown_device},
                                                             {"revoked_device", &c.revoked_device},
                                                             {"unanswerable", &c.unanswerable},
                                                             {"too_large", &c.too_large},
                                                             {"rate", &c.rate},
                                                             {"waiting", &c.waiting},
                                                             {"version", &c.version},
                                                             {"wrong_sender", &c.wrong_sender},
                                                             {"malformed", &c.malformed},
                                                             {"signature", &c.signature},
                                                             {"conflict", &c.conflict},
                                                             {"undeclared", &c.undeclared},
                                                             {"store_full", &c.store_full},
                                                             {"store_busy", &c.store_busy},
                                                             {"hello_rate", &c.hello_rate},
                                                             {"hello_malformed", &c.hello_malformed},
                                                             {"hello_signature", &c.hello_signature},
                                                             {"hello_not_kept", &c.hello_not_kept}};
  for (const auto& [reason, value] : reasons) {
    count("lambda_gateway_refused_total", "Messages that were not taken, by reason.", {{"reason", reason}},
          [value = value] { return *value; });
  }
  gauge("lambda_gateway_waiting_bytes", "On the way to the store.",
        [this] { return static_cast<double>(view_.ingest->waiting_bytes()); });
  const QuarantineCounters& q = view_.ingest->quarantine().counters();
  plain("quarantine_kept_total", "Examples kept.", q.kept);
  plain("quarantine_repeats_total", "Refused messages of which there was an example.", q.repeats);
  plain("quarantine_over_bound_total", "Examples not kept: a bound was reached.", q.over_bound);
  plain("quarantine_write_errors_total", "Examples that could not be written.", q.write_errors);
  gauge("lambda_gateway_quarantine_bytes", "In the quarantine's folder.",
        [this] { return static_cast<double>(view_.ingest->quarantine().bytes()); });
}

void Api::register_questions() {
  const QuestionsCounters& c = view_.questions->counters();
  auto plain = [&](const char* name, const char* help, const uint64_t& value, const Metrics::Labels& labels = {}) {
    count(std::string("lambda_questions_") + name, help, labels, [&value] { return value; });
  };
  plain("asked_total", "Questions to devices.", c.asked);
  plain("answered_total", "Of them, those whose answer is whole.", c.answered);
  plain("answer_pieces_total", "Pieces of answers.", c.pieces);
  plain("answer_bytes_total", "Their messages' payloads.", c.bytes);
  const std::pair<const char*, const uint64_t*> reasons[] = {
      {"not_sent", &c.not_sent}, {"full", &c.full},     {"timed_out", &c.timed_out}, {"busy", &c.busy},
      {"refused", &c.refused},   {"broken", &c.broken}, {"too_large", &c.too_large}, {"disconnected", &c.disconnected}};
  for (const auto& [reason, value] : reasons) {
    plain("failed_total", "Questions that came to nothing, by reason.", *value, {{"reason", reason}});
  }
  const std::pair<const char*, const uint64_t*> dropped[] = {
      {"unasked", &c.unasked}, {"repeated", &c.repeated}, {"malformed", &c.malformed}};
  for (const auto& [reason, value] : dropped) {
    plain("dropped_total", "Messages of devices that are no part of an answer, by reason.", *value,
          {{"reason", reason}});
  }
  count("lambda_questions_requests_refused_total", "HTTP requests past questions.requests_max.", {},
        [this] { return devices_->refused(); });
  gauge("lambda_questions_waiting", "Asked, or in line to be.",
        [this] { return static_cast<double>(view_.questions->waiting()); });
}

void Api::register_live() {
  const LiveCounters& c = view_.live->counters();
  const FreshCounters& f = view_.live->fresh().counters();
  const InterestCounters& i = view_.live->interest().counters();
  auto plain = [&](const char* name, const char* help, const uint64_t& value, const Metrics::Labels& labels = {}) {
    count(std::string("lambda_live_") + name, help, labels, [&value] { return value; });
  };
  plain("messages_total", "Live messages of devices.", c.messages);
  plain("message_bytes_total", "Their payloads.", c.bytes);
  const std::pair<const char*, const uint64_t*> reasons[] = {{"disabled", &c.disabled},
                                                             {"unknown_device", &c.unknown_device},
                                                             {"revoked_device", &c.revoked_device},
                                                             {"too_large", &c.too_large},
                                                             {"rate", &c.rate},
                                                             {"version", &c.version},
                                                             {"malformed", &c.malformed},
                                                             {"not_ready", &c.not_ready}};
  for (const auto& [reason, value] : reasons) {
    plain("refused_total", "Live messages that were not taken, by reason.", *value, {{"reason", reason}});
  }
  const char* points = "points_total";
  const char* points_help = "Points on the live lane, by what became of them.";
  plain(points, points_help, f.points_live, {{"result", "first"}});
  plain(points, points_help, f.points_again, {{"result", "again"}});
  plain(points, points_help, f.points_undeclared, {{"result", "undeclared"}});
  plain(points, points_help, f.points_mistyped, {{"result", "mistyped"}});
  plain("points_confirmed_total", "Live points whose block says the same.", f.points_confirmed);
  plain("points_differ_total", "Live points whose block says something else: the block holds.", f.points_differ);
  plain("points_ahead_total", "Live points too far in the future; kept.", f.points_ahead);
  plain("points_expired_total", "Live points whose block did not come in time.", f.points_expired);
  plain("points_evicted_total", "Live points given up at live.points_max.", f.points_evicted);
  plain("streams_forgotten_total", "Streams given up at live.streams_max with points that are not stored.",
        f.streams_forgotten);
  plain("runs_forgotten_total", "Runs of ordinals given up at the bound of one stream.", f.runs_forgotten);
  plain("redeclared_total", "Declarations that say something else of a series than before.", f.redeclared);
  plain("consumed_points_total", "Points handed to consumers, by lane.", f.consumed_live, {{"lane", "live"}});
  plain("consumed_points_total", "Points handed to consumers, by lane.", f.consumed_block, {{"lane", "block"}});
  plain("interests_published_total", "Interests published.", i.published);
  plain("interest_renewals_total", "Of these, those that only renew the lease.", i.renewals);
  plain("interest_publish_errors_total", "Interests that the connection did not take.", i.publish_errors);
  plain("selectors_replaced_total", "Selectors that gave way at live.selectors_max.", i.replaced);
  plain("selectors_refused_total", "Selectors too long, or without a place.", i.refused);
  const OverlayCounters& o = view_.live->overlay_counters();
  plain("selections_total", "Selections of questions with live points in them.", o.selections);
  gauge("lambda_live_selectors", "Selectors wanted at once.",
        [this] { return static_cast<double>(view_.live->interest().selectors()); });
  gauge("lambda_live_points", "Live points in memory.",
        [this] { return static_cast<double>(view_.live->fresh().points()); });
  gauge("lambda_live_streams", "Streams in memory.",
        [this] { return static_cast<double>(view_.live->fresh().streams()); });
}

void Api::register_store() {
  auto plain = [&](const char* name, const char* help, uint64_t StoreCounters::*field) {
    count(std::string("lambda_store_") + name, help, {}, [this, field] { return view_.store->counters().*field; });
  };
  plain("parcels_stored_total", "Parcels that brought something new.", &StoreCounters::parcels_stored);
  plain("parcels_duplicate_total", "Parcels that brought nothing new.", &StoreCounters::parcels_duplicate);
  plain("parcels_conflict_total", "Parcels with other content for stored ordinals.", &StoreCounters::parcels_conflict);
  plain("points_stored_total", "Points stored, each once.", &StoreCounters::points_stored);
  plain("points_duplicate_total", "Points that came again.", &StoreCounters::points_duplicate);
  plain("blocks_stored_total", "Blocks stored.", &StoreCounters::blocks_stored);
  plain("syncs_total", "Syncs of segments.", &StoreCounters::syncs);
  plain("sync_errors_total", "Syncs that failed.", &StoreCounters::sync_errors);
  plain("append_errors_total", "Appends that failed.", &StoreCounters::append_errors);
  plain("retired_segments_total", "Segments deleted by retention.", &StoreCounters::retired_segments);
  plain("retired_points_total", "Their points.", &StoreCounters::retired_points);
  plain("merged_blocks_total", "Small blocks merged.", &StoreCounters::merged_blocks);
  plain("merge_mismatches_total", "Merges given up since the points differed.", &StoreCounters::merge_mismatches);
  plain("damaged_records_total", "Records that failed their check.", &StoreCounters::damaged_records);
  plain("torn_bytes_total", "Bytes cut from torn tails.", &StoreCounters::torn_bytes);
  plain("index_rebuilds_total", "Indexes computed again.", &StoreCounters::index_rebuilds);
  plain("withheld_full_total", "Parcels withheld since the disk is full.", &StoreCounters::parcels_withheld_full);
  plain("withheld_busy_total", "Parcels withheld since too much waited.", &StoreCounters::parcels_withheld_busy);
  plain("chain_breaks_total", "Parcels whose predecessor is not the one stored.", &StoreCounters::chain_breaks);
  plain("summary_hits_total", "Blocks that questions needed not read again.", &StoreCounters::summary_hits);
  plain("summaries_dropped_total", "Summaries forgotten at summaries_max.", &StoreCounters::summaries_dropped);
  gauge("lambda_store_segments", "Segment files.",
        [this] { return static_cast<double>(view_.store->counters().segments); });
  gauge("lambda_store_segment_bytes", "Their bytes.",
        [this] { return static_cast<double>(view_.store->counters().segment_bytes); });
  gauge("lambda_store_carried_bytes", "Of them, what is kept of deleted segments for ever.",
        [this] { return static_cast<double>(view_.store->counters().carried_bytes); });
  gauge("lambda_store_full", "1: below the watermark, acks are withheld.",
        [this] { return view_.store->full() ? 1.0 : 0.0; });
  const query::HttpApiCounters& q = query_.counters();
  count("lambda_query_total", "Questions answered or refused.", {}, [&q] { return q.queries.load(); });
  count("lambda_query_refused_total", "Wrong requests.", {}, [&q] { return q.refused.load(); });
  count("lambda_query_failed_total", "Not supported, or a limit was reached.", {}, [&q] { return q.failed.load(); });
  count("lambda_query_timed_out_total", "Took too long.", {}, [&q] { return q.timed_out.load(); });
}

}  // namespace lambda::gateway
