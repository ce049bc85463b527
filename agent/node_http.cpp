// What a node tells over HTTP: queries, health, metrics, and its balance of points.
#include <algorithm>
#include <array>
#include <cstdio>

#include "agent/node_parts.h"
#include "base/metrics/http_metrics.h"

namespace lambda::agent {
namespace {

void field(std::string& out, const char* name, uint64_t value) {
  out += out.size() > 1 ? ",\"" : "\"";
  out += name;
  out += "\":" + std::to_string(value);
}

void field(std::string& out, const char* name, bool value) {
  out += out.size() > 1 ? ",\"" : "\"";
  out += name;
  out += value ? "\":true" : "\":false";
}

void field(std::string& out, const char* name, const std::string& value) {
  out += out.size() > 1 ? ",\"" : "\"";
  out += name;
  out += "\":\"" + value + "\"";  // ids and hex: nothing to escape
}

std::string hex64(uint64_t value) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
  return text;
}

constexpr std::array<std::string_view, 5> kOwnPaths = {"/healthz", "/readyz", "/metrics", "/api/v1/lambda/status",
                                                       "/api/v1/targets"};

// Names every page there is.
std::string not_found(bool doors) {
  std::string paths;
  const auto add = [&](std::string_view path) { paths += (paths.empty() ? "\"" : ",\"") + std::string(path) + "\""; };
  for (const std::string& path : query::HttpApi::paths()) add(path);
  if (doors) std::for_each(Doors::kPaths.begin(), Doors::kPaths.end(), add);
  std::for_each(kOwnPaths.begin(), kOwnPaths.end(), add);
  return R"({"status":"error","errorType":"not_found","error":"no such page","pages":[)" + paths + "]}\n";
}

}  // namespace

Status Node::Parts::listen() {
  query::HttpApiOptions options;
  options.version = kVersion;
  options.metadata = [this] { return metric_facts(); };
  api = std::make_unique<query::HttpApi>(*memory, env.clock, options, executor);
  auto server = env.network.listen_http(config.http, [this](const HttpRequest& request, HttpServer::Respond respond) {
    answer(request, std::move(respond));
  });
  // A world without HTTP has none.
  if (!server && server.error().code == ErrorCode::kUnsupported) return {};
  if (!server) return tl::unexpected(server.error());
  http = std::move(*server);
  env.log.info("listening", {{"address", config.http.address}, {"port", uint64_t{http->port()}}});
  return {};
}

void Node::Parts::answer(const HttpRequest& request, HttpServer::Respond respond) {
  if (query::HttpApi::serves(request.path)) return api->handle(request, std::move(respond));
  if (config.doors_enabled && Doors::serves(request.path)) return doors->handle(request, std::move(respond));
  // What is not in the list is not answered: whoever walks the list has seen all.
  if (std::find(kOwnPaths.begin(), kOwnPaths.end(), request.path) == kOwnPaths.end()) {
    return respond({404, "application/json", not_found(config.doors_enabled)});
  }
  if (request.path == "/healthz") return respond({200, "text/plain", "ok\n"});
  if (request.path == "/readyz") {
    const bool ready = status().ready;
    return respond({ready ? 200 : 503, "text/plain", ready ? "ready\n" : "not ready\n"});
  }
  if (request.path == "/metrics") {
    tell_offenders();
    return respond({200, Metrics::kContentType, metrics.render()});
  }
  if (request.path == "/api/v1/targets") return respond({200, "application/json", targets_text()});
  LAMBDA_ASSERT(request.path == "/api/v1/lambda/status");
  respond({200, "application/json", status_text()});
}

