// TLS is left out of the simulated world: mqtt.c stands on the connection itself. These take the place of
// altcp_tls_mbedtls.c; what they do instead is nothing. The firmware's TLS is tested over real connections
// (tests/device).
#include <lwip/altcp_tls.h>
#include <mbedtls/ssl.h>

namespace {

mbedtls_ssl_config g_config;
mbedtls_ssl_context g_context;

}  // namespace

extern "C" {

void altcp_mbedtls_mem_init(void);  // of lwIP

altcp_tls_config* altcp_tls_create_config_client_2wayauth(const u8_t*, size_t, const u8_t*, size_t, const u8_t*, size_t,
                                                          const u8_t*, size_t) {
  altcp_mbedtls_mem_init();  // mbedTLS also signs
  mbedtls_ssl_config_init(&g_config);
  mbedtls_ssl_init(&g_context);
  return reinterpret_cast<altcp_tls_config*>(&g_config);
}

altcp_pcb* altcp_tls_wrap(altcp_tls_config*, altcp_pcb* connection) {
  return connection;
}

void* altcp_tls_context(altcp_pcb*) {
  return &g_context;
}

}  // extern "C"
