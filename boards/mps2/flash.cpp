#include "boards/mps2/flash.h"

#include <string.h>

#include "boards/mps2/mps2.h"

namespace lambda::boards {
namespace {

constexpr uint32_t kPageBytes = 4096;
constexpr uint32_t kWriteBytes = 8;

uint8_t* place(uint32_t at) {
  return reinterpret_cast<uint8_t*>(kKeptAt + at);
}

bool erase(void*, uint32_t page) {
  memset(place(page * kPageBytes), 0xFF, kPageBytes);
  return true;
}

bool write(void*, uint32_t at, const uint8_t* bytes, size_t size) {
  if (at % kWriteBytes != 0 || size % kWriteBytes != 0 || size > kKeptBytes || at > kKeptBytes - size) return false;
  for (size_t i = 0; i < size; ++i) {
    if (place(at)[i] != 0xFF) return false;
  }
  memcpy(place(at), bytes, size);
  return true;
}

bool read(void*, uint32_t at, uint8_t* bytes, size_t size) {
  memcpy(bytes, place(at), size);
  return true;
}

}  // namespace

constexpr lam_flash_port kMps2Flash = {nullptr, kPageBytes, kKeptBytes / kPageBytes, kWriteBytes, erase, write, read};

}  // namespace lambda::boards
