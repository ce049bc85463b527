#include "tests/sim/scenario.h"

#include <functional>
#include <memory>

#include "tests/sim/agent_machine.h"
#ifdef LAMBDA_SIM_FIRMWARE
#include "tests/sim/firmware_machine.h"
#endif
#include "tests/sim/machines.h"
#include "tests/sim/packer_machine.h"

namespace lambda::sim {
namespace {

constexpr int64_t kSecond = 1'000'000;
constexpr int64_t kFaultsUs = 60 * kSecond;
constexpr int64_t kHealedUsMax = 900 * kSecond;
// After all is healed: until everybody has found everybody again, then long enough for many leases.
constexpr int64_t kReunionUs = 22 * kSecond;
constexpr int64_t kFreshUs = 8 * kSecond;

class Scenario {
 public:
  Scenario(uint64_t seed, bool verbose)
      : world_(seed, verbose),
        gateway_(world_),
        oracle_(gateway_.media, gateway_.store_folder()),
        witness_(oracle_),
        flash_random_(SimRandom(seed ^ 0x61).next()),
        firmware_random_(SimRandom(seed ^ 0x62).next()) {
    gateway_.watch(witness_);
    world_.broker.on_publish = [this](const std::string&, const std::string& topic, std::string_view payload) {
      oracle_.published(topic, payload, now());
    };
  }

  Outcome run() {
    build();
    world_.scheduler.after(kSecond, [this] { fault(); });
    if (!keepers_.empty()) world_.scheduler.after(kSecond, [this] { flash_fault(); });
    look();
    world_.scheduler.run_until(kFaultsUs);
    heal();
    look_at_live_lane();
    drain();
    finish();
    extra_.insert(extra_.end(), world_.impossible.begin(), world_.impossible.end());
    return {oracle_.violations(), world_.scheduler.hash(), world_.scheduler.events(), oracle_.made_count(),
            oracle_.acked_count()};
  }

 private:
  int64_t now() const { return world_.scheduler.now_us(); }
  SimRandom& random() { return world_.random; }

  void build() {
    agents_first_ = random().chance(0.5);
    theme_ = random().chance(0.3) ? AgentFault::kCrashesAtSpool : any_agent_fault();
    const int64_t count = agents_first_ ? 1 : random().between(1, 3);
    const bool with_flash = flash_random_.chance(0.35);
    for (int64_t i = 0; i < count; ++i) {
      DeviceMachine::Options options;
      options.series = static_cast<uint32_t>(random().between(1, 4));
      options.interval_ms = random().between(100, 600);
      options.memory_bytes = random().chance(0.3) ? 24u << 10 : 128u << 10;
      options.knows_time = random().chance(0.7);
      if (with_flash && (i == 0 || flash_random_.chance(0.5))) options.flash = SimRandom(flash_random_.next());
      devices_.push_back(std::make_unique<DeviceMachine>(world_, oracle_, "press-" + std::to_string(i), options));
      gateway_.enroll(devices_.back()->name(), devices_.back()->public_key());
      if (options.flash) keepers_.push_back(devices_.back().get());
    }
    add_firmware();
    for (Microcontroller* device : keepers_) {
      device->on_power_lost([this, device] { start_again(*device); });
    }
    for (int64_t i = agents_first_ ? 2 : random().between(0, 2); i > 0; --i) {
      agents_.push_back(std::make_unique<AgentMachine>(world_, oracle_, "host-" + std::to_string(i),
                                                       static_cast<uint32_t>(random().between(1, 6))));
      gateway_.enroll(agents_.back()->name(), agents_.back()->public_key());
      oracle_.leave_to_its_machine(agents_.back()->name());
    }
    packer_ = std::make_unique<PackerMachine>(world_, oracle_, "packer");
    gateway_.enroll("packer", packer_->public_key());
    oracle_.gaps_are_invented_by("packer");
    // Its key is not the one that was enrolled: nothing of it may ever be stored.
    forger_ = std::make_unique<DeviceMachine>(world_, oracle_, "forger", DeviceMachine::Options{});
    gateway_.enroll("forger", forger_->public_key());
    forger_->sign_with_another_key();
    oracle_.forbid("forger");
    // Revoked in the middle.
    revoked_ = std::make_unique<DeviceMachine>(world_, oracle_, "revoked", DeviceMachine::Options{});
    gateway_.enroll("revoked", revoked_->public_key());

    const bool lossy = random().chance(0.7);
    for (const auto& name : names()) {
      LinkFaults& link = world_.broker.links[name];
      link.delay_us_max = random().between(1'000, 80'000);
      if (!lossy) continue;
      link.drop = random().chance(0.5) ? 0.0 : static_cast<double>(random().below(25)) / 100;
      link.duplicate = static_cast<double>(random().below(20)) / 100;
      link.reorder = random().chance(0.5) ? 0.0 : static_cast<double>(random().below(30)) / 100;
    }
    gateway_.start();
    for (auto& device : devices_) start_soon(*device);
    for (auto& agent : agents_) start_soon(*agent);
    start_soon(*packer_);
    start_soon(*forger_);
    start_soon(*revoked_);
    world_.scheduler.at(kFaultsUs / 2, [this] {
      gateway_.revoke("revoked");
      // The gateway looks at the registry five times a second; what it had taken before may still be acked.
      world_.scheduler.after(2 * kSecond, [this] { oracle_.forbid("revoked"); });
    });
  }

