// The ids of sites, devices and gateways: [a-z0-9-]{1,64}. They are parts of topics, file names and certificates, so
// nothing else may ever get into them. And the topics that they are parts of.
#pragma once

#include <optional>
#include <string_view>

namespace lambda::gateway {

inline constexpr bool valid_id(std::string_view id) {
  if (id.empty() || id.size() > 64) return false;
  for (char c : id) {
    if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-')) return false;
  }
  return true;
}

// "lambda/v1/<site>/<device>/<leaf>": device and leaf, views into `topic`. Nothing: a topic of another kind or site.
struct DeviceTopic {
  std::string_view device, leaf;
};
inline std::optional<DeviceTopic> device_topic(std::string_view topic, std::string_view site) {
  constexpr std::string_view kRoot = "lambda/v1/";
  if (!topic.starts_with(kRoot)) return std::nullopt;
  topic.remove_prefix(kRoot.size());
  if (topic.size() <= site.size() || !topic.starts_with(site) || topic[site.size()] != '/') return std::nullopt;
  topic.remove_prefix(site.size() + 1);
  const size_t slash = topic.find('/');
  if (slash == std::string_view::npos || !valid_id(topic.substr(0, slash))) return std::nullopt;
  return DeviceTopic{topic.substr(0, slash), topic.substr(slash + 1)};
}

}  // namespace lambda::gateway
