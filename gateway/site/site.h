// The site's directory: its authority, the certificates made by it, and the registry. Layout:
//
//   site.json                 site, gateway, the broker's names
//   ca.key ca.crt             the authority, P-256, ten years; the key may be kept elsewhere once the rest was made
//   server.key server.crt     the broker's
//   gateway.key gateway.crt   the gateway's own client certificate, CN = gateway
//   crl.pem                   the certificates that no broker may take any more
//   evict.key evict.crt       see eviction_credentials()
//   registry.jsonl            registry.h
//
// What is missing is made at the gateway's start, in an order in which a crash between any two steps only leaves
// something missing. Server and gateway certificates are made anew when they near their end, are damaged, or the
// names change.
// All files are the owner's alone (0600).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/crypto/crypto.h"
#include "base/env/env.h"
#include "base/result.h"

namespace lambda::gateway {

struct SiteOptions {
  std::string directory;
  std::string site;
  std::string gateway;
  std::vector<std::string> broker_names;  // DNS names and IP addresses the broker is reached by
};

struct Credentials {
  std::string ca_file, certificate_file, key_file;
};

struct DeviceCertificate {
  std::string pem;
  CertificateFacts facts;
};

class Site {
 public:
  // Opens the directory and makes what is missing. kInvalid: it belongs to another site or gateway; kUnavailable: the
  // clock stands before 2020, certificates made now would be wrong; kIo.
  static Result<Site> open_or_make(Env& env, const SiteOptions& options);
  // Opens what is there, for the command line. kNotFound: no gateway was ever started here.
  static Result<Site> open(Env& env, const std::string& directory);

  const std::string& site() const { return options_.site; }
  const std::string& gateway() const { return options_.gateway; }
  const std::string& directory() const { return options_.directory; }
  const std::vector<std::string>& broker_names() const { return options_.broker_names; }

  Credentials gateway_credentials() const;  // for the gateway's own connection
  Credentials server_credentials() const;   // for the broker
  std::string crl_file() const { return path("crl.pem"); }
  Result<std::string> authority_pem() const;

  // A client certificate for the key of `request_pem`, CN = device, for `days` from now (and a day before, for clocks
  // that are behind). The request's own signature is checked. kUnavailable: the authority's key is not here.
  Result<DeviceCertificate> issue(const std::string& device, const std::string& request_pem, int64_t days) const;

  // Replaces crl.pem. It never ages: it is dated at the authority's beginning and end, since a list that is out of date
  // makes a broker refuse everybody, and the registry is what counts anyhow.
  Status write_revocation_list(const std::vector<std::string>& serials) const;

  // A certificate in the name of `device` under a key of ours, for an hour: with it the gateway takes over the device's
  // session at the broker, which ends the device's connection. Overwrites the last one.
  Result<Credentials> eviction_credentials(const std::string& device) const;

 private:
  Site(Env& env, SiteOptions options) : env_(&env), options_(std::move(options)) {}

  std::string path(std::string_view name) const { return options_.directory + "/" + std::string(name); }
  bool exists(std::string_view name) const;
  Result<std::string> read(std::string_view name) const;
  Status write(std::string_view name, std::string_view text) const;
  Status make_missing(bool names_changed);
  Status make_authority();
  Status make_certificate(std::string_view name, CertificateOrder order, bool again);
  Status check_pair(const std::string& certificate_name, const std::string& key_name) const;
  Result<std::pair<std::string, std::string>> authority() const;  // certificate, key

  Env* env_;
  SiteOptions options_;
};

}  // namespace lambda::gateway
