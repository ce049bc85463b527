// An engine whose devices are divided over several, each on a thread of its own. Says what one Engine says, in the same
// order, whatever their number. Rules that look at more than one device at a time, ANTI JOINs, those that read other
// rules or are read by some, that make texts, or set max_keys or max_state run whole, in one more engine that sees
// every event; for the divided ones the bounds on keys and state hold in each shard.
//
// Calls come from one thread; the sink is called on that one.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cep/engine.h"

namespace lambda::cep {

class ShardedEngine {
 public:
  static constexpr uint32_t kShardsMax = 64;
  // Runs all of the tasks, on whatever threads, and returns when the last one is done.
  using RunAll = std::function<void(std::span<const std::function<void()>> tasks)>;

  // 1 <= shards <= kShardsMax.
  ShardedEngine(const EngineSettings& settings, uint32_t shards, RunAll run_all, BatchSink sink);
  ~ShardedEngine();
  ShardedEngine(const ShardedEngine&) = delete;
  ShardedEngine& operator=(const ShardedEngine&) = delete;

  // All as in Engine, but that a rule that is there already can be read by later ones only if it has no DO clause.
  std::vector<Diagnostic> create(std::string_view text);
  std::vector<Diagnostic> replace(std::string_view text);
  Status remove(std::string_view rule);
  size_t rule_count() const;
  std::optional<RuleId> find_rule(std::string_view name) const;
  bool has_rule(RuleId id) const;
  const RulePlan& rule(RuleId id) const;
  // Does it run in every shard?
  bool is_divided(RuleId id) const;
  // Of all shards together.
  RuleCounters counters(RuleId id) const;
  // Of the part that hears all events.
  const EngineCounters& counters() const;
  const Catalog& catalog() const;
  Symbols& symbols();
  size_t set_table(TableId table, std::span<const std::vector<Value>> rows);
  void push(const Batch& batch);
  void text_refused(StreamId stream, int64_t t, uint64_t index, std::optional<int64_t> at = std::nullopt);
  void advance_to(int64_t t);
  std::string snapshot() const;
  // Into one of as many shards; else kInvalid.
  Status restore(std::string_view bytes);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace lambda::cep
