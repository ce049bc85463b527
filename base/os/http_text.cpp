#include "base/os/http_text.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <map>
#include <utility>

#include "base/crypto/crypto.h"

namespace lambda {
namespace {

int digit_of(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

// `prefix` is in lower case.
bool begins_with(std::string_view text, std::string_view prefix) {
  return text.size() >= prefix.size() &&
         std::equal(prefix.begin(), prefix.end(), text.begin(), [](char a, char b) { return a == lower(b); });
}

// %XX, and + as a space where forms are meant. False: malformed.
bool decode_percent(std::string_view text, bool form, std::string* out) {
  out->clear();
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%') {
      if (i + 2 >= text.size()) return false;
      const int high = digit_of(text[i + 1]), low = digit_of(text[i + 2]);
      if (high < 0 || low < 0) return false;
      *out += static_cast<char>(high << 4 | low);
      i += 2;
    } else {
      *out += form && text[i] == '+' ? ' ' : text[i];
    }
  }
  return true;
}

bool decode_form(std::string_view text, std::multimap<std::string, std::string>* parameters) {
  while (!text.empty()) {
    const auto end = text.find('&');
    const auto pair = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    if (pair.empty()) continue;
    if (parameters->size() >= kHttpParametersMax) return false;
    const auto equals = pair.find('=');
    std::string name, value;
    if (!decode_percent(pair.substr(0, equals), true, &name)) return false;
    if (equals != std::string_view::npos && !decode_percent(pair.substr(equals + 1), true, &value)) return false;
    parameters->emplace(std::move(name), std::move(value));
  }
  return true;
}

// Of "name", "name:port", "1.2.3.4:port", "[::1]:port".
bool is_local_name(std::string_view host) {
  if (host.starts_with('[')) return true;
  host = host.substr(0, host.find(':'));
  const bool address = host.find_first_not_of("0123456789.") == std::string_view::npos;
  return !host.empty() && (address || host.find('.') == std::string_view::npos || host.ends_with(".localhost"));
}

// "null" is a page of nowhere, such as a file or a sandboxed frame.
bool is_local_origin(std::string_view origin) {
  const auto scheme = origin.find("://");
  return scheme != std::string_view::npos && is_local_name(origin.substr(scheme + 3));
}

}  // namespace

std::string read_http_target(std::string_view target, HttpRequest& request) {
  const auto query = target.find('?');
  if (target.empty() || target[0] != '/' || !decode_percent(target.substr(0, query), false, &request.path)) {
    return "the path cannot be read";
  }
  if (query != std::string_view::npos && !decode_form(target.substr(query + 1), &request.parameters)) {
    return "the parameters cannot be read, or are more than " + std::to_string(kHttpParametersMax);
  }
  return {};
}

void read_http_form(std::string_view content_type, std::string_view body, HttpRequest& request) {
  if (!begins_with(content_type, "application/x-www-form-urlencoded")) return;
  std::multimap<std::string, std::string> form;
  if (decode_form(body, &form)) request.parameters.merge(form);
}

bool has_bearer_token(std::string_view authorization, std::string_view token) {
  constexpr std::string_view kScheme = "bearer ";
  if (!begins_with(authorization, kScheme)) return false;
  const auto digest = [](std::string_view text) {
    return sha256({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  };
  // Over digests, so that not even the length can be timed.
  const Digest x = digest(authorization.substr(kScheme.size())), y = digest(token);
  return CRYPTO_memcmp(x.data(), y.data(), x.size()) == 0;
}

bool asks_from_afar(std::string_view host, std::string_view origin) {
  return (!host.empty() && !is_local_name(host)) || (!origin.empty() && !is_local_origin(origin));
}

}  // namespace lambda
