#include "boards/mps2/lan9118.h"

#include <lwip/etharp.h>
#include <lwip/netif.h>
#include <netif/ethernet.h>
#include <string.h>

#include "boards/mps2/mps2.h"

namespace lambda::boards {
namespace {

enum Register : uint32_t {
  kRxData = 0x00,
  kTxData = 0x20,
  kRxStatus = 0x40,
  kTxStatus = 0x48,
  kInterrupts = 0x5C,
  kByteTest = 0x64,
  kRxConfig = 0x6C,
  kTxConfig = 0x70,
  kHardwareConfig = 0x74,
  kRxFifo = 0x7C,
  kTxFifo = 0x80,
  kMacCommand = 0xA4,
  kMacData = 0xA8,
};
enum MacRegister : uint32_t { kMacControl = 1, kMacAddressHigh = 2, kMacAddressLow = 3 };

constexpr uint32_t kByteTestValue = 0x8765'4321;
constexpr uint32_t kTriesMax = 100'000;
constexpr uint32_t kFrameBytesMax = 1518;
constexpr uint32_t kChecksumBytes = 4;
constexpr uint32_t kFramesPerPollMax = 16;

netif g_interface;
// One frame in words: what goes to and comes from the controller does so in words.
uint32_t g_frame[(kFrameBytesMax + kChecksumBytes + 3) / 4];

uint32_t read(uint32_t at) {
  return *reinterpret_cast<volatile uint32_t*>(kLan9118Base + at);
}
void write(uint32_t at, uint32_t value) {
  *reinterpret_cast<volatile uint32_t*>(kLan9118Base + at) = value;
}

template <class Condition>
bool wait_for(Condition condition) {
  for (uint32_t tries = 0; tries < kTriesMax; ++tries) {
    if (condition()) return true;
  }
  return false;
}

bool mac_done() {
  return wait_for([] { return (read(kMacCommand) & 0x8000'0000) == 0; });
}
bool mac_write(uint32_t at, uint32_t value) {
  write(kMacData, value);
  write(kMacCommand, 0x8000'0000 | at);
  return mac_done();
}
bool mac_read(uint32_t at, uint32_t* value) {
  write(kMacCommand, 0xC000'0000 | at);
  if (!mac_done()) return false;
  *value = read(kMacData);
  return true;
}

bool start_controller(const uint8_t mac[6]) {
  if (!wait_for([] { return read(kByteTest) == kByteTestValue; })) return false;
  write(kHardwareConfig, 1);
  if (!wait_for([] { return (read(kHardwareConfig) & 1) == 0; })) return false;
  write(kHardwareConfig, 0x0005'0000);  // 5 KB of the FIFO for what is sent
  write(kInterrupts, 0);
  write(kRxConfig, 0);
  write(kTxConfig, 2);
  const uint32_t low = mac[0] | uint32_t{mac[1]} << 8 | uint32_t{mac[2]} << 16 | uint32_t{mac[3]} << 24;
  uint32_t control = 0;
  return mac_write(kMacAddressLow, low) && mac_write(kMacAddressHigh, mac[4] | uint32_t{mac[5]} << 8) &&
         mac_read(kMacControl, &control) && mac_write(kMacControl, control | 0xC);  // to send and to receive
}

err_t send(netif*, pbuf* packet) {
  if (packet->tot_len > kFrameBytesMax) return ERR_BUF;
  const uint32_t bytes = packet->tot_len;
  // Room for the frame and its two commands; a FIFO that stays full is a cable nobody listens at: TCP sends again.
  if ((read(kTxFifo) & 0xFFFF) < bytes + 16) return ERR_MEM;
  pbuf_copy_partial(packet, g_frame, packet->tot_len, 0);
  write(kTxData, 0x3000 | bytes);  // first and last part of a frame
  write(kTxData, bytes << 16 | bytes);
  for (uint32_t word = 0; word < (bytes + 3) / 4; ++word) write(kTxData, g_frame[word]);
  while ((read(kTxFifo) >> 16 & 0xFF) != 0) read(kTxStatus);
  return ERR_OK;
}

err_t describe(netif* interface) {
  interface->name[0] = 'e';
  interface->name[1] = 'n';
  interface->mtu = 1500;
  interface->hwaddr_len = 6;
  interface->flags = NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP | NETIF_FLAG_ETHERNET | NETIF_FLAG_LINK_UP;
  interface->output = etharp_output;
  interface->linkoutput = send;
  return ERR_OK;
}

void take_frame() {
  const uint32_t status = read(kRxStatus);
  const uint32_t bytes = status >> 16 & 0x3FFF;
  const uint32_t words = (bytes + 3) / 4;
  const bool fits = bytes <= sizeof g_frame && bytes > kChecksumBytes;
  for (uint32_t word = 0; word < words; ++word) {
    const uint32_t value = read(kRxData);
    if (fits) g_frame[word] = value;
  }
  if (!fits || (status & 0x8000) != 0) return;
  const auto size = static_cast<u16_t>(bytes - kChecksumBytes);
  pbuf* packet = pbuf_alloc(PBUF_RAW, size, PBUF_POOL);
  if (packet == nullptr) return;  // lwIP's pool is empty: as if the frame had been lost on the way
  pbuf_take(packet, g_frame, size);
  if (g_interface.input(packet, &g_interface) != ERR_OK) pbuf_free(packet);
}

}  // namespace

bool lan9118_start(const NetworkAddress& address) {
  if (!start_controller(address.mac)) return false;
  ip4_addr_t own, mask, router;
  IP4_ADDR(&own, address.own[0], address.own[1], address.own[2], address.own[3]);
  IP4_ADDR(&mask, address.mask[0], address.mask[1], address.mask[2], address.mask[3]);
  IP4_ADDR(&router, address.router[0], address.router[1], address.router[2], address.router[3]);
  memcpy(g_interface.hwaddr, address.mac, sizeof address.mac);
  if (netif_add(&g_interface, &own, &mask, &router, nullptr, describe, ethernet_input) == nullptr) return false;
  netif_set_default(&g_interface);
  netif_set_up(&g_interface);
  return true;
}

void lan9118_poll() {
  for (uint32_t frames = 0; frames < kFramesPerPollMax && (read(kRxFifo) >> 16 & 0xFF) != 0; ++frames) take_frame();
}

}  // namespace lambda::boards
