// What a source remembers about the devices of its file, so that a collection neither hashes labels nor allocates: the
// series of each field, asked of the sink once. Devices may come, go, come back and change their order.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "agent/source/source.h"

namespace lambda::agent {

inline constexpr size_t kDevicesMax = 4096;                 // of one source; further ones are counted and left out
inline constexpr uint32_t kDeviceIdleCollectionsMax = 600;  // unseen for longer: forgotten
inline constexpr uint32_t kRefusedCollections = 60;  // a series the sink refused is asked for again after as many

// One series of one device.
struct SeriesSlot {
  SeriesRef ref = 0;
  uint32_t epoch = 0;  // of the sink when it was asked
  bool known = false;
  uint32_t wait = 0;  // collections until a refused series is asked for again
};

// Appends `bits` to the slot's series. `make_spec()` is called only when the series has to be asked for. Returns false
// if the sink refuses the series.
template <class MakeSpec>
bool put(Sink& sink, SeriesSlot& slot, uint64_t bits, MakeSpec&& make_spec) {
  if (slot.known && slot.epoch != sink.epoch()) slot.known = false;
  if (!slot.known) {
    if (slot.wait > 0) {
      --slot.wait;
      return false;
    }
    const auto ref = sink.series(make_spec());
    if (!ref) {
      slot.wait = kRefusedCollections;
      return false;
    }
    slot.ref = *ref;
    slot.epoch = sink.epoch();
    slot.known = true;
  }
  sink.append(slot.ref, bits);
  return true;
}

template <class Payload>
class DeviceTable {
 public:
  struct Device {
    std::string key;
    bool wanted = true;  // by include and exclude
    bool seen = false;   // in this collection
    uint32_t idle = 0;
    Payload payload{};
  };

  void begin() {
    cursor_ = 0;
    for (Device& device : devices_) device.seen = false;
  }

  // The device of this key, or null. Keys that come in the order of the collection before are found at once.
  Device* find(std::string_view key) {
    for (size_t step = 0; step < devices_.size(); ++step) {
      const size_t index = cursor_ + step < devices_.size() ? cursor_ + step : cursor_ + step - devices_.size();
      if (devices_[index].key != key) continue;
      cursor_ = index + 1 == devices_.size() ? 0 : index + 1;
      return &devices_[index];
    }
    return nullptr;
  }

  // When there are kDevicesMax already, the one that was not seen for longest gives its place; null when all were there
  // a moment ago. Pointers are valid until the next add() or end().
  Device* add(std::string_view key, bool wanted) {
    if (devices_.size() >= kDevicesMax) {
      const auto idlest = std::max_element(devices_.begin(), devices_.end(),
                                           [](const Device& a, const Device& b) { return idle_of(a) < idle_of(b); });
      if (idle_of(*idlest) == 0) {
        ++refused_;
        return nullptr;
      }
      *idlest = Device{std::string(key), wanted, false, 0, {}};
      return &*idlest;
    }
    devices_.push_back(Device{std::string(key), wanted, false, 0, {}});
    return &devices_.back();
  }

  void end() {
    bool forget = false;
    for (Device& device : devices_) {
      device.idle = device.seen ? 0 : device.idle + 1;
      forget = forget || device.idle > kDeviceIdleCollectionsMax;
    }
    if (forget) std::erase_if(devices_, [](const Device& d) { return d.idle > kDeviceIdleCollectionsMax; });
  }

  template <class Predicate>
  bool any(Predicate&& holds) const {
    return std::any_of(devices_.begin(), devices_.end(), [&](const Device& device) { return holds(device.payload); });
  }

  static uint32_t idle_of(const Device& device) { return device.seen ? 0 : device.idle; }
  size_t size() const { return devices_.size(); }
  uint64_t refused() const { return refused_; }

 private:
  std::vector<Device> devices_;
  size_t cursor_ = 0;
  uint64_t refused_ = 0;
};

}  // namespace lambda::agent
