// The C API of what outlives a reset: checks its arguments and hands on.
#include "device_flash.h"

namespace {

using lambda::Device;
using lambda::DeviceFlash;

DeviceFlash& of(lam_flash* flash) {
  return *reinterpret_cast<DeviceFlash*>(flash);
}

bool is_power_of_two(uint32_t number) {
  return number != 0 && (number & (number - 1)) == 0;
}

bool is_valid(const lam_flash_port* port, const lam_flash_config& config) {
  return port != nullptr && port->erase != nullptr && port->write != nullptr && port->read != nullptr &&
         is_power_of_two(port->page_bytes) && port->page_bytes >= 64 && port->page_bytes <= 131'072 &&
         is_power_of_two(port->write_bytes) && port->write_bytes <= 32 && config.banks >= 2 &&
         config.banks <= LAM_FLASH_BANKS_MAX && port->pages / config.banks >= 1 &&
         uint64_t{port->pages} * port->page_bytes <= UINT32_MAX &&
         uint64_t{port->pages / config.banks} * port->page_bytes >= 1024;
}

lam_flash_config with_defaults(const lam_flash_config* given) {
  lam_flash_config config = given != nullptr ? *given : lam_flash_config{};
  if (config.banks == 0) config.banks = 2;
  return config;
}

}  // namespace

extern "C" {

size_t lam_flash_memory(const lam_config* device, const lam_flash_port* port, const lam_flash_config* config) {
  if (device == nullptr || Device::memory_min(*device) == 0 || !is_valid(port, with_defaults(config))) return 0;
  return DeviceFlash::memory(*device);
}

lam_status lam_flash_start(void* memory, size_t size, lam_device* device, const lam_flash_port* port,
                           const lam_flash_config* config, lam_flash** flash, lam_flash_report* report) {
  const lam_flash_config wanted = with_defaults(config);
  if (memory == nullptr || reinterpret_cast<uintptr_t>(memory) % 8 != 0 || device == nullptr || flash == nullptr ||
      !is_valid(port, wanted)) {
    return LAM_E_INVALID;
  }
  Device& of_device = *reinterpret_cast<Device*>(device);
  if (size < DeviceFlash::memory(of_device.config())) return LAM_E_MEMORY;
  DeviceFlash* const made = DeviceFlash::make(memory, of_device, *port, wanted);
  lam_flash_report found;
  made->start(&found);
  if (report != nullptr) *report = found;
  *flash = reinterpret_cast<lam_flash*>(made);
  return LAM_OK;
}

uint32_t lam_flash_poll(lam_flash* flash) {
  return of(flash).poll();
}
lam_status lam_flash_save(lam_flash* flash) {
  return of(flash).save();
}
void lam_flash_get_counters(const lam_flash* flash, lam_flash_counters* counters) {
  reinterpret_cast<const DeviceFlash*>(flash)->counters(counters);
}

const char* lam_flash_found_name(lam_flash_found found) {
  switch (found) {
    case LAM_FLASH_RESTORED:
      return "restored";
    case LAM_FLASH_EMPTY:
      return "empty";
    case LAM_FLASH_DAMAGED:
      return "damaged";
    case LAM_FLASH_OTHER_VERSION:
      return "other_version";
    case LAM_FLASH_OTHER_DEVICE:
      return "other_device";
    case LAM_FLASH_OTHER_SERIES:
      return "other_series";
    case LAM_FLASH_OTHER_LIMITS:
      return "other_limits";
    case LAM_FLASH_WORN:
      return "worn";
  }
  return "unknown";
}

}  // extern "C"
