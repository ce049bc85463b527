// SHA-256 as the port gives it. The SDK has none of its own: a device uses its hardware or mbedTLS, a host mbedTLS.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace lambda {

inline constexpr size_t kDigestBytes = 32;

// Room for the port's running hash; a port asserts that its own context fits.
struct alignas(8) HashState {
  uint8_t opaque[256];
};

// Plain functions, so that a C port can fill it. None of them may fail or allocate. A state may be copied as bytes.
struct HashPort {
  void (*start)(HashState* state);
  void (*update)(HashState* state, const uint8_t* bytes, size_t size);
  void (*finish)(HashState* state, uint8_t digest[kDigestBytes]);
};

}  // namespace lambda