std::string Node::Parts::status_text() const {
  const NodeStatus now = status();
  std::string dropped = "{";
  field(dropped, "spool_bytes", now.points_dropped_bytes);
  field(dropped, "spool_age", now.points_dropped_age);
  field(dropped, "refused", now.points_dropped_refused);
  field(dropped, "corrupt", now.points_dropped_corrupt);
  field(dropped, "memory", now.points_dropped_memory);
  field(dropped, "journal", now.points_dropped_journal);
  dropped += "}";
  std::string boots = "[";
  for (const auto& known : spool->state().boots()) {
    if (boots.size() > 1) boots += ",";
    std::string one = "{";
    field(one, "boot", hex64(known->id));
    field(one, "parcels", known->unsettled());
    field(one, "next_seq", known->next_seq);
    field(one, "pending_gaps", uint64_t{known->pending.size()});
    boots += one + "}";
  }
  std::string out = "{";
  field(out, "device", config.device);
  field(out, "site", config.uplink.site);
  field(out, "version", std::string(kVersion));
  field(out, "boot", hex64(now.boot));
  field(out, "enrolled", now.enrolled);
  field(out, "ready", now.ready);
  field(out, "connected", now.connected);
  field(out, "answered", now.answered);
  field(out, "disk_full", now.disk_full);
  field(out, "series", now.series);
  field(out, "series_refused", now.series_refused);
  field(out, "series_forgotten", now.series_forgotten);
  field(out, "made", now.points_made);
  field(out, "unmade", now.points_unmade);
  field(out, "packed", now.points_packed);
  field(out, "recovered", now.points_recovered);
  // What this process made or read again, and is neither in a parcel nor lost before that.
  const uint64_t begun = now.points_made + now.points_recovered, left = now.points_packed + now.points_dropped_memory;
  field(out, "buffered", now.backlog_points + begun - std::min(begun, left));
  field(out, "backlog_parcels", now.backlog_parcels);
  field(out, "backlog_points", now.backlog_points);
  field(out, "backlog_bytes", now.backlog_bytes);
  field(out, "journal_bytes", now.journal_bytes);
  field(out, "boots_waiting", now.boots_waiting);
  field(out, "boots_waiting_bytes", now.boots_waiting_bytes);
  field(out, "moments_missed", now.moments_missed);
  field(out, "clock_steps", now.clock_steps);
  out += ",\"dropped\":" + dropped + ",\"boots\":" + boots + "]}";
  return out + "\n";
}

