#include "base/os/resident.h"

#include <link.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

namespace lambda {
namespace {

struct Mapping {
  uintptr_t begin = 0, end = 0;
  bool read_only = false;  // code, or data that never changes: private, of a file
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
      const bool read_only = std::strcmp(rights, "r-xp") == 0 || std::strcmp(rights, "r--p") == 0;
      found.push_back({begin, end, read_only && inode != 0, 0, 0});
    } else if (!found.empty() && std::sscanf(line, "Rss: %lu kB", &kb) == 1) {
      found.back().resident_kb = kb;
    } else if (!found.empty() &&
               (std::sscanf(line, "Private_Dirty: %lu kB", &kb) == 1 ||
                std::sscanf(line, "Anonymous: %lu kB", &kb) == 1 || std::sscanf(line, "Swap: %lu kB", &kb) == 1)) {
      found.back().changed_kb += kb;
    }
  }
  return found;
}

struct Range {
  uintptr_t begin = 0, end = 0;
};

// Where the program and its libraries have what nobody ever writes to, not even the dynamic loader: whole pages. A
// library that another thread is loading at this moment is not among them before its segments are mapped.
std::vector<Range> never_written() {
  std::vector<Range> found;
  ::dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* context) {
        const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
        for (int i = 0; i < info->dlpi_phnum; ++i) {
          const auto& segment = info->dlpi_phdr[i];
          if (segment.p_type != PT_LOAD || (segment.p_flags & PF_W) != 0) continue;
          const uintptr_t begin = info->dlpi_addr + segment.p_vaddr;
          const uintptr_t end = begin + segment.p_memsz;
          static_cast<std::vector<Range>*>(context)->push_back({begin / page * page, (end + page - 1) / page * page});
        }
        return 0;
      },
      &found);
  return found;
}

}  // namespace

uint64_t return_startup_memory() {
  ::malloc_trim(0);
  uint64_t returned = 0;
  const std::vector<Range> safe = never_written();
  for (const Mapping& mapping : mappings()) {
    if (!mapping.read_only || mapping.changed_kb != 0) continue;
    const bool is_safe = std::any_of(safe.begin(), safe.end(), [&](const Range& range) {
      return mapping.begin >= range.begin && mapping.end <= range.end;
    });
    if (!is_safe) continue;
    void* const begin = reinterpret_cast<void*>(mapping.begin);
    const size_t size = mapping.end - mapping.begin;
    ::madvise(begin, size, MADV_RANDOM);  // from now on page by page
    if (::madvise(begin, size, MADV_DONTNEED) == 0) returned += mapping.resident_kb * 1024;
  }
  return returned;
}

}  // namespace lambda
