// The gateway's configuration: fields with their defaults, and the table that reads, checks and explains them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/config/program_keys.h"
#include "base/env/network.h"
#include "gateway/broker/mosquitto_config.h"
#include "gateway/ingest/ingest.h"
#include "gateway/live/live_lane.h"
#include "gateway/questions/questions.h"
#include "gateway/rules/rules.h"
#include "gateway/store/store.h"

namespace lambda::gateway {

struct GatewayConfig {
  std::string gateway = "gateway-1";
  std::string site = "site-1";
  std::string site_directory = "/var/lib/lambda-gateway/site";
  int64_t registry_poll_ms = 200;

  std::string broker_mode = "child";  // "none": one that runs already, at broker_url
  std::string broker_url;
  std::string broker_program = "/usr/sbin/mosquitto";
  std::string broker_address = "0.0.0.0";
  uint16_t broker_port = 8883;            // 0: one is found and kept
  std::vector<std::string> broker_names;  // empty: localhost, 127.0.0.1 and the machine's name
  BrokerLimits broker_limits;
  std::vector<std::string> broker_alert_readers;
  uint64_t outgoing_bytes_max = 32u << 20;  // answers the broker has not taken yet

  HttpOptions http;
  LogSettings log;

  StoreOptions store;
  IngestLimits ingest;
  LiveOptions live;
  QuestionsOptions questions;
  QuarantineOptions quarantine;  // directory empty: <store.directory>/quarantine
  RulesOptions rules;            // directory empty: <store.directory>/rules

  GatewayConfig() {
    store.directory = "/var/lib/lambda-gateway/store";
    http.port = 8700;
  }

  // Connections to the broker are TLS: there is an authority, certificates and sessions that can be ended.
  bool uses_tls() const { return broker_mode == "child" || broker_url.rfind("mqtts://", 0) == 0; }
};

// The table writes into `config`, which must outlive it.
std::unique_ptr<ConfigTable> gateway_config_table(GatewayConfig& config);

// Reads and checks a file. Errors as ConfigTable::load().
Result<GatewayConfig> load_gateway_config(Disk& disk, const Environment& environment, const std::string& path);

}  // namespace lambda::gateway
