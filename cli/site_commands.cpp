#include "cli/site_commands.h"

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <ostream>

#include "gateway/site/enrolment.h"
#include "gateway/site/names.h"
#include "gateway/site/registry.h"
#include "gateway/site/site.h"

namespace lambda::cli {
namespace {

using Json = nlohmann::ordered_json;
using gateway::Enrolled;
using gateway::Registry;
using gateway::Site;

constexpr uint64_t kRequestBytesMax = 64u << 10;
constexpr int64_t kDaysMax = 3650;

std::string printable(const std::string& text) {
  return Json(text).dump(-1, ' ', true, Json::error_handler_t::replace);
}

int failed(SiteWorld& world, bool json, const std::string& text) {
  if (json) world.out << "{\"error\":" << printable(text) << "}\n";
  world.err << "lambda: " << text << "\n";
  return 1;
}

// Appends one line to the registry and waits until it is on the disk.
Status append_synced(SiteWorld& world, const std::string& path, const std::string& directory, const std::string& line) {
  auto file = world.env.disk.open_append(path);
  if (!file) return tl::unexpected(file.error());
  Status result;
  int waiting = 3;
  auto done = [&](Status status) {
    if (!status && result) result = status;
    if (--waiting == 0) world.stop();
  };
  world.env.disk.append(*file, std::as_bytes(std::span(line.data(), line.size())), done);
  world.env.disk.sync(*file, done);
  world.env.disk.sync_dir(directory, done);
  world.run();
  world.env.disk.close(*file);
  return result;
}

// The urls the gateway wrote when its broker began to listen.
std::vector<std::string> broker_urls(SiteWorld& world, const std::string& directory) {
  auto text = world.env.disk.read_all(directory + "/broker.json", kRequestBytesMax);
  std::vector<std::string> urls;
  if (!text) return urls;
  Json json = Json::parse(*text, nullptr, false);
  if (!json.is_object() || !json.contains("urls") || !json["urls"].is_array()) return urls;
  for (const auto& url : json["urls"]) {
    if (url.is_string()) urls.push_back(url);
  }
  return urls;
}

std::string iso_time(int64_t utc_ms) {
  if (utc_ms <= 0) return "-";
  // Days to civil date: H. Hinnant, "chrono-compatible low-level date algorithms".
  const int64_t seconds = utc_ms / 1000, days = seconds / 86400, rest = seconds % 86400;
  const int64_t z = days + 719468, era = z / 146097, doe = z - era * 146097;
  const int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
  const int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
  const int64_t day = doy - (153 * mp + 2) / 5 + 1, month = mp < 10 ? mp + 3 : mp - 9;
  const int64_t year = yoe + era * 400 + (month <= 2 ? 1 : 0);
  char text[48];
  std::snprintf(text, sizeof text,
                "%04" PRId64 "-%02" PRId64 "-%02" PRId64 "T%02" PRId64 ":%02" PRId64 ":%02" PRId64 "Z", year, month,
                day, rest / 3600, rest / 60 % 60, rest % 60);
  return text;
}

Status may_enroll(const gateway::EnrolmentRequest& request, const Site& site, const Registry& registry, bool replace) {
  if (request.device == site.gateway()) {
    return fail(ErrorCode::kDenied,
                "\"" + request.device + "\" is the name of this site's gateway; choose another device id");
  }
  // Also of a revoked one: whoever has the key could speak for both.
  for (const auto& [name, other] : registry.devices()) {
    if (name == request.device || other.public_key != request.public_key) continue;
    return fail(ErrorCode::kDenied, "this key is of \"" + name + "\"; \"" + request.device + "\" needs one of its own");
  }
  const Enrolled* before = registry.find(request.device);
  if (before == nullptr || replace) return {};
  if (before->revoked) {
    return fail(ErrorCode::kDenied, "\"" + request.device + "\" was revoked; with --replace it may come back");
  }
  if (before->public_key != request.public_key) {
    return fail(ErrorCode::kDenied, "\"" + request.device + "\" is enrolled under another key (" +
                                        hex(before->public_key) + "); with --replace this key takes its place");
  }
  return {};
}

}  // namespace

int enroll(SiteWorld& world, const EnrollOptions& options) {
  Env& env = world.env;
  auto refuse = [&](const std::string& text) { return failed(world, options.json, text); };
  if (options.days < 1 || options.days > kDaysMax) return refuse("--days: must be 1 to " + std::to_string(kDaysMax));
  auto text = env.disk.read_all(options.request_file, kRequestBytesMax);
  if (!text) return refuse(text.error().text);
  auto request = gateway::read_enrolment_request(*text);
  if (!request) return refuse(options.request_file + ": " + request.error().text);
  auto site = Site::open(env, options.site_directory);
  if (!site) return refuse(site.error().text);
  Registry registry(env.disk, env.log, options.site_directory);
  if (auto read = registry.refresh(); !read) return refuse(read.error().text);
  if (auto may = may_enroll(*request, *site, registry, options.replace); !may) return refuse(may.error().text);

  auto certificate = site->issue(request->device, request->csr, options.days);
  if (!certificate) return refuse(certificate.error().text);
  auto authority = site->authority_pem();
  if (!authority) return refuse(authority.error().text);

  Enrolled device;
  device.device = request->device;
  device.public_key = request->public_key;
  device.key_spec = request->key_spec;
  device.fingerprint = certificate->facts.fingerprint_hex;
  device.serial = certificate->facts.serial_hex;
  device.enrolled_ms = env.clock.utc_ms();
  Status kept = append_synced(world, registry.path(), options.site_directory,
                              Registry::enroll_line(device, registry.ends_torn()));
  if (!kept) return refuse(kept.error().text);

  gateway::EnrolmentBundle bundle{site->site(), device.device, certificate->pem, *authority, options.gateways};
  if (bundle.gateways.empty()) bundle.gateways = broker_urls(world, options.site_directory);
  const std::string file = options.bundle_file.empty() ? device.device + ".bundle.json" : options.bundle_file;
  const std::string body = gateway::bundle_text(bundle);
  if (auto written = env.disk.replace(file, std::as_bytes(std::span(body.data(), body.size()))); !written) {
    return refuse(written.error().text + "; the device is enrolled: run this again for its bundle");
  }
  if (options.json) {
    world.out << Json{{"device", device.device},
                      {"site", site->site()},
                      {"public_key", hex(device.public_key)},
                      {"serial", device.serial},
                      {"fingerprint", device.fingerprint},
                      {"not_after_ms", certificate->facts.not_after_ms},
                      {"gateways", bundle.gateways},
                      {"bundle", file}}
                     .dump()
              << "\n";
  } else {
    world.out << "enrolled " << device.device << " at site " << site->site() << ", certificate until "
              << iso_time(certificate->facts.not_after_ms) << "\nbundle: " << file
              << "\non the device: lambda-agent --config FILE --install " << file
              << "\nfor firmware: boards/provision.py image --bundle " << file << " ...\n";
    if (bundle.gateways.empty()) world.out << "the bundle names no gateway: the device's configuration must\n";
  }
  return 0;
}

int revoke(SiteWorld& world, const RevokeOptions& options) {
  Env& env = world.env;
  auto refuse = [&](const std::string& text) { return failed(world, options.json, text); };
  if (!gateway::valid_id(options.device)) return refuse("device: not [a-z0-9-]{1,64}");
  auto site = Site::open(env, options.site_directory);
  if (!site) return refuse(site.error().text);
  Registry registry(env.disk, env.log, options.site_directory);
  if (auto read = registry.refresh(); !read) return refuse(read.error().text);
  const Enrolled* device = registry.find(options.device);
  if (device == nullptr) return refuse("\"" + options.device + "\" is not enrolled at this site");
  const bool already = device->revoked;
  if (!already) {
    const std::string line = Registry::revoke_line(options.device, env.clock.utc_ms(), registry.ends_torn());
    if (auto kept = append_synced(world, registry.path(), options.site_directory, line); !kept) {
      return refuse(kept.error().text);
    }
  }
  if (options.json) {
    world.out << Json{{"device", options.device}, {"revoked", true}, {"already", already}}.dump() << "\n";
  } else {
    world.out << options.device << (already ? " was revoked before\n" : " is revoked\n");
  }
  return 0;
}

int devices(SiteWorld& world, const DevicesOptions& options, const std::string& answer) {
  Json json = Json::parse(answer, nullptr, false);
  if (!json.is_object() || !json.contains("devices") || !json["devices"].is_array()) {
    return failed(world, options.json, "the gateway's answer is not what was expected");
  }
  if (options.json) {
    world.out << json.dump() << "\n";
    return 0;
  }
  char line[256];
  std::snprintf(line, sizeof line, "%-24s %-9s %-20s %9s %9s %12s %9s %9s %7s\n", "DEVICE", "STATE", "LAST SEEN",
                "LAG s", "BACKLOG", "POINTS", "GAPS", "CLOCK ms", "BREAKS");
  world.out << line;
  auto number = [](const Json& device, const char* name) -> int64_t {
    auto it = device.find(name);
    return it != device.end() && it->is_number_integer() ? it->get<int64_t>() : 0;
  };
  auto number_text = [&](const Json& device, const char* name) -> std::string {
    auto it = device.find(name);
    return it != device.end() && it->is_number_integer() ? std::to_string(it->get<int64_t>()) : "-";
  };
  for (const auto& device : json["devices"]) {
    if (!device.is_object()) continue;
    auto text = [&](const char* name) {
      auto it = device.find(name);
      return it != device.end() && it->is_string() ? it->get<std::string>() : std::string("-");
    };
    auto lag = device.find("lag_ms");
    char lag_text[32] = "-";
    if (lag != device.end() && lag->is_number_integer()) {
      std::snprintf(lag_text, sizeof lag_text, "%.1f", static_cast<double>(lag->get<int64_t>()) / 1000.0);
    }
    std::snprintf(line, sizeof line, "%-24s %-9s %-20s %9s %9s %12s %9s %9s %7s\n", text("device").c_str(),
                  text("state").c_str(), iso_time(number(device, "last_seen_ms")).c_str(), lag_text,
                  number_text(device, "backlog_parcels").c_str(), number_text(device, "points").c_str(),
                  number_text(device, "gap_points").c_str(), number_text(device, "clock_offset_ms").c_str(),
                  number_text(device, "chain_breaks").c_str());
    world.out << line;
  }
  return 0;
}

}  // namespace lambda::cli
