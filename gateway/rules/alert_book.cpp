#include "gateway/rules/alert_book.h"

#include <algorithm>
#include <span>

#include "base/crypto/crypto.h"
#include "cep/stream/snapshot.h"

namespace lambda::gateway {
namespace {

constexpr uint32_t kVersion = 2;                // of what is saved
constexpr int64_t kPendingGraceMs = 5'000;      // the clock's seconds, and a device that was gathered late
constexpr int64_t kSamplesPendingMs = 300'000;  // of FOR n SAMPLES: nobody knows when the next one comes
constexpr int64_t kPendingKeptMs = 3'600'000;   // not shown any more, but should it fire, that is when it began
constexpr size_t kWithdrawnMax = 1'000;
constexpr const char* kWithdrawn = "-withdrawn";  // the end of an event's id

std::string hash_of(const std::string& text) {
  const Digest digest = sha256({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  return hex(std::span(digest).first(16));
}

// Nul bytes cannot be in names, and end a value wherever it stands.
std::string name_of(const std::string& rule, const std::vector<std::pair<std::string, std::string>>& key) {
  std::string name = rule;
  for (const auto& [label, value] : key) {
    name += '\0' + label + '\0' + std::to_string(value.size()) + '\0' + value;
  }
  return name;
}

RuleEvent event_of(const Alert& alert, RuleEvent::Kind kind, int64_t t) {
  RuleEvent event;
  event.kind = kind;
  event.alert_id = alert.id;
  event.id = alert.id + (kind == RuleEvent::Kind::kResolved ? "-resolved" : "-firing");
  if (kind == RuleEvent::Kind::kReminder) event.id += "-" + std::to_string(t);
  event.rule = alert.rule;
  event.file = alert.file;
  event.key = alert.key;
  event.fields = alert.fields;
  event.value = alert.value;
  event.t = t;
  event.fired_ms = alert.fired_ms;
  event.active_ms = alert.active_ms;
  event.shape = alert.shape;
  return event;
}

}  // namespace

const char* event_kind_name(RuleEvent::Kind kind) {
  switch (kind) {
    case RuleEvent::Kind::kRow:
      return "row";
    case RuleEvent::Kind::kFiring:
    case RuleEvent::Kind::kReminder:
      return "firing";
    case RuleEvent::Kind::kResolved:
      return "resolved";
  }
  return "?";
}

std::optional<RuleEvent> AlertBook::apply(const RuleOutput& output, int64_t now_ms) {
  const RuleFacts& rule = *output.rule;
  if (output.kind == cep::OutputKind::kLimit) {
    counters_.limits++;
    return std::nullopt;
  }
  const std::string name = name_of(rule.name, output.key);
  if (output.kind == cep::OutputKind::kRow) {
    counters_.rows++;
    RuleEvent event;
    event.id =
        hash_of(name + '\0' + std::to_string(output.t) + '\0' + std::to_string(output.on_input) + '\0' + output.fields);
    event.rule = rule.name;
    event.file = rule.file;
    event.actions = rule.actions;
    event.key = output.key;
    event.fields = output.fields;
    event.value = output.value;
    event.t = output.t;
    event.late = output.late;
    return event;
  }
  auto found = alerts_.find(name);
  if (output.kind == cep::OutputKind::kResolved) {
    if (found == alerts_.end() || !found->second.firing) return std::nullopt;
    found->second.fields = output.fields;
    found->second.value = output.value;
    RuleEvent event = event_of(found->second, RuleEvent::Kind::kResolved, output.t);
    event.actions = rule.actions;
    alerts_.erase(found);
    firing_--;
    counters_.resolved++;
    return event;
  }
  if (found == alerts_.end()) {
    if (alerts_.size() >= alerts_max_) {
      std::erase_if(alerts_, [now_ms](const auto& entry) { return !entry.second.shown(now_ms); });
    }
    if (alerts_.size() >= alerts_max_) {
      counters_.refused++;
      return std::nullopt;
    }
    found = alerts_.emplace(name, Alert{}).first;
    found->second.active_ms = output.t;
  }
  Alert& alert = found->second;
  const bool fires = output.kind == cep::OutputKind::kFiring;
  const int64_t wait_ms = rule.for_ms > 0 ? rule.for_ms + kPendingGraceMs : kSamplesPendingMs;
  if (!fires && alert.firing) {  // its rule began anew; it is told when it is over
    if (alert.doubt_until_ms > 0) alert.doubt_until_ms = std::max(alert.doubt_until_ms, now_ms + wait_ms);
    return std::nullopt;
  }
  alert.rule = rule.name;
  alert.file = rule.file;
  alert.shape = rule.shape;
  alert.key = output.key;
  alert.fields = output.fields;
  alert.value = output.value;
  if (!fires) {
    alert.active_ms = output.t;
    alert.pending_until_ms = std::max(output.t, now_ms) + wait_ms;
    counters_.pending++;
    return std::nullopt;
  }
  RuleEvent::Kind kind = RuleEvent::Kind::kReminder;
  if (alert.firing && alert.doubt_until_ms > 0) {  // everybody knows
    alert.doubt_until_ms = 0;
    return std::nullopt;
  }
  if (alert.firing) {
    counters_.reminders++;
  } else {
    kind = RuleEvent::Kind::kFiring;
    alert.firing = true;
    alert.fired_ms = output.t;
    alert.id = new_id(name, alert.active_ms);
    firing_++;
    counters_.fired++;
  }
  RuleEvent event = event_of(alert, kind, output.t);
  event.actions = rule.actions;
  return event;
}

std::string AlertBook::new_id(const std::string& name, int64_t active_ms) const {
  std::string id = hash_of(name + '\0' + std::to_string(active_ms));
  while (std::ranges::find(withdrawn_, id) != withdrawn_.end()) id = hash_of(id);
  return id;
}

void AlertBook::note_withdrawn(const std::string& id) {
  withdrawn_.push_back(id);
  if (withdrawn_.size() > kWithdrawnMax) withdrawn_.pop_front();
}

void AlertBook::recall(const RuleEvent& told, int64_t doubt_until_ms) {
  const std::string name = name_of(told.rule, told.key);
  const auto found = alerts_.find(name);
  const bool fires = found != alerts_.end() && found->second.firing;
  if (told.kind == RuleEvent::Kind::kResolved) {
    const bool known = std::ranges::find(withdrawn_, told.alert_id) != withdrawn_.end();
    if (told.id.ends_with(kWithdrawn) && !known) note_withdrawn(told.alert_id);
    if (!fires || found->second.id != told.alert_id) return;
    alerts_.erase(found);
    firing_--;
    counters_.resolved++;
    return;
  }
  if (fires) return;
  if (found == alerts_.end() && alerts_.size() >= alerts_max_) {
    counters_.refused++;
    return;
  }
  Alert& alert = alerts_[name];
  alert.rule = told.rule;
  alert.file = told.file;
  alert.shape = told.shape;
  alert.key = told.key;
  alert.id = told.alert_id;
  alert.firing = true;
  alert.active_ms = told.active_ms;
  alert.fired_ms = told.fired_ms;
  alert.doubt_until_ms = doubt_until_ms;
  alert.fields = told.fields;
  alert.value = told.value;
  actions_.try_emplace(told.rule, told.actions);
  firing_++;
  counters_.fired++;
  counters_.recalled++;
}

void AlertBook::doubt_all(int64_t until_ms) {
  for (auto& [name, alert] : alerts_) {
    if (alert.firing) alert.doubt_until_ms = until_ms;
  }
}

std::vector<RuleEvent> AlertBook::withdraw(int64_t now_ms) {
  std::vector<RuleEvent> ended;
  for (auto at = alerts_.begin(); at != alerts_.end();) {
    const Alert& alert = at->second;
    if (alert.doubt_until_ms == 0 || alert.doubt_until_ms > now_ms) {
      ++at;
      continue;
    }
    ended.push_back(end(alert, "not seen again after the gateway's restart", now_ms));
    ended.back().id = alert.id + kWithdrawn;
    note_withdrawn(alert.id);
    counters_.withdrawn++;
    at = alerts_.erase(at);
  }
  return ended;
}

void AlertBook::forget_pending(int64_t now_ms) {
  std::erase_if(alerts_, [now_ms](const auto& entry) { return !entry.second.shown(now_ms - kPendingKeptMs); });
}

const std::vector<cep::ActionPlan>* AlertBook::actions_of(const std::string& rule) const {
  const auto found = actions_.find(rule);
  return found == actions_.end() ? nullptr : &found->second;
}

// Whoever heard of it hears that it is over.
RuleEvent AlertBook::end(const Alert& alert, const char* reason, int64_t now_ms) {
  RuleEvent event = event_of(alert, RuleEvent::Kind::kResolved, std::max(now_ms, alert.fired_ms));
  event.reason = reason;
  const auto actions = actions_.find(alert.rule);
  if (actions != actions_.end()) event.actions = actions->second;
  firing_--;
  counters_.resolved++;
  return event;
}

std::vector<RuleEvent> AlertBook::end_all(const char* reason, int64_t now_ms) {
  std::vector<RuleEvent> ended;
  for (const auto& [name, alert] : alerts_) {
    if (alert.firing) ended.push_back(end(alert, reason, now_ms));
  }
  alerts_.clear();
  return ended;
}

std::vector<RuleEvent> AlertBook::set_rules(const std::vector<std::shared_ptr<const RuleFacts>>& rules,
                                            int64_t now_ms) {
  std::map<std::string, const RuleFacts*> by_name;
  for (const auto& rule : rules) by_name[rule->name] = rule.get();
  std::vector<RuleEvent> ended;
  for (auto at = alerts_.begin(); at != alerts_.end();) {
    const auto rule = by_name.find(at->second.rule);
    const bool same = rule != by_name.end() && (at->second.shape == 0 || rule->second->shape == at->second.shape);
    if (same) {
      at->second.shape = rule->second->shape;
      at->second.file = rule->second->file;
      ++at;
      continue;
    }
    if (at->second.firing) {
      ended.push_back(end(at->second, rule == by_name.end() ? "rule removed" : "rule changed", now_ms));
    }
    at = alerts_.erase(at);
  }
  actions_.clear();
  for (const auto& rule : rules) {
    if (rule->alert) actions_[rule->name] = rule->actions;
  }
  return ended;
}

std::string AlertBook::save() const {
  const cep::Symbols none;
  cep::StateWriter out(none);
  out.u32(kVersion);
  const auto texts = [&out](const auto& pairs) {
    out.u32(static_cast<uint32_t>(pairs.size()));
    for (const auto& [name, value] : pairs) {
      out.text(name);
      out.text(value);
    }
  };
  out.u64(counters_.fired);
  out.u64(counters_.resolved);
  out.u32(static_cast<uint32_t>(actions_.size()));
  for (const auto& [rule, actions] : actions_) {
    out.text(rule);
    out.u32(static_cast<uint32_t>(actions.size()));
    for (const cep::ActionPlan& action : actions) {
      out.text(action.name);
      out.u32(static_cast<uint32_t>(action.args.size()));
      for (const std::string& arg : action.args) out.text(arg);
    }
  }
  out.u32(static_cast<uint32_t>(withdrawn_.size()));
  for (const std::string& id : withdrawn_) out.text(id);
  out.u32(static_cast<uint32_t>(alerts_.size()));
  for (const auto& [name, alert] : alerts_) {
    out.text(name);
    out.text(alert.rule);
    out.text(alert.file);
    out.u64(alert.shape);
    texts(alert.key);
    out.text(alert.id);
    out.flag(alert.firing);
    out.i64(alert.active_ms);
    out.i64(alert.fired_ms);
    out.i64(alert.pending_until_ms);
    out.i64(alert.doubt_until_ms);
    out.text(alert.fields);
    out.text(alert.value);
  }
  return out.finish();
}

Status AlertBook::restore(std::string_view bytes) {
  cep::Symbols none;
  auto in = cep::StateReader::open(bytes, none);
  if (!in) return tl::unexpected(in.error());
  const uint32_t version = in->u32();
  if (version < 1 || version > kVersion) return fail(ErrorCode::kUnsupported, "the alerts are of another version");
  AlertBookCounters counters;
  counters.fired = in->u64();
  counters.resolved = in->u64();
  std::map<std::string, std::vector<cep::ActionPlan>> rules;
  for (size_t n = in->count(8); n > 0 && in->ok(); --n) {
    auto& actions = rules[in->text()];
    for (size_t m = in->count(8); m > 0 && in->ok(); --m) {
      cep::ActionPlan& action = actions.emplace_back();
      action.name = in->text();
      for (size_t k = in->count(4); k > 0 && in->ok(); --k) action.args.push_back(in->text());
    }
  }
  std::deque<std::string> withdrawn;
  for (size_t n = version < 2 ? 0 : in->count(4); n > 0 && in->ok(); --n) withdrawn.push_back(in->text());
  std::map<std::string, Alert> alerts;
  uint64_t firing = 0;
  for (size_t n = in->count(60); n > 0 && in->ok(); --n) {
    (void)in->text();  // the name, of older versions in another order
    Alert alert;
    alert.rule = in->text();
    alert.file = in->text();
    alert.shape = in->u64();
    if (version < 2) alert.shape = 0;  // did not cover the labels
    for (size_t m = in->count(8); m > 0 && in->ok(); --m) {
      std::string label = in->text();
      alert.key.emplace_back(std::move(label), in->text());
    }
    alert.id = in->text();
    alert.firing = in->flag();
    alert.active_ms = in->i64();
    alert.fired_ms = in->i64();
    alert.pending_until_ms = in->i64();
    if (version >= 2) alert.doubt_until_ms = in->i64();
    alert.fields = in->text();
    alert.value = in->text();
    std::ranges::sort(alert.key);
    std::string name = name_of(alert.rule, alert.key);
    if (alerts.emplace(std::move(name), alert).second) firing += alert.firing ? 1 : 0;
  }
  if (!in->ok() || !in->at_end()) return fail(ErrorCode::kCorrupt, "the alerts say nothing sensible");
  alerts_ = std::move(alerts);
  actions_ = std::move(rules);
  withdrawn_ = std::move(withdrawn);
  firing_ = firing;
  counters_ = counters;
  return {};
}

}  // namespace lambda::gateway
