// Which alerts there are, by what rules said so far: for those who ask, and so that nothing is told twice.
//
// An alert is one rule's for one key. Its id is a hash of rule, key and the time since when it fires: the same after a
// crash, when the engine says again what it had said. While an alert fires, a further "firing" of its key is a reminder
// of the same alert, whatever time it carries.
//
// Loop thread only.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gateway/rules/rule_feed.h"

namespace lambda::gateway {

struct Alert {
  std::string rule, file;
  uint64_t shape = 0;
  std::vector<std::pair<std::string, std::string>> key;
  std::string id;  // 32 hex digits; empty: not firing
  bool firing = false;
  int64_t active_ms = 0;  // pending since, or firing since where there was no FOR
  int64_t fired_ms = 0;
  int64_t pending_until_ms = 0;  // a pending alert that comes to nothing says so by silence
  std::string fields, value;
};

// What a rule said, as it is told to others.
struct RuleEvent {
  enum class Kind : uint8_t { kRow, kFiring, kReminder, kResolved } kind = Kind::kRow;
  std::string id;        // of the event: at-least-once sinks drop what they know
  std::string alert_id;  // of its alert; empty: a row
  std::string rule, file;
  std::vector<cep::ActionPlan> actions;
  std::vector<std::pair<std::string, std::string>> key;
  std::string fields, value;
  std::string reason;  // resolved otherwise than by the rule: "rule removed", "rule changed"
  int64_t t = 0;       // of the output
  int64_t fired_ms = 0;
  bool late = false;
};
const char* event_kind_name(RuleEvent::Kind kind);  // "row", "firing", "resolved"; a reminder is "firing"

struct AlertBookCounters {
  uint64_t fired = 0, resolved = 0, pending = 0, reminders = 0, rows = 0, refused = 0, limits = 0;
};

class AlertBook {
 public:
  explicit AlertBook(uint64_t alerts_max) : alerts_max_(alerts_max) {}

  // What there is to tell; nothing for what is only noted, and for alerts past the bound (counted).
  // `now_ms`: UTC; how long a pending alert is shown is counted from it, for points may be old when they come.
  std::optional<RuleEvent> apply(const RuleOutput& output, int64_t now_ms);
  // Rules as they are now: alerts of those that are gone, or are of another shape, end.
  std::vector<RuleEvent> set_rules(const std::vector<std::shared_ptr<const RuleFacts>>& rules, int64_t now_ms);

  // All end, with this reason.
  std::vector<RuleEvent> end_all(const char* reason, int64_t now_ms);

  // Ordered by rule and key. Pending ones whose time is over by `now_ms` are forgotten first.
  const std::map<std::string, Alert>& alerts(int64_t now_ms);
  uint64_t firing() const { return firing_; }
  const AlertBookCounters& counters() const { return counters_; }

  std::string save() const;
  // Into an empty one. kCorrupt.
  Status restore(std::string_view bytes);

 private:
  RuleEvent end(const Alert& alert, const char* reason, int64_t now_ms);

  const uint64_t alerts_max_;
  std::map<std::string, Alert> alerts_;  // by rule and key
  std::map<std::string, std::vector<cep::ActionPlan>> actions_;
  uint64_t firing_ = 0;
  AlertBookCounters counters_;
};

}  // namespace lambda::gateway
