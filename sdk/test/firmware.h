/* A firmware as small as one can be, in C: a thermometer. The tests are its hardware. */
#ifndef LAMBDA_SDK_TEST_FIRMWARE_H
#define LAMBDA_SDK_TEST_FIRMWARE_H

#include "lambda/lambda.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { FIRMWARE_MEMORY_BYTES = 24 * 1024 };

typedef struct firmware {
  uint64_t memory[FIRMWARE_MEMORY_BYTES / 8];
  lam_device* device;
  lam_series temperature;
  lam_series door;
} firmware;

/* Both return what the first call that failed returned. */
lam_status firmware_start(firmware* it, const lam_port* port);
lam_status firmware_measure(firmware* it, int64_t centidegrees, bool door_open);
lam_status firmware_mean_of_last_minute(firmware* it, double* mean);

#ifdef __cplusplus
}
#endif

#endif
