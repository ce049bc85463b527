// The linker puts these in the place of the functions they are named after (--wrap), and the firmware knows nothing of
// it. Bugs of the firmware are planted here, too.
#include "tests/sim/board/witness.h"

#include "base/planted.h"
#include "tests/sim/board/world.h"

namespace {

lam_device* g_device = nullptr;
lam_flash* g_flash = nullptr;

}  // namespace

extern "C" {

lam_status __real_lam_init(void* memory, size_t size, const lam_config* config, const lam_port* port,
                           lam_device** device);
lam_status __real_lam_append_at(lam_device* device, lam_series series, int64_t time_ms, uint64_t bits);
lam_status __real_lam_flash_start(void* memory, size_t size, lam_device* device, const lam_flash_port* port,
                                  const lam_flash_config* config, lam_flash** flash, lam_flash_report* report);
uint32_t __real_lam_flash_poll(lam_flash* flash);
void __real_lam_get_counters(const lam_device* device, lam_counters* counters);

lam_status __wrap_lam_init(void* memory, size_t size, const lam_config* config, const lam_port* port,
                           lam_device** device) {
  const lam_status status = __real_lam_init(memory, size, config, port, device);
  if (status == LAM_OK) g_device = *device;
  return status;
}

lam_status __wrap_lam_append_at(lam_device* device, lam_series series, int64_t time_ms, uint64_t bits) {
  using namespace lambda::sim;
  const lam_status status = __real_lam_append_at(device, series, time_ms, bits);
  lam_point last{};
  if (status != LAM_OK || lam_last(device, series, &last) != LAM_OK) return status;  // never made
  say_value({Say::kMade, 0, 0, 0}, Made{lam_boot(device), series, last.ordinal, time_ms, bits});
  return status;
}

lam_status __wrap_lam_flash_start(void* memory, size_t size, lam_device* device, const lam_flash_port* port,
                                  const lam_flash_config* config, lam_flash** flash, lam_flash_report* report) {
  using namespace lambda::sim;
  lam_flash_report found{};
  const lam_status status = __real_lam_flash_start(memory, size, device, port, config, flash, &found);
  if (report != nullptr) *report = found;
  if (status != LAM_OK) return status;
  g_flash = *flash;
  say_value({Say::kRestored, 0, 0, 0}, Restored{lam_boot(device), found});
  return status;
}

uint32_t __wrap_lam_flash_poll(lam_flash* flash) {
  return lambda::planted("board_forgets_flash") ? lam_poll(g_device) : __real_lam_flash_poll(flash);
}

void __wrap_lam_get_counters(const lam_device* device, lam_counters* counters) {
  __real_lam_get_counters(device, counters);
  if (lambda::planted("board_believes_silence")) counters->timeouts = 0;
}

}  // extern "C"

namespace lambda::sim {

Counts counts() {
  Counts out;
  if (g_device == nullptr) return out;
  lam_counters counters{};
  __real_lam_get_counters(g_device, &counters);
  out.boot = lam_boot(g_device);
  out.points_waiting = counters.points_waiting;
  out.points_dropped = counters.points_dropped;
  if (g_flash != nullptr) lam_flash_get_counters(g_flash, &out.flash);
  return out;
}

}  // namespace lambda::sim
