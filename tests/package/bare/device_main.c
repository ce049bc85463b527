/* Firmware in C with all that the SDK has and no image chooses: series, parcels, uplink, reading. The port does nothing
 * but answer: what is proven here is what the SDK needs of a board, by linking it with no operating system and no heap.
 * It is not run. */
#include "lambda/lambda.h"

static int64_t mono_ms(void* context) {
  return ++*(int64_t*)context;
}
static uint64_t draw(void* context) {
  return (uint64_t)mono_ms(context) * 0x9E3779B97F4A7C15u;
}
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
  (void)context, (void)topic, (void)bytes;
  return size > 0;
}

static const lam_series_spec kTemperature = {"temperature_celsius", 0, 0, LAM_GAUGE, LAM_DEC, 2, "celsius"};
static const lam_series_spec kDrops = {"drops_total", 0, 0, LAM_COUNTER, LAM_I64, 0, 0};
static const lam_series_spec kLevel = {"level_metres", 0, 0, LAM_GAUGE, LAM_F64, 0, "metres"};

/* What an image has only when it names it; boards/sizes asks what each takes. */
#ifdef CODEC
static const lam_codec* const kCodecs[] = {&CODEC};
#endif
#ifdef QUESTIONS
static _Alignas(8) uint8_t questions[4096];
#endif

static _Alignas(8) uint8_t memory[48 * 1024];
static int64_t clock_ms;
static volatile double mean;

int main(void) {
  const lam_config config = {.site = "hall-2",
                             .device = "press-7",
#ifdef CODEC
                             .codecs = kCodecs,
                             .codec_count = 1,
#endif
#ifdef REORDER
                             .reorder = LAM_REORDER,
#endif
                             .series_max = 16};
  const lam_port port = {.context = &clock_ms,
                         .mono_ms = mono_ms,
                         .random = draw,
                         .sha256_start = sha256_start,
                         .sha256_update = sha256_update,
                         .sha256_finish = sha256_finish,
                         .sign = sign,
                         .publish = publish};
  lam_device* device;
  if (lam_memory_min(&config) > sizeof memory || lam_init(memory, sizeof memory, &config, &port, &device) != LAM_OK) {
    return 1;
  }
#ifdef QUESTIONS
  if (lam_answer_questions(device, questions, sizeof questions) != LAM_OK) return 5;
#endif
  lam_series temperature, drops, level;
  if (lam_declare(device, &kTemperature, &temperature) != LAM_OK || lam_declare(device, &kDrops, &drops) != LAM_OK ||
      lam_declare(device, &kLevel, &level) != LAM_OK) {
    return 2;
  }
  lam_connected(device);
  for (int i = 0; i < 100; ++i) {
    if (lam_append_dec(device, temperature, 2150 + i % 5) != LAM_OK || lam_append_i64(device, drops, i) != LAM_OK ||
        lam_append_f64(device, level, mean) != LAM_OK || lam_append_at(device, level, i, 0) != LAM_OK) {
      return 3;
    }
    lam_poll(device);
  }
  lam_incoming(device, LAM_DOWN, (const uint8_t*)"", 0);
  lam_incoming(device, LAM_INTEREST, (const uint8_t*)"", 0);
  lam_disconnected(device);
  lam_flush(device);
  lam_point last, points[4];
  size_t count;
  lam_summary summary;
  if (lam_last(device, drops, &last) != LAM_OK ||
      lam_range(device, level, INT64_MIN, last.time_ms, points, 4, &count) != LAM_OK ||
      lam_summarise(device, temperature, INT64_MIN, INT64_MAX, &summary) != LAM_OK) {
    return 4;
  }
  mean = summary.mean;
  mean = points[0].value;
#ifdef COUNTERS
  lam_counters counters;
  lam_get_counters(device, &counters);
  clock_ms = (int64_t)counters.points_made;
#endif
  return 0;
}
