#include "tests/sim/agent_machine.h"

#include <algorithm>

namespace lambda::sim {
namespace {

constexpr const char* kStateFolder = "/var/agent";
constexpr int64_t kJournalSyncMs = 1'000;
// A row is on its way to the disk behind a sync that stalls; a sync each second, which may stall too.
constexpr int64_t kKillTakesUs = 1'500'000;
constexpr int64_t kPowerCutTakesUs = 1'000 * kJournalSyncMs + 2'000'000;

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
  config.spool.retry_ms = 300;
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
  const int64_t now = world_.scheduler.now_us();
  excuses_.emplace_back(now - kKillTakesUs, now);
  run_->disk.die();
  node_.reset();
  stopping_ = false;
  end_run();
}

void AgentMachine::power_cut() {
  kill();
  const int64_t now = world_.scheduler.now_us();
  excuses_.emplace_back(now - kPowerCutTakesUs, now);
  media.power_cut();
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
  return status.backlog_parcels + (status.points_made - std::min(status.points_made, status.points_packed));
}

void AgentMachine::disk_fails(bool fails) {
  const int64_t now = world_.scheduler.now_us();
  if (fails) {
    failing_since_us_ = now;
  } else if (failing_since_us_ >= 0) {
    // Rows of the last second before a failed sync are written again, to a disk that may fail again.
    excuses_.emplace_back(failing_since_us_ - kPowerCutTakesUs, now + kPowerCutTakesUs);
    failing_since_us_ = -1;
  }
}

bool AgentMachine::excused(int64_t at_us) const {
  return std::any_of(excuses_.begin(), excuses_.end(),
                     [&](const auto& span) { return at_us >= span.first && at_us <= span.second; });
}

void AgentMachine::check(const SegmentContent& content) const {
  std::map<uint64_t, Identity> by_value;
  std::map<std::pair<uint64_t, uint32_t>, std::set<uint64_t>> ordinals;  // stored or in a gap, by boot and ref
  std::map<uint32_t, uint64_t> gaps;
  for (auto at = content.points.lower_bound({name_, 0, 0, 0}); at != content.points.end() && at->first.device == name_;
       ++at) {
    const auto& [identity, stored] = *at;
    if (stored.copies != 1)
      oracle_.complain("stored " + std::to_string(stored.copies) + " times: " + to_text(identity));
    const auto made = collected_.find(stored.point.bits);
    if (made == collected_.end()) {
      oracle_.complain("stored, but never collected: " + to_text(identity));
      continue;
    }
    if (made->second.time_ms != stored.point.time_ms)
      oracle_.complain("stored with another time: " + to_text(identity));
    if (const auto [first, fresh] = by_value.emplace(stored.point.bits, identity); !fresh) {
      oracle_.complain("one point stored as two: " + to_text(identity) + " and " + to_text(first->second));
    }
    ordinals[{identity.boot, identity.ref}].insert(identity.ordinal);
  }
  for (auto at = content.gaps.lower_bound({name_, 0, 0, 0}); at != content.gaps.end() && at->device == name_; ++at) {
    ordinals[{at->boot, at->ref}].insert(at->ordinal);
    if (content.points.count(*at) == 0) ++gaps[0];
  }
  for (const auto& [series, seen] : ordinals) {
    if (*seen.rbegin() + 1 != seen.size()) {
      oracle_.complain("a hole that no gap names: device=" + name_ + " ref=" + std::to_string(series.second) + ": " +
                       std::to_string(seen.size()) + " ordinals up to " + std::to_string(*seen.rbegin()));
    }
  }
  uint64_t missing = 0;
  std::string first;
  for (const auto& [value, collected] : collected_) {
    if (by_value.count(value) != 0 || excused(collected.at_us)) continue;
    if (missing++ == 0) first = std::to_string(collected.at_us);
  }
  if (missing > gaps[0]) {
    oracle_.complain(name_ + " lost " + std::to_string(missing) + " points that no crash excuses and no gap names (" +
                     std::to_string(gaps[0]) + " gap points); the first of " + first + " us");
  }
}

}  // namespace lambda::sim
