/* The SDK's functions with nothing in them. What an image takes that is linked with these is the program's own: it is
 * taken off the image with the SDK. */
#include "lambda/lambda.h"

size_t lam_memory_min(const lam_config* config) {
  (void)config;
  return 0;
}
lam_status lam_init(void* memory, size_t size, const lam_config* config, const lam_port* port, lam_device** device) {
  (void)memory, (void)size, (void)config, (void)port, (void)device;
  return 0;
}
lam_status lam_declare(lam_device* device, const lam_series_spec* spec, lam_series* series) {
  (void)device, (void)spec, (void)series;
  return 0;
}
lam_status lam_append_f64(lam_device* device, lam_series series, double value) {
  (void)device, (void)series, (void)value;
  return 0;
}
lam_status lam_append_i64(lam_device* device, lam_series series, int64_t value) {
  (void)device, (void)series, (void)value;
  return 0;
}
lam_status lam_append_at(lam_device* device, lam_series series, int64_t time_ms, uint64_t bits) {
  (void)device, (void)series, (void)time_ms, (void)bits;
  return 0;
}
lam_status lam_append_dec(lam_device* device, lam_series series, int64_t n) {
  (void)device, (void)series, (void)n;
  return 0;
}
lam_status lam_last(const lam_device* device, lam_series series, lam_point* point) {
  (void)device, (void)series, (void)point;
  return 0;
}
lam_status lam_range(const lam_device* device, lam_series series, int64_t from_ms, int64_t to_ms, lam_point* points,
                     size_t points_max, size_t* count) {
  (void)device, (void)series, (void)from_ms, (void)to_ms, (void)points, (void)points_max, (void)count;
  return 0;
}
lam_status lam_summarise(const lam_device* device, lam_series series, int64_t from_ms, int64_t to_ms,
                         lam_summary* summary) {
  (void)device, (void)series, (void)from_ms, (void)to_ms, (void)summary;
  return 0;
}
uint32_t lam_poll(lam_device* device) {
  (void)device;
  return 0;
}
void lam_flush(lam_device* device) {
  (void)device;
}
void lam_disconnected(lam_device* device) {
  (void)device;
}
void lam_connected(lam_device* device) {
  (void)device;
}
void lam_incoming(lam_device* device, lam_topic topic, const uint8_t* bytes, size_t size) {
  (void)device, (void)topic, (void)bytes, (void)size;
}
