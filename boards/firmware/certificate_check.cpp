#include "boards/firmware/certificate_check.h"

#include <mbedtls/ssl.h>
#include <mbedtls/x509_crt.h>

#include "boards/firmware/crypto.h"

namespace lambda::boards {
namespace {

constexpr mbedtls_ecp_group_id kCurves[] = {MBEDTLS_ECP_DP_SECP256R1, MBEDTLS_ECP_DP_NONE};

int64_t seconds_of(const mbedtls_x509_time& time) {
  return days_of(time.year, static_cast<uint32_t>(time.mon), static_cast<uint32_t>(time.day)) * 86'400 +
         time.hour * 3'600 + time.min * 60 + time.sec;
}

}  // namespace

void CertificateCheck::install(mbedtls_ssl_config* config) {
  mbedtls_ssl_conf_authmode(config, MBEDTLS_SSL_VERIFY_REQUIRED);
  mbedtls_ssl_conf_verify(config, verify, this);
  mbedtls_ssl_conf_curves(config, kCurves);
  mbedtls_ssl_conf_rng(config, draw_random_tls, nullptr);
  // So that no record is longer than what there is room for.
  mbedtls_ssl_conf_max_frag_len(config, MBEDTLS_SSL_MAX_FRAG_LEN_4096);
}

void CertificateCheck::begin() {
  flags_ = 0;
  valid_from_s_ = INT64_MIN;
  valid_to_s_ = INT64_MAX;
}

// Called for each certificate of the chain, the broker's own last.
int CertificateCheck::verify(void* context, mbedtls_x509_crt* certificate, int, uint32_t* flags) {
  CertificateCheck& check = *static_cast<CertificateCheck*>(context);
  int64_t utc_ms = 0;
  if (!check.clock_.utc_ms(&utc_ms)) *flags &= ~uint32_t{MBEDTLS_X509_BADCERT_FUTURE};
  const int64_t from = seconds_of(certificate->valid_from), to = seconds_of(certificate->valid_to);
  if (from > check.valid_from_s_) check.valid_from_s_ = from;
  if (to < check.valid_to_s_) check.valid_to_s_ = to;
  check.flags_ |= *flags;
  return 0;
}

const char* CertificateCheck::complaint() const {
  if (flags_ == 0) return nullptr;
  if ((flags_ & MBEDTLS_X509_BADCERT_NOT_TRUSTED) != 0) return "not_of_the_sites_authority";
  if ((flags_ & MBEDTLS_X509_BADCERT_CN_MISMATCH) != 0) return "another_name";
  if ((flags_ & MBEDTLS_X509_BADCERT_EXPIRED) != 0) return "expired";
  if ((flags_ & MBEDTLS_X509_BADCERT_FUTURE) != 0) return "not_valid_yet";
  return "unfit";
}

bool CertificateCheck::still_valid() const {
  int64_t utc_ms = 0;
  if (!clock_.utc_ms(&utc_ms)) return true;
  return valid_from_s_ <= utc_ms / 1000 && utc_ms / 1000 <= valid_to_s_;
}

}  // namespace lambda::boards
