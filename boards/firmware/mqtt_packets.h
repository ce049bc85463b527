// Hands lwIP's MQTT whole packets. Its parser keeps a packet that comes in several pieces in the same few bytes, piece
// over piece (mqtt.c of 2.1.3): a CONNACK cut in two ends the session, a long message loses what is between. Broker,
// TLS and TCP cut where they like. So mqtt.c, compiled with another name for altcp_recv() (boards/vendor.cmake), is
// handed what came only when a packet is whole.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <span>

namespace lambda::boards {

// What a PUBLISH may take: head, topic, number and a message of 2,048 bytes.
inline constexpr size_t kMqttPacketBytesMax = 5 + 2 + 160 + 2 + 2048;

struct MqttPacket {
  std::span<const uint8_t> bytes;
  bool cut_short;  // a PUBLISH that was longer: these are its first bytes, and its head says so many
};
// The one that mqtt.c is at, for its callbacks; valid inside them.
MqttPacket mqtt_packet();

}  // namespace lambda::boards
