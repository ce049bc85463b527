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

void FieldWriter::fields(Shape shape, const void* from) {
  for (; shape->form != Form::kEnd; ++shape) {
    const Place& place = *shape;
    if (place.form <= Form::kFixed64) {
      const uint64_t value = number_at(place, from);
      if (place.form == Form::kFixed64) {
        fixed64(place.tag, value);
      } else {
        varint(place.tag, place.form == Form::kSigned ? zigzag(value) : value);
      }
      continue;
    }
    if (place.form == Form::kLabels) {
      for (const LabelView& label : at<const std::span<const LabelView>>(place, from)) {
        message(place.tag, kLabelShape, &label);
      }
      continue;
    }
    const void* first = nullptr;
    size_t size = 0;
    if (place.form == Form::kText) {
      const auto& text = at<const std::string_view>(place, from);
      first = text.data();
      size = text.size();
    } else {
      first = at<const uint8_t* const>(place, from);
      size = place.form == Form::kDigest ? kDigestBytes : kSignatureBytes;
    }
    if (first == nullptr || size == 0) continue;
    head(place.tag, size);
    raw(first, size);
  }
}

void FieldWriter::message(uint32_t tag, Shape shape, const void* from) {
  head(tag, size_of(shape, from));
  fields(shape, from);
}

size_t size_of(Shape shape, const void* from) {
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
  ok_ = false;  // until it is whole
  if (!take_number(&number_) || number_ > UINT32_MAX) return 0;
  const auto head = static_cast<uint32_t>(number_);
  tag_ = head >> 3;
  type_ = static_cast<Type>(head & 7);
  size_t size = 0;
  switch (type_) {
    case kFixed64:
      size = 8;
      break;
    case kFixed32:
      size = 4;
      break;
    case kVarint:
    case kBytes:
      if (!take_number(&number_)) return 0;
      if (type_ == kVarint) break;
      if (number_ > left_) return 0;
      size = static_cast<size_t>(number_);
      break;
    default:  // groups are none of ours
      return 0;
  }
  if (tag_ == 0 || size > left_) return 0;
  bytes_ = {at_, size};
  at_ += size;
  left_ -= size;
  ok_ = true;
  return tag_;
}

void FieldReader::take(Shape shape, void* to) const {
  while (shape->tag != tag_) {
    if (shape->form == Form::kEnd) return;
    ++shape;
  }
  const Place& place = *shape;
  if (place.form == Form::kText) {
    if (is_bytes()) {
      at<std::string_view>(place, to) = {reinterpret_cast<const char*>(bytes_.data()), bytes_.size()};
    }
  } else if (place.form == Form::kFixed64) {
    if (type_ != kFixed64) return;
    auto& member = at<uint64_t>(place, to);
    memcpy(&member, bytes_.data(), 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    member = __builtin_bswap64(member);
#endif
  } else if (!is_varint()) {
    return;
  } else if (place.form == Form::kU8) {
    at<uint8_t>(place, to) = number_ > UINT8_MAX ? UINT8_MAX : static_cast<uint8_t>(number_);
  } else if (place.form == Form::kU32) {
    at<uint32_t>(place, to) = static_cast<uint32_t>(number_);
  } else {
    at<uint64_t>(place, to) = place.form == Form::kSigned ? unzigzag(number_) : number_;
  }
}

bool read_fields(Bytes message, Shape shape, void* to, FieldTaker taker) {
  FieldReader in(message);
  while (const uint32_t tag = in.next()) {
    in.take(shape, to);
    if (taker != nullptr && !taker(in, tag, to)) return false;
  }
  return in.ok();
}

}  // namespace lambda::wire
