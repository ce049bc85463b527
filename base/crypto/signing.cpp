// Parcel signatures by libsecp256k1.
#include <mbedtls/platform_util.h>
#include <secp256k1.h>

#include <algorithm>
#include <cstring>

#include "base/crypto/crypto.h"

namespace lambda {
namespace {

// Made once, never changed afterwards: libsecp256k1 allows a const context to be used from all threads.
const secp256k1_context* shared_context() {
  static const std::unique_ptr<secp256k1_context, void (*)(secp256k1_context*)> context(
      secp256k1_context_create(SECP256K1_CONTEXT_SIGN | SECP256K1_CONTEXT_VERIFY), secp256k1_context_destroy);
  return context.get();
}

}  // namespace

SigningKey::SigningKey() = default;

SigningKey::~SigningKey() {
  mbedtls_platform_zeroize(secret_.data(), secret_.size());
}

SigningKey::SigningKey(SigningKey&& other) noexcept : secret_(other.secret_) {
  mbedtls_platform_zeroize(other.secret_.data(), other.secret_.size());
}

SigningKey& SigningKey::operator=(SigningKey&& other) noexcept {
  if (this != &other) {
    secret_ = other.secret_;
    mbedtls_platform_zeroize(other.secret_.data(), other.secret_.size());
  }
  return *this;
}

SigningKey SigningKey::make(Random& random) {
  SigningKey key;
  do {  // all but 2^-128 of the values are keys
    random.fill(std::as_writable_bytes(std::span(key.secret_)));
  } while (secp256k1_ec_seckey_verify(shared_context(), key.secret_.data()) != 1);
  return key;
}

Result<SigningKey> SigningKey::from_hex(std::string_view secret) {
  auto bytes = unhex(secret);
  if (!bytes) return fail(ErrorCode::kInvalid, "signing key: " + bytes.error().text);
  SigningKey key;
  const bool fits = bytes->size() == key.secret_.size();
  if (fits) std::copy(bytes->begin(), bytes->end(), key.secret_.begin());
  mbedtls_platform_zeroize(bytes->data(), bytes->size());
  if (!fits) return fail(ErrorCode::kInvalid, "signing key: 64 hexadecimal digits are needed");
  if (secp256k1_ec_seckey_verify(shared_context(), key.secret_.data()) != 1) {
    return fail(ErrorCode::kInvalid, "signing key: not between 1 and the order of secp256k1");
  }
  return key;
}

std::string SigningKey::to_hex() const {
  return hex(secret_);
}

PublicKey SigningKey::public_key() const {
  secp256k1_pubkey point;
  LAMBDA_ASSERT(secp256k1_ec_pubkey_create(shared_context(), &point, secret_.data()) == 1);
  PublicKey key;
  size_t size = key.size();
  secp256k1_ec_pubkey_serialize(shared_context(), key.data(), &size, &point, SECP256K1_EC_COMPRESSED);
  return key;
}

Signature SigningKey::sign(const Digest& digest) const {
  secp256k1_ecdsa_signature made;
  LAMBDA_ASSERT(secp256k1_ecdsa_sign(shared_context(), &made, digest.data(), secret_.data(),
                                     secp256k1_nonce_function_rfc6979, nullptr) == 1);
  Signature signature;
  secp256k1_ecdsa_signature_serialize_compact(shared_context(), signature.data(), &made);
  return signature;
}

bool verify(const PublicKey& key, const Digest& digest, std::span<const uint8_t> signature) {
  if (signature.size() != std::tuple_size_v<Signature>) return false;
  secp256k1_pubkey point;
  if (secp256k1_ec_pubkey_parse(shared_context(), &point, key.data(), key.size()) != 1) return false;
  secp256k1_ecdsa_signature parsed;
  if (secp256k1_ecdsa_signature_parse_compact(shared_context(), &parsed, signature.data()) != 1) return false;
  // False for s in the upper half, so that nobody can make a second signature of the same parcel.
  return secp256k1_ecdsa_verify(shared_context(), &parsed, digest.data(), &point) == 1;
}

}  // namespace lambda
