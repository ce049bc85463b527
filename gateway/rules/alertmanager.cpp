#include "gateway/rules/alertmanager.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace lambda::gateway {
namespace {

using Json = nlohmann::ordered_json;

std::string dump(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

std::string time_text(int64_t time_ms) {
  using namespace std::chrono;
  constexpr int64_t kYear9999 = 253'402'300'799'999;
  const sys_time<milliseconds> at{milliseconds(std::clamp<int64_t>(time_ms, 0, kYear9999))};
  const auto day = floor<days>(at);
  const year_month_day date(day);
  const hh_mm_ss clock(at - day);
  char text[40];
  std::snprintf(text, sizeof text, "%04d-%02u-%02uT%02d:%02d:%02d.%03dZ", static_cast<int>(date.year()),
                static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                static_cast<int>(clock.hours().count()), static_cast<int>(clock.minutes().count()),
                static_cast<int>(clock.seconds().count()), static_cast<int>(clock.subseconds().count()));
  return text;
}

std::string event_body(const RuleEvent& event, const std::string& site, const std::string& gateway) {
  Json body{{"version", 1},
            {"id", event.id},
            {"alert", event.alert_id},
            {"site", site},
            {"gateway", gateway},
            {"rule", event.rule},
            {"kind", event_kind_name(event.kind)},
            {"t", event.t},
            {"fired", event.fired_ms},
            {"late", event.late},
            {"labels", Json::object()},
            {"fields", Json::parse(event.fields, nullptr, false)},
            {"value", event.value}};
  for (const auto& [name, value] : event.key) body["labels"][name] = value;
  if (!event.reason.empty()) body["reason"] = event.reason;
  if (event.kind == RuleEvent::Kind::kReminder) body["reminder"] = true;
  return dump(body);
}

std::string alertmanager_body(const std::string& event_body, int64_t now_ms) {
  const auto event = nlohmann::json::parse(event_body, nullptr, false);
  if (!event.is_object() || !event.contains("fired") || !event["fired"].is_number_integer() || !event.contains("t") ||
      !event["t"].is_number_integer()) {
    return "[]";
  }
  Json labels{{"alertname", event.value("rule", std::string())}, {"site", event.value("site", std::string())}};
  Json annotations = Json::object();
  const auto copy = [&event](const char* from, Json& into) {
    if (!event.contains(from) || !event[from].is_object()) return;
    for (const auto& [name, value] : event[from].items()) {
      into[name] = value.is_string() ? value.get<std::string>() : value.dump();
    }
  };
  copy("labels", labels);
  copy("fields", annotations);
  if (event.contains("reason")) annotations["reason"] = event.value("reason", std::string());
  const int64_t fired_ms = event["fired"].get<int64_t>(), t = event["t"].get<int64_t>();
  const bool over = event.value("kind", std::string()) == "resolved";
  Json alert{
      {"labels", labels},
      {"annotations", annotations},
      {"startsAt", time_text(fired_ms)},
      {"endsAt", time_text(over ? std::max(t, fired_ms + 1) : std::max(now_ms, fired_ms) + kAlertmanagerHoldMs)}};
  return dump(Json::array({alert}));
}

}  // namespace lambda::gateway
