// ARM's MPS2 and MPS2+ boards as QEMU has them: an385 (Cortex-M3), an386 (M4F), an505 (M33). What differs between them
// stands here, chosen by the board's folder; startup.c, the driver and the port are the same for all.
#pragma once

#include <stdint.h>

#if defined(LAMBDA_BOARD_AN505)
#define LAMBDA_BOARD_NAME "mps2-an505"
inline constexpr uint32_t kUartBase = 0x5020'0000;
inline constexpr uint32_t kLan9118Base = 0x5200'0000;
inline constexpr uint32_t kClockHz = 20'000'000;
inline constexpr uint32_t kFlashBase = 0x1000'0000;
#elif defined(LAMBDA_BOARD_AN386)
#define LAMBDA_BOARD_NAME "mps2-an386"
inline constexpr uint32_t kUartBase = 0x4000'4000;
inline constexpr uint32_t kLan9118Base = 0x4020'0000;
inline constexpr uint32_t kClockHz = 25'000'000;
inline constexpr uint32_t kFlashBase = 0;
#else
#define LAMBDA_BOARD_NAME "mps2-an385"
inline constexpr uint32_t kUartBase = 0x4000'4000;
inline constexpr uint32_t kLan9118Base = 0x4020'0000;
inline constexpr uint32_t kClockHz = 25'000'000;
inline constexpr uint32_t kFlashBase = 0;
#endif

// The 4 MB in which the program lies: its last 64 KB hold what does not come with the program.
inline constexpr uint32_t kIdentityAt = kFlashBase + 0x003F'0000;
inline constexpr uint32_t kIdentityBytes = 0x8000;
inline constexpr uint32_t kSavedAt = kFlashBase + 0x003F'8000;
inline constexpr uint32_t kSavedBytes = 64;
// Before them, what images that keep their points over a reset have for that.
inline constexpr uint32_t kKeptAt = kFlashBase + 0x003B'0000;
inline constexpr uint32_t kKeptBytes = 0x4'0000;
