// What rules said, on its way out.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "gateway/rules/alertmanager.h"
#include "gateway/rules/rules.h"
#include "gateway/rules/told_alert.h"
#include "query/duration.h"

namespace lambda::gateway {
namespace {

constexpr size_t kBodyBytesMax = 256u << 10;
constexpr size_t kResentAtOnce = 1'000;  // alerts in one body for an Alertmanager

// A level of a topic: what MQTT has a meaning for is replaced.
std::string topic_level(const std::string& name) {
  std::string out = name.substr(0, 64);
  std::ranges::replace_if(
      out, [](unsigned char c) { return c <= ' ' || c == '/' || c == '+' || c == '#' || c == 0x7F; }, '_');
  return out;
}

}  // namespace

void Rules::tell(const RuleEvent& event) {
  if (!outbox_) return;
  std::string body = event_body(event, options_.site, options_.gateway);
  if (body.size() > kBodyBytesMax) {
    counters_.events_too_large++;
    RuleEvent smaller = event;
    smaller.fields = "{}";
    smaller.key.resize(std::min<size_t>(smaller.key.size(), 1));
    body = event_body(smaller, options_.site, options_.gateway);
    if (body.size() > kBodyBytesMax) return;
  }
  // Rows that only go to the log are not worth the disk; alerts are remembered whatever becomes of them.
  const auto receivers = receivers_of(event);
  const bool kept = event.kind != RuleEvent::Kind::kRow || !receivers.empty();
  std::string told = told_text(event);
  if (told.size() > kBodyBytesMax) told.clear();
  if (kept && !outbox_->put(event.id, receivers, body, told)) return;  // told before the crash
  told_ = told_ || kept;
  for (const cep::ActionPlan& action : event.actions) {
    if (action.name == "log") log_event(event);
    if (action.name != "live" || action.args.size() != 2 || event.kind == RuleEvent::Kind::kResolved) continue;
    const auto duration_ms = query::parse_duration_ms(action.args[1]);
    counters_.live_requests++;
    if (port_.live && duration_ms) port_.live(action.args[0], *duration_ms);
  }
  alert_said_ = alert_said_ || event.kind == RuleEvent::Kind::kFiring || event.kind == RuleEvent::Kind::kResolved;
}

// What was told may leave when it is on the disk; and when the disk takes nothing.
void Rules::let_go() {
  if (!told_ || letting_go_ || !outbox_) return;
  told_ = false;
  letting_go_ = true;
  outbox_->sync([this, before = outbox_->next_number(), alive = alive_](const Status&) {
    if (!*alive) return;
    letting_go_ = false;
    outbox_->release(before);
    if (delivery_) delivery_->wake();
    let_go();
  });
}

std::vector<std::string> Rules::receivers_of(const RuleEvent& event) const {
  std::vector<std::string> receivers;
  const auto add = [&receivers](std::string receiver) {
    if (std::ranges::find(receivers, receiver) == receivers.end()) receivers.push_back(std::move(receiver));
  };
  for (const cep::ActionPlan& action : event.actions) {
    if (action.name == "mqtt") add("mqtt " + topic_level(action.args.empty() ? event.rule : action.args[0]));
    if (action.name == "webhook" && !action.args.empty()) add("webhook " + action.args[0]);
    if (action.name == "exec") add("exec " + nlohmann::json(action.args).dump());
  }
  // Alertmanagers hear of firing alerts again and again anyhow: resend().
  if (event.kind == RuleEvent::Kind::kFiring || event.kind == RuleEvent::Kind::kResolved) {
    for (const std::string& url : options_.alertmanagers) add("alertmanager " + url);
  }
  return receivers;
}

bool Rules::may_log() {
  const int64_t second = env_.clock.mono_ms() / 1000;
  if (second != log_second_) log_lines_ = 0;
  log_second_ = second;
  if (++log_lines_ <= options_.log_lines_per_s_max) return true;
  counters_.log_lines_dropped++;
  return false;
}

// A rule at one of its bounds; the engine says so at most once a minute for each.
void Rules::log_limit(const RuleOutput& output) {
  if (may_log()) env_.log.warn("rule_at_a_bound", {{"rule", output.rule->name}, {"what", output.fields}});
}

void Rules::log_event(const RuleEvent& event) {
  if (!may_log()) return;
  std::string key;
  for (const auto& [name, value] : event.key) key += (key.empty() ? "" : ",") + name + "=" + value;
  if (event.kind == RuleEvent::Kind::kRow) {
    env_.log.info("rule_row", {{"rule", event.rule}, {"t", event.t}, {"fields", event.fields}, {"late", event.late}});
    return;
  }
  const char* name = event.kind == RuleEvent::Kind::kResolved   ? "alert_resolved"
                     : event.kind == RuleEvent::Kind::kReminder ? "alert_reminder"
                                                                : "alert_firing";
  env_.log.write(event.kind == RuleEvent::Kind::kFiring ? LogLevel::kWarn : LogLevel::kInfo, name,
                 {{"rule", event.rule},
                  {"key", key},
                  {"t", event.t},
                  {"fields", event.fields},
                  {"reason", event.reason},
                  {"id", event.alert_id}});
}

// An Alertmanager takes an alert to be over when it hears no more of it, and forgets all when it restarts.
void Rules::resend() {
  const int64_t now_ms = env_.clock.mono_ms();
  if (options_.alertmanagers.empty() || http_ == nullptr || now_ms - resent_mono_ms_ < kAlertmanagerHoldMs / 4) return;
  resent_mono_ms_ = now_ms;
  if (book_.firing() == 0) return;
  const int64_t utc_ms = env_.clock.utc_ms();
  auto some = nlohmann::json::array();
  const auto send = [&] {
    const std::string body = some.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    for (const std::string& url : options_.alertmanagers) {
      HttpFetch fetch;
      fetch.url = url + "/api/v2/alerts";
      fetch.timeout_ms = options_.webhook_timeout_ms;
      if (url.rfind("https://", 0) == 0) fetch.ca_file = options_.ca_file;
      // Whatever comes of it: it is sent again in a minute.
      http_->post(std::move(fetch), "application/json", body, [](const Result<HttpPage>&) {});
    }
    some = nlohmann::json::array();
  };
  for (const auto& [name, alert] : book_.alerts()) {
    if (!alert.firing) continue;
    RuleEvent event;
    event.kind = RuleEvent::Kind::kFiring;
    event.rule = alert.rule;
    event.key = alert.key;
    event.fields = alert.fields;
    event.t = utc_ms;
    event.fired_ms = alert.fired_ms;
    const auto one = nlohmann::json::parse(
        alertmanager_body(event_body(event, options_.site, options_.gateway), utc_ms), nullptr, false);
    if (one.is_array() && !one.empty()) some.push_back(one[0]);
    if (some.size() >= kResentAtOnce) send();
  }
  if (!some.empty()) send();
}

}  // namespace lambda::gateway
