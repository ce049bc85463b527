#include "gateway/broker/mosquitto_config.h"

#include <string_view>

namespace lambda::gateway {
namespace {

constexpr uint32_t kPacketHeadBytesMax = 1024;

}  // namespace

std::string mosquitto_conf(const MosquittoConfig& config) {
  std::string text = "# Written by lambda-gateway at every start of the broker; changes here are lost.\n";
  auto line = [&](std::string_view name, const std::string& value) {
    text.append(name).append(" ").append(value).append("\n");
  };
  // Only heeded when the gateway itself runs as root: the broker then stays the same user, who can read the keys.
  line("user", "root");
  line("per_listener_settings", "false");
  line("listener", std::to_string(config.port) + " " + config.address);
  line("tls_version", "tlsv1.2");  // and above
  line("cafile", config.ca_file);
  line("certfile", config.certificate_file);
  line("keyfile", config.key_file);
  line("crlfile", config.crl_file);
  line("require_certificate", "true");
  // User name and client id are both the certificate's common name, whatever the client says: nobody can act, or end a
  // session, in another's name.
  line("use_identity_as_username", "true");
  line("use_username_as_clientid", "true");
  line("allow_anonymous", "false");
  line("acl_file", config.acl_file);
  // Nothing is left to the broker's memory of yesterday: acks come from the gateway.
  line("persistence", "false");
  line("queue_qos0_messages", "false");
  line("set_tcp_nodelay", "true");
  line("sys_interval", "0");
  line("max_connections", std::to_string(config.limits.connections_max));
  // Looked at when a packet's head has come, so that nobody makes the broker hold more. The rest is for the topic.
  line("max_packet_size", std::to_string(config.limits.message_bytes_max + kPacketHeadBytesMax));
  line("max_inflight_messages", std::to_string(config.limits.inflight_messages_max));
  line("max_inflight_bytes", std::to_string(config.limits.inflight_bytes_max));
  line("max_queued_messages", std::to_string(config.limits.queued_messages_max));
  line("max_queued_bytes", std::to_string(config.limits.queued_bytes_max));
  line("connection_messages", "false");
  line("log_dest", "stderr");
  line("log_type", "error");
  line("log_type", "warning");
  return text;
}

std::string mosquitto_acl(const MosquittoConfig& config) {
  const std::string root = "lambda/v1/" + config.site + "/";
  std::string text = "# Written by lambda-gateway at every start of the broker; changes here are lost.\n";
  text += "user " + config.gateway + "\ntopic readwrite " + root + "#\n\n";
  for (const std::string& reader : config.alert_readers) {
    text += "user " + reader + "\ntopic read " + root + "alerts/#\n\n";
  }
  for (const char* topic : {"up", "live", "state"}) text += "pattern write " + root + "%u/" + topic + "\n";
  text += "pattern read " + root + "%u/down\n";
  text += "pattern read " + root + "interest/#\n";  // a pattern: plain topics would be for anonymous clients
  return text;
}

}  // namespace lambda::gateway
