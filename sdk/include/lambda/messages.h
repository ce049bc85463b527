// The messages of proto/lambda.proto as a device writes and reads them: no heap, caller's memory, deterministic bytes
// (the same input gives the same message). Meaning and order: proto/parcel.md. Hosted programs that read what a device
// wrote use the protobuf classes; the bytes are the same.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <span>
#include <string_view>

#include "lambda/parcel.h"

namespace lambda {

namespace wire {
class FieldWriter;
}

inline constexpr uint32_t kMessageVersion = 1;
inline constexpr size_t kSignatureBytes = 64;
inline constexpr uint32_t kKeySpecSecp256k1 = 1;
inline constexpr uint32_t kParcelBlocksMax = 4096;
inline constexpr size_t kSeriesLabelsMax = 32;
inline constexpr size_t kAckRangesMax = 64;
inline constexpr size_t kDeclareRefsMax = 64;
inline constexpr size_t kInterestSelectorsMax = 256;
inline constexpr size_t kHelloBytesMax = 448;  // with a `software` of at most 64 bytes

enum class Policy : uint8_t { kLocal = 0, kFog = 1, kRing = 2 };
enum class RefusalCode : uint8_t { kMalformed = 1, kSignature = 2, kConflict = 3, kTooLarge = 4, kWrongSender = 5 };

// Signs a digest with the device's own key: 64 bytes r || s, s in the lower half, the same for the same digest
// (RFC 6979). False: it cannot just now.
struct SignPort {
  void* context;
  bool (*sign)(void* context, const uint8_t digest[kDigestBytes], uint8_t signature[kSignatureBytes]);
};

// ---- Writing a parcel: plan what goes in, then write exactly that. Two steps, because the signed form wants the
// counts ahead; together they need no memory but the message's own.
//
//   ParcelPlan plan(head, parcel_bytes_max);
//   while (more && plan.add_block(block.size())) ...            // false: it is full, nothing was added
//   ParcelBuilder parcel(hash, head, plan, space);              // space.size() >= plan.bytes()
//   parcel.declaration(..); parcel.block(..); parcel.gap(..); parcel.clock(..);   // in this order, as many as planned
//   auto message = parcel.finish(signer, digest);

// What a parcel of at most `bytes_max` bytes will hold. Its head must be the one given to the builder.
class ParcelPlan {
 public:
  ParcelPlan(const ParcelHead& head, size_t bytes_max);

  // Each returns false, with nothing changed, when the whole message would pass `bytes_max` (or kParcelBlocksMax).
  [[nodiscard]] bool add(const DeclarationView& declaration);
  [[nodiscard]] bool add_block(size_t block_bytes);
  [[nodiscard]] bool add_block(size_t block_bytes, const DeclarationView& declaration);  // both or neither
  [[nodiscard]] bool add(const GapView& gap);
  [[nodiscard]] bool add(const ClockView& clock);

  bool empty() const { return declarations() + blocks() + gaps() + clocks() == 0; }
  size_t bytes() const;  // of the finished Up message, exactly
  uint32_t declarations() const { return items(ParcelSection::kDeclarations); }
  uint32_t blocks() const { return items(ParcelSection::kBlocks); }
  uint32_t gaps() const { return items(ParcelSection::kGaps); }
  uint32_t clocks() const { return items(ParcelSection::kClocks); }

 private:
  friend class ParcelBuilder;
  uint32_t items(ParcelSection section) const { return items_[static_cast<size_t>(section)]; }
  bool take(ParcelSection section, size_t item_bytes);
  bool take_fields(ParcelSection section, const void* from);

  size_t bytes_max_;
  size_t body_bytes_;  // of the Parcel inside the Up
  uint32_t items_[static_cast<size_t>(ParcelSection::kDone)] = {};
};

// Writes an Up{parcel} into `space`, which must outlive the builder, as `plan` must, and hold plan.bytes(). So must the
// bytes of `head.previous`, which finish() writes. More, fewer or other items than planned are programmer errors and
// stop the program.
class ParcelBuilder {
 public:
  ParcelBuilder(const HashPort& hash, const ParcelHead& head, const ParcelPlan& plan, std::span<uint8_t> space);

  void declaration(const DeclarationView& declaration);
  // `bytes` is the sealed block, written without its boot; `root` its content root.
  void block(const BlockInfo& info, const uint8_t root[kDigestBytes], std::span<const uint8_t> bytes);
  void gap(const GapView& gap);
  void clock(const ClockView& clock);

