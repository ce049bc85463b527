#include "boards/firmware/mqtt_packets.h"

#include <lwip/altcp.h>
#include <lwip/pbuf.h>
#include <string.h>

namespace lambda::boards {
namespace {

constexpr size_t kHeadBytesMax = 5;  // type, and a length of at most four bytes
constexpr uint8_t kPublish = 3;

// There is one session at a time.
altcp_recv_fn g_mqtt = nullptr;  // null: it ended
uint8_t g_packet[kMqttPacketBytesMax];
size_t g_held = 0;   // of the packet's bytes, in g_packet
size_t g_head = 0;   // bytes of its type and length; 0: not known yet
size_t g_total = 0;  // its bytes, when g_head is known
size_t g_seen = 0;   // ... that came

void begin_packet() {
  g_held = g_head = g_total = g_seen = 0;
}

// Writes another length into the head, in as many bytes as before.
void say_length(size_t length) {
  for (size_t i = 1; i < g_head; ++i) {
    g_packet[i] = static_cast<uint8_t>((length & 0x7F) | (i + 1 < g_head ? 0x80 : 0));
    length >>= 7;
  }
}

// Its type and length, byte by byte. False: no MQTT.
bool take_head(uint8_t byte) {
  g_packet[g_held++] = byte;
  if (g_held == 1) return true;
  if ((byte & 0x80) != 0) return g_held < kHeadBytesMax;
  size_t length = 0;
  for (size_t i = g_held - 1; i > 0; --i) length = length << 7 | (g_packet[i] & 0x7F);
  g_head = g_seen = g_held;
  g_total = g_head + length;
  return g_total <= kMqttPacketBytesMax || g_packet[0] >> 4 == kPublish;
}

// mqtt.c frees what it was handed, which here lies on the stack: it has a second owner.
void hand_on(void* client, altcp_pcb* connection) {
  if (g_total > g_held) say_length(g_held - g_head);
  pbuf whole = {};
  whole.payload = g_packet;
  whole.len = whole.tot_len = static_cast<u16_t>(g_held);
  whole.type_internal = PBUF_REF;
  whole.ref = 2;
  g_mqtt(client, connection, &whole, ERR_OK);
}

// Returns how many bytes nobody will read. False: no MQTT.
bool take(std::span<const uint8_t> bytes, void* client, altcp_pcb* connection, size_t* skipped) {
  while (!bytes.empty() && g_mqtt != nullptr) {
    size_t count = 1;
    if (g_head == 0) {
      if (!take_head(bytes[0])) return false;
    } else {
      count = bytes.size() < g_total - g_seen ? bytes.size() : g_total - g_seen;
      const size_t room = kMqttPacketBytesMax - g_held;
      const size_t kept = count < room ? count : room;
      memcpy(g_packet + g_held, bytes.data(), kept);
      g_held += kept;
      g_seen += count;
      *skipped += count - kept;
    }
    bytes = bytes.subspan(count);
    if (g_head == 0 || g_seen < g_total) continue;
    hand_on(client, connection);
    begin_packet();
  }
  return true;
}

err_t receive(void* client, altcp_pcb* connection, pbuf* packet, err_t error) {
  if (g_mqtt == nullptr) {
    if (packet != nullptr) pbuf_free(packet);
    return ERR_OK;
  }
  if (packet == nullptr || error != ERR_OK) return g_mqtt(client, connection, packet, error);
  size_t skipped = 0;
  bool is_mqtt = true;
  for (const pbuf* part = packet; part != nullptr && is_mqtt; part = part->next) {
    is_mqtt = take({static_cast<const uint8_t*>(part->payload), part->len}, client, connection, &skipped);
  }
  pbuf_free(packet);
  if (g_mqtt == nullptr) return ERR_OK;
  if (!is_mqtt) return g_mqtt(client, connection, nullptr, ERR_OK);  // as if the broker had ended it
  if (skipped > 0) altcp_recved(connection, static_cast<u16_t>(skipped));
  return ERR_OK;
}

}  // namespace

MqttPacket mqtt_packet() {
  return {{g_packet, g_held}, g_total > g_held};
}

}  // namespace lambda::boards

// What mqtt.c calls for altcp_recv(): with its receiver when a connection stands, with none when it ends.
extern "C" void lambda_mqtt_recv(altcp_pcb* connection, altcp_recv_fn mqtt) {
  using namespace lambda::boards;
  g_mqtt = mqtt;
  begin_packet();
  altcp_recv(connection, mqtt != nullptr ? receive : nullptr);
}
