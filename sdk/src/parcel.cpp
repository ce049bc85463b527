#include "lambda/parcel.h"

#include <stddef.h>
#include <string.h>

#include "expect.h"
#include "message_parts.h"

namespace lambda {
namespace {

using wire::Form;
using wire::Place;
using wire::Shape;

// What a block adds beside its root. These are no fields of a message: they have no numbers.
constexpr Place kSignedBlockPlaces[] = {
    {0, Form::kU32, offsetof(BlockInfo, ref)},           {0, Form::kU8, offsetof(BlockInfo, type)},
    {0, Form::kU8, offsetof(BlockInfo, scale)},          {0, Form::kU32, offsetof(BlockInfo, clock)},
    {0, Form::kU64, offsetof(BlockInfo, first_ordinal)}, {0, Form::kU32, offsetof(BlockInfo, count)},
};
constexpr Shape kSignedBlockShape{kSignedBlockPlaces, std::size(kSignedBlockPlaces)};

// Feeds the signed form to the hash: numbers big-endian, in the width of their members. What is short is gathered: a
// call of the port may cost a bus transfer.
class Feeder {
 public:
  Feeder(const HashPort& hash, HashState* state) : hash_(hash), state_(state) {}
  // Begins with the name of what is signed, with its terminating zero.
  template <size_t kSize>
  Feeder(const HashPort& hash, HashState* state, const char (&name)[kSize]) : Feeder(hash, state) {
    hash.start(state);
    raw(name, kSize);
  }

  void raw(const void* bytes, size_t size) {
    if (size > sizeof gathered_ - size_) end();
    if (size > sizeof gathered_) {
      hash_.update(state_, static_cast<const uint8_t*>(bytes), size);
      return;
    }
    if (size > 0) memcpy(gathered_ + size_, bytes, size);
    size_ += size;
  }
  void integer(uint64_t value, unsigned width) {
    uint8_t bytes[8];
    for (unsigned i = 8; i-- > 0; value >>= 8) bytes[i] = static_cast<uint8_t>(value);
    raw(bytes + 8 - width, width);
  }
  void text(std::string_view value) {
    integer(value.size(), 4);
    raw(value.data(), value.size());
  }
  void fields(const Shape& shape, const void* from);
  void end() {
    if (size_ > 0) hash_.update(state_, gathered_, size_);
    size_ = 0;
  }

 private:
  const HashPort& hash_;
  HashState* const state_;
  uint8_t gathered_[64];
  size_t size_ = 0;
};

void Feeder::fields(const Shape& shape, const void* from) {
  for (const Place& place : shape) {
    const void* const member = static_cast<const uint8_t*>(from) + place.offset;
    switch (place.form) {
      case Form::kText:
        text(*static_cast<const std::string_view*>(member));
        break;
      case Form::kLabels: {
        const auto& labels = *static_cast<const std::span<const LabelView>*>(member);
        integer(labels.size(), 4);
        for (const LabelView& label : labels) fields(kLabelShape, &label);
        break;
      }
      case Form::kDigest:
      case Form::kSignature:
      case Form::kConstant:
        break;
      default:
        integer(wire::number_at(place, from), place.form == Form::kU8 ? 1 : place.form == Form::kU32 ? 4 : 8);
    }
  }
}

}  // namespace

ParcelDigest::ParcelDigest(const HashPort& hash, const ParcelHead& head) : hash_(hash) {
  Feeder feeder(hash_, &state_, "lambda/parcel/1");
  feeder.fields(kParcelHeadShape, &head);
  static constexpr uint8_t kNone[kDigestBytes] = {};
  feeder.raw(head.previous != nullptr ? head.previous : kNone, kDigestBytes);
  feeder.end();
}

void ParcelDigest::begin(ParcelSection section, uint32_t count) {
  LAMBDA_EXPECT(left_ == 0 && static_cast<int>(section) == static_cast<int>(section_) + 1);
  section_ = section;
  left_ = count;
  Feeder feeder(hash_, &state_);
  feeder.integer(count, 4);
  feeder.end();
}

// `root` may be null.
void ParcelDigest::item(ParcelSection section, const wire::Shape& shape, const void* from, const uint8_t* root) {
  LAMBDA_EXPECT(section_ == section && left_ > 0);
  --left_;
  Feeder feeder(hash_, &state_);
  feeder.fields(shape, from);
  if (root != nullptr) feeder.raw(root, kDigestBytes);
  feeder.end();
}

void ParcelDigest::declarations(uint32_t count) {
  begin(ParcelSection::kDeclarations, count);
}

void ParcelDigest::declaration(const DeclarationView& declaration) {
  item(ParcelSection::kDeclarations, kDeclarationShape, &declaration);
}

void ParcelDigest::blocks(uint32_t count) {
  begin(ParcelSection::kBlocks, count);
}

void ParcelDigest::block(const BlockInfo& info, const uint8_t root[kDigestBytes]) {
  item(ParcelSection::kBlocks, kSignedBlockShape, &info, root);
}

void ParcelDigest::gaps(uint32_t count) {
  begin(ParcelSection::kGaps, count);
}

void ParcelDigest::gap(const GapView& gap) {
  item(ParcelSection::kGaps, kGapShape, &gap);
}

void ParcelDigest::clocks(uint32_t count) {
  begin(ParcelSection::kClocks, count);
}

void ParcelDigest::clock(const ClockView& clock) {
  item(ParcelSection::kClocks, kClockShape, &clock);
}

void ParcelDigest::finish(uint8_t digest[kDigestBytes]) {
  LAMBDA_EXPECT(section_ == ParcelSection::kClocks && left_ == 0);
  section_ = ParcelSection::kDone;
  hash_.finish(&state_, digest);
}

void hello_digest(const HashPort& hash, const HelloView& hello, uint8_t digest[kDigestBytes]) {
  HashState state;
  Feeder feeder(hash, &state, "lambda/hello/1");
  feeder.fields(kHelloSignedShape, &hello);
  feeder.end();
  hash.finish(&state, digest);
}

void hello_digest(const HashPort& hash, std::string_view site, std::string_view device, uint64_t boot,
                  uint64_t previous_boot, int64_t started_ms, uint8_t digest[kDigestBytes]) {
  HelloView hello;
  hello.site = site;
  hello.device = device;
  hello.boot = boot;
  hello.previous_boot = previous_boot;
  hello.started_ms = started_ms;
  hello_digest(hash, hello, digest);
}

}  // namespace lambda
