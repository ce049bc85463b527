#include "agent/uplink/enrolment.h"

#include <nlohmann/json.hpp>

namespace lambda::agent {
namespace {

using Json = nlohmann::json;
constexpr uint64_t kFileBytesMax = 1u << 20;

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

struct Bundle {
  std::string site, device, certificate, ca;
  std::vector<std::string> gateways;
};

bool is_id(const std::string& text) {
  return !text.empty() && text.size() <= 64 &&
         text.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") == std::string::npos;
}

Result<Bundle> parse_bundle(const std::string& text) {
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) return fail(ErrorCode::kInvalid, "bundle: not a JSON object");
  const auto version = json.find("version");
  if (version == json.end() || !version->is_number_integer()) return fail(ErrorCode::kInvalid, "bundle: no version");
  if (*version != 1)
    return fail(ErrorCode::kUnsupported, "bundle: version " + version->dump() + "; this program reads 1");
  Bundle bundle;
  for (const auto& [name, field] : {std::pair<const char*, std::string*>{"site", &bundle.site},
                                    {"device", &bundle.device},
                                    {"certificate", &bundle.certificate},
                                    {"ca", &bundle.ca}}) {
    const auto value = json.find(name);
    if (value == json.end() || !value->is_string()) {
      return fail(ErrorCode::kInvalid, std::string("bundle: ") + name + " is missing or not text");
    }
    *field = value->get<std::string>();
  }
  if (const auto gateways = json.find("gateways"); gateways != json.end()) {
    if (!gateways->is_array()) return fail(ErrorCode::kInvalid, "bundle: gateways is not a list");
    for (const auto& url : *gateways) {
      if (!url.is_string()) return fail(ErrorCode::kInvalid, "bundle: gateways holds something else than text");
      bundle.gateways.push_back(url.get<std::string>());
    }
  }
  if (!is_id(bundle.site)) return fail(ErrorCode::kInvalid, "bundle: site \"" + bundle.site + "\" is no id");
  return bundle;
}

std::string file_of(const std::string& state_dir, const char* kind, const std::string& pem) {
  const Digest digest = sha256({reinterpret_cast<const uint8_t*>(pem.data()), pem.size()});
  return state_dir + "/" + kind + "-" + hex(std::span(digest).first(8)) + ".pem";
}

// What TLS reads. The names are of the files' own content: those that hold it already are left alone.
Status write_certificates(Disk& disk, const std::string& state_dir, const Bundle& bundle) {
  for (const auto& [kind, pem] : {std::pair("certificate", bundle.certificate), std::pair("ca", bundle.ca)}) {
    const std::string file = file_of(state_dir, kind, pem);
    const auto present = disk.read_all(file, kFileBytesMax);
    if (present && *present == pem) continue;
    if (auto status = disk.replace(file, bytes_of(pem)); !status) return status;
  }
  return {};
}

void put_str(std::vector<uint8_t>& out, const std::string& text) {
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<uint8_t>(text.size() >> shift));
  out.insert(out.end(), text.begin(), text.end());
}

}  // namespace

Result<Identity> load_or_make_identity(Disk& disk, Random& random, const std::string& state_dir) {
  if (auto status = disk.make_dirs(state_dir); !status) return tl::unexpected(status.error());
  const std::string key_file = state_dir + "/device.key";
  const std::string tls_file = state_dir + "/tls.key";
  auto key_text = disk.read_all(key_file, kFileBytesMax);
  if (!key_text && key_text.error().code == ErrorCode::kNotFound) {
    key_text = SigningKey::make(random).to_hex();
    if (auto status = disk.replace(key_file, bytes_of(*key_text)); !status) return tl::unexpected(status.error());
  }
  if (!key_text) return tl::unexpected(key_text.error());
  while (key_text->ends_with('\n')) key_text->pop_back();
  auto key = SigningKey::from_hex(*key_text);
  if (!key) return fail(key.error().code, key_file + ": " + key.error().text);

  auto tls_key = disk.read_all(tls_file, kFileBytesMax);
  if (!tls_key && tls_key.error().code == ErrorCode::kNotFound) {
    tls_key = make_tls_key(random);
    if (!tls_key) return tl::unexpected(tls_key.error());
    if (auto status = disk.replace(tls_file, bytes_of(*tls_key)); !status) return tl::unexpected(status.error());
  }
  if (!tls_key) return tl::unexpected(tls_key.error());
  return Identity{std::move(*key), std::move(*tls_key), tls_file};
}

