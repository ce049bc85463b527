#include "base/os/resident.h"

#include <malloc.h>
#include <sys/mman.h>

#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

namespace lambda {
namespace {

struct Mapping {
  uintptr_t begin = 0, end = 0;
  bool code = false;  // executable, private, of a file
  unsigned long resident_kb = 0, changed_kb = 0;
};

// The mappings of this process, from /proc/self/smaps: a head line each, then facts.
std::vector<Mapping> mappings() {
  std::vector<Mapping> found;
  const std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen("/proc/self/smaps", "re"), &std::fclose);
  if (!file) return found;
  char line[1024];
  while (std::fgets(line, sizeof line, file.get()) != nullptr) {
    unsigned long begin = 0, end = 0, inode = 0, kb = 0;
    char rights[8] = {};
    if (std::sscanf(line, "%lx-%lx %7s %*s %*s %lu", &begin, &end, rights, &inode) == 4) {
      found.push_back({begin, end, std::strcmp(rights, "r-xp") == 0 && inode != 0, 0, 0});
    } else if (!found.empty() && std::sscanf(line, "Rss: %lu kB", &kb) == 1) {
      found.back().resident_kb = kb;
    } else if (!found.empty() &&
               (std::sscanf(line, "Private_Dirty: %lu kB", &kb) == 1 || std::sscanf(line, "Anonymous: %lu kB", &kb) == 1)) {
      found.back().changed_kb += kb;
    }
  }
  return found;
}

}  // namespace

uint64_t return_startup_memory() {
  ::malloc_trim(0);
  uint64_t returned = 0;
  for (const Mapping& mapping : mappings()) {
    if (!mapping.code || mapping.changed_kb != 0) continue;
    void* const begin = reinterpret_cast<void*>(mapping.begin);
    const size_t size = mapping.end - mapping.begin;
    ::madvise(begin, size, MADV_RANDOM);  // from now on page by page
    if (::madvise(begin, size, MADV_DONTNEED) == 0) returned += mapping.resident_kb * 1024;
  }
  return returned;
}

}  // namespace lambda
