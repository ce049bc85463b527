// Hashing and signatures: all of mbedTLS that a device without TLS needs (mbedtls_signing_config.h).
#include <mbedtls/ecdsa.h>
#include <mbedtls/sha256.h>

#include <new>

#include "boards/firmware/crypto.h"
#include "boards/firmware/platform.h"

namespace lambda::boards {
namespace {

static_assert(sizeof(mbedtls_sha256_context) <= sizeof(HashState));
static_assert(alignof(mbedtls_sha256_context) <= alignof(HashState));

mbedtls_sha256_context* context_of(HashState* state) {
  return reinterpret_cast<mbedtls_sha256_context*>(state->opaque);
}

// Software SHA-256 reports no errors; one that did could not be gone on with.
void must(int outcome) {
  if (outcome != 0) restart_because("SHA-256 failed");
}

// Numbers of mbedTLS that are given back whatever happens.
struct Number {
  Number() { mbedtls_mpi_init(&value); }
  ~Number() { mbedtls_mpi_free(&value); }
  Number(const Number&) = delete;
  Number& operator=(const Number&) = delete;
  mbedtls_mpi value;
};

struct Curve {
  Curve() { mbedtls_ecp_group_init(&group); }
  ~Curve() { mbedtls_ecp_group_free(&group); }
  Curve(const Curve&) = delete;
  Curve& operator=(const Curve&) = delete;
  mbedtls_ecp_group group;
};

}  // namespace

HashPort device_hash() {
  return {[](HashState* state) {
            auto* context = new (state->opaque) mbedtls_sha256_context;
            mbedtls_sha256_init(context);
            must(mbedtls_sha256_starts_ret(context, 0));
          },
          [](HashState* state, const uint8_t* bytes, size_t size) {
            must(mbedtls_sha256_update_ret(context_of(state), bytes, size));
          },
          [](HashState* state, uint8_t digest[kDigestBytes]) {
            must(mbedtls_sha256_finish_ret(context_of(state), digest));
          }};
}

bool sign_digest(std::span<const uint8_t> key, const uint8_t digest[kDigestBytes], uint8_t signature[64]) {
  Curve curve;
  Number secret, r, s, half;
  if (mbedtls_ecp_group_load(&curve.group, MBEDTLS_ECP_DP_SECP256K1) != 0 ||
      mbedtls_mpi_read_binary(&secret.value, key.data(), key.size()) != 0 ||
      mbedtls_ecp_check_privkey(&curve.group, &secret.value) != 0 ||
      mbedtls_ecdsa_sign_det_ext(&curve.group, &r.value, &s.value, &secret.value, digest, kDigestBytes,
                                 MBEDTLS_MD_SHA256, draw_random_tls, nullptr) != 0 ||
      mbedtls_mpi_copy(&half.value, &curve.group.N) != 0 || mbedtls_mpi_shift_r(&half.value, 1) != 0) {
    return false;
  }
  if (mbedtls_mpi_cmp_mpi(&s.value, &half.value) > 0 && mbedtls_mpi_sub_mpi(&s.value, &curve.group.N, &s.value) != 0) {
    return false;
  }
  return mbedtls_mpi_write_binary(&r.value, signature, 32) == 0 &&
         mbedtls_mpi_write_binary(&s.value, signature + 32, 32) == 0;
}

}  // namespace lambda::boards
