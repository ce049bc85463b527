#include "gateway/rules/told_alert.h"

#include <nlohmann/json.hpp>

namespace lambda::gateway {
namespace {

using nlohmann::json;

std::string text_of(const json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

int64_t integer_of(const json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_number_integer() ? found->get<int64_t>() : 0;
}

const json& list_of(const json& object, const char* name) {
  static const json none = json::array();
  const auto found = object.find(name);
  return found != object.end() && found->is_array() ? *found : none;
}

bool is_texts(const json& list) {
  if (!list.is_array() || list.empty()) return false;
  for (const json& text : list) {
    if (!text.is_string()) return false;
  }
  return true;
}

}  // namespace

std::string told_text(const RuleEvent& event) {
  if (event.kind == RuleEvent::Kind::kRow) return {};
  json key = json::array(), actions = json::array();
  for (const auto& [name, value] : event.key) key.push_back({name, value});
  for (const cep::ActionPlan& action : event.actions) {
    json words = json::array({action.name});
    for (const std::string& arg : action.args) words.push_back(arg);
    actions.push_back(std::move(words));
  }
  const json told{{"id", event.id},
                  {"alert", event.alert_id},
                  {"over", event.kind == RuleEvent::Kind::kResolved},
                  {"rule", event.rule},
                  {"file", event.file},
                  {"shape", event.shape},
                  {"key", std::move(key)},
                  {"actions", std::move(actions)},
                  {"fields", event.fields},
                  {"value", event.value},
                  {"active", event.active_ms},
                  {"fired", event.fired_ms}};
  return told.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::optional<RuleEvent> read_told(std::string_view text) {
  const json told = json::parse(text, nullptr, false);
  if (!told.is_object()) return std::nullopt;
  RuleEvent event;
  event.id = text_of(told, "id");
  event.alert_id = text_of(told, "alert");
  event.rule = text_of(told, "rule");
  if (event.alert_id.empty() || event.rule.empty()) return std::nullopt;
  event.kind = told.value("over", json()) == json(true) ? RuleEvent::Kind::kResolved : RuleEvent::Kind::kFiring;
  event.file = text_of(told, "file");
  if (const auto shape = told.find("shape"); shape != told.end() && shape->is_number_unsigned()) {
    event.shape = shape->get<uint64_t>();
  }
  for (const json& pair : list_of(told, "key")) {
    if (is_texts(pair) && pair.size() == 2) {
      event.key.emplace_back(pair[0].get<std::string>(), pair[1].get<std::string>());
    }
  }
  for (const json& words : list_of(told, "actions")) {
    if (!is_texts(words)) continue;
    cep::ActionPlan& action = event.actions.emplace_back();
    action.name = words[0].get<std::string>();
    for (size_t i = 1; i < words.size(); ++i) action.args.push_back(words[i].get<std::string>());
  }
  event.fields = text_of(told, "fields");
  event.value = text_of(told, "value");
  event.active_ms = integer_of(told, "active");
  event.fired_ms = integer_of(told, "fired");
  return event;
}

}  // namespace lambda::gateway
