// The signed form of parcels and hellos: what a signature covers. Bytes: proto/parcel.md, "The signed form".
#pragma once

#include <stdint.h>

#include <span>
#include <string_view>

#include "lambda/block.h"
#include "lambda/hash.h"

namespace lambda {

enum class Kind : uint8_t { kGauge = 1, kCounter = 2, kState = 3 };
enum class GapReason : uint8_t {
  kSpoolBytes = 1,
  kSpoolAge = 2,
  kMemory = 3,
  kRefused = 4,
  kCorrupt = 5,
  kThinned = 6
};

struct LabelView {
  std::string_view name;
  std::string_view value;
};

struct DeclarationView {
  uint32_t ref = 0;
  std::string_view name;
  std::span<const LabelView> labels;  // sorted by name
  Kind kind = Kind::kGauge;
  ValueType type = ValueType::kF64;
  uint8_t scale = 0;
  std::string_view unit;
};

struct GapView {
  uint32_t ref = 0;
  uint64_t first_ordinal = 0;
  uint64_t count = 0;
  GapReason reason = GapReason::kSpoolBytes;
};

struct ClockView {
  uint32_t segment = 0;
  bool relative = false;
  int64_t offset_ms = 0;
  bool known = false;
};

struct ParcelHead {
  std::string_view site;
  std::string_view device;
  uint64_t boot = 0;
  uint64_t seq = 0;
  int64_t created_ms = 0;
  uint64_t floor_seq = 0;
  const uint8_t* previous = nullptr;  // 32 bytes, or null
};

// What a parcel holds, in this order.
enum class ParcelSection : uint8_t { kHead, kDeclarations, kBlocks, kGaps, kClocks, kDone };

// Feeds the signed form to the hash piece by piece, in the order of the calls below; counts are given ahead and
// asserted. Constant memory. `hash` must outlive it; views are read inside the call only.
class ParcelDigest {
 public:
  ParcelDigest(const HashPort& hash, const ParcelHead& head);
  void declarations(uint32_t count);
  void declaration(const DeclarationView& declaration);
  void blocks(uint32_t count);
  void block(const BlockInfo& info, const uint8_t root[kDigestBytes]);
  void gaps(uint32_t count);
  void gap(const GapView& gap);
  void clocks(uint32_t count);
  void clock(const ClockView& clock);
  // Every declared count must have been met.
  void finish(uint8_t digest[kDigestBytes]);

 private:
  friend class ParcelBuilder;
  void begin(ParcelSection section, uint32_t count);
  void item(ParcelSection section, const void* from, const uint8_t* root = nullptr);

  const HashPort& hash_;
  HashState state_;
  ParcelSection section_ = ParcelSection::kHead;
  uint32_t left_ = 0;  // items of the section still to come
};

// What a Hello's signature covers: the boot's durable record, not the question that carries it.
void hello_digest(const HashPort& hash, std::string_view site, std::string_view device, uint64_t boot,
                  uint64_t previous_boot, int64_t started_ms, uint8_t digest[kDigestBytes]);

}  // namespace lambda
