// Hashing (mbedTLS), parcel signatures (libsecp256k1) and certificates (OpenSSL) for hosted programs. Any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/env/env.h"
#include "base/result.h"
#include "lambda/hash.h"

namespace lambda {

using Digest = std::array<uint8_t, 32>;
using Signature = std::array<uint8_t, 64>;  // r || s, big-endian, s in the lower half
using PublicKey = std::array<uint8_t, 33>;  // secp256k1, compressed

// For the SDK's hashing.
const HashPort& host_hash();
Digest sha256(std::span<const uint8_t> bytes);
std::string hex(std::span<const uint8_t> bytes);
Result<std::vector<uint8_t>> unhex(std::string_view text);

// The device's own key: signs parcels, is its wallet address. Deterministic signatures (RFC 6979).
class SigningKey {
 public:
  static SigningKey make(Random& random);
  static Result<SigningKey> from_hex(std::string_view secret);  // 64 hex digits
  ~SigningKey();
  SigningKey(SigningKey&&) noexcept;
  SigningKey& operator=(SigningKey&&) noexcept;
  std::string to_hex() const;
  PublicKey public_key() const;
  Signature sign(const Digest& digest) const;

 private:
  SigningKey();
  std::array<uint8_t, 32> secret_{};
};

bool verify(const PublicKey& key, const Digest& digest, std::span<const uint8_t> signature);

// X.509, ECDSA P-256, PEM. Times are UTC milliseconds.
struct CertificateFacts {
  std::string common_name;
  std::string serial_hex;
  std::string fingerprint_hex;  // SHA-256 of the DER
  int64_t not_before_ms = 0, not_after_ms = 0;
};
struct CertificateOrder {
  std::string common_name;
  std::vector<std::string> dns_names, ip_addresses;  // subjectAltName; empty for devices
  int64_t not_before_ms = 0, not_after_ms = 0;
  bool server = false, client = false, authority = false;
};
// Errors: kInvalid for bytes that are no such thing, kDenied for a signature that does not match, kUnsupported for
// another kind of key. Common names are [a-z0-9-]{1,64}.
Result<std::string> make_tls_key(Random& random);  // private key, PKCS#8 PEM, not encrypted
Result<std::string> make_certificate_request(const std::string& key_pem, const std::string& common_name,
                                             Random& random);
Result<std::string> self_signed_authority(const std::string& key_pem, const CertificateOrder& order, Random& random);
// Issues from a request (its own key and signature are checked) or from a key of our own.
Result<std::string> issue_from_request(const std::string& ca_certificate_pem, const std::string& ca_key_pem,
                                       const std::string& request_pem, const CertificateOrder& order, Random& random);
Result<std::string> issue_for_key(const std::string& ca_certificate_pem, const std::string& ca_key_pem,
                                  const std::string& key_pem, const CertificateOrder& order, Random& random);
Result<CertificateFacts> read_certificate(const std::string& pem);
// Whether a certificate is for this private key and issued by this authority. kDenied says which of the two is not so.
Status check_certificate(const std::string& certificate_pem, const std::string& key_pem,
                         const std::string& ca_certificate_pem);
Result<std::string> request_common_name(const std::string& request_pem);
// A revocation list (PEM) of the given serials, signed by the authority.
Result<std::string> make_revocation_list(const std::string& ca_certificate_pem, const std::string& ca_key_pem,
                                         const std::vector<std::string>& serials_hex, int64_t now_ms, Random& random);

}  // namespace lambda
