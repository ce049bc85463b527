// The flash of a simulated microcontroller, and which of the points that died with a RAM may be missing in the end.
//
// What may be missing is told from outside of the SDK: by what was made, when a save was whole, and what was published.
// 1. What a whole snapshot has is stored in the end, or named as gone.
// 2. So is every ordinal below one that left the device: there is no hole that nobody named.
// 3. What was made behind both is gone with the RAM, as on a device without flash.
// 4. A gap names points that were made; of those in a snapshot no more than memory had no room for.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "lambda/flash.h"
#include "sdk/test/nor_flash.h"
#include "tests/sim/oracle.h"
#include "tests/sim/sim_loop.h"

namespace lambda::sim {

class FlashLedger {
 public:
  // Its luck comes from `random` and takes nothing of the world's. `power_lost` is called from inside of a save, a note
  // or an erase: what the program does from then on must have no effect.
  FlashLedger(SimRandom random, Oracle& oracle, std::string device, uint32_t banks, std::function<void()> power_lost);

  const lam_flash_port& port() const { return flash_.port; }
  bool has_power() const { return !flash_.dead; }
  // It goes at one of the next `steps` words and erases.
  void lose_power_within(uint64_t steps) { flash_.steps_left = random_.below(steps); }
  // From now on it stays.
  void power_is_safe() {
    power_is_safe_ = true;
    flash_.steps_left = UINT64_MAX;
  }

  // One run of the program, from its last declaration to its reset. What the SDK says of itself is told at once, and
  // after each time it was at its flash: `dropped` are points of this run that memory had no room for.
  void begin_run();
  void started(const lam_flash_report& report, uint64_t boot, Log& log);
  void counted(const lam_flash_counters& counters, uint64_t dropped);
  void made(const Identity& identity);
  void end_run();

  // Whether it must be stored in the end, or named as gone.
  bool accounts_for(const Identity& identity) const;
  void check(const SegmentContent& content) const;

 private:
  // (boot, ref) -> ordinals below it.
  using Extent = std::map<std::pair<uint64_t, uint32_t>, uint64_t>;

  class Flash final : public test::NorFlash {
   public:
    Flash(Oracle& oracle, uint32_t page_bytes, uint32_t pages, uint32_t write_bytes)
        : NorFlash(page_bytes, pages, write_bytes), oracle_(oracle) {}

   private:
    void broken(const std::string& rule) override { oracle_.complain(rule); }
    Oracle& oracle_;
  };

  static Flash make_flash(SimRandom& random, Oracle& oracle, uint32_t banks);
  void complain(const std::string& text) const;
  bool has_started();
  void all_made_is_saved();
  void check_report(const lam_flash_report& report);
  uint64_t dropped() const { return dropped_before_ + dropped_; }

  SimRandom random_;
  Oracle& oracle_;
  const std::string name_;
  Flash flash_;
  bool power_is_safe_ = false;
  // Of this run.
  bool started_ = false;
  uint64_t saves_ = 0;
  uint64_t dropped_ = 0;
  Extent made_;
  // Of all of them.
  std::vector<uint64_t> boots_;  // in their order
  std::set<uint64_t> given_up_;  // perhaps: the SDK says that memory had no room for as many boots
  Extent saved_;                 // by the snapshot that is in force, or by one before it
  uint32_t generation_ = 0;      // of that snapshot
  uint64_t dropped_before_ = 0;  // points, in runs that ended
};

}  // namespace lambda::sim
