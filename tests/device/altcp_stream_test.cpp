// lwIP's MQTT over connections that are not lwIP's: what it is told of them, and that bytes may come in any pieces.
#include "boards/host/altcp_stream.h"

#include <gtest/gtest.h>
#include <lwip/altcp_tcp.h>
#include <lwip/apps/mqtt.h>
#include <lwip/apps/mqtt_priv.h>
#include <lwip/init.h>

#include <algorithm>
#include <deque>
#include <random>
#include <string>
#include <vector>

#include "boards/firmware/crypto.h"
#include "boards/firmware/device_clock.h"
#include "boards/firmware/mqtt_packets.h"
#include "boards/firmware/platform.h"

namespace lambda::boards {
namespace {

int64_t g_now_ms = 0;

// What the other side of the one stream does.
struct Peer {
  Stream::Dial dial = Stream::Dial::kUp;
  size_t takes = SIZE_MAX;  // of what is sent next
  std::string sent;
  std::deque<std::string> pieces;  // each is one receive()
  bool ends = false, breaks = false, gone = false;
};
Peer* g_peer = nullptr;

class FakeStream final : public Stream {
 public:
  ~FakeStream() override { g_peer->gone = true; }
  Dial dial() override { return g_peer->dial; }
  size_t send(std::span<const uint8_t> bytes) override {
    const size_t count = std::min(bytes.size(), g_peer->takes);
    g_peer->sent.append(reinterpret_cast<const char*>(bytes.data()), count);
    g_peer->takes -= count;
    return count;
  }
  Got receive(std::span<uint8_t> into, size_t* count) override {
    if (g_peer->pieces.empty()) return g_peer->breaks ? Got::kBroken : g_peer->ends ? Got::kEnd : Got::kNothing;
    std::string& piece = g_peer->pieces.front();
    *count = std::min(into.size(), piece.size());
    std::copy_n(piece.begin(), *count, into.begin());
    piece.erase(0, *count);
    if (piece.empty()) g_peer->pieces.pop_front();
    return Got::kBytes;
  }
  bool has_more() const override { return !g_peer->pieces.empty(); }
};

}  // namespace

std::unique_ptr<Stream> open_stream(const ip_addr_t&, uint16_t) {
  return std::make_unique<FakeStream>();
}
int64_t stream_clock_ms() {
  return g_now_ms;
}

namespace {

struct Lwip : testing::Test {
  Lwip() {
    static const Board board = [] {
      Board made = {};
      made.mono_ms = [](void*) { return g_now_ms; };
      made.log = [](void*, const char*, size_t) {};
      made.load = [](void*, uint8_t*, size_t) { return false; };
      made.entropy = [](void*, uint8_t* bytes, size_t size) {
        std::fill_n(bytes, size, uint8_t{7});
        return true;
      };
      return made;
    }();
    static const DeviceClock clock(board, 0);
    start_platform(board, clock);
    static const bool begun = [] {
      if (!start_random()) return false;
      lwip_init();
      return true;
    }();
    EXPECT_TRUE(begun);
    g_peer = &peer;
  }
  Peer peer;
};

struct Altcp : Lwip {
  Altcp() : pcb(altcp_tcp_new()) {
    altcp_arg(pcb, this);
    altcp_sent(pcb, [](void* context, altcp_pcb*, u16_t bytes) -> err_t {
      static_cast<Altcp*>(context)->told += bytes;
      return ERR_OK;
    });
    altcp_recv(pcb, [](void* context, altcp_pcb*, pbuf* packet, err_t) -> err_t {
      Altcp& test = *static_cast<Altcp*>(context);
      if (packet == nullptr) {
        ++test.ends;
        return ERR_OK;
      }
      if (test.refuses) return ERR_MEM;
      test.got.append(static_cast<const char*>(packet->payload), packet->len);
      pbuf_free(packet);
      if (test.closes_inside) altcp_close(std::exchange(test.pcb, nullptr));
      return ERR_OK;
    });
    altcp_err(pcb, [](void* context, err_t told_error) {
      Altcp& test = *static_cast<Altcp*>(context);
      test.error = told_error;
      test.pcb = nullptr;
    });
    ip_addr_t address;
    IP_ADDR4(&address, 10, 0, 0, 1);
    EXPECT_EQ(altcp_connect(pcb, &address, 1883,
                            [](void* context, altcp_pcb*, err_t) -> err_t {
                              ++static_cast<Altcp*>(context)->connected;
                              return ERR_OK;
                            }),
              ERR_OK);
  }
  ~Altcp() override {
    if (pcb != nullptr) altcp_close(pcb);
    EXPECT_TRUE(peer.gone);
  }
  void write(const std::string& text) {
    EXPECT_EQ(altcp_write(pcb, text.data(), static_cast<u16_t>(text.size()), TCP_WRITE_FLAG_COPY), ERR_OK);
    EXPECT_EQ(altcp_output(pcb), ERR_OK);
  }

