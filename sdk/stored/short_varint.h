// Numbers of seven bits a byte, as varint.h has them, of up to eight bytes at once: nothing depends on how long one is,
// for lengths change from number to number and a processor would guess them wrong.
#pragma once

#include "bit_rows.h"

namespace lambda::packed {

// Reads the number that `word` begins with, of which the lowest byte is the first. Returns its bytes; 0: it has more
// than eight, or is not in its shortest form.
LAMBDA_INLINE unsigned read_short_varint(uint64_t word, uint64_t* value) {
  const uint64_t ends = ~word & 0x8080808080808080;
  if (ends == 0) return 0;
  const auto bits = static_cast<unsigned>(__builtin_ctzll(ends)) + 1;
  word &= ~uint64_t{0} >> (64 - bits);
  if (bits > 8 && word >> (bits - 8) == 0) return 0;
  word &= 0x7F7F7F7F7F7F7F7F;
  word = (word & 0x007F007F007F007F) | (word & 0x7F007F007F007F00) >> 1;
  word = (word & 0x00003FFF00003FFF) | (word & 0x3FFF00003FFF0000) >> 2;
  *value = (word & 0x000000000FFFFFFF) | (word & 0x0FFFFFFF00000000) >> 4;
  return bits / 8;
}

}  // namespace lambda::packed
