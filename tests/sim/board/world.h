// The board's end of the socket to the simulated world.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "boards/host/altcp_stream.h"
#include "tests/sim/board/words.h"

namespace lambda::sim {

void say(const Word& word, std::span<const uint8_t> bytes = {});
template <class Value>
void say_value(const Word& word, const Value& value) {
  say(word, {reinterpret_cast<const uint8_t*>(&value), sizeof value});
}
// Waits for the next word. The process ends when the world is gone.
Word hear(std::vector<uint8_t>* bytes);

// A word about a connection.
void hear_of_stream(const Word& word, std::span<const uint8_t> bytes);
// Monotonic, in ms, as the world says: it stands still during a turn.
int64_t world_ms();
void set_world_ms(int64_t mono_ms);

}  // namespace lambda::sim
