#include "wire.h"

#include <string.h>

#include "lambda/parcel.h"
#include "message_parts.h"
#include "varint.h"

namespace lambda::wire {
namespace {

template <class Member>
Member& at(const Place& place, const void* from) {
  return *reinterpret_cast<Member*>(static_cast<uint8_t*>(const_cast<void*>(from)) + place.offset);
}

}  // namespace

uint64_t number_at(const Place& place, const void* from) {
  switch (place.form) {
    case Form::kConstant:
      return place.offset;
    case Form::kU8:
      return at<const uint8_t>(place, from);
    case Form::kU32:
      return at<const uint32_t>(place, from);
    default:
      return at<const uint64_t>(place, from);
  }
}

// ---- Writing

void FieldWriter::raw(const void* bytes, size_t size) {
  if (size_ <= room_ && size <= room_ - size_ && size > 0) memcpy(space_ + size_, bytes, size);
  size_ += size;
}

void FieldWriter::number(uint64_t value) {
  uint8_t bytes[kVarintBytesMax];
  raw(bytes, static_cast<size_t>(write_varint(bytes, value) - bytes));
}

void FieldWriter::varint(uint32_t tag, uint64_t value) {
  if (value == 0) return;
  number(tag << 3);
  number(value);
}

void FieldWriter::svarint(uint32_t tag, int64_t value) {
  varint(tag, zigzag(static_cast<uint64_t>(value)));
}

void FieldWriter::fixed64(uint32_t tag, uint64_t value) {
  if (value == 0) return;
  number(tag << 3 | 1);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  value = __builtin_bswap64(value);
#endif
  raw(&value, 8);
}

void FieldWriter::bytes(uint32_t tag, Bytes value) {
  head(tag, value.size());
  raw(value.data(), value.size());
}

void FieldWriter::head(uint32_t tag, size_t size) {
  number(tag << 3 | 2);
  number(size);
}

void FieldWriter::fields(const Shape& shape, const void* from) {
  for (const Place& place : shape) {
    Bytes value;
    switch (place.form) {
      case Form::kLabels:
        for (const LabelView& label : at<const std::span<const LabelView>>(place, from)) {
          message(place.tag, kLabelShape, &label);
        }
        continue;
      case Form::kText: {
        const auto& text = at<const std::string_view>(place, from);
        value = {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
        break;
      }
      case Form::kDigest:
      case Form::kSignature: {
        const uint8_t* const first = at<const uint8_t* const>(place, from);
        const size_t size = place.form == Form::kDigest ? kDigestBytes : kSignatureBytes;
        if (first != nullptr) value = {first, size};
        break;
      }
      default: {
        const uint64_t number = number_at(place, from);
        if (place.form == Form::kFixed64) {
          fixed64(place.tag, number);
        } else {
          varint(place.tag, place.form == Form::kSigned ? zigzag(number) : number);
        }
        continue;
      }
    }
    if (!value.empty()) bytes(place.tag, value);
  }
}

void FieldWriter::message(uint32_t tag, const Shape& shape, const void* from) {
  head(tag, size_of(shape, from));
  fields(shape, from);
}

size_t size_of(const Shape& shape, const void* from) {
  FieldWriter count;
  count.fields(shape, from);
  return count.size();
}

size_t embedded_size(uint32_t tag, size_t size) {
  FieldWriter count;
  count.head(tag, size);
  return count.size() + size;
}

// ---- Reading

LAMBDA_ONE_COPY FieldReader::FieldReader(Bytes message) : at_(message.data()), left_(message.size()) {}

bool FieldReader::take_number(uint64_t* value) {
  const int size = read_varint(at_, left_, value);
  if (size <= 0) return false;
  at_ += size;
  left_ -= static_cast<size_t>(size);
  return true;
}

uint32_t FieldReader::next() {
  if (left_ == 0 || !ok_) return 0;
  uint64_t head = 0;
  uint64_t size = 0;
  ok_ = take_number(&head) && head >= 1u << 3 && head <= UINT32_MAX;
  type_ = static_cast<Type>(head & 7);
  switch (type_) {
    case kVarint:
      ok_ = ok_ && take_number(&number_);
      break;
    case kFixed64:
      size = 8;
      break;
    case kFixed32:
      size = 4;
      break;
    case kBytes:
      ok_ = ok_ && take_number(&size);
      break;
    default:  // groups are none of ours
      ok_ = false;
  }
  ok_ = ok_ && size <= left_;
  if (!ok_) return 0;
  size_ = static_cast<size_t>(size);
  at_ += size_;
  left_ -= size_;
  return tag_ = static_cast<uint32_t>(head) >> 3;
}

void FieldReader::take(const Shape& shape, void* to) const {
  for (const Place& place : shape) {
    if (place.tag != tag_) continue;
    const Type wanted = place.form == Form::kText ? kBytes : place.form == Form::kFixed64 ? kFixed64 : kVarint;
    if (type_ != wanted) return;
    switch (place.form) {
      case Form::kText:
        at<std::string_view>(place, to) = {reinterpret_cast<const char*>(bytes().data()), size_};
        return;
      case Form::kFixed64: {
        uint64_t value;
        memcpy(&value, bytes().data(), 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        value = __builtin_bswap64(value);
#endif
        at<uint64_t>(place, to) = value;
        return;
      }
      case Form::kU8:
        at<uint8_t>(place, to) = number_ > UINT8_MAX ? UINT8_MAX : static_cast<uint8_t>(number_);
        return;
      case Form::kU32:
        at<uint32_t>(place, to) = static_cast<uint32_t>(number_);
        return;
      case Form::kSigned:
        at<int64_t>(place, to) = static_cast<int64_t>(unzigzag(number_));
        return;
      default:
        at<uint64_t>(place, to) = number_;
        return;
    }
  }
}

bool read_fields(Bytes message, const Shape& shape, void* to, FieldTaker taker) {
  FieldReader in(message);
  while (const uint32_t tag = in.next()) {
    in.take(shape, to);
    if (taker != nullptr && !taker(in, tag, to)) return false;
  }
  return in.ok();
}

}  // namespace lambda::wire
