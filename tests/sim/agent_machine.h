// A host with an agent: its disk outlives the runs of the agent. The agent collects from a source that remembers what
// it gave, so that the balance needs to ask nobody else.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/node.h"
#include "tests/sim/machines.h"

namespace lambda::sim {

class AgentMachine final : public Machine {
 public:
  AgentMachine(World& world, Oracle& oracle, std::string name, uint32_t series);
  ~AgentMachine() override { kill(); }
  void start() override;
  void kill() override;
  void power_cut();
  void stop();  // as SIGTERM does

  const PublicKey& public_key() const { return public_key_; }
  void make_no_more() { making_ = false; }
  uint64_t collected() const { return collected_.size(); }
  // Points that it still has to bring away; 0 when it is at rest.
  uint64_t waiting() const;
  // From now on, or no longer: what is collected may be unmade, because the disk takes nothing; rows wait for a sync.
  void appends_fail(bool fails);
  void syncs_fail(bool fails);
  // While it is not running: a file of its spool is gone, one that newer files speak of.
  void lose_spool_file();
  // Every disk fault is over.
  void disk_works() {
    media.faults = DiskFaults();
    appends_fail(false);
    syncs_fail(false);
  }

  // What is stored of this machine against what its source gave: nothing made up, nothing twice, no hole that no gap
  // names, and nothing missing but what a crash may take.
  void check(const SegmentContent& content) const;

 private:
  struct Collected {
    int64_t at_us = 0;
    int64_t time_ms = 0;
    uint32_t ref = 0;
  };
  class LedgerSource;
  struct Kept;
  void check_series(uint32_t ref, const Kept& kept) const;
  void crash_takes(int64_t last_us);
  bool excused(int64_t at_us) const;

  Oracle& oracle_;
  const uint32_t series_;
  const bool small_spool_;     // parcels are dropped when the gateway is away for a while
  const int64_t seal_age_ms_;  // the longer, the more only the journal has
  const uint32_t old_boots_max_;
  SimRandom key_random_;
  std::string key_hex_;
  PublicKey public_key_;
  std::unique_ptr<agent::Node> node_;
  std::map<uint64_t, Collected> collected_;  // by value: no two are equal
  uint64_t value_ = 0;
  bool making_ = true;
  bool stopping_ = false;
  bool files_vanished_ = false;
  std::vector<std::pair<int64_t, int64_t>> excuses_;  // when collected points may be lost, in microseconds
  int64_t appends_fail_from_us_ = -1;
  int64_t syncs_fail_from_us_ = 0, syncs_fail_until_us_ = -1;
};

}  // namespace lambda::sim
