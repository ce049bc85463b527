#include "tests/sim/agent_machine.h"

#include <algorithm>

namespace lambda::sim {
namespace {

constexpr const char* kStateFolder = "/var/agent";
constexpr int64_t kJournalSyncMs = 1'000;
// A row is on its way to the disk behind a sync that stalls; a sync each second, which may stall too.
constexpr int64_t kKillTakesUs = 1'500'000;
constexpr int64_t kPowerCutTakesUs = 1'000 * kJournalSyncMs + 2'000'000;
// A disk that fails appends leaves rows unmade while it does, and the one on its way to it.
constexpr int64_t kUnmadeUs = 1'000'000;
// Behind several slow syncs.
constexpr int64_t kSlowDiskTakesUs = 2'500'000;
// Rows that failed syncs gave up are safe again at the latest so long after the disk works.
constexpr int64_t kSafeAgainUs = 4'000'000;

uint64_t seed_of(const std::string& text) {
  uint64_t hash = 0xA0761D6478BD642F;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3;
  return hash;
}

}  // namespace

class AgentMachine::LedgerSource final : public agent::Source {
 public:
  explicit LedgerSource(AgentMachine& machine) : machine_(machine), refs_(machine.series_) {}
  std::string_view name() const override { return "ledger"; }
  int64_t interval_ms() const override { return 500; }

  Status collect(agent::Sink& sink, int64_t time_ms) override {
    if (!machine_.making_) return {};
    for (uint32_t i = 0; i < machine_.series_; ++i) {
      if (refs_[i] == 0) {
        auto ref = sink.series({"sim_host_" + std::to_string(i), {}, Kind::kGauge, ValueType::kI64, 0, ""});
        if (!ref) return tl::unexpected(ref.error());
        refs_[i] = *ref;
      }
      const uint64_t value = ++machine_.value_ * 4096 + i;
      machine_.collected_[value] = {machine_.world_.scheduler.now_us(), time_ms, refs_[i]};
      sink.append(refs_[i], value);
    }
    return {};
  }

 private:
  AgentMachine& machine_;
  std::vector<uint32_t> refs_;
};

AgentMachine::AgentMachine(World& world, Oracle& oracle, std::string name, uint32_t series)
    : Machine(world, std::move(name)),
      oracle_(oracle),
      series_(series),
      small_spool_(world.random.chance(0.3)),
      seal_age_ms_(world.random.between(2'000, 12'000)),
      old_boots_max_(static_cast<uint32_t>(world_.random.between(1, 4))),
      key_random_(seed_of(name_)) {
  const SigningKey key = SigningKey::make(key_random_);
  key_hex_ = key.to_hex();
  public_key_ = key.public_key();
  media.folders.insert("/var");
}

void AgentMachine::start() {
  begin_run();
  agent::AgentConfig config;
  config.device = name_;
  config.state_dir = kStateFolder;
  config.series_max = 64;
  config.memory_bytes_max = 2u << 20;
  config.seal_age_ms = seal_age_ms_;
  config.parcel_bytes_max = 8u << 10;
  config.reserve_bytes = 4'096;
  config.journal.sync_ms = kJournalSyncMs;
  config.journal.file_bytes = 300;
  config.spool.retry_ms = 300;
  config.old_boots_max = old_boots_max_;
  if (small_spool_) {
    config.spool.file_bytes = 2u << 10;
    config.spool.bytes_max = 10u << 10;
  }
  config.uplink.gateways = {kBrokerUrl};
  config.uplink.site = kSite;
  config.uplink.device = name_;
  config.uplink.backoff_ms = 300;
  config.uplink.backoff_ms_max = 3'000;
  config.uplink.uplink.answer_timeout_ms = 2'000;
  config.uplink.uplink.answer_timeout_ms_max = 8'000;
  std::vector<std::unique_ptr<agent::Source>> sources;
  sources.push_back(std::make_unique<LedgerSource>(*this));
  node_ =
      std::make_unique<agent::Node>(run_->env, config, std::move(*SigningKey::from_hex(key_hex_)), std::move(sources));
  if (auto started = node_->start(); !started) {
    run_->log.error("agent_not_started", {{"why", started.error().text}});
    node_.reset();
    world_.scheduler.after(500'000, [this, run = run_.get()] {
      if (run_.get() != run) return;
      kill();
      start();
    });
  }
}