  altcp_pcb* pcb;
  int connected = 0, ends = 0;
  bool refuses = false, closes_inside = false;
  size_t told = 0;
  std::string got;
  err_t error = ERR_OK;
};

TEST_F(Altcp, IsConnectedWhenItsStreamIs) {
  peer.dial = Stream::Dial::kPending;
  serve_streams();
  EXPECT_EQ(connected, 0);
  peer.dial = Stream::Dial::kUp;
  serve_streams();
  serve_streams();
  EXPECT_EQ(connected, 1);
}

TEST_F(Altcp, AStreamThatCannotConnectIsAnErrorAndNoPcbIsLeft) {
  peer.dial = Stream::Dial::kFailed;
  serve_streams();
  EXPECT_EQ(error, ERR_RST);
  EXPECT_EQ(pcb, nullptr);
}

TEST_F(Altcp, WhatTheStreamDoesNotTakeGoesLaterAndEachByteIsToldOnce) {
  serve_streams();
  peer.takes = 3;
  write("abcdef");
  EXPECT_EQ(told, 0u) << "from inside a call";
  EXPECT_TRUE(streams_are_due());
  serve_streams();
  EXPECT_EQ(told, 3u);
  EXPECT_FALSE(streams_are_due()) << "it waits for the stream to have room";
  peer.takes = SIZE_MAX;
  serve_streams();
  serve_streams();
  EXPECT_EQ(peer.sent, "abcdef");
  EXPECT_EQ(told, 6u);
}

TEST_F(Altcp, WhatIsRefusedIsOfferedAgain) {
  serve_streams();
  peer.pieces = {"abc", "def"};
  refuses = true;
  serve_streams();
  serve_streams();
  EXPECT_EQ(got, "");
  refuses = false;
  EXPECT_TRUE(streams_are_due());
  serve_streams();
  serve_streams();
  EXPECT_EQ(got, "abcdef");
}

TEST_F(Altcp, AnEndIsToldOnceAndSendingGoesOn) {
  serve_streams();
  peer.pieces = {"last"};
  peer.ends = true;
  for (int i = 0; i < 4; ++i) serve_streams();
  EXPECT_EQ(got, "last");
  EXPECT_EQ(ends, 1);
  write("answer");
  EXPECT_EQ(peer.sent, "answer");
}

TEST_F(Altcp, ABrokenStreamIsAnErrorAfterItsLastBytes) {
  serve_streams();
  peer.pieces = {"last"};
  peer.breaks = true;
  for (int i = 0; i < 3; ++i) serve_streams();
  EXPECT_EQ(got, "last");
  EXPECT_EQ(error, ERR_RST);
}

TEST_F(Altcp, MayBeClosedFromInsideItsCallback) {
  serve_streams();
  peer.pieces = {"abc", "def"};
  closes_inside = true;
  for (int i = 0; i < 3; ++i) serve_streams();
  EXPECT_EQ(got, "abc");
  EXPECT_TRUE(peer.gone);
}

// ---- lwIP's MQTT, behind boards/firmware/mqtt_packets.cpp

std::string publish(const std::string& topic, uint16_t number, const std::string& message) {
  std::string body = {static_cast<char>(topic.size() >> 8), static_cast<char>(topic.size())};
  body += topic;
  body += {static_cast<char>(number >> 8), static_cast<char>(number)};
  body += message;
  std::string packet = "\x32";
  for (size_t size = body.size(); packet.size() == 1 || size > 0; size >>= 7) {
    packet += static_cast<char>((size & 0x7F) | (size > 0x7F ? 0x80 : 0));
  }
  return packet + body;
}

class Mqtt : public Lwip {
 public:
  struct Message {
    std::string topic, bytes;
    bool cut_short = false;
    bool operator==(const Message&) const = default;
  };

  Mqtt() { connect(); }
  ~Mqtt() override { mqtt_disconnect(&client); }

  void connect() {
    mqtt_connect_client_info_t info = {};
    info.client_id = "device";
    ip_addr_t address;
    IP_ADDR4(&address, 10, 0, 0, 1);
    const auto said = [](mqtt_client_t*, void* context, mqtt_connection_status_t now) {
      static_cast<Mqtt*>(context)->status.push_back(now);
    };
    EXPECT_EQ(mqtt_client_connect(&client, &address, 1883, said, this, &info), ERR_OK);
    mqtt_set_inpub_callback(
        &client,
        [](void* context, const char* topic, u32_t bytes) {
          Mqtt& test = *static_cast<Mqtt*>(context);
          test.messages.push_back({topic, "", mqtt_packet().cut_short});
          test.announced = bytes;
        },
        [](void* context, const u8_t*, u16_t, u8_t flags) {
          Mqtt& test = *static_cast<Mqtt*>(context);
          if ((flags & MQTT_DATA_FLAG_LAST) == 0) return;
          const auto bytes = mqtt_packet().bytes.last(test.announced);
          test.messages.back().bytes.assign(bytes.begin(), bytes.end());
        },
        this);
    serve_streams();
  }

