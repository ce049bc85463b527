// What the binder makes of a rule and the engine runs: names resolved, types known, times in milliseconds. Plain data.
// Numbers of the sentences are those of docs/rules.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cep/language/ast.h"
#include "cep/language/diagnostic.h"
#include "cep/language/program.h"
#include "cep/language/value.h"

namespace lambda::cep {

using StreamId = uint32_t;
using TableId = uint32_t;
using RuleId = uint32_t;  // in order of creation

struct ColumnSchema {
  std::string name;
  Type type = Type::kNull;
};

// A declared stream, or what a rule puts out (41).
struct StreamSchema {
  StreamId id = 0;
  std::string name;
  std::vector<ColumnSchema> columns;
  int device_column = -1;  // -1: shares the timeline of all such streams (5)
  std::optional<RuleId> rule;

  int find(std::string_view column) const;  // -1: none
};

struct TableSchema {
  TableId id = 0;
  std::string name;
  std::vector<ColumnSchema> columns;
  int key_column = 0;

  int find(std::string_view column) const;
};

enum class LatePolicy : uint8_t { kDrop, kUpdate, kBackfill };
enum class OnLimit : uint8_t { kOldest, kNewest, kReject };

struct Options {
  int64_t lateness_ms = 0;
  LatePolicy late = LatePolicy::kDrop;
  bool event_time = false;  // absence and alert timers run on the horizon (7)
  uint64_t max_keys = 20'000;
  uint64_t max_runs = 16;  // of one key
  bool max_runs_given = false;
  uint64_t max_state_bytes = 8 << 20;
  OnLimit on_limit = OnLimit::kOldest;
  int64_t idle_ms = 30'000;
  int64_t max_delay_ms = 60'000;
  int64_t keep_ms = 60'000;  // of closed windows, for late=update
};

// Which horizon the rule uses (6). kStateless and kDevice both mean that of the event's device.
enum class HorizonClass : uint8_t { kStateless, kDevice, kSite };

// Where the value of a key comes from, for one stream of the rule.
struct KeySource {
  Frame frame = Frame::kEvent;  // or kTable
  uint32_t slot = 0;
};
struct StreamUse {
  StreamId stream = 0;
  std::vector<KeySource> keys;  // in the order of RulePlan::keys
};

// JOIN TABLE: the row whose key equals `key`, kept when `on` is true. ANTI JOIN: every row; `key` is its event's.
struct TableUse {
  TableId table = 0;
  Program key;  // over kEvent
  Program on;   // over kEvent and kTable; empty: the key is all
};

enum class AggregateKind : uint8_t {
  kCount,
  kSum,
  kAvg,
  kMin,
  kMax,
  kStddev,
  kFirst,
  kLast,
  kDelta,
  kRate,
  kIrate,
  kDeriv,
  kChanges,
  kResets,
  kPercentile,
  kDistinct,
  kTopk,
  kEwma,
  kApdex,
};
const char* aggregate_name(AggregateKind kind);

// A program that is just a column of the event.
inline bool is_event_column(const Program& program) {
  return program.nodes.size() == 1 && program.nodes[0].op == Op::kLoad &&
         program.nodes[0].a == static_cast<uint16_t>(Frame::kEvent);
}

struct AggregatePlan {
  AggregateKind kind = AggregateKind::kCount;
  Program argument;      // over kEvent and kTable; empty: count(*)
  double parameter = 0;  // p: q; apdex: T; ewma: tau in ms; topk: k
  Type type = Type::kNull;
};

// Present when the rule has a window or aggregates; without a window they run from the rule's start (34).
struct WindowPlan {
  std::optional<ast::WindowKind> kind;
  int64_t size = 0;         // ms or rows
  int64_t step = 0;         // HOP: ms; ROWS: rows; TUMBLE: the size
  int64_t session_max = 0;  // 0: none
  std::vector<AggregatePlan> aggregates;

