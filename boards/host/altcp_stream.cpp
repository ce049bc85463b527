#include "boards/host/altcp_stream.h"

#include <lwip/altcp.h>
#include <lwip/altcp_tcp.h>
#include <lwip/pbuf.h>
#include <lwip/priv/altcp_priv.h>
#include <lwip/tcp.h>
#include <string.h>

#include <algorithm>

namespace lambda::boards {
namespace {

constexpr size_t kConnectionsMax = 4;
constexpr size_t kOutBytesMax = TCP_SND_BUF;
constexpr int64_t kPollStepMs = 500;  // lwIP counts its poll callback's interval in these

// One connection: the `state` of its altcp_pcb.
struct Connection {
  altcp_pcb* pcb = nullptr;
  std::unique_ptr<Stream> stream;
  bool connecting = false;
  bool peer_done = false;
  bool blocked = false;     // the stream took less than there was
  pbuf* waiting = nullptr;  // the application would not take it yet
  size_t out_size = 0;
  size_t told_later = 0;  // bytes that the stream took and the application was not told of yet
  int64_t poll_due_ms = 0;
  uint8_t out[kOutBytesMax];
};

Connection* g_connections[kConnectionsMax];

Connection* of(altcp_pcb* pcb) {
  return pcb != nullptr ? static_cast<Connection*>(pcb->state) : nullptr;
}

// Ends the connection; the altcp_pcb stays.
void drop(altcp_pcb* pcb) {
  Connection* connection = of(pcb);
  if (connection == nullptr) return;
  pcb->state = nullptr;
  for (Connection*& place : g_connections) {
    if (place == connection) place = nullptr;
  }
  if (connection->waiting != nullptr) pbuf_free(connection->waiting);
  delete connection;
}

// As lwIP does it: the pcb is freed first, then its owner is told.
void fail(altcp_pcb* pcb, err_t error) {
  drop(pcb);
  const altcp_err_fn told = pcb->err;
  void* argument = pcb->arg;
  altcp_free(pcb);
  if (told != nullptr) told(argument, error);
}

void set_poll(altcp_pcb*, u8_t) {}
void recved(altcp_pcb*, u16_t) {}
err_t bind_any(altcp_pcb*, const ip_addr_t*, u16_t) {
  return ERR_OK;
}

err_t begin_connect(altcp_pcb* pcb, const ip_addr_t* address, u16_t port, altcp_connected_fn connected) {
  Connection* connection = of(pcb);
  if (connection == nullptr) return ERR_VAL;
  pcb->connected = connected;
  connection->stream = open_stream(*address, port);
  if (connection->stream == nullptr) return ERR_MEM;
  connection->connecting = true;
  return ERR_OK;
}

void abort_connection(altcp_pcb* pcb) {
  fail(pcb, ERR_ABRT);
}

err_t close_connection(altcp_pcb* pcb) {
  if (pcb == nullptr) return ERR_VAL;
  drop(pcb);
  altcp_free(pcb);
  return ERR_OK;
}

void flush(Connection* connection) {
  if (connection->connecting || connection->stream == nullptr || connection->out_size == 0) return;
  const size_t sent = connection->stream->send({connection->out, connection->out_size});
  connection->out_size -= sent;
  connection->told_later += sent;
  memmove(connection->out, connection->out + sent, connection->out_size);
  connection->blocked = connection->out_size > 0;
}

err_t write_bytes(altcp_pcb* pcb, const void* bytes, u16_t size, u8_t) {
  Connection* connection = of(pcb);
  if (connection == nullptr) return ERR_CLSD;
  if (size > kOutBytesMax - connection->out_size) return ERR_MEM;
  memcpy(connection->out + connection->out_size, bytes, size);
  connection->out_size += size;
  return ERR_OK;
}

err_t output(altcp_pcb* pcb) {
  Connection* connection = of(pcb);
  if (connection == nullptr) return ERR_CLSD;
  flush(connection);
  return ERR_OK;
}

u16_t room(altcp_pcb* pcb) {
  const Connection* connection = of(pcb);
  return connection != nullptr ? static_cast<u16_t>(kOutBytesMax - connection->out_size) : 0;
}

u16_t segment_bytes(altcp_pcb*) {
  return TCP_MSS;
}

void dealloc(altcp_pcb* pcb) {
  drop(pcb);
}

altcp_functions make_functions() {
  altcp_functions made = {};
  made.set_poll = set_poll;
  made.recved = recved;
  made.bind = bind_any;
  made.connect = begin_connect;
  made.abort = abort_connection;
  made.close = close_connection;
  made.write = write_bytes;
  made.output = output;
  made.mss = segment_bytes;
  made.sndbuf = room;
  made.dealloc = dealloc;
  return made;
}
const altcp_functions kFunctions = make_functions();

// False: there is no more to do for this one now, and the pcb may be gone.

bool finish_connect(altcp_pcb* pcb, Connection* connection) {
  const Stream::Dial went = connection->stream->dial();
  if (went == Stream::Dial::kPending) return false;
  if (went == Stream::Dial::kFailed) {
    fail(pcb, ERR_RST);
    return false;
  }
  connection->connecting = false;
  if (pcb->connected != nullptr) pcb->connected(pcb->arg, pcb, ERR_OK);
  return of(pcb) == connection;
}

bool hand_on(altcp_pcb* pcb, Connection* connection, pbuf* packet) {
  if (pcb->recv == nullptr) {
    if (packet != nullptr) pbuf_free(packet);
    return true;
  }
  const err_t taken = pcb->recv(pcb->arg, pcb, packet, ERR_OK);
  if (taken == ERR_ABRT) return false;
  bool here = false;
  for (const Connection* place : g_connections) here = here || place == connection;
  if (!here) return false;
  if (taken != ERR_OK && packet != nullptr) connection->waiting = packet;
  return true;
}

bool receive(altcp_pcb* pcb, Connection* connection) {
  if (connection->waiting != nullptr) {
    pbuf* packet = connection->waiting;
    connection->waiting = nullptr;
    if (!hand_on(pcb, connection, packet) || connection->waiting != nullptr) return false;
  }
  uint8_t bytes[TCP_MSS];
  size_t got = 0;
  switch (connection->stream->receive(bytes, &got)) {
    case Stream::Got::kNothing:
      return true;
    case Stream::Got::kBroken:
      fail(pcb, ERR_RST);
      return false;
    case Stream::Got::kEnd:
      connection->peer_done = true;
      return hand_on(pcb, connection, nullptr);
    case Stream::Got::kBytes:
      break;
  }
  pbuf* packet = pbuf_alloc(PBUF_RAW, static_cast<u16_t>(got), PBUF_RAM);
  if (packet == nullptr) {
    fail(pcb, ERR_MEM);
    return false;
  }
  pbuf_take(packet, bytes, static_cast<u16_t>(got));
  return hand_on(pcb, connection, packet);
}

void serve(Connection* connection) {
  altcp_pcb* pcb = connection->pcb;
  if (connection->connecting && !finish_connect(pcb, connection)) return;
  flush(connection);
  if (!connection->peer_done && !receive(pcb, connection)) return;
  const size_t told = std::min(connection->told_later, size_t{UINT16_MAX});
  connection->told_later -= told;
  if (told > 0 && pcb->sent != nullptr) {  // lwIP's MQTT takes this as a sign of life, and sends what else there is
    pcb->sent(pcb->arg, pcb, static_cast<u16_t>(told));
    if (of(pcb) != connection) return;
  }
  if (pcb->poll == nullptr || stream_clock_ms() < connection->poll_due_ms) return;
  connection->poll_due_ms = stream_clock_ms() + kPollStepMs * (pcb->pollinterval > 0 ? pcb->pollinterval : 1);
  pcb->poll(pcb->arg, pcb);
}

}  // namespace

void serve_streams() {
  Connection* asked[kConnectionsMax];
  std::copy(std::begin(g_connections), std::end(g_connections), asked);
  for (Connection* one : asked) {
    if (one == nullptr) continue;
    bool still_here = false;
    for (const Connection* connection : g_connections) still_here = still_here || connection == one;
    if (still_here && one->stream != nullptr) serve(one);
  }
}

bool streams_are_due() {
  bool due = false;
  for (const Connection* connection : g_connections) {
    if (connection == nullptr || connection->connecting) continue;
    due = due || connection->told_later > 0 || (connection->out_size > 0 && !connection->blocked) ||
          (!connection->peer_done && connection->stream->has_more());
  }
  return due;
}

}  // namespace lambda::boards

// What altcp_tcp.c would define.
extern "C" altcp_pcb* altcp_tcp_new_ip_type(u8_t) {
  using namespace lambda::boards;
  for (Connection*& place : g_connections) {
    if (place != nullptr) continue;
    altcp_pcb* pcb = altcp_alloc();
    if (pcb == nullptr) return nullptr;
    place = new Connection;
    place->pcb = pcb;
    pcb->state = place;
    pcb->fns = &kFunctions;
    return pcb;
  }
  return nullptr;
}

extern "C" altcp_pcb* altcp_tcp_alloc(void*, u8_t ip_type) {
  return altcp_tcp_new_ip_type(ip_type);
}
