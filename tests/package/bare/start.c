/* What runs before main() on a Cortex-M3: nothing but memory as C wants it. No library is initialised. */
#include <stdint.h>

extern uint32_t data_load, data_begin, data_end, bss_begin, bss_end, stack_top;
int main(void);

static void halt(void) {
  for (;;) {
  }
}

void reset(void) {
  const uint32_t* from = &data_load;
  for (uint32_t* to = &data_begin; to < &data_end;) *to++ = *from++;
  for (uint32_t* to = &bss_begin; to < &bss_end;) *to++ = 0;
  main();
  halt();
}

__attribute__((section(".vectors"), used)) static void (*const vectors[16])(void) = {
    (void (*)(void)) & stack_top, reset, halt, halt, halt, halt, halt, 0, 0, 0, 0, halt, halt, 0, halt, halt};
