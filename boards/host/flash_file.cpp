#include "boards/host/flash_file.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

namespace lambda::boards {
namespace {

constexpr uint32_t kPageBytes = 4096;
constexpr uint32_t kPages = 64;
constexpr uint32_t kWriteBytes = 8;
int g_file = -1;

bool write_all(uint32_t at, const uint8_t* bytes, size_t size) {
  return pwrite(g_file, bytes, size, at) == static_cast<ssize_t>(size);
}

bool erase(void*, uint32_t page) {
  uint8_t ones[kPageBytes];
  memset(ones, 0xFF, sizeof ones);
  return page < kPages && write_all(page * kPageBytes, ones, sizeof ones);
}

bool read(void*, uint32_t at, uint8_t* bytes, size_t size) {
  return pread(g_file, bytes, size, at) == static_cast<ssize_t>(size);
}

bool write(void*, uint32_t at, const uint8_t* bytes, size_t size) {
  if (at % kWriteBytes != 0 || size % kWriteBytes != 0) return false;
  for (size_t done = 0; done < size; ++done) {
    uint8_t before = 0;
    if (!read(nullptr, at + static_cast<uint32_t>(done), &before, 1) || before != 0xFF) return false;
  }
  return write_all(at, bytes, size);
}

constexpr lam_flash_port kPort = {nullptr, kPageBytes, kPages, kWriteBytes, erase, write, read};

}  // namespace

const lam_flash_port* open_flash_file(const char* path) {
  g_file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  struct stat found;
  if (g_file < 0 || fstat(g_file, &found) != 0) return nullptr;
  for (uint32_t page = 0; found.st_size < off_t{kPages} * kPageBytes && page < kPages; ++page) {
    if (!erase(nullptr, page)) return nullptr;
  }
  return &kPort;
}

}  // namespace lambda::boards
