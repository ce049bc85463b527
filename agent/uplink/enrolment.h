// What makes a device a member of a site, on the device's side: its two keys, the request, the bundle.
// Files and checks: proto/enrolment.md. In the state folder: device.key (64 hex digits) and tls.key (PEM), made on
// first use and never sent; enrolment.json, the bundle as installed; certificate-*.pem and ca-*.pem, what it holds, for
// TLS.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/crypto/crypto.h"
#include "base/env/env.h"

namespace lambda::agent {

struct Identity {
  SigningKey key;
  std::string tls_key_pem;
  std::string tls_key_file;
};
// Reads the keys, or makes and syncs them.
Result<Identity> load_or_make_identity(Disk& disk, Random& random, const std::string& state_dir);

struct Enrolment {
  std::string site;
  std::vector<std::string> gateways;
  std::string certificate_file, ca_file;
};
// Checks the bundle against our keys, and writes the certificate's files again if they are not what it holds.
// kNotFound: not enrolled yet.
Result<Enrolment> read_enrolment(Disk& disk, const std::string& state_dir, const std::string& device,
                                 const Identity& identity);

// The request's text.
Result<std::string> make_request(const Identity& identity, const std::string& device, Random& random);

// Checks the bundle against our keys and installs it: all of it or nothing. The error says what does not match.
Status install_bundle(Disk& disk, const std::string& state_dir, const std::string& device, const Identity& identity,
                      const std::string& bundle);

}  // namespace lambda::agent
