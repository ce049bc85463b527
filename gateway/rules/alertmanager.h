// An event as Prometheus' Alertmanager takes it (POST /api/v2/alerts), out of the JSON that webhooks get.
// Pure functions: any thread.
#pragma once

#include <cstdint>
#include <string>

#include "gateway/rules/alert_book.h"

namespace lambda::gateway {

// How long an Alertmanager takes a firing alert to go on when nothing more is heard of it. Firing ones are sent again
// after a quarter of it.
inline constexpr int64_t kAlertmanagerHoldMs = 240'000;

// {"version":1,"id":..,"alert":..,"site":..,"gateway":..,"rule":..,"kind":"firing","t":..,"fired":..,"late":..,
//  "labels":{..},"fields":{..},"value":".."}
std::string event_body(const RuleEvent& event, const std::string& site, const std::string& gateway);

// [{labels, annotations, startsAt, endsAt}] of one such body; "[]" when it is none. Firing alerts end
// kAlertmanagerHoldMs after `now_ms`: what an event waited, or how late its points were, does not make it look over.
std::string alertmanager_body(const std::string& event_body, int64_t now_ms);

// RFC 3339 with milliseconds, UTC.
std::string time_text(int64_t time_ms);

}  // namespace lambda::gateway