void AgentMachine::kill() {
  if (!run_) return;
  crash_takes(kKillTakesUs);
  run_->disk.die();
  node_.reset();
  stopping_ = false;
  end_run();
}

// A crash takes what was not synced: of the last moments, or of all the time since the disk last synced.
void AgentMachine::crash_takes(int64_t last_us) {
  const int64_t now = world_.scheduler.now_us();
  int64_t from = now - last_us;
  if (media.faults.sync_us_max > 50'000) from -= kSlowDiskTakesUs;
  if (now <= syncs_fail_until_us_) from = std::min(from, syncs_fail_from_us_ - kPowerCutTakesUs);
  excuses_.emplace_back(from, now);
}

void AgentMachine::power_cut() {
  kill();
  crash_takes(kPowerCutTakesUs);
  media.power_cut();
}

void AgentMachine::lose_spool_file() {
  LAMBDA_ASSERT(!run_);
  std::vector<std::string> spools;
  for (const auto& [path, file] : media.files) {
    if (path.starts_with(std::string(kStateFolder) + "/spool-") && path.ends_with(".lam")) spools.push_back(path);
  }
  // Of the newest nobody else knows what is in it, and it may have no checkpoint yet.
  if (spools.size() < 3) return;
  const std::string& path = spools[world_.random.below(spools.size() - 2)];
  media.files.erase(path);
  media.synced_names.erase(path);
  files_vanished_ = true;
}

void AgentMachine::stop() {
  if (!node_ || stopping_) return;
  stopping_ = true;
  node_->stop([this, run = run_.get()] {
    world_.scheduler.after(1, [this, run] {
      if (run_.get() == run) kill();
    });
  });
}

uint64_t AgentMachine::waiting() const {
  if (!node_) return 1;
  const agent::NodeStatus status = node_->status();
  return status.backlog_parcels + status.boots_waiting +
         (status.points_made - std::min(status.points_made, status.points_packed));
}

void AgentMachine::syncs_fail(bool fails) {
  const int64_t now = world_.scheduler.now_us();
  if (fails && now > syncs_fail_until_us_) syncs_fail_from_us_ = now;
  if (fails) syncs_fail_until_us_ = INT64_MAX;
  if (!fails && syncs_fail_until_us_ == INT64_MAX) syncs_fail_until_us_ = now + kSafeAgainUs;
}

void AgentMachine::appends_fail(bool fails) {
  syncs_fail(fails);  // what was to be repeated after an error is not, either
  const int64_t now = world_.scheduler.now_us();
  if (fails && appends_fail_from_us_ < 0) appends_fail_from_us_ = now;
  if (fails || appends_fail_from_us_ < 0) return;
  excuses_.emplace_back(appends_fail_from_us_ - kUnmadeUs, now + kUnmadeUs);
  appends_fail_from_us_ = -1;
}

bool AgentMachine::excused(int64_t at_us) const {
  return std::any_of(excuses_.begin(), excuses_.end(),
                     [&](const auto& span) { return at_us >= span.first && at_us <= span.second; });
}

// The points of one series in the order in which they were collected, as the segments have them.
struct AgentMachine::Kept {
  struct Boot {
    std::map<uint64_t, uint64_t> stored;  // ordinal -> value
    std::map<uint64_t, bool> gone;        // ordinal -> by a bound of the spool, or by retention
  };
  std::map<uint64_t, Boot> boots;
};

void AgentMachine::check(const SegmentContent& content) const {
  std::map<uint32_t, Kept> series;
  const Identity least{name_, 0, 0, 0};
  std::map<uint64_t, Identity> by_value;
  for (auto at = content.points.lower_bound(least); at != content.points.end() && at->first.device == name_; ++at) {
    const auto& [identity, stored] = *at;
    if (stored.copies != 1)
      oracle_.complain("stored " + std::to_string(stored.copies) + " times: " + to_text(identity));
    const auto made = collected_.find(stored.point.bits);
    if (made == collected_.end() || made->second.ref != identity.ref) {
      oracle_.complain("stored, but never collected: " + to_text(identity));
      continue;
    }
    if (made->second.time_ms != stored.point.time_ms)
      oracle_.complain("stored with another time: " + to_text(identity));
    if (const auto [first, fresh] = by_value.emplace(stored.point.bits, identity); !fresh) {
      oracle_.complain("one point stored as two: " + to_text(identity) + " and " + to_text(first->second));
    }
    series[identity.ref].boots[identity.boot].stored[identity.ordinal] = stored.point.bits;
  }
  const uint32_t bounded =
      (small_spool_ ? reason_bit(GapReason::kSpoolBytes) : 0) | (files_vanished_ ? reason_bit(GapReason::kCorrupt) : 0);
  for (auto at = content.gaps.lower_bound(least); at != content.gaps.end() && at->first.device == name_; ++at) {
    series[at->first.ref].boots[at->first.boot].gone[at->first.ordinal] = (at->second & bounded) != 0;
  }
  for (auto at = content.retired.lower_bound(least); at != content.retired.end() && at->device == name_; ++at) {
    series[at->ref].boots[at->boot].gone[at->ordinal] = true;
  }
  for (const auto& [ref, kept] : series) check_series(ref, kept);
}

void AgentMachine::check_series(uint32_t ref, const Kept& kept) const {
  const std::string name = "device=" + name_ + " ref=" + std::to_string(ref);
  struct Place {
    uint64_t boot = 0;
    uint64_t ordinal = 0;
  };
  std::map<uint64_t, Place> by_value;
  uint64_t anywhere = 0;  // points gone by a bound in boots of which nothing is stored: nobody can tell which
  for (const auto& [boot, seen] : kept.boots) {
    std::set<uint64_t> ordinals;
    uint64_t last = 0;
    for (const auto& [ordinal, value] : seen.stored) {
      ordinals.insert(ordinal);
      by_value[value] = {boot, ordinal};
      if (value < last) oracle_.complain("ordinals are not in the order of collecting: " + name);
      last = value;
    }
    for (const auto& [ordinal, bound] : seen.gone) {
      ordinals.insert(ordinal);
      if (seen.stored.empty() && bound) ++anywhere;
    }
    if (!ordinals.empty() && *ordinals.rbegin() + 1 != ordinals.size()) {
      oracle_.complain("a hole that no gap names: " + name + ": " + std::to_string(ordinals.size()) +
                       " ordinals up to " + std::to_string(*ordinals.rbegin()));
    }
  }
  // Ordinals of `boot` gone by a bound, in [from, to).
  const auto gone = [&](uint64_t boot, uint64_t from, uint64_t to) {
    uint64_t count = 0;
    const auto& all = kept.boots.at(boot).gone;
    for (auto at = all.lower_bound(from); at != all.end() && at->first < to; ++at) {
      if (at->second && kept.boots.at(boot).stored.count(at->first) == 0) ++count;
    }
    return count;
  };
  // What was collected between two stored points and is missing was named in a gap between them, or a crash took it.
  uint64_t from_value = 0;
  Place before;
  uint64_t missing = 0, left_over = 0;
  std::string first;
  const auto close = [&](uint64_t to_value, const Place* after) {
    uint64_t here = 0;
    for (auto at = collected_.upper_bound(from_value); at != collected_.end() && at->first < to_value; ++at) {
      if (at->second.ref != ref || excused(at->second.at_us)) continue;
      if (here++ == 0 && left_over == 0) first = std::to_string(at->second.at_us);
    }
    uint64_t named = 0;
    if (after != nullptr && after->boot == before.boot) {
      named = gone(before.boot, before.ordinal + 1, after->ordinal);
    } else {
      if (before.boot != 0) named += gone(before.boot, before.ordinal + 1, UINT64_MAX);
      if (after != nullptr) named += gone(after->boot, 0, after->ordinal);
    }
    missing += here;
    left_over += here > named ? here - named : 0;
  };
  for (const auto& [value, stored] : by_value) {
    close(value, &stored);
    from_value = value;
    before = stored;
  }
  close(UINT64_MAX, nullptr);
  if (left_over > anywhere) {
    oracle_.complain(name + " lost " + std::to_string(left_over) + " points that no crash excuses and no gap names (" +
                     std::to_string(missing) + " missing, " + std::to_string(anywhere) +
                     " in gaps of boots with nothing stored); the first of " + first + " us");
  }
}

}  // namespace lambda::sim
