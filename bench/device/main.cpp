// What an append costs on a Cortex-M, in instructions, and what ten minutes take, in bytes. Runs in QEMU with
// `-icount shift=10`, where an instruction lasts 1,024 ns: so SysTick, at 25 MHz, tells single instructions.
// bench_device.py makes series.h, builds this and reads what it prints.
#include <stdint.h>

#include "lambda/series_store.h"
#include "series.h"  // kSeries, kSeriesCount

namespace {

using namespace lambda;

volatile uint32_t* at(uint32_t address) {
  return reinterpret_cast<volatile uint32_t*>(address);
}

uint32_t semihosting(uint32_t operation, const void* block) {
  register uint32_t r0 asm("r0") = operation;
  register const void* r1 asm("r1") = block;
  asm volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
  return r0;
}

void print(const char* text) {
  semihosting(4, text);
}

void print(uint32_t number) {
  char text[12];
  char* begin = text + sizeof text;
  *--begin = '\0';
  do {
    *--begin = static_cast<char>('0' + number % 10);
    number /= 10;
  } while (number > 0);
  print(" ");
  print(begin);
}

// A hash that costs nothing: blocks get roots when they are sealed, which is not measured.
void hash_start(HashState*) {}
void hash_update(HashState*, const uint8_t*, size_t) {}
void hash_finish(HashState*, uint8_t* digest) {
  for (size_t i = 0; i < kDigestBytes; ++i) digest[i] = 0;
}
const HashPort kHash = {hash_start, hash_update, hash_finish};

constexpr uint32_t kTicksMask = 0xFFFFFF;

uint32_t now() {
  return *at(0xE000E018);
}
// In ticks of 40 ns, of an instruction's 1,024 ns.
uint32_t instructions(uint32_t from, uint32_t to) {
  return ((from - to) & kTicksMask) * 40 / 1024;
}

alignas(8) uint8_t g_arena[24 * 1024];
uint16_t g_costs[1024];

void sort_costs(uint32_t count) {
  for (uint32_t i = 1; i < count; ++i) {
    const uint16_t cost = g_costs[i];
    uint32_t j = i;
    for (; j > 0 && g_costs[j - 1] > cost; --j) g_costs[j] = g_costs[j - 1];
    g_costs[j] = cost;
  }
}

// One block of the whole series: "name codec points bytes median p99 first checksum". By the block's checksum
// bench_device.py compares it with one that it wrote itself.
bool measure(const Measured& series) {
  SeriesStoreOptions options;
  options.series_max = 1;
  options.block_bytes_max = 8192;
  options.seal_age_ms = kBlockSpanMsMax;
  options.codings = kAllCodings;
  SeriesStore store({g_arena, sizeof g_arena}, options, kHash, 1);
  uint32_t ref = 0;
  if (!store.add({static_cast<ValueType>(series.type), series.scale, 1}, &ref)) return false;
  if (!store.write_in(ref, static_cast<Codec>(series.codec))) return false;
  const uint32_t empty_from = now();
  const uint32_t overhead = instructions(empty_from, now());
  for (uint32_t i = 0; i < series.count; ++i) {
    const Point point = {series.points[i].time_ms, series.points[i].bits};
    const uint32_t from = now();
    const Appended appended = store.append(ref, point);
    const uint32_t cost = instructions(from, now()) - overhead;
    if (appended.result != StoreResult::kOk) return false;
    g_costs[i] = static_cast<uint16_t>(cost > 0xFFFF ? 0xFFFF : cost);
  }
  store.seal_all();
  SealedBlock block;
  if (!store.first(BlockState::kLoose, &block) || block.info.count != series.count) return false;
  const uint32_t first = g_costs[0];  // opens the block
  sort_costs(series.count);
  print(series.name);
  print(series.codec);
  print(series.count);
  print(block.bytes);
  print(g_costs[series.count / 2]);
  print(g_costs[series.count * 99 / 100]);
  print(first);
  static uint8_t bytes[8192];
  const size_t size = store.copy(block.id, bytes);
  if (size == 0) return false;
  print(crc32c({bytes, size - 4}));
  print("\n");
  return true;
}

}  // namespace

extern "C" void __cxa_pure_virtual() {}

int main() {
  *at(0xE000E014) = kTicksMask;
  *at(0xE000E018) = 0;
  *at(0xE000E010) = 5;  // on, of the processor's clock, no interrupt
  bool good = true;
  for (uint32_t i = 0; i < kSeriesCount; ++i) good = measure(kSeries[i]) && good;
  SeriesStoreOptions one, two;
  one.series_max = 1;
  two.series_max = 1001;
  print("state");
  print(static_cast<uint32_t>((SeriesStore::arena_bytes(two, 2) - SeriesStore::arena_bytes(one, 2)) / 1000));
  print("\n");
  const uintptr_t end[2] = {0x20026, good ? 0u : 1u};
  semihosting(0x20, end);
  return 0;
}
