/* What runs before main() on a Cortex-M, and when something goes wrong. */
#include <stdint.h>

extern uint32_t data_load, data_begin, data_end, bss_begin, bss_end, stack_top;
extern void (*init_begin[])(void);
extern void (*init_end[])(void);
int main(void);
void board_tick(void);
void board_fault(void);

void reset(void) {
#ifdef __ARM_FP
  *(volatile uint32_t*)0xE000ED88 |= 0xFu << 20; /* CPACR: the floating point unit is ours */
  __asm volatile("dsb\n isb");
#endif
  const uint32_t* from = &data_load;
  for (uint32_t* to = &data_begin; to < &data_end;) *to++ = *from++;
  for (uint32_t* to = &bss_begin; to < &bss_end;) *to++ = 0;
  for (void (**init)(void) = init_begin; init < init_end; ++init) (*init)();
  main();
  for (;;) {
    __asm volatile("wfi");
  }
}

__attribute__((section(".vectors"), used)) static void (*const vectors[16])(void) = {(void (*)(void)) & stack_top,
                                                                                     reset,
                                                                                     board_fault,
                                                                                     board_fault,
                                                                                     board_fault,
                                                                                     board_fault,
                                                                                     board_fault,
                                                                                     board_fault,
                                                                                     0,
                                                                                     0,
                                                                                     0,
                                                                                     board_fault,
                                                                                     board_fault,
                                                                                     0,
                                                                                     board_fault,
                                                                                     board_tick};
