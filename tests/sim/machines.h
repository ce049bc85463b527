// The programs of a simulated world and the machines they run on. A machine has a clock and a disk, which outlive the
// runs of its program.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/crypto/crypto.h"
#include "base/env/env.h"
#include "gateway/node.h"
#include "lambda/lambda.h"
#include "tests/sim/keeper.h"
#include "tests/sim/live_witness.h"
#include "tests/sim/oracle.h"
#include "tests/sim/sim_disk.h"
#include "tests/sim/sim_loop.h"
#include "tests/sim/sim_network.h"

namespace lambda::sim {

inline constexpr const char* kSite = "plant-1";
inline constexpr const char* kBrokerUrl = "mqtt://broker:1883";
inline constexpr int64_t kLeaseMs = 4'000;  // of the gateway's interests

struct World {
  explicit World(uint64_t seed, bool be_verbose)
      : scheduler(seed),
        random(SimRandom(seed ^ 0x51).next()),
        broker(scheduler, SimRandom(seed ^ 0x52)),
        verbose(be_verbose) {}
  Scheduler scheduler;
  SimRandom random;  // for the scenario's choices
  SimBroker broker;
  const bool verbose;
  std::vector<std::string> impossible;  // logged events that no fault of this world explains
};

class Machine {
 public:
  Machine(World& world, std::string name);
  virtual ~Machine() = default;
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  virtual void start() = 0;
  // The program dies as by SIGKILL.
  virtual void kill() = 0;
  bool running() const { return run_ != nullptr; }
  const std::string& name() const { return name_; }

  SimClock clock;
  SimMedia media;

 protected:
  // One run of a program: its loop and its view of the world.
  struct Run {
    Run(World& world, Machine& machine, uint64_t seed);
    SimLoop loop;
    SimDisk disk;
    SimNetwork network;
    SimRandom random;
    NoProcesses processes;
    SimLog log;
    Env env;
  };
  void begin_run();
  void end_run();  // after the program's objects are gone

  World& world_;
  const std::string name_;
  std::unique_ptr<Run> run_;
};

class GatewayMachine final : public Machine {
 public:
  explicit GatewayMachine(World& world);
  ~GatewayMachine() override { kill(); }
  void start() override;
  void kill() override;
  // Before the first start: who sees what the gateway hands to its consumers.
  void watch(LiveWitness& witness) { witness_ = &witness; }
  // Ends it as SIGTERM does; it is down when running() says so.
  void stop();
  void enroll(const std::string& device, const PublicKey& key);
  void revoke(const std::string& device);
  std::string store_folder() const { return "/var/store"; }
  // What the gateway itself says it has of each device. Null: it is not ready.
  gateway::Store* store() { return node_ && node_->http_port() != 0 ? &node_->store() : nullptr; }

 private:
  const bool high_water_;  // else the disk is written to until it is really full
  const bool retains_;     // deletes by bytes, and sometimes by age
  const int64_t age_ms_max_;
  std::unique_ptr<gateway::Node> node_;
  LiveWitness* witness_ = nullptr;
  bool stopping_ = false;
};

// A microcontroller, whatever its program is.
class Microcontroller : public Machine {
 public:
  using Machine::Machine;
  virtual const PublicKey& public_key() const = 0;
  virtual uint64_t boot() const = 0;     // of the run there is; 0: there is none
  virtual uint64_t waiting() const = 0;  // points, for a gateway to have them
  virtual void make_no_more() = 0;
  virtual void flush() = 0;
  // Null: it has none.
  virtual FlashLedger* flash() = 0;
  // As when power says that it is about to go.
  virtual void save() = 0;
  // Who starts it again when power went in the middle of what it did with its flash.
  void on_power_lost(std::function<void()> then) { power_lost_ = std::move(then); }

 protected:
  bool has_power() { return flash() == nullptr || flash()->has_power(); }
  // From inside what the program does with its flash: it is gone before anything else happens.
  void lose_power();

 private:
  std::function<void()> power_lost_ = [] {};
};

// The SDK through its C interface, RAM, and flash where it is told to have some.
class DeviceMachine final : public Microcontroller {
 public:
  struct Options {
    uint32_t series = 3;
    int64_t interval_ms = 250;
    size_t memory_bytes = 64u << 10;
    bool knows_time = true;
    std::optional<SimRandom> flash;  // its geometry and its luck; none: there is only RAM
  };
  DeviceMachine(World& world, Oracle& oracle, std::string name, Options options);
  ~DeviceMachine() override { kill(); }
  void start() override;
  void kill() override;  // a reset: what was in RAM is gone

  const PublicKey& public_key() const override { return public_key_; }
  void sign_with_another_key() { key_ = SigningKey::make(key_random_); }
  uint64_t boot() const override { return device_ == nullptr ? 0 : lam_boot(device_); }
  uint64_t waiting() const override;
  void make_no_more() override { making_ = false; }
  void flush() override;
  FlashLedger* flash() override { return keeper_ ? &keeper_->ledger() : nullptr; }
  void save() override {
    if (running() && keeper_ && keeper_->has_power()) keeper_->save();
  }

 private:
  struct Series {
    std::string name;
    lam_series_spec spec{};
    lam_series id = 0;
  };
  void connect();
  void sample();
  void poll();
  lam_port port();

  Oracle& oracle_;
  const Options options_;
  SimRandom key_random_;
  SigningKey key_;
  PublicKey public_key_;
  std::string up_topic_, down_topic_;
  std::vector<uint64_t> memory_;
  std::vector<Series> series_;
  lam_device* device_ = nullptr;
  std::unique_ptr<Keeper> keeper_;
  std::unique_ptr<MessageBus> bus_;
  EventLoop::TimerId poll_timer_ = 0;
  bool making_ = true;
  bool knows_time_now_ = true;
  uint64_t value_ = 0;  // of all runs: no two points of a device are equal
};

}  // namespace lambda::sim
