// What outlives a reset: the SDK's snapshots in flash, for images that are built with them (`board_flash` in
// board.cmake; keeper_flash.cpp) and devices that are provisioned to (--flash-save-s). Else keeper_none.cpp: nothing
// does.
#pragma once

#include <span>

#include "boards/firmware/board.h"
#include "lambda/flash.h"

namespace lambda::boards {

class Keeper {
 public:
  // `save_every_s` 0: this device keeps nothing.
  Keeper(const Board& board, uint32_t save_every_s) : board_(board), save_every_s_(save_every_s) {}

  // Takes what it needs from the end of the memory; returns the rest.
  std::span<uint8_t> reserve(const lam_config& config, std::span<uint8_t> memory);
  // After every series was declared, before the first point.
  void start(lam_device* device);
  // lam_poll(), and the flash's work.
  uint32_t poll();
  // Saves at once when the board says that power is about to go. To be called each turn.
  void look_at_power();

 private:
  void say(const char* event) const;

  const Board& board_;
  const uint32_t save_every_s_;
  lam_device* device_ = nullptr;
  lam_flash* flash_ = nullptr;
  std::span<uint8_t> memory_;
  uint64_t saves_said_ = 0;
  bool power_was_failing_ = false;
};

}  // namespace lambda::boards
