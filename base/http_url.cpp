#include "base/http_url.h"

#include <algorithm>

namespace lambda {

Result<HttpUrl> parse_http_url(std::string_view url) {
  const auto bad = [whole = url](const std::string& why) {
    return fail(ErrorCode::kInvalid,
                "\"" + std::string(whole) + "\" " + why + "; write http://host:port or https://host:port");
  };
  HttpUrl out;
  std::string_view rest = url;
  if (rest.starts_with("http://")) {
    rest.remove_prefix(7);
  } else if (rest.starts_with("https://")) {
    out.tls = true;
    rest.remove_prefix(8);
  } else {
    return bad("begins with neither http:// nor https://");
  }
  for (const char c : rest) {
    if (c <= ' ' || c == 0x7F || c == '?' || c == '#' || c == '@' || c == '"') {
      return bad("has a character that is not allowed here");
    }
  }
  const size_t slash = rest.find('/');
  out.path = slash == std::string_view::npos ? "/" : std::string(rest.substr(slash));
  while (out.path.size() > 1 && out.path.back() == '/') {
    out.path.pop_back();
  }
  std::string_view authority = rest.substr(0, slash);
  if (authority.starts_with('[')) {
    const size_t end = authority.find(']');
    if (end == std::string_view::npos) {
      return bad("has no ] behind its address");
    }
    out.host = authority.substr(1, end - 1);
    authority.remove_prefix(end + 1);
  } else {
    out.host = authority.substr(0, authority.find(':'));
    authority.remove_prefix(out.host.size());
  }
  if (out.host.empty()) {
    return bad("has no host");
  }
  if (authority.empty()) {
    out.port = out.tls ? "443" : "80";
    return out;
  }
  out.port = authority.substr(1);
  const bool digits = std::ranges::all_of(out.port, [](char c) { return c >= '0' && c <= '9'; });
  if (authority[0] != ':' || out.port.empty() || out.port.size() > 5 || !digits || std::stoi(out.port) > 65535) {
    return bad("has no port of 1 to 65535");
  }
  return out;
}

std::string host_and_port(const HttpUrl& url) {
  const bool ipv6 = url.host.find(':') != std::string::npos;
  return (ipv6 ? "[" + url.host + "]" : url.host) + ":" + url.port;
}

}  // namespace lambda
