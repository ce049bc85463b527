#include "boards/firmware/crypto.h"

#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>

#include "boards/firmware/platform.h"

namespace lambda::boards {
namespace {

mbedtls_entropy_context g_entropy;
mbedtls_ctr_drbg_context g_generator;

}  // namespace

bool start_random() {
  mbedtls_entropy_init(&g_entropy);
  mbedtls_ctr_drbg_init(&g_generator);
  return mbedtls_ctr_drbg_seed(&g_generator, mbedtls_entropy_func, &g_entropy, nullptr, 0) == 0;
}

void draw_random(uint8_t* bytes, size_t size) {
  while (size > 0) {
    const size_t part = size < MBEDTLS_CTR_DRBG_MAX_REQUEST ? size : MBEDTLS_CTR_DRBG_MAX_REQUEST;
    if (mbedtls_ctr_drbg_random(&g_generator, bytes, part) != 0) restart_because("no entropy");
    bytes += part;
    size -= part;
  }
}

int draw_random_tls(void*, unsigned char* bytes, size_t size) {
  draw_random(bytes, size);
  return 0;
}

}  // namespace lambda::boards
