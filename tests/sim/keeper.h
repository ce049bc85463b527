// What a simulated microcontroller keeps over a reset: the SDK's work on its flash, in place of lam_poll().
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "tests/sim/flash_ledger.h"

namespace lambda::sim {

class Keeper {
 public:
  Keeper(SimRandom random, Oracle& oracle, std::string device, std::function<void()> power_lost);

  FlashLedger& ledger() { return ledger_; }
  bool has_power() const { return ledger_.has_power(); }

  // One run of the program, from its last declaration to its reset.
  void start(lam_device* device, const lam_config& config, Log& log);
  uint32_t poll();
  void save();
  void made(const Identity& identity) { ledger_.made(identity); }
  void end();

 private:
  void count();

  const lam_flash_config config_;
  FlashLedger ledger_;
  std::vector<uint64_t> memory_;
  // Of this run. Null: there is none.
  lam_device* device_ = nullptr;
  lam_flash* sdk_ = nullptr;
};

}  // namespace lambda::sim
