// Units of systemd, with node_exporter's names: node_systemd_unit_state{name,state,type} (1 for the state that it is
// in, 0 for the others), node_systemd_units{state} over all units, node_systemd_system_running, node_systemd_version;
// and lambda_systemd_answers_failed_total, lambda_systemd_units_refused.
//
// A collection tells what was answered since the one before and asks again, so points are up to one interval older than
// their time says. Without a socket nothing is told and nothing is an error: there is no systemd here. Of an answer
// that does not come no points are made, the collection fails, and the next one asks again.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/source/device_table.h"
#include "agent/source/source.h"
#include "base/env/service_manager.h"

namespace lambda::agent {

class SystemdSource final : public Source {
 public:
  SystemdSource(std::unique_ptr<ServiceManager> manager, int64_t interval_ms);
  std::string_view name() const override { return "systemd"; }
  int64_t interval_ms() const override { return interval_ms_; }
  Status collect(Sink& sink, int64_t time_ms) override;

 private:
  static constexpr size_t kStates = 5;
  struct Unit {
    std::string type;
    std::array<SeriesSlot, kStates> slots;
  };

  void tell(Sink& sink, const ServiceStates& states);
  void tell_units(Sink& sink, const ServiceStates& states);

  const int64_t interval_ms_;
  bool asking_ = false;
  std::optional<ServiceStates> answer_;
  std::optional<Error> failure_;
  uint64_t failures_ = 0;
  DeviceTable<Unit> units_;  // by name and type: a unit whose type changes is another series
  std::array<SeriesSlot, kStates> summary_;
  SeriesSlot running_, failed_slot_, refused_slot_;
  std::string version_;
  SeriesSlot version_slot_;
  std::string key_;
  const std::unique_ptr<ServiceManager> manager_;  // last: nothing of it runs when the rest goes
};

}  // namespace lambda::agent
