/* memcpy, memset and strlen, for an image that links no C library: all of one that the SDK, and the compiler for its
 * sake, call. Sixty bytes where newlib's take five hundred, and slower for long pieces, of which the SDK has few. An
 * image that has a C library leaves this file out. Compile it without -flto. */
#include <stddef.h>

/* Else the compiler would see a memcpy in the loop of memcpy. */
#define NOT_TO_BE_KNOWN_AGAIN __asm__ volatile("")

void* memcpy(void* restrict to, const void* restrict from, size_t size) {
  for (size_t i = 0; i < size; ++i) {
    ((char*)to)[i] = ((const char*)from)[i];
    NOT_TO_BE_KNOWN_AGAIN;
  }
  return to;
}

void* memset(void* to, int value, size_t size) {
  for (size_t i = 0; i < size; ++i) {
    ((char*)to)[i] = (char)value;
    NOT_TO_BE_KNOWN_AGAIN;
  }
  return to;
}

size_t strlen(const char* text) {
  size_t size = 0;
  for (; text[size] != '\0'; ++size) NOT_TO_BE_KNOWN_AGAIN;
  return size;
}
