#include "port/posix/posix_port.h"

#include <errno.h>
#include <mbedtls/sha256.h>
#include <secp256k1.h>
#include <stdlib.h>
#include <sys/random.h>

#include <new>

namespace lambda {
namespace {

static_assert(sizeof(mbedtls_sha256_context) <= sizeof(HashState));
static_assert(alignof(mbedtls_sha256_context) <= alignof(HashState));

mbedtls_sha256_context* context_of(HashState* state) {
  return reinterpret_cast<mbedtls_sha256_context*>(state->opaque);
}

// mbedTLS' software SHA-256 reports no errors; one that did could not be gone on with.
void must(int outcome) {
  if (outcome != 0) abort();
}

void start(HashState* state) {
  auto* context = new (state->opaque) mbedtls_sha256_context;
  mbedtls_sha256_init(context);
  must(mbedtls_sha256_starts_ret(context, 0));
}

void update(HashState* state, const uint8_t* bytes, size_t size) {
  must(mbedtls_sha256_update_ret(context_of(state), bytes, size));
}

void finish(HashState* state, uint8_t digest[kDigestBytes]) {
  must(mbedtls_sha256_finish_ret(context_of(state), digest));
  mbedtls_sha256_free(context_of(state));
}

const secp256k1_context* curve() {
  static const secp256k1_context* context = secp256k1_context_create(SECP256K1_CONTEXT_SIGN | SECP256K1_CONTEXT_VERIFY);
  return context;
}

}  // namespace

const HashPort& posix_hash() {
  static constexpr HashPort kPort{start, update, finish};
  return kPort;
}

bool posix_sign(const uint8_t secret[kSecretBytes], const uint8_t digest[kDigestBytes],
                uint8_t signature[kRawSignatureBytes]) {
  secp256k1_ecdsa_signature made;
  if (secp256k1_ecdsa_sign(curve(), &made, digest, secret, secp256k1_nonce_function_rfc6979, nullptr) != 1) {
    return false;
  }
  return secp256k1_ecdsa_signature_serialize_compact(curve(), signature, &made) == 1;
}

bool posix_public_key(const uint8_t secret[kSecretBytes], uint8_t key[kPublicKeyBytes]) {
  secp256k1_pubkey parsed;
  if (secp256k1_ec_pubkey_create(curve(), &parsed, secret) != 1) return false;
  size_t size = kPublicKeyBytes;
  return secp256k1_ec_pubkey_serialize(curve(), key, &size, &parsed, SECP256K1_EC_COMPRESSED) == 1;
}

bool posix_verify(const uint8_t key[kPublicKeyBytes], const uint8_t digest[kDigestBytes],
                  const uint8_t signature[kRawSignatureBytes]) {
  secp256k1_pubkey parsed;
  secp256k1_ecdsa_signature read;
  return secp256k1_ec_pubkey_parse(curve(), &parsed, key, kPublicKeyBytes) == 1 &&
         secp256k1_ecdsa_signature_parse_compact(curve(), &read, signature) == 1 &&
         secp256k1_ecdsa_verify(curve(), &read, digest, &parsed) == 1;
}

uint64_t posix_random() {
  uint64_t value = 0;
  while (getrandom(&value, sizeof value, 0) != static_cast<ssize_t>(sizeof value)) {
    if (errno != EINTR) abort();
  }
  return value;
}

}  // namespace lambda
