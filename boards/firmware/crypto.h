// Randomness, hashing and signatures of the device, by mbedTLS.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <span>

#include "lambda/hash.h"

namespace lambda::boards {

// Seeds the generator from the board's entropy. False: there is none. To be called once, after the platform knows its
// board and before all that follows.
bool start_random();
// Bytes of the generator. It is seeded again as mbedTLS sees fit; when the board then has no entropy, the device starts
// anew rather than go on with what can be foretold.
void draw_random(uint8_t* bytes, size_t size);
// The same as mbedTLS wants it; always 0.
int draw_random_tls(void*, unsigned char* bytes, size_t size);

HashPort device_hash();

// ECDSA on secp256k1 over `digest`: r || s, low s, deterministic (RFC 6979). False: short of memory, or `key` is none.
bool sign_digest(std::span<const uint8_t> key, const uint8_t digest[kDigestBytes], uint8_t signature[64]);

}  // namespace lambda::boards
