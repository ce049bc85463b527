#include "lambda/parcel.h"

#include <stddef.h>
#include <string.h>

#include "expect.h"

namespace lambda {
namespace {

// Feeds big-endian fields to the hash. Fixed-size items are gathered first: a call of the port may cost a bus transfer.
template <size_t kSpace>
class Gather {
 public:
  Gather& u8(uint8_t value) {
    bytes_[size_++] = value;
    return *this;
  }
  Gather& u32(uint32_t value) { return integer(value, 4); }
  Gather& u64(uint64_t value) { return integer(value, 8); }
  Gather& i64(int64_t value) { return integer(static_cast<uint64_t>(value), 8); }
  Gather& raw(const uint8_t* bytes, size_t size) {
    memcpy(bytes_ + size_, bytes, size);
    size_ += size;
    return *this;
  }
  void feed(const HashPort& hash, HashState* state) const { hash.update(state, bytes_, size_); }

 private:
  Gather& integer(uint64_t value, int width) {
    for (int shift = 8 * (width - 1); shift >= 0; shift -= 8) bytes_[size_++] = static_cast<uint8_t>(value >> shift);
    return *this;
  }

  uint8_t bytes_[kSpace];
  size_t size_ = 0;
};

void feed_text(const HashPort& hash, HashState* state, std::string_view text) {
  Gather<4>().u32(static_cast<uint32_t>(text.size())).feed(hash, state);
  if (!text.empty()) hash.update(state, reinterpret_cast<const uint8_t*>(text.data()), text.size());
}

// The domain string with its terminating zero.
template <size_t kSize>
void feed_domain(const HashPort& hash, HashState* state, const char (&domain)[kSize]) {
  hash.update(state, reinterpret_cast<const uint8_t*>(domain), kSize);
}

}  // namespace

ParcelDigest::ParcelDigest(const HashPort& hash, const ParcelHead& head) : hash_(hash) {
  hash_.start(&state_);
  feed_domain(hash_, &state_, "lambda/parcel/1");
  feed_text(hash_, &state_, head.site);
  feed_text(hash_, &state_, head.device);
  static constexpr uint8_t kNone[kDigestBytes] = {};
  Gather<64>()
      .u64(head.boot)
      .u64(head.seq)
      .i64(head.created_ms)
      .u64(head.floor_seq)
      .raw(head.previous != nullptr ? head.previous : kNone, kDigestBytes)
      .feed(hash_, &state_);
}

void ParcelDigest::begin(Section section, uint32_t count) {
  LAMBDA_EXPECT(left_ == 0 && static_cast<int>(section) == static_cast<int>(section_) + 1);
  section_ = section;
  left_ = count;
  Gather<4>().u32(count).feed(hash_, &state_);
}

void ParcelDigest::count_down(Section section) {
  LAMBDA_EXPECT(section_ == section && left_ > 0);
  --left_;
}

void ParcelDigest::declarations(uint32_t count) {
  begin(Section::kDeclarations, count);
}

void ParcelDigest::declaration(const DeclarationView& declaration) {
  count_down(Section::kDeclarations);
  Gather<4>().u32(declaration.ref).feed(hash_, &state_);
  feed_text(hash_, &state_, declaration.name);
  Gather<4>().u32(static_cast<uint32_t>(declaration.labels.size())).feed(hash_, &state_);
  for (const LabelView& label : declaration.labels) {
    feed_text(hash_, &state_, label.name);
    feed_text(hash_, &state_, label.value);
  }
  Gather<3>()
      .u8(static_cast<uint8_t>(declaration.kind))
      .u8(static_cast<uint8_t>(declaration.type))
      .u8(declaration.scale)
      .feed(hash_, &state_);
  feed_text(hash_, &state_, declaration.unit);
}

void ParcelDigest::blocks(uint32_t count) {
  begin(Section::kBlocks, count);
}

void ParcelDigest::block(const BlockInfo& info, const uint8_t root[kDigestBytes]) {
  count_down(Section::kBlocks);
  Gather<54>()
      .u32(info.ref)
      .u8(static_cast<uint8_t>(info.type))
      .u8(info.scale)
      .u32(info.clock)
      .u64(info.first_ordinal)
      .u32(info.count)
      .raw(root, kDigestBytes)
      .feed(hash_, &state_);
}

void ParcelDigest::gaps(uint32_t count) {
  begin(Section::kGaps, count);
}

void ParcelDigest::gap(const GapView& gap) {
  count_down(Section::kGaps);
  Gather<21>()
      .u32(gap.ref)
      .u64(gap.first_ordinal)
      .u64(gap.count)
      .u8(static_cast<uint8_t>(gap.reason))
      .feed(hash_, &state_);
}

void ParcelDigest::clocks(uint32_t count) {
  begin(Section::kClocks, count);
}

void ParcelDigest::clock(const ClockView& clock) {
  count_down(Section::kClocks);
  Gather<14>()
      .u32(clock.segment)
      .u8(clock.relative ? 1 : 0)
      .i64(clock.offset_ms)
      .u8(clock.known ? 1 : 0)
      .feed(hash_, &state_);
}

void ParcelDigest::finish(uint8_t digest[kDigestBytes]) {
  LAMBDA_EXPECT(section_ == Section::kClocks && left_ == 0);
  section_ = Section::kDone;
  hash_.finish(&state_, digest);
}

void hello_digest(const HashPort& hash, std::string_view site, std::string_view device, uint64_t boot,
                  uint64_t previous_boot, int64_t started_ms, uint8_t digest[kDigestBytes]) {
  HashState state;
  hash.start(&state);
  feed_domain(hash, &state, "lambda/hello/1");
  feed_text(hash, &state, site);
  feed_text(hash, &state, device);
  Gather<24>().u64(boot).u64(previous_boot).i64(started_ms).feed(hash, &state);
  hash.finish(&state, digest);
}

}  // namespace lambda