  // Slots of kGroup.
  uint32_t aggregate_slot(size_t keys, size_t index) const { return static_cast<uint32_t>(keys + index); }
  uint32_t start_slot(size_t keys) const { return static_cast<uint32_t>(keys + aggregates.size()); }
  uint32_t end_slot(size_t keys) const { return start_slot(keys) + 1; }
};

// What a rule keeps of the events that a step of its pattern took (24). `kAverage` is followed by two slots of its own:
// the sum and the number of values.
enum class CaptureKind : uint8_t { kLast, kFirst, kElement, kCount, kSum, kAverage, kMin, kMax, kHelper };
struct CaptureSlot {
  CaptureKind kind = CaptureKind::kLast;
  uint32_t node = 0;
  uint32_t column = 0;   // of the step's stream; not for kCount
  uint32_t element = 0;  // kElement: from 0
  Type type = Type::kNull;
};
inline constexpr uint32_t kCapturesMax = 64;  // elements of a step that a[i] reaches

// One node of a pattern's tree, in the order of the text: a node's parts stand behind it, up to `end`.
struct PatternNode {
  ast::StepKind kind = ast::StepKind::kEvent;  // not kGroup: that is a sequence
  Position at;
  bool every = false;
  bool leading = false;  // may be what a match begins with
  uint16_t end = 0;
  int parent = -1;
  std::vector<uint16_t> parts;
  std::vector<bool> strict;  // kSequence: ',' between parts[i] and parts[i + 1]
  // kEvent, kAbsence
  StreamId stream = 0;
  Program filter;  // over kEvent and kRun
  bool counted = false;
  int64_t count_min = 1;
  int64_t count_max = 1;              // INT64_MAX: no maximum
  std::optional<int64_t> absence_ms;  // NOT .. FOR; a kAbsence without guards the step behind it, or its AND
  std::vector<uint32_t> slots;        // of kRun, that this step fills
};
inline constexpr size_t kPatternNodesMax = 200;

struct PatternPlan {
  std::vector<PatternNode> nodes;  // [0] is a sequence
  std::vector<CaptureSlot> slots;  // of kRun, behind the keys
  std::optional<int64_t> within_ms;
  bool per_step = false;
  ast::Skip skip = ast::Skip::kNone;
  bool has_every = false;
  bool starts_with_absence = false;
  bool emit_final = false;  // EMIT FINAL was written: a counted last step waits for its maximum (23)
};

struct ItemPlan {
  std::string name;
  Type type = Type::kNull;
  Program program;
};

struct OrderPlan {
  Program program;
  bool descending = false;
};

struct AlertPlan {
  Program on;  // empty: always true
  std::optional<int64_t> for_ms;
  std::optional<int64_t> for_samples;
  Program clear;  // empty: when `on` is not true
  std::optional<int64_t> clear_for_ms;
  std::optional<int64_t> remind_ms;
};

struct EmitPlan {
  ast::EmitKind kind = ast::EmitKind::kFinal;
  int64_t every_ms = 0;
};

struct LimitPlan {
  uint64_t count = 0;
  Program per;  // over kGroup; empty: of all rows
};

struct ActionPlan {
  std::string name;
  std::vector<std::string> args;
};

struct RulePlan {
  RuleId id = 0;
  std::string name;
  Position at;
  int64_t priority = 0;
  Options options;
  ast::SourceKind source = ast::SourceKind::kStream;
  HorizonClass horizon = HorizonClass::kStateless;
  std::vector<StreamUse> streams;  // each stream once
  std::optional<TableUse> table;
  Program where;
  std::vector<ColumnSchema> keys;  // of PARTITION BY and GROUP BY together
  std::optional<WindowPlan> window;
  std::optional<PatternPlan> pattern;
  int64_t silence_ms = 0;  // ANTI JOIN .. WITHIN
  std::vector<ItemPlan> items;
  Program having;
  std::vector<OrderPlan> order_by;
  std::optional<AlertPlan> alert;
  EmitPlan emit;
  std::optional<LimitPlan> limit;
  bool prints = false;  // has a DO clause (15)
  std::vector<ActionPlan> actions;
  StreamId output_stream = 0;  // what other rules read of this one
};

}  // namespace lambda::cep
