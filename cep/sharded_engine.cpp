#include "cep/sharded_engine.h"

#include <algorithm>
#include <map>

#include "cep/engine_impl.h"

namespace lambda::cep {
namespace {

// Fewer rows than this are not worth waking threads for.
constexpr size_t kRowsToDivideMin = 128;

}  // namespace

struct ShardedEngine::State {
  using Impl = Engine::Impl;

  RunAll run_all;
  BatchSink sink;
  std::shared_ptr<Symbols> symbols;
  std::vector<std::unique_ptr<Impl>> shards;
  std::unique_ptr<Impl> whole;  // null: there is one shard, which runs all
  std::vector<OutputQueue*> queues;
  std::map<std::pair<RuleId, Bound>, LimitCount> limits;
  std::vector<Output> said;

  Impl& first() { return *shards.front(); }

  template <class Call>
  void each(const Call& call) {
    for (const auto& shard : shards) {
      call(*shard);
    }
    if (whole != nullptr) {
      call(*whole);
    }
  }
  // `apart`: on several threads. The whole one may make texts, which the others read: it comes after them.
  template <class Call>
  void run(bool apart, const Call& call) {
    if (!apart || shards.size() == 1) {
      each(call);
      return;
    }
    std::vector<std::function<void()>> tasks;
    for (const auto& shard : shards) {
      tasks.push_back([&call, &shard] { call(*shard); });
    }
    run_all(tasks);
    call(*whole);
  }
  void say() {
    if (whole == nullptr) {
      first().outputs_.flush(sink);
      return;
    }
    OutputQueue::merge(queues, [this](std::span<const Output> outputs) {
      said.clear();
      for (Output output : outputs) {
        if (output.kind == OutputKind::kLimit) {  // counted over all shards
          LimitCount& limit = limits[{output.rule, output.bound}];
          if (!limit.drop(output.clock, output.dropped)) {
            continue;
          }
          output.dropped = limit.dropped;
          limit.say(output.clock);
        }
        said.push_back(output);
      }
      if (!said.empty()) {
        sink(said);
      }
    });
  }
};

ShardedEngine::ShardedEngine(const EngineSettings& settings, uint32_t shards, RunAll run_all, BatchSink sink)
    : state_(std::make_unique<State>()) {
  LAMBDA_ASSERT(shards >= 1 && shards <= kShardsMax);
  state_->run_all = std::move(run_all);
  state_->symbols = std::make_shared<Symbols>(settings.text_bytes_max);
  state_->sink = std::move(sink);
  const auto make = [&](uint32_t number, uint32_t count, bool divided, bool whole) {
    Engine::Impl::Part part;
    part.number = number;
    part.count = count;
    part.engines = shards > 1 ? shards + 1 : 1;
    part.divided = divided;
    part.whole = whole;
    part.holds = shards > 1;
    part.symbols = state_->symbols;
    auto impl = std::make_unique<Engine::Impl>(settings, state_->sink, part);
    state_->queues.push_back(&impl->outputs_);
    return impl;
  };
  for (uint32_t i = 0; i < shards; ++i) {
    state_->shards.push_back(make(i, shards, true, shards == 1));
  }
  if (shards > 1) {
    state_->whole = make(0, 1, false, true);
  }
}

ShardedEngine::~ShardedEngine() = default;

std::vector<Diagnostic> ShardedEngine::create(std::string_view text) {
  std::vector<Diagnostic> errors = state_->first().create(text);
  if (!errors.empty()) {
    return errors;
  }
  state_->each([&](Engine::Impl& engine) {
    if (&engine != &state_->first()) {
      const auto same = engine.create(text);
      LAMBDA_ASSERT(same.empty());
    }
  });
  return errors;
}

std::vector<Diagnostic> ShardedEngine::replace(std::string_view text) {
  // The whole one first: it alone knows who reads whom, and what it takes the others take.
  std::vector<Diagnostic> errors =
      state_->whole != nullptr ? state_->whole->stage_replace(text) : state_->first().stage_replace(text);
  if (!errors.empty()) {
    return errors;
  }
  for (const auto& shard : state_->shards) {
    if (state_->whole != nullptr) {
      errors = shard->stage_replace(text);
      LAMBDA_ASSERT(errors.empty());
    }
  }
  state_->say();
  state_->each([](Engine::Impl& engine) { engine.commit_replace(); });
  return errors;
}

Status ShardedEngine::remove(std::string_view rule) {
  Status status;
  state_->each([&](Engine::Impl& engine) { status = status ? engine.can_remove(rule) : status; });
  if (status) {
    state_->each([&](Engine::Impl& engine) { engine.withdraw(*engine.rules_[*engine.find_rule(rule)]); });
    state_->say();
    const RuleId id = *find_rule(rule);
    std::erase_if(state_->limits, [id](const auto& limit) { return limit.first.first == id; });
    state_->each([&](Engine::Impl& engine) { engine.commit_remove(rule); });
  }
  return status;
}

size_t ShardedEngine::rule_count() const {
  return state_->first().rules_.size();
}
std::optional<RuleId> ShardedEngine::find_rule(std::string_view name) const {
  return state_->first().find_rule(name);
}
bool ShardedEngine::has_rule(RuleId id) const {
  return id < rule_count() && state_->first().rules_[id] != nullptr;
}
const RulePlan& ShardedEngine::rule(RuleId id) const {
  return state_->first().rules_[id]->plan;
}
bool ShardedEngine::is_divided(RuleId id) const {
  return state_->whole != nullptr && state_->first().rules_[id]->is_divided;
}

RuleCounters ShardedEngine::counters(RuleId id) const {
  RuleCounters sum;
  state_->each([&](const Engine::Impl& engine) {
    const RuleCounters& part = engine.rules_[id]->counters;
    sum.events += part.events;
    sum.outputs += part.outputs;
    sum.late_dropped += part.late_dropped;
    sum.null_keys += part.null_keys;
    sum.keys_rejected += part.keys_rejected;
    sum.keys_forgotten += part.keys_forgotten;
    sum.forced_release += part.forced_release;
    sum.runs_expired += part.runs_expired;
    sum.runs_dropped += part.runs_dropped;
    sum.captures_dropped += part.captures_dropped;
    sum.state_dropped += part.state_dropped;
    sum.state_refused += part.state_refused;
    sum.ticks_skipped += part.ticks_skipped;
  });
  return sum;
}

const EngineCounters& ShardedEngine::counters() const {
  Engine::Impl& all = state_->whole != nullptr ? *state_->whole : state_->first();
  all.counters_.timelines_rejected = all.devices_.rejected();
  all.counters_.texts_refused = state_->symbols->refused();
  return all.counters_;
}

const Catalog& ShardedEngine::catalog() const {
  return state_->first().catalog_;
}
Symbols& ShardedEngine::symbols() {
  return *state_->symbols;
}

size_t ShardedEngine::set_table(TableId table, std::span<const std::vector<Value>> rows) {
  size_t left_out = 0;
  state_->each([&](Engine::Impl& engine) { left_out = engine.set_table(table, rows); });
  state_->say();
  return left_out;
}

void ShardedEngine::push(const Batch& batch) {
  size_t rows = 0;
  for (size_t begin = 0; begin < batch.rows; begin += rows) {
    rows = batch.rows - begin;  // what each takes in one piece: their lines are merged
    state_->each([&](Engine::Impl& engine) { rows = std::min(rows, engine.rows_at_once(batch.stream)); });
    Batch chunk;
    cut_batch(batch, begin, rows, chunk);
    state_->run(chunk.rows >= kRowsToDivideMin, [&](Engine::Impl& engine) { engine.push(chunk); });
    state_->say();
  }
}

void ShardedEngine::text_refused(StreamId stream, int64_t t, uint64_t index, std::optional<int64_t> at) {
  state_->first().text_refused(stream, t, index,
                               at.value_or(t));  // each rule once: the divided ones are in every shard
  if (state_->whole != nullptr) {
    state_->whole->text_refused(stream, t, index, at.value_or(t));
  }
  state_->say();
}

void ShardedEngine::advance_to(int64_t t) {
  state_->run(false, [t](Engine::Impl& engine) { engine.advance_to(t); });
  state_->say();
}

std::string ShardedEngine::snapshot() const {
  StateWriter out(*state_->symbols);
  out.u32(static_cast<uint32_t>(state_->shards.size()));
  state_->each([&](const Engine::Impl& engine) { out.text(engine.snapshot()); });
  out.u32(static_cast<uint32_t>(state_->limits.size()));
  for (const auto& [what, limit] : state_->limits) {
    out.text(rule(what.first).name);
    out.u8(static_cast<uint8_t>(what.second));
    limit.save(out);
  }
  return out.finish();
}

Status ShardedEngine::restore(std::string_view bytes) {
  auto in = StateReader::open(bytes, *state_->symbols);
  if (!in) {
    return tl::unexpected(in.error());
  }
  if (in->u32() != state_->shards.size()) {
    return fail(ErrorCode::kInvalid, "the snapshot is of another number of shards");
  }
  Status status;
  state_->each([&](Engine::Impl& engine) { status = status ? engine.restore(in->text()) : status; });
  const size_t limits = in->count(21);
  for (size_t i = 0; i < limits; ++i) {
    const auto id = find_rule(in->text());
    const uint8_t bound = in->u8();
    LimitCount limit;
    limit.load(*in);
    if (id && bound < kBounds) {
      state_->limits[{*id, static_cast<Bound>(bound)}] = limit;
    }
  }
  if (status && (!in->ok() || !in->at_end())) {
    return fail(ErrorCode::kInvalid, "the snapshot is not one of shards");
  }
  if (status) {
    state_->say();
  }
  return status;
}

}  // namespace lambda::cep
