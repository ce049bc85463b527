#include "gateway/config.h"

namespace lambda::gateway {
namespace {

constexpr int64_t kYearMs = 366ll * 86'400'000;
constexpr uint64_t kTera = uint64_t{1} << 40;

void broker_keys(ConfigTable& table, GatewayConfig& config) {
  table.text(
      "broker.mode", config.broker_mode,
      "\"child\": a mosquitto of the gateway's own, ended with it; \"none\": one that runs already, at broker.url.",
      one_of({"child", "none"}));
  table.text("broker.url", config.broker_url, "With mode \"none\": mqtts://host:port or, on trusted ground, mqtt://.",
             [](const std::string& value) -> Status { return value.empty() ? Status() : mqtt_url()(value); });
  table.text("broker.program", config.broker_program, "The mosquitto to start.", not_empty());
  table.text("broker.address", config.broker_address, "Where the child listens; TLS and client certificates always.",
             listen_address());
  table.integer("broker.port", config.broker_port, 0, 65535, "Its port; 0: one is found once and kept.");
  table.text_list(
      "broker.names", config.broker_names, 32,
      "Names and addresses in its certificate and in bundles; empty: localhost, 127.0.0.1, this machine's name.",
      not_empty());
  table.text_list("broker.alert_readers", config.broker_alert_readers, 64,
                  "Who may read at the child what rules publish: names in certificates of the site's authority.",
                  identifier());
  BrokerLimits& limits = config.broker_limits;
  table.integer("broker.connections_max", limits.connections_max, 1, 1'000'000, "Further ones are refused.");
  table.integer("broker.message_bytes_max", limits.message_bytes_max, 1u << 20, 256u << 20,
                "Who sends a larger message is disconnected; not less than ingest.message_bytes_max.");
  table.integer("broker.inflight_messages_max", limits.inflight_messages_max, 1, 65'535,
                "Sent to one client and not acknowledged by it.");
  table.integer("broker.inflight_bytes_max", limits.inflight_bytes_max, 1u << 20, 1u << 30, "The same in bytes.");
  table.integer("broker.queued_messages_max", limits.queued_messages_max, 1, 10'000'000,
                "Waiting for one client; the broker drops further ones, and devices send them again.");
  table.integer("broker.queued_bytes_max", limits.queued_bytes_max, uint64_t{1} << 20, uint64_t{4} << 30,
                "The same in bytes.");
  table.integer("broker.outgoing_bytes_max", config.outgoing_bytes_max, uint64_t{1} << 20, uint64_t{1} << 30,
                "Answers the broker has not taken yet; past it acks wait and are merged.");
  table.rule("broker.url", [&config]() -> Status {
    if (config.broker_mode == "none" && config.broker_url.empty()) {
      return fail(ErrorCode::kInvalid, "must be given when broker.mode is \"none\"");
    }
    if (config.broker_mode == "child" && !config.broker_url.empty()) {
      return fail(ErrorCode::kInvalid,
                  "is only used when broker.mode is \"none\"; the child's place is broker.address and broker.port");
    }
    return {};
  });
}

void store_keys(ConfigTable& table, GatewayConfig& config) {
  StoreOptions& store = config.store;
  table.text("store.directory", store.directory, "Segments and index.", not_empty());
  table.integer("store.segment_bytes_max", store.segment_bytes_max, 1u << 20, uint64_t{4} << 30,
                "A segment is sealed at this size.");
  table.integer("store.retention_bytes_max", store.retention_bytes_max, 0, 1024 * kTera,
                "Older segments go; 0: as much as the disk has above free_bytes_min.");
  table.integer("store.retention_age_ms_max", store.retention_age_ms_max, 0, 200 * kYearMs,
                "Older segments go; 0: never.");
  table.integer("store.free_bytes_min", store.free_bytes_min, 0, kTera,
                "Less space on the disk than this: nothing is taken, acks are withheld.");
  table.integer("store.free_bytes_resume", store.free_bytes_resume, 0, kTera, "More than this: it is taken again.");
  table.integer("store.batch_bytes_max", store.batch_bytes_max, 1u << 20, uint64_t{1} << 30,
                "Waiting for one sync; past it devices are told to come again.");
  table.integer("store.batch_parcels_max", store.batch_parcels_max, 1, 1'000'000, "The same in parcels.");
  table.integer("store.coverage_bytes_max", store.coverage_bytes_max, 1u << 20, uint64_t{16} << 30,
                "Memory for what is known to be stored; the rest is looked up in the index.");
  table.integer("store.merge_interval_ms", store.merge_interval_ms, 0, kYearMs,
                "How often small blocks are merged; 0: never.");
  table.integer("store.merge_points_min", store.merge_points_min, 0, 1024, "Blocks with fewer points are small.");
  table.rule("store.free_bytes_resume", [&store]() -> Status {
    if (store.free_bytes_resume >= store.free_bytes_min) return {};
    return fail(ErrorCode::kInvalid, "must not be less than store.free_bytes_min");
  });
}

void ingest_keys(ConfigTable& table, GatewayConfig& config) {
  IngestLimits& limits = config.ingest;
  table.integer("ingest.message_bytes_max", limits.message_bytes_max, 2048, 4u << 20,
                "Larger parcels are refused for good.");
  table.number("ingest.device_bytes_per_s", limits.device_bytes_per_s, 1024, 1e10,
               "Over it a device is told to come again.");
  table.number("ingest.device_messages_per_s", limits.device_messages_per_s, 1, 1e6, "The same in messages.");
  table.number("ingest.device_nacks_per_s", limits.device_nacks_per_s, 1, 1e6,
               "Further refusals of a device are not answered.");
  table.integer("ingest.device_waiting_bytes_max", limits.device_waiting_bytes_max, 4u << 20, uint64_t{1} << 30,
                "On the way to the store, of one device.");
  table.integer("ingest.waiting_bytes_max", limits.waiting_bytes_max, 4u << 20, uint64_t{16} << 30,
                "The same of all devices.");
  table.integer("ingest.answers_waiting_max", limits.answers_waiting_max, 64, 10'000'000,
                "Runs of parcels whose ack could not be sent yet; further ones are dropped, devices ask again.");
  table.integer("ingest.busy_delay_ms", limits.busy_delay_ms, 50, 60'000, "When to come again after \"busy\".");
  table.integer("ingest.full_delay_ms", limits.full_delay_ms, 50, 3'600'000, "When to come again after \"full\".");
  table.integer("ingest.version_delay_ms", limits.version_delay_ms, 50, 3'600'000,
                "When to come again after \"version\".");
  table.integer("ingest.ahead_ms_max", limits.ahead_ms_max, 0, kYearMs,
                "Points later than this from now are counted as ahead.");
  table.rule("broker.message_bytes_max", [&config]() -> Status {
    const uint64_t parcel = config.ingest.message_bytes_max;
    if (config.broker_mode != "child" || config.broker_limits.message_bytes_max >= parcel) return {};
    return fail(ErrorCode::kInvalid, "must not be less than ingest.message_bytes_max, which is " +
                                         std::to_string(parcel) +
                                         ": a device with such a parcel would be disconnected each time it sends it");
  });
  QuarantineOptions& quarantine = config.quarantine;
  table.text("quarantine.directory", quarantine.directory,
             "Examples of refused messages; empty: inside store.directory.");
  table.integer("quarantine.bytes_max", quarantine.bytes_max, 0, kTera, "Past it nothing more is kept.");
  table.integer("quarantine.files_max", quarantine.files_max, 0, 1'000'000, "The same in files.");
  table.integer("quarantine.device_bytes_max", quarantine.device_bytes_max, 0, kTera, "The same for one device.");
  table.integer("quarantine.device_files_max", quarantine.device_files_max, 0, 1'000'000, "The same in files.");
}

Status http_url(const std::string& value) {
  if (value.rfind("http://", 0) == 0 || value.rfind("https://", 0) == 0) return {};
  return fail(ErrorCode::kInvalid, "\"" + value + "\" is no address; write http://host:port");
}

Status whole_path(const std::string& value) {
  if (value.rfind('/', 0) == 0 && value.find('\0') == std::string::npos) return {};
  return fail(ErrorCode::kInvalid, "\"" + value + "\" is not a program's whole path; write /usr/local/bin/horn");
}

void rules_keys(ConfigTable& table, GatewayConfig& config) {
  RulesOptions& rules = config.rules;
  table.text("rules.directory", rules.directory,
             "NAME.sql: rules; NAME.jsonl: rows of their tables; empty: inside store.directory.");
  table.flag("rules.exec", rules.exec, "Rules may run programs of this machine, those of exec_programs.");
  table.text_list("rules.exec_programs", rules.exec_programs, 64,
                  "Whole paths, as rules write them: DO exec('/path', ...).", whole_path);
  table.rule("rules.exec_programs", [&rules]() -> Status {
    if (!rules.exec || !rules.exec_programs.empty()) return {};
    return fail(ErrorCode::kInvalid, "must name the programs that rules may run, since rules.exec is true");
  });
  table.text_list("rules.alertmanagers", rules.alertmanagers, 8,
                  "Prometheus Alertmanagers that are told of every alert: http://host:9093.", http_url);
  table.text("rules.ca_file", rules.ca_file, "Whom https receivers are trusted by; empty: what the system trusts.");
  table.integer("rules.block_delay_ms", rules.block_delay_ms, 1'000, kYearMs,
                "How late a device's blocks may be: idle and max_delay of rules that do not set them.");
  table.integer("rules.gather_ms", rules.gather_ms, 0, 60'000,
                "Points of a device that arrive within are sorted by time before rules see them.");
  table.integer("rules.snapshot_interval_ms", rules.snapshot_interval_ms, 100, 3'600'000,
                "How often the state is saved; a restart reads again what arrived since.");
  table.integer("rules.input_bytes_max", rules.input_bytes_max, 1u << 20, kTera,
                "Further behind the store than this: the oldest segments are passed over.");
  table.integer("rules.live_points_max", rules.live_points_max, 1, 10'000'000,
                "Live points waiting for the engine; further ones are left to the blocks.");
  table.integer("rules.outbox_bytes_max", rules.outbox_bytes_max, 1u << 16, uint64_t{64} << 30,
                "Events on their way to receivers that are away; past it the oldest are dropped.");
  table.integer("rules.alerts_max", rules.alerts_max, 1, 10'000'000, "Pending and firing; further ones are refused.");
  table.integer("rules.files_max", rules.files_max, 1, 100'000, "Files in the folder; further ones are not read.");
  table.integer("rules.file_bytes_max", rules.file_bytes_max, 1024, 16u << 20, "A longer file is not read.");
  table.integer("rules.folder_bytes_max", rules.folder_bytes_max, 1024, uint64_t{1} << 30,
                "Of all files together; those that would make more are not read.");
  table.integer("rules.text_bytes_max", rules.text_bytes_max, 1u << 20, uint64_t{4} << 30,
                "Of different texts in points, until the rules are read again; points with further ones are left out.");
  table.integer("rules.log_lines_per_s_max", rules.log_lines_per_s_max, 1, 1'000'000, "Of log(); the rest is counted.");
  table.integer("rules.webhook_timeout_ms", rules.webhook_timeout_ms, 100, 600'000, "Of one question to a receiver.");
  table.integer("rules.retry_ms_max", rules.retry_ms_max, 1'000, 3'600'000,
                "The longest pause before a receiver is tried again.");
  table.integer("rules.event_age_ms_max", rules.event_age_ms_max, 0, kYearMs,
                "What waits for a receiver for longer is not told any more; 0: it is, however old.");
  table.integer("rules.exec_ms_max", rules.exec_ms_max, 100, 3'600'000, "A program that runs longer is killed.");
  table.integer("rules.exec_count_max", rules.exec_count_max, 1, 256, "Programs that run at once; further ones wait.");
}

void live_keys(ConfigTable& table, LiveOptions& live) {
  table.flag("live.enabled", live.enabled,
             "Agents are asked to send at once what questions read of the present; else it comes with their parcels.");
  table.integer("live.lease_ms", live.interest.lease_ms, 2'000, 300'000,
                "Agents go on for so long when they hear no more; said again at half of it.");
  table.integer("live.keep_ms", live.interest.keep_ms, 1'000, 86'400'000,
                "What a question read is wanted for so long; more than the time between two looks of a dashboard.");
  table.integer("live.selectors_max", live.interest.selectors_max, 1, 256,
                "Selectors wanted at once; past it the one asked for least recently gives way.");
  table.integer("live.selector_bytes_max", live.interest.selector_bytes_max, 64, 16'384,
                "Longer ones are answered, and not fresh.");
  table.integer("live.points_max", live.fresh.points_max, 1'000, 100'000'000,
                "Live points in memory, about 80 bytes each; past it the device with most gives up its oldest.");
  table.integer("live.streams_max", live.fresh.streams_max, 100, 10'000'000,
                "Series of devices' starts of which is known what came live; about 700 bytes each.");
  table.integer("live.points_keep_ms", live.fresh.keep_ms, 1'000, 86'400'000,
                "A live point whose parcel does not come is let go after so long.");
  table.integer("live.message_bytes_max", live.message_bytes_max, 1024, 4u << 20, "Larger messages are dropped.");
  table.number("live.device_bytes_per_s", live.device_bytes_per_s, 1024, 1e10,
               "Over it a device's live messages are dropped; its parcels bring the points.");
  table.number("live.device_messages_per_s", live.device_messages_per_s, 1, 1e6, "The same in messages.");
}

void questions_keys(ConfigTable& table, QuestionsOptions& questions) {
  table.integer("questions.timeout_ms", questions.timeout_ms, 100, 60'000,
                "A device that is asked (device=) and says nothing for so long is given up.");
  table.integer("questions.answer_ms_max", questions.answer_ms_max, 1'000, 60'000, "Its whole answer takes no longer.");
  table.integer("questions.answer_bytes_max", questions.answer_bytes_max, 64u << 10, 64u << 20,
                "A longer answer is refused: ask for less.");
  table.integer("questions.requests_max", questions.requests_max, 1, 256,
                "Requests at once that are for devices; further ones get 503. A long answer takes 4 MB.");
  table.integer("questions.device_requests_max", questions.device_requests_max, 1, 8, "The same for one device.");
}

}  // namespace

std::unique_ptr<ConfigTable> gateway_config_table(GatewayConfig& config) {
  auto table = std::make_unique<ConfigTable>("lambda-gateway");
  table->text("gateway.id", config.gateway, "This gateway's name: in answers, and the common name of its certificate.",
              identifier());
  table->text("site.name", config.site, "The site's name: part of every topic, and of every signature.", identifier());
  table->text("site.directory", config.site_directory, "The authority, certificates and the registry of devices.",
              not_empty());
  table->integer("site.registry_poll_ms", config.registry_poll_ms, 20, 60'000,
                 "How often the registry is looked at when nothing comes.");
  broker_keys(*table, config);
  http_keys(*table, config.http);
  store_keys(*table, config);
  ingest_keys(*table, config);
  live_keys(*table, config.live);
  questions_keys(*table, config.questions);
  rules_keys(*table, config);
  log_keys(*table, config.log);
  return table;
}

Result<GatewayConfig> load_gateway_config(Disk& disk, const Environment& environment, const std::string& path) {
  auto config = std::make_unique<GatewayConfig>();
  auto table = gateway_config_table(*config);
  if (auto loaded = table->load(disk, environment, path); !loaded) return tl::unexpected(loaded.error());
  return std::move(*config);
}

}  // namespace lambda::gateway
