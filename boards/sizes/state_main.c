/* Says, on the machine itself, how much memory the SDK takes for its state: run in QEMU by sizes.py. One line a figure.
 */
#include "lambda/lambda.h"

/* ARM's semihosting, operations 4 (write a text) and 0x18 (end; 0x20026: the program ended well). */
static void semihosting(uint32_t operation, const void* argument) {
  register uint32_t r0 __asm__("r0") = operation;
  register const void* r1 __asm__("r1") = argument;
  __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
}

static void say(const char* name, size_t value) {
  char digits[12] = {0};
  char* first = digits + 10;
  *first = '\n';
  do {
    *--first = (char)('0' + value % 10);
    value /= 10;
  } while (value > 0);
  semihosting(4, name);
  semihosting(4, first);
}

/* What a device needs before a page for points is counted: lam_memory_min() counts two pages a series, and two. */
static size_t state_bytes(uint32_t series_max, uint32_t parcels_max) {
  const lam_config config = {
      .site = "s", .device = "d", .series_max = series_max, .parcels_max = parcels_max, .page_bytes = 128};
  return lam_memory_min(&config) - (2 * series_max + 2) * (128 + sizeof(uint32_t));
}

int main(void) {
  /* An even number of series, so that rounding up to 8 falls out. */
  const size_t series = (state_bytes(34, 2) - state_bytes(2, 2)) / 32;
  const size_t parcel = (state_bytes(2, 32) - state_bytes(2, 2)) / 30;
  say("series ", series);
  say("parcel ", parcel);
  say("device ", state_bytes(2, 2) - 2 * series - 2 * parcel);
  semihosting(0x18, (const void*)0x20026);
  return 0;
}
