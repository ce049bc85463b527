/* lwIP for one TLS session with a broker: no OS, no sockets, IPv4, static address. Sizes in bytes. */
#ifndef LAMBDA_BOARDS_LWIPOPTS_H
#define LAMBDA_BOARDS_LWIPOPTS_H

#include <stdint.h>

#define NO_SYS 1
#define SYS_LIGHTWEIGHT_PROT 0
#define LWIP_SOCKET 0
#define LWIP_NETCONN 0
#define LWIP_NETIF_API 0
#define LWIP_IPV6 0
#define LWIP_RAW 0
#define LWIP_UDP 0
#define LWIP_STATS 0
#define IP_FRAG 0
#define IP_REASSEMBLY 0
#define ARP_QUEUEING 0
#define ARP_TABLE_SIZE 4

/* The heap of lwIP and, through altcp_tls, of mbedTLS: a session's records (4 KB in, 2 KB out), its handshake, a
 * signature's numbers, and what TCP has not got acknowledged. The peak is printed in the `memory` line of the log. */
#if UINTPTR_MAX > 0xFFFFFFFF
#define MEM_ALIGNMENT 8
#define MEM_SIZE 60000
#else
#define MEM_ALIGNMENT 4
#define MEM_SIZE 19000
#endif
#define MEM_STATS 1
#undef LWIP_STATS
#define LWIP_STATS 1
#define LWIP_STATS_LARGE 1
#define LINK_STATS 0
#define ETHARP_STATS 0
#define IP_STATS 0
#define IPFRAG_STATS 0
#define ICMP_STATS 0
#define TCP_STATS 0
#define UDP_STATS 0
#define MEMP_STATS 0
#define SYS_STATS 0

#define MEMP_NUM_SYS_TIMEOUT 8
#define MEMP_NUM_TCP_PCB 3 /* the session, and two that are still being closed */
#define MEMP_NUM_TCP_PCB_LISTEN 1
#define MEMP_NUM_TCP_SEG 16
#define MEMP_NUM_PBUF 8
#define MEMP_NUM_ALTCP_PCB 4
#define PBUF_POOL_SIZE 10
#define PBUF_POOL_BUFSIZE 600

#define TCP_MSS 536
#define TCP_WND (8 * TCP_MSS) /* a whole TLS record of 4 KB */
#define TCP_SND_BUF (6 * TCP_MSS)
#define TCP_SND_QUEUELEN 16
#define TCP_QUEUE_OOSEQ 0
#define TCP_LISTEN_BACKLOG 0
#define TCP_SYNMAXRTX 4
/* Sequence numbers that nobody can foretell. */
#define LWIP_HOOK_TCP_ISN(local_ip, local_port, remote_ip, remote_port) lambda_lwip_random()

#define LWIP_ALTCP 1
#define LWIP_ALTCP_TLS 1
#define LWIP_ALTCP_TLS_MBEDTLS 1

/* A whole packet must fit: a parcel of 2 KB, its topic, and what was not sent before it. */
#define MQTT_OUTPUT_RINGBUF_SIZE 3072
/* lambda/v1/<64>/<64>/down and the packet's head, which mqtt.c wants in one piece. */
#define MQTT_VAR_HEADER_BUFFER_LEN 192
#define MQTT_REQ_MAX_IN_FLIGHT 8
#define MQTT_REQ_TIMEOUT 30
#define MQTT_CONNECT_TIMOUT 30

#endif
