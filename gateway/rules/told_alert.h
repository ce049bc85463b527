// What was told of an alert, as it stands in the outbox beside the event: enough to know after a crash what others
// believe, whatever the state that was saved says. Pure functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "gateway/rules/alert_book.h"

namespace lambda::gateway {

// JSON. Empty for a row, which nobody has to take back.
std::string told_text(const RuleEvent& event);
// Nothing: not the text of an alert.
std::optional<RuleEvent> read_told(std::string_view text);

}  // namespace lambda::gateway