void Node::Parts::register_metrics() {
  const auto counter = [this](const char* name, const char* help, uint64_t NodeStatus::*value,
                              const Metrics::Labels& labels = {}) {
    metrics.counter_callback(name, help, labels, [this, value] { return static_cast<double>(status().*value); });
  };
  const auto gauge = [this](const char* name, const char* help, uint64_t NodeStatus::*value) {
    metrics.gauge_callback(name, help, {}, [this, value] { return static_cast<double>(status().*value); });
  };
  counter("lambda_agent_points_made_total", "Points in the journal.", &NodeStatus::points_made);
  counter("lambda_agent_points_unmade_total", "Points that could not be journalled.", &NodeStatus::points_unmade);
  counter("lambda_agent_points_packed_total", "Points in parcels.", &NodeStatus::points_packed);
  counter("lambda_agent_points_recovered_total", "Points from journals of earlier starts.",
          &NodeStatus::points_recovered);
  const char* dropped = "lambda_agent_points_dropped_total";
  const char* why = "Points made and given up, by reason.";
  counter(dropped, why, &NodeStatus::points_dropped_bytes, {{"reason", "spool_bytes"}});
  counter(dropped, why, &NodeStatus::points_dropped_age, {{"reason", "spool_age"}});
  counter(dropped, why, &NodeStatus::points_dropped_refused, {{"reason", "refused"}});
  counter(dropped, why, &NodeStatus::points_dropped_corrupt, {{"reason", "corrupt"}});
  counter(dropped, why, &NodeStatus::points_dropped_memory, {{"reason", "memory"}});
  counter(dropped, why, &NodeStatus::points_dropped_journal, {{"reason", "journal_bytes"}});
  counter("lambda_agent_series_refused_total", "Series over the cap, or with names that are not allowed.",
          &NodeStatus::series_refused);
  counter("lambda_agent_series_of_others_total", "Times that a series was refused because another source makes it.",
          &NodeStatus::series_of_others);
  counter("lambda_agent_series_forgotten_total",
          "Series without a point for longer than memory.retention_ms that left.", &NodeStatus::series_forgotten);
  counter("lambda_agent_moments_missed_total", "Collections that were slept through.", &NodeStatus::moments_missed);
  counter("lambda_agent_clock_steps_total", "Times that the clock was set.", &NodeStatus::clock_steps);
  gauge("lambda_agent_series", "Series in this boot.", &NodeStatus::series);
  gauge("lambda_agent_backlog_parcels", "Parcels without an ack.", &NodeStatus::backlog_parcels);
  gauge("lambda_agent_backlog_points", "About how many points they hold.", &NodeStatus::backlog_points);
  gauge("lambda_agent_spool_bytes", "The spool on disk.", &NodeStatus::backlog_bytes);
  gauge("lambda_agent_boots_waiting", "Earlier starts whose journals are not read yet.", &NodeStatus::boots_waiting);
  gauge("lambda_agent_boots_waiting_bytes", "Their journals on disk.", &NodeStatus::boots_waiting_bytes);
  gauge("lambda_agent_journal_bytes", "The journal on disk.", &NodeStatus::journal_bytes);
  register_doors();
  metrics.gauge_callback("lambda_agent_connected", "1: to a gateway's broker.", {},
                         [this] { return status().connected ? 1.0 : 0.0; });
  metrics.gauge_callback("lambda_agent_disk_full", "1: the reserve was given up.", {},
                         [this] { return disk_full ? 1.0 : 0.0; });
  metrics.counter_callback("lambda_agent_spool_written_bytes_total", "Bytes written to the spool.", {},
                           [this] { return static_cast<double>(spool->counters().bytes_written); });
  metrics.counter_callback("lambda_agent_journal_written_bytes_total", "Bytes written to the journal.", {},
                           [this] { return static_cast<double>(journals_before.bytes + journal->counters().bytes); });
  metrics.counter_callback("lambda_agent_journal_syncs_total", "Syncs of the journal.", {},
                           [this] { return static_cast<double>(journals_before.syncs + journal->counters().syncs); });
  metrics.counter_callback("lambda_agent_disk_errors_total", "Failed appends and syncs.", {}, [this] {
    const auto& spooled = spool->counters();
    const auto& written = journal->counters();
    return static_cast<double>(spooled.append_errors + spooled.sync_errors + written.append_errors +
                               written.sync_errors);
  });
  metrics.counter_callback("lambda_agent_files_quarantined_total", "Damaged files put aside.", {},
                           [this] { return static_cast<double>(spool->counters().files_bad); });
  if (scraper != nullptr) register_scrape_metrics();
  if (connection == nullptr) return;
  metrics.counter_callback("lambda_agent_parcels_sent_total", "Sent for the first time in a connection.", {},
                           [this] { return static_cast<double>(connection->machine().counters().parcels_sent); });
  metrics.counter_callback("lambda_agent_parcels_resent_total", "Sent again.", {},
                           [this] { return static_cast<double>(connection->machine().counters().parcels_resent); });
  metrics.gauge_callback("lambda_agent_backlog_parcels_in_flight_max", "That keep the gateway's answers quick.", {},
                         [this] { return static_cast<double>(connection->machine().backlog_share().parcels()); });
  metrics.counter_callback("lambda_agent_backlog_slowed_total", "Times that the bound shrank.", {},
                           [this] { return static_cast<double>(connection->machine().backlog_share().shrunk()); });
  metrics.counter_callback("lambda_agent_connections_total", "Connections made.", {},
                           [this] { return static_cast<double>(connection->connects()); });
  register_live_metrics();
  register_question_metrics();
}

void Node::Parts::register_live_metrics() {
  const auto counter = [this](const char* name, const char* help, uint64_t LiveCounters::*value) {
    metrics.counter_callback(name, help, {}, [this, value] { return static_cast<double>(live->counters().*value); });
  };
  counter("lambda_live_interests_total", "Interests heard from gateways.", &LiveCounters::interests);
  counter("lambda_live_selectors_left_out_total", "Selectors over the bound of an interest.",
          &LiveCounters::interests_left_out);
  counter("lambda_live_selectors_refused_total", "Selectors that cannot be read.", &LiveCounters::selectors_refused);
  counter("lambda_live_messages_total", "Live messages sent.", &LiveCounters::messages);
  counter("lambda_live_bytes_total", "Their bytes.", &LiveCounters::bytes);
  counter("lambda_live_points_total", "Points sent ahead of their parcel.", &LiveCounters::points);
  counter("lambda_live_points_dropped_total", "Points left to their parcel: over the rate, or the connection was lost.",
          &LiveCounters::points_dropped);
  counter("lambda_live_blocks_dropped_total", "Open blocks left to their parcel.", &LiveCounters::blocks_dropped);
  counter("lambda_live_declarations_total", "Declarations sent.", &LiveCounters::declarations);
  counter("lambda_live_waits_total", "Times that the rate or the connection's queue made this lane wait.",
          &LiveCounters::waits);
  metrics.gauge_callback("lambda_live_gateways", "Gateways whose lease runs.", {},
                         [this] { return static_cast<double>(live->interests()); });
  metrics.gauge_callback("lambda_live_points_waiting", "Points that wait to be sent.", {},
                         [this] { return static_cast<double>(live->points_waiting()); });
}