  // In a quarter of the worlds a device runs the firmware itself, in half of those with flash.
  void add_firmware() {
#ifdef LAMBDA_SIM_FIRMWARE
    if (!firmware_random_.chance(0.25)) return;
    FirmwareMachine::Options options;
    options.seal_age_ms = static_cast<uint32_t>(firmware_random_.between(500, 5'000));
    options.memory_bytes = static_cast<uint32_t>(firmware_random_.between(24, 160)) << 10;
    options.after_49_days = firmware_random_.chance(0.25);
    if (firmware_random_.chance(0.5)) options.flash = SimRandom(firmware_random_.next());
    options.flash_save_s = static_cast<uint32_t>(firmware_random_.between(1, 30));
    auto made =
        std::make_unique<FirmwareMachine>(world_, oracle_, "board-1", SimRandom(firmware_random_.next()), options);
    gateway_.enroll(made->name(), made->public_key());
    if (options.flash) keepers_.push_back(made.get());
    devices_.push_back(std::move(made));
#endif
  }

  std::vector<std::string> names() const {
    std::vector<std::string> all = {"gateway-1", "forger", "revoked", "packer"};
    for (const auto& agent : agents_) all.push_back(agent->name());
    for (const auto& device : devices_) all.push_back(device->name());
    return all;
  }

  void start_soon(Machine& machine) {
    world_.scheduler.after(random().between(0, 2 * kSecond), [&machine] {
      if (!machine.running()) machine.start();
    });
  }

  Microcontroller& any_device() {
    return *devices_[random().below(devices_.size())];
  }
  std::string any_name() {
    const auto all = names();
    return all[random().below(all.size())];
  }

  // Runs `undo` some time later, unless healing came first and did it.
  void undo_later(int64_t delay_us, std::function<void()> undo) {
    world_.scheduler.after(delay_us, [this, undo = std::move(undo)] {
      if (!healed_) undo();
    });
  }

  // Often enough to see each record before retention or merging deletes it.
  void look() {
    oracle_.read_synced();
    world_.scheduler.after(100'000, [this] { look(); });
  }

  // The gateway's own counts against the segments: what reading them again, merging and retention do to the index.
  void check_totals() {
    gateway::Store* store = gateway_.store();
    if (store == nullptr || !store->ready()) return extra_.push_back("the gateway is not ready in the end");
    const SegmentContent content = oracle_.read_segments();
    std::map<std::string, std::set<Identity>> ever;
    for (const auto& [identity, stored] : content.points) ever[identity.device].insert(identity);
    for (const auto& identity : content.retired) ever[identity.device].insert(identity);
    for (const auto& totals : store->devices()) {
      if (totals.points == ever[totals.device].size()) continue;
      extra_.push_back("the gateway counts " + std::to_string(totals.points) + " points of " + totals.device +
                       ", its segments say " + std::to_string(ever[totals.device].size()));
    }
  }

  void fault() {
    if (healed_ || now() >= kFaultsUs) return;
    world_.scheduler.after(random().between(100'000, 5 * kSecond), [this] { fault(); });
    if (!agents_.empty() && random().chance(agents_first_ ? 0.8 : 0.35)) {
      return agent_fault(*agents_[random().below(agents_.size())]);
    }
    switch (random().below(16)) {
      case 0:
      case 1:
        gateway_.kill();
        start_soon(gateway_);
        break;
      case 2:
      case 3:
      case 4:
        power_cut_gateway();
        start_soon(gateway_);
        break;
      case 14:
      case 15:
        at_a_disk_call(gateway_, 40, "", [this] {
          random().chance(0.5) ? gateway_.kill() : power_cut_gateway();
          if (random().chance(0.3)) {
            gateway_.media.faults.sync_fails = random().chance(0.5) ? 1.0 : 0.5;
            undo_later(random().between(kSecond, 5 * kSecond), [this] { gateway_.media.faults.sync_fails = 0; });
            gateway_.start();
            // The power goes while what it found is not safe yet, or shortly after.
            at_a_disk_call(gateway_, 40, "", [this] {
              power_cut_gateway();
              start_soon(gateway_);
            });
            return;
          }
          start_soon(gateway_);
        });
        break;
      case 5:
        gateway_.stop();
        world_.scheduler.after(7 * kSecond, [this] {
          if (!gateway_.running()) gateway_.start();
        });
        break;
      case 6: {
        Microcontroller& device = any_device();
        device.kill();
        start_soon(device);
        break;
      }
      case 7:
        world_.broker.restart(random().chance(0.5), random().between(100'000, 3 * kSecond));
        break;
      case 8:
        world_.broker.cut(any_name());
        break;
      case 9: {
        const std::string name = any_name();
        LinkFaults& link = world_.broker.links[name];
        (random().chance(0.5) ? link.up_cut : link.down_cut) = true;
        undo_later(random().between(kSecond, 15 * kSecond),
                   [this, name] { world_.broker.links[name].up_cut = world_.broker.links[name].down_cut = false; });
        break;
      }
      case 10:
        gateway_.media.faults.capacity_bytes = gateway_.media.used_bytes() + random().below(40'000);
        undo_later(random().between(kSecond, 10 * kSecond),
                   [this] { gateway_.media.faults.capacity_bytes = DiskFaults().capacity_bytes; });
        break;
      case 11:
        (random().chance(0.5) ? gateway_.media.faults.sync_fails : gateway_.media.faults.append_fails) = 0.3;
        undo_later(random().between(kSecond / 2, 4 * kSecond),
                   [this] { gateway_.media.faults.sync_fails = gateway_.media.faults.append_fails = 0; });
        break;
      case 12:
        (random().chance(0.5) ? gateway_.clock : any_device().clock).skew_ms += random().between(-3'600'000, 3'600'000);
        break;
      case 13:
        gateway_.media.faults.sync_us_max = random().between(1'000, 300'000);
        break;
    }
  }

  // Power that goes in the middle of what a device does with its flash, is announced, or just goes. Such faults have
  // their luck to themselves: worlds without flash are as they would be if there were none.
  void flash_fault() {
    if (healed_ || now() >= kFaultsUs) return;
    world_.scheduler.after(flash_random_.between(kSecond / 5, 5 * kSecond), [this] { flash_fault(); });
    Microcontroller& device = *keepers_[flash_random_.below(keepers_.size())];
    if (!device.running() || !device.flash()->has_power()) return;
    static constexpr uint64_t kSteps[] = {4, 40, 400, 4'000};
    if (flash_random_.chance(0.6)) device.flash()->lose_power_within(kSteps[flash_random_.below(std::size(kSteps))]);
    const uint64_t kind = flash_random_.below(4);
    if (kind == 0) return;  // whenever it writes next
    if (kind == 1) return reset(device);
    device.save();
    if (kind == 2) return;  // a false alarm
    world_.scheduler.after(flash_random_.between(0, kSecond / 2), [this, &device] {
      if (!healed_ && device.running()) reset(device);
    });
  }

  void reset(Microcontroller& device) {
    device.kill();
    start_again(device);
  }

  void start_again(Microcontroller& device) {
    world_.scheduler.after(flash_random_.between(1'000, 2 * kSecond), [&device] {
      if (!device.running()) device.start();
    });
  }

  enum class AgentFault {
    kKill,
    kPowerCut,
    kStop,
    kClock,
    kFullDisk,
    kAppendsFail,
    kSyncsFail,
    kSlowDisk,
    kAway,
    kKillAtCall,
    kPowerCutAtCall,
    kCrashesAtSpool,
    kSpoolFileVanishes,
    kCount,
  };
  AgentFault any_agent_fault() {
    return static_cast<AgentFault>(random().below(static_cast<uint64_t>(AgentFault::kCount)));
  }

  void agent_fault(AgentMachine& agent) {
    switch (agents_first_ && random().chance(0.75) ? theme_ : any_agent_fault()) {
      case AgentFault::kKill:
        return kill_later(agent, 0);
      case AgentFault::kPowerCut:
        agent.power_cut();
        return start_soon(agent);
      case AgentFault::kStop:
        agent.stop();
        world_.scheduler.after(12 * kSecond, [&agent] {
          if (!agent.running()) agent.start();
        });
        return;
      case AgentFault::kClock:
        agent.clock.skew_ms += random().between(-3'600'000, 3'600'000);
        // Before what was collected on both sides of the step is in a parcel.
        if (random().chance(0.5)) kill_later(agent, random().between(kSecond, 4 * kSecond));
        return;
      case AgentFault::kFullDisk:
        agent.appends_fail(true);
        agent.media.faults.capacity_bytes = agent.media.used_bytes() + random().below(20'000);
        return disk_fails_for(agent, random().between(kSecond, 8 * kSecond));
      case AgentFault::kAppendsFail:
        agent.appends_fail(true);
        agent.media.faults.append_fails = 0.3;
        return disk_fails_for(agent, random().between(kSecond / 2, 4 * kSecond));
      case AgentFault::kSyncsFail:
        agent.syncs_fail(true);
        agent.media.faults.sync_fails = random().chance(0.3) ? 1.0 : 0.4;
        return disk_fails_for(agent, random().between(kSecond / 2, 4 * kSecond));
      case AgentFault::kSlowDisk:
        // And no gateway: a kill finds parcels that were written and not synced, and nobody else has them.
        agent.media.faults.sync_us_max = random().between(100'000, 600'000);
        cut_off(agent, random().between(5 * kSecond, 15 * kSecond));
        world_.scheduler.after(random().between(0, 4 * kSecond), [this, &agent] {
          if (!healed_ && agent.running()) kill_and_cut(agent);
        });
        return;
      case AgentFault::kAway:
        // For long: a small spool drops what is oldest.
        cut_off(agent, random().between(10 * kSecond, 30 * kSecond));
        if (random().chance(0.5)) return;
        return at_a_disk_call(agent, 80, "/spool-", [this, &agent] {
          agent.power_cut();
          start_soon(agent);
        });
      case AgentFault::kKillAtCall:
        return at_a_disk_call(agent, 40, "", [this, &agent] { kill_later(agent, 0); });
      case AgentFault::kPowerCutAtCall:
        return at_a_disk_call(agent, 40, "", [this, &agent] {
          agent.power_cut();
          start_soon(agent);
        });
      case AgentFault::kCrashesAtSpool:
        if (random().chance(0.7)) cut_off(agent, random().between(5 * kSecond, 15 * kSecond));
        return at_a_disk_call(agent, 6, "/spool-", [this, &agent] {
          if (random().chance(0.7)) return kill_and_cut(agent);
          agent.power_cut();
          start_soon(agent);
        });
      case AgentFault::kSpoolFileVanishes:
        // Nobody else has what is in its spool, and a file of it vanishes.
        cut_off(agent, random().between(10 * kSecond, 20 * kSecond));
        world_.scheduler.after(random().between(4 * kSecond, 12 * kSecond), [this, &agent] {
          if (healed_ || !agent.running()) return;
          agent.kill();
          agent.lose_spool_file();
          start_soon(agent);
        });
        return;
      case AgentFault::kCount:
        break;
    }
  }

  void kill_later(AgentMachine& agent, int64_t delay_us) {
    world_.scheduler.after(delay_us, [this, &agent] {
      if (healed_ || !agent.running()) return;
      agent.kill();
      start_soon(agent);
    });
  }

  // Until then, or until a kill in the middle of it, while often the gateway is away, too.
  void disk_fails_for(AgentMachine& agent, int64_t for_us) {
    if (random().chance(0.5)) cut_off(agent, random().between(5 * kSecond, 15 * kSecond));
    const bool crashes = random().chance(0.5);
    world_.scheduler.after(for_us, [this, &agent, crashes] {
      if (healed_) return;
      if (crashes && agent.running()) {
        agent.kill();
        start_soon(agent);
      }
      agent.disk_works();
    });
  }

  void cut_off(AgentMachine& agent, int64_t for_us) {
    const std::string name = agent.name();
    world_.broker.links[name].up_cut = true;
    undo_later(for_us, [this, name] { world_.broker.links[name].up_cut = false; });
  }

  // Soon, in the middle of what the machine does with its disk: one of the next `calls_max` calls for paths with `of`.
  void at_a_disk_call(Machine& machine, uint64_t calls_max, std::string of, std::function<void()> crash) {
    machine.media.after_calls(1 + random().below(calls_max), std::move(of), [this, &machine, crash = std::move(crash)] {
      world_.scheduler.after(0, [this, &machine, crash] {
        if (!healed_ && machine.running()) crash();
      });
    });
  }

  // A kill, a start at once, whose syncs may be slow or all fail, and the power goes while it looks around.
  void kill_and_cut(AgentMachine& agent) {
    agent.kill();
    agent.media.faults = DiskFaults();
    const bool fails = random().chance(0.5);
    if (fails) {
      agent.syncs_fail(true);
      agent.media.faults.sync_fails = 1.0;
    } else if (random().chance(0.5)) {
      agent.media.faults.sync_us_max = 600'000;
    }
    agent.start();
    world_.scheduler.after(random().between(1'000, 2 * kSecond), [this, &agent, fails] {
      if (healed_) return;
      agent.power_cut();
      if (fails) agent.disk_works();
      start_soon(agent);
    });
  }

  void power_cut_gateway() {
    gateway_.kill();
    gateway_.media.power_cut();
    oracle_.check_acked("by a power cut");
  }

  void heal() {
    healed_ = true;
    for (auto& [name, link] : world_.broker.links) link = LinkFaults();
    gateway_.media.faults = DiskFaults();
    if (!gateway_.running()) gateway_.start();
    for (auto& device : devices_) {
      if (!device->running()) device->start();
      if (device->flash() != nullptr) device->flash()->power_is_safe();
      device->make_no_more();
    }
    for (auto& agent : agents_) {
      agent->disk_works();
      if (!agent->running()) agent->start();
    }
    if (!packer_->running()) packer_->start();
    packer_->finish();
    forger_->make_no_more();
    revoked_->make_no_more();
  }

  // Nothing is in the way any more: what agents make comes live, for as long as it is wanted.
  void look_at_live_lane() {
    before_ = oracle_.read_segments();
    world_.scheduler.run_until(now() + kReunionUs);
    std::vector<std::pair<uint64_t, uint64_t>> then;
    for (const auto& agent : agents_) then.emplace_back(agent->collected(), witness_.live_points(agent->name()));
    world_.scheduler.run_until(now() + kFreshUs);
    for (size_t i = 0; i < agents_.size(); ++i) {
      const uint64_t made = agents_[i]->collected() - then[i].first;
      const uint64_t live = witness_.live_points(agents_[i]->name()) - then[i].second;
      if (live * 2 < made) {
        extra_.push_back(agents_[i]->name() + " collected " + std::to_string(made) +
                         " points in 8 quiet seconds, and " + std::to_string(live) + " came live");
      }
      agents_[i]->make_no_more();
    }
  }

  // Until every device got rid of what it has.
  void drain() {
    const int64_t limit = now() + kHealedUsMax;
    uint64_t waiting = 0;
    while (now() < limit) {
      world_.scheduler.run_until(now() + 5 * kSecond);
      waiting = 0;
      for (auto& device : devices_) {
        device->flush();
        waiting += device->waiting();
      }
      for (auto& agent : agents_) waiting += agent->waiting();
      waiting += packer_->waiting();
      if (waiting == 0 && now() > kFaultsUs + kReunionUs + kFreshUs + 30 * kSecond) return;
    }
    extra_.push_back("not drained: " + std::to_string(waiting) + " points still wait 900 s after all was healed");
  }

  void check_machines() {
    const SegmentContent content = oracle_.read_segments();
    for (const auto& agent : agents_) agent->check(content);
    for (Microcontroller* device : keepers_) device->flash()->check(content);
  }

  void finish() {
    const auto rest = [this](const Identity& identity) {
      // What a device held in RAM when it was reset is gone with it, but for what flash kept; acked points are checked
      // apart.
      for (const auto& device : devices_) {
        if (device->name() != identity.device) continue;
        return device->boot() == identity.boot ||
               (device->flash() != nullptr && device->flash()->accounts_for(identity));
      }
      return identity.device == "packer";
    };
    oracle_.check_balance(rest);
    check_machines();
    witness_.check(before_, oracle_.read_segments());
    check_totals();
    power_cut_gateway();
    oracle_.check_balance(rest);
    check_machines();
    gateway_.start();
    world_.scheduler.run_until(now() + 5 * kSecond);
    check_totals();
    for (const auto& [identity, stored] : oracle_.read_segments().points) {
      if (identity.device == "forger") {
        extra_.push_back("a point with a forged signature is stored: " + to_text(identity));
        break;
      }
    }
  }

  World world_;
  GatewayMachine gateway_;
  Oracle oracle_;
  LiveWitness witness_;
  SegmentContent before_;  // stored when all was healed
  std::vector<std::unique_ptr<Microcontroller>> devices_;
  std::vector<std::unique_ptr<AgentMachine>> agents_;
  std::unique_ptr<PackerMachine> packer_;
  std::unique_ptr<DeviceMachine> forger_, revoked_;
  SimRandom flash_random_;
  SimRandom firmware_random_;
  std::vector<Microcontroller*> keepers_;  // of the devices, those with flash
  bool healed_ = false;
  bool agents_first_ = false;
  AgentFault theme_ = AgentFault::kKill;  // what most faults of such a seed are

 public:
  std::vector<std::string> extra_;
};

}  // namespace

Outcome run_scenario(uint64_t seed, bool verbose) {
  Scenario scenario(seed, verbose);
  Outcome outcome = scenario.run();
  outcome.violations.insert(outcome.violations.end(), scenario.extra_.begin(), scenario.extra_.end());
  return outcome;
}

}  // namespace lambda::sim
