// CRC32C, reflected polynomial 0x82F63B78: the processor's instruction where there is one, three at a time, as each
// takes three cycles and a new one can begin in each, in parts as long as can be, as joining them takes a dozen; a
// 64-byte table elsewhere, and where size counts a bit a step: the same points take far longer to hash, and to read.
#include "lambda/block.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(LAMBDA_PORTABLE)
#define LAMBDA_CRC32C_X86 1
#endif

namespace lambda {
namespace {

// crc times x, modulo the polynomial.
constexpr uint32_t times_x(uint32_t crc) {
  return (crc >> 1) ^ ((crc & 1) != 0 ? 0x82F63B78u : 0u);
}

#ifdef __OPTIMIZE_SIZE__
uint32_t crc_by_steps(const uint8_t* bytes, size_t size, uint32_t crc) {
  for (size_t i = 0; i < size; ++i) {
    crc ^= bytes[i];
    for (int bit = 0; bit < 8; ++bit) crc = times_x(crc);
  }
  return crc;
}
#else
struct NibbleTable {
  uint32_t entry[16];
};

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

uint32_t crc_by_steps(const uint8_t* bytes, size_t size, uint32_t crc) {
  for (size_t i = 0; i < size; ++i) {
    crc ^= bytes[i];
    crc = (crc >> 4) ^ kTable.entry[crc & 15];
    crc = (crc >> 4) ^ kTable.entry[crc & 15];
  }
  return crc;
}
#endif

#ifdef LAMBDA_CRC32C_X86
// What a CRC is multiplied with to pass over so many words of eight bytes more: the instruction that makes the product
// a CRC again multiplies with x^33.
constexpr size_t kLaneWordsMax = 64;
struct FactorsOver {
  uint32_t words[2 * kLaneWordsMax + 1];
};
constexpr FactorsOver make_factors() {
  FactorsOver over{};
  uint32_t factor = 0x80000000;  // x^0
  for (unsigned power = 64 - 33; power > 0; --power) factor = times_x(factor);
  for (size_t words = 1; words <= 2 * kLaneWordsMax; ++words) {
    over.words[words] = factor;
    for (unsigned bit = 0; bit < 64; ++bit) factor = times_x(factor);
  }
  return over;
}
constexpr FactorsOver kOver = make_factors();
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
  constexpr size_t kWorth = 192;
  while (size >= kWorth) {
    const size_t words = size / 24 < kLaneWordsMax ? size / 24 : kLaneWordsMax;
    const size_t lane = 8 * words;
    uint64_t first = crc;
    uint64_t second = 0;
    uint64_t third = 0;
    for (size_t at = 0; at < lane; at += 8) {
      first = step(first, bytes + at);
      second = step(second, bytes + lane + at);
      third = step(third, bytes + 2 * lane + at);
    }
    const TwoWords crcs = {static_cast<long long>(first), static_cast<long long>(second)};
    const TwoWords factors = {kOver.words[2 * words], kOver.words[words]};
    const TwoWords product =
        __builtin_ia32_pclmulqdq128(crcs, factors, 0x00) ^ __builtin_ia32_pclmulqdq128(crcs, factors, 0x11);
    crc = static_cast<uint32_t>(__builtin_ia32_crc32di(0, static_cast<uint64_t>(product[0])) ^ third);
    bytes += 3 * lane;
    size -= 3 * lane;
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
  return ~crc_by_steps(bytes.data(), bytes.size(), crc);
}

}  // namespace lambda
