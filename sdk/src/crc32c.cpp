// CRC32C, reflected polynomial 0x82F63B78: the processor's instruction where there is one, a 64-byte table elsewhere
// (a microcontroller has flash for a kilobyte of table, but better uses for it; half a byte a step is fast enough
// there).
#include "lambda/block.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define LAMBDA_CRC32C_X86 1
#endif

namespace lambda {
namespace {

struct NibbleTable {
  uint32_t entry[16];
};

constexpr NibbleTable make_table() {
  NibbleTable table{};
  for (uint32_t i = 0; i < 16; ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 4; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82F63B78u : 0u);
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
__attribute__((target("sse4.2"))) uint32_t crc_by_instruction(const uint8_t* bytes, size_t size, uint32_t crc) {
  uint64_t wide = crc;
  for (; size >= 8; bytes += 8, size -= 8) {
    uint64_t word;
    __builtin_memcpy(&word, bytes, 8);
    wide = __builtin_ia32_crc32di(wide, word);
  }
  crc = static_cast<uint32_t>(wide);
  for (; size > 0; ++bytes, --size) crc = __builtin_ia32_crc32qi(crc, *bytes);
  return crc;
}
#endif

}  // namespace

uint32_t crc32c(std::span<const uint8_t> bytes, uint32_t crc) {
  crc = ~crc;
#ifdef LAMBDA_CRC32C_X86
  if (__builtin_cpu_supports("sse4.2")) return ~crc_by_instruction(bytes.data(), bytes.size(), crc);
#endif
  return ~crc_by_table(bytes.data(), bytes.size(), crc);
}

}  // namespace lambda
