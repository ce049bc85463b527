// Any bytes as the flash of a device that starts: refused by name or taken, never a crash and never a device that
// stands still. Afterwards the device lives on: it is read, connects, hears answers of all kinds, and no point is lost
// to its counters. What it then saves it takes back.
//
// An input is tried as the whole flash, and, as checksums would keep nearly all inputs out, as a body and notes behind
// it (a byte of length before each) with everything put right that the bank, the device, its series and its blocks are
// known by. Bytes: proto/snapshot.md.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "lambda/block.h"
#include "lambda/flash.h"
#include "port/posix/posix_port.h"
#include "proto/lambda.pb.h"

namespace {

using Bytes = std::vector<uint8_t>;

constexpr uint32_t kPageBytes = 512;
constexpr uint32_t kPages = 48;
constexpr size_t kHeadBytes = 32;
constexpr size_t kIdentityBytes = 16;
constexpr size_t kFingerprintBytes = 8;
constexpr size_t kBodyBytesMax = 10'000;

constexpr lam_label kPlace[] = {{"line", "2"}};
constexpr lam_series_spec kSeries[] = {
    {"press_strokes_total", kPlace, 1, LAM_COUNTER, LAM_I64, 0, nullptr},
    {"press_force", nullptr, 0, LAM_GAUGE, LAM_F64, 0, "newton"},
    {"press_temperature", nullptr, 0, LAM_GAUGE, LAM_DEC, 2, "celsius"},
    {"press_door_open", nullptr, 0, LAM_STATE, LAM_STATE64, 0, nullptr},
};

void expect(bool condition) {
  if (!condition) std::abort();
}

void put_u32(uint8_t* to, uint32_t value) {
  for (int i = 0; i < 4; ++i) to[i] = static_cast<uint8_t>(value >> (8 * i));
}

// A device, its flash, and a gateway that answers by the number of what it got.
class Board {
 public:
  // `life`: each begins boots of other numbers.
  Board(const Bytes& flash, uint64_t life) : flash_(flash), drawn_(life << 32) {
    flash_.resize(size_t{kPageBytes} * kPages, 0xFF);
    lam_config config{};
    config.site = "plant-1";
    config.device = "press-7";
    config.series_max = 4;
    memory_.resize(lam_memory_min(&config) / 8 + 1'024);
    expect(lam_init(memory_.data(), memory_.size() * 8, &config, &port_, &device_) == LAM_OK);
    for (const lam_series_spec& spec : kSeries) {
      lam_series ref = 0;
      expect(lam_declare(device_, &spec, &ref) == LAM_OK);
    }
    const lam_flash_config once{2, UINT32_MAX};
    flash_memory_.resize(lam_flash_memory(&config, &flash_port_, &once) / 8 + 1);
    expect(lam_flash_start(flash_memory_.data(), flash_memory_.size() * 8, device_, &flash_port_, &once, &saver_,
                           &report) == LAM_OK);
    lam_counters counted;
    lam_get_counters(device_, &counted);
    expect(report.found == LAM_FLASH_RESTORED || counted.points_waiting == 0);
    expect_balance();
  }
  Board(const Board&) = delete;
  Board& operator=(const Board&) = delete;

  void read() const {
    std::array<lam_point, 64> points;
    for (lam_series ref = 1; ref <= std::size(kSeries); ++ref) {
      size_t count = 0;
      lam_summary summary;
      (void)lam_range(device_, ref, INT64_MIN, INT64_MAX, points.data(), points.size(), &count);
      (void)lam_last(device_, ref, points.data());
      (void)lam_summarise(device_, ref, INT64_MIN, INT64_MAX, &summary);
    }
  }
  void live(int turns) {
    lam_connected(device_);
    for (int i = 0; i < turns; ++i) {
      for (lam_series ref = 1; ref <= std::size(kSeries); ++ref) {
        (void)lam_append_at(device_, ref, lam_now_ms(device_), static_cast<uint64_t>(i));
      }
      if (i % 4 == 3) lam_flush(device_);
      mono_ms_ += std::min(lam_flash_poll(saver_), 5'000u);
      for (const std::string& message : std::exchange(up_, {})) answer(message);
    }
    expect_balance();
  }
  // What is saved now; empty: it does not fit.
  Bytes save() {
    const lam_status saved = lam_flash_save(saver_);
    expect(saved == LAM_OK || saved == LAM_E_MEMORY);
    return saved == LAM_OK ? flash_ : Bytes();
  }

  lam_flash_report report{};

 private:
  static Board& of(void* context) { return *static_cast<Board*>(context); }

  void expect_balance() const {
    lam_counters c;
    lam_get_counters(device_, &c);
    expect(c.points_made == c.points_settled + c.points_refused + c.points_dropped + c.points_waiting);
  }
  void answer(const std::string& message) {
    lambda::v1::Up up;
    if (!up.ParseFromString(message)) return;  // a parcel out of the flash may be any bytes
    lambda::v1::Down down;
    const uint64_t seq = up.parcel().seq();
    if (up.has_hello()) {
      down.mutable_ack()->set_boot(up.hello().boot());
      down.mutable_ack()->set_nonce(up.hello().nonce());
    } else if (seq % 4 == 0) {
      down.mutable_ack()->set_boot(up.parcel().boot());
      down.mutable_ack()->set_contiguous_seq(seq);
    } else if (seq % 4 != 1) {
      down.mutable_nack()->set_boot(up.parcel().boot());
      down.mutable_nack()->set_seq(seq);
      if (seq % 4 == 2) {
        down.mutable_nack()->mutable_permanent()->set_code(lambda::v1::CONFLICT);
      } else {
        down.mutable_nack()->mutable_new_boot();
      }
    }
    const std::string text = down.SerializeAsString();
    lam_incoming(device_, LAM_DOWN, reinterpret_cast<const uint8_t*>(text.data()), text.size());
  }

  Bytes flash_;
  std::vector<uint64_t> memory_, flash_memory_;
  std::vector<std::string> up_;
  lam_device* device_ = nullptr;
  lam_flash* saver_ = nullptr;
  int64_t mono_ms_ = 5'000;
  uint64_t drawn_;
  const lam_port port_{
      .context = this,
      .mono_ms = [](void* it) { return of(it).mono_ms_; },
      .utc_ms =
          [](void* it, int64_t* utc_ms) {
            *utc_ms = of(it).mono_ms_ + 1'700'000'000'000;
            return true;
          },
      .random = [](void* it) { return ++of(it).drawn_; },
      .sha256_start = lambda::posix_hash().start,
      .sha256_update = lambda::posix_hash().update,
      .sha256_finish = lambda::posix_hash().finish,
      .sign =
          [](void*, const uint8_t* digest, uint8_t* signature) {
            std::memcpy(signature, digest, 32);
            std::memcpy(signature + 32, digest, 32);
            return true;
          },
      .publish =
          [](void* it, lam_topic, const uint8_t* bytes, size_t size) {
            of(it).up_.emplace_back(reinterpret_cast<const char*>(bytes), size);
            return of(it).up_.size() < 16;
          },
      .gateway_ms = nullptr,
  };
  const lam_flash_port flash_port_{
      .context = this,
      .page_bytes = kPageBytes,
      .pages = kPages,
      .write_bytes = 4,
      .erase =
          [](void* it, uint32_t page) {
            expect(page < kPages);
            std::fill_n(of(it).flash_.begin() + static_cast<ptrdiff_t>(page * kPageBytes), kPageBytes, uint8_t{0xFF});
            return true;
          },
      .write =
          [](void* it, uint32_t at, const uint8_t* bytes, size_t size) {
            expect(at % 4 == 0 && size % 4 == 0 && at + size <= of(it).flash_.size());
            for (size_t i = 0; i < size; ++i) of(it).flash_[at + i] &= bytes[i];
            return true;
          },
      .read =
          [](void* it, uint32_t at, uint8_t* bytes, size_t size) {
            expect(at + size <= of(it).flash_.size());
            std::memcpy(bytes, of(it).flash_.data() + at, size);
            return true;
          },
  };
};

void run(const Bytes& flash) {
  Board board(flash, 1);
  board.read();
  board.live(24);
  board.read();
  const Bytes saved = board.save();
  if (saved.empty()) return;
  Board again(saved, 2);
  expect(again.report.found == LAM_FLASH_RESTORED);
  again.live(4);
}

// What the device, and each of its series, is known by.
struct Known {
  Known() {
    const Bytes flash = Board(Bytes(), 3).save();
    const uint8_t* bank = flash.data();
    if (std::memcmp(bank, "lamS", 4) != 0) bank += flash.size() / 2;
    const uint8_t* item = bank + kHeadBytes;
    std::copy_n(item, kIdentityBytes, identity.begin());
    item += kIdentityBytes + 1 + 3 * 8 + 2;  // behind the only boot
    for (auto& one : series) {
      std::copy_n(item + 1, kFingerprintBytes, one.begin());
      item += 1 + kFingerprintBytes + 3;  // without points: next ordinal, declared, flags
    }
  }
  std::array<uint8_t, kIdentityBytes> identity{};
  std::array<std::array<uint8_t, kFingerprintBytes>, std::size(kSeries)> series{};
};

// Goes through a body as its reader does, and puts right what it finds. Anything may be cut short.
class Righter {
 public:
  explicit Righter(Bytes* body) : body_(*body) {}
  // Returns where the body ends and notes begin.
  size_t right() {
    static const Known known;
    std::copy_n(known.identity.begin(), std::min(body_.size(), kIdentityBytes), body_.begin());
    at_ = kIdentityBytes;
    size_t series = 0;
    while (at_ < body_.size()) {
      const uint8_t tag = u8();
      if (tag == 0) return at_;
      if (tag == 1) {
        skip(3 * 8);
        (void)varint();
        if ((u8() & 1) != 0) skip(32);
      } else if (tag == 2) {
        if (at_ + kFingerprintBytes <= body_.size() && series < known.series.size()) {
          std::copy_n(known.series[series++].begin(), kFingerprintBytes, body_.begin() + static_cast<ptrdiff_t>(at_));
        }
        skip(kFingerprintBytes);
        (void)varint();
        skip(1);
        if ((u8() & 1) != 0) {
          (void)varint();
          skip(16);
        }
      } else if (tag == 3) {
        skip(1);
        (void)varint();
        skip(9);
      } else if (tag <= 7) {
        if (tag == 7) (void)varint();
        skip(tag == 4 ? 1 : 2);
        for (int i = tag >= 6 ? 1 : 2; i > 0; --i) (void)varint();
        const uint64_t size = varint();
        if (tag != 4) skip(size);
        if (tag >= 6 && at_ <= body_.size() && size >= 4) {
          const auto bytes = static_cast<size_t>(size);
          uint8_t* const block = body_.data() + at_ - bytes;
          put_u32(block + bytes - 4, lambda::crc32c({block, bytes - 4}));
        }
      } else {
        break;
      }
    }
    return body_.size();
  }

 private:
  uint8_t u8() { return at_ < body_.size() ? body_[at_++] : 0; }
  void skip(uint64_t size) { at_ = size < kBodyBytesMax ? at_ + static_cast<size_t>(size) : SIZE_MAX / 2; }
  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const uint8_t byte = u8();
      value |= uint64_t{byte & 0x7Fu} << shift;
      if ((byte & 0x80) == 0) break;
    }
    return value;
  }

