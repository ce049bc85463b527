// Wrong readings of the language, planted to show that the tests would notice them: `lambda cep run --mutant NAME`
// switches one on. Only builds with LAMBDA_CEP_MUTANTS have them; elsewhere mutant() is false at compile time.
//
// They are planted in the general machines, on the way of single events: with a mutant an engine has no other.
//
//   if (mutant(Mutant::kNotOfNullComparison) ? .. : ..)
#pragma once

#include <cstdint>
#include <string_view>

namespace lambda::cep {

// X(enumerator, name, the wrong reading)
#define LAMBDA_CEP_MUTANT_LIST(X)                                                                                      \
  X(kNullComparison, "null-comparison", "12: a comparison with null is true when != is asked")                         \
  X(kIntegerDivision, "integer-division", "12: INT / INT is INT")                                                      \
  X(kAdvanceSubtractsLateness, "advance-subtracts-lateness", "1: advance_to subtracts the lateness")                   \
  X(kAdvanceKnownOnly, "advance-known-only", "1: advance_to does not reach timelines that are seen later")             \
  X(kLateAtHorizon, "late-at-horizon", "2: an event at the horizon is late")                                           \
  X(kReleaseBelowHorizon, "release-below-horizon", "2: an event is processed only when t < H")                         \
  X(kFilterSkipsReorder, "filter-skips-reorder", "2: stateless rules do not wait in the reorder buffer")               \
  X(kTimersBeforeEvents, "timers-before-events", "3: at one instant timers run before events")                         \
  X(kEndFlushes, "end-flushes", "4: the end of input runs what is pending")                                            \
  X(kWhereMovesTime, "where-moves-time", "5: only events of streams that a rule reads move time")                      \
  X(kSiteMaximum, "site-maximum", "6: site rules use the highest horizon instead of the minimum")                      \
  X(kNoIdle, "no-idle", "6: an idle device stays in the minimum")                                                      \
  X(kAlertEventTime, "alert-event-time", "7: alert timers always run on the horizon")                                  \
  X(kNoClockGuard, "no-clock-guard", "7b: far future times move the horizon")                                          \
  X(kPriorityIgnored, "priority-ignored", "8: order of creation alone")                                                \
  X(kTimerHasInput, "timer-has-input", "10: timers carry the index of the event that moved the clock")                 \
  X(kSilentRulesPrint, "silent-rules-print", "15: rules without DO print")                                             \
  X(kLateDropIsPrinted, "late-drop-is-printed", "16: late=drop processes late events")                                 \
  X(kNullKeyIsAKey, "null-key-is-a-key", "33: null is a key like others")                                              \
  X(kAggregatesCountNull, "aggregates-count-null", "38: aggregates do not skip null")                                  \
  X(kRateIgnoresResets, "rate-ignores-resets", "38: rate is the plain difference")                                     \
  X(kStddevOfSample, "stddev-of-sample", "38: stddev divides by n - 1")                                                \
  X(kWindowEndIncluded, "window-end-included", "3: an event at a window's end belongs to it")                          \
  X(kWindowStartsAtEvent, "window-starts-at-event", "34: TUMBLE begins at the key's first event")                      \
  X(kSlideIncludesStart, "slide-includes-start", "34: SLIDE d holds d + 1 ms")                                         \
  X(kRowsSlide, "rows-slide", "34: ROWS n prints with every event")                                                    \
  X(kSessionGapExcludesEnd, "session-gap-excludes-end", "36: an event at last.t + gap begins the next session")        \
  X(kSessionMaxIncluded, "session-max-included", "36: an event at first.t + MAX still belongs")                        \
  X(kSessionEndsAtLast, "session-ends-at-last", "36: a session ends at its last event")                                \
  X(kOrderTiesDescend, "order-ties-descend", "37: with DESC ties go by descending key")                                \
  X(kOrderNullFirst, "order-null-first", "37: null and NaN come first with DESC")                                      \
  X(kLimitPerIgnored, "limit-per-ignored", "37: LIMIT k PER g keeps k of all")                                         \
  X(kEarlyFromEvent, "early-from-first-event", "42: EARLY ticks count from the window's first event")                  \
  X(kLateUpdateForgets, "late-update-forgets", "16: late=update prints the late event alone")                          \
  X(kJoinKeepsMissing, "join-keeps-missing", "39: an event without a table row passes with nulls")                     \
  X(kCascadeReadsAll, "cascade-reads-all", "41: other rules read resolved outputs too")                                \
  X(kAbsenceEventTime, "absence-event-time", "7: NOT .. FOR always runs on the horizon")                               \
  X(kEveryOnce, "every-once", "18: EVERY s does not wait for s again")                                                 \
  X(kAndNeedsTwoEvents, "and-needs-two-events", "26: one event serves one side of AND")                                \
  X(kCommaIsArrow, "comma-is-arrow", "22: an event between two steps does not break ','")                              \
  X(kAbsenceEndExcluded, "absence-end-excluded", "27: b at the end of the period does not violate")                    \
  X(kCaptureIsFirst, "capture-is-first", "24: a.f of a counted step is its first element")                             \
  X(kSkipNextKeeps, "skip-next-keeps", "32: SKIP NEXT prints several matches of one first event")                      \
  X(kSkipPastLastKeeps, "skip-past-last-keeps", "32: SKIP PAST LAST keeps runs that began before the match")           \
  X(kOnLimitNewest, "on-limit-newest", "47: at max_runs the new run is the one that is dropped")                       \
  X(kWithinExcludesEnd, "within-excludes-end", "30: an event at first.t + d comes too late")                           \
  X(kPerStepIsWhole, "per-step-is-whole", "30: PER STEP counts from the first event")                                  \
  X(kBrokenIsLost, "broken-is-lost", "19: an event that broke ',' is not offered to the next instance")                \
  X(kViolationIsOffered, "violation-is-offered", "19: an event that NOT named is offered to the next instance")        \
  X(kLeadingAbsenceDies, "leading-absence-dies", "20: a violated first absence does not begin anew")                   \
  X(kCountedLastAtMost, "counted-last-at-most", "23: a counted last step completes at its greatest number")            \
  X(kOrKeepsBoth, "or-keeps-both", "25: the side of OR that lost keeps what it captured")                              \
  X(kAlertOverPatternStays, "alert-over-pattern-stays", "46: an event of the first step does not resolve")             \
  X(kArmedAtRelease, "armed-at-release", "7: timers are armed with the clock when an event leaves the reorder buffer") \
  X(kTimersPassHeld, "timers-pass-held", "7: a timer of the arrival clock does not wait for events that are held")     \
  X(kTimersWaitForAll, "timers-wait-for-all", "7: it waits for held events that arrived after it was due, too")        \
  X(kAntiJoinNeedsEvent, "anti-join-needs-event", "40: a device that never spoke is not silent")                       \
  X(kAntiJoinRepeats, "anti-join-repeats", "40: silence is printed again and again")                                   \
  X(kFirstPerSlides, "first-per-slides", "42: rows that were kept back extend FIRST PER")                              \
  X(kChangesWholeRule, "changes-whole-rule", "42: CHANGES compares with the rule's previous row, whatever its key")    \
  X(kPendingSilent, "pending-silent", "43: pending is not printed")                                                    \
  X(kSamplesTotal, "samples-total", "43: FOR n SAMPLES counts true rows that are not in a row")                        \
  X(kForNeedsEvent, "for-needs-event", "43: FOR fires at the next row, not by timer")                                  \
  X(kClearIsNotOn, "clear-is-not-on", "44: CLEAR is ignored, ON not true resolves")                                    \
  X(kClearTimerRuns, "clear-timer-runs", "44: a row where CLEAR is not true does not stop its timer")                  \
  X(kRemindFromPending, "remind-from-pending", "44: REMIND counts from pending")                                       \
  X(kFirstRowFields, "first-row-fields", "45: fields are those of the row that began it")                              \
  X(kLimitEveryTime, "limit-every-time", "47: each drop prints a limit line")                                          \
  X(kTimerAtClock, "timer-at-clock", "9: a timer's output has the time of the clock, not its due time")                \
  X(kNoMaxDelay, "no-max-delay", "6: a slow device holds the site back for as long as it is active")                   \
  X(kCascadeCanBeLate, "cascade-can-be-late", "41: what a rule puts out can be late for its readers")                  \
  X(kRemindFromLastRow, "remind-from-last-row", "44: REMIND counts from the alert's last row")                         \
  X(kPercentileOfNearest, "percentile-of-nearest", "38: p(q) is the value below the rank, not between two")            \
  X(kFirstPerOnce, "first-per-once", "42: FIRST PER prints the first row of a key and never again")                    \
  X(kLimitByEventTime, "limit-by-event-time", "47: minutes are those of the events' own times")

enum class Mutant : uint8_t {
  kNone,
#define LAMBDA_CEP_MUTANT(enumerator, name, reading) enumerator,
  LAMBDA_CEP_MUTANT_LIST(LAMBDA_CEP_MUTANT)
#undef LAMBDA_CEP_MUTANT
};

#ifdef LAMBDA_CEP_MUTANTS
inline Mutant active_mutant = Mutant::kNone;  // set once, before an engine is made
inline bool mutant(Mutant which) {
  return active_mutant == which;
}
inline bool any_mutant() {
  return active_mutant != Mutant::kNone;
}
#else
constexpr bool mutant(Mutant) {
  return false;
}
constexpr bool any_mutant() {
  return false;
}
#endif

}  // namespace lambda::cep
