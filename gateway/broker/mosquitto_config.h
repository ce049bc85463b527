// What a child mosquitto is told. Text in, text out; the reasons stand in
// docs/decisions/0002-sessions-and-revocation.md.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace lambda::gateway {

struct BrokerLimits {
  uint32_t connections_max = 4096;
  uint32_t message_bytes_max = 4u << 20;  // who sends a larger one is disconnected; ingest's own bound is lower
  uint32_t inflight_messages_max = 2000;  // sent to one client and not acknowledged by it
  uint64_t inflight_bytes_max = 32u << 20;
  uint32_t queued_messages_max = 20'000;  // waiting for one client; further ones are dropped, and still PUBACKed
  uint64_t queued_bytes_max = 64u << 20;
};

struct MosquittoConfig {
  std::string site, gateway;  // ids
  std::string address = "127.0.0.1";
  uint16_t port = 0;
  std::string ca_file, certificate_file, key_file, crl_file, acl_file;
  BrokerLimits limits;
  std::vector<std::string> alert_readers;  // common names of certificates
};

std::string mosquitto_conf(const MosquittoConfig& config);
// A device may write its own up, live and state, and read its own down and the interests; the gateway may do anything
// within its site. A reader of alerts may read what rules publish. Nobody else may do anything.
std::string mosquitto_acl(const MosquittoConfig& config);

}  // namespace lambda::gateway
