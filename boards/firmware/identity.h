// Who the device is, where its broker is and what it trusts: read from the identity region of the flash, which
// boards/provision.py writes. Everything points into that region.
//
//   "lambdaID" | u32 version 1 | u32 bytes of items | SHA-256 of the items | items
//   item: u16 tag | u16 bytes | bytes        little-endian; unknown tags are skipped, so that fields can be added
//
// Texts end with a zero byte. Certificates and the TLS key are DER. The region is trusted as the flash is; the digest
// is against accidents.
#pragma once

#include <stdint.h>

#include <span>

#include "boards/firmware/board.h"

namespace lambda::boards {

struct Identity {
  const char* site = nullptr;
  const char* device = nullptr;
  const char* broker_name = nullptr;  // what the broker's certificate must say
  uint8_t broker_address[4] = {};
  uint16_t broker_port = 0;
  NetworkAddress network = {};
  std::span<const uint8_t> authority;    // certificate
  std::span<const uint8_t> certificate;  // of the TLS key
  std::span<const uint8_t> tls_key;
  std::span<const uint8_t> signing_key;  // secp256k1, 32 bytes
  uint32_t seal_age_ms = 0;              // 0: the SDK's
  uint32_t memory_bytes_max = 0;         // 0: all there is
  uint32_t flash_save_s = 0;             // a snapshot each so many seconds; 0: nothing outlives a reset
};

// Null on success; else what is wrong, as words for the log. `identity` is then of no use.
const char* read_identity(std::span<const uint8_t> region, Identity* identity);

}  // namespace lambda::boards
