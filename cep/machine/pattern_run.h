// One run through a pattern: where it stands in the tree and what it captured; and the steps it takes. Sentences 17 to
// 30, without keys, timers and SKIP, which are the machine's. One thread.
#pragma once

#include <cstdint>
#include <vector>

#include "cep/language/mutant.h"
#include "cep/machine/rule.h"

namespace lambda::cep {

// When something happened: a time, the event's place in the input (timers come behind all events of their time), and
// the arrival clock.
struct Instant {
  int64_t t = 0;
  uint64_t arrival = UINT64_MAX;
  int64_t clock = 0;
  int64_t reached = kTimeMin;  // timers of absence: where their clock or horizon stands now
};

// Where a run stands in one node of the tree.
struct NodeState {
  enum class Phase : uint8_t { kIdle, kActive, kDone, kDead };  // kDead: a side of OR that cannot come any more
  Phase phase = Phase::kIdle;
  bool gap = false;        // sequence: an event came by since the counted part took its last one
  bool was_split = false;  // EVERY: this instance goes on, another one waits
  bool queued = false;     // absence: its timer is on its way
  uint16_t index = 0;      // sequence: the part at work
  uint64_t count = 0;      // events taken
  int64_t due = kNever;    // absence with FOR
  int64_t from_t = 0;      // absence: what it counts from
  uint64_t from_arrival = 0;

  static constexpr int64_t kNever = INT64_MIN;
};

struct Run {
  static constexpr int64_t kNever = NodeState::kNever;
  uint64_t id = 0;
  uint64_t age = 0;          // order of beginning; 0: nothing captured yet
  int64_t first_t = kNever;  // of the first captured event
  uint64_t first_arrival = 0;
  int64_t last_t = 0;  // of the last captured event
  uint64_t last_arrival = 0;
  int64_t deadline = kNever;       // of WITHIN
  uint64_t awaits = ~uint64_t{0};  // see PatternStepper::matters(); not saved, but found again
  std::vector<NodeState> nodes;
  std::vector<Value> slots;  // Frame::kRun

  bool has_captures() const { return first_t != kNever; }
  void save(StateWriter& out) const;
  void load(StateReader& in);
};

// What is charged against max_state for a pattern's keys and runs, whatever they take.
inline size_t pattern_state_bytes(const PatternPlan& plan, size_t keys, size_t groups, size_t runs) {
  constexpr size_t kKeyBytes = 48;
  return groups * kKeyBytes +
         runs * (sizeof(Run) + plan.nodes.size() * sizeof(NodeState) + (keys + plan.slots.size()) * sizeof(Value));
}

class PatternStepper {
 public:
  enum class Result : uint8_t {
    kIgnored,
    kTaken,
    kDone,    // the node is complete
    kKilled,  // by an event that was not to come
    kBroken,  // by an event between two that ',' joins
  };

  explicit PatternStepper(const RuleContext& context);

  // A run that waits for its first step; key values are the caller's to fill in.
  Run fresh(const Instant& now);
  // What the event does to the run. kIgnored, kTaken: it goes on. kDone: a match. kKilled, kBroken: it is over.
  // split(): runs that EVERY split off; they wait for their step again.
  Result offer(Run& run, const Event& event, const Instant& now);
  // The period of the absence `node` is over.
  Result absence_over(Run& run, uint16_t node, const Instant& now);
  // WITHIN is over. True: that completes the run. False: it is expired; if the run still has an EVERY to wait at, it
  // was set back to that, and has_captures() is false.
  bool deadline_over(Run& run, const Instant& now);

  std::vector<Run>& split() { return split_; }
  // Did one split off that has captured nothing and waits for nothing but its first event? It is not among split().
  bool split_waits() const { return split_waits_; }
  // May the event do anything to the run? Asked before offer(): most runs wait for another stream.
  bool matters(const Run& run, const Event& event) const { return (run.awaits & stream_bit(event.stream)) != 0; }
  // To be called when a run's step is over, and when it was loaded.
  void note_awaits(Run& run) const;
  // Did the last offer() take an element that was not kept?
  bool capture_dropped() const { return capture_dropped_; }
  // Periods of EVERY NOT that the last absence_over() left out, because time jumped over too many of them.
  uint64_t periods_left_out() const { return periods_left_out_; }
  // Is it an event of the first step, or of a first absence?
  bool matches_first(const Run& run, const Event& event);
  // Before the runs of a key see an event (19).
  void begin_event() { taken_by_every_.assign(plan_.nodes.size(), false); }

 private:
  void enter(Run& run, uint16_t id, const Instant& now);
  Result step(Run& run, uint16_t id);
  Result step_plain(Run& run, uint16_t id);
  Result step_event(Run& run, uint16_t id);
  Result step_absence(Run& run, uint16_t id);
  Result step_and(Run& run, uint16_t id);
  Result step_or(Run& run, uint16_t id);
  Result step_sequence(Run& run, uint16_t id);
  Result contiguity(Run& run, uint16_t id);
  Result after_part(Run& run, uint16_t id, Result part);
  Result advance(Run& run, uint16_t id);
  Result part_done(Run& run, uint16_t id, uint16_t part);
  Result choose(Run& run, uint16_t id, uint16_t part);

  bool matches(const Run& run, uint16_t id, const Event& event);
  bool guard_violated(const Run& run, uint16_t sequence);
  void capture(Run& run, uint16_t id);
  void capture_slot(Run& run, size_t slot, uint64_t index);
  void split_off(Run& run, uint16_t id);
  void set_back(Run& run, uint16_t id);
  void clear(Run& run, uint16_t id);
  void begin_step(const Run& run, const Instant& now);

  // One of 64; two streams may share one.
  static uint64_t stream_bit(StreamId stream) { return uint64_t{1} << (stream % 64); }
  bool is_guard(uint16_t id) const {
    return plan_.nodes[id].kind == ast::StepKind::kAbsence && !plan_.nodes[id].absence_ms;
  }
  bool satisfied(const Run& run, uint16_t id) const {
    const PatternNode& node = plan_.nodes[id];
    return node.kind == ast::StepKind::kEvent && node.counted &&
           run.nodes[id].count >= static_cast<uint64_t>(node.count_min);
  }
  bool skippable_from(uint16_t sequence, size_t index) const;
  bool lingers(uint16_t sequence, size_t index) const;
  bool started(const Run& run, uint16_t id) const;
  // Has the run captured anything but what belongs to the node?
  bool captured_outside(const Run& run, uint16_t id) const;
  void set_deadline(Run& run, int64_t from) {
    if (plan_.within_ms) {
      run.deadline = from + *plan_.within_ms - (mutant(Mutant::kWithinExcludesEnd) ? 1 : 0);
    }
  }

  const RuleContext& context_;
  const PatternPlan& plan_;
  const size_t keys_;
  bool sees_all_ = false;  // ',' is broken by any event, and a counted step lets the next one try
  Run before_;             // the run ahead of what is being done, for forks
  std::vector<Run> split_;
  bool split_waits_ = false;
  std::vector<bool> taken_by_every_;
  const Event* event_ = nullptr;
  Instant now_;
  bool capture_dropped_ = false;
  uint64_t periods_left_out_ = 0;
};

}  // namespace lambda::cep
