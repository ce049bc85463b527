// What the SDK believes of its callers and of itself; stays on in release builds. A device has nobody to print to, so a
// broken belief stops the program where a debugger sees it.
#pragma once

#define LAMBDA_EXPECT(condition)     \
  do {                               \
    if (!(condition)) [[unlikely]] { \
      __builtin_trap();              \
    }                                \
  } while (false)
