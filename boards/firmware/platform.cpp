#include "boards/firmware/platform.h"

#include <lwip/opt.h>
#include <lwip/sys.h>
#include <mbedtls/entropy.h>
#include <mbedtls/entropy_poll.h>
#include <mbedtls/platform_time.h>
#include <mbedtls/platform_util.h>
#include <time.h>

#include "boards/firmware/crypto.h"
#include "boards/firmware/line.h"

namespace lambda::boards {
namespace {

const Board* g_board = nullptr;
const DeviceClock* g_clock = nullptr;
uint32_t g_tls_surprises = 0;

mbedtls_time_t now_of_certificates(mbedtls_time_t* out) {
  const mbedtls_time_t now = g_clock->now_s();
  if (out != nullptr) *out = now;
  return now;
}

}  // namespace

void start_platform(const Board& board, const DeviceClock& clock) {
  g_board = &board;
  g_clock = &clock;
  mbedtls_platform_set_time(now_of_certificates);
}

uint32_t tls_surprises() {
  return g_tls_surprises;
}

void restart_because(const char* reason) {
  Line(*g_board, "restart").field("reason", reason);
  for (;;) g_board->restart(g_board->context);
}

extern "C" {

// lwIP's clock; its timers cope with the wrap after 49 days.
u32_t sys_now(void) {
  return static_cast<u32_t>(g_board->mono_ms(g_board->context));
}

uint32_t lambda_lwip_random(void) {
  uint32_t number = 0;
  draw_random(reinterpret_cast<uint8_t*>(&number), sizeof number);
  return number;
}

// What a peer's bytes can bring about must not cost what is in memory: altcp_tls asserts where it should return, and
// returns an error after it.
void lambda_tls_surprised(void) {
  ++g_tls_surprises;
}

// Any other assertion of lwIP says that memory is not what it should be.
void lambda_lwip_broken(const char* file, int line) {
  Line(*g_board, "lwip_broken").field("file", file).field("line", static_cast<uint64_t>(line));
  restart_because("an assertion of lwIP");
}

int mbedtls_hardware_poll(void*, unsigned char* output, size_t size, size_t* written) {
  if (!g_board->entropy(g_board->context, output, size)) return MBEDTLS_ERR_ENTROPY_SOURCE_FAILED;
  *written = size;
  return 0;
}

struct tm* mbedtls_platform_gmtime_r(const mbedtls_time_t* time, struct tm* out) {
  const int64_t seconds = *time % 86'400 >= 0 ? *time % 86'400 : *time % 86'400 + 86'400;
  int64_t year = 0;
  uint32_t month = 0, day = 0;
  date_of((*time - seconds) / 86'400, &year, &month, &day);
  *out = {};
  out->tm_year = static_cast<int>(year - 1900);
  out->tm_mon = static_cast<int>(month - 1);
  out->tm_mday = static_cast<int>(day);
  out->tm_hour = static_cast<int>(seconds / 3'600);
  out->tm_min = static_cast<int>(seconds / 60 % 60);
  out->tm_sec = static_cast<int>(seconds % 60);
  return out;
}

}  // extern "C"

}  // namespace lambda::boards
