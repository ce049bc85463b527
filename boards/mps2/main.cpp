// The port of the MPS2 boards: SysTick for time, UART0 for the log, LAN9118 for the network. QEMU has no source of true
// randomness on these boards, so entropy comes from the host through semihosting; on the hardware, which has neither,
// the firmware says so and starts anew for ever. A product's board has a generator in its silicon.
#include <string.h>

#include "boards/firmware/board.h"
#include "boards/mps2/flash.h"
#include "boards/mps2/lan9118.h"
#include "boards/mps2/mps2.h"

namespace lambda::boards {
namespace {

constexpr size_t kSeriesBytes = LAMBDA_SERIES_BYTES;
alignas(8) __attribute__((section(".arena"))) uint8_t g_series_memory[kSeriesBytes];

volatile uint32_t g_ms_low = 0;
volatile uint32_t g_ms_high = 0;
void (*volatile g_sample)(void*) = nullptr;
void* g_sample_argument = nullptr;
uint32_t g_sample_wait_ms = 0;

volatile uint32_t* at(uint32_t address) {
  return reinterpret_cast<volatile uint32_t*>(address);
}

int64_t mono_ms(void*) {
  uint32_t high = 0, low = 0;
  do {
    high = g_ms_high;
    low = g_ms_low;
  } while (high != g_ms_high);
  return static_cast<int64_t>(uint64_t{high} << 32 | low);
}

void uart_put(char c) {
  while ((*at(kUartBase + 4) & 1) != 0) {
  }
  *at(kUartBase) = static_cast<uint8_t>(c);
}

void log(void*, const char* line, size_t size) {
  for (size_t i = 0; i < size; ++i) uart_put(line[i]);
  uart_put('\n');
}

int32_t semihosting(uint32_t operation, const void* block) {
  register uint32_t r0 asm("r0") = operation;
  register const void* r1 asm("r1") = block;
  asm volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
  return static_cast<int32_t>(r0);
}

bool entropy(void*, uint8_t* bytes, size_t size) {
  enum : uint32_t { kOpen = 1, kClose = 2, kRead = 6, kBinaryRead = 1 };
  static constexpr char kSource[] = "/dev/urandom";
  const uintptr_t open[3] = {reinterpret_cast<uintptr_t>(kSource), kBinaryRead, sizeof kSource - 1};
  const int32_t file = semihosting(kOpen, open);
  if (file == -1) return false;
  const uintptr_t part[3] = {static_cast<uintptr_t>(file), reinterpret_cast<uintptr_t>(bytes), size};
  const int32_t not_read = semihosting(kRead, part);
  const uintptr_t close[1] = {static_cast<uintptr_t>(file)};
  semihosting(kClose, close);
  return not_read == 0;
}

std::span<const uint8_t> identity(void*) {
  return {reinterpret_cast<const uint8_t*>(kIdentityAt), kIdentityBytes};
}

// The memory that QEMU has in place of flash can be written like RAM, and outlives a reset.
bool load(void*, uint8_t* bytes, size_t size) {
  if (size > kSavedBytes) return false;
  memcpy(bytes, reinterpret_cast<const void*>(kSavedAt), size);
  return true;
}
bool save(void*, const uint8_t* bytes, size_t size) {
  if (size > kSavedBytes) return false;
  memcpy(reinterpret_cast<void*>(kSavedAt), bytes, size);
  return true;
}

void start_sampling(void*, void (*sample)(void*), void* argument) {
  g_sample_argument = argument;
  g_sample = sample;
}

bool start_network(void*, const NetworkAddress& address) {
  return lan9118_start(address);
}
void poll_network(void*) {
  lan9118_poll();
}

// The tick of the next millisecond ends every sleep: frames are polled for, so none of them waits longer.
void wait(void*, uint32_t) {
  asm volatile("wfi");
}

void restart(void*) {
  *at(0xE000ED0C) = 0x05FA0004;  // AIRCR: SYSRESETREQ
  for (;;) {
  }
}

#ifdef LAMBDA_BOARD_KEEPS
constexpr const lam_flash_port* kFlash = &kMps2Flash;
#else
constexpr const lam_flash_port* kFlash = nullptr;
#endif

constexpr Board kBoard = {nullptr, LAMBDA_BOARD_NAME, mono_ms,       nullptr,      entropy, log,     identity, load,
                          save,    start_sampling,    start_network, poll_network, wait,    restart, kFlash};

void start_tick() {
  *at(0xE000E014) = kClockHz / 1000 - 1;
  *at(0xE000E018) = 0;
  *at(0xE000E010) = 7;
}

}  // namespace

extern "C" {

void board_tick(void) {
  const uint32_t low = g_ms_low + 1;
  g_ms_low = low;
  if (low == 0) g_ms_high = g_ms_high + 1;
  if (g_sample == nullptr || ++g_sample_wait_ms < kSamplePeriodMs) return;
  g_sample_wait_ms = 0;
  g_sample(g_sample_argument);
}

void board_fault(void) {
  log(nullptr, "fault", 5);
  restart(nullptr);
}

// What the compiler puts into the tables of classes whose functions are all there.
void __cxa_pure_virtual(void) {
  board_fault();
}

}  // extern "C"

}  // namespace lambda::boards

int main() {
  using namespace lambda::boards;
  *at(kUartBase + 0x10) = 16;
  *at(kUartBase + 8) = 1;  // to send only
  start_tick();
  run_firmware(kBoard, g_series_memory);
  return 0;
}
