#include "firmware.h"

#include <stddef.h>

static const lam_label kKitchen[] = {{"room", "kitchen"}};
static const lam_series_spec kTemperature = {.name = "room_temperature",
                                             .labels = kKitchen,
                                             .label_count = 1,
                                             .kind = LAM_GAUGE,
                                             .type = LAM_DEC,
                                             .scale = 2,
                                             .unit = "celsius"};
static const lam_series_spec kDoor = {.name = "door_open", .kind = LAM_STATE, .type = LAM_STATE64};

lam_status firmware_start(firmware* it, const lam_port* port) {
  const lam_config config = {.site = "home", .device = "thermometer-1", .series_max = 2};
  lam_status status = lam_init(it->memory, sizeof it->memory, &config, port, &it->device);
  if (status == LAM_OK) status = lam_declare(it->device, &kTemperature, &it->temperature);
  if (status == LAM_OK) status = lam_declare(it->device, &kDoor, &it->door);
  return status;
}

lam_status firmware_measure(firmware* it, int64_t centidegrees, bool door_open) {
  const lam_status status = lam_append_dec(it->device, it->temperature, centidegrees);
  return status != LAM_OK ? status : lam_append_state(it->device, it->door, door_open ? 1 : 0);
}

lam_status firmware_mean_of_last_minute(firmware* it, double* mean) {
  lam_summary summary;
  const int64_t now = lam_now_ms(it->device);
  const lam_status status = lam_summarise(it->device, it->temperature, now - 60000, now, &summary);
  *mean = summary.mean;
  return status;
}
