// CRC32C, reflected polynomial 0x82F63B78: the processor's instruction where there is one, three at a time, as each
// takes three cycles and a new one can begin in each; a 64-byte table elsewhere (a microcontroller has flash for a
// kilobyte of table, but better uses for it; half a byte a step is fast enough there).
#include "lambda/block.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(LAMBDA_PORTABLE)
#define LAMBDA_CRC32C_X86 1
#endif

namespace lambda {
namespace {

struct NibbleTable {
  uint32_t entry[16];
};

// crc times x, modulo the polynomial.
constexpr uint32_t times_x(uint32_t crc) {
  return (crc >> 1) ^ ((crc & 1) != 0 ? 0x82F63B78u : 0u);
}

constexpr NibbleTable make_table() {
  NibbleTable table{};
  for (uint32_t i = 0; i < 16; ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 4; ++bit) crc = times_x(crc);
    table.entry[i] = crc;
  }
  return table;
}

constexpr NibbleTable kTable = make_table();

uint32_t crc_by_table(const uint8_t* bytes, size_t size, uint32_t crc) {
  for (size_t i = 0; i < size; ++i) {
    crc ^= bytes[i];
    crc = (crc >> 4) ^ kTable.entry[crc & 15];
    crc = (crc >> 4) ^ kTable.entry[crc & 15];
  }
  return crc;
}

#ifdef LAMBDA_CRC32C_X86
// What a CRC is multiplied with to pass over `bytes` more: the instruction that makes the product a CRC again
// multiplies with x^33.
constexpr uint32_t factor_over(unsigned bytes) {
  uint32_t factor = 0x80000000;  // x^0
  for (unsigned power = 8 * bytes - 33; power > 0; --power) factor = times_x(factor);
  return factor;
}
constexpr size_t kLane = 64;
constexpr uint32_t kOverOne = factor_over(kLane);
constexpr uint32_t kOverTwo = factor_over(2 * kLane);
typedef long long TwoWords __attribute__((vector_size(16)));

__attribute__((target("sse4.2"))) inline uint64_t step(uint64_t crc, const uint8_t* bytes) {
  uint64_t word;
  __builtin_memcpy(&word, bytes, 8);
  return __builtin_ia32_crc32di(crc, word);
}

__attribute__((target("sse4.2"))) uint32_t crc_by_instruction(const uint8_t* bytes, size_t size, uint32_t crc) {
  uint64_t wide = crc;
  for (; size >= 8; bytes += 8, size -= 8) wide = step(wide, bytes);
  crc = static_cast<uint32_t>(wide);
  for (; size > 0; ++bytes, --size) crc = __builtin_ia32_crc32qi(crc, *bytes);
  return crc;
}

__attribute__((target("sse4.2,pclmul"))) uint32_t crc_of_three(const uint8_t* bytes, size_t size, uint32_t crc) {
  for (; size >= 3 * kLane; bytes += 3 * kLane, size -= 3 * kLane) {
    uint64_t first = crc;
    uint64_t second = 0;
    uint64_t third = 0;
    for (size_t at = 0; at < kLane; at += 8) {
      first = step(first, bytes + at);
      second = step(second, bytes + kLane + at);
      third = step(third, bytes + 2 * kLane + at);
    }
    const TwoWords crcs = {static_cast<long long>(first), static_cast<long long>(second)};
    const TwoWords factors = {kOverTwo, kOverOne};
    const TwoWords product =
        __builtin_ia32_pclmulqdq128(crcs, factors, 0x00) ^ __builtin_ia32_pclmulqdq128(crcs, factors, 0x11);
    crc = static_cast<uint32_t>(__builtin_ia32_crc32di(0, static_cast<uint64_t>(product[0])) ^ third);
  }
  return crc_by_instruction(bytes, size, crc);
}
#endif

}  // namespace

uint32_t crc32c(std::span<const uint8_t> bytes, uint32_t crc) {
  crc = ~crc;
#ifdef LAMBDA_CRC32C_X86
  if (__builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul")) {
    return ~crc_of_three(bytes.data(), bytes.size(), crc);
  }
  if (__builtin_cpu_supports("sse4.2")) return ~crc_by_instruction(bytes.data(), bytes.size(), crc);
#endif
  return ~crc_by_table(bytes.data(), bytes.size(), crc);
}

}  // namespace lambda
