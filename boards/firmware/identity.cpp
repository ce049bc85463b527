#include "boards/firmware/identity.h"

#include <mbedtls/sha256.h>
#include <string.h>

namespace lambda::boards {
namespace {

constexpr size_t kDigestAt = 16;
constexpr size_t kItemsAt = 48;

enum Tag : uint16_t {
  kSite = 1,
  kDevice = 2,
  kBrokerName = 3,
  kBrokerAddress = 4,
  kBrokerPort = 5,
  kMac = 6,
  kOwnAddress = 7,
  kMask = 8,
  kRouter = 9,
  kAuthority = 10,
  kCertificate = 11,
  kTlsKey = 12,
  kSigningKey = 13,
  kSealAge = 14,
  kMemory = 15,
  kFlashSave = 16,
};
constexpr uint32_t kNeeded = 0x3FFE;  // bits 1 to 13

uint32_t little(std::span<const uint8_t> bytes) {
  uint32_t value = 0;
  for (size_t i = bytes.size(); i > 0; --i) value = value << 8 | bytes[i - 1];
  return value;
}

bool take_text(std::span<const uint8_t> item, size_t size_max, const char** text) {
  if (item.size() < 2 || item.size() > size_max + 1 || memchr(item.data(), 0, item.size()) != &item.back())
    return false;
  *text = reinterpret_cast<const char*>(item.data());
  return true;
}

template <size_t kSize>
bool take_bytes(std::span<const uint8_t> item, uint8_t (&bytes)[kSize]) {
  if (item.size() != kSize) return false;
  memcpy(bytes, item.data(), kSize);
  return true;
}

bool take_number(std::span<const uint8_t> item, uint32_t* number) {
  if (item.size() != 4) return false;
  *number = little(item);
  return true;
}

bool take_der(std::span<const uint8_t> item, std::span<const uint8_t>* der) {
  *der = item;
  return !item.empty();
}

bool take(uint16_t tag, std::span<const uint8_t> item, Identity* identity) {
  switch (tag) {
    case kSite:
      return take_text(item, 64, &identity->site);
    case kDevice:
      return take_text(item, 64, &identity->device);
    case kBrokerName:
      return take_text(item, 253, &identity->broker_name);
    case kBrokerAddress:
      return take_bytes(item, identity->broker_address);
    case kBrokerPort:
      identity->broker_port = static_cast<uint16_t>(little(item));
      return item.size() == 2 && identity->broker_port != 0;
    case kMac:
      return take_bytes(item, identity->network.mac);
    case kOwnAddress:
      return take_bytes(item, identity->network.own);
    case kMask:
      return take_bytes(item, identity->network.mask);
    case kRouter:
      return take_bytes(item, identity->network.router);
    case kAuthority:
      return take_der(item, &identity->authority);
    case kCertificate:
      return take_der(item, &identity->certificate);
    case kTlsKey:
      return take_der(item, &identity->tls_key);
    case kSigningKey:
      return take_der(item, &identity->signing_key) && item.size() == 32;
    case kSealAge:
      return take_number(item, &identity->seal_age_ms);
    case kMemory:
      return take_number(item, &identity->memory_bytes_max);
    case kFlashSave:
      return take_number(item, &identity->flash_save_s);
    default:
      return true;
  }
}

}  // namespace

const char* read_identity(std::span<const uint8_t> region, Identity* identity) {
  if (region.size() < kItemsAt || memcmp(region.data(), "lambdaID", 8) != 0) return "the identity region is empty";
  if (little(region.subspan(8, 4)) != 1) return "the identity is of another version";
  const uint32_t size = little(region.subspan(12, 4));
  if (size > region.size() - kItemsAt) return "the identity is longer than its region";
  std::span<const uint8_t> items = region.subspan(kItemsAt, size);
  uint8_t digest[32];
  if (mbedtls_sha256_ret(items.data(), items.size(), digest, 0) != 0 ||
      memcmp(digest, region.data() + kDigestAt, sizeof digest) != 0) {
    return "the identity is damaged";
  }
  uint32_t seen = 0;
  while (!items.empty()) {
    if (items.size() < 4) return "the identity is cut short";
    const auto tag = static_cast<uint16_t>(little(items.first(2)));
    const size_t bytes = little(items.subspan(2, 2));
    if (bytes > items.size() - 4) return "the identity is cut short";
    if (!take(tag, items.subspan(4, bytes), identity)) return "an item of the identity is malformed";
    if (tag < 32) seen |= 1u << tag;
    items = items.subspan(4 + bytes);
  }
  return (seen & kNeeded) == kNeeded ? nullptr : "the identity lacks an item";
}

}  // namespace lambda::boards