void Node::Parts::register_question_metrics() {
  const auto counter = [this](const char* name, const char* help, uint32_t QuestionCounters::*value) {
    metrics.counter_callback(name, help, {}, [this, value] { return static_cast<double>(answers->counters().*value); });
  };
  counter("lambda_questions_asked_total", "Questions of gateways about what is in memory.", &QuestionCounters::asked);
  counter("lambda_questions_answered_total", "Of these, answered whole.", &QuestionCounters::answered);
  counter("lambda_questions_refused_total", "Of these, answered with an error.", &QuestionCounters::refused);
  counter("lambda_questions_expired_total", "Of these, given up: nobody waited or listened any longer.",
          &QuestionCounters::expired);
  counter("lambda_questions_malformed_total", "Messages that said they were questions.", &QuestionCounters::malformed);
  counter("lambda_questions_pieces_total", "Messages sent as answers.", &QuestionCounters::pieces);
}

void Node::Parts::register_doors() {
  const auto door = [this](const char* name, const char* help, const auto read, const Metrics::Labels& labels = {}) {
    metrics.counter_callback(name, help, labels, [read] { return static_cast<double>(read()); });
  };
  const char* fed = "lambda_agent_door_points_total";
  const char* fed_help = "Points that were handed in over HTTP, by what became of them.";
  door(fed, fed_help, [this] { return feeder->counters().points; }, {{"result", "made"}});
  door(fed, fed_help, [this] { return feeder->counters().points_again; }, {{"result", "again"}});
  door(fed, fed_help, [this] { return feeder->counters().points_refused; }, {{"result", "refused"}});
  door(fed, fed_help, [this] { return feeder->counters().points_failed; }, {{"result", "failed"}});
  door("lambda_agent_door_values_rounded_total", "Whole numbers over 2^53 that lost digits: values are 64-bit floats.",
       [this] { return feeder->counters().values_rounded; });
  door("lambda_agent_door_requests_total", "Requests that hand points in.",
       [this] { return doors->counters().requests; });
  door("lambda_agent_door_requests_refused_total", "Of these, those that were refused.",
       [this] { return doors->counters().requests_refused; });
  door("lambda_agent_door_requests_again_total", "Of these, those that came before, word for word.",
       [this] { return doors->counters().requests_again; });
  door("lambda_agent_door_requests_forgotten_total", "Requests answered well that would not be known again.",
       [this] { return requests->forgotten(); });
  metrics.gauge_callback("lambda_agent_door_points_waiting", "Points that wait for the journal.", {},
                         [this] { return static_cast<double>(feeder->points_waiting()); });
  metrics.gauge_callback("lambda_agent_door_series", "Series that the doors brought.", {},
                         [this] { return static_cast<double>(feeder->counters().series); });
  door("lambda_agent_door_batches_full_total", "Requests refused because too many points waited.",
       [this] { return feeder->counters().batches_full; });
  door("lambda_agent_door_known_forgotten_total", "Times that clients' spellings of series were too many to be kept.",
       [this] { return feeder->known().forgotten(); });
  register_http_metrics(metrics, [this] { return http == nullptr ? HttpCounters{} : http->counters(); });
}

// The worst ten of those whose series were refused: a few names that change.
void Node::Parts::tell_offenders() {
  for (const std::string& name : offenders_told) metrics.remove("metric", name);
  offenders_told.clear();
  for (const Offenders::Offender& offender : sampler->offenders().worst()) {
    metrics
        .gauge("lambda_agent_series_refused_worst", "Refusals of series over the cap, of the metrics with most.",
               {{"metric", offender.name}})
        .set(static_cast<double>(offender.count));
    offenders_told.push_back(offender.name);
  }
}

}  // namespace lambda::agent
