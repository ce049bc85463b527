// What must never be in the SDK: a global with state, and a call of the allocator. The check is tried on it.
#include <stddef.h>
#include <stdint.h>

extern "C" {
uint32_t calls_of_offender = 0;
// An allocator that would link on a board, so that only nm sees it.
__attribute__((used, section(".vectors.offender"))) void* malloc(size_t bytes) {
  calls_of_offender += bytes;
  return nullptr;
}
}
