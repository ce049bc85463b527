// Keys, requests, certificates and revocation lists by OpenSSL's libcrypto;
// docs/decisions/0001-openssl-for-certificates.md says why not by mbedTLS.
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <chrono>
#include <cstdio>
#include <memory>

#include "base/crypto/crypto.h"

namespace lambda {
namespace {

template <auto Free>
struct Deleter {
  template <class T>
  void operator()(T* object) const {
    Free(object);
  }
};
using Bio = std::unique_ptr<BIO, Deleter<BIO_free_all>>;
using Key = std::unique_ptr<EVP_PKEY, Deleter<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Deleter<X509_free>>;
using Request = std::unique_ptr<X509_REQ, Deleter<X509_REQ_free>>;
using Crl = std::unique_ptr<X509_CRL, Deleter<X509_CRL_free>>;
using Time = std::unique_ptr<ASN1_TIME, Deleter<ASN1_STRING_free>>;
using Integer = std::unique_ptr<ASN1_INTEGER, Deleter<ASN1_INTEGER_free>>;
using Number = std::unique_ptr<BIGNUM, Deleter<BN_free>>;

constexpr size_t kPemBytesMax = 64u << 10;
constexpr long kVersion3 = 2;
constexpr long kRequestVersion1 = 0;
constexpr long kCrlVersion2 = 1;
constexpr int64_t kCrlEarlyMs = 86'400'000;
constexpr int64_t kCrlValidMs = int64_t{10} * 365 * 86'400'000;  // replaced long before: at every revocation

// `what` failed; with OpenSSL's own words.
tl::unexpected<Error> ssl_error(const std::string& what, ErrorCode code = ErrorCode::kInvalid) {
  std::string text = what;
  if (const unsigned long number = ERR_peek_last_error(); number != 0) {
    const char* reason = ERR_reason_error_string(number);
    if (reason != nullptr) text += std::string(": ") + reason;
  }
  ERR_clear_error();
  return fail(code, std::move(text));
}

Bio reading(const std::string& pem) {
  return Bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
}

std::string text_of(const Bio& bio) {
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &bytes);
  return {bytes, static_cast<size_t>(size)};
}

// Never asks on the terminal for a password.
int no_password(char*, int, int, void*) {
  return -1;
}

template <class Object, class Read>
Result<Object> parse(const std::string& pem, const char* what, Read read) {
  ERR_clear_error();
  if (pem.size() > kPemBytesMax) return fail(ErrorCode::kInvalid, std::string(what) + ": more than 64 KiB of PEM");
  const Bio bio = reading(pem);
  Object object(read(bio.get(), nullptr, no_password, nullptr));
  if (!object) return ssl_error(std::string(what) + ": no PEM that can be read");
  return object;
}

Result<Key> parse_key(const std::string& pem) {
  return parse<Key>(pem, "private key", PEM_read_bio_PrivateKey);
}
Result<Certificate> parse_certificate(const std::string& pem) {
  return parse<Certificate>(pem, "certificate", PEM_read_bio_X509);
}

template <class Write>
Result<std::string> to_pem(const char* what, Write write) {
  const Bio bio(BIO_new(BIO_s_mem()));
  if (!bio || write(bio.get()) != 1) return ssl_error(what, ErrorCode::kIo);
  return text_of(bio);
}

Status check_name(const std::string& name) {
  bool good = !name.empty() && name.size() <= 64;
  for (const char c : name) good = good && ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-');
  if (!good) return fail(ErrorCode::kInvalid, "common name \"" + name.substr(0, 80) + "\": must be [a-z0-9-]{1,64}");
  return {};
}

Result<std::string> common_name_of(const X509_NAME* name) {
  const int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
  if (at < 0) return fail(ErrorCode::kInvalid, "subject: no common name");
  if (X509_NAME_get_index_by_NID(name, NID_commonName, at) >= 0) {
    return fail(ErrorCode::kInvalid, "subject: more than one common name");
  }
  const ASN1_STRING* value = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at));
  return std::string(reinterpret_cast<const char*>(ASN1_STRING_get0_data(value)),
                     static_cast<size_t>(ASN1_STRING_length(value)));
}

