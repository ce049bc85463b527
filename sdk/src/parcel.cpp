#include "lambda/parcel.h"

#include <stddef.h>
#include <string.h>

#include "codes.h"
#include "expect.h"
#include "message_parts.h"
#include "varint.h"

namespace lambda {
namespace {

using wire::Form;
using wire::Shape;

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
    const auto* from = static_cast<const uint8_t*>(bytes);
    while (size > 0) {
      const size_t room = sizeof gathered_ - size_;
      const size_t part = size < room ? size : room;
      memcpy(gathered_ + size_, from, part);
      from += part;
      size -= part;
      size_ += part;
      if (size_ == sizeof gathered_) end();
    }
  }
  void integer(size_t width, uint64_t value) {
    uint8_t bytes[8];
    store_u64be(bytes, value);
    raw(bytes + 8 - width, width);
  }
  void text(std::string_view value) {
    integer(4, value.size());
    raw(value.data(), value.size());
  }
  void fields(Shape shape, const void* from);
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

// Up to the signature, if there is one.
void Feeder::fields(Shape shape, const void* from) {
  for (; shape->form != Form::kEnd && shape->form != Form::kSignature; ++shape) {
    const Form form = shape->form;
    const void* const member = static_cast<const uint8_t*>(from) + shape->offset;
    if (form == Form::kText) {
      text(*static_cast<const std::string_view*>(member));
    } else if (form == Form::kLabels) {
      const auto& labels = *static_cast<const std::span<const LabelView>*>(member);
      integer(4, labels.size());
      for (const LabelView& label : labels) fields(kLabelShape, &label);
    } else if (form != Form::kConstant) {
      const auto width = static_cast<size_t>(form);
      integer(width < 8 ? width : 8, wire::number_at(*shape, from));
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
  feeder.integer(4, count);
  feeder.end();
}

// `root` may be null.
LAMBDA_ONE_COPY void ParcelDigest::item(ParcelSection section, const void* from, const uint8_t* root) {
  LAMBDA_EXPECT(section_ == section && left_ > 0);
  --left_;
  Feeder feeder(hash_, &state_);
  feeder.fields(item_shape(section), from);
  if (root != nullptr) feeder.raw(root, kDigestBytes);
  feeder.end();
}

void ParcelDigest::declarations(uint32_t count) {
  begin(ParcelSection::kDeclarations, count);
}

void ParcelDigest::declaration(const DeclarationView& declaration) {
  item(ParcelSection::kDeclarations, &declaration);
}

void ParcelDigest::blocks(uint32_t count) {
  begin(ParcelSection::kBlocks, count);
}

void ParcelDigest::block(const BlockInfo& info, const uint8_t root[kDigestBytes]) {
  item(ParcelSection::kBlocks, &info, root);
}

void ParcelDigest::gaps(uint32_t count) {
  begin(ParcelSection::kGaps, count);
}

void ParcelDigest::gap(const GapView& gap) {
  item(ParcelSection::kGaps, &gap);
}

void ParcelDigest::clocks(uint32_t count) {
  begin(ParcelSection::kClocks, count);
}

void ParcelDigest::clock(const ClockView& clock) {
  item(ParcelSection::kClocks, &clock);
}

void ParcelDigest::finish(uint8_t digest[kDigestBytes]) {
  LAMBDA_EXPECT(section_ == ParcelSection::kClocks && left_ == 0);
  section_ = ParcelSection::kDone;
  hash_.finish(&state_, digest);
}

void hello_digest(const HashPort& hash, const HelloView& hello, uint8_t digest[kDigestBytes]) {
  HashState state;
  Feeder feeder(hash, &state, "lambda/hello/1");
  feeder.fields(kHelloShape, &hello);
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
