// The rules to look at: Prometheus' lists, our own, and what is counted.
#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "gateway/rules/alertmanager.h"
#include "gateway/rules/rules.h"

namespace lambda::gateway {
namespace {

using Json = nlohmann::ordered_json;

std::string as_text(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// As Prometheus shows it.
Json alert_json(const Alert& alert, const std::string& site) {
  Json labels{{"alertname", alert.rule}, {"site", site}};
  for (const auto& [name, value] : alert.key) labels[name] = value;
  Json annotations = Json::object();
  const Json fields = Json::parse(alert.fields, nullptr, false);
  if (fields.is_object()) {
    for (const auto& [name, value] : fields.items()) {
      annotations[name] = value.is_string() ? value.get<std::string>() : value.dump();
    }
  }
  return {{"labels", labels},
          {"annotations", annotations},
          {"state", alert.firing ? "firing" : "pending"},
          {"activeAt", time_text(alert.active_ms)},
          {"value", alert.value}};
}

}  // namespace

std::string Rules::alerts_json() {
  Json list = Json::array();
  const int64_t now_ms = env_.clock.utc_ms();
  for (const auto& [name, alert] : book_.alerts()) {
    if (alert.shown(now_ms)) list.push_back(alert_json(alert, options_.site));
  }
  return as_text(Json{{"alerts", list}});
}

std::string Rules::rules_json() {
  std::map<std::string, Json> alerts;  // by rule
  const int64_t now_ms = env_.clock.utc_ms();
  for (const auto& [name, alert] : book_.alerts()) {
    if (!alert.shown(now_ms)) continue;
    auto& list = alerts.try_emplace(alert.rule, Json::array()).first->second;
    list.push_back(alert_json(alert, options_.site));
  }
  std::map<std::string, const RuleFacts*> facts;
  for (const auto& fact : facts_) facts[fact->name] = fact.get();
  const std::string evaluated = time_text(ticked_ms_ == INT64_MIN ? 0 : ticked_ms_);
  Json groups = Json::array();
  for (const RuleFileState& file : files_) {
    Json rules = Json::array();
    for (const RuleFileState::Rule& rule : file.rules) {
      const auto fact = facts.find(rule.name);
      if (fact == facts.end()) continue;
      Json one{{"name", rule.name}, {"query", rule.text},  {"labels", Json::object()},
               {"health", "ok"},    {"evaluationTime", 0}, {"lastEvaluation", evaluated}};
      if (fact->second->alert) {
        const auto own = alerts.find(rule.name);
        const bool any = own != alerts.end();
        const bool fires =
            any && std::ranges::any_of(own->second, [](const Json& alert) { return alert["state"] == "firing"; });
        one["type"] = "alerting";
        one["state"] = fires ? "firing" : any ? "pending" : "inactive";
        one["duration"] = static_cast<double>(fact->second->for_ms) / 1000;
        one["annotations"] = Json::object();
        one["alerts"] = any ? own->second : Json::array();
      } else {
        one["type"] = "recording";
      }
      rules.push_back(std::move(one));
    }
    if (file.name.ends_with(".sql")) {
      groups.push_back({{"name", file.name},
                        {"file", options_.directory + "/" + file.name},
                        {"interval", 0},
                        {"limit", 0},
                        {"rules", rules}});
    }
  }
  return as_text(Json{{"groups", groups}});
}

std::string Rules::files_json() const {
  std::map<std::string, size_t> number;
  for (size_t i = 0; i < facts_.size(); ++i) number[facts_[i]->name] = i;
  Json files = Json::array();
  for (const RuleFileState& file : files_) {
    Json rules = Json::array(), errors = Json::array();
    for (const RuleFileState::Rule& rule : file.rules) {
      Json one{{"rule", rule.name}};
      const auto found = number.find(rule.name);
      if (found != number.end()) {
        one["alert"] = facts_[found->second]->alert;
        Json actions = Json::array();
        for (const cep::ActionPlan& action : facts_[found->second]->actions) actions.push_back(action.name);
        one["actions"] = std::move(actions);
      }
      if (found != number.end() && found->second < rule_counters_.size()) {
        const cep::RuleCounters& c = rule_counters_[found->second];
        one["events"] = c.events;
        one["outputs"] = c.outputs;
        one["late_dropped"] = c.late_dropped;
        one["null_keys"] = c.null_keys;
        one["at_a_bound"] = c.keys_rejected + c.forced_release + c.runs_dropped + c.captures_dropped + c.state_dropped;
      }
      rules.push_back(std::move(one));
    }
    for (const cep::Diagnostic& error : file.errors) {
      errors.push_back({{"line", error.at.line}, {"column", error.at.column}, {"error", error.text}});
    }
    files.push_back({{"file", file.name},
                     {"bytes", file.bytes},
                     {"rules", std::move(rules)},
                     {"errors", std::move(errors)},
                     {"notes", file.notes}});
  }
  return as_text(Json{{"directory", options_.directory},
                      {"files", std::move(files)},
                      {"metrics", metrics_},
                      {"alerts_firing", book_.firing()},
                      {"alerts_fired", book_.counters().fired},
                      {"alerts_resolved", book_.counters().resolved},
                      {"behind_bytes", behind_bytes_},
                      {"deliveries_waiting", outbox_ ? outbox_->waiting() : 0}});
}

void Rules::register_metrics(Metrics& metrics) {
  const auto count = [&metrics](const char* name, const char* help, std::function<uint64_t()> read,
                                const Metrics::Labels& labels = {}) {
    metrics.counter_callback(std::string("lambda_rules_") + name, help, labels,
                             [read = std::move(read)] { return static_cast<double>(read()); });
  };
  const auto gauge = [&metrics](const char* name, const char* help, std::function<double()> read) {
    metrics.gauge_callback(std::string("lambda_rules_") + name, help, {}, std::move(read));
  };
  gauge("loaded", "Rules that run.", [this] { return static_cast<double>(facts_.size()); });
  gauge("files_with_errors", "Files that are kept out.", [this] {
    return static_cast<double>(std::ranges::count_if(files_, [](const auto& file) { return !file.errors.empty(); }));
  });
  gauge("alerts_firing", "Alerts that fire now.", [this] { return static_cast<double>(book_.firing()); });
  gauge("behind_bytes", "Of segments, not read by the rules yet.",
        [this] { return static_cast<double>(behind_bytes_); });
  gauge("outbox_bytes", "Of files with events on their way.",
        [this] { return outbox_ ? static_cast<double>(outbox_->bytes()) : 0.0; });
  gauge("deliveries_waiting", "Events that a receiver does not have yet.",
        [this] { return outbox_ ? static_cast<double>(outbox_->waiting()) : 0.0; });
  const RuleFeedCounters& f = feed_counters_;
  count("events_total", "Points given to the engine.", [&f] { return f.events; });
  count("live_events_total", "Of them, by the live lane.", [&f] { return f.live_events; });
  count("live_left_total", "Live points left to their blocks, since there are too many gaps between them.",
        [&f] { return f.live_left; });
  count("texts_refused_total", "Points left out, since rules.text_bytes_max had no room for a label of theirs.",
        [&f] { return f.texts_refused; });
  count("live_known_total", "Live points that a block had brought.", [&f] { return f.live_known; });
  count("live_unbound_total", "Live points of series that no block has told of, or no rule reads.",
        [&f] { return f.live_unbound; });
  count("blocks_decoded_total", "Blocks that some rule reads.", [&f] { return f.blocks_decoded; });
  count("blocks_passed_total", "Blocks that none reads.", [&f] { return f.blocks_passed; });
  count("blocks_undecodable_total", "Blocks that could not be read.", [&f] { return f.undecodable; });
  count("points_timeless_total", "Points whose device did not know the time.", [&f] { return f.timeless; });
  count("gathered_early_total", "Devices whose points went on before gather_ms, at a bound.",
        [&f] { return f.gather_early; });
  count("series_forgotten_total", "Series looked up again, at a bound.", [&f] { return f.series_forgotten; });
  count("records_damaged_total", "Records of segments that could not be read.", [&f] { return f.damaged_records; });
  count("state_begun_anew_total", "Reloads that lost the state.", [&f] { return f.begun_anew; });
  const AlertBookCounters& b = book_.counters();
  count("alerts_fired_total", "Alerts that began to fire; goes on after a restart.", [&b] { return b.fired; });
  count("alerts_resolved_total", "Alerts that ended; goes on after a restart.", [&b] { return b.resolved; });
  count("alerts_refused_total", "Alerts past rules.alerts_max.", [&b] { return b.refused; });
  count("alerts_recalled_total", "Alerts that were told shortly before a crash and are in doubt after it.",
        [&b] { return b.recalled; });
  count("alerts_withdrawn_total", "Of them, resolved since no rule said them again.", [&b] { return b.withdrawn; });
  count("rows_total", "Rows that rules put out.", [&b] { return b.rows; });
  count("limits_total", "Times that a rule said it was at a bound.", [&b] { return b.limits; });
  const RulesCounters& c = counters_;
  count("input_skipped_bytes_total", "Of segments passed over, since rules were too slow.",
        [&c] { return c.input_skipped_bytes; });
  count("input_missed_total", "Times that segments were gone before rules read them.", [&c] { return c.input_missed; });
  count("live_dropped_total", "Live points left to the blocks, at a bound.", [&c] { return c.live_dropped; });
  count("snapshots_total", "States saved.", [&c] { return c.snapshots; });
  count("snapshot_errors_total", "States that could not be saved or read.", [&c] { return c.snapshot_errors; });
  count("log_lines_dropped_total", "Lines of log() past the rate.", [&c] { return c.log_lines_dropped; });
  count("files_refused_total", "Files that could not be read, or are past a bound.", [&c] { return c.files_refused; });
  count("delivered_total", "Events that receivers took.",
        [this] { return delivery_ ? delivery_->counters().delivered : 0; });
  count("delivery_failures_total", "Attempts that failed; they are repeated.",
        [this] { return delivery_ ? delivery_->counters().failed_attempts : 0; });
  count("delivery_refused_total", "Events that a receiver refused for good.",
        [this] { return delivery_ ? delivery_->counters().refused : 0; });
  count("events_too_old_total", "Deliveries given up after rules.event_age_ms_max.",
        [this] { return delivery_ ? delivery_->counters().too_old : 0; });
  count("programs_started_total", "Programs that rules ran.",
        [this] { return delivery_ ? delivery_->counters().exec_started : 0; });
  count("programs_failed_total", "Of them, could not be started or ended with another status than 0.",
        [this] { return delivery_ ? delivery_->counters().exec_failed : 0; });
  count("programs_ended_total", "Of them, ended by the gateway after rules.exec_ms_max.",
        [this] { return delivery_ ? delivery_->counters().exec_ended_late : 0; });
  count("outbox_dropped_total", "Deliveries dropped, the oldest first, at outbox_bytes_max.",
        [this] { return outbox_ ? outbox_->counters().dropped : 0; });
  count("outbox_errors_total", "Writes of the outbox that failed.",
        [this] { return outbox_ ? outbox_->counters().write_errors : 0; });
}

}  // namespace lambda::gateway
