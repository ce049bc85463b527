/* A device in C, as a stranger would begin: one series, a minute of it, read back. */
#include <lambda/lambda.h>
#include <stdio.h>
#include <stdlib.h>

static int64_t now_ms = 1000;
static int published;

static int64_t mono_ms(void* context) {
  return *(int64_t*)context;
}
static uint64_t draw(void* context) {
  return (uint64_t)mono_ms(context) * 0x9E3779B97F4A7C15u;
}
/* No real hash: a stranger's first program has none yet, and nobody checks it here. */
static void sha256_start(lam_hash_state* state) {
  state->opaque[0] = 0;
}
static void sha256_update(lam_hash_state* state, const uint8_t* bytes, size_t size) {
  for (size_t i = 0; i < size; ++i) state->opaque[0] = (uint8_t)(state->opaque[0] * 31 + bytes[i]);
}
static void sha256_finish(lam_hash_state* state, uint8_t digest[32]) {
  for (size_t i = 0; i < 32; ++i) digest[i] = state->opaque[0];
}
static bool sign(void* context, const uint8_t digest[32], uint8_t signature[64]) {
  (void)context;
  for (size_t i = 0; i < 64; ++i) signature[i] = digest[i % 32];
  return true;
}
static bool publish(void* context, lam_topic topic, const uint8_t* bytes, size_t size) {
  (void)context, (void)bytes;
  if (topic == LAM_UP && size > 0) ++published;
  return true;
}

static void expect(bool condition, const char* what) {
  if (condition) return;
  fprintf(stderr, "stranger.c: %s\n", what);
  exit(1);
}

int main(void) {
  static _Alignas(8) uint8_t memory[64 * 1024];
  static const lam_series_spec kTemperature = {"temperature_celsius", NULL, 0, LAM_GAUGE, LAM_DEC, 2, "celsius"};
  const lam_config config = {.site = "hall-2", .device = "press-7", .series_max = 4};
  const lam_port port = {&now_ms, mono_ms, NULL, draw, sha256_start, sha256_update, sha256_finish, sign, publish};
  lam_device* device;
  lam_series temperature;
  expect(lam_init(memory, sizeof memory, &config, &port, &device) == LAM_OK, "lam_init");
  expect(lam_declare(device, &kTemperature, &temperature) == LAM_OK, "lam_declare");
  lam_connected(device);
  for (int64_t i = 0; i < 60; ++i, now_ms += 1000) {
    expect(lam_append_dec(device, temperature, 2100 + i) == LAM_OK, "lam_append_dec");
    lam_poll(device);
  }
  lam_summary summary;
  expect(lam_summarise(device, temperature, INT64_MIN, INT64_MAX, &summary) == LAM_OK, "lam_summarise");
  expect(summary.count == 60 && summary.min == 21.0 && summary.max == 21.59, "what was appended is what is read");
  expect(published > 0, "it says hello when it is connected");
  printf("stranger.c: %d points, mean %.3f\n", (int)summary.count, summary.mean);
  return 0;
}