  Bytes& body_;
  size_t at_ = 0;
};

Bytes flash_of(Bytes input) {
  const size_t body_bytes = Righter(&input).right();
  Bytes flash(kHeadBytes, 0xFF);
  std::memcpy(flash.data(), "lamS\1\0\0\0", 8);
  put_u32(&flash[8], 1);
  put_u32(&flash[12], 3);
  put_u32(&flash[16], static_cast<uint32_t>(body_bytes));
  put_u32(&flash[20], lambda::crc32c({input.data(), body_bytes}));
  put_u32(&flash[24], lambda::crc32c({flash.data(), 24}));
  flash.insert(flash.end(), input.begin(), input.begin() + static_cast<ptrdiff_t>(body_bytes));
  for (size_t at = body_bytes; at + 1 < input.size();) {
    const size_t size = std::min<size_t>({input[at], input.size() - at - 1, 240});
    const uint8_t* const payload = &input[at + 1];
    flash.resize((flash.size() + 7) / 8 * 8, 0xFF);
    uint8_t head[8] = {static_cast<uint8_t>(size), 0, static_cast<uint8_t>(~size), 0xFF};
    const uint8_t generation[4] = {1, 0, 0, 0};
    put_u32(head + 4, lambda::crc32c({payload, size}, lambda::crc32c(generation)));
    flash.insert(flash.end(), head, head + sizeof head);
    flash.insert(flash.end(), payload, payload + size);
    at += 1 + size;
  }
  flash.resize(std::min(flash.size(), size_t{kPageBytes} * kPages / 2));
  return flash;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > kBodyBytesMax) return 0;
  const Bytes input(data, data + size);
  run(input);
  if (size > kIdentityBytes) run(flash_of(input));
  return 0;
}
