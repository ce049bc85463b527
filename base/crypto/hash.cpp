// SHA-256 by mbedTLS, and the hexadecimal form of bytes.
#include <mbedtls/sha256.h>

#include <cstring>
#include <new>
#include <type_traits>

#include "base/crypto/crypto.h"

namespace lambda {
namespace {

using Context = mbedtls_sha256_context;
static_assert(sizeof(Context) <= sizeof(HashState) && alignof(Context) <= alignof(HashState));
static_assert(std::is_trivially_copyable_v<Context>);  // HashPort: a state may be copied as bytes

Context* context_of(HashState* state) {
  return reinterpret_cast<Context*>(state->opaque);
}

void start(HashState* state) {
  auto* context = new (state->opaque) Context;
  mbedtls_sha256_init(context);
  LAMBDA_ASSERT(mbedtls_sha256_starts_ret(context, 0) == 0);
}

void update(HashState* state, const uint8_t* bytes, size_t size) {
  LAMBDA_ASSERT(mbedtls_sha256_update_ret(context_of(state), bytes, size) == 0);
}

void finish(HashState* state, uint8_t digest[kDigestBytes]) {
  LAMBDA_ASSERT(mbedtls_sha256_finish_ret(context_of(state), digest) == 0);
}

constexpr HashPort kHash{start, update, finish};

}  // namespace

const HashPort& host_hash() {
  return kHash;
}

Digest sha256(std::span<const uint8_t> bytes) {
  Digest digest;
  LAMBDA_ASSERT(mbedtls_sha256_ret(bytes.data(), bytes.size(), digest.data(), 0) == 0);
  return digest;
}

std::string hex(std::span<const uint8_t> bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const uint8_t byte : bytes) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

Result<std::vector<uint8_t>> unhex(std::string_view text) {
  if (text.size() % 2 != 0) return fail(ErrorCode::kInvalid, "hexadecimal text of odd length");
  std::vector<uint8_t> bytes;
  bytes.reserve(text.size() / 2);
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    int digit = 0;
    if (c >= '0' && c <= '9') {
      digit = c - '0';
    } else if (c >= 'a' && c <= 'f') {
      digit = c - 'a' + 10;
    } else if (c >= 'A' && c <= 'F') {
      digit = c - 'A' + 10;
    } else {
      return fail(ErrorCode::kInvalid, "character " + std::to_string(i) + " is no hexadecimal digit");
    }
    if (i % 2 == 0) {
      bytes.push_back(static_cast<uint8_t>(digit << 4));
    } else {
      bytes.back() = static_cast<uint8_t>(bytes.back() | digit);
    }
  }
  return bytes;
}

}  // namespace lambda
