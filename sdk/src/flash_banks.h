// The flash region as banks: which holds the newest snapshot, writing the next, notes behind it. Knows nothing of what
// a snapshot says. Bytes: proto/snapshot.md.
//
// Invariants
// - A bank is valid once its header is, and the header is written last. The bank in force is never erased nor written
//   but behind its end, with notes.
// - When a bank has come into force, the header of the one before goes first of all that is erased. So an old snapshot
//   is there only as long as nothing was done on the strength of the new one.
// - No place is written twice between two erases; what was written is read back.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <span>

#include "lambda/flash.h"

namespace lambda {

inline constexpr uint32_t kNoBank = UINT32_MAX;
inline constexpr size_t kNoteBytesMax = 240;

struct BankHead {
  uint16_t version = 0;
  uint32_t generation = 0;
  uint32_t starts = 0;  // of the device, this one's too
  uint32_t body_bytes = 0;
  uint32_t body_checksum = 0;
};

struct BankCounters {
  uint64_t erases, bytes_written;
  uint32_t banks_worn;
};

// Reads the body of a bank from its start, or a note; every number checks that it is there.
class BankReader {
 public:
  BankReader(const lam_flash_port& port, uint32_t address, uint32_t bytes) : port_(port), at_(address), left_(bytes) {}
  // False, from then on, when there is less, or the flash would not.
  bool bytes(uint8_t* out, size_t size);
  bool skip(size_t size);
  uint8_t u8();
  uint64_t u64();
  uint64_t varint();
  bool ok() const { return ok_; }
  uint32_t left() const { return ok_ ? left_ : 0; }

 private:
  const lam_flash_port& port_;
  uint32_t at_;
  uint32_t left_;
  bool ok_ = true;
};

class FlashBanks {
 public:
  // The port must be valid (see lam_flash_memory) and stay.
  FlashBanks(const lam_flash_port& port, uint32_t banks);

  enum class Look : uint8_t { kNone, kFound, kDamaged, kOtherVersion, kUnreadable };
  // Finds the newest snapshot, checks all of it, and finds the end of its notes. kFound: it is in force. In other cases
  // none is. kUnreadable: the flash did not give what it holds, so that nothing may be written to it either.
  Look look(uint32_t* torn);
  const BankHead& head() const { return head_; }
  BankReader body() const { return {port_, bank_at(current_) + kHeadBytes, head_.body_bytes}; }

  // The notes of the bank in force, in the order they were written; `at` is 0 at first. False: no more.
  bool next_note(uint32_t* at, uint32_t* note_at, uint32_t* note_bytes) const;
  // Writes a note behind the others; false: there is no bank in force, it is full, or it did not take it.
  bool note(std::span<const uint8_t> payload);

  // Erases one page that has to go. False: there is none; the next bank is blank.
  bool erase_one();
  // How long a body may be, room for a few notes left.
  uint32_t body_bytes_max() const;

  // A new snapshot: begin, put, commit. A false put() or commit() gives the bank up: begin again for the next one.
  // begin() is false when no bank is left; it erases what is not blank yet.
  bool begin();
  bool put(const uint8_t* bytes, size_t size);
  // The snapshot is in force from here on.
  bool commit(uint32_t starts);

  bool in_force() const { return current_ != kNoBank; }
  // What look() found is not for us: it stays until another snapshot is in force.
  void refuse() { current_ = kNoBank; }
  // A header or a note could not be read: what was found may not be all. No bank is used from then on.
  bool unreadable() const { return unreadable_; }
  void give_up_all();
  uint32_t bytes_for_notes() const { return current_ == kNoBank ? 0 : bank_bytes_ - notes_end_; }
  const lam_flash_port& port() const { return port_; }
  const BankCounters& counters() const { return counters_; }

 private:
  static constexpr uint32_t kHeadBytes = 32;
  static constexpr uint32_t kNoteHeadBytes = 8;
  static constexpr uint32_t kBufferBytes = 64;

  uint32_t bank_at(uint32_t bank) const { return bank * bank_bytes_; }
  uint32_t note_unit() const { return port_.write_bytes < 8 ? 8 : port_.write_bytes; }
  uint32_t round_up(uint32_t bytes) const { return (bytes + note_unit() - 1) / note_unit() * note_unit(); }
  bool read_head(uint32_t bank, BankHead* head, bool* blank) const;
  bool body_holds(uint32_t bank, const BankHead& head) const;
  bool is_blank(uint32_t address, uint32_t bytes) const;
  bool write(uint32_t address, const uint8_t* bytes, uint32_t size);
  bool erase(uint32_t page);
  bool flush();
  void give_up(uint32_t bank);
  bool usable(uint32_t bank) const { return (worn_ >> bank & 1) == 0; }
  void choose_next(uint32_t after);
  bool note_at(uint32_t at, uint32_t* payload_bytes) const;
  void find_end_of_notes();

  const lam_flash_port& port_;
  const uint32_t banks_;
  const uint32_t bank_bytes_;
  BankHead head_;  // of the bank in force, or of the newest seen
  uint32_t current_ = kNoBank;
  uint32_t next_ = 0;         // what the next snapshot goes to
  uint32_t notes_end_ = 0;    // in the bank in force
  uint32_t blank_pages_ = 0;  // of the next bank, from its first
  uint32_t worn_ = 0;         // a bit for each bank
  uint32_t generation_ = 0;   // the last one given out, or seen
  mutable bool unreadable_ = false;
  bool old_heads_ = false;  // a bank that is not in force may have a header
  uint32_t written_ = 0;    // of the body, with what is in the buffer
  uint32_t checksum_ = 0;
  uint32_t buffered_ = 0;
  uint8_t buffer_[kBufferBytes];
  BankCounters counters_{};
};

}  // namespace lambda
