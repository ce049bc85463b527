/* What lwIP wants to know of compiler and platform. */
#ifndef LAMBDA_BOARDS_ARCH_CC_H
#define LAMBDA_BOARDS_ARCH_CC_H

#include <stdint.h>
#ifdef __unix__
#include <sys/types.h> /* lwIP takes <limits.h> for a sign that ssize_t is there */
#endif

#ifdef __cplusplus
extern "C" {
#endif
/* Both in boards/firmware/platform.cpp. */
void lambda_lwip_broken(const char* file, int line);
uint32_t lambda_lwip_random(void);
#ifdef __cplusplus
}
#endif

#define LWIP_NO_UNISTD_H 1
#define LWIP_NO_CTYPE_H 1
#define LWIP_TIMEVAL_PRIVATE 0
#define LWIP_PLATFORM_DIAG(x)
/* The words of lwIP's assertions would take 6 KB of flash: file and line say as much. */
#define LWIP_PLATFORM_ASSERT(x) lambda_lwip_broken(__FILE__, __LINE__)
#define LWIP_RAND() lambda_lwip_random()

#endif
