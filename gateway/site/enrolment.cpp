#include "gateway/site/enrolment.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "gateway/site/names.h"

namespace lambda::gateway {
namespace {

using Json = nlohmann::json;

void append_str(std::vector<uint8_t>& out, std::string_view text) {
  const auto size = static_cast<uint32_t>(text.size());
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<uint8_t>(size >> shift));
  out.insert(out.end(), text.begin(), text.end());
}

Result<std::string> text_field(const Json& json, const char* name) {
  auto it = json.find(name);
  if (it == json.end()) return fail(ErrorCode::kInvalid, std::string("request: field \"") + name + "\" is missing");
  if (!it->is_string()) return fail(ErrorCode::kInvalid, std::string("request: field \"") + name + "\" is no string");
  return it->get<std::string>();
}

Result<std::vector<uint8_t>> hex_field(const Json& json, const char* name, size_t bytes) {
  auto text = text_field(json, name);
  if (!text) return tl::unexpected(text.error());
  auto value = unhex(*text);
  if (!value || value->size() != bytes) {
    return fail(ErrorCode::kInvalid,
                std::string("request: field \"") + name + "\" is not " + std::to_string(2 * bytes) + " hex digits");
  }
  return std::move(*value);
}

}  // namespace

Digest enrolment_digest(std::string_view device, std::string_view csr) {
  constexpr std::string_view kDomain("lambda/enrol/1\0", 15);
  std::vector<uint8_t> form(kDomain.begin(), kDomain.end());
  append_str(form, device);
  append_str(form, csr);
  return sha256(form);
}

Result<EnrolmentRequest> read_enrolment_request(std::string_view text) {
  Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) return fail(ErrorCode::kInvalid, "request: no JSON object");
  auto version = json.find("version");
  if (version == json.end() || !version->is_number_integer() || version->get<int64_t>() < 1) {
    return fail(ErrorCode::kInvalid, "request: field \"version\" is missing or no number");
  }
  if (version->get<int64_t>() != 1) {
    return fail(ErrorCode::kUnsupported, "request: version " + version->dump() + " is newer than this program knows");
  }
  EnrolmentRequest request;
  auto device = text_field(json, "device");
  if (!device) return tl::unexpected(device.error());
  if (!valid_id(*device)) return fail(ErrorCode::kInvalid, "request: field \"device\" is not [a-z0-9-]{1,64}");
  request.device = *device;
  auto csr = text_field(json, "csr");
  if (!csr) return tl::unexpected(csr.error());
  request.csr = *csr;
  auto spec = json.find("key_spec");
  if (spec == json.end() || !spec->is_number_integer() || spec->get<int64_t>() != 1) {
    return fail(ErrorCode::kInvalid, "request: field \"key_spec\" is not 1, the only one known");
  }
  auto key = hex_field(json, "public_key", request.public_key.size());
  if (!key) return tl::unexpected(key.error());
  std::copy(key->begin(), key->end(), request.public_key.begin());
  auto proof = hex_field(json, "proof", sizeof(Signature));
  if (!proof) return tl::unexpected(proof.error());

  auto common_name = request_common_name(request.csr);  // checks the request's signature as well
  if (!common_name) return fail(ErrorCode::kInvalid, "request: field \"csr\": " + common_name.error().text);
  if (*common_name != request.device) {
    return fail(ErrorCode::kInvalid,
                "request: field \"csr\": its common name is \"" + *common_name + "\", not \"" + request.device + "\"");
  }
  if (!verify(request.public_key, enrolment_digest(request.device, request.csr), *proof)) {
    return fail(ErrorCode::kDenied,
                "request: field \"proof\" does not match \"public_key\"; the file was altered, or "
                "made with another key");
  }
  return request;
}

std::string bundle_text(const EnrolmentBundle& bundle) {
  nlohmann::ordered_json json{
      {"version", 1},    {"site", bundle.site},        {"device", bundle.device}, {"certificate", bundle.certificate},
      {"ca", bundle.ca}, {"gateways", bundle.gateways}};
  return json.dump(2) + "\n";
}

}  // namespace lambda::gateway
