// TCP of the operating system behind lwIP's altcp: what lwIP's MQTT relies on.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <lwip/altcp.h>
#include <lwip/altcp_tcp.h>
#include <lwip/mem.h>
#include <lwip/memp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "boards/host/sockets.h"

namespace lambda::boards {
namespace {

struct Seen {
  bool connected = false;
  size_t sent = 0;
};

// A listening socket on loopback; its port is given back.
int listen_on_loopback(uint16_t* port) {
  const int file = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in at = {};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof at;
  EXPECT_EQ(bind(file, reinterpret_cast<sockaddr*>(&at), size), 0);
  EXPECT_EQ(listen(file, 1), 0);
  EXPECT_EQ(getsockname(file, reinterpret_cast<sockaddr*>(&at), &size), 0);
  *port = ntohs(at.sin_port);
  return file;
}

// MQTT's watchdog ends a session whose sent() is never called, however well the broker answers at TCP's level.
TEST(HostSocket, SaysThatBytesWereSentAlsoWhenTheyLeftAtOnce) {
  mem_init();
  memp_init();
  uint16_t port = 0;
  const int listener = listen_on_loopback(&port);
  Seen seen;
  altcp_pcb* pcb = altcp_tcp_new();
  ASSERT_NE(pcb, nullptr);
  altcp_arg(pcb, &seen);
  altcp_sent(pcb, [](void* context, altcp_pcb*, u16_t bytes) -> err_t {
    static_cast<Seen*>(context)->sent += bytes;
    return ERR_OK;
  });
  ip_addr_t loopback;
  IP_ADDR4(&loopback, 127, 0, 0, 1);
  ASSERT_EQ(altcp_connect(pcb, &loopback, port,
                          [](void* context, altcp_pcb*, err_t) -> err_t {
                            static_cast<Seen*>(context)->connected = true;
                            return ERR_OK;
                          }),
            ERR_OK);
  for (int turn = 0; turn < 100 && !seen.connected; ++turn) poll_sockets(100);
  ASSERT_TRUE(seen.connected);

  ASSERT_EQ(altcp_write(pcb, "ping", 4, TCP_WRITE_FLAG_COPY), ERR_OK);
  ASSERT_EQ(altcp_output(pcb), ERR_OK);
  EXPECT_EQ(seen.sent, 0u) << "told from inside a call";
  poll_sockets(10'000);
  EXPECT_EQ(seen.sent, 4u);
  poll_sockets(0);
  EXPECT_EQ(seen.sent, 4u) << "told twice";

  const int accepted = accept(listener, nullptr, nullptr);
  char got[8] = {};
  EXPECT_EQ(recv(accepted, got, sizeof got, 0), 4);
  EXPECT_EQ(strcmp(got, "ping"), 0);
  altcp_close(pcb);
  close(accepted);
  close(listener);
}

}  // namespace
}  // namespace lambda::boards
