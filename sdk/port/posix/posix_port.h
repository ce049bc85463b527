// The SDK's port for a POSIX host: SHA-256 of mbedTLS, secp256k1 signatures of libsecp256k1. For devices that are hosts
// (a Raspberry Pi), for the SDK's own tests and for the simulator. Thread-safe; allocates only in the signing calls.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "lambda/hash.h"

namespace lambda {

inline constexpr size_t kSecretBytes = 32;
inline constexpr size_t kPublicKeyBytes = 33;  // compressed
inline constexpr size_t kRawSignatureBytes = 64;

const HashPort& posix_hash();

// False: `secret` is no key of the curve (zero, or not below its order). The signature is r || s with s in the lower
// half, and the same for the same input (RFC 6979).
bool posix_sign(const uint8_t secret[kSecretBytes], const uint8_t digest[kDigestBytes],
                uint8_t signature[kRawSignatureBytes]);
bool posix_public_key(const uint8_t secret[kSecretBytes], uint8_t key[kPublicKeyBytes]);
// False too when the key or the signature is malformed, or s is in the upper half.
bool posix_verify(const uint8_t key[kPublicKeyBytes], const uint8_t digest[kDigestBytes],
                  const uint8_t signature[kRawSignatureBytes]);

// Of the operating system; never fails (it waits for the kernel's pool once, early in a boot).
uint64_t posix_random();

}  // namespace lambda
