// What a firmware's board and the simulated world say to each other, over a socket that keeps messages apart: a Word,
// then the bytes it speaks of. Both ends are one build, so numbers lie as they do in memory.
//
// The board speaks while its firmware runs; the world listens, and answers only what is at the flash. With kTurn the
// board has done what it had to and waits; the world says what happened meanwhile, and kGo lets the next turn begin.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "lambda/flash.h"

namespace lambda::sim {

enum class Say : uint32_t {
  // The world's.
  kBegin,   // `number` is the entropy; bytes: Beginning, then the identity region. Once, first
  kUp,      // the connection `stream` stands
  kBytes,   // of the connection
  kTaken,   // `number` bytes of the connection are on their way
  kEnd,     // the peer of the connection has no more to say
  kBroken,  // the connection is no more, or never was
  kGo,      // `number`: the monotonic time in ms; `flags`: GoFlags. The next turn begins
  kDone,    // the answer to what is at the flash: `flags` is whether it worked; bytes: those that were read
  // The board's.
  kLine,      // bytes: a line of the log
  kMade,      // bytes: Made
  kDial,      // a connection `stream`
  kSend,      // bytes for the connection
  kHangUp,    // the connection is dropped
  kSaved,     // bytes outlive a reset from now on
  kErase,     // the page `number`
  kWrite,     // bytes to the address `number`
  kRead,      // `flags` bytes from the address `number`
  kRestored,  // bytes: Restored
  kTurn,      // until `number` ms have passed; bytes: Counts
  kRestart,   // the last word
};

enum GoFlags : uint32_t { kGoSample = 1, kGoPowerFails = 2 };

struct Word {
  Say say{};
  uint32_t stream = 0;
  uint32_t flags = 0;
  int64_t number = 0;
};
inline constexpr size_t kWordBytesMax = size_t{96} << 10;  // more than a bank of flash has
inline constexpr int kWorldFile = 3;                       // the board's end of the socket

// False: the other end is gone, or there are more bytes than that.
bool send_word(int file, const Word& word, std::span<const uint8_t> bytes);
// Waits. False: the other end is gone, says nothing for as long as the socket may wait, or says too much.
bool receive_word(int file, Word* word, std::vector<uint8_t>* bytes);

struct Beginning {
  int64_t mono_ms = 0;
  uint32_t saved_bytes = 0;
  uint8_t saved[32] = {};
  uint32_t page_bytes = 0, pages = 0, write_bytes = 0;  // of the flash; no pages: there is none
  char bug[48] = {};                                    // that is planted
};

struct Made {
  uint64_t boot = 0;
  uint32_t ref = 0;
  uint64_t ordinal = 0;
  int64_t time_ms = 0;
  uint64_t bits = 0;
};

struct Restored {
  uint64_t boot = 0;
  lam_flash_report report{};
};

struct Counts {
  uint64_t boot = 0;
  uint64_t points_waiting = 0, points_dropped = 0;
  lam_flash_counters flash{};
  uint64_t bugs_met = 0;  // how often planted() said yes
};

}  // namespace lambda::sim
