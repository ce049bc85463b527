// What our own code reads of an HTTP request: any bytes as a target, a form, a content type and credentials. The input
// is these four, ended by line breaks. What is decoded is never longer than what came, nothing decodes in two ways, and
// only the token itself opens.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/os/http_text.h"

using namespace lambda;

namespace {

void expect(bool condition) {
  if (!condition) std::abort();
}

std::string encode(const std::string& text) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<uint8_t>(c);
    out += '%';
    out += kDigits[byte >> 4];
    out += kDigits[byte & 15];
  }
  return out;
}

size_t bytes_of(const HttpRequest& request) {
  size_t bytes = 0;
  for (const auto& [name, value] : request.parameters) bytes += name.size() + value.size();
  return bytes;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 64 * 1024) return 0;
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  const auto take = [&] {
    const size_t end = rest.find('\n');
    const std::string part(rest.substr(0, end));  // its own allocation: a read past its end is seen
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
    return part;
  };
  const std::string target = take(), type = take(), form = take(), authorization = take(), token = take();

  HttpRequest request;
  const std::string wrong = read_http_target(target, request);
  if (wrong.empty()) {
    expect(!request.path.empty() && request.path[0] == '/');
    expect(request.path.size() + bytes_of(request) <= target.size());
    expect(request.parameters.size() <= kHttpParametersMax);
    // What was read, written in full and read again, is the same.
    std::string written = "/" + encode(request.path.substr(1));
    char sign = '?';
    for (const auto& [name, value] : request.parameters) {
      written += sign + encode(name) + "=" + encode(value);
      sign = '&';
    }
    HttpRequest again;
    expect(read_http_target(written, again).empty());
    expect(again.path == request.path && again.parameters.size() == request.parameters.size());
    expect(again.parameters == request.parameters);
  }
  const size_t before = request.parameters.size(), bytes = bytes_of(request);
  read_http_form(type, form, request);
  expect(request.parameters.size() <= before + kHttpParametersMax && bytes_of(request) <= bytes + form.size());

  const bool open = has_bearer_token(authorization, token);
  expect(open == (authorization.size() >= 7 && authorization.substr(7) == token &&
                  has_bearer_token(authorization.substr(0, 7) + "x", "x")));
  return 0;
}
