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
/* All in boards/firmware/platform.cpp. */
void lambda_lwip_broken(const char* file, int line);
void lambda_tls_surprised(void);
uint32_t lambda_lwip_random(void);
#ifdef __cplusplus
}
#endif

#define LWIP_NO_UNISTD_H 1
#define LWIP_NO_CTYPE_H 1
#define LWIP_TIMEVAL_PRIVATE 0
#define LWIP_PLATFORM_DIAG(x)
/* The words of lwIP's assertions would take 6 KB of flash: file and line say as much. */
#ifdef LAMBDA_LWIP_TLS /* boards/vendor.cmake: for altcp_tls alone */
#define LWIP_PLATFORM_ASSERT(x) lambda_tls_surprised()
#else
#define LWIP_PLATFORM_ASSERT(x) lambda_lwip_broken(__FILE_NAME__, __LINE__)
#endif
#define LWIP_RAND() lambda_lwip_random()

#endif
