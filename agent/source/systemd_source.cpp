#include "agent/source/systemd_source.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <utility>

namespace lambda::agent {
namespace {

// Those that node_exporter tells of.
constexpr const char* kUnitStates[] = {"active", "activating", "deactivating", "inactive", "failed"};

SeriesSpec gauge(const char* name, LabelList labels) {
  return {name, std::move(labels), Kind::kGauge, ValueType::kI64, 0, ""};
}

// "252.38-1~deb12u1" -> 252.38
double number_of(const std::string& version) {
  return std::strtod(version.c_str(), nullptr);
}

}  // namespace

SystemdSource::SystemdSource(std::unique_ptr<ServiceManager> manager, int64_t interval_ms)
    : interval_ms_(interval_ms), manager_(std::move(manager)) {
  static_assert(std::size(kUnitStates) == kStates);
}

void SystemdSource::tell_units(Sink& sink, const ServiceStates& states) {
  units_.begin();
  for (const ServiceUnit& unit : states.units) {
    key_.assign(unit.name).append(1, '\n').append(unit.type);
    auto* known = units_.find(key_);
    if (known == nullptr) known = units_.add(key_, true);
    if (known == nullptr || known->seen) continue;  // counted by the table; or a bus that names one twice
    known->seen = true;
    for (size_t i = 0; i < kStates; ++i) {
      put(sink, known->payload.slots[i], unit.state == kUnitStates[i] ? 1 : 0, [&] {
        return gauge("node_systemd_unit_state", {{"name", unit.name}, {"state", kUnitStates[i]}, {"type", unit.type}});
      });
    }
  }
  units_.end();
}

void SystemdSource::tell(Sink& sink, const ServiceStates& states) {
  tell_units(sink, states);
  for (size_t i = 0; i < kStates; ++i) {
    const auto count = std::count(states.states_of_all.begin(), states.states_of_all.end(), kUnitStates[i]);
    put(sink, summary_[i], static_cast<uint64_t>(count), [&] {
      return gauge("node_systemd_units", {{"state", kUnitStates[i]}});
    });
  }
  put(sink, running_, states.system == "running" ? 1 : 0, [] { return gauge("node_systemd_system_running", {}); });
  if (std::exchange(version_, states.version) != states.version) version_slot_ = {};
  put(sink, version_slot_, std::bit_cast<uint64_t>(number_of(version_)), [&] {
    SeriesSpec spec = gauge("node_systemd_version", {{"version", version_}});
    spec.type = ValueType::kF64;
    return spec;
  });
  put(sink, refused_slot_, states.units_left_out + units_.refused(),
      [] { return gauge("lambda_systemd_units_refused", {}); });
}

Status SystemdSource::collect(Sink& sink, int64_t) {
  const std::optional<Error> failure = std::exchange(failure_, std::nullopt);
  if (answer_) tell(sink, *answer_);
  const bool there = answer_.has_value() || failures_ > 0;
  answer_.reset();
  if (there) {
    put(sink, failed_slot_, failures_, [] {
      SeriesSpec spec = gauge("lambda_systemd_answers_failed_total", {});
      spec.kind = Kind::kCounter;
      return spec;
    });
  }
  if (!std::exchange(asking_, true)) {
    manager_->ask([this](Result<ServiceStates> states) {
      asking_ = false;
      if (states) {
        answer_ = std::move(*states);
      } else if (states.error().code != ErrorCode::kNotFound) {
        failures_++;
        failure_ = states.error();
      }
    });
  }
  if (failure) return tl::unexpected(*failure);
  return {};
}

}  // namespace lambda::agent
