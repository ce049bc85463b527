/* The firmware of device_main.c, and what outlives a reset: what is proven is that flash asks no more of a board. */
#define main without_flash
#include "device_main.c"
#undef main

#include "lambda/flash.h"

static uint8_t cells[4 * 1024];

static bool erase(void* context, uint32_t page) {
  (void)context;
  for (size_t i = 0; i < 1024; ++i) cells[page * 1024 + i] = 0xFF;
  return true;
}
static bool write_flash(void* context, uint32_t address, const uint8_t* bytes, size_t size) {
  (void)context;
  for (size_t i = 0; i < size; ++i) cells[address + i] &= bytes[i];
  return true;
}
static bool read_flash(void* context, uint32_t address, uint8_t* bytes, size_t size) {
  (void)context;
  for (size_t i = 0; i < size; ++i) bytes[i] = cells[address + i];
  return true;
}

static _Alignas(8) uint8_t flash_memory[3584];

int main(void) {
  const lam_config config = {.site = "hall-2", .device = "press-7", .series_max = 16};
  const lam_port port = {.context = &clock_ms,
                         .mono_ms = mono_ms,
                         .random = draw,
                         .sha256_start = sha256_start,
                         .sha256_update = sha256_update,
                         .sha256_finish = sha256_finish,
                         .sign = sign,
                         .publish = publish};
  const lam_flash_port flash_port = {
      .page_bytes = 1024, .pages = 4, .write_bytes = 4, .erase = erase, .write = write_flash, .read = read_flash};
  lam_device* device;
  lam_flash* flash;
  lam_series series;
  if (without_flash() != 0) return 1;
  if (lam_init(memory, sizeof memory, &config, &port, &device) != LAM_OK) return 2;
  if (lam_declare(device, &kTemperature, &series) != LAM_OK) return 3;
  if (lam_flash_memory(&config, &flash_port, 0) > sizeof flash_memory ||
      lam_flash_start(flash_memory, sizeof flash_memory, device, &flash_port, 0, &flash, 0) != LAM_OK) {
    return 4;
  }
  for (int i = 0; i < 100; ++i) {
    if (lam_append_dec(device, series, 2150 + i % 5) != LAM_OK) return 5;
    lam_flash_poll(flash);
  }
  return lam_flash_save(flash) == LAM_OK ? 0 : 6;
}
