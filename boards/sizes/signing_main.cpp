// A main that hashes and signs, and nothing else: linked by sizes.py to see what that takes.
#include "boards/firmware/crypto.h"
#include "boards/firmware/platform.h"

namespace {
volatile uint8_t g_key[32];
}

namespace lambda::boards {

[[noreturn]] void restart_because(const char*) {
  for (;;) {
  }
}

// What a board has: a generator in hardware, here a register.
int draw_random_tls(void*, unsigned char* bytes, size_t size) {
  for (size_t i = 0; i < size; ++i) bytes[i] = *reinterpret_cast<volatile uint8_t*>(0x50060800);
  return 0;
}

}  // namespace lambda::boards

int main() {
  uint8_t key[sizeof g_key], digest[lambda::kDigestBytes], signature[64];
  for (size_t i = 0; i < sizeof key; ++i) key[i] = g_key[i];
  lambda::HashState state;
  const lambda::HashPort hash = lambda::boards::device_hash();
  hash.start(&state);
  hash.update(&state, key, sizeof key);
  hash.finish(&state, digest);
  return lambda::boards::sign_digest(key, digest, signature) ? signature[0] : -1;
}
