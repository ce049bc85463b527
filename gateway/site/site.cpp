#include "gateway/site/site.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "gateway/site/names.h"

namespace lambda::gateway {
namespace {

using Json = nlohmann::json;

constexpr uint64_t kSmallFileBytesMax = 1u << 20;
constexpr int64_t kDayMs = 86'400'000;
constexpr int64_t kAuthorityDays = 3650;
constexpr int64_t kOwnCertificateDays = 825;
constexpr int64_t kRenewBeforeDays = 60;
constexpr int64_t kYear2020Ms = 1'577'836'800'000;

bool is_ip_address(std::string_view name) {
  if (name.find(':') != std::string_view::npos) return true;
  return !name.empty() && name.find_first_not_of("0123456789.") == std::string_view::npos;
}

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

}  // namespace

bool Site::exists(std::string_view name) const {
  return env_->disk.size(path(name)).has_value();
}

Result<std::string> Site::read(std::string_view name) const {
  return env_->disk.read_all(path(name), kSmallFileBytesMax);
}

Status Site::write(std::string_view name, std::string_view text) const {
  return env_->disk.replace(path(name), bytes_of(text));
}

Result<Site> Site::open(Env& env, const std::string& directory) {
  SiteOptions options;
  options.directory = directory;
  Site site(env, options);
  auto text = site.read("site.json");
  if (!text) {
    if (text.error().code != ErrorCode::kNotFound) return tl::unexpected(text.error());
    return fail(ErrorCode::kNotFound,
                directory + ": there is no site here (no site.json); start lambda-gateway once, or give --site");
  }
  Json json = Json::parse(*text, nullptr, false);
  const std::string where = site.path("site.json");
  if (!json.is_object()) return fail(ErrorCode::kCorrupt, where + ": no JSON object");
  if (json.value("version", Json()) != 1) return fail(ErrorCode::kUnsupported, where + ": version is not 1");
  for (const char* name : {"site", "gateway"}) {
    auto it = json.find(name);
    if (it == json.end() || !it->is_string() || !valid_id(it->get<std::string>())) {
      return fail(ErrorCode::kCorrupt, where + ": field \"" + name + "\" is not [a-z0-9-]{1,64}");
    }
  }
  site.options_.site = json["site"];
  site.options_.gateway = json["gateway"];
  if (auto it = json.find("broker_names"); it != json.end() && it->is_array()) {
    for (const auto& name : *it) {
      if (name.is_string()) site.options_.broker_names.push_back(name);
    }
  }
  return site;
}

Result<Site> Site::open_or_make(Env& env, const SiteOptions& options) {
  LAMBDA_ASSERT(valid_id(options.site) && valid_id(options.gateway));
  if (auto made = env.disk.make_dirs(options.directory); !made) return tl::unexpected(made.error());
  Site site(env, options);
  bool names_changed = true;
  auto before = open(env, options.directory);
  if (before) {
    if (before->site() != options.site || before->gateway() != options.gateway) {
      return fail(ErrorCode::kInvalid, options.directory + ": belongs to site \"" + before->site() + "\", gateway \"" +
                                           before->gateway() + "\", not to site \"" + options.site + "\", gateway \"" +
                                           options.gateway + "\"");
    }
    names_changed = before->broker_names() != options.broker_names;
  } else if (before.error().code != ErrorCode::kNotFound) {
    return tl::unexpected(before.error());
  }
  if (auto made = site.make_missing(names_changed); !made) return tl::unexpected(made.error());
  if (names_changed) {
    Json json{
        {"version", 1}, {"site", options.site}, {"gateway", options.gateway}, {"broker_names", options.broker_names}};
    if (auto written = site.write("site.json", json.dump(2) + "\n"); !written) return tl::unexpected(written.error());
  }
  return site;
}

Status Site::make_missing(bool names_changed) {
  if (!exists("ca.crt")) {
    if (auto made = make_authority(); !made) return made;
  }
  CertificateOrder server;
  server.common_name = options_.gateway;
  server.server = true;
  for (const auto& name : options_.broker_names) {
    (is_ip_address(name) ? server.ip_addresses : server.dns_names).push_back(name);
  }
  if (auto made = make_certificate("server", std::move(server), names_changed); !made) return made;
  CertificateOrder own;
  own.common_name = options_.gateway;
  own.client = true;
  if (auto made = make_certificate("gateway", std::move(own), false); !made) return made;
  if (!exists("crl.pem")) return write_revocation_list({});
  return {};
}

Status Site::make_authority() {
  const int64_t now = env_->clock.utc_ms();
  if (now < kYear2020Ms) {
    return fail(ErrorCode::kUnavailable, options_.directory +
                                             ": the clock stands before 2020; set it, then start again: "
                                             "certificates made now would not be valid");
  }
  if (!exists("ca.key")) {
    auto key = make_tls_key(env_->random);
    if (!key) return tl::unexpected(key.error());
    if (auto written = write("ca.key", *key); !written) return written;
  }
  auto key = read("ca.key");
  if (!key) return tl::unexpected(key.error());
  CertificateOrder order;
  order.common_name = "authority-" + options_.site;
  if (order.common_name.size() > 64) order.common_name.resize(64);  // X.520's bound of a common name
  order.authority = true;
  order.not_before_ms = now - kDayMs;
  order.not_after_ms = now + kAuthorityDays * kDayMs;
  auto certificate = self_signed_authority(*key, order, env_->random);
  if (!certificate) return tl::unexpected(certificate.error());
  return write("ca.crt", *certificate);
}

// Whether a certificate can be read, belongs to its key and was issued by the authority.
Status Site::check_pair(const std::string& certificate_name, const std::string& key_name) const {
  const auto certificate = read(certificate_name), key = read(key_name), ca = read("ca.crt");
  for (const auto* file : {&certificate, &key, &ca}) {
    if (!*file) return tl::unexpected(file->error());
  }
  if (auto good = check_certificate(*certificate, *key, *ca); !good) {
    return fail(ErrorCode::kCorrupt, path(certificate_name) + ", " + key_name + ": " + good.error().text);
  }
  return {};
}

// Makes <name>.key and <name>.crt when they are missing, near their end, of no use, or `again`.
Status Site::make_certificate(std::string_view name, CertificateOrder order, bool again) {
  const std::string key_name = std::string(name) + ".key";
  const std::string certificate_name = std::string(name) + ".crt";
  const int64_t now = env_->clock.utc_ms();
  const bool both = exists(certificate_name) && exists(key_name);
  const Status usable = both ? check_pair(certificate_name, key_name) : Status();
  if (both && usable && !again) {
    auto text = read(certificate_name);
    if (!text) return tl::unexpected(text.error());
    auto facts = read_certificate(*text);
    if (facts && facts->not_after_ms - now > kRenewBeforeDays * kDayMs) return {};
  }
  auto issuer = authority();
  if (!issuer) {
    if (!usable) return fail(usable.error().code, usable.error().text + "; to make another, " + issuer.error().text);
    if (!exists(certificate_name) || again) return tl::unexpected(issuer.error());
    env_->log.error("certificate_not_renewed", {{"file", path(certificate_name)}, {"why", issuer.error().text}});
    return {};
  }
  if (!usable) env_->log.warn("certificate_made_anew", {{"why", usable.error().text}});
  if (!exists(key_name) || !usable) {
    auto made = make_tls_key(env_->random);
    if (!made) return tl::unexpected(made.error());
    if (auto written = write(key_name, *made); !written) return written;
  }
  auto key = read(key_name);
  if (!key) return tl::unexpected(key.error());
  order.not_before_ms = now - kDayMs;
  order.not_after_ms = now + kOwnCertificateDays * kDayMs;
  auto certificate = issue_for_key(issuer->first, issuer->second, *key, order, env_->random);
  if (!certificate) return tl::unexpected(certificate.error());
  return write(certificate_name, *certificate);
}

Result<std::pair<std::string, std::string>> Site::authority() const {
  auto certificate = read("ca.crt");
  if (!certificate) return tl::unexpected(certificate.error());
  auto key = read("ca.key");
  if (!key) {
    return fail(ErrorCode::kUnavailable,
                path("ca.key") + ": the authority's key is needed for this and cannot be read: " + key.error().text);
  }
  return std::make_pair(std::move(*certificate), std::move(*key));
}

Credentials Site::gateway_credentials() const {
  return {path("ca.crt"), path("gateway.crt"), path("gateway.key")};
}

Credentials Site::server_credentials() const {
  return {path("ca.crt"), path("server.crt"), path("server.key")};
}

Result<std::string> Site::authority_pem() const {
  return read("ca.crt");
}

Result<DeviceCertificate> Site::issue(const std::string& device, const std::string& request_pem, int64_t days) const {
  auto issuer = authority();
  if (!issuer) return tl::unexpected(issuer.error());
  CertificateOrder order;
  order.common_name = device;
  order.client = true;
  const int64_t now = env_->clock.utc_ms();
  order.not_before_ms = now - kDayMs;
  order.not_after_ms = now + days * kDayMs;
  auto pem = issue_from_request(issuer->first, issuer->second, request_pem, order, env_->random);
  if (!pem) return tl::unexpected(pem.error());
  auto facts = read_certificate(*pem);
  if (!facts) return tl::unexpected(facts.error());
  return DeviceCertificate{std::move(*pem), std::move(*facts)};
}

Status Site::write_revocation_list(const std::vector<std::string>& serials) const {
  auto issuer = authority();
  if (!issuer) return tl::unexpected(issuer.error());
  auto facts = read_certificate(issuer->first);
  if (!facts) return tl::unexpected(facts.error());
  auto list = make_revocation_list(issuer->first, issuer->second, serials, facts->not_before_ms, env_->random);
  if (!list) return tl::unexpected(list.error());
  return write("crl.pem", *list);
}

Result<Credentials> Site::eviction_credentials(const std::string& device) const {
  auto issuer = authority();
  if (!issuer) return tl::unexpected(issuer.error());
  auto key = make_tls_key(env_->random);
  if (!key) return tl::unexpected(key.error());
  CertificateOrder order;
  order.common_name = device;
  order.client = true;
  const int64_t now = env_->clock.utc_ms();
  order.not_before_ms = now - kDayMs;
  order.not_after_ms = now + 3'600'000;
  auto certificate = issue_for_key(issuer->first, issuer->second, *key, order, env_->random);
  if (!certificate) return tl::unexpected(certificate.error());
  if (auto written = write("evict.key", *key); !written) return tl::unexpected(written.error());
  if (auto written = write("evict.crt", *certificate); !written) return tl::unexpected(written.error());
  return Credentials{path("ca.crt"), path("evict.crt"), path("evict.key")};
}

}  // namespace lambda::gateway
