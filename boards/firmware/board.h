// The port: what the firmware asks of a board. One struct of callbacks, filled by boards/<board>; boards/README.md
// tells how. All of them are called from the firmware's only thread (the main loop), none from interrupts, and none may
// call back into the firmware but where it says so. Times are milliseconds.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <span>

#include "lambda/flash.h"

namespace lambda::boards {

struct NetworkAddress {
  uint8_t mac[6];
  uint8_t own[4];
  uint8_t mask[4];
  uint8_t router[4];
};

struct Board {
  void* context;
  const char* name;

  // Since the start; never goes back.
  int64_t (*mono_ms)(void* context);
  // UTC of a clock that runs without power. False: not set. Null: the board has none.
  bool (*utc_ms)(void* context, int64_t* utc_ms);
  // Bytes that nobody can foretell, of a true source. False: there is none now; the firmware starts anew.
  bool (*entropy)(void* context, uint8_t* bytes, size_t size);
  // A line for whoever looks after the device, without its end.
  void (*log)(void* context, const char* line, size_t size);

  // The identity region of the flash, as boards/provision.py writes it; it stays where it is.
  std::span<const uint8_t> (*identity)(void* context);
  // A few bytes that outlive a reset. The firmware writes them at most every ten minutes, and checks what it reads.
  bool (*load)(void* context, uint8_t* bytes, size_t size);
  bool (*save)(void* context, const uint8_t* bytes, size_t size);

  // From now on calls sample(argument) every kSamplePeriodMs. This one may come from an interrupt.
  void (*start_sampling)(void* context, void (*sample)(void* argument), void* argument);
  // Gives lwIP its network interface, as the default one, up. False: the hardware does not answer.
  bool (*start_network)(void* context, const NetworkAddress& address);
  // Hands what has arrived to lwIP, whose callbacks run inside this call.
  void (*poll_network)(void* context);
  // Sleeps until an interrupt, at most so long.
  void (*wait)(void* context, uint32_t wait_ms_max);
  // Starts the device anew. Does not return.
  void (*restart)(void* context);

  // NOR flash for what outlives a reset (lambda/flash.h). Null: the board has none to spare.
  const lam_flash_port* flash = nullptr;
  // True: power is about to go, there is just time for a snapshot. Null: the board cannot tell.
  bool (*power_failing)(void* context) = nullptr;
};

inline constexpr uint32_t kSamplePeriodMs = 10;

// The firmware. `memory` (aligned to 8) is all that series and parcels get. Returns only when the identity region holds
// no identity: there is nothing to do then but to wait for one.
void run_firmware(const Board& board, std::span<uint8_t> memory);

}  // namespace lambda::boards
