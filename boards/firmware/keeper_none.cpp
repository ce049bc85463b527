#include "boards/firmware/keeper.h"

namespace lambda::boards {

std::span<uint8_t> Keeper::reserve(const lam_config&, std::span<uint8_t> memory) {
  return memory;
}
void Keeper::start(lam_device* device) {
  device_ = device;
}
uint32_t Keeper::poll() {
  return lam_poll(device_);
}
void Keeper::look_at_power() {}

}  // namespace lambda::boards
