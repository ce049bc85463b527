#include "gateway/site/registry.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "gateway/site/names.h"

namespace lambda::gateway {
namespace {

using Json = nlohmann::json;

constexpr std::string_view kFileName = "registry.jsonl";

Result<std::string> text_field(const Json& object, const char* name) {
  auto it = object.find(name);
  if (it == object.end()) return fail(ErrorCode::kInvalid, std::string("field \"") + name + "\" is missing");
  if (!it->is_string()) return fail(ErrorCode::kInvalid, std::string("field \"") + name + "\" is no string");
  return it->get<std::string>();
}

Result<int64_t> number_field(const Json& object, const char* name) {
  auto it = object.find(name);
  if (it == object.end()) return fail(ErrorCode::kInvalid, std::string("field \"") + name + "\" is missing");
  if (!it->is_number_integer())
    return fail(ErrorCode::kInvalid, std::string("field \"") + name + "\" is no whole number");
  return it->get<int64_t>();
}

bool is_hex(std::string_view text) {
  return !text.empty() && text.size() <= 128 &&
         text.find_first_not_of("0123456789abcdefABCDEF") == std::string_view::npos;
}

Result<Enrolled> read_enrolment(const Json& object) {
  Enrolled device;
  auto id = text_field(object, "device");
  if (!id) return tl::unexpected(id.error());
  if (!valid_id(*id)) return fail(ErrorCode::kInvalid, "field \"device\": not [a-z0-9-]{1,64}");
  device.device = *id;
  auto key_text = text_field(object, "public_key");
  if (!key_text) return tl::unexpected(key_text.error());
  auto key = unhex(*key_text);
  if (!key || key->size() != device.public_key.size()) {
    return fail(ErrorCode::kInvalid, "field \"public_key\": not 66 hex digits");
  }
  std::copy(key->begin(), key->end(), device.public_key.begin());
  auto spec = number_field(object, "key_spec");
  if (!spec) return tl::unexpected(spec.error());
  if (*spec != 1) return fail(ErrorCode::kInvalid, "field \"key_spec\": " + std::to_string(*spec) + " is unknown");
  device.key_spec = static_cast<uint32_t>(*spec);
  auto fingerprint = text_field(object, "fingerprint");
  if (!fingerprint) return tl::unexpected(fingerprint.error());
  device.fingerprint = *fingerprint;
  auto serial = text_field(object, "serial");
  if (!serial) return tl::unexpected(serial.error());
  if (!is_hex(*serial)) return fail(ErrorCode::kInvalid, "field \"serial\": not hex");
  device.serial = *serial;
  auto at = number_field(object, "at");
  if (!at) return tl::unexpected(at.error());
  device.enrolled_ms = *at;
  return device;
}

// The device a damaged line is about, if its name can still be made out: `"device":"press-7"`.
std::optional<std::string> device_named_in(std::string_view line) {
  constexpr std::string_view kKey = "\"device\"";
  size_t at = line.find(kKey);
  if (at == std::string_view::npos) return std::nullopt;
  at = line.find_first_not_of(" \t:", at + kKey.size());
  if (at == std::string_view::npos || line[at] != '"') return std::nullopt;
  size_t end = line.find('"', at + 1);
  if (end == std::string_view::npos) return std::nullopt;
  std::string_view name = line.substr(at + 1, end - at - 1);
  if (!valid_id(name)) return std::nullopt;
  return std::string(name);
}

}  // namespace

Registry::Registry(Disk& disk, Log& log, std::string directory)
    : disk_(disk), log_(log), directory_(std::move(directory)), path_(directory_ + "/" + std::string(kFileName)) {}

bool Registry::looks_changed() const {
  const auto bytes = disk_.size(path_);
  return bytes && (!seen_ || *bytes != seen_bytes_);
}

Result<bool> Registry::refresh() {
  auto entries = disk_.list(directory_);
  if (!entries) {
    ++read_errors_;
    return tl::unexpected(entries.error());
  }
  auto entry = std::find_if(entries->begin(), entries->end(), [](const DirEntry& e) { return e.name == kFileName; });
  if (entry == entries->end()) {
    // Before the first enrolment there is none. One that has vanished is an accident, not a revocation of everybody.
    if (!seen_) return false;
    ++read_errors_;
    return fail(ErrorCode::kIo, path_ + ": has vanished; the devices known before still count");
  }
  if (seen_ && entry->bytes == seen_bytes_ && entry->modified_ms == seen_modified_ms_) return false;
  auto text = disk_.read_all(path_, kRegistryBytesMax);
  if (!text) {
    ++read_errors_;
    return tl::unexpected(text.error());
  }
  // What was read may already be longer than what was listed: the next look then reads once more, which is harmless.
  seen_bytes_ = entry->bytes;
  seen_modified_ms_ = entry->modified_ms;
  seen_ = true;
  parse(*text);
  return true;
}

void Registry::parse(std::string_view text) {
  devices_.clear();
  dead_serials_.clear();
  malformed_lines_ = 0;
  ends_torn_ = !text.empty() && text.back() != '\n';
  uint64_t number = 0;
  for (size_t at = 0; at < text.size();) {
    size_t end = text.find('\n', at);
    if (end == std::string_view::npos) break;  // still being written, or torn by a crash before it was synced
    std::string_view line = text.substr(at, end - at);
    at = end + 1;
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    Status applied = apply_line(line);
    if (applied) continue;
    ++malformed_lines_;
    auto named = device_named_in(line);
    if (named) {
      Enrolled& device = devices_[*named];
      device.device = *named;
      device.revoked = true;
    }
    if (malformed_lines_ <= 16) {
      log_.error("registry_line_malformed", {{"file", path_},
                                             {"line", number},
                                             {"why", applied.error().text},
                                             {"device_locked_out", named.value_or("")}});
    }
  }
}

Status Registry::apply_line(std::string_view line) {
  Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded() || !json.is_object()) return fail(ErrorCode::kInvalid, "no JSON object");
  if (auto it = json.find("enroll"); it != json.end()) {
    if (!it->is_object()) return fail(ErrorCode::kInvalid, "\"enroll\" is no object");
    auto device = read_enrolment(*it);
    if (!device) return tl::unexpected(device.error());
    Enrolled& known = devices_[device->device];
    std::vector<std::string> earlier = std::move(known.earlier_serials);
    if (!known.serial.empty()) earlier.push_back(known.serial);
    if (known.revoked || known.public_key != device->public_key) {
      dead_serials_.insert(earlier.begin(), earlier.end());
      earlier.clear();
    }
    known = std::move(*device);
    known.earlier_serials = std::move(earlier);
    return {};
  }
  if (auto it = json.find("revoke"); it != json.end()) {
    if (!it->is_object()) return fail(ErrorCode::kInvalid, "\"revoke\" is no object");
    auto id = text_field(*it, "device");
    if (!id) return tl::unexpected(id.error());
    if (!valid_id(*id)) return fail(ErrorCode::kInvalid, "field \"device\": not [a-z0-9-]{1,64}");
    auto at = number_field(*it, "at");
    if (!at) return tl::unexpected(at.error());
    Enrolled& device = devices_[*id];
    device.device = *id;
    device.revoked = true;
    device.revoked_ms = *at;
    return {};
  }
  return fail(ErrorCode::kInvalid, "neither \"enroll\" nor \"revoke\"");
}

const Enrolled* Registry::find(std::string_view device) const {
  auto it = devices_.find(device);
  return it == devices_.end() ? nullptr : &it->second;
}

std::vector<std::string> Registry::dead_serials() const {
  std::set<std::string> dead = dead_serials_;
  for (const auto& [name, device] : devices_) {
    if (!device.revoked) continue;
    if (!device.serial.empty()) dead.insert(device.serial);
    dead.insert(device.earlier_serials.begin(), device.earlier_serials.end());
  }
  return {dead.begin(), dead.end()};
}

std::string Registry::enroll_line(const Enrolled& device, bool torn) {
  Json json{{"enroll",
             {{"device", device.device},
              {"public_key", hex(device.public_key)},
              {"key_spec", device.key_spec},
              {"fingerprint", device.fingerprint},
              {"serial", device.serial},
              {"at", device.enrolled_ms}}}};
  return (torn ? "\n" : "") + json.dump() + "\n";
}

std::string Registry::revoke_line(std::string_view device, int64_t at_ms, bool torn) {
  Json json{{"revoke", {{"device", device}, {"at", at_ms}}}};
  return (torn ? "\n" : "") + json.dump() + "\n";
}

}  // namespace lambda::gateway
