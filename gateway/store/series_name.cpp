#include "gateway/store/series_name.h"

#include "base/crypto/crypto.h"

namespace lambda::gateway {

std::string series_gid(const std::string& device, const std::string& canonical) {
  const std::string bytes = device + '\0' + canonical;
  const Digest digest = sha256({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
  return std::string(digest.begin(), digest.begin() + 16);
}

std::string canonical_name(const std::string& name, const std::vector<std::pair<std::string, std::string>>& labels) {
  std::string out = name + '{';
  for (const auto& [label, value] : labels) {
    if (out.back() != '{') out += ',';
    out += label + "=\"";
    for (const char c : value) {
      if (c == '"' || c == '\\') out += '\\';
      out += c == '\n' ? std::string("\\n") : std::string(1, c);
    }
    out += '"';
  }
  return out + '}';
}

bool parse_canonical(const std::string& canonical, std::string* name,
                     std::vector<std::pair<std::string, std::string>>* labels) {
  labels->clear();
  size_t at = canonical.find('{');
  if (at == std::string::npos || canonical.back() != '}') return false;
  *name = canonical.substr(0, at++);
  while (at + 1 < canonical.size()) {
    const size_t equals = canonical.find("=\"", at);
    if (equals == std::string::npos) return false;
    std::string label = canonical.substr(at, equals - at);
    std::string value;
    for (at = equals + 2; at < canonical.size() && canonical[at] != '"'; ++at) {
      if (canonical[at] == '\\' && at + 1 < canonical.size()) {
        ++at;
        value += canonical[at] == 'n' ? '\n' : canonical[at];
      } else {
        value += canonical[at];
      }
    }
    if (++at >= canonical.size()) return false;
    if (canonical[at] == ',') ++at;
    labels->emplace_back(std::move(label), std::move(value));
  }
  return true;
}

}  // namespace lambda::gateway
