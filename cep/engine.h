// The rule engine: takes rules as text, events and time, gives outputs. Knows no gateway, no JSON, no files.
// Everything happens inside the calls, on the caller's thread; the sink is called from push() and advance_to(), and
// when rules or bounds changed from replace(), remove() and restore(), in the order of sentence 8, and must not push
// events.
//
// The same input gives the same output, whatever the batches it comes in, and whether or not the engine was saved and
// restored in between.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cep/language/catalog.h"
#include "cep/language/diagnostic.h"
#include "cep/machine/rule.h"
#include "cep/stream/batch.h"
#include "cep/stream/output.h"

namespace lambda::cep {

struct EngineSettings {
  int64_t clock_skew_ms = 5 * 60'000;  // times further ahead of their arrival move no horizon (the clock guard)
  uint64_t text_bytes_max = Symbols::kBytesMax;  // of events' texts: Symbols::try_intern() refuses more
  // Of all rules together, what they are and what they hold; the texts and the devices' times are apart. Rules alone
  // may take half of it. See StateBudget.
  uint64_t state_bytes_max = 128 << 20;
  size_t devices_max = 1 << 20;  // with a time of their own; others share that of the streams without a device
  // Different lateness, idle and max_delay among the rules, taken together. Each is a watermark of its own for every
  // device, of some 100 bytes, that every event moves; a rule that would bring one more is refused.
  size_t horizons_max = 16;
  bool at_once = true;  // false: each event by itself, by the general machines. Says the same; for tests of just that
};

struct EngineCounters {
  uint64_t rules_begun_anew = 0;  // that restore() or replace() had no fitting state for
  uint64_t events = 0;
  uint64_t guarded = 0;             // events that the clock guard kept from moving time
  uint64_t timelines_rejected = 0;  // events of devices that devices_max had no room for
  uint64_t texts_refused = 0;       // new texts of events that text_bytes_max had no room for
};

class Engine {
 public:
  // The sink gets all that a push() of some hundred events says at once, or output by output.
  Engine(const EngineSettings& settings, BatchSink sink);
  Engine(const EngineSettings& settings, Sink sink);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Runs CREATE statements. With an error nothing of the text is kept. A rule sees events from now on.
  std::vector<Diagnostic> create(std::string_view text);

  // Puts CREATE RULE statements in the place of the rules of the same names, between two pushes. A rule of the same
  // shape (see shape.h) goes on with the old one's state; another one begins anew, and the old one's alerts are
  // resolved. A rule that others read must keep its columns. With an error nothing changes.
  std::vector<Diagnostic> replace(std::string_view text);
  // Resolves the rule's alerts and forgets it; its number is not used again. kNotFound; kInvalid: another rule reads
  // it.
  Status remove(std::string_view rule);

  // Numbers of rules are below rule_count(), in order of creation. What is returned is valid until the next change of
  // rules.
  size_t rule_count() const;
  std::optional<RuleId> find_rule(std::string_view name) const;
  bool has_rule(RuleId id) const;  // false: it was removed, and nothing of the following may be asked
  const RulePlan& rule(RuleId id) const;
  const RuleCounters& counters(RuleId id) const;
  const EngineCounters& counters() const;
  // What the rule holds for its keys now, in bytes.
  size_t state_bytes(RuleId id) const;
  // What all rules are and hold now: what EngineSettings::state_bytes_max is about.
  uint64_t state_bytes() const;

  const Catalog& catalog() const;
  Symbols& symbols();

  // See Tables::set(). Between two pushes. ANTI JOINs wait for added rows from now on, and resolve the alerts of rows
  // that are gone. Tables are not in snapshots: set them before restore(), or at once after it.
  size_t set_table(TableId table, std::span<const std::vector<Value>> rows);

  void push(const Batch& batch);
  // An event of the stream had to be left out, because symbols() had no room for one of its texts: the rules that read
  // the stream say so (47). It has a number among the events, like others, and moves no time. `at`: when it arrived, if
  // that is not its own time.
  void text_refused(StreamId stream, int64_t t, uint64_t index, std::optional<int64_t> at = std::nullopt);
  // Everything up to and including `t` is in, on every timeline (1).
  void advance_to(int64_t t);
  // It is `at` where events arrive; no device was heard of. Timers of the arrival clock that are due before it run, and
  // devices that are silent for long become idle. What is said does not depend on how often this is called.
  void advance_clock(int64_t at);

  // All state, as bytes; tables and rules are not in it.
  std::string snapshot() const;
  // Into an engine that has its rules but has seen no event. Rules are found by name and shape. One of another shape
  // begins anew, which is counted, and says how much it lost (Bound::kShape); what a lowered bound has no room for goes
  // by that bound's policy, and is said too: the sink is called. Devices and texts are never given up.
  // kInvalid: not of this engine's making; kCorrupt: damaged bytes. After an error the engine is of no use: make
  // another one.
  Status restore(std::string_view bytes);

 private:
  friend class ShardedEngine;
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lambda::cep