  // In pieces of the given sizes; the last one is repeated.
  void receive(std::string bytes, const std::vector<size_t>& sizes) {
    for (size_t i = 0; !bytes.empty(); ++i) {
      const size_t size = std::min(bytes.size(), sizes[std::min(i, sizes.size() - 1)]);
      peer.pieces.push_back(bytes.substr(0, size));
      bytes.erase(0, size);
    }
    while (!peer.pieces.empty() && !peer.gone) serve_streams();
  }

  mqtt_client_t client = {};
  std::vector<mqtt_connection_status_t> status;
  std::vector<Message> messages;
  size_t announced = 0;
};

const std::string kConnack("\x20\x02\x00\x00", 4);

std::string pattern(size_t size) {
  std::string out;
  for (size_t i = 0; i < size; ++i) out += static_cast<char>(i * 7 + i / 251);
  return out;
}

TEST_F(Mqtt, TakesPacketsWhereverTheyAreCut) {
  const std::string stream = kConnack + publish("a/down", 1, pattern(150)) + publish("a/down", 2, pattern(1'500)) +
                             std::string("\xD0\x00", 2) + publish("a/interest", 3, "") +
                             publish("a/down", 4, pattern(2'048));
  const std::vector<Message> wanted = {
      {"a/down", pattern(150)}, {"a/down", pattern(1'500)}, {"a/interest", ""}, {"a/down", pattern(2'048)}};
  receive(stream, {TCP_MSS});
  EXPECT_EQ(status, std::vector{MQTT_CONNECT_ACCEPTED});
  EXPECT_EQ(messages, wanted);
  for (size_t cut = 1; cut < stream.size(); ++cut) {
    messages.clear();
    receive(stream.substr(4), {cut, TCP_MSS});
    ASSERT_EQ(messages, wanted) << "cut at " << cut;
  }
  for (const size_t size : {1, 2, 3, 5, 188, 189, 190, 191, 192, 193}) {
    messages.clear();
    receive(stream.substr(4), {size});
    ASSERT_EQ(messages, wanted) << "pieces of " << size;
  }
  EXPECT_EQ(status, std::vector{MQTT_CONNECT_ACCEPTED}) << "the session goes on";
}

TEST_F(Mqtt, AMessageThatIsTooLongIsCutShortAndTheNextOneIsWhole) {
  for (const size_t piece : {size_t{1}, size_t{100}, size_t{TCP_MSS}}) {
    messages.clear();
    receive(
        (status.empty() ? kConnack : "") + publish("a/interest", 9, pattern(20'000)) + publish("a/down", 10, "next"),
        {piece});
    ASSERT_EQ(messages.size(), 2u);
    EXPECT_TRUE(messages[0].cut_short);
    EXPECT_TRUE(pattern(20'000).starts_with(messages[0].bytes));
    EXPECT_GT(messages[0].bytes.size(), 2'048u);
    EXPECT_EQ(messages[1], (Message{"a/down", "next"}));
  }
  EXPECT_EQ(status, std::vector{MQTT_CONNECT_ACCEPTED});
  EXPECT_NE(peer.sent.find(std::string("\x40\x02\x00\x09", 4)), std::string::npos) << "or the broker sends no more";
}

TEST_F(Mqtt, ALengthThatDoesNotEndIsTheEndOfTheSession) {
  receive(kConnack + std::string("\x32\xFF\xFF\xFF\xFF\x01", 6), {TCP_MSS});
  EXPECT_EQ(status, (std::vector{MQTT_CONNECT_ACCEPTED, MQTT_CONNECT_DISCONNECTED}));
  EXPECT_EQ(mqtt_client_is_connected(&client), 0);
}

TEST_F(Mqtt, AnAnswerLongerThanAnyIsTheEndOfTheSession) {
  receive(kConnack + "\x90\xFF\xFF\x7F" + pattern(10), {TCP_MSS});
  EXPECT_EQ(status, (std::vector{MQTT_CONNECT_ACCEPTED, MQTT_CONNECT_DISCONNECTED}));
}

// For the sanitizers, and for assertions of lwIP, which would start a device anew.
TEST_F(Mqtt, OtherBytesEndASessionAtMost) {
  const std::string stream = publish("a/down", 1, pattern(150)) + std::string("\x90\x03\x00\x01\x01", 5) +
                             publish("a/down", 2, pattern(1'500)) + std::string("\x40\x02\x00\x02", 4) +
                             publish("a/interest", 3, "") + std::string("\xD0\x00", 2);
  std::mt19937_64 random(1);
  int ended = 0;
  for (int round = 0; round < 3'000; ++round) {
    SCOPED_TRACE(round);
    std::string bytes = stream;
    for (uint64_t i = random() % 4; i > 0; --i) bytes[random() % bytes.size()] = static_cast<char>(random());
    bytes.erase(random() % bytes.size(), random() % 20);
    receive((mqtt_client_is_connected(&client) != 0 ? "" : kConnack) + bytes, {1 + random() % 300});
    if (!peer.gone) continue;
    ++ended;
    peer = {};
    connect();
    receive(kConnack, {1});
    ASSERT_EQ(status.back(), MQTT_CONNECT_ACCEPTED) << "the next session";
  }
  EXPECT_GT(ended, 100);
}

}  // namespace
}  // namespace lambda::boards
