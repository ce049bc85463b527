// The agent's configuration: fields with their defaults, and the table that reads, checks and explains them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "agent/door/doors.h"
#include "agent/live/live_lane.h"
#include "agent/memory/memory.h"
#include "agent/scrape/scrape_options.h"
#include "agent/source/host_sources.h"
#include "agent/source/statsd.h"
#include "agent/spool/journal.h"
#include "agent/spool/spool.h"
#include "agent/uplink/connection.h"
#include "base/config/program_keys.h"
#include "base/env/network.h"

namespace lambda::agent {

struct AgentConfig {
  std::string device;
  std::string state_dir = "/var/lib/lambda-agent";
  uint32_t series_max = kSeriesMaxDefault;
  uint64_t memory_bytes_max = 16u << 20;
  int64_t retention_ms = 600'000;
  int64_t seal_age_ms = 60'000;
  uint64_t parcel_bytes_max = 256u << 10;
  uint64_t reserve_bytes = 1u << 20;  // a file that is given up when the disk is full, so that what must be written can
  int64_t clock_step_ms = 500;        // a clock that disagrees by more was set: a new clock segment begins
  JournalOptions journal;
  SpoolOptions spool;
  uint32_t old_boots_max = 16;  // read into RAM at a time
  ConnectionOptions uplink;
  LiveOptions live;
  HttpOptions http;
  bool doors_enabled = true;
  DoorOptions doors;
  HostSourceOptions sources;
  StatsdOptions statsd;
  std::vector<ScrapeOptions> scrape;
  LogSettings log;

  AgentConfig() { http.port = 8600; }
};

// The table writes into `config`, which must outlive it.
std::unique_ptr<ConfigTable> agent_config_table(AgentConfig& config);

// Reads and checks a file. Errors as ConfigTable::load().
Result<AgentConfig> load_agent_config(Disk& disk, const Environment& environment, const std::string& path);

}  // namespace lambda::agent
