// Protocol Buffers messages by tables: where each field lies in a structure of ours. One loop reads them all, one
// writes, and one feeds the signed form. Private to the SDK's sources.
// The field numbers come from the header that nanopb generates. Its runtime would want structures that hold whole
// messages, for which a device has no room.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <span>
#include <string_view>

namespace lambda::wire {

using Bytes = std::span<const uint8_t>;

// What a member is. Numbers are varints but where another is said; booleans and enumerations are kU8, and a number read
// that is greater than 255 is 255 there.
enum class Form : uint8_t {
  kEnd = 0,  // no field: behind the last one
  kU8 = 1,   // these three by their bytes
  kU32 = 4,
  kU64 = 8,
  kSigned,     // int64_t, in zigzag
  kConstant,   // no member: `offset` is the number
  kFixed64,    // uint64_t in eight bytes; the last of the numbers
  kText,       // std::string_view
  kDigest,     // const uint8_t* to 32 bytes; null: left out
  kSignature,  // const uint8_t* to 64 bytes
  kLabels,     // std::span<const LabelView>
};

struct Place {
  uint8_t tag;
  Form form;
  uint16_t offset;
};

// A message's fields, in the order of their numbers: a message built again has the same bytes. kEndPlace is the last.
using Shape = const Place*;
inline constexpr Place kEndPlace{0, Form::kEnd, 0};
inline constexpr Place kNoFields[] = {kEndPlace};

// The number in a member; kText and what is behind it are none.
uint64_t number_at(const Place& place, const void* from);

// Writes fields to `space`, or counts them when it has none. Like every proto3 writer it leaves defaults out.
class FieldWriter {
 public:
  FieldWriter() = default;
  // Behind `size` bytes that are there already; they count.
  explicit FieldWriter(std::span<uint8_t> space, size_t size = 0)
      : space_(space.data()), room_(space.size()), size_(size) {}

  void varint(uint32_t tag, uint64_t value);
  void svarint(uint32_t tag, int64_t value);
  void fixed64(uint32_t tag, uint64_t value);
  // Written even when empty: for elements of repeated fields.
  void bytes(uint32_t tag, Bytes value);
  // The head of an embedded message of `size` bytes, which the caller writes next.
  void head(uint32_t tag, size_t size);
  // The fields of a message whose members lie in `from`.
  void fields(Shape shape, const void* from);
  // The same as an embedded message.
  void message(uint32_t tag, Shape shape, const void* from);

  bool ok() const { return size_ <= room_; }  // all fitted
  size_t size() const { return size_; }

 private:
  void raw(const void* bytes, size_t size);
  void number(uint64_t value);

  uint8_t* space_ = nullptr;
  size_t room_ = 0;
  size_t size_ = 0;
};

inline FieldWriter counting() {
  return FieldWriter();
}
inline FieldWriter writing(std::span<uint8_t> space, size_t size = 0) {
  return FieldWriter(space, size);
}
size_t size_of(Shape shape, const void* from);
// Of an embedded message of `size` bytes with its head.
size_t embedded_size(uint32_t tag, size_t size);

// Reads the fields of one message. Views point into it.
class FieldReader {
 public:
  explicit FieldReader(Bytes message);

  // The next field's number, or 0 at the end and after an error; ok() tells which.
  uint32_t next();
  bool ok() const { return ok_; }

  // What the field is that next() came to.
  bool is_varint() const { return type_ == kVarint; }
  bool is_bytes() const { return type_ == kBytes; }  // text, bytes or an embedded message
  uint64_t number() const { return number_; }
  Bytes bytes() const { return bytes_; }

  // Puts the field where `shape` has a place for it. One of another wire type is skipped, as an unknown one is.
  void take(Shape shape, void* to) const;

 private:
  enum Type : uint8_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };
  bool take_number(uint64_t* value);

  const uint8_t* at_;  // behind the field
  size_t left_;
  Bytes bytes_;
  uint64_t number_ = 0;
  uint32_t tag_ = 0;
  Type type_ = kVarint;
  bool ok_ = true;
};

// What is done with fields that need more than a place. False: the message is none.
using FieldTaker = bool (*)(const FieldReader& field, uint32_t tag, void* to);
// All that has a place, each then handed to `taker` if there is one; false when the message is no message.
bool read_fields(Bytes message, Shape shape, void* to, FieldTaker taker = nullptr);

}  // namespace lambda::wire
