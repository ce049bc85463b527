#include "flash_banks.h"

#include <string.h>

#include "expect.h"
#include "lambda/block.h"
#include "planted.h"

namespace lambda {
namespace {

constexpr uint8_t kMagic[4] = {'l', 'a', 'm', 'S'};
constexpr uint16_t kVersion = 1;
constexpr size_t kHeadCheckedBytes = 24;
constexpr uint32_t kNotesRoom = 1024;  // kept behind a body, where a bank is large enough

uint32_t get_u32(const uint8_t* bytes) {
  uint32_t value = 0;
  for (size_t i = 4; i-- > 0;) value = value << 8 | bytes[i];
  return value;
}
void put_u32(uint8_t* bytes, uint32_t value) {
  for (size_t i = 0; i < 4; ++i, value >>= 8) bytes[i] = static_cast<uint8_t>(value);
}

bool all_ones(const uint8_t* bytes, size_t size) {
  for (size_t i = 0; i < size; ++i) {
    if (bytes[i] != 0xFF) return false;
  }
  return true;
}

}  // namespace

// ---- Reading

bool BankReader::bytes(uint8_t* out, size_t size) {
  ok_ = ok_ && size <= left_ && port_.read(port_.context, at_, out, size);
  if (!ok_) return false;
  at_ += static_cast<uint32_t>(size);
  left_ -= static_cast<uint32_t>(size);
  return true;
}

bool BankReader::skip(size_t size) {
  ok_ = ok_ && size <= left_;
  if (!ok_) return false;
  at_ += static_cast<uint32_t>(size);
  left_ -= static_cast<uint32_t>(size);
  return true;
}

uint8_t BankReader::u8() {
  uint8_t value = 0;
  bytes(&value, 1);
  return value;
}

uint64_t BankReader::u64() {
  uint8_t raw[8] = {};
  bytes(raw, sizeof raw);
  return uint64_t{get_u32(raw + 4)} << 32 | get_u32(raw);
}

uint64_t BankReader::varint() {
  uint64_t value = 0;
  for (int shift = 0; shift < 64 && ok_; shift += 7) {
    const uint8_t byte = u8();
    value |= uint64_t{byte & 0x7Fu} << shift;
    if ((byte & 0x80) == 0) return value;
  }
  ok_ = false;
  return 0;
}

FlashBanks::FlashBanks(const lam_flash_port& port, uint32_t banks)
    : port_(port), banks_(banks), bank_bytes_(port.pages / banks * port.page_bytes) {}

bool FlashBanks::is_blank(uint32_t address, uint32_t bytes) const {
  uint8_t piece[64];
  while (bytes > 0) {
    const uint32_t size = bytes < sizeof piece ? bytes : sizeof piece;
    if (!port_.read(port_.context, address, piece, size) || !all_ones(piece, size)) return false;
    address += size;
    bytes -= size;
  }
  return true;
}

bool FlashBanks::read_head(uint32_t bank, BankHead* head, bool* blank) const {
  uint8_t raw[kHeadBytes];
  *blank = false;
  if (!port_.read(port_.context, bank_at(bank), raw, sizeof raw)) {
    unreadable_ = true;
    return false;
  }
  *blank = all_ones(raw, sizeof raw);
  if (memcmp(raw, kMagic, sizeof kMagic) != 0) return false;
  if (get_u32(raw + kHeadCheckedBytes) != crc32c({raw, kHeadCheckedBytes})) return false;
  head->version = static_cast<uint16_t>(raw[4] | raw[5] << 8);
  head->generation = get_u32(raw + 8);
  head->starts = get_u32(raw + 12);
  head->body_bytes = get_u32(raw + 16);
  head->body_checksum = get_u32(raw + 20);
  return true;
}

bool FlashBanks::body_holds(uint32_t bank, const BankHead& head) const {
  if (head.body_bytes > bank_bytes_ - kHeadBytes) return false;
  uint8_t piece[64];
  uint32_t checksum = 0;
  for (uint32_t done = 0; done < head.body_bytes;) {
    const uint32_t left = head.body_bytes - done;
    const uint32_t size = left < sizeof piece ? left : sizeof piece;
    if (!port_.read(port_.context, bank_at(bank) + kHeadBytes + done, piece, size)) return false;
    checksum = crc32c({piece, size}, checksum);
    done += size;
  }
  return checksum == head.body_checksum;
}

// A header that does not hold is a save that was cut short: the one before it is still the truth. A header that holds
// over a body that does not is damage: much may have been sent since the one before.
FlashBanks::Look FlashBanks::look(uint32_t* torn) {
  *torn = 0;
  uint32_t newest = kNoBank;
  for (uint32_t bank = 0; bank < banks_; ++bank) {
    BankHead found;
    bool blank = false;
    if (!read_head(bank, &found, &blank)) {
      if (!blank || !is_blank(bank_at(bank) + kHeadBytes, port_.page_bytes - kHeadBytes)) ++*torn;
      continue;
    }
    const bool older = found.generation < head_.generation;
    if (newest != kNoBank && older != planted("flash_takes_the_older")) continue;
    newest = bank;
    head_ = found;
  }
  if (unreadable_) return Look::kUnreadable;
  if (newest == kNoBank) return Look::kNone;
  generation_ = head_.generation;
  choose_next(newest);
  if (head_.version != kVersion) return Look::kOtherVersion;
  if (!body_holds(newest, head_)) return Look::kDamaged;
  current_ = newest;
  old_heads_ = true;
  find_end_of_notes();
  return Look::kFound;
}

// ---- Notes

// A note's head is its length, the same inverted, and a checksum that the generation goes into.
bool FlashBanks::note_at(uint32_t at, uint32_t* payload_bytes) const {
  uint8_t raw[kNoteHeadBytes + kNoteBytesMax];
  if (at + kNoteHeadBytes > bank_bytes_) return false;
  unreadable_ = unreadable_ || !port_.read(port_.context, bank_at(current_) + at, raw, kNoteHeadBytes);
  if (unreadable_) return false;
  const uint32_t size = raw[0] | raw[1] << 8;
  if ((size ^ 0xFFFFu) != static_cast<uint32_t>(raw[2] | raw[3] << 8) || size == 0 || size > kNoteBytesMax)
    return false;
  if (at + kNoteHeadBytes + size > bank_bytes_) return false;
  unreadable_ = !port_.read(port_.context, bank_at(current_) + at + kNoteHeadBytes, raw + kNoteHeadBytes, size);
  if (unreadable_) return false;
  uint8_t generation[4];
  put_u32(generation, head_.generation);
  if (get_u32(raw + 4) != crc32c({raw + kNoteHeadBytes, size}, crc32c(generation))) return false;
  *payload_bytes = size;
  return true;
}

// What a loss of power left of a note is passed over.
bool FlashBanks::next_note(uint32_t* at, uint32_t* note_at_address, uint32_t* note_bytes) const {
  if (*at == 0) *at = round_up(kHeadBytes + head_.body_bytes);
  for (; *at < notes_end_; *at += note_unit()) {
    if (!note_at(*at, note_bytes)) continue;
    *note_at_address = bank_at(current_) + *at + kNoteHeadBytes;
    *at += round_up(kNoteHeadBytes + *note_bytes);
    return true;
  }
  return false;
}

void FlashBanks::find_end_of_notes() {
  notes_end_ = bank_bytes_;
  const uint32_t first = round_up(kHeadBytes + head_.body_bytes);
  while (notes_end_ > first && is_blank(bank_at(current_) + notes_end_ - note_unit(), note_unit())) {
    notes_end_ -= note_unit();
  }
  if (notes_end_ < first) notes_end_ = first;
}

bool FlashBanks::note(std::span<const uint8_t> payload) {
  if (current_ == kNoBank || payload.empty() || payload.size() > kNoteBytesMax) return false;
  const auto size = static_cast<uint32_t>(payload.size());
  const uint32_t whole = round_up(kNoteHeadBytes + size);
  if (notes_end_ + whole > bank_bytes_) return false;
  uint8_t raw[kNoteHeadBytes + kNoteBytesMax + 32];
  memset(raw, 0xFF, sizeof raw);
  raw[0] = static_cast<uint8_t>(size);
  raw[1] = static_cast<uint8_t>(size >> 8);
  raw[2] = static_cast<uint8_t>(~raw[0]);
  raw[3] = static_cast<uint8_t>(~raw[1]);
  uint8_t generation[4];
  put_u32(generation, head_.generation);
  put_u32(raw + 4, crc32c(payload, crc32c(generation)));
  memcpy(raw + kNoteHeadBytes, payload.data(), size);
  const uint32_t at = notes_end_;
  notes_end_ += whole;
  return write(bank_at(current_) + at, raw, whole);
}

// ---- Erasing ahead

void FlashBanks::choose_next(uint32_t after) {
  next_ = kNoBank;
  for (uint32_t i = 1; i <= banks_; ++i) {
    const uint32_t bank = (after + i) % banks_;
    if (bank == current_ || !usable(bank)) continue;
    next_ = bank;
    break;
  }
  blank_pages_ = 0;
}

bool FlashBanks::erase(uint32_t page) {
  ++counters_.erases;
  return port_.erase(port_.context, page) && is_blank(page * port_.page_bytes, port_.page_bytes);
}

void FlashBanks::give_up(uint32_t bank) {
  worn_ |= 1u << bank;
  ++counters_.banks_worn;
  choose_next(bank);
}

void FlashBanks::give_up_all() {
  worn_ = UINT32_MAX;
  counters_.banks_worn = banks_;
  current_ = next_ = kNoBank;
}

bool FlashBanks::erase_one() {
  const uint32_t bank_pages = bank_bytes_ / port_.page_bytes;
  for (uint32_t bank = 0; old_heads_ && bank < banks_; ++bank) {
    if (bank == current_ || !usable(bank) || is_blank(bank_at(bank), kHeadBytes)) continue;
    if (!erase(bank * bank_pages)) give_up(bank);
    return true;
  }
  old_heads_ = false;
  while (next_ != kNoBank && blank_pages_ < bank_pages) {
    const uint32_t page = next_ * bank_pages + blank_pages_++;
    if (is_blank(page * port_.page_bytes, port_.page_bytes)) continue;
    if (!erase(page)) give_up(next_);
    return true;
  }
  return false;
}

// ---- Writing

bool FlashBanks::write(uint32_t address, const uint8_t* bytes, uint32_t size) {
  counters_.bytes_written += size;
  if (!port_.write(port_.context, address, bytes, size)) return false;
  uint8_t piece[32];
  for (uint32_t done = 0; done < size; done += sizeof piece) {
    const uint32_t left = size - done < sizeof piece ? size - done : uint32_t{sizeof piece};
    if (!port_.read(port_.context, address + done, piece, left) || memcmp(piece, bytes + done, left) != 0) return false;
  }
  return true;
}

uint32_t FlashBanks::body_bytes_max() const {
  return bank_bytes_ - kHeadBytes - (bank_bytes_ >= 4 * kNotesRoom ? kNotesRoom : bank_bytes_ / 4);
}

bool FlashBanks::begin() {
  while (erase_one()) {
  }
  written_ = checksum_ = buffered_ = 0;
  if (planted("flash_gives_up_the_old_first") && current_ != kNoBank) erase(bank_at(current_) / port_.page_bytes);
  return next_ != kNoBank;
}

bool FlashBanks::flush() {
  if (buffered_ == 0) return true;
  const uint32_t size = (buffered_ + port_.write_bytes - 1) / port_.write_bytes * port_.write_bytes;
  memset(buffer_ + buffered_, 0xFF, size - buffered_);
  const uint32_t at = bank_at(next_) + kHeadBytes + written_ - buffered_;
  buffered_ = 0;
  return write(at, buffer_, size);
}

bool FlashBanks::put(const uint8_t* bytes, size_t size) {
  checksum_ = crc32c({bytes, size}, checksum_);
  while (size > 0) {
    LAMBDA_EXPECT(kHeadBytes + written_ < bank_bytes_);  // its length was counted before
    const size_t room = kBufferBytes - buffered_;
    const size_t piece = size < room ? size : room;
    memcpy(buffer_ + buffered_, bytes, piece);
    buffered_ += static_cast<uint32_t>(piece);
    written_ += static_cast<uint32_t>(piece);
    bytes += piece;
    size -= piece;
    if (buffered_ == kBufferBytes && !flush()) {
      give_up(next_);
      return false;
    }
  }
  return true;
}

bool FlashBanks::commit(uint32_t starts) {
  const BankHead head{kVersion, ++generation_, starts, written_, checksum_};
  uint8_t raw[kHeadBytes];
  memset(raw, 0xFF, sizeof raw);
  memcpy(raw, kMagic, sizeof kMagic);
  raw[4] = kVersion;
  raw[5] = raw[6] = raw[7] = 0;
  put_u32(raw + 8, head.generation);
  put_u32(raw + 12, head.starts);
  put_u32(raw + 16, head.body_bytes);
  put_u32(raw + 20, head.body_checksum);
  put_u32(raw + kHeadCheckedBytes, crc32c({raw, kHeadCheckedBytes}));
  if (!flush() || !write(bank_at(next_), raw, sizeof raw)) {
    erase(bank_at(next_) / port_.page_bytes);  // lest its header is read after all, another time
    give_up(next_);
    return false;
  }
  head_ = head;
  current_ = next_;
  notes_end_ = round_up(kHeadBytes + written_);
  old_heads_ = true;
  choose_next(current_);
  return true;
}

}  // namespace lambda
