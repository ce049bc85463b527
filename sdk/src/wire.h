// Protocol Buffers fields on nanopb's streams. Private to the SDK's sources: the public headers know no nanopb.
// The descriptors nanopb generates would want structures that hold whole messages; a device has no room for them, so
// only the field numbers are taken from the generated header.
#pragma once

#include <pb_decode.h>
#include <pb_encode.h>
#include <stddef.h>
#include <stdint.h>

#include <span>
#include <string_view>

#include "expect.h"

namespace lambda::wire {

// Writes fields to a stream, or counts them on a sizing one. Like every proto3 writer it leaves defaults out. The room
// was computed before, so that a write which does not fit is a programmer error, unless the caller asks ok().
class FieldWriter {
 public:
  explicit FieldWriter(pb_ostream_t stream) : stream_(stream) {}

  void varint(uint32_t tag, uint64_t value) {
    if (value == 0) return;
    ok_ = ok_ && pb_encode_tag(&stream_, PB_WT_VARINT, tag) && pb_encode_varint(&stream_, value);
  }
  void svarint(uint32_t tag, int64_t value) {
    if (value == 0) return;
    ok_ = ok_ && pb_encode_tag(&stream_, PB_WT_VARINT, tag) && pb_encode_svarint(&stream_, value);
  }
  void fixed64(uint32_t tag, uint64_t value) {
    if (value == 0) return;
    ok_ = ok_ && pb_encode_tag(&stream_, PB_WT_64BIT, tag) && pb_encode_fixed64(&stream_, &value);
  }
  void text(uint32_t tag, std::string_view value) {
    if (!value.empty()) bytes(tag, {reinterpret_cast<const uint8_t*>(value.data()), value.size()});
  }
  // Written even when empty: for elements of repeated fields.
  void bytes(uint32_t tag, std::span<const uint8_t> value) {
    ok_ = ok_ && pb_encode_tag(&stream_, PB_WT_STRING, tag) && pb_encode_string(&stream_, value.data(), value.size());
  }
  // The head of an embedded message of `size` bytes, which the caller writes next.
  void head(uint32_t tag, size_t size) {
    ok_ = ok_ && pb_encode_tag(&stream_, PB_WT_STRING, tag) && pb_encode_varint(&stream_, size);
  }

  bool ok() const { return ok_; }
  size_t size() const { return stream_.bytes_written; }

 private:
  pb_ostream_t stream_;
  bool ok_ = true;
};

inline FieldWriter counting() {
  pb_ostream_t sizing = PB_OSTREAM_SIZING;
  return FieldWriter(sizing);
}
inline FieldWriter writing(std::span<uint8_t> space) {
  return FieldWriter(pb_ostream_from_buffer(space.data(), space.size()));
}

// Reads the fields of one message. After next() exactly one of the getters may be called; skip() is implied. A field
// whose wire type is not the wanted one is skipped, as an unknown one.
class FieldReader {
 public:
  explicit FieldReader(std::span<const uint8_t> message)
      : message_(message), stream_(pb_istream_from_buffer(message.data(), message.size())) {}

  // The next field's number, or 0 at the end and after an error; ok() tells which.
  uint32_t next() {
    if (pending_) skip();
    uint32_t tag = 0;
    bool eof = false;
    if (!ok_ || !pb_decode_tag(&stream_, &type_, &tag, &eof)) {
      ok_ = ok_ && eof;
      return 0;
    }
    if (tag == 0) ok_ = false;
    pending_ = ok_;
    return ok_ ? tag : 0;
  }

  template <class Integer>
  void varint(Integer* value) {
    uint64_t wide = 0;
    if (!is(PB_WT_VARINT)) return;
    ok_ = pb_decode_varint(&stream_, &wide);
    if (ok_) *value = static_cast<Integer>(wide);
  }
  void svarint(int64_t* value) {
    if (is(PB_WT_VARINT)) ok_ = pb_decode_svarint(&stream_, value);
  }
  void fixed64(uint64_t* value) {
    if (is(PB_WT_64BIT)) ok_ = pb_decode_fixed64(&stream_, value);
  }
  // Text, bytes or an embedded message; false when it is none (ok() tells whether the message goes on).
  bool bytes(std::span<const uint8_t>* value) {
    if (!is(PB_WT_STRING)) return false;
    pb_istream_t inner;
    ok_ = pb_make_string_substream(&stream_, &inner);
    if (!ok_) return false;
    // The stream reads from memory: what is left tells where it stands.
    const size_t size = inner.bytes_left;
    *value = message_.subspan(message_.size() - stream_.bytes_left - size, size);
    ok_ = pb_close_string_substream(&stream_, &inner);
    return ok_;
  }
  void text(std::string_view* value) {
    std::span<const uint8_t> raw;
    if (bytes(&raw)) *value = {reinterpret_cast<const char*>(raw.data()), raw.size()};
  }
  bool is_varint() const { return type_ == PB_WT_VARINT; }
  bool is_bytes() const { return type_ == PB_WT_STRING; }

  bool ok() const { return ok_; }

 private:
  bool is(pb_wire_type_t type) {
    if (!pending_ || !ok_ || type_ != type) return false;
    pending_ = false;
    return true;
  }
  void skip() {
    pending_ = false;
    ok_ = ok_ && pb_skip_field(&stream_, type_);
  }

  std::span<const uint8_t> message_;
  pb_istream_t stream_;
  pb_wire_type_t type_ = PB_WT_VARINT;
  bool pending_ = false;
  bool ok_ = true;
};

}  // namespace lambda::wire
