// The firmware as a process: lambda-device --identity FILE [--saved FILE] [--flash FILE]. The identity region is a
// file, as is what outlives a reset: a few bytes, and flash. SIGTERM is power that is about to go; a restart is the end
// with status 3. It has no clock, like the boards. For debuggers, sanitizers and tests; a product on Linux runs
// lambda-agent.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "boards/firmware/board.h"
#include "boards/host/flash_file.h"
#include "boards/host/sockets.h"

namespace lambda::boards {
namespace {

constexpr size_t kIdentityBytesMax = 32 * 1024;
constexpr size_t kSeriesBytes = LAMBDA_SERIES_BYTES;
constexpr int kRestartStatus = 3;

alignas(8) uint8_t g_series_memory[kSeriesBytes];
uint8_t g_identity[kIdentityBytesMax];
size_t g_identity_bytes = 0;
const char* g_saved_path = nullptr;
void (*g_sample)(void*) = nullptr;
void* g_sample_argument = nullptr;
int64_t g_sample_due_ms = 0;
volatile sig_atomic_t g_ended = 0;
bool g_was_failing = false;

int64_t mono_ms(void*) {
  static int64_t start = 0;
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  const int64_t ms = int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
  if (start == 0) start = ms;
  return ms - start;
}

bool entropy(void*, uint8_t* bytes, size_t size) {
  while (size > 0) {
    const ssize_t got = getrandom(bytes, size, 0);
    if (got < 0 && errno != EINTR) return false;
    if (got < 0) continue;
    bytes += got;
    size -= static_cast<size_t>(got);
  }
  return true;
}

void log(void*, const char* line, size_t size) {
  fwrite(line, 1, size, stdout);
  fputc('\n', stdout);
  fflush(stdout);
}

size_t read_file(const char* path, uint8_t* bytes, size_t size) {
  FILE* file = path != nullptr ? fopen(path, "rb") : nullptr;
  if (file == nullptr) return 0;
  const size_t got = fread(bytes, 1, size, file);
  fclose(file);
  return got;
}

std::span<const uint8_t> identity(void*) {
  return {g_identity, g_identity_bytes};
}

bool load(void*, uint8_t* bytes, size_t size) {
  return read_file(g_saved_path, bytes, size) == size;
}

bool save(void*, const uint8_t* bytes, size_t size) {
  FILE* file = g_saved_path != nullptr ? fopen(g_saved_path, "wb") : nullptr;
  if (file == nullptr) return false;
  const bool written = fwrite(bytes, 1, size, file) == size;
  return fclose(file) == 0 && written;
}

void start_sampling(void*, void (*sample)(void*), void* argument) {
  g_sample = sample;
  g_sample_argument = argument;
  g_sample_due_ms = mono_ms(nullptr) + kSamplePeriodMs;
}

bool start_network(void*, const NetworkAddress&) {
  return true;
}

// There are no interrupts here: samples that came due meanwhile are taken now.
void poll_network(void*) {
  while (g_sample != nullptr && mono_ms(nullptr) >= g_sample_due_ms) {
    g_sample_due_ms += kSamplePeriodMs;
    g_sample(g_sample_argument);
  }
  poll_sockets(0);
  g_was_failing = g_ended != 0;
}

void wait(void*, uint32_t wait_ms_max) {
  const int64_t to_sample = g_sample_due_ms - mono_ms(nullptr);
  int64_t most = wait_ms_max;
  if (g_sample != nullptr && to_sample < most) most = to_sample > 0 ? to_sample : 0;
  poll_sockets(static_cast<int>(most));
  if (g_was_failing) exit(0);  // the turn in which the firmware was told is over
}

bool power_failing(void*) {
  return g_was_failing;
}

void restart(void*) {
  exit(kRestartStatus);
}

Board g_board = {nullptr, "host", mono_ms,        nullptr,       entropy,      log,  identity,
                 load,    save,   start_sampling, start_network, poll_network, wait, restart};

}  // namespace
}  // namespace lambda::boards

int main(int argc, char** argv) {
  using namespace lambda::boards;
  const char* identity_path = nullptr;
  const char* flash_path = nullptr;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (strcmp(argv[i], "--identity") == 0) identity_path = argv[i + 1];
    if (strcmp(argv[i], "--saved") == 0) g_saved_path = argv[i + 1];
    if (strcmp(argv[i], "--flash") == 0) flash_path = argv[i + 1];
  }
  g_identity_bytes = read_file(identity_path, g_identity, sizeof g_identity);
  if (g_identity_bytes == 0) {
    fprintf(stderr,
            "usage: lambda-device --identity FILE [--saved FILE] [--flash FILE]; the first is made by "
            "boards/provision.py\n");
    return 1;
  }
  g_board.power_failing = power_failing;
  if (flash_path != nullptr && (g_board.flash = open_flash_file(flash_path)) == nullptr) {
    fprintf(stderr, "lambda-device: %s: %s\n", flash_path, strerror(errno));
    return 1;
  }
  signal(SIGTERM, [](int) { g_ended = 1; });
  run_firmware(g_board, g_series_memory);
  return 1;
}
