// The checks that several programs need.
#include <algorithm>
#include <charconv>

#include "base/config/config.h"
#include "base/http_url.h"

namespace lambda {
namespace {

tl::unexpected<Error> wrong(const std::string& value, const std::string& why) {
  return fail(ErrorCode::kInvalid, '"' + value + "\" " + why);
}

bool is_ipv4(std::string_view text) {
  int parts = 0;
  while (true) {
    const auto dot = text.find('.');
    const auto part = text.substr(0, dot);
    unsigned value = 0;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), value);
    if (error != std::errc{} || end != part.data() + part.size() || part.size() > 3 || value > 255) return false;
    ++parts;
    if (dot == std::string_view::npos) return parts == 4;
    text = text.substr(dot + 1);
  }
}

// Good enough to tell an address from a name; the system has the last word.
bool is_ipv6(std::string_view text) {
  if (std::count(text.begin(), text.end(), ':') < 2 || text.size() > 45) return false;
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') || c == ':' || c == '.';
  });
}

}  // namespace

TextCheck not_empty() {
  return [](const std::string& value) -> Status {
    if (value.empty()) return wrong(value, "is empty");
    return {};
  };
}

TextCheck identifier() {
  return [](const std::string& value) -> Status {
    const bool good = std::all_of(value.begin(), value.end(),
                                  [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; });
    if (!good || value.empty() || value.size() > 64) return wrong(value, "is not of the form [a-z0-9-]{1,64}");
    return {};
  };
}

TextCheck one_of(std::vector<std::string> words) {
  return [words = std::move(words)](const std::string& value) -> Status {
    if (std::find(words.begin(), words.end(), value) != words.end()) return {};
    std::string list;
    for (const auto& word : words) list += (list.empty() ? "" : ", ") + word;
    return wrong(value, "is not one of " + list);
  };
}

TextCheck mqtt_url() {
  return [](const std::string& value) -> Status {
    const bool plain = value.rfind("mqtt://", 0) == 0;
    const bool tls = value.rfind("mqtts://", 0) == 0;
    if (!plain && !tls) return wrong(value, "does not begin with mqtts:// or mqtt://");
    const std::string rest = value.substr(plain ? 7 : 8);
    const auto bracket = rest.rfind(']');
    const auto colon = rest.find(':', bracket == std::string::npos ? 0 : bracket);
    const std::string host = rest.substr(0, colon);
    if (host.empty()) return wrong(value, "has no host");
    const bool odd = std::any_of(host.begin(), host.end(), [](char c) {
      return static_cast<unsigned char>(c) <= 0x20 || c == '/' || c == '@' || c == '?' || c == '#' || c == 0x7F;
    });
    if (odd) return wrong(value, "is not of the form mqtts://host:port");
    if (colon == std::string::npos) {
      return wrong(value, "has no port; write " + value + (tls ? ":8883" : ":1883"));
    }
    const std::string port = rest.substr(colon + 1);
    unsigned number = 0;
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
    if (error != std::errc{} || end != port.data() + port.size() || number == 0 || number > 65535) {
      return wrong(value, "has a port that is no number from 1 to 65535");
    }
    return {};
  };
}

TextCheck http_url() {
  return [](const std::string& value) -> Status {
    if (auto parsed = parse_http_url(std::string_view(value).substr(0, value.find('?'))); !parsed) {
      return tl::unexpected(parsed.error());
    }
    return {};
  };
}

TextCheck listen_address() {
  return [](const std::string& value) -> Status {
    if (!is_ipv4(value) && !is_ipv6(value)) return wrong(value, "is no IP address");
    return {};
  };
}

}  // namespace lambda