  // The finished message, within `space`, and the digest that was signed: the next parcel's `previous`, for which it
  // may take the place of this one's. Empty when the signer would not: nothing of the parcel may be used then, and
  // `digest` is as it was.
  std::span<const uint8_t> finish(const SignPort& signer, uint8_t digest[kDigestBytes]);

 private:
  void advance(ParcelSection section);
  void item(ParcelSection section, const void* from);
  void wrote(const wire::FieldWriter& out);

  const ParcelPlan& plan_;
  std::span<uint8_t> space_;
  size_t size_ = 0;
  ParcelDigest digest_;
  const uint8_t* previous_;
};

// ---- Hello
struct HelloView {
  std::string_view site;
  std::string_view device;
  uint64_t boot = 0;
  uint64_t previous_boot = 0;
  int64_t started_ms = 0;
  const uint8_t* signature = nullptr;  // 64 bytes over hello_digest(); made once for a boot
  uint64_t nonce = 0;
  int64_t sent_ms = 0;
  uint64_t next_seq = 0;
  uint64_t floor_seq = 0;
  uint64_t backlog_parcels = 0;
  uint64_t backlog_bytes = 0;
  std::string_view software;
};
// What its signature covers: as the other hello_digest().
void hello_digest(const HashPort& hash, const HelloView& hello, uint8_t digest[kDigestBytes]);
// Writes an Up{hello}; returns its size, or 0 when `space` is too small (kHelloBytesMax never is).
size_t encode_hello(const HelloView& hello, std::span<uint8_t> space);

// ---- Live: points ahead of their signed block, for <device>/live
class LiveBuilder {
 public:
  LiveBuilder(std::span<uint8_t> space, uint64_t boot, uint64_t interest_version);
  // False, with nothing written, when `space` is full. Declare a series before its first block of this message.
  [[nodiscard]] bool add(const DeclarationView& declaration);
  [[nodiscard]] bool add_block(std::span<const uint8_t> bytes);
  std::span<const uint8_t> bytes() const { return space_.first(size_); }

 private:
  std::span<uint8_t> space_;
  size_t size_ = 0;
};

// ---- Reading. Input is hostile. Unknown fields are skipped. Views point into the message that was read.
enum class MessageError : uint8_t {
  kNone,
  kMalformed,  // no message of ours, or one that is cut short
  kVersion,    // of a higher major version: what it says is not ours to understand
  kEmpty,      // well formed, but of no kind this reader knows
};

struct SeqRange {
  uint64_t first;
  uint64_t last;  // included
};

struct AckView {
  uint64_t boot = 0;
  uint64_t contiguous_seq = 0;
  Policy policy = Policy::kLocal;  // one this reader does not know counts as the weakest
  std::string_view gateway;
  uint64_t incarnation = 0;
  int64_t gateway_ms = 0;
  uint64_t nonce = 0;
  uint32_t codecs = 0;  // bit n: codec n
  size_t range_count = 0;
  SeqRange ranges[kAckRangesMax];  // further ones are left out: they wait for the next ack
};

struct NackView {
  // kOther: a verdict this reader does not know, or none.
  enum class Verdict : uint8_t { kOther, kRetryAfter, kPermanent, kNewBoot, kDeclare };
  uint64_t boot = 0;
  uint64_t seq = 0;
  std::string_view gateway;
  uint64_t incarnation = 0;
  Verdict verdict = Verdict::kOther;
  uint32_t delay_ms = 0;                       // kRetryAfter
  RefusalCode code = RefusalCode::kMalformed;  // kPermanent; one this reader does not know counts as malformed
  std::string_view text;                       // the reason, for a person
  size_t ref_count = 0;                        // kDeclare
  uint32_t refs[kDeclareRefsMax];              // further ones are left out: they are asked for again
};

struct DownMessage {
  enum class Body : uint8_t { kNone, kAck, kNack };
  DownMessage() {}
  Body body = Body::kNone;
  union {  // the one that `body` names is there
    AckView ack;
    NackView nack;
  };
};
MessageError decode_down(std::span<const uint8_t> message, DownMessage* down);

struct InterestView {
  uint32_t version = 0;
  std::string_view gateway;
  uint64_t incarnation = 0;
  uint64_t interest_version = 0;
  uint32_t lease_s = 0;
  size_t selector_count = 0;  // those visited
  size_t selectors_left_out = 0;
};
// Calls `selector` (may be null) for each selector, at most kInterestSelectorsMax, after the whole message was checked:
// never for a message that is not kNone.
MessageError decode_interest(std::span<const uint8_t> message, InterestView* interest,
                             void (*selector)(void* context, std::string_view text) = nullptr, void* context = nullptr);

}  // namespace lambda