Result<Enrolment> read_enrolment(Disk& disk, const std::string& state_dir, const std::string& device,
                                 const Identity& identity) {
  const auto text = disk.read_all(state_dir + "/enrolment.json", kFileBytesMax);
  if (!text) return tl::unexpected(text.error());
  auto bundle = parse_bundle(*text);
  const std::string again = "; enrol this device again: --request, lambda enroll, --install";
  if (!bundle) return fail(bundle.error().code, state_dir + "/enrolment.json: " + bundle.error().text + again);
  if (bundle->device != device) {
    return fail(ErrorCode::kInvalid, state_dir + "/enrolment.json is for device \"" + bundle->device +
                                         "\", the configuration says \"" + device + "\": correct one of them, or" +
                                         again.substr(1));
  }
  if (auto status = check_certificate(bundle->certificate, identity.tls_key_pem, bundle->ca); !status) {
    return fail(status.error().code,
                state_dir + "/enrolment.json: " + status.error().text + " (" + identity.tls_key_file + ")" + again);
  }
  if (auto status = write_certificates(disk, state_dir, *bundle); !status) return tl::unexpected(status.error());
  Enrolment enrolment;
  enrolment.site = bundle->site;
  enrolment.gateways = bundle->gateways;
  enrolment.certificate_file = file_of(state_dir, "certificate", bundle->certificate);
  enrolment.ca_file = file_of(state_dir, "ca", bundle->ca);
  return enrolment;
}

Result<std::string> make_request(const Identity& identity, const std::string& device, Random& random) {
  auto csr = make_certificate_request(identity.tls_key_pem, device, random);
  if (!csr) return tl::unexpected(csr.error());
  const char domain[] = "lambda/enrol/1";
  std::vector<uint8_t> signed_form(domain, domain + sizeof domain);  // with its zero
  put_str(signed_form, device);
  put_str(signed_form, *csr);
  const Signature proof = identity.key.sign(sha256(signed_form));
  const Json json{{"version", 1},  {"device", device},   {"csr", *csr}, {"public_key", hex(identity.key.public_key())},
                  {"key_spec", 1}, {"proof", hex(proof)}};
  return json.dump(2) + "\n";
}

Status install_bundle(Disk& disk, const std::string& state_dir, const std::string& device, const Identity& identity,
                      const std::string& text) {
  const auto bundle = parse_bundle(text);
  if (!bundle) return tl::unexpected(bundle.error());
  if (bundle->device != device) {
    return fail(ErrorCode::kInvalid, "bundle: it is for device \"" + bundle->device + "\", this is \"" + device + "\"");
  }
  const auto facts = read_certificate(bundle->certificate);
  if (!facts) return fail(facts.error().code, "bundle: certificate: " + facts.error().text);
  if (facts->common_name != device) {
    return fail(ErrorCode::kInvalid, "bundle: the certificate's common name is \"" + facts->common_name + "\"");
  }
  if (auto status = check_certificate(bundle->certificate, identity.tls_key_pem, bundle->ca); !status) {
    return fail(status.error().code, "bundle: " + status.error().text);
  }
  // enrolment.json, replaced last, decides what counts.
  if (auto status = write_certificates(disk, state_dir, *bundle); !status) return status;
  return disk.replace(state_dir + "/enrolment.json", bytes_of(text));
}

}  // namespace lambda::agent
