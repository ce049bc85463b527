// Which alerts there are, by what rules said so far: for those who ask, and so that nothing is told twice.
//
// An alert is one rule's for one key. Its id is a hash of rule, key and the event time of the row that began it (with
// FOR, of the first row that held; not when it arrived): the same after a crash, when the engine says again what it had
// said. While an alert fires, a further "firing" of its key is a reminder of the same alert, whatever time it carries.
//
// What was told after the last state was saved is recalled from the outbox: what others believe, the book believes. The
// engine of a restored state may come to another result, for live points are gone that it had then. So an alert that
// was recalled as firing is in doubt until the engine says so too; when it has not said so after its grace, it is
// withdrawn.
//
// Loop thread only.
#pragma once

#include <cstdint>
#include <deque>
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
  int64_t doubt_until_ms = 0;    // recalled, and not said again; 0: no doubt
  std::string fields, value;

  // Is it still to be shown at `now_ms`?
  bool shown(int64_t now_ms) const { return firing || pending_until_ms >= now_ms; }
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
  std::string reason;  // resolved otherwise than by the rule: "rule removed", "rule changed", ...
  int64_t t = 0;       // of the output
  int64_t fired_ms = 0;
  int64_t active_ms = 0;  // of an alert
  uint64_t shape = 0;
  bool late = false;
};
const char* event_kind_name(RuleEvent::Kind kind);  // "row", "firing", "resolved"; a reminder is "firing"

struct AlertBookCounters {
  uint64_t fired = 0, resolved = 0, pending = 0, reminders = 0, rows = 0, refused = 0, limits = 0, recalled = 0,
           withdrawn = 0;
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

  // As the process before told it, after the state that was restored; one after the other as they were told. What fires
  // is in doubt until `doubt_until_ms`.
  void recall(const RuleEvent& told, int64_t doubt_until_ms);
  // The engine begins without state: all that fires is in doubt.
  void doubt_all(int64_t until_ms);
  // What is in doubt for longer ends.
  std::vector<RuleEvent> withdraw(int64_t now_ms);

  // Ordered by rule and key. Ask each whether it is shown: pending ones are kept for a while, for their id.
  const std::map<std::string, Alert>& alerts() const { return alerts_; }
  // What has been pending for too long to fire.
  void forget_pending(int64_t now_ms);
  const std::vector<cep::ActionPlan>* actions_of(const std::string& rule) const;
  uint64_t firing() const { return firing_; }
  const AlertBookCounters& counters() const { return counters_; }

  std::string save() const;
  // Into an empty one. kCorrupt.
  Status restore(std::string_view bytes);

 private:
  RuleEvent end(const Alert& alert, const char* reason, int64_t now_ms);
  std::string new_id(const std::string& name, int64_t active_ms) const;
  void note_withdrawn(const std::string& id);

  const uint64_t alerts_max_;
  std::map<std::string, Alert> alerts_;  // by rule and key
  std::map<std::string, std::vector<cep::ActionPlan>> actions_;
  // Ids of alerts that were withdrawn, the oldest first: one that fires after all must be news to whoever drops what it
  // knows. Past kWithdrawnMax the oldest is forgotten.
  std::deque<std::string> withdrawn_;
  uint64_t firing_ = 0;
  AlertBookCounters counters_;
};

}  // namespace lambda::gateway
