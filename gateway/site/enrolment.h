// A device's request to join, and the site's answer. Bytes and checks: proto/enrolment.md.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/crypto/crypto.h"
#include "base/result.h"

namespace lambda::gateway {

struct EnrolmentRequest {
  std::string device;
  std::string csr;
  PublicKey public_key{};
  uint32_t key_spec = 1;
};

// What the proof signs.
Digest enrolment_digest(std::string_view device, std::string_view csr);

// Reads a request file's text and checks all that needs no knowledge of the site: ids, the CSR's own signature, its
// common name and the proof. The error names the field. kUnsupported: a higher version.
Result<EnrolmentRequest> read_enrolment_request(std::string_view text);

struct EnrolmentBundle {
  std::string site, device, certificate, ca;
  std::vector<std::string> gateways;
};
std::string bundle_text(const EnrolmentBundle& bundle);

}  // namespace lambda::gateway
