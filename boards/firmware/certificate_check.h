// What the broker's certificates must be: of the site's authority, with the broker's name, within their dates. mbedTLS
// does the looking; this class says REQUIRED where lwIP says optional, and knows two things that mbedTLS does not:
// - a device that has only a floor for its clock cannot tell that a certificate is not valid yet, so that alone is no
//   reason to refuse;
// - when it learns the time later, the dates are looked at again.
#pragma once

#include <stdint.h>

#include "boards/firmware/device_clock.h"

struct mbedtls_ssl_config;
struct mbedtls_x509_crt;

namespace lambda::boards {

class CertificateCheck {
 public:
  explicit CertificateCheck(const DeviceClock& clock) : clock_(clock) {}

  void install(mbedtls_ssl_config* config);
  // Before each handshake.
  void begin();
  // Why the handshake's certificates were refused; null: they were not.
  const char* complaint() const;
  // Whether the certificates of the session still hold, by a clock that was set after they were judged.
  bool still_valid() const;

 private:
  static int verify(void* check, mbedtls_x509_crt* certificate, int depth, uint32_t* flags);

  const DeviceClock& clock_;
  uint32_t flags_ = 0;
  int64_t valid_from_s_ = 0;
  int64_t valid_to_s_ = 0;
};

}  // namespace lambda::boards