bool set_common_name(X509_NAME* name, const std::string& text) {
  return X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_UTF8,
                                    reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()),
                                    -1, 0) == 1;
}

// The strength we use everywhere; another key in a request is refused by name.
Status check_p256(EVP_PKEY* key) {
  char group[64] = {};
  if (EVP_PKEY_get_base_id(key) != EVP_PKEY_EC || EVP_PKEY_get_group_name(key, group, sizeof group, nullptr) != 1 ||
      std::string(group) != "prime256v1") {
    return fail(ErrorCode::kUnsupported, "key: not ECDSA on P-256");
  }
  return {};
}

// By text: a time_t of ours may have another size than that of OpenSSL's binary (Debian's for 32-bit ARM has 32 bits).
// Nothing for a year that certificates cannot say.
Time time_of(int64_t utc_ms) {
  using std::chrono::floor, std::chrono::days;
  const std::chrono::sys_time<std::chrono::milliseconds> time{std::chrono::milliseconds(utc_ms)};
  if (time < std::chrono::sys_days(std::chrono::year(0) / 1 / 1) ||
      time >= std::chrono::sys_days(std::chrono::year(10'000) / 1 / 1)) {
    return nullptr;
  }
  const std::chrono::year_month_day date(floor<days>(time));
  const std::chrono::hh_mm_ss clock(floor<std::chrono::seconds>(time - floor<days>(time)));
  char text[64];
  std::snprintf(text, sizeof text, "%04d%02u%02u%02d%02d%02dZ", int{date.year()}, unsigned{date.month()},
                unsigned{date.day()}, static_cast<int>(clock.hours().count()),
                static_cast<int>(clock.minutes().count()), static_cast<int>(clock.seconds().count()));
  Time made(ASN1_TIME_new());
  if (!made || ASN1_TIME_set_string_X509(made.get(), text) != 1) return nullptr;
  return made;
}

Result<int64_t> ms_of(const ASN1_TIME* time) {
  const Time epoch = time_of(0);
  int days = 0, seconds = 0;
  if (!epoch || ASN1_TIME_diff(&days, &seconds, epoch.get(), time) != 1) return ssl_error("certificate: bad time");
  return (int64_t{days} * 86'400 + seconds) * 1000;
}

bool set_serial(ASN1_INTEGER* into, Random& random) {
  unsigned char bytes[16];
  random.fill(std::as_writable_bytes(std::span(bytes)));
  bytes[0] = static_cast<unsigned char>((bytes[0] & 0x7F) | 0x40);  // positive, and always the same length
  const Number number(BN_bin2bn(bytes, sizeof bytes, nullptr));
  return number && BN_to_ASN1_INTEGER(number.get(), into) != nullptr;
}

bool add_extension(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509V3_set_ctx_nodb(&context);
  std::unique_ptr<X509_EXTENSION, Deleter<X509_EXTENSION_free>> extension(
      X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
  return extension && X509_add_ext(certificate, extension.get(), -1) == 1;
}

// The value goes through OpenSSL's little language, so a name with a comma in it could add names of its own.
Status check_alternative(const std::string& name) {
  bool good = !name.empty() && name.size() <= 253;
  for (const char c : name) {
    good = good && ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                    c == '.' || c == ':' || c == '*');
  }
  if (!good) return fail(ErrorCode::kInvalid, "alternative name \"" + name + "\": no DNS name or IP address");
  return {};
}

Result<std::string> alternatives(const CertificateOrder& order) {
  std::string value;
  const auto add = [&](const char* kind, const std::string& name) {
    if (!value.empty()) value += ",";
    value += kind + name;
  };
  for (const auto& name : order.dns_names) {
    if (auto status = check_alternative(name); !status) return tl::unexpected(status.error());
    add("DNS:", name);
  }
  for (const auto& address : order.ip_addresses) {
    if (auto status = check_alternative(address); !status) return tl::unexpected(status.error());
    add("IP:", address);
  }
  return value;
}

Status add_extensions(X509* certificate, X509* issuer, const CertificateOrder& order) {
  const auto names = alternatives(order);
  if (!names) return tl::unexpected(names.error());
  std::string uses;
  if (order.server) uses = "serverAuth";
  if (order.client) uses += uses.empty() ? "clientAuth" : ",clientAuth";
  bool good = add_extension(certificate, issuer, NID_basic_constraints,
                            order.authority ? "critical,CA:TRUE,pathlen:0" : "critical,CA:FALSE");
  good = good && add_extension(certificate, issuer, NID_key_usage,
                               order.authority ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature");
  good = good && add_extension(certificate, issuer, NID_subject_key_identifier, "hash");
  good = good && add_extension(certificate, issuer, NID_authority_key_identifier, "keyid:always");
  if (!uses.empty()) good = good && add_extension(certificate, issuer, NID_ext_key_usage, uses);
  if (!names->empty()) good = good && add_extension(certificate, issuer, NID_subject_alt_name, *names);
  if (!good) return ssl_error("certificate: an extension was not accepted (alternative names?)");
  return {};
}

// A certificate for `subject_key`; `issuer` is null when it signs itself.
Result<std::string> issue(X509* issuer, EVP_PKEY* issuer_key, EVP_PKEY* subject_key, const CertificateOrder& order,
                          Random& random) {
  if (auto status = check_name(order.common_name); !status) return tl::unexpected(status.error());
  if (auto status = check_p256(subject_key); !status) return tl::unexpected(status.error());
  if (order.not_after_ms <= order.not_before_ms) {
    return fail(ErrorCode::kInvalid, "certificate: not_after is not later than not_before");
  }
  const Certificate certificate(X509_new());
  const Time from = time_of(order.not_before_ms);
  const Time to = time_of(order.not_after_ms);
  bool good = certificate && from && to && X509_set_version(certificate.get(), kVersion3) == 1 &&
              set_serial(X509_get_serialNumber(certificate.get()), random) &&
              X509_set1_notBefore(certificate.get(), from.get()) == 1 &&
              X509_set1_notAfter(certificate.get(), to.get()) == 1 &&
              set_common_name(X509_get_subject_name(certificate.get()), order.common_name) &&
              X509_set_pubkey(certificate.get(), subject_key) == 1;
  if (good) {
    X509_NAME* name = issuer != nullptr ? X509_get_subject_name(issuer) : X509_get_subject_name(certificate.get());
    good = X509_set_issuer_name(certificate.get(), name) == 1;
  }
  if (!good) return ssl_error("certificate", ErrorCode::kIo);
  X509* signer = issuer != nullptr ? issuer : certificate.get();
  if (auto status = add_extensions(certificate.get(), signer, order); !status) return tl::unexpected(status.error());
  if (X509_sign(certificate.get(), issuer_key, EVP_sha256()) <= 0) return ssl_error("certificate: sign");
  return to_pem("certificate", [&](BIO* bio) { return PEM_write_bio_X509(bio, certificate.get()); });
}

struct Authority {
  Certificate certificate;
  Key key;
};

Result<Authority> read_authority(const std::string& certificate_pem, const std::string& key_pem) {
  auto certificate = parse_certificate(certificate_pem);
  if (!certificate) return fail(certificate.error().code, "authority: " + certificate.error().text);
  auto key = parse_key(key_pem);
  if (!key) return fail(key.error().code, "authority: " + key.error().text);
  if (X509_check_private_key(certificate->get(), key->get()) != 1) {
    return ssl_error("authority: the key does not belong to the certificate");
  }
  if (X509_check_ca(certificate->get()) != 1) {
    return fail(ErrorCode::kInvalid, "authority: the certificate is none of an authority");
  }
  return Authority{std::move(*certificate), std::move(*key)};
}

// The request with its name and its own signature checked.
Result<Request> read_request(const std::string& pem) {
  auto request = parse<Request>(pem, "certificate request", PEM_read_bio_X509_REQ);
  if (!request) return request;
  EVP_PKEY* key = X509_REQ_get0_pubkey(request->get());
  if (key == nullptr) return ssl_error("certificate request: no key that can be read");
  if (auto status = check_p256(key); !status)
    return fail(status.error().code, "certificate request: " + status.error().text);
  if (X509_REQ_verify(request->get(), key) != 1) {
    ERR_clear_error();
    return fail(ErrorCode::kDenied, "certificate request: its signature does not match its key");
  }
  return request;
}

}  // namespace

Result<std::string> make_tls_key(Random& random) {
  ERR_clear_error();
  // The scalar comes from `random`, as everything does that a simulation must repeat; the point is computed from it.
  const std::unique_ptr<EC_GROUP, Deleter<EC_GROUP_free>> group(EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1));
  Number secret(BN_new());
  if (!group || !secret) return ssl_error("private key", ErrorCode::kIo);
  do {
    unsigned char bytes[32];
    random.fill(std::as_writable_bytes(std::span(bytes)));
    BN_bin2bn(bytes, sizeof bytes, secret.get());
    OPENSSL_cleanse(bytes, sizeof bytes);
  } while (BN_is_zero(secret.get()) || BN_cmp(secret.get(), EC_GROUP_get0_order(group.get())) >= 0);

  std::unique_ptr<EC_POINT, Deleter<EC_POINT_free>> point(EC_POINT_new(group.get()));
  unsigned char encoded[65];
  if (!point || EC_POINT_mul(group.get(), point.get(), secret.get(), nullptr, nullptr, nullptr) != 1 ||
      EC_POINT_point2oct(group.get(), point.get(), POINT_CONVERSION_UNCOMPRESSED, encoded, sizeof encoded, nullptr) !=
          sizeof encoded) {
    return ssl_error("private key", ErrorCode::kIo);
  }
  const std::unique_ptr<OSSL_PARAM_BLD, Deleter<OSSL_PARAM_BLD_free>> builder(OSSL_PARAM_BLD_new());
  OSSL_PARAM_BLD_push_utf8_string(builder.get(), "group", "prime256v1", 0);
  OSSL_PARAM_BLD_push_BN(builder.get(), "priv", secret.get());
  OSSL_PARAM_BLD_push_octet_string(builder.get(), "pub", encoded, sizeof encoded);
  const std::unique_ptr<OSSL_PARAM, Deleter<OSSL_PARAM_free>> parameters(OSSL_PARAM_BLD_to_param(builder.get()));
  const std::unique_ptr<EVP_PKEY_CTX, Deleter<EVP_PKEY_CTX_free>> context(
      EVP_PKEY_CTX_new_from_name(nullptr, "EC", nullptr));
  EVP_PKEY* made = nullptr;
  const bool good = parameters && context && EVP_PKEY_fromdata_init(context.get()) == 1 &&
                    EVP_PKEY_fromdata(context.get(), &made, EVP_PKEY_KEYPAIR, parameters.get()) == 1;
  const Key key(made);
  BN_clear(secret.get());
  if (!good) return ssl_error("private key", ErrorCode::kIo);
  return to_pem("private key", [&](BIO* bio) {
    return PEM_write_bio_PKCS8PrivateKey(bio, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  });
}

Result<std::string> make_certificate_request(const std::string& key_pem, const std::string& common_name, Random&) {
  if (auto status = check_name(common_name); !status) return tl::unexpected(status.error());
  const auto key = parse_key(key_pem);
  if (!key) return tl::unexpected(key.error());
  if (auto status = check_p256(key->get()); !status) return tl::unexpected(status.error());
  const Request request(X509_REQ_new());
  if (!request || X509_REQ_set_version(request.get(), kRequestVersion1) != 1 ||
      !set_common_name(X509_REQ_get_subject_name(request.get()), common_name) ||
      X509_REQ_set_pubkey(request.get(), key->get()) != 1 ||
      X509_REQ_sign(request.get(), key->get(), EVP_sha256()) <= 0) {
    return ssl_error("certificate request", ErrorCode::kIo);
  }
  return to_pem("certificate request", [&](BIO* bio) { return PEM_write_bio_X509_REQ(bio, request.get()); });
}

Result<std::string> self_signed_authority(const std::string& key_pem, const CertificateOrder& order, Random& random) {
  if (!order.authority) return fail(ErrorCode::kInvalid, "authority: the order is for none (authority is false)");
  const auto key = parse_key(key_pem);
  if (!key) return tl::unexpected(key.error());
  return issue(nullptr, key->get(), key->get(), order, random);
}

Result<std::string> issue_from_request(const std::string& ca_certificate_pem, const std::string& ca_key_pem,
                                       const std::string& request_pem, const CertificateOrder& order, Random& random) {
  const auto authority = read_authority(ca_certificate_pem, ca_key_pem);
  if (!authority) return tl::unexpected(authority.error());
  const auto request = read_request(request_pem);
  if (!request) return tl::unexpected(request.error());
  return issue(authority->certificate.get(), authority->key.get(), X509_REQ_get0_pubkey(request->get()), order, random);
}

Result<std::string> issue_for_key(const std::string& ca_certificate_pem, const std::string& ca_key_pem,
                                  const std::string& key_pem, const CertificateOrder& order, Random& random) {
  const auto authority = read_authority(ca_certificate_pem, ca_key_pem);
  if (!authority) return tl::unexpected(authority.error());
  const auto key = parse_key(key_pem);
  if (!key) return tl::unexpected(key.error());
  return issue(authority->certificate.get(), authority->key.get(), key->get(), order, random);
}

Result<CertificateFacts> read_certificate(const std::string& pem) {
  const auto certificate = parse_certificate(pem);
  if (!certificate) return tl::unexpected(certificate.error());
  X509* x509 = certificate->get();
  CertificateFacts facts;
  auto name = common_name_of(X509_get_subject_name(x509));
  if (!name) return fail(name.error().code, "certificate: " + name.error().text);
  facts.common_name = std::move(*name);

  const Number serial(ASN1_INTEGER_to_BN(X509_get0_serialNumber(x509), nullptr));
  if (!serial) return ssl_error("certificate: serial number");
  std::vector<uint8_t> bytes(static_cast<size_t>(BN_num_bytes(serial.get())));
  BN_bn2bin(serial.get(), bytes.data());
  facts.serial_hex = hex(bytes);

  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  if (X509_digest(x509, EVP_sha256(), digest, &size) != 1) return ssl_error("certificate: digest", ErrorCode::kIo);
  facts.fingerprint_hex = hex({digest, size});

  const auto from = ms_of(X509_get0_notBefore(x509));
  if (!from) return tl::unexpected(from.error());
  const auto to = ms_of(X509_get0_notAfter(x509));
  if (!to) return tl::unexpected(to.error());
  facts.not_before_ms = *from;
  facts.not_after_ms = *to;
  return facts;
}

Status check_certificate(const std::string& certificate_pem, const std::string& key_pem,
                         const std::string& ca_certificate_pem) {
  auto certificate = parse_certificate(certificate_pem);
  if (!certificate) return tl::unexpected(certificate.error());
  auto key = parse_key(key_pem);
  if (!key) return tl::unexpected(key.error());
  auto authority = parse_certificate(ca_certificate_pem);
  if (!authority) return tl::unexpected(authority.error());
  if (X509_check_private_key(certificate->get(), key->get()) != 1) {
    ERR_clear_error();
    return fail(ErrorCode::kDenied, "the certificate is for another key");
  }
  EVP_PKEY* issuer = X509_get0_pubkey(authority->get());
  if (X509_check_issued(authority->get(), certificate->get()) != X509_V_OK || issuer == nullptr ||
      X509_verify(certificate->get(), issuer) != 1) {
    ERR_clear_error();
    return fail(ErrorCode::kDenied, "the certificate was not issued by this authority");
  }
  return {};
}

Result<std::string> request_common_name(const std::string& request_pem) {
  const auto request = read_request(request_pem);
  if (!request) return tl::unexpected(request.error());
  auto name = common_name_of(X509_REQ_get_subject_name(request->get()));
  if (!name) return fail(name.error().code, "certificate request: " + name.error().text);
  if (auto status = check_name(*name); !status) {
    return fail(status.error().code, "certificate request: " + status.error().text);
  }
  return name;
}

Result<std::string> make_revocation_list(const std::string& ca_certificate_pem, const std::string& ca_key_pem,
                                         const std::vector<std::string>& serials_hex, int64_t now_ms, Random&) {
  const auto authority = read_authority(ca_certificate_pem, ca_key_pem);
  if (!authority) return tl::unexpected(authority.error());
  const Crl crl(X509_CRL_new());
  // Begins a day early: a broker whose clock is stepped back must not refuse everybody.
  const Time now = time_of(now_ms - kCrlEarlyMs);
  const Time next = time_of(now_ms + kCrlValidMs);
  if (!crl || !now || !next || X509_CRL_set_version(crl.get(), kCrlVersion2) != 1 ||
      X509_CRL_set_issuer_name(crl.get(), X509_get_subject_name(authority->certificate.get())) != 1 ||
      X509_CRL_set1_lastUpdate(crl.get(), now.get()) != 1 || X509_CRL_set1_nextUpdate(crl.get(), next.get()) != 1) {
    return ssl_error("revocation list", ErrorCode::kIo);
  }
  for (const auto& serial : serials_hex) {
    const auto bytes = unhex(serial);
    if (!bytes || bytes->empty() || bytes->size() > 20) {
      return fail(ErrorCode::kInvalid, "revocation list: \"" + serial.substr(0, 80) + "\" is no serial number");
    }
    const Number number(BN_bin2bn(bytes->data(), static_cast<int>(bytes->size()), nullptr));
    const Integer integer(BN_to_ASN1_INTEGER(number.get(), nullptr));
    std::unique_ptr<X509_REVOKED, Deleter<X509_REVOKED_free>> entry(X509_REVOKED_new());
    if (!entry || !integer || X509_REVOKED_set_serialNumber(entry.get(), integer.get()) != 1 ||
        X509_REVOKED_set_revocationDate(entry.get(), now.get()) != 1 ||
        X509_CRL_add0_revoked(crl.get(), entry.get()) != 1) {
      return ssl_error("revocation list: entry", ErrorCode::kIo);
    }
    (void)entry.release();  // the list owns it now
  }
  const Integer number(ASN1_INTEGER_new());
  if (!number || ASN1_INTEGER_set_int64(number.get(), now_ms) != 1 ||
      X509_CRL_add1_ext_i2d(crl.get(), NID_crl_number, number.get(), 0, 0) != 1 || X509_CRL_sort(crl.get()) != 1 ||
      X509_CRL_sign(crl.get(), authority->key.get(), EVP_sha256()) <= 0) {
    return ssl_error("revocation list: sign", ErrorCode::kIo);
  }
  return to_pem("revocation list", [&](BIO* bio) { return PEM_write_bio_X509_CRL(bio, crl.get()); });
}

}  // namespace lambda
